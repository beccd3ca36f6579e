"""Scoring many token rows in few forward passes, and from a raw score to a verdict.

Equal rows are scored once, so that equal answers tie exactly; what fails is a fault of its row alone.

Shape legend: R rows of a batch, T their longest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from sparring.config import Member
from sparring.data import prompt_of
from sparring.game import Attempt, Task, Verdict

Tokens = tuple[int, ...]
Rated = float | str
"""A raw score, or why there is none."""
Row = TypeVar("Row", bound=Hashable)


def rate(
    rows: Iterable[Row], forward: Callable[[Sequence[Row]], Sequence[float]], length: Callable[[Row], int], batch_tokens: int
) -> dict[Row, Rated]:
    """The score of each distinct row. Batches hold at most ``batch_tokens`` padded tokens; rows of like length go together."""
    rated: dict[Row, Rated] = {}
    for batch in _batches(sorted(dict.fromkeys(rows), key=length), length, batch_tokens):
        rated.update(zip(batch, _rate_batch(batch, forward), strict=True))
    return rated


def _batches(rows: Sequence[Row], length: Callable[[Row], int], limit: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:  # the shortest first, so each row is the longest of its batch so far
        if batch and (len(batch) + 1) * length(row) > limit:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _rate_batch(batch: Sequence[Row], forward: Callable[[Sequence[Row]], Sequence[float]]) -> list[Rated]:
    """One forward pass; where it fails (out of memory, above all) one for each half, down to the row that is at fault."""
    try:
        with torch.inference_mode():
            return [score if math.isfinite(score) else f"score is {score}" for score in forward(batch)]
    except RuntimeError as error:
        if len(batch) == 1:
            return [f"{type(error).__name__}: {error}"[:200]]
    half = len(batch) // 2
    return [*_rate_batch(batch[:half], forward), *_rate_batch(batch[half:], forward)]


def padded(rows: Sequence[Tokens], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and attention mask (both R, T), padded on the right, where no causal model looks and no position shifts."""
    width = max(map(len, rows))
    ids_RT = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)
    mask_RT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return ids_RT, mask_RT


def fault(reason: str) -> Verdict:
    return Verdict(score=0.0, solved=False, fault=reason)


def verdict(rated: Rated, member: Member, note: str = "") -> Verdict:
    """The raw score, shifted and scaled, against the score from which an answer counts as solved."""
    if isinstance(rated, str):
        return fault(rated)
    score = (rated - member.shift) / member.scale
    if not math.isfinite(score):
        return fault(f"score is {score} after shift and scale")
    return Verdict(score=score, solved=score >= member.solved_from, note=note)


def judge_each(
    tasks: Sequence[Task],
    attempts: Sequence[tuple[Attempt, ...]],
    encode: Callable[[str, str], Tokens | str],
    score: Callable[[Iterable[Tokens]], dict[Tokens, Rated]],
    member: Member,
) -> list[tuple[Verdict, ...]]:
    """Verdicts of a pointwise model. ``encode`` makes a row of prompt and answer, or says why it cannot."""
    rows = [
        [f"no answer: {attempt.fault}" if attempt.fault else encode(prompt_of(task), attempt.answer) for attempt in group]
        for task, group in zip(tasks, attempts, strict=True)
    ]
    rated = score(row for group in rows for row in group if not isinstance(row, str))
    return [tuple(verdict(row if isinstance(row, str) else rated[row], member) for row in group) for group in rows]
