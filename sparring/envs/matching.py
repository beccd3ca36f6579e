"""First-order matching: what must stand for the unknowns of a formula so that it becomes another one.

Unknowns are terms ("var", "?1") and predicates ("pred", "?2", arguments); nothing that was read has such a name. What an unknown
term stands for never mentions a variable that is bound inside the formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparring.envs.kernel import Expr, Fuel, abstract, instantiate, substitute
from sparring.envs.printing import FORMULAS, shown


class Unknowns:
    """The unknowns of one tactic and what is known of them."""

    def __init__(self, fuel: Fuel) -> None:
        self.fuel = fuel
        self.labels: dict[str, str] = {}
        """Every unknown and what to call it in a message."""
        self.terms: dict[str, Expr] = {}
        self.bodies: dict[str, Expr] = {}
        """For a predicate: a formula in which loose bound variables stand for its arguments, 0 for the last."""

    # -- making them

    def term(self, label: str) -> Expr:
        """A new unknown term."""
        return ("var", self._name(label))

    def predicates(self, formula: Expr, symbols: Sequence[tuple[str, int]], label: str) -> tuple[Expr, tuple[Expr, ...]]:
        """``formula`` with an unknown for each of its predicates, and the unknowns as bodies (see ``kernel.substitute``)."""
        bodies = {symbol: apply_to_bound(self._name(f"{symbol} of {label}"), arity) for symbol, arity in symbols}
        return substitute(formula, bodies, self.fuel), tuple(bodies.values())

    def _name(self, label: str) -> str:
        name = f"?{len(self.labels)}"
        self.labels[name] = label
        return name

    # -- what is known

    def known(self) -> tuple[dict[str, Expr], dict[str, Expr]]:
        """What is known now, to go back to with ``forget``."""
        return dict(self.terms), dict(self.bodies)

    def forget(self, known: tuple[dict[str, Expr], dict[str, Expr]]) -> None:
        self.terms, self.bodies = known

    def resolve(self, node: Any) -> Any:
        """A term, a formula or a proof with what is known put in."""
        if not self.labels:
            return node
        self.fuel.burn()
        tag = node[0] if node else None
        if tag == "var":
            return self.terms.get(node[1], node)
        if tag == "pred" and node[1] in self.bodies:
            return instantiate(self.bodies[node[1]], self.resolve(node[2]), self.fuel)
        return tuple([self.resolve(part) if type(part) is tuple else part for part in node])

    def left(self, node: Any) -> list[str]:
        """What the unknowns are called that a term, a formula or a proof still mentions."""
        found: dict[str, None] = {}
        stack = [node] if self.labels else []
        while stack:
            part = stack.pop()
            self.fuel.burn()
            if part and part[0] in ("var", "pred") and part[1] in self.labels:
                found[part[1]] = None
            stack += [inner for inner in part if type(inner) is tuple]
        return [self.labels[name] for name in sorted(found)]

    def shown(self, formula: Expr) -> str:
        """A formula for a message, in which unknowns have the names that they have in their lemma."""
        text = shown(self.resolve(formula))
        for name, label in reversed(self.labels.items()):
            text = text.replace(name, label.split(" ")[0])
        return text

    def match(self, pattern: Expr, target: Expr) -> bool:
        """Whether unknowns of ``pattern`` can stand for something that makes it ``target``, which has none; if so, they do."""
        if not self.labels:
            return pattern == target
        known = self.known()
        if self._match(pattern, target):
            return True
        self.forget(known)
        return False

    def _match(self, pattern: Expr, target: Expr) -> bool:
        self.fuel.burn()
        tag = pattern[0]
        if tag == "var" and pattern[1] in self.labels:
            return self._match_term(pattern[1], target)
        if tag == "pred" and pattern[1] in self.labels:
            return self._match_predicate(pattern[1], pattern[2], target)
        if tag != target[0]:
            return False
        if tag in ("var", "bound"):
            return pattern == target
        if tag == "pred":
            return pattern[1] == target[1] and self._match_all(pattern[2], target[2])
        return self._match_all(pattern[1:], target[1:])

    def _match_all(self, patterns: Sequence[Expr], targets: Sequence[Expr]) -> bool:
        return all(self._match(pattern, target) for pattern, target in zip(patterns, targets, strict=True))

    def _match_term(self, name: str, target: Expr) -> bool:
        if name in self.terms:
            return self.terms[name] == target
        if target[0] in FORMULAS or not is_closed(target, self.fuel):
            return False
        self.terms[name] = target
        return True

    def _match_predicate(self, name: str, arguments: Sequence[Expr], target: Expr) -> bool:
        if name in self.bodies:
            return self._match(instantiate(self.bodies[name], tuple(arguments), self.fuel), target)
        known = self.known()
        if target[0] == "pred" and len(target[2]) == len(arguments) and self._match_all(arguments, target[2]):
            self.bodies[name] = apply_to_bound(target[1], len(arguments))
            return True
        self.forget(known)
        body = self._body([self.resolve(argument) for argument in arguments], target)
        if body is None:
            return False
        self.bodies[name] = body
        return True

    def _body(self, arguments: Sequence[Expr], target: Expr) -> Expr | None:
        """``target`` as a formula about ``arguments``: wherever one of them occurs, that argument is meant."""
        if self.left(tuple(arguments)):
            return None
        if not all(argument[0] == "bound" for argument in arguments):
            if not all(is_closed(argument, self.fuel) for argument in arguments):
                return None
            for argument in arguments:
                target = abstract(target, argument, self.fuel)
            return target if is_closed(target, self.fuel, len(arguments)) else None
        places = {argument[1]: len(arguments) - 1 - place for place, argument in enumerate(arguments)}
        return rename_bound(target, places, self.fuel) if len(places) == len(arguments) else None


def apply_to_bound(symbol: str, arity: int) -> Expr:
    """The predicate applied to ``arity`` loose bound variables, 0 the last."""
    return ("pred", symbol, tuple([("bound", arity - 1 - place) for place in range(arity)]))


def is_closed(node: Expr, fuel: Fuel, binders: int = 0) -> bool:
    """Whether every bound variable is bound inside ``node`` or by ``binders`` around it."""
    fuel.burn()
    if node[0] == "bound":
        return node[1] < binders
    if node[0] == "var":
        return True
    inner = binders + (node[0] in ("all", "ex"))
    parts = node[2] if node[0] == "pred" else node[1:]
    return all(is_closed(part, fuel, inner) for part in parts)


def rename_bound(node: Expr, places: dict[int, int], fuel: Fuel, binders: int = 0) -> Expr | None:
    """``node`` with its loose bound variables renumbered; None if it has one that ``places`` does not know."""
    fuel.burn()
    if node[0] == "bound":
        if node[1] < binders:
            return node
        place = places.get(node[1] - binders)
        return None if place is None else ("bound", place + binders)
    if node[0] == "var":
        return node
    inner = binders + (node[0] in ("all", "ex"))
    parts = [rename_bound(part, places, fuel, inner) for part in (node[2] if node[0] == "pred" else node[1:])]
    if None in parts:
        return None
    return ("pred", node[1], tuple(parts)) if node[0] == "pred" else (node[0], *parts)


def first_instance(pattern: Expr, formula: Expr, unknowns: Unknowns) -> bool:
    """Whether ``pattern`` matches a term in ``formula``; if so, what the unknowns stand for makes it the first one from the left,
    a term before its parts."""
    if formula[0] not in FORMULAS and unknowns.match(pattern, formula):
        return True
    unknowns.fuel.burn()
    if formula[0] in ("var", "bound"):
        return False
    parts = formula[2] if formula[0] == "pred" else formula[1:]
    return any(first_instance(pattern, part, unknowns) for part in parts)


class Occurrences:
    """Counts how often a closed term occurs in a formula, from left to right, and puts a loose bound variable there."""

    def __init__(self, term: Expr, only: int | None, fuel: Fuel) -> None:
        self.term, self.only, self.fuel, self.count = term, only, fuel, 0

    def abstract(self, node: Expr, binders: int = 0) -> Expr:
        """``node`` with ("bound", 0), seen from outside, for every occurrence, or the one numbered ``only``."""
        self.fuel.burn()
        if node == self.term:
            self.count += 1
            return ("bound", binders) if self.only in (None, self.count) else node
        if node[0] in ("var", "bound"):
            return node
        inner = binders + (node[0] in ("all", "ex"))
        if node[0] == "pred":
            return ("pred", node[1], tuple([self.abstract(part, inner) for part in node[2]]))
        return (node[0], *[self.abstract(part, inner) for part in node[1:]])
