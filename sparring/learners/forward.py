"""Log-probs of answers under a model: forward passes that compute no more than the answers need.

Shapes as in ``batches.py``: R rows, T tokens of a row, C answer tokens, V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparring.errors import SparringError
from sparring.learners.batches import MicroBatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Logits = Callable[[Tensor, Tensor], Tensor]
"""(tokens_RT, predictor_C) -> logits_CV: the model's next-token logits at some positions of the flattened tokens."""


def make_logits(model: PreTrainedModel, whole: bool = False) -> Logits:
    """Logits at some positions only: the head is the dearest layer of a small model and a prompt's logits teach nothing.

    That is the head on the decoder's last hidden states, unless the model does more than that (Gemma's soft cap, Cohere's
    scale), which a comparison on a few tokens shows; then, or if ``whole``, all positions go through the whole model.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()

    def select(states_RTx: Tensor, predictor_C: Tensor) -> Tensor:
        return states_RTx.flatten(0, 1).index_select(0, predictor_C)

    def from_model(tokens_RT: Tensor, predictor_C: Tensor) -> Tensor:
        return select(model(input_ids=tokens_RT, use_cache=False).logits, predictor_C)

    if whole or head is None or decoder is model:
        return from_model

    def from_states(tokens_RT: Tensor, predictor_C: Tensor) -> Tensor:
        return head(select(decoder(input_ids=tokens_RT, use_cache=False).last_hidden_state, predictor_C))

    probe_C = torch.arange(8, device=model.device)  # several tokens: a padding token's states may be all zero
    with torch.no_grad():
        same = torch.equal(from_states(probe_C[None], probe_C), from_model(probe_C[None], probe_C))
    return from_states if same else from_model


def token_logps(logits: Logits, micro: MicroBatch) -> Tensor:
    """Log-prob (nats) of each answer token, [C]; float32 whatever the model computes in."""
    return -cross_entropy(logits(micro.tokens_RT, micro.predictor_C).float(), micro.target_C, reduction="none")


def sum_rows(logp_C: Tensor, micro: MicroBatch) -> Tensor:
    """Log-prob of each row's answer, [S, P]."""
    return logp_C.new_zeros(len(micro.tokens_RT)).index_add(0, micro.row_C, logp_C).view_as(micro.length_SP)


def answer_logps(logits: Logits, micro: MicroBatch) -> Tensor:
    """Log-prob (nats) of each row's answer, [S, P]."""
    return sum_rows(token_logps(logits, micro), micro)


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    """The layers that can recompute their activations."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def allow_recomputing(model: PreTrainedModel) -> None:
    """Prepares the model for ``recomputing``; raises SparringError for an architecture that cannot do it."""
    if not _layers(model):
        raise SparringError(
            f"{type(model).__name__} cannot recompute its activations; set learner.checkpointing to false (--learner.checkpointing=false)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the name that all of transformers 5 has is an old one in the latest
        model.gradient_checkpointing_enable({"use_reentrant": False})


@contextmanager
def recomputing(model: PreTrainedModel) -> Iterator[None]:
    """Within this the layers forget their activations, which the backward pass computes again.

    A layer does so in training mode alone, and in training mode it takes no key-value cache; so the mode is that of the layers
    themselves, not of what they contain (dropout stays off), and ends with the block (the model can be sampled).
    """
    layers = _layers(model)
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
