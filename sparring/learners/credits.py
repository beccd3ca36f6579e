"""From scored groups to answers with an advantage: each answer against the others to the same prompt. Pure functions.

The advantages come from scores (rewards) of one group; what the judge or the model broke on is no part of it, and a group whose
scores are all equal teaches nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sparring.config import Loss
from sparring.data import prompt_of
from sparring.game import Bout, Credit
from sparring.learners.lessons import judged

Advantages = Callable[[Sequence[float]], list[float]]
"""The scores of a group, two or more and not all equal, to an advantage for each."""


def over_mean(scores: Sequence[float]) -> list[float]:
    """Score less the group's mean: eva's baseline, and that of Dr. GRPO (arXiv 2503.20783 sec. 3.2)."""
    mean = statistics.fmean(scores)
    return [score - mean for score in scores]


def leave_one_out(scores: Sequence[float]) -> list[float]:
    """Score less the mean of the others (arXiv 2402.14740 eq. 8): n / (n - 1) times ``over_mean``.

    The score of an answer is no part of its own baseline, so the gradient is unbiased; the direction is that of ``over_mean``.
    """
    total, others = math.fsum(scores), len(scores) - 1
    return [score - (total - score) / others for score in scores]


def standardised(scores: Sequence[float]) -> list[float]:
    """Score less the mean in units of the group's standard deviation (arXiv 2402.03300 sec. 4.1.2), of n - 1 degrees of freedom.

    1e-4 is added to the deviation, as TRL does, so that scores that hardly differ are not blown up.
    """
    deviation = statistics.stdev(scores) + 1e-4
    return [value / deviation for value in over_mean(scores)]


def sides(scores: Sequence[float]) -> list[float]:
    """1 for a score above the mean, -1 for one below it, 0 for one on it: all that KTO wants to know."""
    close = 1e-9 * (max(scores) - min(scores))  # of rounding
    return [math.copysign(1.0, value) if abs(value) > close else 0.0 for value in over_mean(scores)]


ADVANTAGES: Mapping[Loss, Advantages] = {
    "kto": sides,
    "rloo": leave_one_out,
    "grpo": standardised,
    "dr_grpo": over_mean,
    "dapo": standardised,
}


def credit_group(bout: Bout, advantages: Advantages, min_margin: float = 0.0, created: bool = False) -> tuple[Credit, ...]:
    """The judged answers of a bout, each with its advantage; none where the best and the worst are within ``min_margin``.

    DAPO (arXiv 2503.14476 sec. 3.2) drops groups without a difference and samples others in their place; here they are dropped
    in every method, since they would add nothing but a divisor.
    """
    answers = judged(bout)
    scores = [verdict.score for _, verdict in answers]
    if len(scores) < 2 or max(scores) - min(scores) <= min_margin:
        return ()
    values = zip(answers, advantages(scores), strict=True)
    return tuple(
        Credit(task=bout.task.id, prompt=prompt_of(bout.task), completion=attempt.samples[-1], advantage=value, created=created)
        for (attempt, _), value in values
        if math.isfinite(value)
    )


def balanced(credits: Sequence[Credit]) -> list[Credit]:
    """KTO's answers, good and bad ones with the same total weight and a mean weight of 1; those that are neither are left out.

    The paper wants (weight x number) of the good to be 1 to 4/3 of that of the bad (arXiv 2402.01306 sec. 4.2); this is 1.
    """
    sided = [credit for credit in credits if credit.advantage]
    good = sum(credit.advantage > 0 for credit in sided)
    counts = {True: good, False: len(sided) - good}
    if not all(counts.values()):
        return sided
    return [
        replace(credit, advantage=math.copysign(len(sided) / (2 * counts[credit.advantage > 0]), credit.advantage))
        for credit in sided
    ]
