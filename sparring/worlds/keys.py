"""When two statements are the same for the purpose of keeping splits apart."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from itertools import count

from sparring.envs.kernel import Expr, Fuel, instantiate
from sparring.envs.printing import Statement
from sparring.envs.reader import read_statement

_ROUNDS = 2


def statement_key(text: str) -> int:
    """Equal for statements that differ in names, in the order of variables, premises, summands, factors, conjuncts, disjuncts and
    of the sides of equations, or in premises given one by one or as a conjunction. (That now and then two others share a key
    costs a theorem, not a leak.) Raises Malformed for what is no statement.
    """
    return formula_key(read_statement(text))


@lru_cache(maxsize=1 << 14)
def formula_key(statement: Statement) -> int:
    """``statement_key`` of a statement that was read."""
    numbers = count()
    formula = _name_binders(statement.formula, numbers)
    colours = {f"#{k}": 0 for k in range(next(numbers))} | {name: 1 + arity for name, arity in statement.symbols}
    for _ in range(_ROUNDS):  # names are told apart by where they stand, not by what they are
        colours = {name: _hash((old, _formula_hash(formula, {**colours, name: -1}))) for name, old in colours.items()}
    return _formula_hash(formula, colours)


def _name_binders(formula: Expr, numbers: count[int]) -> Expr:
    """Every binder's variable gets a name of its own, so that its body is ``(tag, ("var", name), body)``."""
    tag = formula[0]
    if tag in ("all", "ex"):
        name = ("var", f"#{next(numbers)}")
        return (tag, name, _name_binders(instantiate(formula[1], (name,), Fuel()), numbers))
    if tag in ("and", "or", "imp"):
        return (tag, _name_binders(formula[1], numbers), _name_binders(formula[2], numbers))
    return formula


def _formula_hash(formula: Expr, colours: dict[str, int]) -> int:
    tag = formula[0]
    if tag in ("all", "imp"):
        return _chain_hash(formula, colours)
    if tag == "ex":
        variables = 0
        while formula[0] == "ex":
            formula, variables = formula[2], variables + 1
        return _hash(("ex", variables, _formula_hash(formula, colours)))
    if tag in ("and", "or"):
        return _hash((tag, *sorted(_formula_hash(part, colours) for part in _flat(tag, formula))))
    if tag == "eq":
        return _hash(("eq", *sorted(_term_hash(side, colours) for side in formula[1:])))
    if tag == "pred":
        return _hash(("pred", colours[formula[1]], *[_term_hash(part, colours) for part in formula[2]]))
    return _hash((tag,))


def _chain_hash(formula: Expr, colours: dict[str, int]) -> int:
    """Variables and premises in front of a conclusion, in whatever order and grouping."""
    variables, premises = 0, Counter[int]()
    while formula[0] in ("all", "imp"):
        if formula[0] == "all":
            variables += 1
        else:
            premises.update(_formula_hash(part, colours) for part in _flat("and", formula[1]))
        formula = formula[2]
    return _hash(("chain", variables, *sorted(premises), _formula_hash(formula, colours)))


def _term_hash(term: Expr, colours: dict[str, int]) -> int:
    tag = term[0]
    if tag == "var":
        return _hash(("var", colours[term[1]]))
    if tag in ("add", "mul"):
        return _hash((tag, *sorted(_term_hash(part, colours) for part in _flat(tag, term))))
    return _hash((tag, *[_term_hash(part, colours) for part in term[1:]]))


def _flat(tag: str, expr: Expr) -> list[Expr]:
    return [*_flat(tag, expr[1]), *_flat(tag, expr[2])] if expr[0] == tag else [expr]


def _hash(parts: tuple[object, ...]) -> int:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1
