"""Proof search in waves, over many theorems at once; it knows neither model nor prover.

A wave chooses goals of all live theorems, asks once for candidates for all of them, runs all new candidates as one batch
of the environment, and takes the outcomes into each theorem's graph. What becomes of a theorem depends on its own graph
alone, never on what else is in the wave.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

from sparring.game import Attempt, Env, Goals, Outcome, Proved, Rejected, Task
from sparring.prompts import fitting, one_line, size
from sparring.solvers.budget import Budget, Spent
from sparring.solvers.choose import BestFirst, Choose
from sparring.solvers.theorem import Candidate, Theorem, unstarted
from sparring.solvers.tree import Goal, Tree

MOVE = "move"
"""The role of a tactic that the environment suggested."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """The candidates for one goal, the best first, and what the model took for them."""

    candidates: Sequence[Candidate]
    spent: Spent


Hints = Callable[[int], str]
"""The number of a state -> lemmas that may serve it (``Env.hints``), as many as there is room for; looked up when called."""


def no_hints(number: int) -> str:
    return ""


Expand = Callable[[Sequence[str], Hints, int], list[Proposal]]
"""(states, their hints, how often each was expanded before) -> a proposal for each state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """Where the candidates for a goal led: by the text of each new state, those that led there."""

    state: str
    ways: Mapping[str, Sequence[Candidate]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """A score (at most 0) for each state that was reached, in order, and what the model took for them.

    ``targets``: what a planner would have had to write to name that state; none where no planner was asked.
    """

    scores: Sequence[float]
    targets: Sequence[str | None]
    spent: Spent


Rank = Callable[[Sequence[Reached]], list[Ranking]]


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
    """How often a goal may be expanded again, for other candidates, when its theorem has nothing else left."""
    moves: int = 0
    """Tactics of the environment's own (``Env.moves``) tried at a goal's first expansion, at most."""
    hints: bool = False
    """The flat prover is shown the lemmas that the environment thinks of (``Env.hints``), as many as ``max_bytes`` has room for."""
    max_bytes: int = 4000
    """A goal of more (in UTF-8) is not put to the model, and so is left alone: tactics may blow one up without bound."""
    dedup: bool = True
    """Equal goals of a theorem are one; False: wherever a goal comes up it is searched anew (ablation)."""
    max_steps_kept: int = 256
    """Accepted steps in an attempt's record: those of the proof, whatever their number, and the first others."""
    clock: Callable[[], float] = perf_counter


_Try = tuple[Theorem, Goal, Candidate]


@dataclass(frozen=True)
class Search:
    """Proves tasks in ``env`` with the candidates of ``expand``. With ``rank`` a candidate's score is that of the state it led to,
    and of several that led to the same state only the first is kept."""

    env: Env
    expand: Expand
    rules: Rules
    rank: Rank | None = None

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
            attempts |= {theorem.place: self._record(theorem) for theorem in live if theorem.status}
            live = [theorem for theorem in live if not theorem.status]
        return [attempts[place] for place in range(len(tasks))]

    def _start(self, place: int, task: Task) -> Theorem | Attempt:
        begun = self.rules.clock()
        root = self.env.start(task)
        spent = Spent(env_s=self.rules.clock() - begun)
        if isinstance(root, Rejected):
            return unstarted(root, spent)
        return Theorem(place, Tree(root, dedup=self.rules.dedup), self.rules.algorithm(), spent)

    def _record(self, theorem: Theorem) -> Attempt:
        for edge in theorem.script():  # the flat prover learns from these, whoever named them
            self._hint(theorem, edge.goal)
        return theorem.attempt(self.rules.max_steps_kept)

    def _wave(self, live: Sequence[Theorem]) -> None:
        begun = self.rules.clock()
        shared_s = -sum(theorem.spent.total_s for theorem in live)
        chosen = [(theorem, goal) for theorem in live for goal in self._choose(theorem)]
        tries = self._moves([(theorem, goal) for theorem, goal in chosen if not goal.expansions])
        outcomes = self._step(tries)
        closed = {goal for (_, goal, _), outcome in zip(tries, outcomes, strict=True) if isinstance(outcome, Proved)}
        asked = self._propose([(theorem, goal) for theorem, goal in chosen if goal not in closed])
        tries += asked
        outcomes += self._step(asked)
        for (theorem, _, _), outcome in zip(tries, outcomes, strict=True):
            theorem.count(outcome)
        for (theorem, goal, candidate), outcome in self._ranked(tries, outcomes):
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

    def _moves(self, chosen: Sequence[tuple[Theorem, Goal]]) -> list[_Try]:
        """What the environment would try; a goal that this closes costs no model call."""
        tries: list[_Try] = []
        for theorem, goal in chosen if self.rules.moves else ():
            if size(goal.goals.text) <= self.rules.max_bytes:
                begun = self.rules.clock()
                found = self.env.moves(goal.goals)[: self.rules.moves]
                theorem.spent.env_s += self.rules.clock() - begun
                chance = 0.0 - math.log(max(len(found), 1))  # nobody knows better, unless they are ranked
                named = [Candidate(tactic=tactic, score=chance, role=MOVE, logprob=chance) for tactic in found]
                tries += [(theorem, goal, candidate) for candidate in _new(theorem, goal, named)]
        return tries

    def _propose(self, chosen: Sequence[tuple[Theorem, Goal]]) -> list[_Try]:
        """All new candidates: one request, and one more for each further number of retries among the goals."""
        tries: list[_Try] = []
        for retry in sorted({goal.expansions for _, goal in chosen}):
            asked = [(theorem, goal) for theorem, goal in chosen if goal.expansions == retry]
            states = [goal.goals.text for _, goal in asked]
            hints = partial(self._hint_of, asked)
            for (theorem, goal), proposal in zip(asked, self.expand(states, hints, retry), strict=True):
                theorem.spent.add(proposal.spent)
                tries += [(theorem, goal, candidate) for candidate in _new(theorem, goal, proposal.candidates)]
            if self.rules.value:
                for (_, goal), chance in zip(asked, self.rules.value(states), strict=True):
                    goal.estimate = chance
        return tries

    def _hint_of(self, asked: Sequence[tuple[Theorem, Goal]], number: int) -> str:
        return self._hint(*asked[number])

    def _hint(self, theorem: Theorem, goal: Goal) -> str:
        """Looked up once for a goal, and only if it is asked for: most goals that come up are never put to the flat prover."""
        state = goal.goals.text
        if self.rules.hints and goal not in theorem.hints and size(state) <= self.rules.max_bytes:
            begun = self.rules.clock()
            theorem.hints[goal] = fitting(self.env.hints(goal.goals), state, self.rules.max_bytes)
            theorem.spent.env_s += self.rules.clock() - begun
        return theorem.hints.get(goal, "")

    def _ranked(self, tries: Sequence[_Try], outcomes: Sequence[Outcome]) -> list[tuple[_Try, Goals | Proved]]:
        """The tries that were accepted. With ``rank`` their scores are those of the states that they led to, the first way to each."""
        accepted = [(one, outcome) for one, outcome in zip(tries, outcomes, strict=True) if not isinstance(outcome, Rejected)]
        if self.rank is None:
            return accepted
        closed = {goal for (_, goal, _), outcome in accepted if isinstance(outcome, Proved)}  # no other way matters there
        groups: dict[Goal, dict[str, list[tuple[_Try, Goals | Proved]]]] = {}
        for one, outcome in accepted:
            if isinstance(outcome, Goals) and one[1] not in closed and outcome.text != one[1].goals.text:
                groups.setdefault(one[1], {}).setdefault(outcome.text, []).append((one, outcome))
        reached = [
            Reached(state=goal.goals.text, ways={text: [c for (_, _, c), _ in ways] for text, ways in group.items()})
            for goal, group in groups.items()
        ]
        kept: list[tuple[_Try, Goals | Proved]] = [pair for pair in accepted if isinstance(pair[1], Proved)]
        for (goal, group), ranking in zip(groups.items(), self.rank(reached) if reached else [], strict=True):
            (theorem, _, _), _ = next(iter(group.values()))[0]
            theorem.spent.add(ranking.spent)
            for ways, score, target in zip(group.values(), ranking.scores, ranking.targets, strict=True):
                (_, _, candidate), outcome = ways[0]
                kept.append(((theorem, goal, _scored(candidate, score, target)), outcome))
        return kept

    def _step(self, tries: Sequence[_Try]) -> list[Outcome]:
        begun = self.rules.clock()
        outcomes = self.env.step([(goal.goals, candidate.tactic) for _, goal, candidate in tries]) if tries else []
        seconds = self.rules.clock() - begun
        for theorem, _, _ in tries:
            theorem.spent.env_s += seconds / len(tries)
        return outcomes


def _new(theorem: Theorem, goal: Goal, found: Sequence[Candidate]) -> Iterator[Candidate]:
    """The candidates that were not tried at this goal before, each as one line: a script has a tactic per line."""
    for candidate in found:
        tactic = one_line(candidate.tactic)
        if tactic in goal.tried:
            theorem.spent.duplicates += 1
        else:
            goal.tried.add(tactic)
            yield replace(candidate, tactic=tactic)


def _scored(candidate: Candidate, score: float, target: str | None) -> Candidate:
    """By where it led; a tactic that no model named has no other log-prob than that."""
    logprob = score if candidate.role == MOVE else candidate.logprob
    return replace(candidate, score=score, logprob=logprob, target=candidate.target or target)
