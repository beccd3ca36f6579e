"""Beam search: the likeliest answers to many prompts at once.

A beam is the ``width`` likeliest unfinished answers to a prompt, each going on in every way. Each way to end one is set aside,
and the ``width`` likeliest of those are the answers. (transformers looks only at the ``width`` likeliest continuations for
ends, so it may miss some.) A continuation is never likelier than what it continues, so an unfinished answer leaves as soon as
it is no likelier than ``width`` finished ones: that changes no result, spares its forward passes, and ends the search where
none is left. Scores are sums of log-probs, not divided by lengths.

Shape legend: P prompts, W width, R live rows (R <= P x W) in the order of prompts and then of likelihood, E tokens that end an
answer, V vocabulary, M nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparring.errors import SparringError
from sparring.game import Sampling
from sparring.models.decode import NOT_FINITE, Answer, Batch, Decoder, Tokens


@torch.inference_mode()
def beam_search(decoder: Decoder, prompts: Sequence[Tokens], how: Sampling) -> list[list[Answer]]:
    """The ``how.n`` likeliest answers that a beam of that width finds to each of the distinct ``prompts``, likeliest first.

    Where fewer than ``how.n`` have ended after ``how.max_new_tokens``, the likeliest of the unfinished fill up the number; it
    stays lower only where there are not so many sequences of tokens. Equals are in the order of their token ids.
    Raises SparringError where the model's logits are not finite.
    """
    beams = _Beams(len(prompts), how.n, decoder.ends_V)
    batch = Batch(decoder, [prompt for prompt in prompts for _ in range(how.n)], how.max_new_tokens)
    for step in range(how.max_new_tokens):
        parent_R, token_R = beams.grow(batch.logits_RV)
        if not len(token_R) or step == how.max_new_tokens - 1:
            break
        batch.branch(parent_R)
        batch.advance(token_R)
    return beams.answers()


class _Beams:
    """The beams of all prompts. A prompt has ``width`` slots for unfinished answers and as many for finished ones."""

    def __init__(self, prompts: int, width: int, ends_V: Tensor) -> None:
        device = ends_V.device
        self._prompts, self._width = prompts, width
        self._ends_V, self._ends_E = ends_V, ends_V.nonzero().flatten()
        self._trail = _Trail(device)
        # All slots are filled at first, but all ways lead on from the first one.
        self._slot_R = torch.arange(prompts * width, device=device)
        self._total_R = torch.zeros(prompts, width, device=device).index_fill_(1, self._slot_R[1:width], -torch.inf).flatten()
        self._node_R = torch.full_like(self._slot_R, -1)
        self._done_PW = torch.full((prompts, width), -torch.inf, device=device)
        self._done_node_PW = self._node_R.view(prompts, width)

    def grow(self, logits_RV: Tensor) -> tuple[Tensor, Tensor]:
        """One more token for every unfinished answer: the rows that the new ones continue, and their tokens."""
        logp_RV = logits_RV.log_softmax(-1)
        if logp_RV.isnan().any():
            raise SparringError(NOT_FINITE)
        self._set_aside(logp_RV[:, self._ends_E])
        best_RW, token_RW = _top(logp_RV.index_fill_(1, self._ends_E, -torch.inf), self._width)
        total_PW, pick_PW = _top(self._by_prompt(self._total_R.unsqueeze(1) + best_RW), self._width)
        row_S = torch.empty(self._prompts * self._width, dtype=torch.long, device=pick_PW.device)
        row_S[self._slot_R] = torch.arange(len(self._slot_R), device=pick_PW.device)
        self._slot_R = (total_PW > self._done_PW[:, -1:]).flatten().nonzero().flatten()
        self._total_R, pick_R = total_PW.flatten()[self._slot_R], pick_PW.flatten()[self._slot_R]
        choices = best_RW.shape[1]
        parent_R = row_S[self._slot_R // self._width * self._width + pick_R // choices]
        token_R, logprob_R = (each[parent_R, pick_R % choices] for each in (token_RW, best_RW))
        self._node_R = self._trail.add(self._node_R[parent_R], token_R, logprob_R)
        return parent_R, token_R

    def _set_aside(self, logp_RE: Tensor) -> None:
        """Every unfinished answer ends here in every way: keep the likeliest of these and the ones kept before."""
        node_RE = self._trail.add(self._node_R.unsqueeze(1), self._ends_E, logp_RE)
        total_PM = torch.cat([self._done_PW, self._by_prompt(self._total_R.unsqueeze(1) + logp_RE)], 1)
        node_PM = torch.cat([self._done_node_PW, self._by_prompt(node_RE)], 1)
        self._done_PW, pick_PW = _top(total_PM, self._width)
        self._done_node_PW = node_PM.gather(1, pick_PW)

    def _by_prompt(self, values: Tensor) -> Tensor:
        """(R, ...) -> (P, W x ...), the least possible value in slots without a row."""
        ...

    def answers(self) -> list[list[Answer]]:
        ...
