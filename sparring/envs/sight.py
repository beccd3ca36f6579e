"""What there is to see in a goal: terms, and what facts match; for ``moves.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice, product

from sparring.envs.facts import UNKNOWNS, Library, Reading, is_small, readings
from sparring.envs.goals import Goal, occurs
from sparring.envs.kernel import ZERO, Expr, Fuel, KernelError, normal
from sparring.envs.matching import Unknowns, is_closed
from sparring.envs.printing import FORMULAS, format_expr

LARGEST = 60
"""Symbols of a term or formula that a move spells out."""
HANDY = 6
"""Terms in sight."""

Known = tuple[dict[str, Expr], dict[str, Expr]]
"""What unknown terms and predicates stand for (see ``Unknowns.known``)."""


class View:
    """A goal, what it takes to match things with it, and the budget for doing so."""

    def __init__(self, goal: Goal, lemmas: Library) -> None:
        self.goal, self.lemmas, self.fuel = goal, lemmas, Fuel(0)
        self.facts = {formula: name for name, formula in reversed(goal.hyps)}
        self.names = goal.names()
        self._unknowns = Unknowns(self.fuel)
        self.hole = [self._unknowns.term("") for _ in range(UNKNOWNS)][-1]
        """An unknown that no reading uses."""

    @cached_property
    def readings(self) -> list[tuple[Reading, ...]]:
        """The hypotheses, ready to be matched: the latest ones, as many as there is time for."""
        found: list[tuple[Reading, ...]] = []
        try:
            for formula, name in self.facts.items():
                self._pay(formula)
                found.append(readings(name, formula))
        except KernelError:
            pass  # the others are out of sight
        return [ways for ways in found if ways]

    def _pay(self, formula: Expr) -> None:
        """Burns what looking at all of a formula costs."""
        stack = [formula]
        while stack:
            self.fuel.burn()
            part = stack.pop()
            if part[0] not in ("var", "bound"):
                stack += part[2] if part[0] == "pred" else part[1:]

    def match(self, pattern: Expr, target: Expr, known: Known | None = None) -> Known | None:
        """``known`` and what else makes ``pattern`` the same as ``target``; None if nothing does."""
        self.fuel.burn()
        if not _may_match(pattern, target):
            return None
        self._unknowns.forget((dict(known[0]), dict(known[1])) if known else ({}, {}))
        return self._unknowns.known() if self._unknowns.match(pattern, target) else None

    def fill(self, pattern: Expr, known: Known) -> Expr:
        self._unknowns.forget(known)
        return self._unknowns.resolve(pattern)

    def is_ground(self, formula: Expr) -> bool:
        return not self._unknowns.left(formula)

    def spoken(self) -> Iterator[Expr]:
        """The conclusion, then the hypotheses."""
        yield self.goal.conclusion
        yield from self.facts

    @cached_property
    def in_sight(self) -> list[Expr]:
        """Variables, then other small terms that the goal mentions; 0 if there is nothing else."""
        found: dict[Expr, None] = {("var", name): None for name in self.goal.variables}
        for formula in self.spoken():
            if len(found) >= HANDY:
                break
            small = (term for term in terms_in(formula, self.fuel) if is_small(term, 4))
            found.update(dict.fromkeys(term for term in small if normal(term, self.fuel) == term))
        return list(found)[:HANDY] or [ZERO]

    def mentioned(self, formulas: Sequence[Expr]) -> list[str]:
        """The variables of which these speak."""
        return [name for name in self.goal.variables if any(occurs(name, formula, self.fuel) for formula in formulas)]

    def joined(self, reading: Reading, known: Known | None = None) -> Iterator[tuple[Known, list[str]]]:
        """Ways to let hypotheses prove all premises, with the names of these hypotheses."""
        return self._joined(reading.premises, known or ({}, {}), [])

    def _joined(self, premises: Sequence[Expr], known: Known, used: list[str]) -> Iterator[tuple[Known, list[str]]]:
        if not premises:
            yield known, used
            return
        for formula, name in self.facts.items():
            found = self.match(premises[0], formula, known)
            if found is not None:
                yield from self._joined(premises[1:], found, [*used, name])

    def completed(self, reading: Reading, known: Known, most: int) -> Iterator[Known]:
        """``known`` with the unknown terms that are still missing: as a hypothesis that proves a premise has it, or in sight."""
        missing = [name for name in reading.unknowns if name not in known[0]]
        if not missing:
            yield known
            return
        pairs = product(reading.premises, self.facts)
        matched = (self.match(premise, fact, known) for premise, fact in pairs)
        found = [one for one in islice(matched, 40) if one is not None and one[0].keys() >= set(missing)]
        for terms in islice(product(self.in_sight, repeat=len(missing)), most):
            found.append(({**known[0], **dict(zip(missing, terms, strict=True))}, known[1]))
        yield from distinct(found)[:most]

    def call(self, reading: Reading, known: Known, used: Sequence[str]) -> str:
        """The proof expression, in parentheses if it has arguments; "" if a term in it is too long."""
        names = iter(used)
        given = [argument(known[0][item]) if item else next(names) for item in reading.order]
        return "" if "" in given else f"({' '.join([reading.name, *given])})" if given else reading.name


def _may_match(pattern: Expr, target: Expr) -> bool:
    """Whether they are alike at first sight: cheap, and most pairs are not."""
    if pattern[0] in ("var", "pred"):
        return True
    pairs = zip(pattern[1:], target[1:], strict=False)
    return pattern[0] == target[0] and all(a[0] == b[0] or a[0] in ("var", "pred") for a, b in pairs if type(a) is tuple)


def distinct(found: Iterable[Known]) -> list[Known]:
    """Without what comes again."""
    kept: list[Known] = []
    for one in found:
        if one not in kept:
            kept.append(one)
    return kept


def spelled(expr: Expr) -> str:
    """A term or formula as text; "" if it is too long."""
    return format_expr(expr) if is_small(expr, LARGEST) else ""


def argument(term: Expr) -> str:
    """A term as an argument; "" if it is too long."""
    text = spelled(term)
    return f"({text})" if " " in text else text


def terms_in(formula: Expr, fuel: Fuel) -> dict[Expr, int]:
    """The closed terms in a formula, a term before its parts and from left to right, and how often they occur."""
    found: dict[Expr, int] = {}
    stack = [(formula, False)]
    while stack:
        node, loose = stack.pop()
        fuel.burn()
        if node[0] not in FORMULAS and not (loose and not is_closed(node, fuel)):
            loose = False
            found[node] = found.get(node, 0) + 1
        if node[0] not in ("var", "bound"):
            loose = loose or node[0] in ("all", "ex")
            stack += [(part, loose) for part in reversed(node[2] if node[0] == "pred" else node[1:])]
    return found
