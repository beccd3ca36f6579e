"""Tactics about equations and numbers: computing, rewriting, induction, and that constructors are injective and disjoint."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.envs.expressions import Call, Expression, open_binder, read_expression, require_known
from sparring.envs.goals import (
    Goal,
    Hyp,
    TacticError,
    check_formula_size,
    check_new,
    fresh,
    need_hyp,
    occurs,
    put_hyp,
)
from sparring.envs.kernel import ZERO, Expr, Fuel, abstract, instantiate, normal
from sparring.envs.matching import Occurrences, Unknowns, first_instance
from sparring.envs.printing import shown
from sparring.envs.steps import Elaborated, step

# ------------------------------------------------------------------------------------------------ computing


def rfl(call: Call) -> Elaborated:
    """``rfl``: both sides of the equation compute to the same."""
    conclusion = call.goal.conclusion
    if conclusion[0] != "eq":
        raise TacticError(f"{call.tactic}: {shown(conclusion)} is not an equation")
    if conclusion[1] != conclusion[2]:
        left, right = (check_formula_size(normal(side, call.fuel)) for side in conclusion[1:])
        if left != right:
            raise TacticError(f"{call.tactic}: {shown(left)} and {shown(right)} are not the same")
    return step(call.goal, ("rfl",))


def simpl(call: Call) -> Elaborated:
    """``simpl``: compute the conclusion; ``simpl in h``."""
    where = _place(call)
    formula = call.goal.conclusion if where is None else need_hyp(call.goal, where)
    result = check_formula_size(normal(formula, call.fuel))
    if result == formula:
        raise TacticError(f"simpl: nothing computes in {shown(formula)}")
    return step(call.goal, ("simpl", result, where), _put(call.goal, where, result))


def symmetry(call: Call) -> Elaborated:
    """``symmetry``: exchange the sides of the equation to prove; ``symmetry in h``."""
    where = _place(call)
    formula = call.goal.conclusion if where is None else need_hyp(call.goal, where)
    if formula[0] != "eq":
        raise TacticError(f"symmetry: {shown(formula)} is not an equation")
    return step(call.goal, ("symmetry", where), _put(call.goal, where, ("eq", formula[2], formula[1])))


def _place(call: Call) -> str | None:
    """The hypothesis named by ``in h`` or ``at h``; None: the conclusion."""
    if call.reader.take("in") or call.reader.take("at"):
        return call.reader.name()
    return None


def _put(goal: Goal, where: str | None, formula: Expr) -> Goal:
    """The goal with a new conclusion, or a changed hypothesis."""
    return goal._replace(conclusion=formula) if where is None else put_hyp(goal, where, formula)


# ------------------------------------------------------------------------------------------------ rewriting


def rewrite(call: Call) -> Elaborated:
    """``rewrite E``, ``rewrite <- E``, ``... at k``, ``... in h``: replace one side of the equation that E proves by the other."""
    reader, unknowns = call.reader, Unknowns(call.fuel)
    direction = "<-" if reader.take("<-") else "->"
    reader.take("->")
    found, premises = _equation(call, unknowns, read_expression(call, unknowns))
    only, where = _where(call)
    target = call.goal.conclusion if where is None else need_hyp(call.goal, where)
    pattern = unknowns.resolve(found.formula[1 if direction == "->" else 2])
    if not first_instance(pattern, target, unknowns):
        raise TacticError(f"rewrite: no instance of {unknowns.shown(pattern)} in {shown(target)}")
    found = Expression(*unknowns.resolve(found))
    require_known(call, unknowns, found)
    old, new = found.formula[1:] if direction == "->" else found.formula[:0:-1]
    places = Occurrences(old, only, call.fuel)
    motive = places.abstract(target)
    if only is not None and not 1 <= only <= places.count:
        raise TacticError(f"rewrite: {shown(old)} occurs {places.count} times, not {only}")
    if old == new:
        raise TacticError(f"rewrite: {shown(old)} stays as it is")
    left = [call.goal._replace(conclusion=check_formula_size(unknowns.resolve(premise))) for premise in premises]
    changed = _put(call.goal, where, check_formula_size(instantiate(motive, (new,), call.fuel)))
    return step(call.goal, ("rewrite", found.proof, found.formula, direction, motive, where), changed, *left)


def _equation(call: Call, unknowns: Unknowns, found: Expression) -> tuple[Expression, list[Expr]]:
    """``found`` applied to unknowns and to holes (from 1) for its premises until it proves an equation; and the premises."""
    premises: list[Expr] = []
    binders, whole = 0, found
    while found.formula[0] != "eq":
        if found.formula[0] == "all":
            found = open_binder(found, call, unknowns, binders)
            binders += 1
        elif found.formula[0] == "imp":
            premises.append(found.formula[1])
            found = Expression(("imp_elim", found.proof, ("hole", len(premises))), found.formula[2])
        else:
            raise TacticError(f"rewrite: {unknowns.shown(whole.formula)} is not an equation")
    return found, premises


def _where(call: Call) -> tuple[int | None, str | None]:
    """``at k`` and ``in h`` (or ``at h``), in any order."""
    only, where = None, None
    while call.reader.next in ("at", "in"):
        token = call.reader.tokens[call.reader.place]
        call.reader.take(token)
        if token == "at" and call.reader.next.isdecimal():
            only = call.reader.number()
        else:
            where = call.reader.name()
    return only, where


# ------------------------------------------------------------------------------------------------ induction and cases


def induction(call: Call) -> Elaborated:
    """``induction x`` or ``induction x as [| y ih]``; hypotheses that mention x are carried along."""
    x = call.reader.name()
    if x not in call.goal.variables:
        raise TacticError(f"induction: there is no variable {x}; introduce it first")
    y, ih = x, ""
    if call.reader.take("as"):
        _expect(call, "[", "|")
        y, ih = call.reader.name(), call.reader.name()
        _expect(call, "]")
        check_new(ih, call.goal)
    ih = ih or fresh({*call.goal.names(), y}, "ih")
    if y == ih:
        raise TacticError("induction: the names must differ")
    return _by_cases(call, x, check_new(y, call.goal, x), ih)


def case_nat(call: Call) -> Elaborated:
    """``destruct x`` or ``destruct x as [| y]``"""
    x = y = call.reader.name()
    if call.reader.take("as"):
        _expect(call, "[", "|")
        y = call.reader.name()
        _expect(call, "]")
    return _by_cases(call, x, check_new(y, call.goal, x), None)


def _expect(call: Call, *tokens: str) -> None:
    for token in tokens:
        call.reader.expect(token)


def _by_cases(call: Call, x: str, y: str, ih: str | None) -> Elaborated:
    goal, fuel = call.goal, call.fuel
    carried: list[Hyp] = []
    kept: list[Hyp] = []
    for hyp in goal.hyps:
        (carried if occurs(x, hyp[1], fuel) else kept).append(hyp)
    whole = goal.conclusion
    for _, formula in reversed(carried):
        whole = ("imp", formula, whole)
    motive = check_formula_size(abstract(whole, ("var", x), fuel))

    def case(term: Expr, variables: Sequence[str], known: Sequence[Hyp]) -> Goal:
        rest = check_formula_size(instantiate(motive, (term,), fuel))
        hyps = list(known)
        for name, _ in carried:
            hyps.append((name, rest[1]))
            rest = rest[2]
        return Goal(goal.symbols, tuple(variables), tuple(hyps), rest)

    zero = case(ZERO, [name for name in goal.variables if name != x], kept)
    hypothesis = [] if ih is None else [(ih, instantiate(motive, (("var", y),), fuel))]
    names = [y if name == x else name for name in goal.variables]
    successor = case(("succ", ("var", y)), names, [*kept, *hypothesis])
    carried_names = tuple([name for name, _ in carried])
    what = ("case_nat", x, y, carried_names, motive) if ih is None else ("induction", x, y, ih, carried_names, motive)
    return step(goal, what, zero, successor)


# ------------------------------------------------------------------------------------------------ constructors


def injection(call: Call) -> Elaborated:
    """``injection h`` or ``injection h as h1``: from h : S t = S u (after computing) also h1 : t = u."""
    name = call.reader.name()
    formula = need_hyp(call.goal, name)
    new = check_new(call.reader.name(), call.goal) if call.reader.take("as") else fresh(call.goal.names())
    equation = check_formula_size(normal(formula, call.fuel))
    if equation[0] != "eq" or equation[1][0] != "succ" or equation[2][0] != "succ":
        raise TacticError(f"injection: {shown(formula)} does not say that two successors are equal")
    smaller = ("eq", equation[1][1], equation[2][1])
    return step(call.goal, ("injection", name, new, equation), put_hyp(call.goal, new, smaller))


def discriminate(call: Call) -> Elaborated:
    """``discriminate h``: h says (after computing) that zero is a successor."""
    name = call.reader.name()
    formula = need_hyp(call.goal, name)
    equation = impossible(formula, call.fuel)
    if equation is None:
        raise TacticError(f"discriminate: {shown(formula)} is not impossible")
    return step(call.goal, ("discriminate", name, equation))


def impossible(formula: Expr, fuel: Fuel) -> Expr | None:
    """What an equation computes to, if that is S ... S 0 = S ... S t with more of S on one side than a numeral on the other."""
    equation = check_formula_size(normal(formula, fuel))
    if equation[0] != "eq":
        return None
    _, left, right = equation
    while left[0] == right[0] == "succ":
        left, right = left[1], right[1]
    return equation if {left[0], right[0]} == {"zero", "succ"} else None
