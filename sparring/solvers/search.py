"""Proof search in waves, over many theorems at once; it knows neither model nor prover.

A wave chooses goals of all live theorems, asks once for candidates for all of them, runs all new candidates as one batch
of the environment, and takes the outcomes into each theorem's graph. What happens to a theorem depends on its own graph
alone, never on what else is in the wave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from time import perf_counter

from sparring.game import NO_GOALS, Attempt, Env, Goals, Outcome, Proved, Rejected, Step, Task
from sparring.prompts import one_line
from sparring.solvers.budget import Budget, Spent
from sparring.solvers.choose import BestFirst, Choose
from sparring.solvers.tree import Edge, Goal, Tree

MAX_SCRIPT_LINES = 10_000
"""A proof that uses a lemma's proof again and again can be exponentially longer as a script; such a one is not written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A tactic to try. ``score`` (at most 0) orders the search; ``logprob`` is the model's, nats; ``target``: the planner's."""

    tactic: str
    score: float
    role: str
    target: str | None = None
    logprob: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """The candidates for one goal, the best first, and what they took."""

    candidates: Sequence[Candidate]
    calls: int = 0
    tokens: int = 0
    planner_s: float = 0.0
    actor_s: float = 0.0


Expand = Callable[[Sequence[str], int], list[Proposal]]
"""(states, how often each was expanded before) -> a proposal for each state."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How to search. ``budget`` is for each theorem."""

    budget: Budget
    algorithm: Callable[[], Choose] = BestFirst
    value: Callable[[Sequence[str]], list[float]] | None = None
    """The chance, in [0, 1], that a state gets proved, for goals that are expanded. ``Mcts`` looks at it, ``BestFirst`` not."""
    width: int = 4
    """Goals of one theorem in one wave, at most."""
    live: int = 64
    """Theorems in one wave, at most; the others wait."""
    retries: int = 0
    """How often a goal may be expanded again, with new candidates, when its theorem has nothing else left to try."""
    dedup: bool = True
    """Equal goals of a theorem are one; False: each time a goal comes up it is searched anew (ablation)."""
    max_steps_kept: int = 256
    """Accepted steps in an attempt's record: those of the proof, whatever their number, and the first others."""
    clock: Callable[[], float] = perf_counter


@dataclass
class _Theorem:
    """One theorem's search: where it stands and what it has cost."""

    place: int
    task: Task
    choose: Choose
    tree: Tree | None = None
    spent: Spent = field(default_factory=Spent)
    steps: list[Step] = field(default_factory=list[Step])
    status: str = ""
    """Why the search ended; "" while it goes on."""
    reason: str = ""

    def end(self, status: str, reason: str = "") -> None:
        self.status, self.reason = self.status or status, self.reason or reason

    def take(self, goal: Goal, candidate: Candidate, outcome: Outcome, env: Env) -> None:
        """The environment's answer to ``candidate`` at ``goal``."""
        assert self.tree is not None
        if isinstance(outcome, Rejected):
            self.spent.rejected += outcome.kind == "refused"
            self.spent.timeouts += outcome.kind == "timeout"
            self.spent.faults += outcome.kind == "fault"
            return
        parts = [] if isinstance(outcome, Proved) or not outcome.texts else env.split(outcome)
        step = Step(
            state=goal.goals.text,
            tactic=candidate.tactic,
            result=outcome.text if isinstance(outcome, Goals) else NO_GOALS,
            role=candidate.role,
            target=candidate.target,
            logprob=candidate.logprob,
        )
        self.steps.append(step)
        self.tree.add(goal, parts, step, candidate.score)

    def attempt(self, max_steps_kept: int) -> Attempt:
        goals = self.tree.goals if self.tree else []
        script = self.tree.proof() if self.tree and self.status == "proved" else []
        return Attempt(
            answer="\n".join(edge.step.tactic for edge in script),
            fault=f"environment: {self.reason}" if self.status == "fault" else None,
            steps=_kept(self.steps, script, max_steps_kept),
            stats={
                "status": self.status,
                "reason": self.reason,
                **self.spent.figures(),
                "nodes": len(goals),
                "searched": sum(goal.expansions for goal in goals),
                "depth": max((goal.depth for goal in goals if goal.expansions), default=0),
                "proof_steps": len(script),
            },
        )


_Try = tuple[_Theorem, Goal, Candidate]


class Search:
    """Proves tasks in ``env`` with the candidates of ``expand``."""

    def __init__(self, env: Env, expand: Expand, rules: Rules) -> None:
        self.env, self.expand, self.rules = env, expand, rules

    def run(self, tasks: Sequence[Task]) -> list[Attempt]:
        """One attempt at each task, in order. ``docs/prove.md`` says what is in its ``stats``."""
        attempts: dict[int, Attempt] = {}
        waiting = list(enumerate(tasks))[::-1]
        live: list[_Theorem] = []
        while waiting or live:
            while waiting and len(live) < self.rules.live:
                live.append(self._start(*waiting.pop()))
            self._wave([theorem for theorem in live if not theorem.status])
            attempts |= {theorem.place: theorem.attempt(self.rules.max_steps_kept) for theorem in live if theorem.status}
            live = [theorem for theorem in live if not theorem.status]
        return [attempts[place] for place in range(len(tasks))]

    def _start(self, place: int, task: Task) -> _Theorem:
        theorem = _Theorem(place, task, self.rules.algorithm())
        begun = self.rules.clock()
        root = self.env.start(task)
        theorem.spent.env_s += self.rules.clock() - begun
        if isinstance(root, Rejected):
            theorem.end("fault" if root.kind == "fault" else "refused", root.reason)
        else:
            theorem.tree = Tree(root, dedup=self.rules.dedup)
        return theorem

    def _wave(self, live: Sequence[_Theorem]) -> None:
        begun = self.rules.clock()
        known_s = sum(theorem.spent.total_s for theorem in live)
        chosen = [(theorem, goal) for theorem in live for goal in self._choose(theorem)]
        tries = [(*pair, candidate) for pair, proposal in self._propose(chosen) for candidate in _new(*pair, proposal)]
        outcomes = self._step(tries)
        for (theorem, goal, candidate), outcome in zip(tries, outcomes, strict=True):
            theorem.take(goal, candidate, outcome, self.env)
        for theorem, goal in chosen:
            assert theorem.tree is not None
            theorem.tree.close(goal)
        for theorem in live:
            self._judge(theorem, [outcome for (owner, *_), outcome in zip(tries, outcomes, strict=True) if owner is theorem])
        other_s = self.rules.clock() - begun - (sum(theorem.spent.total_s for theorem in live) - known_s)
        for theorem in live:
            theorem.spent.other_s += other_s / len(live)

    def _choose(self, theorem: _Theorem) -> list[Goal]:
        tree = theorem.tree
        assert tree is not None
        while not (goals := theorem.choose(tree, self.rules.width)) and tree.round < self.rules.retries:
            tree.reopen()
        if not goals:
            theorem.end("exhausted")
        return goals
