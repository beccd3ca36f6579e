"""Several judges as one: over-optimising a single reward model is easier than over-optimising all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sparring.config import Judge as JudgeSettings
from sparring.config import Member
from sparring.errors import SparringError
from sparring.game import Attempt, Judge, Task, Verdict


@dataclass(frozen=True)
class Scaled:
    """A judge whose scores count as (score - shift) / scale, for judges that know nothing of it, such as a program.

    Whether an answer is solved stays the judge's own word.
    """

    inner: Judge
    member: Member

    def judge(self, tasks: Sequence[Task], attempts: Sequence[tuple[Attempt, ...]]) -> list[tuple[Verdict, ...]]:
        return [tuple(map(self._one, group)) for group in self.inner.judge(tasks, attempts)]

    def _one(self, verdict: Verdict) -> Verdict:
        score = (verdict.score - self.member.shift) / self.member.scale
        if not verdict.fault and not math.isfinite(score):
            return replace(verdict, score=0.0, solved=False, fault=f"score is {score} after shift and scale")
        return verdict if verdict.fault else replace(verdict, score=score)


class Ensemble:
    """Combines the scores of ``members``, which are on one scale, by ``settings.combine`` (arXiv 2310.02743 sec. 3).

    mean: their mean; worst: the lowest; uncertain: the mean less ``settings.doubt`` times their variance (that of these members,
    not an estimate for others). A fault of one member is a fault of the ensemble: a mean over whoever was left would compare
    answers by different judges. Solved is what scores ``settings.solved_from`` when combined.
    """

    def __init__(self, members: Mapping[str, Judge], settings: JudgeSettings) -> None:
        if not members:
            raise SparringError("an ensemble of no judges judges nothing; list some under [[judge.members]]")
        self.members = dict(members)
        self.settings = settings

    def judge(self, tasks: Sequence[Task], attempts: Sequence[tuple[Attempt, ...]]) -> list[tuple[Verdict, ...]]:
        by_member = [judge.judge(tasks, attempts) for judge in self.members.values()]
        return [
            tuple(self._combined(verdicts) for verdicts in zip(*groups, strict=True)) for groups in zip(*by_member, strict=True)
        ]

    def _combined(self, verdicts: Sequence[Verdict]) -> Verdict:
        said = dict(zip(self.members, verdicts, strict=True))
        if faults := [f"{name}: {verdict.fault}" for name, verdict in said.items() if verdict.fault]:
            return Verdict(score=0.0, solved=False, fault="; ".join(faults))
        score = combine([verdict.score for verdict in verdicts], self.settings)
        if not math.isfinite(score):
            return Verdict(score=0.0, solved=False, fault=f"score is {score}")
        note = ", ".join(f"{name} {verdict.score:.4g}" for name, verdict in said.items())
        return Verdict(score=score, solved=score >= self.settings.solved_from, note=note)


def combine(scores: Sequence[float], settings: JudgeSettings) -> float:
    """One score of several, which are finite."""
    if settings.combine == "worst":
        return min(scores)
    mean = math.fsum(score / len(scores) for score in scores)
    if settings.combine == "mean":
        return mean
    variance = math.fsum((score - mean) * (score - mean) for score in scores) / len(scores)
    return mean - settings.doubt * variance
