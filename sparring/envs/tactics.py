"""Tactics: one line of text that turns a goal into what is left to prove. Not trusted; the kernel checks what comes of them.

``TACTICS`` has all of them by name. A tactic reads its arguments from a ``Call`` and elaborates to primitive steps (``steps.py``).
This module has those of logic; ``arithmetic.py`` those about equations and numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from sparring.envs import arithmetic
from sparring.envs.cases import destruct
from sparring.envs.expressions import Call, Expression, open_binder, read_exact, read_expression, require_known
from sparring.envs.goals import (
    STEP_FUEL,
    Goal,
    TacticError,
    check_formula_size,
    check_new,
    fresh,
    fresh_variable,
    need_hyp,
    occurs,
    put_hyp,
    replace_hyp,
)
from sparring.envs.kernel import FALSE, TRUE, Expr, Fuel, KernelError, Theorem, abstract, instantiate
from sparring.envs.matching import Unknowns
from sparring.envs.printing import shown
from sparring.envs.reader import MAX_NAMES, Malformed, tokens_of
from sparring.envs.steps import Elaborated, step


def run(goal: Goal, text: str, lemmas: Mapping[str, Theorem], fuel: Fuel | None = None) -> Elaborated:
    """What the tactic ``text`` makes of ``goal``; raises TacticError if it is refused, whatever the text is."""
    try:
        name, tokens = command(text)
        call = Call(goal, name, tokens, lemmas, fuel or Fuel(STEP_FUEL))
        done = TACTICS[name](call)
        call.reader.end()
        for left in done.goals:
            if len(left.hyps) + len(left.variables) > MAX_NAMES:
                raise TacticError(f"more than {MAX_NAMES} variables and hypotheses")
    except Malformed as error:
        raise TacticError(str(error)) from None
    except KernelError as error:
        raise TacticError(str(error), "timeout") from None
    except RecursionError:
        raise TacticError("nested too deep") from None
    return done


MAX_TACTIC = 1000
"""Characters."""


@lru_cache(maxsize=1 << 14)
def command(text: str) -> tuple[str, tuple[str, ...]]:
    """The name of the tactic and the tokens after it; a full stop at the end is dropped."""
    if len(text) > MAX_TACTIC:
        raise Malformed(f"{len(text)} characters are too many: at most {MAX_TACTIC}")
    if len(text.strip().splitlines()) > 1:
        raise Malformed("a tactic is one line")
    tokens = tokens_of(text)
    if tokens and tokens[-1] == ".":
        tokens.pop()
    if not tokens:
        raise Malformed("there is no tactic")
    if tokens[0] not in TACTICS:
        raise Malformed(f"there is no tactic {tokens[0]:.40}")
    return tokens[0], tuple(tokens[1:])


# ------------------------------------------------------------------------------------------------ introductions


def intro(call: Call) -> Elaborated:
    """``intro`` or ``intro h``"""
    return introduce(call.goal, call.reader.name() if call.reader.next else None)


def intros(call: Call) -> Elaborated:
    """``intros`` (everything there is to introduce) or ``intros x h ...``"""
    names: list[str] = []
    while call.reader.next:
        names.append(call.reader.name())
    done = introduce(call.goal, names[0] if names else None)
    for name in names[1:]:
        done = done.then(lambda goal, name=name: introduce(goal, name))
    while not names and done.goals[0].conclusion[0] in ("all", "imp"):
        done = done.then(lambda goal: introduce(goal, None))
    return done


def introduce(goal: Goal, name: str | None) -> Elaborated:
    """The first premise or variable of the conclusion, under a new name: a canonical one for None."""
    symbols, variables, hyps, conclusion = goal
    tag = conclusion[0]
    if tag == "imp":
        name = check_new(name, goal) if name else fresh(goal.names())
        left = Goal(symbols, variables, (*hyps, (name, conclusion[1])), conclusion[2])
        return step(goal, ("intro_hyp", name, conclusion[1]), left)
    if tag == "all":
        name = check_new(name, goal) if name else fresh_variable(goal.names())
        left = Goal(symbols, (*variables, name), hyps, instantiate(conclusion[1], (("var", name),), Fuel()))
        return step(goal, ("intro_var", name), left)
    raise TacticError(f"intro: {shown(conclusion)} has nothing to introduce")


def split(call: Call) -> Elaborated:
    """``split``: a conjunction becomes two goals; True is proved."""
    goal = call.goal
    conclusion = goal.conclusion
    if conclusion == TRUE:
        return step(goal, ("true",))
    if conclusion[0] != "and":
        raise TacticError(f"{call.tactic}: {shown(conclusion)} is not a conjunction")
    return step(goal, ("split",), goal._replace(conclusion=conclusion[1]), goal._replace(conclusion=conclusion[2]))


def left(call: Call) -> Elaborated:
    """``left``: prove the left half of a disjunction."""
    return _half(call, 1)


def right(call: Call) -> Elaborated:
    """``right``: prove the right half of a disjunction."""
    return _half(call, 2)


def _half(call: Call, half: int) -> Elaborated:
    conclusion = call.goal.conclusion
    if conclusion[0] != "or":
        raise TacticError(f"{call.tactic}: {shown(conclusion)} is not a disjunction")
    return step(call.goal, (call.tactic,), call.goal._replace(conclusion=conclusion[half]))


def exists(call: Call) -> Elaborated:
    """``exists t``: t is the number that there is."""
    conclusion = call.goal.conclusion
    if conclusion[0] != "ex":
        raise TacticError(f"exists: {shown(conclusion)} does not say that something exists")
    term = call.reader.term()
    instance = check_formula_size(instantiate(conclusion[1], (term,), call.fuel))
    return step(call.goal, ("exists", term), call.goal._replace(conclusion=instance))


def exfalso(call: Call) -> Elaborated:
    """``exfalso``: prove False instead."""
    return step(call.goal, ("exfalso",), call.goal._replace(conclusion=FALSE))


# ------------------------------------------------------------------------------------------------ using what is known


def exact(call: Call) -> Elaborated:
    """``exact E``: E proves the conclusion as it stands."""
    unknowns = Unknowns(call.fuel)
    found = read_expression(call, unknowns)
    if not unknowns.match(found.formula, call.goal.conclusion):
        raise TacticError(f"exact: this proves {unknowns.shown(found.formula)}, the goal is {shown(call.goal.conclusion)}")
    found = Expression(*unknowns.resolve(found))
    require_known(call, unknowns, found)
    return step(call.goal, ("refine", found.proof))


def assumption(call: Call) -> Elaborated:
    """``assumption``: a hypothesis is the conclusion."""
    conclusion = call.goal.conclusion
    for name, formula in call.goal.hyps:
        if formula == conclusion:
            return step(call.goal, ("refine", ("hyp", name)))
    raise TacticError(f"assumption: no hypothesis is {shown(conclusion)}")


def trivial(call: Call) -> Elaborated:
    """``trivial``: True, a hypothesis, or an equation that computes."""
    if call.goal.conclusion == TRUE:
        return step(call.goal, ("true",))
    for tactic in (assumption, arithmetic.rfl):
        try:
            return tactic(call)
        except TacticError:
            continue
    raise TacticError("trivial: this is not True, no hypothesis, and does not compute")


def contradiction(call: Call) -> Elaborated:
    """``contradiction``: a hypothesis is False, or an impossible equation, or there are h : A and ~ A."""
    goal = call.goal
    for name, formula in goal.hyps:
        if formula == FALSE:
            return step(goal, ("case_false", name))
    names = {formula: name for name, formula in goal.hyps}
    for name, formula in goal.hyps:
        if formula[0] == "imp" and formula[2] == FALSE and formula[1] in names:
            proof = ("imp_elim", ("hyp", name), ("hyp", names[formula[1]]))
            return _exfalso(goal).then(lambda falsity, proof=proof: step(falsity, ("refine", proof)))
    for name, formula in goal.hyps:
        if formula[0] == "eq" and (equation := arithmetic.impossible(formula, call.fuel)):
            return step(goal, ("discriminate", name, equation))
    raise TacticError("contradiction: no hypothesis is False or impossible, and none contradicts another")


def _exfalso(goal: Goal) -> Elaborated:
    return step(goal, ("exfalso",), goal._replace(conclusion=FALSE))


def apply(call: Call) -> Elaborated:
    """``apply E``: E proves the conclusion from premises, which are left; ``apply E in h``: what E proves from h instead of h."""
    unknowns = Unknowns(call.fuel)
    found = read_expression(call, unknowns)
    if call.reader.take("in"):
        return _apply_in(call, unknowns, found, call.reader.name())
    goal, whole = call.goal, found
    premises: list[Expr] = []
    binders, complaint = 0, ""
    while True:
        known = unknowns.known()
        if unknowns.match(found.formula, goal.conclusion):
            proof = unknowns.resolve(found.proof)
            missing = unknowns.left(proof)
            if not missing:
                break
            unknowns.forget(known)
            complaint = complaint or f"apply: the goal does not determine {' and '.join(missing)}; it has to be given"
        if found.formula[0] == "all":
            found = open_binder(found, call, unknowns, binders)
            binders += 1
        elif found.formula[0] == "imp":
            applied = ("imp_elim", found.proof, ("hole", len(premises)))
            premises.append(found.formula[1])
            found = Expression(applied, found.formula[2])
        else:
            raise TacticError(complaint or f"apply: {unknowns.shown(whole.formula)} does not prove {shown(goal.conclusion)}")
    left = [check_formula_size(unknowns.resolve(premise)) for premise in premises]
    return step(goal, ("refine", proof), *[goal._replace(conclusion=premise) for premise in left])


def _apply_in(call: Call, unknowns: Unknowns, found: Expression, name: str) -> Elaborated:
    """E's first premise that the hypothesis proves is taken; premises before it are left as further goals."""
    given, whole = need_hyp(call.goal, name), found
    premises: list[Expr] = []
    binders = 0
    while True:
        if found.formula[0] == "all":
            found = open_binder(found, call, unknowns, binders)
            binders += 1
            continue
        if found.formula[0] != "imp":
            raise TacticError(f"apply: {unknowns.shown(whole.formula)} has no premise {shown(given)}")
        _, premise, rest = found.formula
        if unknowns.match(premise, given):
            break
        premises.append(premise)
        found = Expression(("imp_elim", found.proof, ("hole", len(premises))), rest)
    found = Expression(*unknowns.resolve(Expression(("imp_elim", found.proof, ("hyp", name)), rest)))
    require_known(call, unknowns, found)
    left = [call.goal._replace(conclusion=check_formula_size(unknowns.resolve(premise))) for premise in premises]
    changed = put_hyp(call.goal, name, check_formula_size(found.formula))
    return step(call.goal, ("replace", name, found.formula, found.proof), changed, *left)


def have(call: Call) -> Elaborated:
    """``have h : A`` or ``assert (h : A)``: prove A, then go on with it; ``have h := E``: go on with what E proves."""
    reader, goal = call.reader, call.goal
    grouped = reader.take("(")
    name = check_new(reader.name(), goal)
    if not grouped and reader.take(":="):
        found = read_exact(call)
        formula = check_formula_size(found.formula)
        return step(goal, ("pose", name, formula, found.proof), put_hyp(goal, name, formula))
    reader.expect(":")
    formula = check_formula_size(reader.formula())
    if grouped:
        reader.expect(")")
    return step(goal, ("assert", name, formula), goal._replace(conclusion=formula), put_hyp(goal, name, formula))


def specialize(call: Call) -> Elaborated:
    """``specialize (h t ...)``: what h proves of t takes the place of h."""
    name = next((token for token in call.reader.tokens if token != "("), "")
    need_hyp(call.goal, name)
    found = read_exact(call)
    if found.proof == ("hyp", name):
        raise TacticError(f"specialize: write what {name} is applied to")
    formula = check_formula_size(found.formula)
    return step(call.goal, ("replace", name, formula, found.proof), put_hyp(call.goal, name, formula))


def revert(call: Call) -> Elaborated:
    """``revert h``: back into the conclusion; ``revert x``: with all hypotheses that mention x."""
    name = call.reader.name()
    if name not in call.goal.variables:
        need_hyp(call.goal, name)
        return _revert_hyp(call.goal, name)
    mentioning = [hyp for hyp, formula in call.goal.hyps if occurs(name, formula, call.fuel)]
    done = Elaborated((call.goal,), ())
    for hyp in reversed(mentioning):
        done = done.then(lambda goal, hyp=hyp: _revert_hyp(goal, hyp))
    return done.then(lambda goal: _revert_var(goal, name, call.fuel))


def _revert_hyp(goal: Goal, name: str) -> Elaborated:
    formula = goal.hyp(name)
    assert formula is not None, "the caller looked"
    conclusion = check_formula_size(("imp", formula, goal.conclusion))
    return step(goal, ("revert_hyp", name), replace_hyp(goal, name)._replace(conclusion=conclusion))


def _revert_var(goal: Goal, name: str, fuel: Fuel) -> Elaborated:
    conclusion = check_formula_size(("all", abstract(goal.conclusion, ("var", name), fuel)))
    variables = tuple([known for known in goal.variables if known != name])
    return step(goal, ("revert_var", name), goal._replace(variables=variables, conclusion=conclusion))


def clear(call: Call) -> Elaborated:
    """``clear h``, or ``clear x`` for a variable that nothing mentions."""
    goal, name = call.goal, call.reader.name()
    if name not in goal.variables:
        need_hyp(call.goal, name)
        return step(goal, ("clear", name), replace_hyp(goal, name))
    if any(occurs(name, formula, call.fuel) for formula in (goal.conclusion, *(formula for _, formula in goal.hyps))):
        raise TacticError(f"clear: {name} is still mentioned")
    return step(goal, ("clear", name), goal._replace(variables=tuple([known for known in goal.variables if known != name])))


# ------------------------------------------------------------------------------------------------ all of them


Tactic = Callable[[Call], Elaborated]
TACTICS: dict[str, Tactic] = {
    "apply": apply,
    "assert": have,
    "assumption": assumption,
    "cases": destruct,
    "clear": clear,
    "constructor": split,
    "contradiction": contradiction,
    "destruct": destruct,
    "discriminate": arithmetic.discriminate,
    "exact": exact,
    "exfalso": exfalso,
    "exists": exists,
    "have": have,
    "induction": arithmetic.induction,
    "injection": arithmetic.injection,
    "intro": intro,
    "intros": intros,
    "left": left,
    "reflexivity": arithmetic.rfl,
    "revert": revert,
    "rewrite": arithmetic.rewrite,
    "rfl": arithmetic.rfl,
    "right": right,
    "simpl": arithmetic.simpl,
    "specialize": specialize,
    "split": split,
    "symmetry": arithmetic.symmetry,
    "trivial": trivial,
}
