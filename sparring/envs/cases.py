"""Taking apart what is known: ``destruct`` and ``cases``."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.envs.arithmetic import case_nat
from sparring.envs.expressions import Call, read_exact
from sparring.envs.goals import Goal, TacticError, check_formula_size, check_new, fresh, fresh_variable, put_hyp, replace_hyp
from sparring.envs.kernel import Expr, Fuel, instantiate
from sparring.envs.printing import shown
from sparring.envs.steps import Elaborated, step


def destruct(call: Call) -> Elaborated:
    """``destruct h as [h1 h2]``, ``[h1 | h2]``, ``[x h1]``, ``destruct x as [| y]``; without names they are made up; h may be a proof."""
    reader = call.reader
    if reader.next in call.goal.variables:
        return case_nat(call)
    found = read_exact(call)
    names = _pattern(call) if reader.take("as") else None
    if found.proof[0] == "hyp":
        return _cases(call.goal, found.proof[1], names)
    formula = check_formula_size(found.formula)
    name = fresh({*call.goal.names(), *(names or ())})
    posed = step(call.goal, ("pose", name, formula, found.proof), put_hyp(call.goal, name, formula))
    return posed.then(lambda goal: _cases(goal, name, names))


def _pattern(call: Call) -> list[str]:
    """The names in ``[h1 h2]`` or ``[h1 | h2]``, with a "|" for the bar."""
    names: list[str] = []
    call.reader.expect("[")
    while not call.reader.take("]"):
        names.append("|" if call.reader.take("|") else call.reader.name())
    return names


def _cases(goal: Goal, name: str, names: Sequence[str] | None) -> Elaborated:
    formula = goal.hyp(name)
    assert formula is not None, "the caller looked"
    tag = formula[0]
    if tag not in _CASES:
        raise TacticError(f"destruct: {name} : {shown(formula)} has no parts to take apart")
    return _CASES[tag](goal, name, formula, names)


def _named(goal: Goal, leaving: str, names: Sequence[str], wanted: str, count: int) -> list[str]:
    """The names of a pattern that has the form ``wanted``."""
    found = [name for name in names if name != "|"]
    bars = [place for place, name in enumerate(names) if name == "|"]
    if len(found) != count or bars != [place for place, word in enumerate(wanted.split()) if word == "|"]:
        raise TacticError(f"destruct: write the names as [{wanted}]")
    if "|" not in names and len(set(found)) != count:
        raise TacticError("destruct: the names must differ")
    return [check_new(name, goal, leaving) for name in found]


def _case_and(goal: Goal, name: str, formula: Expr, names: Sequence[str] | None) -> Elaborated:
    if names is None:
        taken = goal.names() - {name}
        first = fresh(taken)
        names = (first, fresh(taken | {first}))
    first, second = _named(goal, name, names, "h1 h2", 2)
    return step(goal, ("case_and", name, first, second), replace_hyp(goal, name, (first, formula[1]), (second, formula[2])))


def _case_or(goal: Goal, name: str, formula: Expr, names: Sequence[str] | None) -> Elaborated:
    if names is None:
        either = fresh(goal.names() - {name})
        names = (either, "|", either)
    first, second = _named(goal, name, names, "h1 | h2", 2)
    goals = replace_hyp(goal, name, (first, formula[1])), replace_hyp(goal, name, (second, formula[2]))
    return step(goal, ("case_or", name, first, second), *goals)


def _case_ex(goal: Goal, name: str, formula: Expr, names: Sequence[str] | None) -> Elaborated:
    if names is None:
        taken = goal.names() - {name}
        x = fresh_variable(taken)
        names = (x, fresh(taken | {x}))
    x, own = _named(goal, name, names, "x h1", 2)
    instance = instantiate(formula[1], (("var", x),), Fuel())
    left = replace_hyp(goal, name, (own, instance))
    return step(goal, ("case_ex", name, x, own), left._replace(variables=(*goal.variables, x)))


def _case_false(goal: Goal, name: str, formula: Expr, names: Sequence[str] | None) -> Elaborated:
    if names:
        raise TacticError("destruct: False has no parts to name")
    return step(goal, ("case_false", name))


_CASES = {"and": _case_and, "or": _case_or, "ex": _case_ex, "false": _case_false}
