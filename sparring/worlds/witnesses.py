"""Which number solves an equation: polynomials with whole coefficients, reduced by what hypotheses say is equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

from sparring.envs.kernel import ZERO, Expr
from sparring.worlds.arithmetic import Polynomial, polynomial
from sparring.worlds.proofstate import Goal

Monomial = tuple[str, ...]
Whole = Mapping[Monomial, int]
"""A polynomial whose coefficients may be negative."""

MOST = 12
"""Monomials of a polynomial, and rounds of reducing it."""


def solutions(goal: Goal, equation: Expr, hole: str) -> Iterator[Expr]:
    """Terms for ``hole`` with which the equation may follow from the goal's hypotheses."""
    rules = list(_rules(goal))
    for sides in (equation[1:], equation[:0:-1]):
        difference = _minus(polynomial_of(sides[1]), polynomial_of(sides[0]))
        unknown = {monomial: -count for monomial, count in difference.items() if hole in monomial}
        if len(unknown) != 1:
            return
        ((monomial, count),) = unknown.items()
        if monomial.count(hole) != 1 or count <= 0:
            continue
        rest = _reduced({m: c for m, c in difference.items() if m != monomial}, rules)
        factor = tuple(name for name in monomial if name != hole)
        quotient = _divided(rest, factor, count)
        if quotient is not None:
            yield term_of(quotient, goal.variables)


def polynomial_of(term: Expr) -> Whole:
    return dict(sorted(polynomial(term)))


def _minus(left: Whole, right: Whole) -> dict[Monomial, int]:
    result = Counter(left)
    result.subtract(right)
    return {monomial: count for monomial, count in result.items() if count}


def _rules(goal: Goal) -> Iterator[tuple[Monomial, Whole]]:
    """Hypotheses as (monomial, what it equals): a variable alone if there is one, else the monomial of most factors."""
    for _, fact in goal.hyps:
        if fact[0] != "eq":
            continue
        difference = _minus(polynomial_of(fact[1]), polynomial_of(fact[2]))
        single = [side[1] for side in fact[2:0:-1] if side[0] == "var"]
        candidates = [(name,) for name in single if difference.get((name,)) and not _is_in(name, difference)]
        if not candidates:
            candidates = sorted((m for m, c in difference.items() if abs(c) == 1 and m), key=lambda m: (-len(m), m))
        if candidates:
            chosen = candidates[0]
            sign = -difference.pop(chosen)
            yield chosen, {monomial: sign * count for monomial, count in difference.items()}


def _is_in(name: str, polynomial: Whole) -> bool:
    """Whether the variable is a factor of some monomial of several factors."""
    return any(name in monomial and len(monomial) > 1 for monomial in polynomial)


def _reduced(polynomial: Whole, rules: Sequence[tuple[Monomial, Whole]]) -> Whole:
    for _ in range(MOST):
        for monomial, meaning in rules:
            target = next((m for m in polynomial if not Counter(monomial) - Counter(m)), None)
            if target is not None:
                rest = tuple((Counter(target) - Counter(monomial)).elements())
                swapped = Counter({m: c for m, c in polynomial.items() if m != target})
                for part, count in meaning.items():
                    swapped[tuple(sorted(part + rest))] += count * polynomial[target]
                polynomial = {m: c for m, c in swapped.items() if c}
                break
        else:
            return polynomial
        if len(polynomial) > MOST:
            return polynomial
    return polynomial


def _divided(polynomial: Whole, factor: Monomial, count: int) -> Whole | None:
    """The quotient if it has natural coefficients, else None."""
    result: dict[Monomial, int] = {}
    for monomial, own in polynomial.items():
        if own <= 0 or own % count or Counter(factor) - Counter(monomial):
            return None
        result[tuple((Counter(monomial) - Counter(factor)).elements())] = own // count
    return result


def term_of(polynomial: Whole, order: Sequence[str]) -> Expr:
    """The polynomial as a term: a sum of products, its variables in ``order``, with the successors outside."""
    place = {name: k for k, name in enumerate(order)}
    monomials = sorted((m for m in polynomial if m), key=lambda m: (len(m), [place.get(name, len(place)) for name in m]))
    summands: list[Expr] = []
    for monomial in monomials:
        factors: list[Expr] = [("var", name) for name in sorted(monomial, key=lambda name: place.get(name, len(place)))]
        product = reduce(lambda left, right: ("mul", left, right), factors)
        summands += [product] * polynomial[monomial]
    total: Expr = reduce(lambda left, right: ("add", left, right), summands) if summands else ZERO
    return reduce(lambda term, _: ("succ", term), range(polynomial.get((), 0)), total)


def common_rest(left: Expr, a: Expr, right: Expr, b: Expr) -> Polynomial | None:
    """The polynomial k with left = a + k and right = b + k, if there is one that is not 0 and has natural coefficients."""
    over = _minus(polynomial_of(left), polynomial_of(a))
    if not over or any(count < 0 for count in over.values()) or over != _minus(polynomial_of(right), polynomial_of(b)):
        return None
    return Counter(over)
