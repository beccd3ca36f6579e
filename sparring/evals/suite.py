"""What every evaluation has in common: questions, who sits where, rows, and lines that say what came of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sparring.config import Evaluation
from sparring.evals.intervals import bootstrap
from sparring.game import Model, Sample, Sampling

Seat = Literal["model", "baseline", "judge"]
_REASON = 120
"""Characters of a fault that a report shows; the rows have all of it."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """``turns``: what the user says, each after an answer to the one before; ``references``: known answers, one a turn.

    ``ready``: the answer of ``by`` that the question file has itself (AlpacaEval's file holds its baseline's).
    """

    id: str
    turns: tuple[str, ...]
    category: str = ""
    references: tuple[str, ...] = ()
    ready: str | None = None
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Players:
    """Who plays. A seat that a suite does not have stays empty."""

    model: Model | None = None
    baseline: Model | None = None
    judge: Model | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one question. ``fault``: nothing can be said of it, it counts for nobody; ``score`` is then None.

    ``detail`` is JSON: answers, judgements and what else ``report`` and a reader want.
    """

    question: str
    category: str
    score: float | None
    fault: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Result:
    """``figures`` by name (percent, points or tokens, None where nothing was judged), and ``lines`` that say them."""

    rows: tuple[Row, ...]
    figures: Mapping[str, float | None]
    lines: tuple[str, ...]


class Suite(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def seats(self) -> tuple[Seat, ...]:
        """The players that it needs."""
        ...

    @property
    def questions(self) -> Sequence[Question]: ...

    def play(self, players: Players) -> list[Row]:
        """A row for every question: everything that costs something happens here."""
        ...

    def report(self, rows: Sequence[Row], how: Evaluation) -> Result:
        """A pure function of the rows."""
        ...


def run(suite: Suite, players: Players, how: Evaluation) -> Result:
    return suite.report(suite.play(players), how)


def seated(model: Model | None, seat: Seat) -> Model:
    """ValueError for an empty seat: whoever puts the players together must fill ``Suite.seats``."""
    if model is None:
        raise ValueError(f"the suite needs a {seat}")
    return model


def greedy(max_new_tokens: int) -> Sampling:
    return Sampling(n=1, temperature=0.0, top_p=1.0, max_new_tokens=max_new_tokens)


def ask(model: Model, prompts: Sequence[str], how: Sampling, role: Seat) -> list[Sample]:
    """One sample for each prompt."""
    return [group[0] for group in model.sample(prompts, how, role=role, seed=0)]


def sample_fault(sample: Sample) -> str | None:
    """Why this is no answer; an empty or a cut one is."""
    return None if sample.fault is None else f"no answer from the {sample.role}: {sample.fault}"


def no_verdict(sample: Sample, wanted: str) -> str:
    """The fault of a judgement in which ``wanted`` is not to be found."""
    return f"the judgement has no {wanted}" + (", it was cut off" if sample.finish == "length" else "")


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def shown(value: float | None, digits: int = 1, unit: str = "") -> str:
    return "none" if value is None or math.isnan(value) else f"{value:.{digits}f}{unit}"


def interval_line(name: str, values: Sequence[float], how: Evaluation, scale: float = 1.0, unit: str = "") -> str:
    """A mean over questions with its bootstrap interval."""
    if not values:
        return f"  {name:<26}nothing judged"
    found = bootstrap(values, how.level, how.bootstrap)
    mid, low, high = (scale * value for value in (found.mean, found.low, found.high))
    return f"  {name:<26}{mid:6.2f}{unit}  [{low:.2f}, {high:.2f}] ({100 * how.level:g} % interval over {len(values)} questions)"


def fault_lines(rows: Sequence[Row], what: str = "questions") -> list[str]:
    """How many rows count for nobody, and why."""
    faults = [row.fault[:_REASON] for row in rows if row.fault]
    often = Counter(faults).most_common(3)
    told = "; ".join(f"{count} x {reason}" for reason, count in often)
    return [f"  {'faults':<26}{len(faults)} of {len(rows)} {what}" + (f": {told}" if told else "")]
