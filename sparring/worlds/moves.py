"""What the expert can do to a goal, in the order in which it tries it; logic here, what needs the library in ``premises.py``.

A move that loses nothing is *committed*: the expert takes the first one that applies and never goes back. The others are choices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import NamedTuple

from sparring.envs.kernel import FALSE, TRUE, ZERO, Expr, Fuel, instantiate
from sparring.envs.printing import format_expr
from sparring.worlds.arithmetic import SIMPLIFYING, polynomial, prove_identity, simplify, size
from sparring.worlds.countermodels import is_refuted
from sparring.worlds.equations import prove_equation
from sparring.worlds.proofstate import (
    VARIABLES,
    Goal,
    Spine,
    argument,
    call,
    compute,
    exchange,
    fill,
    fresh,
    fresh_hyps,
    is_closed,
    match,
    mentions,
    spines,
    subterms,
)
from sparring.worlds.witnesses import solutions


class Move(NamedTuple):
    """A tactic and the goals that it leaves."""

    line: str
    goals: tuple[Goal, ...]


@dataclass(frozen=True)
class Style:
    """Habits of whoever writes a proof; no habit changes what can be proved."""

    forward: bool = False
    """Uses an implication as soon as its premise is there, rather than when its conclusion is wanted."""
    assumption: bool = False
    """Writes ``assumption`` for ``exact h``."""
    one_by_one: bool = False
    """Introduces one name at a time."""
    split_first: bool = False
    """Splits the conclusion before it takes cases."""
    inductive: bool = False
    """Proves identities by induction before it thinks of algebra."""


# ------------------------------------------------------------------------------------------------ ends


def close(goal: Goal, style: Style) -> list[str] | None:
    """Tactics that close the goal for good, if some are plain to see."""
    conclusion = goal.conclusion
    for name, formula in goal.hyps:
        if formula == conclusion:
            return ["assumption" if style.assumption else f"exact {name}"]
    if _is_contradictory(goal):
        return ["contradiction"]
    for name, formula in goal.hyps:
        if formula[0] == "eq" and {compute(formula)[1][0], compute(formula)[2][0]} == {"zero", "succ"}:
            return [f"discriminate {name}"]
    if conclusion == TRUE:
        return ["trivial"]
    if conclusion[0] == "eq":
        inductive = style.inductive and any(name.startswith("ih") for name, _ in goal.hyps)
        return prove_equation(goal, inductive)
    if conclusion[0] == "pred" and conclusion[2] and compute(conclusion) == conclusion:
        return _close_reordered(goal)
    return None


def _is_contradictory(goal: Goal) -> bool:
    facts = goal.facts
    return FALSE in facts or any(fact[0] == "imp" and fact[2] == FALSE and fact[1] in facts for fact in facts)


def _close_reordered(goal: Goal) -> list[str] | None:
    """P t from P u where t = u is an identity: compute, or ``have`` the identity and rewrite."""
    for name, formula in goal.hyps:
        if formula[:2] != goal.conclusion[:2] or len(formula[2]) != len(goal.conclusion[2]):
            continue
        pairs = [(t, u) for t, u in zip(goal.conclusion[2], formula[2], strict=True) if t != u]
        if len(pairs) != 1 or polynomial(pairs[0][0]) != polynomial(pairs[0][1]):
            continue
        found = prove_identity(("eq", *pairs[0]))
        if found and exchange(goal.conclusion, *pairs[0]) == formula:
            (new,) = fresh_hyps(goal, 1)
            return [f"have {new} : {format_expr(('eq', *pairs[0]))}", *found, f"rewrite {new}", f"exact {name}"]
    return None


# ------------------------------------------------------------------------------------------------ committed moves


def committed(goal: Goal, style: Style) -> Move | None:
    """The first move that applies and loses nothing."""
    if goal.conclusion[0] in ("all", "imp"):
        return introduce(goal, style)
    hyps = list(goal.hyps)
    for name, formula in hyps:
        if formula[0] == "and" or (formula[0] == "ex" and not _is_wanted(goal, formula)):
            return take_apart(goal, name, formula, plain=True)
        if formula[0] == "eq" and (move := tidy_equation(goal, name, formula)):
            return move
        if formula[0] == "pred" and (computed := compute(formula)) != formula:
            return Move(f"simpl in {name}", (goal.replacing(name, (name, computed)),))
    for name, formula in hyps:
        if formula[0] == "imp" and formula[1] in goal.facts and _is_worth(formula[2], style):
            premise = next(other for other, fact in hyps if fact == formula[1])
            return Move(f"specialize ({name} {premise})", (goal.replacing(name, (name, formula[2])),))
    splits = goal.conclusion[0] == "and"
    if splits and style.split_first:
        return Move("split", tuple(map(goal.proving, goal.conclusion[1:])))
    for name, formula in hyps:
        if formula[0] == "or":
            return take_apart(goal, name, formula, plain=True)
    if splits:
        return Move("split", tuple(map(goal.proving, goal.conclusion[1:])))
    return _substituted(goal) or _tidy_conclusion(goal)


def _is_wanted(goal: Goal, fact: Expr) -> bool:
    """Whether some hypothesis has the fact, as it is, among its premises."""
    premises = (premise for _, other in goal.hyps for premise in spines(other)[-1].premises if premise[0] == fact[0])
    return any(match(premise, fact, {}) is not None for premise in premises)


def _is_worth(result: Expr, style: Style) -> bool:
    return style.forward or result[0] in ("and", "or", "ex", "eq", "false")


def introduce(goal: Goal, style: Style) -> Move:
    names: list[str] = []
    while goal.conclusion[0] in ("all", "imp") and not (names and style.one_by_one):
        if goal.conclusion[0] == "all":
            names.append(fresh(VARIABLES, goal.taken))
            body = instantiate(goal.conclusion[1], (("var", names[-1]),), Fuel())
            goal = goal._replace(variables=(*goal.variables, names[-1]), conclusion=body)
        else:
            names.append(fresh(("h",), goal.taken))
            goal = goal.having((names[-1], goal.conclusion[1])).proving(goal.conclusion[2])
    return Move(f"intro{'s' * (len(names) > 1)} {' '.join(names)}", (goal,))


def take_apart(goal: Goal, what: str, formula: Expr, plain: bool) -> Move:
    """``destruct``; ``plain``: ``what`` is a hypothesis, which then goes away."""

    def using(*hyps: tuple[str, Expr]) -> Goal:
        return goal.replacing(what, *hyps) if plain else goal.having(*hyps)

    if formula[0] == "and":
        one, two = fresh_hyps(goal, 2)
        return Move(f"destruct {what} as [{one} {two}]", (using((one, formula[1]), (two, formula[2])),))
    (name,) = fresh_hyps(goal, 1)
    if formula[0] == "or":
        return Move(f"destruct {what} as [{name} | {name}]", (using((name, formula[1])), using((name, formula[2]))))
    variable = fresh(VARIABLES, goal.taken)
    after = using((name, instantiate(formula[1], (("var", variable),), Fuel())))
    return Move(f"destruct {what} as [{variable} {name}]", (after._replace(variables=(*goal.variables, variable)),))


def tidy_equation(goal: Goal, name: str, equation: Expr) -> Move | None:
    """An equation among the hypotheses in a simpler form."""
    if step := simplify(equation):
        return Move(f"{step[0]} in {name}", (goal.replacing(name, (name, step[1])),))
    if equation[1][0] == equation[2][0] == "succ":
        return Move(f"apply succ_inj in {name}", (goal.replacing(name, (name, ("eq", equation[1][1], equation[2][1]))),))
    return None


def _tidy_conclusion(goal: Goal) -> Move | None:
    """A predicate of a simpler term, unless a hypothesis speaks of the term as it is."""
    conclusion = goal.conclusion
    if conclusion[0] != "pred" or not (step := simplify(conclusion, SIMPLIFYING)):
        return None
    if step[0] != "simpl" and any(match(spines(fact)[-1].conclusion, conclusion, {}) is not None for fact in goal.facts):
        return None
    return Move(step[0], (goal.proving(step[1]),))


def _substituted(goal: Goal) -> Move | None:
    """A variable that an equation defines, replaced in the conclusion and in other hypotheses (not where equations are to prove)."""
    for name, formula in goal.hyps:
        if formula[0] != "eq":
            continue
        ways = [("", formula[1:]), ("<- ", formula[:0:-1])]
        defined = [(arrow, old, new) for arrow, (old, new) in ways if old[0] == "var" and not mentions(new, old[1])]
        for arrow, old, new in defined[:1]:
            if goal.conclusion[0] != "eq" and mentions(goal.conclusion, old[1]):
                return Move(f"rewrite {arrow}{name}", (goal.proving(exchange(goal.conclusion, old, new)),))
            for other, fact in goal.hyps:
                if other != name and fact[0] in ("eq", "pred") and mentions(fact, old[1]):
                    changed = exchange(fact, old, new)
                    return Move(f"rewrite {arrow}{name} in {other}", (goal.replacing(other, (other, changed)),))
    return None


# ------------------------------------------------------------------------------------------------ choices


def choices(goal: Goal) -> Iterator[Move]:
    """Logical moves that may lead nowhere."""
    conclusion = goal.conclusion
    yield from backward(goal, goal.hyps)
    if conclusion[0] == "or":
        yield Move("left", (goal.proving(conclusion[1]),))
        yield Move("right", (goal.proving(conclusion[2]),))
    if conclusion[0] == "ex":
        yield from _witnesses(goal)
    yield from _rewritten(goal)
    yield from forward(goal, goal.hyps)
    for name, formula in goal.hyps:
        if formula[0] == "ex":
            yield take_apart(goal, name, formula, plain=True)
    yield from _lifted(goal)
    if conclusion != FALSE and any(spines(fact)[-1].conclusion == FALSE for fact in goal.facts):
        yield Move("exfalso", (goal.proving(FALSE),))


def backward(goal: Goal, facts: tuple[tuple[str, Expr], ...]) -> Iterator[Move]:
    """``apply`` a fact to the conclusion; ``facts``: hypotheses or lemmas."""
    for name, formula in facts:
        for spine in spines(formula):
            found = match(spine.conclusion, goal.conclusion, {})
            if found is not None:
                for filled in _completed(goal, spine, found):
                    given = [] if found.keys() >= set(spine.holes) else [filled[hole] for hole in spine.leading]
                    yield Move(f"apply {call(name, *given)}", tuple(goal.proving(fill(p, filled)) for p in spine.premises))
                break


def _completed(goal: Goal, spine: Spine, found: Mapping[str, Expr]) -> Iterator[dict[str, Expr]]:
    """``found`` with the remaining holes filled: by what premises and facts have in common, else by any term in sight."""
    missing = [hole for hole in spine.holes if hole not in found]
    if not missing:
        yield dict(found)
        return
    if not set(missing) <= set(spine.leading):
        return
    seen: list[dict[str, Expr]] = []
    for premise, fact in product(spine.premises, [formula for _, formula in goal.hyps]):
        filled = match(premise, fact, found)
        if filled is not None and filled not in seen and filled.keys() >= set(spine.holes):
            seen.append(filled)
    yield from seen
    for terms in islice(product(in_sight(goal), repeat=len(missing)), 12):
        filled = {**found, **dict(zip(missing, terms, strict=True))}
        if filled not in seen:
            yield filled


def in_sight(goal: Goal) -> list[Expr]:
    """Variables and other terms that the goal mentions, variables first; 0 if there is nothing else."""
    terms: dict[Expr, None] = {("var", name): None for name in goal.variables}
    for formula in (goal.conclusion, *(fact for _, fact in goal.hyps)):
        terms.update(dict.fromkeys(term for term in subterms(formula) if _is_handy(term)))
    return list(terms)[:6] or [ZERO]


def _is_handy(term: Expr) -> bool:
    return is_closed(term) and size(term) <= 4 and compute(term) == term


def _witnesses(goal: Goal) -> Iterator[Move]:
    body = goal.conclusion[1]
    pattern = instantiate(body, (("var", "?0"),), Fuel())
    terms: dict[Expr, None] = {}
    for part in _atoms(pattern):
        if part[0] == "eq":
            terms.update(dict.fromkeys(solutions(goal, part, "?0")))
        for _, fact in goal.hyps:
            for spine in spines(fact):
                found = match(part, spine.conclusion, {}) or {}
                if "?0" in found and not any(hole in format_expr(found["?0"]) for hole in spine.holes):
                    terms[found["?0"]] = None
    terms.update(dict.fromkeys([*in_sight(goal), ZERO]))
    tried = [(term, goal.proving(instantiate(body, (term,), Fuel()))) for term in terms]
    good = list(islice((pair for pair in tried if _is_plausible(pair[1])), 4))
    for term, after in good or tried[:4]:
        yield Move(f"exists {argument(term)}", (after,))


def _is_plausible(goal: Goal) -> bool:
    """Whether the equations in the conclusion can be proved as far as it needs them."""
    tag = goal.conclusion[0]
    if tag in ("and", "or"):
        halves = [_is_plausible(goal.proving(half)) for half in goal.conclusion[1:]]
        return all(halves) if tag == "and" else any(halves)
    return tag != "eq" or (not is_refuted(goal) and prove_equation(goal) is not None)


def _atoms(formula: Expr) -> Iterator[Expr]:
    if formula[0] in ("pred", "eq"):
        yield formula
    elif formula[0] in ("and", "or", "imp"):
        yield from _atoms(formula[1])
        yield from _atoms(formula[2])


def _rewritten(goal: Goal) -> Iterator[Move]:
    """Rewriting with an equation among the hypotheses, in a conclusion that is no equation, then in other hypotheses."""
    for name, formula in goal.hyps:
        if formula[0] != "eq" or formula[1] == formula[2]:
            continue
        for arrow, (old, new) in (("", formula[1:]), ("<- ", formula[:0:-1])):
            if old == ZERO:
                continue
            after = exchange(goal.conclusion, old, new)
            if after != goal.conclusion and goal.conclusion[0] != "eq":
                yield Move(f"rewrite {arrow}{name}", (goal.proving(after),))
            for other, fact in goal.hyps:
                changed = exchange(fact, old, new)
                if other != name and changed != fact and changed not in goal.facts:
                    yield Move(f"rewrite {arrow}{name} in {other}", (goal.replacing(other, (other, changed)),))


def forward(goal: Goal, known: tuple[tuple[str, Expr], ...]) -> Iterator[Move]:
    """A known fact applied to hypotheses (or, where it has no premises, to terms in sight): taken apart, or kept as a new one."""
    for name, formula in known:
        for spine in reversed(spines(formula)):
            if not spine.order or (spine.conclusion[0] not in ("and", "or", "ex") and not spine.premises):
                continue
            for filled, used in islice(_joined(goal, spine), 6):
                result = fill(spine.conclusion, filled)
                if result in goal.facts or result == goal.conclusion:
                    continue
                names = iter(used)
                given = " ".join(argument(filled[item]) if item else next(names) for item in spine.order)
                if result[0] in ("and", "or", "ex"):
                    yield take_apart(goal, f"({name} {given})", result, plain=False)
                else:
                    (new,) = fresh_hyps(goal, 1)
                    yield Move(f"have {new} := {name} {given}", (goal.having((new, result)),))


def _joined(goal: Goal, spine: Spine) -> Iterator[tuple[dict[str, Expr], tuple[str, ...]]]:
    """Ways to fill the holes so that hypotheses prove all premises, with the names of these hypotheses."""
    ways: list[tuple[dict[str, Expr], tuple[str, ...]]] = [({}, ())]
    for premise in spine.premises:
        pairs = [(match(premise, fact, found), (*used, name)) for found, used in ways for name, fact in goal.hyps]
        ways = [(found, used) for found, used in pairs if found is not None]
    for found, used in ways:
        missing = [hole for hole in spine.holes if hole not in found]
        for terms in product(in_sight(goal), repeat=len(missing)):
            yield {**found, **dict(zip(missing, terms, strict=True))}, used


def _lifted(goal: Goal) -> Iterator[Move]:
    """``have`` the premise of an implication whose result is wanted for more than the conclusion."""
    for _, formula in goal.hyps:
        if formula[0] == "imp" and formula[1] not in goal.facts and formula[2] != FALSE:
            (new,) = fresh_hyps(goal, 1)
            line = f"have {new} : {format_expr(formula[1])}"
            yield Move(line, (goal.proving(formula[1]), goal.having((new, formula[1]))))
