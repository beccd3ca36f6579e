"""Terms as sums of products, in which order and parentheses do not matter, and equations between them that are solved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import product

from sparring.envs.kernel import ZERO, Expr, Fuel

Sum = Mapping[tuple[str, ...], int]
"""Products of variables, each sorted, and how often they are added; () is 1."""
MOST_PRODUCTS = 24
MOST_SUMMANDS = 12


def sum_of(term: Expr, fuel: Fuel) -> Sum | None:
    """A term without its order and parentheses; None where it speaks of bound variables or is long."""
    fuel.burn()
    tag = term[0]
    if tag == "zero" or tag == "var":
        return {} if tag == "zero" else {(term[1],): 1}
    parts = [sum_of(part, fuel) for part in term[1:]] if tag != "bound" else [None]
    if None in parts:
        return None
    left, right = (parts[0] or {}), ({(): 1} if tag == "succ" else parts[1] or {})
    if tag != "mul":
        result = plus(left, right)
    else:
        result = Counter[tuple[str, ...]]()
        fuel.burn(len(left) * len(right))
        for (a, m), (b, n) in product(left.items(), right.items()):
            result[tuple(sorted(a + b))] += m * n
    return result if len(result) <= MOST_PRODUCTS else None


def plus(left: Sum, right: Sum, times: int = 1) -> Sum:
    """left + times * right, where sums may have negative parts."""
    result = Counter(left)
    for part, count in right.items():
        result[part] += times * count
    return {part: count for part, count in result.items() if count}


def term_of(total: Sum, order: Sequence[str]) -> Expr | None:
    """A sum as a term: products by length and then by ``order``, successors outside; None for one that is negative or long."""
    if any(count < 0 for count in total.values()) or sum(total.values()) > MOST_SUMMANDS:
        return None
    place = {name: number for number, name in enumerate(order)}
    products = sorted((part for part in total if part), key=lambda part: (len(part), [place.get(name, 0) for name in part]))
    summands: list[Expr] = []
    for part in products:
        factors: list[Expr] = [("var", name) for name in sorted(part, key=lambda name: place.get(name, 0))]
        summands += [reduce(lambda left, right: ("mul", left, right), factors)] * total[part]
    result: Expr = reduce(lambda left, right: ("add", left, right), summands) if summands else ZERO
    return reduce(lambda inner, _: ("succ", inner), range(total.get((), 0)), result)


def difference(equation: Expr, fuel: Fuel) -> Sum | None:
    """The left side less the right one."""
    left, right = (sum_of(side, fuel) for side in equation[1:])
    return None if left is None or right is None else plus(left, right, -1)


def solutions(total: Sum, hole: str, zeros: Sequence[Sum], fuel: Fuel) -> Iterator[Sum]:
    """What the variable ``hole`` may be for the total to be 0, where ``zeros`` are 0 too; at most two of those are used, once."""
    unknown = [part for part in total if hole in part]
    if len(unknown) != 1 or unknown[0].count(hole) != 1:
        return
    factor = [name for name in unknown[0] if name != hole]
    rest = {part: count for part, count in total.items() if part != unknown[0]}
    tries = [rest, *(plus(rest, zero, sign) for zero in zeros for sign in (1, -1))]
    tries += [plus(one, zero, sign) for one, zero, sign in product(tries[1:], zeros, (1, -1))]
    for one in tries:
        fuel.burn(1 + len(one))
        quotient = _divided(one, factor, -total[unknown[0]])
        if quotient is not None:
            yield quotient


def _divided(total: Sum, factor: Sequence[str], count: int) -> Sum | None:
    """The sum that times ``count`` and ``factor`` is the total; None if there is none."""
    result: dict[tuple[str, ...], int] = {}
    for part, own in total.items():
        left = Counter(part)
        left.subtract(factor)
        if own % count or own // count < 0 or min(left.values(), default=0) < 0:
            return None
        result[tuple(left.elements())] = own // count
    return result
