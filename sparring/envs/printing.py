"""Statements, formulas and terms as canonical text: equal formulas give equal text, whatever their bound variables were called.

Operators bind as in Coq, tightest first: application (``S n``, ``P n m``), ``*``, ``+``, ``=`` and ``<>``, ``~``, ``/\\``, ``\\/``, ``->``,
``<->``; ``->``, ``/\\`` and ``\\/`` associate to the right. ``~ A`` is ``A -> False``, ``a <> b`` is ``~ a = b``, ``A <-> B`` is
``(A -> B) /\\ (B -> A)``, and ``2`` is ``S (S 0)``. ``reader.py`` reads all of it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sparring.envs.kernel import FALSE, ZERO, Expr

LEVELS = {
    "<->": (1, False),
    "->": (2, True),
    "\\/": (3, True),
    "/\\": (4, True),
    "=": (6, False),
    "<>": (6, False),
    "+": (7, False),
    "*": (8, False),
}
"""How tightly an operator binds, and whether it associates to the right."""
SIGNS = {"imp": "->", "or": "\\/", "and": "/\\", "eq": "=", "add": "+", "mul": "*"}
FORMULAS = frozenset({"false", "true", "eq", "pred", "and", "or", "imp", "all", "ex"})
_BOUND_NAMES = ("x", "y", "z", "u", "v", "w")


class Statement(NamedTuple):
    """For all predicates ``symbols`` (name, number of arguments): ``formula``, which has no free variable."""

    symbols: tuple[tuple[str, int], ...]
    formula: Expr


def format_expr(expr: Expr, bound: Sequence[str] = ()) -> str:
    """A formula or a term as text that reads back as the same; ``bound``: names of the binders around it, outermost first."""
    return format_closed(expr) if not bound else _format(expr, tuple(bound), names_in(expr), 0)


def shown(expr: Expr, limit: int = 200) -> str:
    """A formula or a term for a message."""
    text = format_expr(expr)
    return text if len(text) <= limit else f"{text[:limit]} ..."


@lru_cache(maxsize=1 << 14)
def format_closed(expr: Expr) -> str:
    return _format(expr, (), names_in(expr), 0)


def names_in(expr: Expr) -> frozenset[str]:
    """The free variables and predicates of ``expr``: names that a binder inside it must not take."""
    found: set[str] = set()
    stack: list[Expr] = [expr]
    while stack:
        part = stack.pop()
        if part[0] == "var" or part[0] == "pred":
            found.add(part[1])
        stack += part[2] if part[0] == "pred" else [inner for inner in part[1:] if isinstance(inner, tuple)]
    return frozenset(found)


def bound_name(depth: int, taken: frozenset[str]) -> str:
    """The name of the ``depth``-th binder from outside, the first being 0."""
    candidates = (base + (str(turn) if turn else "") for turn in range(1000) for base in _BOUND_NAMES)
    free = (name for name in candidates if name not in taken)
    return next(name for place, name in enumerate(free) if place == depth)


def _format(expr: Expr, bound: tuple[str, ...], taken: frozenset[str], level: int) -> str:
    """``level``: how tightly the operator around it binds; what binds less is put in parentheses."""
    tag = expr[0]
    if tag == "var":
        return expr[1]
    if tag == "bound":
        return bound[-1 - expr[1]]
    if tag == "zero":
        return "0"
    if tag == "false" or tag == "true":
        return tag.capitalize()
    if tag == "succ":
        text, own = _format_successor(expr, bound, taken)
    elif tag == "pred":
        arguments = [_format(part, bound, taken, 9) for part in expr[2]]
        text, own = " ".join([expr[1], *arguments]), 9 - bool(arguments)
    elif tag == "all" or tag == "ex":
        text, own = _format_quantified(expr, bound, taken), 0
    else:
        text, own = _format_operator(expr, bound, taken)
    return f"({text})" if own < level else text


def _format_successor(expr: Expr, bound: tuple[str, ...], taken: frozenset[str]) -> tuple[str, int]:
    count, inner = 0, expr
    while inner[0] == "succ":
        inner, count = inner[1], count + 1
    if inner == ZERO:
        return str(count), 9
    return f"S {_format(expr[1], bound, taken, 9)}", 8


def _format_quantified(expr: Expr, bound: tuple[str, ...], taken: frozenset[str]) -> str:
    tag, names = expr[0], []
    while expr[0] == tag:
        names.append(bound_name(len(bound) + len(names), taken))
        expr = expr[1]
    word = "forall" if tag == "all" else "exists"
    return f"{word} {' '.join(names)}, {_format(expr, (*bound, *names), taken, 0)}"


def _format_operator(expr: Expr, bound: tuple[str, ...], taken: frozenset[str]) -> tuple[str, int]:
    tag, left, right = expr

    def both(sign: str) -> tuple[str, int]:
        level, to_the_right = LEVELS[sign]
        a, b = (level + 1, level) if to_the_right else (level, level + 1) if sign in "+*" else (level + 1, level + 1)
        return f"{_format(left, bound, taken, a)} {sign} {_format(right, bound, taken, b)}", level

    if tag == "imp" and right == FALSE:
        if left[0] == "eq":
            _, left, right = left
            return both("<>")
        return f"~ {_format(left, bound, taken, 5)}", 5
    if tag == "and" and left[0] == right[0] == "imp" and left[1:] == right[:0:-1]:
        _, left, right = left
        return both("<->")
    return both(SIGNS[tag])


def format_statement(statement: Statement) -> str:
    """The statement as ``read_statement`` reads it, the same for equal statements."""
    kinds: dict[int, list[str]] = {}
    for name, arity in statement.symbols:
        kinds.setdefault(arity, []).append(name)
    groups = [f"({' '.join(names)} : {'N -> ' * arity}Prop)" for arity, names in kinds.items()]
    formula = format_expr(statement.formula)
    if not groups:
        return formula
    return f"forall {' '.join(groups)}, {formula}"
