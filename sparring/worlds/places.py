"""Where in a formula something can be changed, and what changing it there means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

from sparring.envs.kernel import FALSE, TRUE, ZERO, Expr, Fuel, abstract, instantiate, substitute
from sparring.envs.matching import apply_to_bound
from sparring.envs.printing import FORMULAS, Statement

Put = Callable[[Expr], Expr]
Names = tuple[str, ...]


class Place(NamedTuple):
    """A part of a formula, closed: ``names`` are the variables that stand for the binders around it, outermost first.

    ``sign``: 1 where the whole follows from itself with something weaker there, -1 with something stronger, 0 for neither.
    ``put(new)`` is the whole with ``new`` there.
    """

    part: Expr
    names: Names
    sign: int
    put: Put


def variable(depth: int) -> str:
    """The name that stands for the binder number ``depth`` from outside; no text reads as such a name."""
    return f"!{depth}"


def opened(body: Expr, name: str) -> Expr:
    """The body of a binder, about ``name``."""
    return instantiate(body, (("var", name),), Fuel())


def closed(formula: Expr, *names: str) -> Expr:
    """For all ``names``, the first one outermost."""
    for name in reversed(names):
        formula = ("all", abstract(formula, ("var", name), Fuel()))
    return formula


def open_statement(formula: Expr) -> tuple[Names, Expr]:
    """The variables of the quantifiers in front, and what is said about them."""
    names: Names = ()
    while formula[0] == "all":
        names = (*names, variable(len(names)))
        formula = opened(formula[1], names[-1])
    return names, formula


def premises_of(formula: Expr) -> tuple[list[Expr], Expr]:
    """A -> B -> C as [A, B] and C. A negation counts as a conclusion."""
    premises: list[Expr] = []
    while formula[0] == "imp" and formula[2] != FALSE:
        premises.append(formula[1])
        formula = formula[2]
    return premises, formula


def implying(premises: list[Expr], conclusion: Expr) -> Expr:
    for premise in reversed(premises):
        conclusion = ("imp", premise, conclusion)
    return conclusion


def is_equivalence(formula: Expr) -> bool:
    """A <-> B."""
    return formula[0] == "and" and formula[1][0] == formula[2][0] == "imp" and formula[1][1:] == formula[2][:0:-1]


def equivalence(left: Expr, right: Expr) -> Expr:
    return ("and", ("imp", left, right), ("imp", right, left))


def places(part: Expr, names: Names = (), sign: int = 1, put: Put = lambda new: new) -> Iterator[Place]:
    """Every formula and every term in ``part``, from left to right, the outer one first. A side of <-> is one place, not two."""
    yield Place(part, names, sign, put)
    tag = part[0]
    if is_equivalence(part):
        _, left, right = part[1]
        yield from places(left, names, 0, lambda new: put(equivalence(new, right)))
        yield from places(right, names, 0, lambda new: put(equivalence(left, new)))
    elif tag == "all" or tag == "ex":
        name = variable(len(names))
        close: Put = lambda new: put((tag, abstract(new, ("var", name), Fuel())))  # noqa: E731  (a place is a value)
        yield from places(opened(part[1], name), (*names, name), sign, close)
    elif tag == "pred":
        for number, term in enumerate(part[2]):
            yield from places(term, names, 0, _argument(part, number, put))
    elif tag != "var":
        for number, inner in enumerate(part[1:], 1):
            turned = sign if inner[0] in FORMULAS else 0
            yield from places(inner, names, -turned if (tag, number) == ("imp", 1) else turned, _child(part, number, put))


def _child(part: Expr, number: int, put: Put) -> Put:
    return lambda new: put((*part[:number], new, *part[number + 1 :]))


def _argument(part: Expr, number: int, put: Put) -> Put:
    symbol, terms = part[1:]
    return lambda new: put(("pred", symbol, (*terms[:number], new, *terms[number + 1 :])))


def replace_all(formula: Expr, old: Expr, new: Expr) -> Expr:
    """Every occurrence of a closed part replaced."""
    return instantiate(abstract(formula, old, Fuel()), (new,), Fuel())


# ------------------------------------------------------------------------------------------------ as a statement


def tidied(formula: Expr) -> Statement:
    """A statement without what says nothing: quantified variables that do not occur, True and False inside, t = t, A -> A, A /\\ A,
    A \\/ A, a premise for the second time. Predicates are called p, q, ... and P, Q, ... in the order in which they occur.
    """
    names, body = open_statement(formula)
    premises, conclusion = premises_of(body)
    formula = _without_idle(closed(implying([*dict.fromkeys(premises)], conclusion), *names))
    arities: dict[str, int] = {}
    for place in places(formula):
        if place.part[0] == "pred":
            arities.setdefault(place.part[1], len(place.part[2]))
    letters = {True: _letters("PQRTU"), False: _letters("pqrst")}
    called = {name: next(letters[arity > 0]) for name, arity in arities.items()}
    bodies = {name: apply_to_bound(called[name], arity) for name, arity in arities.items()}
    symbols = tuple((called[name], arity) for name, arity in arities.items())
    return Statement(symbols, substitute(formula, bodies, Fuel()))


def _letters(bases: str) -> Iterator[str]:
    """p, q, r, s, t, p1, q1, ..."""
    return (f"{base}{turn or ''}" for turn in count() for base in bases)


def _without_idle(formula: Expr) -> Expr:
    """What is equivalent, constructively: there are numbers, so a quantifier without its variable says nothing."""
    tag = formula[0]
    if tag in ("all", "ex"):
        body = _without_idle(formula[1])
        zero, one = (instantiate(body, (term,), Fuel()) for term in (ZERO, ("succ", ZERO)))
        return zero if zero == one else (tag, body)
    if tag == "eq":
        return TRUE if formula[1] == formula[2] else formula
    if tag not in ("and", "or", "imp"):
        return formula
    left, right = map(_without_idle, formula[1:])
    if left == right:
        return TRUE if tag == "imp" else left
    if left in _CONSTANTS or right in _CONSTANTS:
        return _with_constant(tag, left, right)
    return (tag, left, right)


_CONSTANTS = (TRUE, FALSE)


def _with_constant(tag: str, left: Expr, right: Expr) -> Expr:
    if tag == "imp":
        if left == FALSE or right == TRUE:
            return TRUE
        return right if left == TRUE else (tag, left, right)
    unit = TRUE if tag == "and" else FALSE
    if unit in (left, right):
        return right if left == unit else left
    return FALSE if tag == "and" else TRUE
