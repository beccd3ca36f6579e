"""Small numbers that show a goal of arithmetic to be false, so that no time is spent on proving it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from sparring.envs.kernel import Expr
from sparring.worlds.proofstate import Goal, mentions

_VALUES = {0: 1, 1: 6, 2: 5, 3: 4, 4: 3, 5: 2}
"""By the number of variables: how many values each of them takes, from 0."""


def is_refuted(goal: Goal) -> bool:
    """Whether some small numbers make every hypothesis true and the conclusion false; False where it speaks of more than numbers."""
    formulas = [*(fact for _, fact in goal.hyps), goal.conclusion]
    variables = [name for name in goal.variables if any(mentions(formula, name) for formula in formulas)]
    if len(variables) not in _VALUES or not all(map(_is_decidable, formulas)):
        return False
    return any(
        all(_truth(fact, values) for _, fact in goal.hyps) and not _truth(goal.conclusion, values)
        for values in _assignments(variables)
    )


def _assignments(variables: list[str]) -> Iterator[dict[str, int]]:
    for values in product(range(_VALUES[len(variables)]), repeat=len(variables)):
        yield dict(zip(variables, values, strict=True))


def _is_decidable(formula: Expr) -> bool:
    if formula[0] in ("and", "or", "imp"):
        return _is_decidable(formula[1]) and _is_decidable(formula[2])
    return formula[0] in ("eq", "false", "true")


def _truth(formula: Expr, values: Mapping[str, int]) -> bool:
    tag = formula[0]
    if tag == "eq":
        return _value(formula[1], values) == _value(formula[2], values)
    if tag == "and":
        return _truth(formula[1], values) and _truth(formula[2], values)
    if tag == "or":
        return _truth(formula[1], values) or _truth(formula[2], values)
    if tag == "imp":
        return not _truth(formula[1], values) or _truth(formula[2], values)
    return tag == "true"


def _value(term: Expr, values: Mapping[str, int]) -> int:
    tag = term[0]
    if tag == "var":
        return values[term[1]]
    if tag == "zero":
        return 0
    if tag == "succ":
        return _value(term[1], values) + 1
    left, right = _value(term[1], values), _value(term[2], values)
    return left + right if tag == "add" else left * right
