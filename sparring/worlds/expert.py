"""The expert: finds proofs the way a textbook writes them. It supplies the demonstrations and says how hard a theorem is.

Moves that lose nothing are made at once; the others are searched by iterative deepening on how many of them a branch takes.
Propositional goals that do not hold are pruned by a complete decision procedure, so there the expert proves whatever can be proved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

from sparring.envs.kernel import Expr, KernelError
from sparring.envs.printing import Statement
from sparring.game import stable_hash
from sparring.worlds.countermodels import is_refuted
from sparring.worlds.moves import Move, Style, choices, close, committed
from sparring.worlds.premises import (
    case_lemmas,
    case_moves,
    early_induction,
    induction_moves,
    is_stuck_on_numbers,
    lemma_moves,
    lossless,
)
from sparring.worlds.proofstate import Goal
from sparring.worlds.sequent import Decider, TooHard

DEEPEST = 9
"""Choices on one branch."""


PLAIN = Style()
_EQUATION = 5
"""What looking for a proof of an equation costs, in goals."""


class _GivenUp(Exception):
    """The search has looked at as many goals as it may."""


def style_of(*parts: object, inductive: bool = False) -> Style:
    """A style drawn for whatever ``parts`` name; most habits are rare, so that most proofs look alike."""
    rng = Random(stable_hash("style", *parts))
    forward, assumption, one_by_one, split_first = (rng.random() < share for share in (0.3, 0.15, 0.08, 0.15))
    return Style(forward, assumption, one_by_one, split_first, inductive)


class Expert:
    """Proves statements with the given lemmas (name: formula); ``goals``: how many it looks at before it gives up."""

    def __init__(self, lemmas: Mapping[str, Expr], goals: int = 800) -> None:
        self._lemmas, self._limit = lemmas, goals

    def prove(self, statement: Statement, style: Style = PLAIN) -> list[str] | None:
        """A script, a tactic per line, that should prove the statement; None where no proof was found."""
        symbols = frozenset(name for name, _ in statement.symbols)
        root = Goal(symbols, (), (), statement.formula)
        try:
            return _Search(self._lemmas, style, self._limit).run(root)
        except (KernelError, TooHard, _GivenUp, RecursionError):
            return None


class _Search:
    """One search: its budget, and what it has learned about goals that cannot be proved with so many choices."""

    def __init__(self, lemmas: Mapping[str, Expr], style: Style, limit: int) -> None:
        self._lemmas, self._style, self._left = lemmas, style, limit
        self._decider = Decider()
        self._failed: dict[object, int] = {}
        self._holds: dict[object, bool] = {}
        self._closed: dict[object, list[str] | None] = {}

    def run(self, root: Goal) -> list[str] | None:
        first = int(self._style.inductive and _is_universal_fact(root.conclusion))
        for depth in range(first, DEEPEST + 1):
            lines = self._prove(root, depth, frozenset(), 2)
            if lines is not None:
                return lines
        return None

    def _prove(self, goal: Goal, depth: int, above: frozenset[object], inductions: int) -> list[str] | None:
        """A script for the goal with at most ``depth`` choices on a branch; ``above``: the goals on the way to it."""
        if self._style.inductive and depth and inductions and _is_universal_fact(goal.conclusion):
            lines = self._by_early_induction(goal, depth, above, inductions)
            if lines is not None:
                return lines
        key = (goal.facts, goal.conclusion, goal.variables)
        if key in above or self._failed.get((key, inductions), -1) >= depth or not self._can_hold(goal):
            return None
        if (end := self._close(goal)) is not None:
            return end
        self._left -= 1
        if self._left < 0:
            raise _GivenUp
        above = above | {key}
        if move := lossless(goal, self._lemmas) or committed(goal, self._style):
            lines = self._after(move, depth, above, inductions)
            if lines is None and depth and inductions and goal.conclusion[0] == "all":
                lines = self._by_early_induction(goal, depth, above, inductions)
            if lines is None and move.line == "split" and inductions:
                lines = self._choose(goal, depth, above, inductions, induction_moves(goal))
        else:
            lines = self._choose(goal, depth, above, inductions, self._choices(goal, inductions))
        if lines is None:
            self._failed[key, inductions] = depth
        return lines

    def _choose(
        self, goal: Goal, depth: int, above: frozenset[object], inductions: int, moves: Iterator[Move]
    ) -> list[str] | None:
        if depth == 0:
            return None
        for move in moves:
            used = move.line.startswith("induction")
            lines = self._after(move, depth - 1, above, inductions - used)
            if lines is not None:
                return lines
        return None

    def _choices(self, goal: Goal, inductions: int) -> Iterator[Move]:
        yield from choices(goal)
        numeric = is_stuck_on_numbers(goal)
        if numeric:
            yield from case_lemmas(goal, self._lemmas, asked=True)
            yield from lemma_moves(goal, self._lemmas)
            yield from case_moves(goal)
        if inductions:
            yield from induction_moves(goal)
        if numeric:
            yield from case_lemmas(goal, self._lemmas, asked=False)

    def _after(self, move: Move, depth: int, above: frozenset[object], inductions: int) -> list[str] | None:
        lines = [move.line]
        if not all(self._can_hold(goal) for goal in move.goals):
            return None
        for goal in move.goals:
            rest = self._prove(goal, depth, above, inductions)
            if rest is None:
                return None
            lines += rest
        return lines

    def _by_early_induction(self, goal: Goal, depth: int, above: frozenset[object], inductions: int) -> list[str] | None:
        for introduction, move in early_induction(goal):
            lines = self._after(move, depth - 1, above, inductions - 1)
            if lines is not None:
                return [introduction.line, *lines]
        return None

    def _close(self, goal: Goal) -> list[str] | None:
        key = (goal.hyps, goal.conclusion)
        if key not in self._closed:
            self._left -= _EQUATION * (goal.conclusion[0] == "eq")
            self._closed[key] = close(goal, self._style)
        return self._closed[key]

    def _can_hold(self, goal: Goal) -> bool:
        """False for a propositional goal that does not hold and for a refuted one of arithmetic; True where nothing is known."""
        key = (goal.facts, goal.conclusion)
        if key not in self._holds:
            if all(map(is_propositional, (goal.conclusion, *goal.facts))):
                self._holds[key] = self._decider.holds(*key)
            else:
                self._holds[key] = not is_refuted(goal)
        return self._holds[key]


def is_propositional(formula: Expr) -> bool:
    """Whether nothing but connectives and propositions is in it."""
    if formula[0] in ("and", "or", "imp"):
        return is_propositional(formula[1]) and is_propositional(formula[2])
    return formula[0] in ("false", "true") or (formula[0] == "pred" and not formula[2])


def _is_universal_fact(formula: Expr) -> bool:
    """For all numbers (of which there are some), an equation or a choice of numbers."""
    inner = formula
    while inner[0] == "all":
        inner = inner[1]
    return inner is not formula and inner[0] in ("eq", "ex", "or")
