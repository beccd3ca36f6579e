"""What the expert can do with lemmas, with cases of a number and with induction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, permutations, product

from sparring.envs.kernel import ZERO, Expr, Fuel, instantiate
from sparring.worlds.moves import Move, backward, forward, in_sight, take_apart
from sparring.worlds.proofstate import VARIABLES, Goal, Spine, call, fill, fresh, match, mentions, parts, spines

ALGEBRAIC = frozenset(
    {"eq_symm", "eq_trans", "ne_symm", "succ_congr", "zero_mul_of_zero", "succ_inj", "succ_ne_zero", "zero_ne_succ"}
)
"""Lemmas that are left to rewriting and computing."""
LOSSLESS = (
    "add_eq_zero",
    "add_eq_self_r",
    "add_eq_self_l",
    "add_left_cancel",
    "add_right_cancel",
    "mul_eq_zero",
    "mul_eq_one",
    "mul_right_cancel",
    "double_inj",
    "ne_succ_self",
    "add_succ_ne_self",
    "lt_irrefl",
    "even_ne_odd",
)
"""Lemmas whose premise says no more than their conclusion does, or hardly more."""
JOINING = ("le_antisymm",)
"""Lemmas that are used as soon as hypotheses prove all of their premises."""


def speaks_of_numbers(formula: Expr) -> bool:
    """Whether there is an equation in it, or something doubled."""
    return (
        formula[0] == "eq"
        or (formula[0] == "add" and formula[1] == formula[2])
        or any(speaks_of_numbers(part) for part in parts(formula))
    )


def lemma_moves(goal: Goal, lemmas: Mapping[str, Expr]) -> Iterator[Move]:
    """Lemmas applied to the conclusion and to hypotheses."""
    useful = tuple((name, formula) for name, formula in lemmas.items() if name not in ALGEBRAIC)
    conditional = tuple((name, formula) for name, formula in useful if spines(formula)[-1].premises)
    if goal.conclusion[0] in ("eq", "or"):
        yield from backward(goal, conditional)
    elif goal.conclusion[0] in ("false", "ex"):
        yield from backward(goal, useful)
    for name, formula in conditional:
        yield from _applied_in(goal, name, formula)


def case_lemmas(goal: Goal, lemmas: Mapping[str, Expr], asked: bool) -> Iterator[Move]:
    """Lemmas that tell cases apart: for terms of which the goal asks the same question (``asked``), or for its variables."""
    for name, formula in lemmas.items():
        spine = spines(formula)[-1]
        inner = spine.conclusion[1] if spine.conclusion[0] == "ex" else spine.conclusion
        if spine.premises or inner[0] != "or":
            continue
        for terms in _asked_of(goal, spine) if asked else permutations(_variables(goal)[:3], len(spine.holes)):
            cases = fill(spine.conclusion, dict(zip(spine.holes, terms, strict=True)))
            if cases not in goal.facts and not any(case in goal.facts for case in cases[1:]):
                yield take_apart(goal, call(name, *terms), cases, plain=False)


def _variables(goal: Goal) -> list[Expr]:
    return [term for term in in_sight(goal) if term[0] == "var"]


def _asked_of(goal: Goal, spine: Spine) -> Iterator[tuple[Expr, ...]]:
    """What a lemma's holes must be for one of its cases to be a formula in the goal."""
    formulas = (goal.conclusion, *(fact for _, fact in goal.hyps))
    cases = spine.conclusion[1:] if spine.conclusion[0] == "or" else ()
    asked: dict[tuple[Expr, ...], None] = {}
    for formula, case in product(formulas, cases):
        for part in _subformulas(formula):
            found = match(case, part, {})
            if found is not None and found.keys() >= set(spine.holes):
                asked[tuple(found[hole] for hole in spine.holes)] = None
    yield from islice(asked, 4)


def _subformulas(formula: Expr) -> Iterator[Expr]:
    yield formula
    if formula[0] in ("and", "or", "imp"):
        yield from _subformulas(formula[1])
        yield from _subformulas(formula[2])


def lossless(goal: Goal, lemmas: Mapping[str, Expr]) -> Move | None:
    """A lemma that says what an equation among the hypotheses comes down to."""
    if goal.conclusion[0] in ("all", "imp"):
        return None
    for name in LOSSLESS:
        for move in _applied_in(goal, name, lemmas[name]) if name in lemmas else ():
            return move
    for name in JOINING:
        for move in forward(goal, ((name, lemmas[name]),)) if name in lemmas else ():
            result = move.goals[0].hyps[-1][1]
            if result[0] == "eq" and ("eq", result[2], result[1]) not in goal.facts:
                return move
    return None


def _applied_in(goal: Goal, name: str, formula: Expr) -> Iterator[Move]:
    for spine in spines(formula):
        if len(spine.premises) != 1:
            continue
        for hyp, fact in goal.hyps:
            found = match(spine.premises[0], fact, {})
            if found is not None and found.keys() >= set(spine.holes):
                result = fill(spine.conclusion, found)
                if result not in goal.facts:
                    yield Move(f"apply {name} in {hyp}", (goal.replacing(hyp, (hyp, result)),))


# ------------------------------------------------------------------------------------------------ cases and induction


def case_moves(goal: Goal) -> Iterator[Move]:
    """0 or a successor, for variables of which an equation or the conclusion speaks."""
    for name in goal.variables:
        spoken = (goal.conclusion, *(fact for _, fact in goal.hyps if fact[0] == "eq"))
        if not any(mentions(formula, name) and speaks_of_numbers(formula) for formula in spoken):
            continue
        new = fresh(VARIABLES, goal.taken)
        others = tuple(other for other in goal.variables if other != name)
        zero = goal.with_term(name, ZERO, others)
        yield Move(f"destruct {name} as [| {new}]", (zero, goal.with_term(name, ("succ", ("var", new)), (*others, new))))


def induction_moves(goal: Goal) -> Iterator[Move]:
    """Induction on each variable that the conclusion mentions; hypotheses that mention it become premises."""
    for name in goal.variables:
        if not any(
            mentions(formula, name) for formula in (goal.conclusion, *(fact for fact in goal.facts if fact[0] in ("eq", "pred")))
        ):
            continue
        carried = [hyp for hyp in goal.hyps if mentions(hyp[1], name)]
        others = tuple(other for other in goal.variables if other != name)
        claim = goal.conclusion
        for _, fact in reversed(carried):
            claim = ("imp", fact, claim)
        zero = goal.with_term(name, ZERO, others)
        step = goal.with_term(name, ("succ", ("var", name)), goal.variables)
        yield Move(f"induction {name}", (zero, step.having((fresh(("ih",), goal.taken), claim))))


def early_induction(goal: Goal) -> Iterator[tuple[Move, Move]]:
    """Where the conclusion is universal: introduce variables up to one, then induction on it, so that the rest stays general."""
    names: list[str] = []
    while goal.conclusion[0] == "all":
        names.append(fresh(VARIABLES, goal.taken))
        body = instantiate(goal.conclusion[1], (("var", names[-1]),), Fuel())
        goal = goal._replace(variables=(*goal.variables, names[-1]), conclusion=body)
        line = f"intro{'s' * (len(names) > 1)} {' '.join(names)}"
        for move in induction_moves(goal):
            if move.line == f"induction {names[-1]}":
                yield Move(line, (goal,)), move


def is_stuck_on_numbers(goal: Goal) -> bool:
    """Whether lemmas and cases could be of use at all."""
    return speaks_of_numbers(goal.conclusion) or any(speaks_of_numbers(fact) for _, fact in goal.hyps)
