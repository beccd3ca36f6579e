"""The expert: what it proves, that it proves it, and that it claims nothing false; its parts against numbers worked out by hand."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.kernel import FALSE, Expr, Fuel, instantiate
from sparring.envs.printing import Statement, format_expr, format_statement
from sparring.envs.reader import read_statement
from sparring.game import make_task, stable_hash
from sparring.worlds.arithmetic import is_identity, polynomial, prove_identity
from sparring.worlds.countermodels import is_refuted
from sparring.worlds.equations import prove_equation
from sparring.worlds.expert import PLAIN, Expert, style_of
from sparring.worlds.lemmas import RESERVED
from sparring.worlds.moves import Style
from sparring.worlds.numbers import closed, disturb, eq, grow
from sparring.worlds.proofstate import Goal, match, spines
from sparring.worlds.propositions import ATOMS, entailed, imp, negation, prop
from sparring.worlds.sequent import Decider, TooHard
from sparring.worlds.theorems import GROUPS, environment, lemma_formulas
from sparring.worlds.witnesses import solutions, term_of

FAMILIES = {name: family for _, families in GROUPS.values() for name, family in families.items()}
TAUTOLOGIES = (
    "forall p, ~ ~ (p \\/ ~ p)",
    "forall p q, ~ ~ (((p -> q) -> p) -> p)",
    "forall p q r, (p /\\ q -> r) -> p -> q -> r",
    "forall p q, (p -> q) -> (~ p -> q) -> ~ ~ q",
    "forall p q r, ((p -> q) -> r) -> q -> r",
    "forall p q, ~ (p /\\ q) -> ~ ~ (~ p \\/ ~ q)",
    "forall p q r, (p <-> q) -> (q <-> r) -> (p <-> r)",
    "forall p q r s, (p -> q) -> (q -> r \\/ s) -> (r -> s) -> p -> s",
)
CLASSICAL_ONLY = (
    "forall p, p \\/ ~ p",
    "forall p, ~ ~ p -> p",
    "forall p q, ((p -> q) -> p) -> p",
    "forall p q, ~ (p /\\ q) -> ~ p \\/ ~ q",
    "forall p q, (p -> q) \\/ (q -> p)",
    "forall p q r, (p -> q \\/ r) -> (p -> q) \\/ (p -> r)",
)


def formula(text: str) -> Expr:
    return read_statement(text).formula


def goal(text: str, *hyps: str) -> Goal:
    """A goal over the variables x y z u from formulas in them."""
    names = ("x", "y", "z", "u")

    def read(part: str) -> Expr:
        inner = formula(f"forall x y z u : N, {part}")
        for _ in names:
            inner = inner[1]
        return instantiate(inner, tuple(("var", name) for name in names), Fuel())

    return Goal(frozenset(), names, tuple((f"h{k or ''}", read(part)) for k, part in enumerate(hyps)), read(text))


def expert() -> Expert:
    return Expert({name: statement for name, statement in lemma_formulas().items() if name not in RESERVED})


def checked(text: str, style: Style = PLAIN) -> str | None:
    """The expert's script as one line; fails where it is no proof."""
    lines = expert().prove(read_statement(text), style)
    if lines is None:
        return None
    verdict = environment().check(make_task(text), "\n".join(lines))
    assert verdict.solved, (text, lines, verdict.note)
    return "; ".join(lines)


# ------------------------------------------------------------------------------------------------ propositional logic


@pytest.mark.parametrize("text", TAUTOLOGIES)
def test_what_holds_is_decided_and_proved(text: str) -> None:
    assert Decider().holds(frozenset(), formula(text))
    assert checked(text)


@pytest.mark.parametrize("text", CLASSICAL_ONLY)
def test_what_holds_only_classically_is_neither(text: str) -> None:
    assert not Decider().holds(frozenset(), formula(text))
    assert Decider().holds(frozenset(), negation(negation(formula(text))))  # V. Glivenko 1929
    assert checked(text) is None


def classical_truth(part: Expr, values: dict[str, bool]) -> bool:
    if part[0] == "pred":
        return values[part[1]]
    if part == FALSE:
        return False
    left, right = (classical_truth(half, values) for half in part[1:])
    return {"and": left and right, "or": left or right, "imp": not left or right}[part[0]]


ATOM = st.sampled_from([prop("p"), prop("q"), prop("r")])
PROPOSITIONS = st.recursive(
    ATOM | st.just(FALSE), lambda part: st.tuples(st.sampled_from(["and", "or", "imp"]), part, part), max_leaves=7
)


@given(PROPOSITIONS)
@settings(max_examples=100, deadline=None)
def test_the_decider_agrees_with_truth_tables_up_to_double_negation(part: Expr) -> None:
    tables = [dict(zip("pqr", values, strict=True)) for values in product((False, True), repeat=3)]
    classical = all(classical_truth(part, values) for values in tables)
    assert Decider().holds(frozenset(), negation(negation(part))) == classical
    if Decider().holds(frozenset(), part):
        assert classical
        assert checked(format_statement(Statement((("p", 0), ("q", 0), ("r", 0)), part)))


@given(PROPOSITIONS, PROPOSITIONS)
@settings(max_examples=60, deadline=None)
def test_a_hypothesis_is_a_premise(left: Expr, right: Expr) -> None:
    assert Decider().holds(frozenset({left}), right) == Decider().holds(frozenset(), imp(left, right))


def test_a_decider_stops_when_its_steps_are_spent() -> None:
    with pytest.raises(TooHard):
        Decider(steps=2).holds(frozenset(), formula(TAUTOLOGIES[1]))


def test_whatever_is_entailed_is_proved() -> None:
    for number in range(60):
        found = entailed(Random(stable_hash("entailed", number)), 3)
        assert found is None or checked(format_statement(found), style_of(number))


# ------------------------------------------------------------------------------------------------ equations


def test_polynomials() -> None:
    product_of = goal("S x * (y + 2) = 0").conclusion[1]
    assert dict(polynomial(product_of)) == {("x", "y"): 1, ("x",): 2, ("y",): 1, (): 2}


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("x + y = y + x", "rewrite (add_comm x y); rfl"),
        ("x + y + z = x + (y + z)", "rewrite add_assoc; rfl"),
        ("x + 0 = x", "rewrite add_0_r; rfl"),
        ("(x + y) * (y + x) = (y + x) * (x + y)", "rewrite (add_comm x y) at 1; rewrite (add_comm y x) at 2; rfl"),
        ("2 + x = S (S x)", "rfl"),
    ],
)
def test_identities_by_hand(text: str, script: str) -> None:
    assert "; ".join(prove_identity(goal(text).conclusion) or ()) == script


def test_no_identity_no_proof() -> None:
    assert prove_identity(goal("x + y = x + x").conclusion) is None


def test_random_identities_are_proved_as_the_environment_sees_it() -> None:
    proved = 0
    for number in range(50):
        rng = Random(stable_hash("identities", number))
        left = grow(rng, rng.randint(2, 6), 0.4)
        equation = eq(left, disturb(rng, left, 0.5))
        assert is_identity(equation)
        proved += checked(format_statement(closed(equation))) is not None
    assert proved == 50


@pytest.mark.parametrize(
    ("text", "hyps", "script"),
    [
        ("S x = S y", ["x = y"], "rewrite h; rfl"),
        ("y = x", ["x = y"], "symmetry; exact h"),
        ("x = z", ["y = z", "x = y"], "rewrite <- h; exact h1"),
        ("y + x = z", ["x + y = z"], "rewrite <- h; rewrite (add_comm y x); rfl"),
        (
            "y + x = z * u",
            ["x + y = u * z"],
            "have h1 : y + x = x + y; rewrite (add_comm y x); rfl; rewrite h1; rewrite h; rewrite (mul_comm u z); rfl",
        ),
    ],
)
def test_equations_from_hypotheses_by_hand(text: str, hyps: list[str], script: str) -> None:
    assert "; ".join(prove_equation(goal(text, *hyps)) or ()) == script


def test_small_numbers_refute() -> None:
    assert is_refuted(goal("x + y = x"))
    assert is_refuted(goal("x = 0", "x * y = 0"))
    assert not is_refuted(goal("x = 0", "x + y = 0"))
    assert not is_refuted(goal("exists w, x + w = y"))  # it speaks of more than the numbers at hand


@pytest.mark.parametrize(
    ("text", "hyps", "witness"),
    [
        ("exists w, x + w = y + x", [], "y"),
        ("exists w, x + w = z", ["x + y = z"], "y"),
        ("exists w, S (S x) = w + w", ["x = y + y"], "S y"),
        ("exists w, x * y = z * w", ["x = z * u"], "u * y"),
        ("exists w, S x * S (S x) = w + w", ["x * S x = y + y"], "S (x + y)"),
    ],
)
def test_witnesses_by_hand(text: str, hyps: list[str], witness: str) -> None:
    at = goal(text, *hyps)
    equation = instantiate(at.conclusion[1], (("var", "?0"),), Fuel())
    found = [format_expr(term) for term in solutions(at, equation, "?0")]
    assert found == [" * ".join(sorted(witness.split(" * "), key="xyzu".index)) if "*" in witness else witness]


def test_no_witness_where_there_is_none() -> None:
    at = goal("exists w, S (x + w) = x")
    assert list(solutions(at, instantiate(at.conclusion[1], (("var", "?0"),), Fuel()), "?0")) == []


def test_terms_of_polynomials() -> None:
    assert format_expr(term_of({("x",): 2, ("x", "y"): 1, (): 1}, ("x", "y"))) == "S (x + x + x * y)"
    assert format_expr(term_of({}, ())) == "0"


# ------------------------------------------------------------------------------------------------ matching


def test_matching_fills_holes_and_keeps_what_is_known() -> None:
    hole, x, y = ("var", "?0"), ("var", "x"), ("var", "y")
    assert match(("add", hole, hole), ("add", x, x), {}) == {"?0": x}
    assert match(("add", hole, hole), ("add", x, y), {}) is None
    assert match(hole, y, {"?0": x}) is None
    assert match(prop("P", hole), prop("Q", x), {}) is None
    assert match(hole, ("bound", 0), {}) is None  # it would escape its binder


def test_spines_read_a_fact_as_a_chain_of_premises() -> None:
    fact = formula("forall (P : N -> Prop), forall x, P x -> forall y, P y -> P (x + y)")
    longest = spines(fact)[-1]
    assert longest.order == ("?0", "", "?1", "")
    assert longest.leading == ("?0",)
    assert [len(spine.premises) for spine in spines(fact)] == [0, 1, 2]


# ------------------------------------------------------------------------------------------------ proofs


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("forall p q, p \\/ q -> q \\/ p", "intro h; destruct h as [h1 | h1]; right; exact h1; left; exact h1"),
        (
            "forall (P Q : N -> Prop), (forall x, P x -> Q x) -> (exists x, P x) -> exists x, Q x",
            "intros h h1; destruct h1 as [x h2]; exists x; apply h; exact h2",
        ),
        ("forall x y z, x = y -> S x + z = S y + z", "intros x y z h; rewrite h; rfl"),
        ("forall x, x <> S (S x)", "intros x h; induction x; discriminate h; apply succ_inj in h; contradiction"),
        ("forall x y, x + y = 0 -> y = 0", "intros x y h; apply add_eq_zero in h; destruct h as [h1 h2]; exact h2"),
    ],
)
def test_proofs_by_hand(text: str, script: str) -> None:
    assert checked(text) == script


def test_what_is_false_is_not_proved() -> None:
    for text in (
        "forall x, x = S x",
        "forall x y, x + y = x",
        "forall x, exists y, S y = x",
        "forall (P : N -> Prop) x, P x -> P (S x)",
    ):
        assert checked(text) is None


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_script_of_every_family_is_a_proof(family: str) -> None:
    proved = drawn = 0
    for size, number in product((1, 3), range(6)):
        found = FAMILIES[family](Random(stable_hash("scripts", family, size, number)), size)
        if found is not None:
            drawn += 1
            text = format_statement(found)
            proved += checked(text, style_of(text)) is not None
    assert drawn >= 2
    assert proved / drawn >= 0.6


def test_the_same_statement_in_the_same_style_has_the_same_proof() -> None:
    text = "forall x y z, (x + y) * z = z * y + x * z"
    assert checked(text, style_of("a")) == checked(text, style_of("a"))


def test_styles_differ_and_prove_the_same() -> None:
    text = "forall (p q : Prop), (p -> q) -> p -> q /\\ p"
    plain = "intros h h1; split; apply h; exact h1; exact h1"
    assert checked(text) == plain
    assert checked(text, Style(forward=True)) == "intros h h1; specialize (h h1); split; exact h; exact h1"
    assert checked(text, Style(assumption=True)) == plain.replace("exact h1", "assumption")
    assert checked(text, Style(one_by_one=True)) == plain.replace("intros h h1", "intro h; intro h1")


def test_an_expert_without_time_gives_up() -> None:
    assert Expert({}, goals=1).prove(read_statement(TAUTOLOGIES[0])) is None


def test_names_of_propositions_do_not_matter() -> None:
    shape = "forall {0} {1}, {0} \\/ {1} -> {1} \\/ {0}"
    scripts = {checked(shape.format(*pool.split()[:2])) for pool in ATOMS}
    assert len(scripts) == 1
