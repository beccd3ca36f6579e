"""The kernel, rule by rule: what each proves, and what it refuses."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.kernel import (
    FALSE,
    TRUE,
    ZERO,
    Expr,
    Fuel,
    KernelError,
    Proof,
    abstract,
    check_formula,
    check_term,
    equal,
    instantiate,
    lift,
    normal,
    prove,
    substitute,
)
from tests import formulas

P, Q = ("pred", "p", ()), ("pred", "q", ())
X, Y = ("var", "x"), ("var", "y")
B0, B1, B2 = (("bound", index) for index in range(3))
ONE = ("succ", ZERO)
SYMBOLS = (("p", 0), ("q", 0), ("P", 1), ("R", 2))


def imp(*parts: Expr) -> Expr:
    """The first ones imply the last one."""
    *premises, result = parts
    for premise in reversed(premises):
        result = ("imp", premise, result)
    return result


def from_hyps(proof: Proof, *hyps: Expr) -> Proof:
    """``proof`` from hypotheses h0, h1, ..."""
    for index, formula in reversed(list(enumerate(hyps))):
        proof = ("imp_intro", f"h{index}", formula, proof)
    return proof


H0, H1, H2 = (("hyp", f"h{index}") for index in range(3))
ALL_P, EX_P = ("all", ("pred", "P", (B0,))), ("ex", ("pred", "P", (B0,)))
ZERO_IS_ONE = ("eq", ZERO, ONE)
ADD_ZERO = ("eq", ("add", B0, ZERO), B0)

RULES: dict[str, tuple[Expr, Proof]] = {
    "hyp": (imp(P, P), from_hyps(H0, P)),
    "cut": (imp(P, ("and", P, P)), from_hyps(("cut", "k", ("and_intro", H0, H0), ("hyp", "k")), P)),
    "a cut hides a hypothesis": (imp(P, Q, Q), from_hyps(("cut", "h0", H1, H0), P, Q)),
    "true_intro": (TRUE, ("true_intro",)),
    "false_elim": (imp(FALSE, P), from_hyps(("false_elim", H0, P), FALSE)),
    "and_intro": (imp(P, Q, ("and", Q, P)), from_hyps(("and_intro", H1, H0), P, Q)),
    "and_left": (imp(("and", P, Q), P), from_hyps(("and_left", H0), ("and", P, Q))),
    "and_right": (imp(("and", P, Q), Q), from_hyps(("and_right", H0), ("and", P, Q))),
    "or_left": (imp(P, ("or", P, Q)), from_hyps(("or_left", H0, Q), P)),
    "or_right": (imp(P, ("or", Q, P)), from_hyps(("or_right", Q, H0), P)),
    "or_elim": (imp(("or", P, P), P), from_hyps(("or_elim", H0, "a", ("hyp", "a"), "b", ("hyp", "b")), ("or", P, P))),
    "imp_elim": (imp(imp(P, Q), P, Q), from_hyps(("imp_elim", H0, H1), imp(P, Q), P)),
    "all_intro": (("all", imp(("pred", "P", (B0,)), ("pred", "P", (B0,)))), ("all_intro", "x", from_hyps(H0, ("pred", "P", (X,))))),
    "all_elim": (imp(ALL_P, ("pred", "P", (ONE,))), from_hyps(("all_elim", H0, ONE), ALL_P)),
    "ex_intro": (imp(("pred", "P", (ONE,)), EX_P), from_hyps(("ex_intro", EX_P[1], ONE, H0), ("pred", "P", (ONE,)))),
    "ex_elim": (imp(EX_P, EX_P), from_hyps(("ex_elim", H0, "x", "k", ("ex_intro", EX_P[1], X, ("hyp", "k"))), EX_P)),
    "refl": (("all", ("eq", B0, B0)), ("all_intro", "x", ("refl", X))),
    "rewrite": (
        imp(ZERO_IS_ONE, ("pred", "P", (ZERO,)), ("pred", "P", (ONE,))),
        from_hyps(("rewrite", H0, ("pred", "P", (B0,)), H1), ZERO_IS_ONE, ("pred", "P", (ZERO,))),
    ),
    "compute": (("eq", ("mul", ONE, ONE), ONE), ("compute", ("eq", ("mul", ONE, ONE), ONE), ("refl", ONE))),
    "succ_inj": (imp(("eq", ONE, ("succ", ONE)), ZERO_IS_ONE), from_hyps(("succ_inj", H0), ("eq", ONE, ("succ", ONE)))),
    "zero_succ": (imp(ZERO_IS_ONE, FALSE), from_hyps(("zero_succ", H0), ZERO_IS_ONE)),
    "induction": (
        ("all", ADD_ZERO),
        (
            "induction",
            ADD_ZERO,
            ("compute", ("eq", ("add", ZERO, ZERO), ZERO), ("refl", ZERO)),
            "x",
            "ih",
            (
                "compute",
                ("eq", ("add", ("succ", X), ZERO), ("succ", X)),
                ("rewrite", ("hyp", "ih"), ("eq", ("succ", ("add", X, ZERO)), ("succ", B0)), ("refl", ("succ", ("add", X, ZERO)))),
            ),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_proves_what_it_should(rule: str):
    formula, proof = RULES[rule]
    theorem = prove(SYMBOLS, formula, proof, {})
    assert (theorem.formula, theorem.symbols) == (formula, SYMBOLS)
    with pytest.raises(KernelError, match="something else"):
        prove(SYMBOLS, imp(TRUE, formula), proof, {})


WRONG: dict[str, tuple[str, Proof]] = {
    "a hypothesis that is not there": ("no such hypothesis", H0),
    "a rule that there is not": ("no rule 'magic'", ("magic",)),
    "a rule with a part too many": ("no rule 'true_intro'", ("true_intro", TRUE)),
    "false_elim without False": ("'false' is needed", ("false_elim", ("true_intro",), P)),
    "half of what is no conjunction": ("'and' is needed", ("and_left", ("true_intro",))),
    "cases that prove different things": (
        "two formulas",
        ("or_elim", ("or_left", ("true_intro",), P), "a", ("hyp", "a"), "b", ("hyp", "b")),
    ),
    "a premise that is another": ("two formulas", ("imp_elim", from_hyps(H0, P), ("true_intro",))),
    "an instance of what is not universal": ("'all' is needed", ("all_elim", ("true_intro",), ZERO)),
    "an instance by a term that is none": ("does not make a term", ("all_elim", ("all_intro", "x", ("refl", X)), TRUE)),
    "an unknown variable": ("unknown variable x", ("refl", X)),
    "a variable that is in use": ("not in use", ("all_intro", "x", ("all_intro", "x", ("refl", X)))),
    "a witness for something else": ("two formulas", ("ex_intro", ("eq", B0, ONE), ZERO, ("refl", ZERO))),
    "computing something else": ("two formulas", ("compute", ZERO_IS_ONE, ("refl", ZERO))),
    "rewriting by no equation": ("'eq' is needed", ("rewrite", ("true_intro",), P, ("true_intro",))),
    "rewriting what is not there": ("two formulas", ("rewrite", ("refl", ZERO), ("eq", B0, ONE), ("refl", ZERO))),
    "a motive with two holes": ("does not make a term", ("rewrite", ("refl", ZERO), ("eq", B0, B1), ("refl", ZERO))),
    "no successors": ("no rule 'succ_inj'", ("succ_inj", ("refl", ZERO))),
    "only one side is a successor": (
        "no rule 'succ_inj'",
        from_hyps(("succ_inj", H0), ("eq", ONE, ("add", ZERO, ZERO))),
    ),
    "one is one": ("no rule 'zero_succ'", ("zero_succ", ("refl", ONE))),
    "zero is not zero": ("no rule 'zero_succ'", ("zero_succ", ("refl", ZERO))),
    "induction without a base": ("two formulas", ("induction", ADD_ZERO, ("refl", ZERO), "x", "ih", ("hyp", "ih"))),
    "induction without a step": (
        "two formulas",
        ("induction", ADD_ZERO, ("compute", ("eq", ("add", ZERO, ZERO), ZERO), ("refl", ZERO)), "x", "ih", ("hyp", "ih")),
    ),
    "an unknown predicate": ("no predicate S", ("or_left", ("true_intro",), ("and", ("pred", "S", ()), P))),
    "a predicate with too many arguments": ("no predicate p takes 1", ("or_left", ("true_intro",), ("pred", "p", (ZERO,)))),
    "an unknown theorem": ("no such theorem", ("lemma", "magic", ())),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_rule_refuses_what_it_should(name: str):
    message, proof = WRONG[name]
    with pytest.raises(KernelError, match=message):
        prove(SYMBOLS, TRUE, proof, {})


STRANGE = ("eq", Y, ("bound", 0))
"""Mentions a variable that is nowhere in scope; in motives the bound variable is theirs."""
UNKNOWN = ("eq", Y, Y)
ANNOTATED: dict[str, Proof] = {
    "false_elim": from_hyps(("false_elim", H0, UNKNOWN), FALSE),
    "or_left": ("or_left", ("true_intro",), UNKNOWN),
    "or_right": ("or_right", UNKNOWN, ("true_intro",)),
    "imp_intro": ("imp_intro", "h", UNKNOWN, ("true_intro",)),
    "all_elim": ("all_elim", ("all_intro", "x", ("true_intro",)), Y),
    "a term of ex_intro": ("ex_intro", TRUE, Y, ("true_intro",)),
    "the body of ex_intro": ("ex_intro", ("imp", TRUE, STRANGE), ZERO, ("imp_intro", "h", TRUE, ("hyp", "h"))),
    "refl": ("refl", Y),
    "rewrite": ("rewrite", ("refl", ZERO), STRANGE, ("true_intro",)),
    "compute": ("compute", UNKNOWN, ("true_intro",)),
    "induction": ("induction", STRANGE, ("true_intro",), "x", "h", ("true_intro",)),
    "what comes out of ex_elim": (
        "imp_elim",
        from_hyps(("ex_elim", H0, "y", "k", ("refl", Y)), ("ex", TRUE)),
        ("ex_intro", TRUE, ZERO, ("true_intro",)),
    ),
}


@pytest.mark.parametrize("where", ANNOTATED)
def test_what_is_written_down_is_examined(where: str):
    with pytest.raises(KernelError, match="unknown variable y"):
        prove(SYMBOLS, TRUE, ANNOTATED[where], {})


ANY = from_hyps(H0, TRUE)  # proves an implication, which has two parts as "and" and "or" do
NEEDS: dict[str, Proof] = {
    "false": ("false_elim", ANY, P),
    "and": ("and_left", ANY),
    "and ": ("and_right", ANY),
    "or": ("or_elim", ANY, "a", ("hyp", "a"), "b", ("hyp", "b")),
    "imp": ("imp_elim", ("and_intro", ("true_intro",), ("true_intro",)), ("true_intro",)),
    "all": ("all_elim", ("ex_intro", TRUE, ZERO, ("true_intro",)), ZERO),
    "ex": ("ex_elim", ("all_intro", "x", ("true_intro",)), "y", "h", ("true_intro",)),
    "eq": ("rewrite", ANY, TRUE, ("true_intro",)),
    "eq ": ("succ_inj", ANY),
    "eq  ": ("zero_succ", ANY),
}


@pytest.mark.parametrize("kind", NEEDS)
def test_a_rule_needs_a_proof_of_the_right_kind(kind: str):
    with pytest.raises(KernelError, match=f"a proof of '{kind.strip()}' is needed"):
        prove(SYMBOLS, TRUE, NEEDS[kind], {})


def test_a_theorem_is_used_with_any_formulas_for_its_predicates():
    swap = imp(("and", P, Q), ("and", Q, P))
    theorem = prove(SYMBOLS[:2], swap, from_hyps(("and_intro", ("and_right", H0), ("and_left", H0)), ("and", P, Q)), {})
    bodies = (ZERO_IS_ONE, ALL_P)
    expected = imp(("and", ZERO_IS_ONE, ALL_P), ("and", ALL_P, ZERO_IS_ONE))
    assert prove(SYMBOLS, expected, ("lemma", "swap", bodies), {"swap": theorem}).formula == expected
    for wrong in ((), (TRUE,), (TRUE, TRUE, TRUE), (TRUE, ("eq", B0, B0)), (TRUE, ZERO)):
        with pytest.raises(KernelError):
            prove(SYMBOLS, expected, ("lemma", "swap", wrong), {"swap": theorem})


def test_a_predicate_of_two_arguments_becomes_a_formula():
    """The last argument is bound variable 0: R x y as "x = S y" makes "R 1 0" into "1 = S 0"."""
    related = ("pred", "R", (ONE, ZERO))
    theorem = prove((("R", 2),), imp(related, related), from_hyps(H0, related), {})
    body = ("eq", B1, ("succ", B0))
    expected = imp(("eq", ONE, ("succ", ZERO)), ("eq", ONE, ("succ", ZERO)))
    assert prove((), expected, ("lemma", "r", (body,)), {"r": theorem}).formula == expected


def test_a_check_has_a_budget():
    with pytest.raises(KernelError, match="more steps"):
        prove((), TRUE, ("true_intro",), {}, fuel=1)


def test_a_check_has_a_depth():
    for depth, message in ((150, "something else"), (250, "nested more than 200 deep")):
        term = ZERO
        for _ in range(depth):
            term = ("succ", term)
        with pytest.raises(KernelError, match=message):
            prove((), TRUE, ("refl", term), {})


def test_long_proofs_are_chains_of_cuts():
    proof: Proof = ("hyp", "h2999")
    for index in range(2999, 0, -1):
        proof = ("cut", f"h{index}", ("hyp", f"h{index - 1}"), proof)
    assert prove((), TRUE, ("cut", "h0", ("true_intro",), proof), {}, fuel=1_000_000).formula == TRUE


# ------------------------------------------------------------------------------------------------ terms and formulas


def test_lift_moves_what_points_out():
    assert lift(("all", ("eq", B0, B1)), 2, Fuel()) == ("all", ("eq", B0, ("bound", 3)))


def test_instantiate_puts_terms_under_binders():
    body = ("all", ("eq", B0, ("add", B1, B2)))
    assert instantiate(body, (X, ("bound", 0)), Fuel()) == ("all", ("eq", B0, ("add", B1, X)))


def test_abstract_takes_a_variable_out():
    assert abstract(("ex", ("eq", B0, ("add", X, Y))), X, Fuel()) == ("ex", ("eq", B0, ("add", B1, Y)))
    assert abstract(("ex", ("eq", B1, X)), X, Fuel()) == ("ex", ("eq", B2, B1))


def test_substitute_replaces_predicates():
    formula = ("all", imp(("pred", "P", (B0,)), P))
    bodies = {"P": ("ex", ("eq", B0, B1)), "p": ALL_P}
    assert substitute(formula, bodies, Fuel()) == ("all", imp(("ex", ("eq", B0, B1)), ALL_P))


@given(formulas.formulas(variables=["x", "y"]), formulas.terms(["x", "z"]))
def test_instantiate_undoes_abstract(formula: Expr, term: Expr):
    for taken in (X, term):
        body = abstract(formula, taken, Fuel())
        assert instantiate(body, (taken,), Fuel()) == formula
        check_formula(body, frozenset("xyz"), dict(formulas.PROPS + formulas.PREDICATES), Fuel(), binders=1)
    assert abstract(instantiate(abstract(formula, X, Fuel()), (("var", "new"),), Fuel()), ("var", "new"), Fuel()) == abstract(
        formula, X, Fuel()
    )


@given(formulas.terms(()))
def test_closed_terms_compute_to_their_value(term: Expr):
    number = formulas.value(term, {})
    if number > 100:
        return
    numeral = ZERO
    for _ in range(number):
        numeral = ("succ", numeral)
    assert normal(term, Fuel()) == numeral


@given(formulas.terms(["x", "y"]), st.integers(0, 4), st.integers(0, 4))
def test_computing_keeps_the_value(term: Expr, x: int, y: int):
    computed = normal(term, Fuel())
    assert formulas.value(computed, {"x": x, "y": y}) == formulas.value(term, {"x": x, "y": y})
    assert normal(computed, Fuel()) == computed
    check_term(computed, frozenset("xy"), Fuel())


@given(formulas.formulas(), st.integers(0, 1000))
def test_computing_keeps_the_truth(formula: Expr, seed: int):
    model = formulas.random_model(random.Random(seed), formulas.PROPS + formulas.PREDICATES)
    assert model.truth(normal(formula, Fuel())) == model.truth(formula)


@given(formulas.formulas(), formulas.formulas())
def test_equal_is_equality(left: Expr, right: Expr):
    assert equal(left, right, Fuel()) == (left == right)
    assert equal(left, rebuilt(left), Fuel())
    assert not equal(("pred", "P", (left,)), ("pred", "P", (left, left)), Fuel())


def rebuilt(node: Any) -> Any:
    return tuple([rebuilt(part) for part in node]) if type(node) is tuple else node
