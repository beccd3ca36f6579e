"""Proof search in waves, over many theorems at once; it knows neither model nor prover.

A wave chooses goals of all live theorems, asks once for candidates for all of them, runs all new candidates as one batch
of the environment, and takes the outcomes into each theorem's graph. What becomes of a theorem depends on its own graph
alone, never on what else is in the wave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from sparring.game import Attempt, Env, Goals, Outcome, Rejected, Task
from sparring.prompts import one_line
from sparring.solvers.budget import Budget, Spent
from sparring.solvers.choose import BestFirst, Choose
from sparring.solvers.theorem import Candidate, Theorem, unstarted
from sparring.solvers.tree import Goal, Tree


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """The candidates for one goal, the best first, and what the model took for them."""

    candidates: Sequence[Candidate]
    spent: Spent


Expand = Callable[[Sequence[str], int], list[Proposal]]
"""(states, how often each was expanded before) -> a proposal for each state."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How to search; ``budget`` is for each theorem."""

    budget: Budget
    algorithm: Callable[[], Choose] = BestFirst
    value: Callable[[Sequence[str]], list[float]] | None = None
    """The chance, in [0, 1], that a state gets proved; asked of goals that are expanded. Only ``Mcts`` heeds it."""
    width: int = 4
    """Goals of one theorem in one wave, at most."""
    live: int = 64
    """Theorems in one wave, at most; the others wait."""
    retries: int = 0
    """How often a goal may be expanded again, for other candidates."""
    interleave: bool = False
    """Goals are expanded again along with new ones, as the algorithm orders them; else when their theorem has nothing else left."""
    dedup: bool = True
    """Equal goals of a theorem are one; False: wherever a goal comes up it is searched anew (ablation)."""
    max_steps_kept: int = 256
    """Accepted steps in an attempt's record: those of the proof, whatever their number, and the first others."""
    clock: Callable[[], float] = perf_counter


_Try = tuple[Theorem, Goal, Candidate]


@dataclass(frozen=True)
class Search:
    """Proves tasks in ``env`` with the candidates of ``expand``."""

    env: Env
    expand: Expand
    rules: Rules

    def run(self, tasks: Sequence[Task]) -> list[Attempt]:
        """An attempt at each task, in order."""
        attempts: dict[int, Attempt] = {}
        waiting = list(enumerate(tasks))[::-1]
        live: list[Theorem] = []
        while waiting or live:
            while waiting and len(live) < self.rules.live:
                place, task = waiting.pop()
                begun = self._start(place, task)
                if isinstance(begun, Theorem):
                    live.append(begun)
                else:
                    attempts[place] = begun
            self._wave(live)
            attempts |= {theorem.place: theorem.attempt(self.rules.max_steps_kept) for theorem in live if theorem.status}
            live = [theorem for theorem in live if not theorem.status]
        return [attempts[place] for place in range(len(tasks))]

    def _start(self, place: int, task: Task) -> Theorem | Attempt:
        begun = self.rules.clock()
        root = self.env.start(task)
        spent = Spent(env_s=self.rules.clock() - begun)
        if isinstance(root, Rejected):
            return unstarted(root, spent)
        return Theorem(place, self._tree(root), self.rules.algorithm(), spent)

    def _tree(self, root: Goals) -> Tree:
        return Tree(root, dedup=self.rules.dedup, round=self.rules.retries if self.rules.interleave else 0)

    def _wave(self, live: Sequence[Theorem]) -> None:
        begun = self.rules.clock()
        shared_s = -sum(theorem.spent.total_s for theorem in live)
        chosen = [(theorem, goal) for theorem in live for goal in self._choose(theorem)]
        tries = self._propose(chosen)
        for (theorem, goal, candidate), outcome in zip(tries, self._step(tries), strict=True):
            theorem.take(goal, candidate, outcome, self.env)
        for theorem, goal in chosen:
            theorem.tree.close(goal)
        # What the model and the environment took is on the theorems' accounts by now; they share the rest equally.
        shared_s += sum(theorem.spent.total_s for theorem in live)
        other_s = max(self.rules.clock() - begun - shared_s, 0.0)  # rounding may make it less than nothing
        for theorem in live:
            theorem.spent.other_s += other_s / len(live)
            theorem.end_wave(self.rules.budget)

    def _choose(self, theorem: Theorem) -> list[Goal]:
        tree = theorem.tree
        while not (goals := theorem.choose(tree, self.rules.width)) and tree.round < self.rules.retries:
            tree.reopen()
        if not goals:
            theorem.status = "exhausted"
        return goals

    def _propose(self, chosen: Sequence[tuple[Theorem, Goal]]) -> list[_Try]:
        """All new candidates: one request, and one more for each further number of retries among the goals."""
        tries: list[_Try] = []
        for retry in sorted({goal.expansions for _, goal in chosen}):
            asked = [(theorem, goal) for theorem, goal in chosen if goal.expansions == retry]
            states = [goal.goals.text for _, goal in asked]
            for (theorem, goal), proposal in zip(asked, self.expand(states, retry), strict=True):
                tries += [(theorem, goal, candidate) for candidate in _new(theorem, goal, proposal)]
            if self.rules.value:
                for (_, goal), chance in zip(asked, self.rules.value(states), strict=True):
                    goal.estimate = chance
        return tries

    def _step(self, tries: Sequence[_Try]) -> list[Outcome]:
        begun = self.rules.clock()
        outcomes = self.env.step([(goal.goals, candidate.tactic) for _, goal, candidate in tries]) if tries else []
        seconds = self.rules.clock() - begun
        for theorem, _, _ in tries:
            theorem.spent.env_s += seconds / len(tries)
        return outcomes


def _new(theorem: Theorem, goal: Goal, proposal: Proposal) -> Iterator[Candidate]:
    """The candidates that were not tried at this goal before, each as one line: a script has a tactic per line."""
    theorem.spent.add(proposal.spent)
    for candidate in proposal.candidates:
        tactic = one_line(candidate.tactic)
        if tactic in goal.tried:
            theorem.spent.duplicates += 1
        else:
            goal.tried.add(tactic)
            yield replace(candidate, tactic=tactic)
