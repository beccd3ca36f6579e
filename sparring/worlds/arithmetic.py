"""How the expert proves an equation: compute, rewrite with lemmas that simplify, expand, and put sums and products in order.

Every step is chosen from the equation alone, so that what to do next can be read off the state. Sides are compared as polynomials
over the variables: ``x * S y`` and ``y * x + x`` are equal, and then some steps below lead from one to the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from sparring.envs.kernel import ZERO, Expr
from sparring.worlds.proofstate import call, compute, exchange, fill, match, parts, subterms

A, B, C = (("var", f"?{k}") for k in range(3))
ONE: Expr = ("succ", ZERO)


def add(left: Expr, right: Expr) -> Expr:
    return ("add", left, right)


def mul(left: Expr, right: Expr) -> Expr:
    return ("mul", left, right)


def succ(term: Expr) -> Expr:
    return ("succ", term)


class Rule(NamedTuple):
    """A lemma as a rewriting rule; its holes are its arguments in order."""

    lemma: str
    left: Expr
    right: Expr


SIMPLIFYING = (
    Rule("add_0_r", add(A, ZERO), A),
    Rule("mul_0_r", mul(A, ZERO), ZERO),
    Rule("mul_1_r", mul(A, ONE), A),
    Rule("add_succ_r", add(A, succ(B)), succ(add(A, B))),
    Rule("mul_succ_r", mul(A, succ(B)), add(A, mul(A, B))),
)
EXPANDING = (
    Rule("mul_add", mul(A, add(B, C)), add(mul(A, B), mul(A, C))),
    Rule("add_mul", mul(add(A, B), C), add(mul(A, C), mul(B, C))),
)
ASSOCIATING = (
    Rule("add_assoc", add(add(A, B), C), add(A, add(B, C))),
    Rule("mul_assoc", mul(mul(A, B), C), mul(A, mul(B, C))),
)
COMMUTING = {"add": "add_comm", "mul": "mul_comm"}
SWAPPING = {"add": "add_left_comm", "mul": "mul_left_comm"}
LONGEST = 40
"""Steps after which an equation is given up."""

Polynomial = Counter[tuple[str, ...]]


@lru_cache(maxsize=1 << 16)
def polynomial(term: Expr) -> frozenset[tuple[tuple[str, ...], int]]:
    """The coefficient of every product of variables."""
    return frozenset(_polynomial(term).items())


def _polynomial(term: Expr) -> Polynomial:
    tag = term[0]
    if tag == "var":
        return Counter({(term[1],): 1})
    if tag == "zero":
        return Counter()
    if tag == "succ":
        return _polynomial(term[1]) + Counter({(): 1})
    left, right = map(_polynomial, term[1:])
    if tag == "add":
        return left + right
    product: Polynomial = Counter()
    for a, m in left.items():
        for b, n in right.items():
            product[tuple(sorted(a + b))] += m * n
    return product


def is_identity(equation: Expr) -> bool:
    """Whether both sides are the same polynomial."""
    return polynomial(equation[1]) == polynomial(equation[2])


def is_computed(equation: Expr) -> bool:
    """Whether ``rfl`` proves it."""
    return compute(equation[1]) == compute(equation[2])


def first_use(rule: Rule, formula: Expr) -> tuple[Expr, Expr] | None:
    """The instance of a rule that an unguided ``rewrite`` finds first, as (left, right)."""
    for term in subterms(formula):
        if (found := match(rule.left, term, {})) is not None:
            return term, fill(rule.right, found)
    return None


def replace_one(formula: Expr, old: Expr, new: Expr, number: int) -> Expr:
    """``formula`` with the occurrence ``number`` (from 1, in reading order) of ``old`` replaced."""
    counter = [0]

    def visit(expr: Expr) -> Expr:
        if expr == old:
            counter[0] += 1
            return new if counter[0] == number else expr
        if expr[0] in ("var", "bound"):
            return expr
        if expr[0] == "pred":
            return ("pred", expr[1], tuple(map(visit, expr[2])))
        return (expr[0], *map(visit, expr[1:]))

    return visit(formula)


Step = tuple[str, Expr]
"""A tactic and the formula that it leaves."""


def simplify(formula: Expr, rules: tuple[Rule, ...] = SIMPLIFYING) -> Step | None:
    """Compute if that changes anything, else rewrite with the first of ``rules`` that applies."""
    computed = compute(formula)
    if computed != formula:
        return "simpl", computed
    return _rewrite_first(formula, rules)


def _rewrite_first(formula: Expr, rules: tuple[Rule, ...]) -> Step | None:
    for rule in rules:
        if use := first_use(rule, formula):
            return f"rewrite {rule.lemma}", exchange(formula, *use)
    return None


def prove_identity(equation: Expr) -> list[str] | None:
    """Tactics that prove an equation whose sides are the same polynomial; None for another one, or one that takes too long."""
    steps = _identity_steps(equation) if is_identity(equation) else None
    return None if steps is None else list(steps)


@lru_cache(maxsize=1 << 14)
def _identity_steps(equation: Expr) -> tuple[str, ...] | None:
    lines: list[str] = []
    for _ in range(LONGEST):
        if is_computed(equation):
            return (*lines, "rfl")
        step = _next_step(equation)
        if step is None:
            return None
        lines.append(step[0])
        equation = step[1]
    return None


def _next_step(equation: Expr) -> Step | None:
    if reordered(equation[1]) != reordered(equation[2]):
        return simplify(equation, (*SIMPLIFYING, *EXPANDING))
    computed = compute(equation)
    if computed != equation and reordered(computed[1]) == reordered(computed[2]):
        return "simpl", computed
    return _order(equation)


@lru_cache(maxsize=1 << 16)
def reordered(term: Expr) -> Expr:
    """The same for two terms that differ in the order of summands and factors alone."""
    if term[0] in ("add", "mul"):
        return (term[0], *sorted(map(reordered, _flat(term[0], term))))
    return (term[0], reordered(term[1])) if term[0] == "succ" else term


def _flat(tag: str, term: Expr) -> Iterator[Expr]:
    """Summands or factors, from left to right."""
    if term[0] == tag:
        yield from _flat(tag, term[1])
        yield from _flat(tag, term[2])
    else:
        yield term


def _order(equation: Expr) -> Step | None:
    """A step that makes the left side more like the right one, which has the same summands in another order."""
    place = _difference(equation[1], equation[2])
    if place is None:
        return None
    left, right = (_at(side, place) for side in equation[1:])
    tag = left[0]
    if _is_left_nested(left) or _is_left_nested(right):
        return _rewrite_first(equation, ASSOCIATING)
    have, want = list(_flat(tag, left)), list(_flat(tag, right))
    keys, wanted = list(map(reordered, have)), list(map(reordered, want))
    first = next(k for k in range(len(have)) if keys[k] != wanted[k])
    source = keys.index(wanted[first], first)
    return _swap(equation, (1, *place, *[2] * (source - 1)), have[source - 1 :])


def _is_left_nested(term: Expr) -> bool:
    """Whether a chain of sums or products has one as its left part, anywhere."""
    tag = term[0]
    while term[0] == tag and tag in COMMUTING:
        if term[1][0] == tag:
            return True
        term = term[2]
    return False


Path = tuple[int, ...]


def _at(expr: Expr, path: Path) -> Expr:
    for turn in path:
        expr = expr[turn]
    return expr


def _difference(left: Expr, right: Expr) -> Path | None:
    """Where two reorderings of one term first differ in a way that an exchange of summands or factors can mend; None if equal."""
    if left == right:
        return None
    tag = left[0]
    if tag == "succ":
        return (1, *(_difference(left[1], right[1]) or ()))
    if _is_left_nested(left) or _is_left_nested(right):
        return ()
    have, want = list(_flat(tag, left)), list(_flat(tag, right))
    if list(map(reordered, have)) != list(map(reordered, want)):
        return ()
    place = next(k for k in range(len(have)) if have[k] != want[k])
    last = place == len(have) - 1
    return (*[2] * place, *([] if last else [1]), *(_difference(have[place], want[place]) or ()))


def _swap(equation: Expr, path: Path, tail: list[Expr]) -> Step:
    """Exchange the first two of ``tail``, the last summands (or factors) of the chain whose part at ``path`` they are."""
    tag = _at(equation, path)[0]
    first, second = tail[:2]
    rest = _chain(tag, tail[2:])
    arguments = [first, second]
    if rest is None:
        old, new, name = (tag, first, second), (tag, second, first), COMMUTING[tag]
    else:
        old, new, name = (tag, first, (tag, second, rest)), (tag, second, (tag, first, rest)), SWAPPING[tag]
        pattern = (tag, first, (tag, second, A))
        if next(term for term in subterms(equation) if match(pattern, term, {}) is not None) != old:
            arguments.append(rest)
    line = f"rewrite {call(name, *arguments)}"
    places = list(_occurrences(equation, old))
    if len(places) == 1:
        return line, exchange(equation, old, new)
    number = places.index(path) + 1
    return f"{line} at {number}", replace_one(equation, old, new, number)


def _occurrences(expr: Expr, part: Expr) -> Iterator[Path]:
    """Where ``part`` stands, in reading order."""
    if expr == part:
        yield ()
    elif expr[0] != "var":
        for turn, inner in enumerate(expr[1:], 1):
            yield from ((turn, *path) for path in _occurrences(inner, part))


def _chain(tag: str, items: list[Expr]) -> Expr | None:
    if not items:
        return None
    result = items[-1]
    for item in reversed(items[:-1]):
        result = (tag, item, result)
    return result


def size(term: Expr) -> int:
    """Nodes of an expression."""
    return 1 + sum(map(size, parts(term)))
