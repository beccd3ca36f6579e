"""Learning while playing: a policy folder is opened once, sampled and trained in turns, and written in the end.

The sampler holds the very tensors that are trained, so its weights are never stale. Exact resume: every ``save_every`` turns the
weights, the optimiser's state and the number of turns in them are saved in one file; the caller has the later turns' lessons on
disk and gives them again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sparring import config
from sparring.errors import SparringError
from sparring.game import Lesson, Model, Sample, Sampling, Scored
from sparring.learners.batches import encode_lessons
from sparring.learners.checkpoint import fingerprint, load_state, save_state, state_path
from sparring.learners.forward import Logits, make_logits
from sparring.learners.losses import needs_reference
from sparring.learners.session import Session, add_adapters, learning_rate
from sparring.learners.train import Trained, check_learner, open_policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Serve = Callable[["PreTrainedModel", "PreTrainedTokenizerBase"], Model]
"""A sampler of a model in memory, which it must not copy."""


@dataclass(frozen=True, kw_only=True)
class LiveLearner:
    """Settings of learning in turns; ``open`` begins it.

    ``serve`` makes the sampler; ``save_every``: turns between saved states; ``reuse_logprobs`` and ``longest`` as in
    ``TorchLearner``; ``progress`` is called with (turns done, total).
    """

    how: config.Learner
    policy: config.Policy
    serve: Serve
    save_every: int = 10
    reuse_logprobs: bool = True
    longest: int = 0
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        check_learner(self.how, self.longest)
        if self.how.accelerate:
            raise SparringError(
                "a live policy learns where it is sampled, in one process; set learner.accelerate to '' (offline has it)"
            )

    @contextmanager
    def open(self, policy: Path, out: Path, turns: int, seed: int) -> Generator[LivePolicy]:
        """The policy of ``turns`` turns in all, from ``policy`` or from where the last process stopped; ``out`` is what
        ``finish`` writes. Raises SparringError for a folder that is no checkpoint, and where ``out`` is there already.
        """
        if out.exists():
            raise SparringError(f"{out} exists already; a learner writes a new folder: remove it or name another")
        run = fingerprint(policy, self.how, self.policy, self.reuse_logprobs, self.longest, turns, seed)
        yield LivePolicy(self, policy, out, turns, (run, seed))


class LivePolicy:
    """A policy that goes on learning while it plays; satisfies ``sparring.game.Live``.

    A turn is ``how.epochs`` optimiser steps on all of its lessons at once (``how.batch`` is the size of an offline step). The
    learning rate follows the turns: one without lessons is a step that was not made. The reference of a loss that needs one is
    the policy as it was opened: the weights without their adapter, or else a copy of them.
    """

    def __init__(self, settings: LiveLearner, policy: Path, out: Path, turns: int, run: tuple[str, int]) -> None:
        self.settings, self._out, self._turns = settings, out, turns
        self._run, seed = run
        how = settings.how
        self.torch_model, self.tokenizer = open_policy(policy, how, settings.policy)
        frozen = _copied(self.torch_model) if needs_reference(how) and not how.lora_rank else None
        self._adapted = add_adapters(self.torch_model, how, seed) if how.lora_rank else None
        if needs_reference(how) and self._adapted:
            frozen = self._without_adapter(make_logits(self.torch_model))
        self._session = Session(self.torch_model, how, frozen=frozen, live=True, longest=settings.longest)
        self.model: Model = _Precise(settings.serve(self.torch_model, self.tokenizer), settings.policy, self.torch_model.device)
        self._rows: list[dict[str, Any]] = []
        if state := load_state(state_path(out), self._run):
            self._session.restore(state)
            self._rows = state.rows

    def _without_adapter(self, logits: Logits) -> Logits:
        adapted = self._adapted
        assert adapted is not None

        def bare(tokens_RT: Tensor, predictor_C: Tensor) -> Tensor:
            adapted.disable_adapter_layers()
            try:
                return logits(tokens_RT, predictor_C)
            finally:
                adapted.enable_adapter_layers()

        return bare

    @property
    def done(self) -> int:
        """Turns that the weights contain."""
        return self._rows[-1]["turn"] + 1 if self._rows else 0

    def learn(self, lessons: Sequence[Lesson]) -> None:
        """The lessons of turn ``done``; without lessons the weights stay as they are, and the turn is counted."""
        number, how = self.done, self.settings.how
        if number >= self._turns:
            raise SparringError(
                f"turn {number + 1} of {self._turns}: the learning rate has come to its end; open it with more turns"
            )
        if lessons:
            items = encode_lessons(lessons, how, self.tokenizer)
            same_precision = self.settings.policy.dtype == how.dtype
            self._session.take(items, [range(len(items))] * how.epochs, self.settings.reuse_logprobs and same_precision)
        steps, total = sum(row["step"] is not None for row in self._rows), self._turns * how.epochs
        for epoch in range(how.epochs if lessons else 0):
            rate = learning_rate(number * how.epochs + epoch, total, how)
            row = self._session.step(epoch, rate, f"turn {number + 1} of {self._turns}")
            self._rows.append({"step": steps + epoch + 1, "turn": number, "lessons": len(lessons)} | row)
        if not lessons:
            self._rows.append({"step": None, "turn": number, "lessons": 0, "loss": None})
        if self.done % self.settings.save_every == 0 and self.done < self._turns:
            save_state(self._session.snapshot(self._run, self._rows), state_path(self._out))
        if self.settings.progress:
            self.settings.progress(self.done, self._turns)

    def export(self, folder: Path) -> None:
        """Writes the policy as it is now, for a sampler in another process; learning goes on from the very same weights."""
        model, adapted = copy.deepcopy((self.torch_model, self._adapted))
        trained = Trained(model=model, tokenizer=self.tokenizer, adapted=adapted)
        trained.save(self._rows, folder, self.settings.how.save_adapter)

    def finish(self) -> None:
        """Writes the policy folder, whole; the live policy is at its end then."""
        trained = Trained(model=self.torch_model, tokenizer=self.tokenizer, adapted=self._adapted)
        trained.save(self._rows, self._out, self.settings.how.save_adapter)
        state_path(self._out).unlink(missing_ok=True)


def _copied(model: PreTrainedModel) -> Logits:
    return make_logits(copy.deepcopy(model).requires_grad_(False))


class _Precise:
    """A sampler whose forward passes have the policy's precision, though the weights that it shares have the learner's."""

    def __init__(self, model: Model, policy: config.Policy, device: torch.device) -> None:
        self._model, self._device = model, device
        self._dtype = None if policy.dtype == "float32" else getattr(torch, policy.dtype)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None)

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        with torch.inference_mode(), self._precision():
            return self._model.sample(prompts, how, role=role, seed=seed)

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        with torch.inference_mode(), self._precision():
            return self._model.score(pairs, role=role)
