"""Lessons as the rows that TRL's trainers read, already in tokens, and which of them go through the model together.

Tokens come from ``batches.encode_lessons``, so both back ends train on the same ones; so do the lessons of every optimiser step
(``batches.plan_batches``). Only the cut into micro-batches is looser here, because TRL counts rows and not tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparring.config import Learner
from sparring.errors import SparringError
from sparring.game import Lesson
from sparring.learners.batches import Answer, Item, encode_lessons, plan_batches
from sparring.learners.losses import CREDIT_LOSSES, RATIO

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Columns = dict[str, list[Any]]


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What a trainer is fed with. Row i of ``columns`` is lesson i."""

    columns: Columns
    weights: Mapping[str, float]
    """Of good and of bad answers, for KTO; empty for other losses."""
    sides: int
    """Answers that are compared in a lesson: 2, or 1."""
    lengths: tuple[tuple[int | None, int | None], ...]
    """Tokens of every lesson's answer that is to become likelier, and of the one that is to become less likely."""
    epochs: tuple[tuple[tuple[tuple[int, ...], ...], ...], ...]
    """Epoch -> optimiser step -> micro-batch -> lessons. All epochs have the same sizes."""
    accumulate: int
    """Micro-batches of a full batch; the last batch of an epoch may have fewer."""
    widest: int
    """Lessons of the largest micro-batch."""

    @property
    def steps(self) -> list[tuple[int, ...]]:
        """The lessons of every optimiser step."""
        return [tuple(index for part in step for index in part) for epoch in self.epochs for step in epoch]


class MicroBatches:
    """A batch sampler: the micro-batches of the epoch that was set last."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(len(step) for step in self._feed.epochs[0])

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._feed.epochs[self._epoch]:
            yield from map(list, step)


def feed_of(lessons: Sequence[Lesson], how: Learner, tokenizer: PreTrainedTokenizerBase, seed: int) -> Feed:
    """Raises SparringError for lessons that TRL's trainer for ``how.loss`` has no place for."""
    items = encode_lessons(lessons, how, tokenizer)
    if how.loss == "sppo" and any(item.wins for item in items):
        raise SparringError(
            "the pairs carry win rates, and TRL's SPPO knows winners and losers only; set learner.backend to torch"
        )
    plan = plan_batches(len(lessons), how, seed)
    rows = max(1, how.micro_tokens // (len(items[0].answers) * max(item.length for item in items)))
    widest = min(rows, how.batch, len(lessons))
    accumulate = math.ceil(min(how.batch, len(lessons)) / widest)
    per_epoch = math.ceil(len(lessons) / how.batch)
    steps = [tuple(_cut(sorted(step, key=lambda index: (items[index].length, index)), widest)) for step in plan]
    return Feed(
        columns=_columns(items, plan, how),
        weights=_weights(items) if how.loss == "kto" else {},
        sides=len(items[0].answers),
        lengths=tuple(_lengths(item, how) for item in items),
        epochs=tuple(tuple(steps[first : first + per_epoch]) for first in range(0, len(steps), per_epoch)),
        accumulate=accumulate,
        widest=widest,
    )


def _lengths(item: Item, how: Learner) -> tuple[int | None, int | None]:
    lengths = [len(answer.token_ids) for answer in item.answers]
    if len(lengths) == 2:
        return lengths[0], lengths[1]
    if how.loss not in CREDIT_LOSSES:
        return lengths[0], None
    return lengths[0] if item.advantage > 0 else None, lengths[0] if item.advantage < 0 else None


def _cut(indices: Sequence[int], widest: int) -> Iterator[tuple[int, ...]]:
    """``indices`` in as few parts of at most ``widest`` as there can be, of nearly equal size."""
    parts = math.ceil(len(indices) / widest)
    for part in range(parts):
        yield tuple(indices[part * len(indices) // parts : (part + 1) * len(indices) // parts])


def _columns(items: Sequence[Item], plan: Sequence[Sequence[int]], how: Learner) -> Columns:
    if how.loss == "sft":
        return _imitated(items)
    if how.loss == "kto":
        return _sorted_out(items, plan)
    if how.loss in RATIO:
        return _credited(items)
    return _compared(items)


def _first(items: Sequence[Item]) -> list[Answer]:
    return [item.answers[0] for item in items]


def _imitated(items: Sequence[Item]) -> Columns:
    if len({item.weight for item in items}) > 1:
        raise SparringError("demonstrations of different weight, and TRL's SFT has no weights; set learner.backend to torch")
    return {
        "input_ids": [[*answer.prompt_ids, *answer.token_ids] for answer in _first(items)],
        "labels": [[*[-100] * len(answer.prompt_ids), *answer.token_ids] for answer in _first(items)],
    }


def _compared(items: Sequence[Item]) -> Columns:
    for chosen, rejected in (item.answers for item in items):
        if tuple(chosen.prompt_ids) != tuple(rejected.prompt_ids):
            raise SparringError("the answers of a pair were sampled after different tokens; set learner.backend to torch")
    return {
        "prompt_ids": [list(item.answers[0].prompt_ids) for item in items],
        "chosen_ids": [list(item.answers[0].token_ids) for item in items],
        "rejected_ids": [list(item.answers[1].token_ids) for item in items],
    }


def _sorted_out(items: Sequence[Item], plan: Sequence[Sequence[int]]) -> Columns:
    """Good and bad answers, and for KTO's estimate of the divergence every prompt with the answer to another one of its batch, as
    in ``batches.strangers``; TRL knows one for all epochs, so the first epoch's batches say which."""
    answers = _first(items)
    prompts = [tuple(answer.prompt_ids) for answer in answers]
    others = list(range(len(answers)))
    for batch in plan[: math.ceil(len(items) / max(map(len, plan)))]:
        for place, index in enumerate(batch):
            before = [batch[place - step] for step in range(1, len(batch))]
            others[index] = next((other for other in before if prompts[other] != prompts[index]), index)
    return {
        "prompt_ids": [list(answer.prompt_ids) for answer in answers],
        "completion_ids": [list(answer.token_ids) for answer in answers],
        "KL_completion_ids": [list(answers[other].token_ids) for other in others],
        "label": [item.advantage > 0 for item in items],
    }


def _weights(items: Sequence[Item]) -> dict[str, float]:
    """What KTO weighs good and bad answers with, under TRL's names."""
    advantages = [item.advantage for item in items]
    sizes = {"desirable_weight": {v for v in advantages if v > 0}, "undesirable_weight": {-v for v in advantages if v <= 0}}
    if any(len(found) > 1 for found in sizes.values()):
        raise SparringError(
            "answers of one kind have different weights, and TRL's KTO has one for each; set learner.backend to torch"
        )
    return {name: found.pop() if found else 1.0 for name, found in sizes.items()}


def _credited(items: Sequence[Item]) -> Columns:
    if any(answer.logprobs is None for answer in _first(items)):
        raise SparringError(
            "answers without the log-probs of whoever sampled them: TRL's online trainers cannot be fed with these; "
            "set learner.backend to torch, which computes them"
        )
    return {
        "prompt_ids": [list(answer.prompt_ids) for answer in _first(items)],
        "completion_ids": [list(answer.token_ids) for answer in _first(items)],
        "logprobs": [list(answer.logprobs or ()) for answer in _first(items)],
        "advantage": [item.advantage for item in items],
    }
