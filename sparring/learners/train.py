"""The learner: one torch loop for pairs and for demonstrations.

A step is: forward over the answer tokens of a batch's micro-batches, a loss from ``losses.py``, backward, clip, update. Dropout
is off (see ``load_policy``). Shapes as in ``batches.py``: N lessons, P lessons of a micro-batch, S sides, R rows, T tokens of a
row, C answer tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparring import config
from sparring.errors import SparringError
from sparring.game import Lesson, stable_hash
from sparring.learners.batches import Item, MicroBatch, collate, encode_lessons, plan_batches, split_batch
from sparring.learners.checkpoint import TrainingState, fingerprint, load_policy, load_state, save_policy, save_state, state_path
from sparring.learners.losses import REFERENCE_FREE, Scores, lesson_losses

if TYPE_CHECKING:
    from peft import LoraModel
    from transformers import PreTrainedModel

REUSE_TOLERANCE = {"float32": 0.01, "bfloat16": 0.05}
"""Nats per token by which reused log-probs may be off, by the learner's dtype; rounding alone makes 1e-7 and 1e-3 of them."""

Logits = Callable[[Tensor, Tensor], Tensor]
"""(tokens_RT, predictor_C) -> logits_CV: the model's next-token logits at some positions of the flattened tokens."""


def learning_rate(step: int, total: int, how: config.Learner) -> float:
    """The rate of optimiser step ``step`` (from 0) of ``total``: linear warm-up that starts above zero, then the schedule."""
    warmup = math.ceil(how.warmup * total)
    if step < warmup:
        return how.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    decay = {"constant": 1.0, "linear": 1.0 - progress, "cosine": (1.0 + math.cos(math.pi * progress)) / 2}
    return how.lr * decay[how.schedule]


def make_logits(model: PreTrainedModel) -> Logits:
    """Logits at some positions only: the head is the dearest layer of a small model and a prompt's logits teach nothing.

    That is the head on the decoder's last hidden states, unless the model does more than that (Gemma's soft cap, Cohere's
    scale), which a comparison on a few tokens shows; then all positions go through the whole model.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()

    def select(states_RTx: Tensor, predictor_C: Tensor) -> Tensor:
        return states_RTx.flatten(0, 1).index_select(0, predictor_C)

    def from_model(tokens_RT: Tensor, predictor_C: Tensor) -> Tensor:
        return select(model(input_ids=tokens_RT, use_cache=False).logits, predictor_C)

    if head is None or decoder is model:
        return from_model

    def from_states(tokens_RT: Tensor, predictor_C: Tensor) -> Tensor:
        return head(select(decoder(input_ids=tokens_RT, use_cache=False).last_hidden_state, predictor_C))

    probe_C = torch.arange(8, device=model.device)  # several tokens: a padding token's states may be all zero
    with torch.no_grad():
        same = torch.equal(from_states(probe_C[None], probe_C), from_model(probe_C[None], probe_C))
    return from_states if same else from_model


def answer_logps(logits: Logits, micro: MicroBatch) -> Tensor:
    """Log-prob (nats) of each row's answer, [S, P]; float32 whatever the model computes in."""
    logits_CV = logits(micro.tokens_RT, micro.predictor_C).float()
    logp_C = -cross_entropy(logits_CV, micro.target_C, reduction="none")
    logp_R = logp_C.new_zeros(len(micro.tokens_RT)).index_add(0, micro.row_C, logp_C)
    return logp_R.view_as(micro.length_SP)


def add_adapters(model: PreTrainedModel, how: config.Learner, seed: int) -> LoraModel:
    """LoRA of rank ``how.lora_rank`` on every linear layer but the head, in place; all else is frozen."""
    from peft import LoraConfig, LoraModel

    adapters = LoraConfig(
        r=how.lora_rank,
        lora_alpha=how.lora_alpha,  # pyright: ignore[reportArgumentType]  (any number will do)
        lora_dropout=0.0,
        target_modules="all-linear",
    )
    with torch.random.fork_rng():  # peft initialises from the global generator
        torch.manual_seed(stable_hash(seed, "lora"))
        return LoraModel(model, adapters, "default").eval()


def make_optimizer(parameters: Sequence[nn.Parameter], how: config.Learner) -> torch.optim.Optimizer:
    """AdamW, or SPPO's RMSprop. Gains and biases (fewer than two dimensions) are not decayed."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": how.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if how.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=how.lr)
    return torch.optim.AdamW(groups, lr=how.lr, fused=True)


def summarise(parts: Sequence[tuple[MicroBatch, Tensor, Tensor]], reference: Tensor | None) -> dict[str, float | None]:
    """The statistics of one batch, means over its lessons: log-probs (nats) per answer, lengths (tokens), rewards.

    ``parts`` holds (micro-batch, logp_SP, reward_margin_P); ``reference`` is ref_logp_NS. What a batch of demonstrations or a
    run without reference cannot tell is None.
    """
    logp_SP = torch.cat([logp_SP for _, logp_SP, _ in parts], dim=1)
    length_SP = torch.cat([micro.length_SP for micro, _, _ in parts], dim=1)
    margin_P = torch.cat([margin_P for _, _, margin_P in parts])
    paired = len(logp_SP) == 2
    change_S = None
    if reference is not None:
        indices = [index for micro, _, _ in parts for index in micro.indices]
        change_S = (logp_SP - reference[indices].T).mean(1).tolist()
    return {
        "chosen_logp": logp_SP[0].mean().item(),
        "rejected_logp": logp_SP[1].mean().item() if paired else None,
        "chosen_logp_change": change_S[0] if change_S else None,
        "rejected_logp_change": change_S[1] if change_S and paired else None,
        "reward_margin": margin_P.mean().item() if paired else None,
        "reward_accuracy": (margin_P > 0).float().mean().item() if paired else None,
        "chosen_length": length_SP[0].float().mean().item(),
        "rejected_length": length_SP[1].float().mean().item() if paired else None,
    }


class _Session:
    """One call of ``learn``: the model, the optimiser and the lessons, moved on by ``step``."""

    def __init__(self, model: PreTrainedModel, items: Sequence[Item], how: config.Learner, device: torch.device) -> None:
        self._how, self._device, self._items = how, device, items
        self._logits = make_logits(model)
        self._trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._optimizer = make_optimizer(list(self._trained.values()), how)
        self._reference: Tensor | None = None
        self._reused = False

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._how.dtype == "bfloat16")

    def set_reference(self, reuse: bool) -> None:
        """Fixes ref_logp_NS: the sampler's own log-probs if ``reuse`` and all are known, or one pass with the current weights.

        A loss that needs no reference gets none computed; reused ones still serve its statistics.
        """
        known = [answer.logp for item in self._items for answer in item.answers]
        if reuse and None not in known:
            reference_N = torch.tensor(known, dtype=torch.float32, device=self._device)
            self._reference = reference_N.view(len(self._items), -1)
            self._reused = True
        elif self._how.loss not in REFERENCE_FREE:
            self._reference = self._score_all()

    @torch.no_grad()
    def _score_all(self) -> Tensor:
        """logp_NS of all lessons under the current weights."""
        logp_NS = torch.empty(len(self._items), len(self._items[0].answers), device=self._device)
        for indices in split_batch(self._items, range(len(self._items)), self._how.micro_tokens):
            with self._precision():
                logp_NS[indices] = answer_logps(self._logits, collate(self._items, indices, self._device)).T
        return logp_NS

    def step(self, batch: Sequence[int], number: int, total: int) -> dict[str, Any]:
        """One optimiser step on the lessons ``batch``; returns its row of ``training.jsonl``.

        The loss is the mean over the batch's lessons by weight, so it does not depend on how the batch is split.
        """
        rate = learning_rate(number, total, self._how)
        weight = sum(self._items[index].weight for index in batch)
        parts: list[tuple[MicroBatch, Tensor, Tensor]] = []
        loss = 0.0
        for indices in split_batch(self._items, batch, self._how.micro_tokens):
            micro = collate(self._items, indices, self._device)
            with self._precision():
                logp_SP = answer_logps(self._logits, micro)
            ref_logp_SP = logp_SP.detach() if self._reference is None else self._reference[indices].T
            scores = Scores(logp_SP=logp_SP, ref_logp_SP=ref_logp_SP, length_SP=micro.length_SP, margin_P=micro.margin_P)
            if number == 0 and self._reused:
                _check_reference(scores, REUSE_TOLERANCE[self._how.dtype])
            loss_P, reward_margin_P = lesson_losses(scores, self._how)
            part = (loss_P * micro.weight_P).sum() / weight
            part.backward()
            loss += part.item()
            parts.append((micro, logp_SP.detach(), reward_margin_P))
        norm = self._update(rate)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise SparringError(
                f"step {number + 1} of {total}: loss {loss}, gradient norm {norm}, at learning rate {rate:.3g}; "
                f"lower it (--learner.lr={self._how.lr / 10:.3g}) and check that the policy's log-probs are finite"
            )
        row = {"step": number + 1, "loss": loss, "lr": rate, "grad_norm": norm}
        return row | summarise(parts, self._reference)

    def _update(self, rate: float) -> float:
        """Clips, moves the weights and clears the gradients; returns the gradient norm before clipping."""
        norm = nn.utils.clip_grad_norm_(self._trained.values(), self._how.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm.item()

    def snapshot(self, run: str, rows: list[dict[str, Any]]) -> TrainingState:
        weights = {name: value.detach() for name, value in self._trained.items()}
        return TrainingState(fingerprint=run, rows=rows, weights=weights, moments=self._optimizer.state_dict()["state"])

    def restore(self, state: TrainingState) -> None:
        with torch.no_grad():
            for name, value in self._trained.items():
                value.copy_(state.weights[name])
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state.moments, "param_groups": groups})


def _check_reference(scores: Scores, tolerance: float) -> None:
    """Before the first update the policy is the reference: log-probs that were taken from the lessons must agree with it."""
    gap = ((scores.logp_SP.detach() - scores.ref_logp_SP) / scores.length_SP).abs().mean().item()
    if gap > tolerance:
        raise SparringError(
            f"the lessons' log-probs are {gap:.2g} nats per token away from the policy's own (at most {tolerance}): "
            "another policy sampled them; learn with reuse_logprobs=False, which computes the reference from the policy"
        )


@dataclass(frozen=True)
class TorchLearner:
    """Learns in this process. ``progress`` is called with (optimiser steps done, total).

    ``reuse_logprobs``: the policy that is learned from has sampled the lessons, so where every sample carries log-probs and the
    sampler's dtype is the learner's they are the reference and a forward pass over all lessons is saved. Set it to False where
    lessons come from other policies (from earlier rounds, say).
    """

    how: config.Learner
    policy: config.Policy
    reuse_logprobs: bool = True
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        if self.how.dpop and self.how.loss != "dpo":
            raise SparringError(f"learner.dpop is a term of dpo, not of {self.how.loss}; set it to 0 (--learner.dpop=0)")
        if self.how.nll and self.how.loss in ("orpo", "sft"):
            raise SparringError(f"{self.how.loss} contains the answer's likelihood; set learner.nll to 0 (--learner.nll=0)")

    def learn(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None:
        """Trains the checkpoint in ``policy`` on ``lessons`` and writes the result to ``out``, which appears whole.

        Every ``save_every`` steps the training state goes to ``out`` + ".state"; the same call after a crash goes on from it
        and, on a CPU, ends with the same bits. Raises SparringError for no lessons, a folder that is no checkpoint and a loss
        that is not finite.
        """
        if not lessons:
            raise SparringError("no lessons, so nothing to learn; lower teach.min_margin, or sample more answers (--solver.n=8)")
        if out.exists():
            raise SparringError(f"{out} exists already; a learner writes a new folder: remove it or name another")
        torch.set_num_threads(self.policy.threads)
        device = _pick_device(self.policy.device)
        # The backward pass of fused attention eats what bfloat16 gains on a CPU.
        model, tokenizer = load_policy(policy, device, attention="eager" if self.how.dtype == "bfloat16" else None)
        adapted = add_adapters(model, self.how, seed) if self.how.lora_rank else None
        session = _Session(model, encode_lessons(lessons, self.how, tokenizer), self.how, device)
        session.set_reference(self.reuse_logprobs and self.policy.dtype == self.how.dtype)
        run = fingerprint(policy, self.how, self.policy, self.reuse_logprobs, seed, list(lessons))
        rows = self._train(session, plan_batches(len(lessons), self.how, seed), run, state_path(out))
        if adapted is not None:
            adapted.merge_and_unload()  # into ``model``, in place
        save_policy(model, tokenizer, rows, out)
        state_path(out).unlink(missing_ok=True)

    def _train(self, session: _Session, plan: Sequence[Sequence[int]], run: str, path: Path) -> list[dict[str, Any]]:
        """All steps of ``plan``, from where the state at ``path`` stopped; returns their rows."""
        rows: list[dict[str, Any]] = []
        if state := load_state(path, run):
            session.restore(state)
            rows = state.rows
        for number in range(len(rows), len(plan)):
            rows.append(session.step(plan[number], number, len(plan)))
            if len(rows) % self.how.save_every == 0 and len(rows) < len(plan):
                save_state(session.snapshot(run, rows), path)
            if self.progress:
                self.progress(len(rows), len(plan))
        return rows


def _pick_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)
