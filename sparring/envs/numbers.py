"""Tactics worth a try that are about equations and numbers; for ``moves.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sparring.envs.facts import Rule, rules
from sparring.envs.goals import fresh, fresh_variable
from sparring.envs.kernel import Expr, abstract, instantiate
from sparring.envs.sight import View, spelled, terms_in
from sparring.envs.sums import difference, solutions, term_of

EQUATIONS = 6
"""Hypotheses that may help to solve an equation."""


def rewrites(view: View) -> Iterator[str]:
    """Equations among the hypotheses, in the goal and in other hypotheses."""
    own = [
        (found[0].name, rule) for found in view.readings for reading in found if not reading.premises for rule in rules(reading)
    ]
    for _, rule in own:
        yield from _rewritten(view, [rule], view.goal.conclusion, "")
    for formula, name in view.facts.items():
        for source, rule in own:
            if source != name and formula[0] != "ex":
                yield from _rewritten(view, [rule], formula, f" in {name}")


def lemma_rewrites(view: View) -> Iterator[str]:
    """Equations of the library, in the goal."""
    yield from _rewritten(view, view.lemmas.rules, view.goal.conclusion, "")


def lemma_rewrites_in(view: View) -> Iterator[str]:
    """Equations of the library that make a hypothesis simpler, then the others."""
    for simpler in (True, False):
        for formula, name in view.facts.items():
            if formula[0] in ("eq", "pred"):
                chosen = [rule for rule in view.lemmas.rules if (rule.rank == 0) == simpler]
                yield from _rewritten(view, chosen, formula, f" in {name}")


def _rewritten(view: View, chosen: Sequence[Rule], formula: Expr, where: str) -> Iterator[str]:
    """``rewrite`` with each rule at each term in the formula that it is about; exchanges also at one place of several."""
    kinds: dict[str, list[tuple[Expr, int]]] = {}
    for term, count in terms_in(formula, view.fuel).items():
        kinds.setdefault(term[0], []).append((term, count))
    done: set[tuple[Expr, Expr]] = set()
    again: list[str] = []
    for rule in chosen:
        first = True
        for term, count in kinds.get(rule.old[0], ()):
            known = view.match(rule.old, term)
            if known is None:
                continue
            change = (term, view.fill(rule.new, known))
            if change not in done and change[0] != change[1] and not _is_known(view, formula, change, where):
                done.add(change)
                bare = (first and rule.rank != 2) or not rule.reading.unknowns
                call = rule.reading.name if bare else view.call(rule.reading, known, ())
                line = call and f"rewrite {rule.arrow}{call}"
                yield line and line + where
                if rule.rank == 2 and count > 1 and line:
                    again += [f"{line} at {place}{where}" for place in range(1, min(count, 3) + 1)]
            first = False
    yield from again


def _is_known(view: View, formula: Expr, change: tuple[Expr, Expr], where: str) -> bool:
    """Whether a hypothesis is changed to one that is there already."""
    return bool(where) and instantiate(abstract(formula, change[0], view.fuel), (change[1],), view.fuel) in view.facts


# ------------------------------------------------------------------------------------------------ numbers


def inductions(view: View) -> Iterator[str]:
    """Induction, then whether a number is 0, for numbers of which something is said."""
    said = [formula for formula in view.spoken() if formula[0] in ("eq", "pred") or formula is view.goal.conclusion]
    names = view.mentioned(said)
    yield from [f"induction {name}" for name in names]
    y = fresh_variable(view.names)
    equations = [formula for formula in view.spoken() if any(atom[0] == "eq" for atom in atoms(view, formula))]
    yield from [f"destruct {name} as [| {y}]" for name in (view.mentioned(equations) if equations else ())]


def atoms(view: View, formula: Expr) -> Iterator[Expr]:
    """The equations and predicates in a formula, also those under binders, from left to right."""
    stack = [formula]
    while stack:
        view.fuel.burn()
        part = stack.pop()
        if part[0] in ("pred", "eq"):
            yield part
        else:
            stack += part[:0:-1]


# ------------------------------------------------------------------------------------------------ sums


def solving(view: View, equation: Expr) -> Iterator[Expr]:
    """Terms for the unknown that solve the equation, given what hypotheses say is equal."""
    total = difference(equation, view.fuel)
    equations = [formula for formula in view.facts if formula[0] == "eq"][:EQUATIONS]
    zeros = [zero for formula in equations if (zero := difference(formula, view.fuel))]
    for solution in solutions(total, view.hole[1], zeros, view.fuel) if total else ():
        term = term_of(solution, view.goal.variables)
        if term is not None:
            yield term


def reorderings(view: View) -> Iterator[str]:
    """``have`` an equation of two forms of one sum that makes a hypothesis the goal, or of use for it."""
    new, conclusion = fresh(view.names), view.goal.conclusion
    for formula in view.facts:
        if formula[0] == "pred" == conclusion[0] and formula[1] == conclusion[1]:
            pairs = [pair for pair in zip(conclusion[2], formula[2], strict=True) if pair[0] != pair[1]]
            if len(pairs) == 1 and difference(("eq", *pairs[0]), view.fuel) == {}:
                text = spelled(("eq", *pairs[0]))
                yield text and f"have {new} : {text}"
        if formula[0] == "eq" == conclusion[0]:
            for a, b in (formula[1:], formula[:0:-1]):
                if (form := _reordered(view, conclusion, a, b)) is not None:
                    text = spelled(("eq", conclusion[1], form))
                    yield text and f"have {new} : {text}"


def _reordered(view: View, equation: Expr, a: Expr, b: Expr) -> Expr | None:
    """The left side of a + k = b + k in that form, where it has another one; None if the equation is none of that kind."""
    over, same = (difference(("eq", *sides), view.fuel) for sides in zip(equation[1:], (a, b), strict=True))
    if over is None or over != same or (over and a[0] in ("var", "zero")):
        return None
    rest = term_of(over, view.goal.variables)
    form = None if rest is None else ("add", a, rest) if over else a
    return None if form == equation[1] else form
