"""A model that learns: its optimiser, what it is to learn from, and a step.

A step is: forward over the answer tokens of a batch's micro-batches, a loss from ``losses.py``, backward, clip, update. Dropout
is off (see ``load_policy``). Shapes as in ``batches.py``: N lessons, P lessons of a micro-batch, S sides, R rows, C answer tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sparring import config
from sparring.errors import SparringError
from sparring.game import stable_hash
from sparring.learners.batches import Item, MicroBatch, collate, share_batch, strangers
from sparring.learners.checkpoint import TrainingState
from sparring.learners.crew import ALONE, Crew, like, whole
from sparring.learners.forward import Logits, allow_recomputing, make_logits, recomputing, sum_rows, token_logps
from sparring.learners.losses import CREDIT_LOSSES, RATIO, Credits, Scores, divergence, lesson_losses, needs_reference

if TYPE_CHECKING:
    from peft import LoraModel
    from transformers import PreTrainedModel

REUSE_TOLERANCE = {"float32": 0.01, "bfloat16": 0.05}
"""Nats per token by which reused log-probs may be off, by the learner's dtype; rounding alone makes 1e-7 and 1e-3 of them."""

Known = list[tuple[Tensor, ...]]
"""By lesson and side: the log-probs of an answer's tokens under some policy, on the CPU."""


def learning_rate(step: int, total: int, how: config.Learner) -> float:
    """The rate of optimiser step ``step`` (from 0) of ``total``: linear warm-up that starts above zero, then the schedule."""
    warmup = math.ceil(how.warmup * total)
    if step < warmup:
        return how.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    decay = {"constant": 1.0, "linear": 1.0 - progress, "cosine": (1.0 + math.cos(math.pi * progress)) / 2}
    return how.lr * decay[how.schedule]


def add_adapters(model: PreTrainedModel, how: config.Learner, seed: int) -> LoraModel:
    """LoRA of rank ``how.lora_rank`` on every linear layer but the head, in place; all else is frozen."""
    from peft import LoraConfig, LoraModel

    adapters = LoraConfig(
        r=how.lora_rank,
        lora_alpha=how.lora_alpha,  # pyright: ignore[reportArgumentType]  (any number will do)
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",  # for whoever loads the adapter by itself
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


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a step found out about one micro-batch, for its row of ``training.jsonl``; no gradients."""

    logp_SP: Tensor
    length_SP: Tensor
    advantage_P: Tensor
    reward_margin_P: Tensor
    change_SP: Tensor | None
    """Log-prob less that under the reference, where there is one."""
    clipped_C: Tensor | None
    """By token: whether its ratio of new to old probability lies outside the bounds."""
    divergence_C: Tensor | None


def _columns(parts: Sequence[Learned], pick: Callable[[Learned], Tensor | None]) -> Tensor | None:
    found = [value for part in parts if (value := pick(part)) is not None]
    return torch.cat(found, dim=-1) if found else None


def _mean(values: Tensor | None) -> float | None:
    return None if values is None or not values.numel() else values.float().mean().item()


def summarise(parts: Sequence[Learned]) -> dict[str, float | None]:
    """The statistics of one batch, means over its lessons: log-probs (nats) per answer, lengths (tokens), rewards.

    What a batch cannot tell is None. Of answers with an advantage, those that are to become likelier are the chosen ones.
    """
    logp_SP, length_SP = _columns(parts, lambda part: part.logp_SP), _columns(parts, lambda part: part.length_SP)
    change_SP = _columns(parts, lambda part: part.change_SP)
    advantage_P = _columns(parts, lambda part: part.advantage_P)
    margin_P = _columns(parts, lambda part: part.reward_margin_P)
    assert logp_SP is not None
    assert advantage_P is not None
    paired = len(logp_SP) == 2
    credited = not paired and bool(advantage_P.any())

    def side(values_SP: Tensor | None, number: int) -> float | None:
        if values_SP is None:
            return None
        if credited:
            return _mean(values_SP[0][advantage_P < 0 if number else advantage_P > 0])
        return _mean(values_SP[number]) if number < len(values_SP) else None

    values = {"logp": logp_SP, "logp_change": change_SP, "length": length_SP}
    sides = {f"{name}_{key}": side(value, n) for key, value in values.items() for n, name in enumerate(("chosen", "rejected"))}
    rewards = {
        "reward_margin": _mean(margin_P) if paired else None,
        "reward_accuracy": _mean(margin_P > 0) if paired and margin_P is not None else None,
    }
    if not credited:
        return sides | rewards
    ratios = {"clipped": lambda part: part.clipped_C, "kl": lambda part: part.divergence_C}
    return sides | rewards | {name: _mean(_columns(parts, pick)) for name, pick in ratios.items()}


class Session:
    """A model with its optimiser. ``take`` says what is learned next, ``step`` moves the weights.

    ``live``: lessons come one mini-batch after the other, from the weights as they are at each ``take``, and ``frozen`` is the
    reference where the loss needs one. Otherwise they come all at once, and the weights at ``take`` are the reference.
    ``longest``: tokens that an answer may have had at most, for ``dr_grpo``.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        how: config.Learner,
        *,
        live: bool = False,
        frozen: Logits | None = None,
        longest: int = 0,
        crew: Crew = ALONE,
    ) -> None:
        self._model, self._how, self._live, self._frozen, self._longest = model, how, live, frozen, longest
        self.crew, self._device = crew, model.device
        if how.checkpointing:
            allow_recomputing(model)
        crew.shard(model)
        self._logits = make_logits(model, whole=crew.sharded)
        self._trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._optimizer = make_optimizer(list(self._trained.values()), how)
        self._items: Sequence[Item] = ()
        self._plan: Sequence[Sequence[int]] = ()
        self._old: Known | None = None
        self._reference: Known | None = None
        self._drift: list[tuple[list[Item], Known]] = []
        self._reused = False

    def precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._how.dtype == "bfloat16")

    def take(self, items: Sequence[Item], plan: Sequence[Sequence[int]], reuse: bool) -> None:
        """The lessons from now on, and those of each step.

        Fixes what their log-probs were: under the policy that sampled them (its own if ``reuse`` and all are known) and under
        the reference. What the loss has no use for is not computed; where it is known it still serves the statistics.
        """
        self._items, self._plan = items, plan
        reused = _sampled(items) if reuse else None
        self._reused = reused is not None
        # With one step the ratio is 1 by definition, unless the sampler says otherwise.
        old, reference = self._how.loss in RATIO and len(plan) > 1, needs_reference(self._how)
        self._old = reused or (self._score(items, self._logits) if old or (reference and not self._live) else None)
        self._reference = (self._score(items, self._frozen) if self._frozen else None) if self._live else self._old
        self._drift = []
        if self._how.loss == "kto":
            mismatched = [strangers(items, batch) for batch in plan]
            self._drift = [(other, self._score(other, self._frozen or self._logits)) for other in mismatched]

    @torch.no_grad()
    def _score(self, items: Sequence[Item], logits: Logits) -> Known:
        """Log-probs of all answers under some weights."""
        found: list[tuple[int, tuple[Tensor, ...]]] = []
        for indices, _ in self._parts(items, range(len(items))):
            micro = collate(items, indices, self._device)
            with self.precision():
                logp_C = token_logps(logits, micro).cpu()
            rows = logp_C.split(micro.length_SP.flatten().tolist())
            found += [(index, rows[place :: len(indices)]) for place, index in enumerate(indices)]
        known = dict(self.crew.collect(found))
        return [known[index] for index in range(len(items))]

    def _parts(self, items: Sequence[Item], indices: Sequence[int]) -> list[tuple[list[int], bool]]:
        """The micro-batches of this process, and which of them count: one that does not is a pass that the others make too."""
        if not indices:
            return []
        mine, idle = self.crew.own(share_batch(items, indices, self._how.micro_tokens, self.crew.size))
        return [*((part, True) for part in mine), *[([indices[0]], False)] * idle]

    def _known(self, known: Known | None, indices: Sequence[int], otherwise: Tensor) -> Tensor:
        """The log-probs of the lessons ``indices``, [C] in row order; ``otherwise`` where there are none."""
        if known is None:
            return otherwise.detach()
        sides = range(len(known[indices[0]]))
        return torch.cat([known[index][side] for side in sides for index in indices]).to(self._device)

    def _reference_point(self, number: int) -> Tensor:
        """KTO's estimate of KL(policy || reference), from the answers to other prompts (TRL's too): no gradient, at least 0."""
        items, reference = self._drift[number] if self._drift else ([], [])
        if not items:
            return torch.zeros((), device=self._device)
        now = self._score(items, self._logits)
        gaps = [(a[0] - b[0]).sum() for a, b in zip(now, reference, strict=True)]
        return torch.stack(gaps).mean().clamp(min=0).to(self._device)

    def _scores(self, micro: MicroBatch, logp_C: Tensor, drift: Tensor) -> Scores | Credits:
        ref_logp_C = self._known(self._reference, micro.indices, logp_C)
        if self._how.loss in CREDIT_LOSSES:
            return Credits(
                logp_C=logp_C,
                old_logp_C=self._known(self._old, micro.indices, logp_C),
                ref_logp_C=ref_logp_C,
                row_C=micro.row_C,
                length_P=micro.length_SP[0],
                advantage_P=micro.advantage_P,
                longest=self._longest,
                drift=drift,
            )
        return Scores(
            logp_SP=sum_rows(logp_C, micro),
            ref_logp_SP=sum_rows(ref_logp_C, micro),
            length_SP=micro.length_SP,
            margin_P=micro.margin_P,
            win_SP=micro.win_SP,
        )

    def step(self, number: int, rate: float, name: str) -> dict[str, Any]:
        """One optimiser step on the lessons of step ``number`` of the plan; returns what ``training.jsonl`` says of it.

        The loss is the mean over the batch's lessons by weight, so it does not depend on how the batch is split. ``name`` is what
        the step is called in the error that a loss without a finite value raises.
        """
        batch = self._plan[number]
        weight = sum(self._items[index].weight for index in batch)
        drift = self._reference_point(number)
        mine: list[tuple[float, Learned]] = []
        for indices, counts in self._parts(self._items, batch):
            micro = collate(self._items, indices, self._device)
            with recomputing(self._model) if self._how.checkpointing else nullcontext():
                with self.precision():
                    logp_C = token_logps(self._logits, micro)
                if number == 0 and self._reused:
                    _check_sampler(micro, logp_C, self._known(self._old, indices, logp_C), self._how)
                scores = self._scores(micro, logp_C, drift)
                loss_P, reward_margin_P = lesson_losses(scores, self._how)
                part = (loss_P * micro.weight_P).sum() / weight
                (part * (self.crew.loss_scale * counts)).backward()
            if counts:
                mine.append((part.item(), self._learned(micro, scores, logp_C.detach(), reward_margin_P)))
        parts = self.crew.collect(mine)
        loss = sum(value for value, _ in parts)
        norm = self._update(rate)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise SparringError(
                f"{name}: loss {loss}, gradient norm {norm}, at learning rate {rate:.3g}; "
                f"lower it (--learner.lr={self._how.lr / 10:.3g}) and check that the policy's log-probs are finite"
            )
        return {"loss": loss, "lr": rate, "grad_norm": norm} | summarise([part for _, part in parts])

    @torch.no_grad()
    def _learned(self, micro: MicroBatch, scores: Scores | Credits, logp_C: Tensor, reward_margin_P: Tensor) -> Learned:
        change_SP = clipped_C = divergence_C = None
        if self._reference is not None:
            change_SP = sum_rows(logp_C - self._known(self._reference, micro.indices, logp_C), micro)
        if isinstance(scores, Credits) and self._old is not None and self._how.loss in RATIO:
            ratio_C = (logp_C - scores.old_logp_C).exp()
            clipped_C = (ratio_C < 1 - self._how.clip_low) | (ratio_C > 1 + self._how.clip_high)
        if isinstance(scores, Credits) and self._reference is not None:
            divergence_C = divergence(scores)
        return Learned(
            logp_SP=sum_rows(logp_C, micro).cpu(),
            length_SP=micro.length_SP.cpu(),
            advantage_P=micro.advantage_P.cpu(),
            reward_margin_P=reward_margin_P.cpu(),
            change_SP=None if change_SP is None else change_SP.cpu(),
            clipped_C=None if clipped_C is None else clipped_C.cpu(),
            divergence_C=None if divergence_C is None else divergence_C.cpu(),
        )

    def _update(self, rate: float) -> float:
        """Clips, moves the weights and clears the gradients; returns the gradient norm before clipping."""
        self.crew.add_gradients(list(self._trained.values()))
        norm = nn.utils.clip_grad_norm_(self._trained.values(), self._how.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return whole(norm).item()

    def weights(self) -> dict[str, Tensor]:
        """What is trained, by name; whole in every process."""
        return {name: whole(value.detach()) for name, value in self._trained.items()}

    def snapshot(self, run: str, rows: list[dict[str, Any]]) -> TrainingState:
        moments: dict[int, dict[str, Tensor]] = self._optimizer.state_dict()["state"]
        known = {number: {name: whole(value) for name, value in values.items()} for number, values in moments.items()}
        return TrainingState(fingerprint=run, rows=rows, weights=self.weights(), moments=known)

    def restore(self, state: TrainingState) -> None:
        with torch.no_grad():
            for name, value in self._trained.items():
                value.copy_(like(state.weights[name], value))
        known = self._optimizer.state_dict()
        order = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        moments = {n: {name: like(value, order[n]) for name, value in values.items()} for n, values in state.moments.items()}
        self._optimizer.load_state_dict({"state": moments, "param_groups": known["param_groups"]})


def _sampled(items: Sequence[Item]) -> Known | None:
    """The samplers' own log-probs; None unless all are known."""
    known: Known = []
    for item in items:
        rows = [answer.logprobs for answer in item.answers]
        if any(row is None for row in rows):
            return None
        known.append(tuple(torch.tensor(row, dtype=torch.float32) for row in rows))
    return known


def _check_sampler(micro: MicroBatch, logp_C: Tensor, old_logp_C: Tensor, how: config.Learner) -> None:
    """Before the first update the policy is the one that sampled: log-probs that came with the lessons must agree with it."""
    gap_SP = sum_rows(logp_C.detach() - old_logp_C, micro) / micro.length_SP
    gap, tolerance = gap_SP.abs().mean().item(), REUSE_TOLERANCE[how.dtype]
    if gap > tolerance:
        raise SparringError(
            f"the lessons' log-probs are {gap:.2g} nats per token away from the policy's own (at most {tolerance}): "
            "another policy sampled them; learn with reuse_logprobs=False, which computes the reference from the policy"
        )
