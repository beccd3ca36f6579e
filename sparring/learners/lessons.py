"""From bouts to lessons: what a round teaches. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from sparring.game import Bout, Pair, stable_hash


def best_against_worst(bout: Bout, min_margin: float = 0.0, created: bool = False) -> Pair | None:
    """The best answer against the worst (arXiv 2411.00062 alg. 1, line 9); None for a tie or fewer than two judged answers.

    Among equals the first sampled is taken: samples come in no order of merit, so that is as good as a draw.
    """
    judged = [
        (attempt, verdict)
        for attempt, verdict in zip(bout.attempts, bout.verdicts, strict=True)
        if attempt.samples and attempt.fault is None and verdict.fault is None and math.isfinite(verdict.score)
    ]
    if len(judged) < 2:
        return None
    best = max(judged, key=lambda item: item[1].score)
    worst = min(judged, key=lambda item: item[1].score)
    margin = best[1].score - worst[1].score
    if margin <= min_margin:
        return None
    return Pair(
        task=bout.task.id,
        prompt=bout.task.text,
        chosen=best[0].samples[-1],
        rejected=worst[0].samples[-1],
        margin=margin,
        created=created,
    )


def pairs_of(bouts: Sequence[Bout], min_margin: float = 0.0, created: bool = False) -> list[Pair]:
    found = (best_against_worst(bout, min_margin, created) for bout in bouts)
    return [pair for pair in found if pair is not None]


def mix(created: Sequence[Pair], original: Sequence[Pair], share: float, total: int, seed: int) -> list[Pair]:
    """``total`` pairs, ``share`` of them created; what one side lacks the other makes up, so that budgets stay equal."""
    rng = Random(stable_hash(seed, "mix"))
    wanted = min(len(created), max(round(share * total), total - len(original)))
    return rng.sample(created, wanted) + rng.sample(original, min(len(original), total - wanted))
