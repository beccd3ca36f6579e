"""Random formulas, and what they mean: an evaluator that knows nothing of the kernel."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

from hypothesis import strategies as st

Expr = tuple[Any, ...]
Symbols = tuple[tuple[str, int], ...]
PROPS: Symbols = (("p", 0), ("q", 0), ("r", 0))
PREDICATES: Symbols = (("P", 1), ("R", 2))

# ------------------------------------------------------------------------------------------------ making them


def random_prop(rng: random.Random, size: int, symbols: Symbols = PROPS) -> Expr:
    """A formula with about that many connectives over propositions."""
    if size <= 0:
        return ("pred", rng.choice(symbols)[0], ()) if rng.random() < 0.9 else (rng.choice(["false", "true"]),)
    tag = rng.choice(["and", "or", "imp", "imp", "not"])
    if tag == "not":
        return ("imp", random_prop(rng, size - 1, symbols), ("false",))
    left = rng.randrange(size)
    return (tag, random_prop(rng, left, symbols), random_prop(rng, size - 1 - left, symbols))


def random_term(rng: random.Random, size: int, atoms: Sequence[Expr]) -> Expr:
    """A term with about that many operators."""
    if size <= 0:
        return rng.choice(atoms)
    tag = rng.choice(["succ", "succ", "add", "mul"])
    if tag == "succ":
        return (tag, random_term(rng, size - 1, atoms))
    left = rng.randrange(size)
    return (tag, random_term(rng, left, atoms), random_term(rng, size - 1 - left, atoms))


def random_formula(rng: random.Random, size: int, symbols: Symbols, variables: Sequence[str] = (), binders: int = 0) -> Expr:
    """Any formula over these."""
    if size <= 1:
        return _random_atom(rng, size, symbols, variables, binders)
    tag = rng.choice(["and", "or", "imp", "imp", "all", "ex", "not"])
    if tag in ("all", "ex"):
        return (tag, random_formula(rng, size - 1, symbols, variables, binders + 1))
    if tag == "not":
        return ("imp", random_formula(rng, size - 1, symbols, variables, binders), ("false",))
    left = rng.randrange(size)
    parts = [random_formula(rng, part, symbols, variables, binders) for part in (left, size - 1 - left)]
    return (tag, *parts)


def _random_atom(rng: random.Random, size: int, symbols: Symbols, variables: Sequence[str], binders: int) -> Expr:
    atoms: list[Expr] = [("zero",), *(("var", name) for name in variables), *(("bound", index) for index in range(binders))]
    kind = rng.random()
    if kind < 0.1:
        return (rng.choice(["false", "true"]),)
    if kind < 0.5 or not symbols:
        return ("eq", random_term(rng, size + rng.randrange(2), atoms), random_term(rng, size, atoms))
    name, arity = rng.choice(symbols)
    return ("pred", name, tuple(random_term(rng, rng.randrange(2), atoms) for _ in range(arity)))


def formulas(symbols: Symbols = PROPS + PREDICATES, variables: Sequence[str] = ()) -> st.SearchStrategy[Expr]:
    """Hypothesis' view of ``random_formula``."""
    return st.builds(
        lambda seed, size: random_formula(random.Random(seed), size, symbols, variables), st.integers(0, 2**32), st.integers(0, 9)
    )


def terms(variables: Sequence[str] = ("x", "y")) -> st.SearchStrategy[Expr]:
    atoms: list[Expr] = [("zero",), *(("var", name) for name in variables)]
    return st.builds(lambda seed, size: random_term(random.Random(seed), size, atoms), st.integers(0, 2**32), st.integers(0, 6))


# ------------------------------------------------------------------------------------------------ what they mean


def value(term: Expr, variables: dict[str, int], bound: tuple[int, ...] = ()) -> int:
    """The number that a term is; ``bound``: the values of bound variables, the innermost last."""
    match term:
        case ("zero",):
            return 0
        case ("succ", inner):
            return value(inner, variables, bound) + 1
        case ("add", left, right):
            return value(left, variables, bound) + value(right, variables, bound)
        case ("mul", left, right):
            return value(left, variables, bound) * value(right, variables, bound)
        case ("var", name):
            return variables[name]
        case ("bound", index):
            return bound[-1 - index]
    raise AssertionError(term)


class Model:
    """An interpretation of the predicates: the truth of P n is entry n of its table, the last one standing for all beyond."""

    def __init__(self, tables: dict[str, dict[tuple[int, ...], bool]], top: int, variables: dict[str, int]) -> None:
        self.tables, self.top, self.variables = tables, top, variables

    def truth(self, formula: Expr, bound: tuple[int, ...] = ()) -> bool | None:
        """Classical truth; None where it would take all numbers to know."""
        match formula:
            case ("true",):
                return True
            case ("false",):
                return False
            case ("eq", left, right):
                return value(left, self.variables, bound) == value(right, self.variables, bound)
            case ("pred", name, arguments):
                place = tuple(min(value(argument, self.variables, bound), self.top) for argument in arguments)
                return self.tables[name][place]
            case ("and", left, right):
                return _both(self.truth(left, bound), self.truth(right, bound))
            case ("or", left, right):
                return _not(_both(_not(self.truth(left, bound)), _not(self.truth(right, bound))))
            case ("imp", left, right):
                return _not(_both(self.truth(left, bound), _not(self.truth(right, bound))))
            case ("all", body):
                return False if any(self.truth(body, (*bound, n)) is False for n in range(self.top + 2)) else None
            case ("ex", body):
                return True if any(self.truth(body, (*bound, n)) is True for n in range(self.top + 2)) else None
        raise AssertionError(formula)


def _not(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _both(left: bool | None, right: bool | None) -> bool | None:
    if left is False or right is False:
        return False
    return True if left and right else None


def random_model(rng: random.Random, symbols: Symbols, variables: Sequence[str] = (), top: int = 2) -> Model:
    tables = {name: {place: rng.random() < 0.5 for place in product(range(top + 1), repeat=arity)} for name, arity in symbols}
    return Model(tables, top, {name: rng.randrange(top + 3) for name in variables})


def is_tautology(formula: Expr, symbols: Symbols = PROPS) -> bool:
    """By truth table; for propositions alone."""
    names = [name for name, _ in symbols]
    rows = product((False, True), repeat=len(names))
    return all(Model({name: {(): row[i]} for i, name in enumerate(names)}, 0, {}).truth(formula) for row in rows)


def is_refuted(formula: Expr, symbols: Symbols, rng: random.Random, models: int = 12) -> bool:
    """Whether one of some random models makes it false."""
    return any(random_model(rng, symbols).truth(formula) is False for _ in range(models))
