"""Goals as the expert sees them, and what it needs to know about formulas: matching, chains of premises, terms in sight.

The expert keeps its own account of the goals that its tactics leave, in the names that it gives; whether a script really proves
its statement is for the environment to say, afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from sparring.envs.kernel import Expr, Fuel, abstract, instantiate, normal
from sparring.envs.printing import format_expr

VARIABLES = ("x", "y", "z", "u", "v", "w")
Subgoals = tuple["Goal", ...]


class Goal(NamedTuple):
    """``symbols``: names that are taken; ``hyps``: (name, formula) in order of introduction."""

    symbols: frozenset[str]
    variables: tuple[str, ...]
    hyps: tuple[tuple[str, Expr], ...]
    conclusion: Expr

    @property
    def facts(self) -> frozenset[Expr]:
        return frozenset(formula for _, formula in self.hyps)

    @property
    def taken(self) -> frozenset[str]:
        return self.symbols.union(self.variables, (name for name, _ in self.hyps))

    def proving(self, conclusion: Expr) -> Goal:
        return self._replace(conclusion=conclusion)

    def having(self, *hyps: tuple[str, Expr]) -> Goal:
        return self._replace(hyps=(*self.hyps, *hyps))

    def replacing(self, name: str, *hyps: tuple[str, Expr]) -> Goal:
        """With ``hyps`` in the place of the hypothesis ``name``."""
        place = next(k for k, hyp in enumerate(self.hyps) if hyp[0] == name)
        return self._replace(hyps=(*self.hyps[:place], *hyps, *self.hyps[place + 1 :]))

    def with_term(self, name: str, term: Expr, variables: tuple[str, ...]) -> Goal:
        """The variable ``name`` replaced by ``term`` everywhere, over the new ``variables``."""
        hyps = tuple((hyp, exchange(formula, ("var", name), term)) for hyp, formula in self.hyps)
        return Goal(self.symbols, variables, hyps, exchange(self.conclusion, ("var", name), term))


def exchange(expr: Expr, old: Expr, new: Expr) -> Expr:
    """``expr`` with every ``old`` replaced by ``new``."""
    return instantiate(abstract(expr, old, Fuel()), (new,), Fuel())


def compute(expr: Expr) -> Expr:
    return normal(expr, Fuel())


def fresh(bases: Sequence[str], taken: frozenset[str]) -> str:
    """The first of ``bases`` that is free, else one of them with the smallest number that is."""
    candidates = (base + (str(turn) if turn else "") for turn in range(1000) for base in bases)
    return next(name for name in candidates if name not in taken)


def fresh_hyps(goal: Goal, count: int, base: str = "h") -> list[str]:
    names: list[str] = []
    for _ in range(count):
        names.append(fresh((base,), goal.taken.union(names)))
    return names


def argument(term: Expr) -> str:
    """A term as an argument of something: in parentheses unless it is one word."""
    text = format_expr(term)
    return f"({text})" if " " in text else text


def call(name: str, *terms: Expr) -> str:
    """``name`` applied to terms, in parentheses where there are any."""
    return f"({' '.join([name, *map(argument, terms)])})" if terms else name


def subterms(expr: Expr) -> Iterator[Expr]:
    """All terms in ``expr`` in reading order, the outer before the inner."""
    if expr[0] in ("var", "bound", "zero", "succ", "add", "mul"):
        yield expr
    for part in parts(expr):
        yield from subterms(part)


def parts(expr: Expr) -> tuple[Expr, ...]:
    if expr[0] == "pred":
        return expr[2]
    return () if expr[0] in ("var", "bound") else expr[1:]


def is_closed(expr: Expr) -> bool:
    """Whether a term mentions no bound variable."""
    return expr[0] != "bound" and all(map(is_closed, parts(expr)))


def mentions(expr: Expr, name: str) -> bool:
    return expr == ("var", name) or any(mentions(part, name) for part in parts(expr))


def is_hole(expr: Expr) -> bool:
    return expr[0] == "var" and expr[1].startswith("?")


def match(pattern: Expr, target: Expr, found: Mapping[str, Expr]) -> dict[str, Expr] | None:
    """What the holes of ``pattern`` must be to make it ``target``, beyond what is ``found`` already; None if nothing does."""
    if is_hole(pattern):
        known = found.get(pattern[1])
        if known is None:
            return {**found, pattern[1]: target} if is_closed(target) else None
        return dict(found) if known == target else None
    if pattern[0] != target[0] or pattern[0] in ("var", "bound"):
        return dict(found) if pattern == target else None
    if pattern[0] == "pred" and pattern[1] != target[1]:
        return None
    result: dict[str, Expr] | None = dict(found)
    for left, right in zip(parts(pattern), parts(target), strict=True):
        result = match(left, right, result)
        if result is None:
            return None
    return result


def fill(pattern: Expr, found: Mapping[str, Expr]) -> Expr:
    """``pattern`` with its holes filled as far as they are known."""
    for hole, term in found.items():
        pattern = exchange(pattern, ("var", hole), term)
    return pattern


class Spine(NamedTuple):
    """What a fact says: for all ``holes``, ``premises`` imply ``conclusion``.

    ``order``: its arguments as a proof gives them, each a hole's name or "" for the next premise.
    """

    holes: tuple[str, ...]
    premises: tuple[Expr, ...]
    conclusion: Expr
    order: tuple[str, ...]

    @property
    def leading(self) -> tuple[str, ...]:
        """The holes before the first premise."""
        return self.order[: self.order.index("")] if "" in self.order else self.order


@lru_cache(maxsize=1 << 14)
def spines(formula: Expr) -> tuple[Spine, ...]:
    """Every way of reading a formula as a chain of premises, fewest premises first."""
    found: list[Spine] = []
    holes: list[str] = []
    premises: list[Expr] = []
    order: list[str] = []
    while True:
        if formula[0] == "all":
            holes.append(f"?{len(holes)}")
            order.append(holes[-1])
            formula = instantiate(formula[1], (("var", holes[-1]),), Fuel())
            continue
        found.append(Spine(tuple(holes), tuple(premises), formula, tuple(order)))
        if formula[0] != "imp":
            return tuple(found)
        premises.append(formula[1])
        order.append("")
        formula = formula[2]
