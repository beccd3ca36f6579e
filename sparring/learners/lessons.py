"""From bouts to lessons: what a round teaches. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from sparring.data import prompt_of
from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Pair, Sample, Verdict, stable_hash

T = TypeVar("T")

Wins = Callable[[Sequence[float]], list[float]]
"""The scores of a group to how likely each answer beats another one of it."""


def judged(bout: Bout) -> list[tuple[Attempt, Verdict]]:
    """What can be taught of a bout: neither the model nor the judge broke, and the score is a number."""
    return [
        (attempt, verdict)
        for attempt, verdict in zip(bout.attempts, bout.verdicts, strict=True)
        if attempt.fault is None and verdict.fault is None and math.isfinite(verdict.score)
        if attempt.samples and _has_tokens(attempt.samples[-1])
    ]


def _has_tokens(sample: Sample) -> bool:
    """A server may have spent all tokens on thoughts that it keeps to itself: nothing is left, not even an end, to be taught."""
    return bool(sample.token_ids or sample.text) or sample.finish != "length"


def win_rates(scores: Sequence[float]) -> list[float]:
    """A pairwise judge's scores: they are mean win rates already (arXiv 2405.00675 sec. 4.2). Raises SparringError for others."""
    if wrong := [score for score in scores if not 0.0 <= score <= 1.0]:
        raise SparringError(f"{wrong[0]:.3g} is no win rate, which lies in [0, 1]; set judge.shift to 0 and judge.scale to 1")
    return list(scores)


def bradley_terry(scores: Sequence[float]) -> list[float]:
    """A reward model's scores, which have no bounds: the mean over the other answers of sigmoid(score - other score).

    That is the model the scores were trained with (arXiv 2203.02155 eq. 1), so a difference of 1 is the same odds everywhere.
    """
    count = len(scores)
    return [
        math.fsum(_sigmoid(score - other) for place, other in enumerate(scores) if place != own) / (count - 1)
        for own, score in enumerate(scores)
    ]


def _sigmoid(x: float) -> float:
    return (1 + math.tanh(x / 2)) / 2


def best_against_worst(bout: Bout, min_margin: float = 0.0, created: bool = False, wins: Wins | None = None) -> Pair | None:
    """The best answer against the worst (arXiv 2411.00062 alg. 1, line 9); None for a tie or fewer than two judged answers.

    Among equals the first sampled is taken: samples come in no order of merit, so that is as good as a draw. ``wins``: how the
    judge's scores say who beats whom, where they do.
    """
    answers = judged(bout)
    if len(answers) < 2:
        return None
    scores = [verdict.score for _, verdict in answers]
    best, worst = scores.index(max(scores)), scores.index(min(scores))
    margin = scores[best] - scores[worst]
    if margin <= min_margin:
        return None
    rates = wins(scores) if wins else None
    return Pair(
        task=bout.task.id,
        prompt=prompt_of(bout.task),
        chosen=answers[best][0].samples[-1],
        rejected=answers[worst][0].samples[-1],
        margin=margin,
        created=created,
        wins=(rates[best], rates[worst]) if rates else None,
    )


def pairs_of(bouts: Sequence[Bout], min_margin: float = 0.0, created: bool = False, wins: Wins | None = None) -> list[Pair]:
    found = (best_against_worst(bout, min_margin, created, wins) for bout in bouts)
    return [pair for pair in found if pair is not None]


def mix(created: Sequence[T], original: Sequence[T], share: float, total: int, seed: int) -> list[T]:
    """``total`` lessons, ``share`` of them created; what one side lacks the other makes up, so that budgets stay equal.

    A lesson may be a group of credits, which stays together.
    """
    rng = Random(stable_hash(seed, "mix"))
    wanted = min(len(created), max(round(share * total), total - len(original)))
    return rng.sample(created, wanted) + rng.sample(original, min(len(original), total - wanted))
