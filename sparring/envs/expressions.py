"""Proof expressions: a hypothesis or a lemma applied to terms and proofs, as in ``h x (S y) h2`` or ``add_comm x y``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from sparring.envs.goals import Goal, TacticError, known_hyps
from sparring.envs.kernel import Expr, Fuel, Proof, Theorem, instantiate
from sparring.envs.matching import Unknowns
from sparring.envs.printing import bound_name, names_in
from sparring.envs.reader import Names, Reader


class Call:
    """One use of a tactic: the goal it is for, what was written after its name, and what it may use."""

    __slots__ = ("fuel", "goal", "lemmas", "reader", "tactic")

    def __init__(self, goal: Goal, tactic: str, tokens: tuple[str, ...], lemmas: Mapping[str, Theorem], fuel: Fuel) -> None:
        self.goal, self.tactic, self.lemmas, self.fuel = goal, tactic, lemmas, fuel
        self.reader = Reader(tokens, names_of(goal.symbols, goal.variables))


@lru_cache(maxsize=4096)
def names_of(symbols: tuple[tuple[str, int], ...], variables: tuple[str, ...]) -> Names:
    """What a name means in a goal with these."""
    return Names(frozenset(variables), dict(symbols))


class Expression(NamedTuple):
    """A proof, maybe with unknowns, and what it proves."""

    proof: Proof
    formula: Expr


def read_expression(call: Call, unknowns: Unknowns) -> Expression:
    """The proof expression that comes next: a name, or one in parentheses, and its arguments."""
    found = _head(call, unknowns)
    while call.reader.begins_argument:
        found = _apply(found, call, unknowns)
    return Expression(*unknowns.resolve(found))


def read_exact(call: Call) -> Expression:
    """A proof expression without unknowns."""
    unknowns = Unknowns(call.fuel)
    found = read_expression(call, unknowns)
    require_known(call, unknowns, found)
    return found


def require_known(call: Call, unknowns: Unknowns, found: Expression) -> None:
    """Raises TacticError if something in the expression is not determined."""
    if left := unknowns.left(found.proof):
        raise TacticError(f"{call.tactic}: {' and '.join(left)} cannot be inferred; give the arguments")


def _head(call: Call, unknowns: Unknowns) -> Expression:
    reader = call.reader
    if reader.take("("):
        found = read_expression(call, unknowns)
        reader.expect(")")
        return found
    name = reader.name()
    formula = call.goal.hyp(name)
    if formula is not None:
        return Expression(("hyp", name), formula)
    theorem = call.lemmas.get(name)
    if theorem is None:
        raise TacticError(f"no hypothesis or lemma {name}; {known_hyps(call.goal)}")
    formula, bodies = unknowns.predicates(theorem.formula, theorem.symbols, name)
    return Expression(("lemma", name, bodies), formula)


def _apply(function: Expression, call: Call, unknowns: Unknowns) -> Expression:
    """``function`` applied to the argument that comes next."""
    proof, formula = Expression(*unknowns.resolve(function))
    if formula[0] == "all":
        term = call.reader.argument()
        return Expression(("all_elim", proof, term), instantiate(formula[1], (term,), call.fuel))
    if formula[0] != "imp":
        raise TacticError(f"{call.tactic}: {unknowns.shown(formula)} takes no argument, {call.reader.next} is one too many")
    argument = _head(call, unknowns)
    _agree(formula[1], argument.formula, call, unknowns)
    return Expression(("imp_elim", proof, argument.proof), formula[2])


def _agree(premise: Expr, argument: Expr, call: Call, unknowns: Unknowns) -> None:
    premise, argument = unknowns.resolve(premise), unknowns.resolve(argument)
    if unknowns.left(premise) and unknowns.left(argument):
        raise TacticError(f"{call.tactic}: {' and '.join(unknowns.left(argument))} cannot be inferred here")
    agree = unknowns.match(argument, premise) if unknowns.left(argument) else unknowns.match(premise, argument)
    if not agree:
        wanted, given = unknowns.shown(premise), unknowns.shown(argument)
        raise TacticError(f"{call.tactic}: a proof of {wanted} is needed, this proves {given}")


def open_binder(found: Expression, call: Call, unknowns: Unknowns, place: int) -> Expression:
    """``found``, which proves a "for all", applied to an unknown: the one numbered ``place`` that was left out."""
    label = bound_name(place, names_in(found.formula))
    term = unknowns.term(label)
    return Expression(("all_elim", found.proof, term), instantiate(found.formula[1], (term,), call.fuel))
