"""What a search may cost, and what it did cost; both for one theorem."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sparring.game import Rejected


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Bounds for one theorem; None: no bound. With none at all only the end of the candidates ends a search.

    A bound stops the next wave, never the one that crosses it: a proof found on the step that crosses counts.
    """

    seconds: float | None = None
    """Of model and prover time spent on the theorem, not of the clock on the wall: waves are shared with other theorems."""
    calls: int | None = None
    """Sequences that a model generated, in whatever role, and readings of what was reached, one for each goal and role that ranks."""
    tokens: int | None = None
    """Tokens in them."""
    steps: int | None = None
    """Tactics that the environment ran."""


@dataclass(kw_only=True, slots=True)
class Spent:
    """Counts up as a search goes on. What a batch took is shared out by rows (model) and by tries (environment)."""

    planner_s: float = 0.0
    actor_s: float = 0.0
    """Everything that names tactics: actor, flat and joint."""
    env_s: float = 0.0
    other_s: float = 0.0
    """The search's own book-keeping, and values."""
    calls: int = 0
    tokens: int = 0
    steps: int = 0
    rejected: int = 0
    """Steps that the environment refused; those that ran out of time and those on which it broke are counted apart."""
    timeouts: int = 0
    faults: int = 0
    weighed: int = 0
    """States reached that a model ranked; it reads them, and generates nothing."""
    duplicates: int = 0
    """Candidates that had been tried at the same goal, and were not run again."""

    @property
    def total_s(self) -> float:
        return self.planner_s + self.actor_s + self.env_s + self.other_s

    def add(self, other: Spent) -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def refuse(self, rejected: Rejected) -> None:
        self.rejected += rejected.kind == "refused"
        self.timeouts += rejected.kind == "timeout"
        self.faults += rejected.kind == "fault"

    def over(self, budget: Budget) -> str | None:
        """The name of a bound that is reached."""
        pairs = (
            ("calls", self.calls, budget.calls),
            ("tokens", self.tokens, budget.tokens),
            ("steps", self.steps, budget.steps),
            ("seconds", self.total_s, budget.seconds),
        )
        return next((name for name, spent, bound in pairs if bound is not None and spent >= bound), None)

    def figures(self) -> dict[str, float]:
        """For ``Attempt.stats``: every field and ``total_s``, seconds to the microsecond."""
        return {name: round(value, 6) for name, value in {**asdict(self), "total_s": self.total_s}.items()}
