"""Lessons as token rows, and rows as padded micro-batches.

Shapes: N lessons; P lessons of a micro-batch; S sides (chosen, then rejected); R = S x P rows, all chosen ones first; T tokens of
the longest row; C answer tokens of all rows, in row order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sparring.config import Learner
from sparring.data import encode_completion, encode_prompt
from sparring.errors import SparringError
from sparring.game import Credit, Demo, Lesson, Sample, stable_hash
from sparring.learners.losses import CREDIT_LOSSES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One row: a prompt and what is to be made more or less likely after it."""

    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    logprobs: Sequence[float] | None
    """Log-probs (nats) of the tokens under whoever sampled them, where they are known."""

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.token_ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A lesson as rows: chosen and rejected, or one answer alone."""

    answers: tuple[Answer, ...]
    margin: float = 0.0
    weight: float = 1.0
    advantage: float = 0.0
    wins: tuple[float, float] | None = None

    @property
    def length(self) -> int:
        return max(answer.length for answer in self.answers)


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """Rows that go through the model together. Padding is on the right, where a causal model never looks: no mask is needed."""

    indices: tuple[int, ...]
    """Which P of the N lessons these are."""
    tokens_RT: Tensor
    predictor_C: Tensor
    """Where, in the flattened ``tokens_RT``, each answer token is predicted: one position before it."""
    target_C: Tensor
    row_C: Tensor
    length_SP: Tensor
    margin_P: Tensor
    weight_P: Tensor
    advantage_P: Tensor
    win_SP: Tensor
    """NaN where a lesson has no win rates."""


def _answer_of_sample(sample: Sample, prompt: str, tokenizer: PreTrainedTokenizerBase) -> Answer:
    """The sampled tokens as they are, so that what is learned is what was drawn; text is encoded only where there are none."""
    if not sample.prompt_ids or not sample.token_ids:
        return _answer_of_text(prompt, sample.text, tokenizer, ends=sample.finish == "stop")
    known = len(sample.logprobs) == len(sample.token_ids)
    return Answer(prompt_ids=sample.prompt_ids, token_ids=sample.token_ids, logprobs=sample.logprobs if known else None)


def _answer_of_text(prompt: str, text: str, tokenizer: PreTrainedTokenizerBase, *, ends: bool = True) -> Answer:
    prompt_ids = encode_prompt(tokenizer, prompt)
    if not prompt_ids:
        raise SparringError(f"prompt {prompt!r} has no tokens, so nothing predicts the answer's first one; drop this lesson")
    token_ids = encode_completion(tokenizer, text)
    return Answer(prompt_ids=prompt_ids, token_ids=token_ids if ends else token_ids[:-1], logprobs=None)


def _item(lesson: Lesson, how: Learner, tokenizer: PreTrainedTokenizerBase) -> Item:
    if isinstance(lesson, Credit):
        return _credit_item(lesson, how, tokenizer)
    if how.loss in CREDIT_LOSSES:
        kind = type(lesson).__name__
        raise SparringError(f"learner.loss {how.loss} learns from answers with an advantage and a {kind} has none; teach credits")
    if isinstance(lesson, Demo):
        if how.loss != "sft":
            raise SparringError(
                f"learner.loss {how.loss} compares two answers and a Demo has one; set learner.loss to sft, or teach pairs"
            )
        if not lesson.weight > 0:
            raise SparringError(f"a Demo has weight {lesson.weight}; a weight is above 0: drop the lesson instead")
        return Item(answers=(_answer_of_text(lesson.prompt, lesson.completion, tokenizer),), weight=lesson.weight)
    samples = (lesson.chosen,) if how.loss == "sft" else (lesson.chosen, lesson.rejected)
    answers = tuple(_answer_of_sample(sample, lesson.prompt, tokenizer) for sample in samples)
    return Item(answers=answers, margin=lesson.margin, wins=lesson.wins)


def _credit_item(lesson: Credit, how: Learner, tokenizer: PreTrainedTokenizerBase) -> Item:
    if how.loss not in CREDIT_LOSSES:
        raise SparringError(
            f"learner.loss {how.loss} cannot learn from an answer with an advantage; set it to one of {', '.join(sorted(CREDIT_LOSSES))}, "
            "or teach pairs"
        )
    if not math.isfinite(lesson.advantage):
        raise SparringError(f"a Credit has advantage {lesson.advantage}; it is a finite number: drop the lesson instead")
    answer = _answer_of_sample(lesson.completion, lesson.prompt, tokenizer)
    weight = float(len(answer.token_ids)) if how.loss == "dapo" else 1.0
    return Item(answers=(answer,), weight=weight, advantage=lesson.advantage)


def encode_lessons(lessons: Sequence[Lesson], how: Learner, tokenizer: PreTrainedTokenizerBase) -> list[Item]:
    """The lessons as rows of tokens; for ``sft`` a pair is its chosen answer alone."""
    return [_item(lesson, how, tokenizer) for lesson in lessons]


def plan_batches(count: int, how: Learner, seed: int) -> list[list[int]]:
    """The lessons (of ``count``) of every optimiser step, in order: each epoch a new permutation, its last batch short."""
    plan: list[list[int]] = []
    for epoch in range(how.epochs):
        order = sorted(range(count), key=lambda index: stable_hash(seed, "order", epoch, index))
        plan += [order[start : start + how.batch] for start in range(0, count, how.batch)]
    return plan


def split_batch(items: Sequence[Item], indices: Sequence[int], micro_tokens: int) -> list[list[int]]:
    """``indices`` by length, cut where the next lesson would bring rows x longest row above ``micro_tokens``.

    Neighbours in length waste little padding. The sides of a lesson stay together, because its loss couples them; a lesson
    that exceeds the bound alone goes alone.
    """
    parts: list[list[int]] = []
    for index in sorted(indices, key=lambda index: (items[index].length, index)):
        rows = len(items[index].answers) * (len(parts[-1]) + 1) if parts else 0
        if parts and rows * items[index].length <= micro_tokens:
            parts[-1].append(index)
        else:
            parts.append([index])
    return parts


def strangers(items: Sequence[Item], batch: Sequence[int]) -> list[Item]:
    """Prompts of a batch, each with another one's answer: what the answers' own likelihood is measured against.

    KTO's estimate of the KL divergence (arXiv 2402.01306 sec. 4.1). The answer is the nearest before it, in a circle, whose prompt is
    another; none where all prompts are the same.
    """
    found: list[Item] = []
    for place, index in enumerate(batch):
        prompt_ids = items[index].answers[0].prompt_ids
        before = (items[batch[place - step]].answers[0] for step in range(1, len(batch)))
        other = next((answer for answer in before if tuple(answer.prompt_ids) != tuple(prompt_ids)), None)
        if other is not None:
            found.append(Item(answers=(Answer(prompt_ids=prompt_ids, token_ids=other.token_ids, logprobs=None),)))
    return found


def share_batch(items: Sequence[Item], indices: Sequence[int], micro_tokens: int, processes: int) -> list[list[list[int]]]:
    """The micro-batches of each of several processes: lessons are dealt out by length, so that all have as much to do."""
    ordered = sorted(indices, key=lambda index: (items[index].length, index))
    return [split_batch(items, ordered[process::processes], micro_tokens) for process in range(processes)]


def collate(items: Sequence[Item], indices: Sequence[int], device: torch.device) -> MicroBatch:
    """The padded tensors of the lessons ``indices``."""
    chosen = [items[index] for index in indices]
    rows = [item.answers[side] for side in range(len(chosen[0].answers)) for item in chosen]
    width = max(row.length for row in rows)
    starts = [number * width + len(row.prompt_ids) - 1 for number, row in enumerate(rows)]
    lengths_R = torch.tensor([len(row.token_ids) for row in rows])
    return MicroBatch(
        indices=tuple(indices),
        tokens_RT=torch.tensor([[*row.prompt_ids, *row.token_ids, *[0] * (width - row.length)] for row in rows], device=device),
        predictor_C=torch.cat([torch.arange(a, a + len(row.token_ids)) for a, row in zip(starts, rows, strict=True)]).to(device),
        target_C=torch.tensor([token for row in rows for token in row.token_ids], device=device),
        row_C=torch.repeat_interleave(torch.arange(len(rows)), lengths_R).to(device),
        length_SP=lengths_R.view(-1, len(chosen)).to(device),
        margin_P=torch.tensor([item.margin for item in chosen], device=device),
        weight_P=torch.tensor([item.weight for item in chosen], device=device),
        advantage_P=torch.tensor([item.advantage for item in chosen], device=device),
        win_SP=torch.tensor([item.wins or (math.nan, math.nan) for item in chosen], device=device).T,
    )
