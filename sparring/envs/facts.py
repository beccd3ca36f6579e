"""Facts as a search uses them: ways to read one, equations as rules for rewriting, lemmas sorted by what can be done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from sparring.envs.kernel import FALSE, ZERO, Expr, Fuel, KernelError, Theorem, instantiate, normal
from sparring.envs.matching import Unknowns
from sparring.envs.printing import names_in

UNKNOWNS = 16
"""Unknowns of one fact: a fact with more of them is not looked at."""
READING_FUEL = 4_000
"""Elementary steps that reading one fact may take."""


class Reading(NamedTuple):
    """One way to read a fact: for all unknowns, ``premises`` imply ``conclusion``.

    ``order``: its arguments as a proof gives them, each the name of an unknown, or "" for the next premise.
    """

    name: str
    order: tuple[str, ...]
    premises: tuple[Expr, ...]
    conclusion: Expr

    @property
    def unknowns(self) -> list[str]:
        return [item for item in self.order if item]

    @property
    def leading(self) -> tuple[str, ...]:
        """The unknowns before the first premise."""
        return self.order[: self.order.index("")] if "" in self.order else self.order


@lru_cache(maxsize=1 << 13)
def readings(name: str, formula: Expr, symbols: tuple[tuple[str, int], ...] = ()) -> tuple[Reading, ...]:
    """Every way to read a fact as premises and a conclusion, fewest premises first; raises KernelError for a huge one."""
    unknowns = Unknowns(Fuel(READING_FUEL))
    if symbols:
        formula, _ = unknowns.predicates(formula, symbols, name)
    order: tuple[str, ...] = ()
    premises: tuple[Expr, ...] = ()
    found: list[Reading] = []
    while True:
        if formula[0] == "all":
            term = unknowns.term(name)
            order = (*order, term[1])
            formula = instantiate(formula[1], (term,), unknowns.fuel)
            continue
        found.append(Reading(name, order, premises, formula))
        if formula[0] != "imp":
            return tuple(found) if len(unknowns.labels) < UNKNOWNS else ()
        order, premises, formula = (*order, ""), (*premises, formula[1]), formula[2]


# ------------------------------------------------------------------------------------------------ equations


class Rule(NamedTuple):
    """An equation for rewriting from left to right; ``arrow``: what to write where that is from right to left."""

    reading: Reading
    arrow: str
    old: Expr
    new: Expr
    rank: int
    """0: makes simpler; 1: brings into another form; 2: exchanges; 3: undoes one of the others."""


@lru_cache(maxsize=1 << 13)
def rules(reading: Reading) -> tuple[Rule, ...]:
    """Both directions of an equation, as far as what is replaced tells the unknowns and is neither 0 nor anything at all."""
    if reading.conclusion[0] != "eq":
        return ()
    _, left, right = reading.conclusion
    leaves, others = _leaves(left), _leaves(right)
    if size(right) < size(left) or (right[0] == "succ" and left[0] != "succ"):
        rank = 0
    else:
        rank = 2 if leaves != others and sorted(leaves) == sorted(others) else 1
    both = [Rule(reading, "", left, right, rank)]
    if _renamed((left, right)) != _renamed((right, left)):
        both.append(Rule(reading, "<- ", right, left, 3))
    return tuple(rule for rule in both if _is_usable(rule))


def _is_usable(rule: Rule) -> bool:
    anything = rule.old == ZERO or is_unknown(rule.old)
    return not anything and rule.old != rule.new and names_in(rule.old).issuperset(rule.reading.unknowns)


def is_unknown(term: Expr) -> bool:
    return term[0] in ("var", "pred") and term[1].startswith("?")


def _leaves(term: Expr) -> list[str]:
    if term[0] in ("var", "bound"):
        return [str(term[1])]
    return [leaf for part in term[1:] for leaf in _leaves(part)]


def _renamed(terms: tuple[Expr, Expr]) -> list[str]:
    """The same for pairs that differ in the names of their unknowns alone."""
    names: dict[str, str] = {}

    def visit(term: Expr) -> str:
        if term[0] in ("var", "bound"):
            return names.setdefault(term[1], f"?{len(names)}") if is_unknown(term) else str(term)
        return f"{term[0]}({' '.join(map(visit, term[1:]))})"

    return [visit(term) for term in terms]


# ------------------------------------------------------------------------------------------------ a library


class Library(NamedTuple):
    """Lemmas as a search uses them. One that is about any equation or any proposition whatever is no help."""

    ending: Mapping[str, tuple[Reading, ...]]
    """By the kind of the conclusion, which is not just anything."""
    backward: Mapping[str, tuple[Reading, ...]]
    """Those without predicates: the steps of logic do what others do."""
    conditional: tuple[Reading, ...]
    """Without predicates, and with premises, none of which is just anything."""
    cases: tuple[Reading, ...]
    """Disjunctions that hold, or existentials of them."""
    rules: tuple[Rule, ...]
    """Equations without premises that do not merely compute, by rank."""


@lru_cache(maxsize=8)
def library(lemmas: tuple[tuple[str, Theorem], ...]) -> Library:
    """The lemmas (name, theorem), sorted; those that are too big to look at are left out."""
    last = [reading for name, theorem in lemmas if (reading := _last(name, theorem))]
    general = {name for name, theorem in lemmas if theorem.symbols}
    plain = [reading for reading in last if reading.name not in general]
    conditional = [reading for reading in plain if reading.premises and not any(map(_is_anything, reading.premises))]
    sure = [reading for reading in plain if not reading.premises]
    cases = [one for one in sure if one.conclusion[0] == "or" or (one.conclusion[0] == "ex" and one.conclusion[1][0] == "or")]
    found = [rule for reading in sure if not _computes(reading.conclusion) for rule in rules(reading)]
    by_rank = sorted(found, key=lambda rule: rule.rank)
    return Library(_by_conclusion(last), _by_conclusion(plain), tuple(conditional), tuple(cases), tuple(by_rank))


def _last(name: str, theorem: Theorem) -> Reading | None:
    """The lemma with all its premises."""
    try:
        found = readings(name, theorem.formula, theorem.symbols)
    except KernelError:
        return None
    return found[-1] if found else None


def _by_conclusion(found: Sequence[Reading]) -> dict[str, tuple[Reading, ...]]:
    useful = [reading for reading in found if not _is_anything(reading.conclusion)]
    kinds = dict.fromkeys(reading.conclusion[0] for reading in useful)
    return {kind: tuple([reading for reading in useful if reading.conclusion[0] == kind]) for kind in kinds}


def _is_anything(formula: Expr) -> bool:
    """Whether almost any formula of that kind is an instance."""
    if formula[0] == "imp" and formula[2] == FALSE:
        return _is_anything(formula[1])
    return is_unknown(formula) or (formula[0] == "eq" and is_unknown(formula[1]) and is_unknown(formula[2]))


def _computes(equation: Expr) -> bool:
    """Whether it is an equation whose sides compute to the same, or too big to tell."""
    try:
        return equation[0] == "eq" and normal(equation[1], Fuel(READING_FUEL)) == normal(equation[2], Fuel(READING_FUEL))
    except KernelError:
        return True


def size(term: Expr) -> int:
    """Symbols of a term."""
    return 1 if term[0] in ("var", "bound") else 1 + sum(map(size, term[1:]))


def is_small(expr: Expr, most: int) -> bool:
    """Whether it has no more symbols than that; looks no further."""
    stack = [expr]
    while stack and most >= 0:
        part = stack.pop()
        most -= 1
        if part[0] not in ("var", "bound"):
            stack += part[2] if part[0] == "pred" else part[1:]
    return most >= 0
