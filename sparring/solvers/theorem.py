"""One theorem while it is searched: its graph, what it has cost, and the attempt that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sparring.game import Attempt, Env, Goals, Outcome, Proved, Rejected, Step
from sparring.solvers.budget import Budget, Spent
from sparring.solvers.choose import Choose
from sparring.solvers.tree import Edge, Goal, Tree

MAX_SCRIPT_LINES = 10_000
"""A proof that uses the proof of one goal again and again may be exponentially longer as a script: such a one is not written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A tactic to try. ``score`` (at most 0) orders the search; ``logprob`` is the model's (nats); ``target`` the planner's."""

    tactic: str
    score: float
    role: str
    target: str | None = None
    logprob: float = 0.0


@dataclass(eq=False)
class Theorem:
    """``place`` is its number among the tasks."""

    place: int
    tree: Tree
    choose: Choose
    spent: Spent
    status: str = ""
    """Why the search ended: proved, exhausted, fault, or "budget:" and the name of a bound; "" while it goes on."""
    reason: str = ""
    steps: list[Step] = field(default_factory=list[Step])
    """Those that the environment accepted."""
    hints: dict[Goal, str] = field(default_factory=dict[Goal, str])
    """What the flat prover was shown with a goal."""
    _wave: list[Outcome] = field(default_factory=list[Outcome])

    def count(self, outcome: Outcome) -> None:
        """The environment ran a tactic."""
        self._wave.append(outcome)
        self.spent.steps += 1
        if isinstance(outcome, Rejected):
            self.spent.refuse(outcome)

    def take(self, goal: Goal, candidate: Candidate, outcome: Goals | Proved, env: Env) -> None:
        """The environment accepted ``candidate`` at ``goal``."""
        left = outcome if isinstance(outcome, Goals) else Goals(texts=())
        step = Step(
            state=goal.goals.text,
            tactic=candidate.tactic,
            result=left.text,
            role=candidate.role,
            target=candidate.target,
            logprob=candidate.logprob,
            hints=self.hints.get(goal, ""),
        )
        self.steps.append(step)
        self.tree.add(goal, env.split(left) if left.texts else [], step, candidate.score)

    def end_wave(self, budget: Budget) -> None:
        """Say whether this was the last one. A proof comes before a bound: what was found on the step that crosses it counts."""
        wave, self._wave = self._wave, []
        broken = [outcome.reason for outcome in wave if isinstance(outcome, Rejected) and outcome.kind == "fault"]
        root = self.tree.root
        if self.status:
            return
        if root.proof and root.lines <= MAX_SCRIPT_LINES:
            self.status = "proved"
        elif root.proof:
            self.status, self.reason = "budget:script", f"the proof would be {root.lines} lines long"
        elif wave and len(broken) == len(wave):
            self.status, self.reason = "fault", broken[-1]
        elif bound := self.spent.over(budget):
            self.status = f"budget:{bound}"

    def script(self) -> list[Edge]:
        """The lines of the proof, where there is one."""
        return self.tree.proof() if self.status == "proved" else []

    def attempt(self, max_steps_kept: int) -> Attempt:
        """The record. Its ``stats`` are what was spent (``Spent``); ``status`` and ``reason``: why the search ended; ``nodes``:
        goals that came up, the statement too; ``searched``: expansions, repeats too; ``depth``: steps from the statement to
        the deepest goal that was expanded; ``proof_steps``: lines of the script.
        """
        goals, script = self.tree.goals, self.script()
        shape = {
            "nodes": len(goals),
            "searched": sum(goal.expansions for goal in goals),
            "depth": max((goal.depth for goal in goals if goal.expansions), default=0),
            "proof_steps": len(script),
        }
        return Attempt(
            answer="\n".join(edge.step.tactic for edge in script),
            fault=f"environment: {self.reason}" if self.status == "fault" else None,
            steps=self._kept(script, max_steps_kept),
            stats={"status": self.status, "reason": self.reason, **self.spent.figures(), **shape},
        )

    def _kept(self, script: Sequence[Edge], limit: int) -> tuple[Step, ...]:
        """Every step of the proof, marked and with its goal's hints, and the first others up to ``limit`` in all, but at least one, in
        their order.

        The first of all is a step at the statement itself, and so tells which state that was.
        """
        used = {id(edge.step): self.hints.get(edge.goal, "") for edge in script}
        others = [id(step) for step in self.steps if id(step) not in used]
        keep = {*used, *others[: max(limit - len(used), 1)]}
        return tuple(
            replace(step, used=id(step) in used, hints=used.get(id(step), step.hints)) for step in self.steps if id(step) in keep
        )


def unstarted(rejected: Rejected, spent: Spent) -> Attempt:
    """The attempt at a statement that the environment did not take: refused, or a fault."""
    spent.refuse(rejected)
    broke = rejected.kind == "fault"
    shape = {"nodes": 0, "searched": 0, "depth": 0, "proof_steps": 0}
    return Attempt(
        answer="",
        fault=f"environment: {rejected.reason}" if broke else None,
        stats={"status": "fault" if broke else "refused", "reason": rejected.reason, **spent.figures(), **shape},
    )
