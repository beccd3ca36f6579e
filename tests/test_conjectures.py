"""Symbolic conjectures: every operator by hand, and that all but one keep truth, constructively too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.embedded import KernelEnv
from sparring.envs.kernel import FALSE, TRUE, Expr
from sparring.envs.printing import Statement, format_statement
from sparring.envs.reader import read_statement
from sparring.envs.refute import refute
from sparring.game import make_task
from sparring.worlds.conjectures import EQUIVALENCES, MAX_SIZE, OPERATORS, library, mutate, mutate_with, read, size_of
from sparring.worlds.keys import statement_key
from sparring.worlds.lemmas import LIBRARY, RESERVED
from sparring.worlds.mutations import MUTATIONS, Known, Mutant, Subject
from sparring.worlds.places import is_equivalence, open_statement, places, tidied
from sparring.worlds.sequent import Decider

STATEMENTS = [lemma.statement for lemma in LIBRARY]
TRUTHFUL = [operator for operator in OPERATORS if operator != "generalise"]


def known_of(*texts: str) -> list[Known]:
    return [Known(f"known{number}", read_statement(text)) for number, text in enumerate(texts)]


def outcomes(operator: str, text: str, *known: str) -> set[str]:
    """What an operator can make of a statement."""
    found: set[str] = set()
    for seed in range(60):
        subject = Subject(read_statement(text), Random(seed))
        found |= {
            format_statement(tidied(mutant.formula)) for mutant in islice(MUTATIONS[operator](subject, known_of(*known)), 50)
        }
    return found


def canonical(*texts: str) -> set[str]:
    return {format_statement(read_statement(text)) for text in texts}


# ------------------------------------------------------------------------------------------------------- by hand


def test_rewriting_with_an_equation_in_both_directions():
    assert outcomes("rewrite", "forall x, S (x + 1) = S (S x)", "forall x y, x + y = y + x") == canonical(
        "forall x, S (1 + x) = S (S x)"
    )
    assert outcomes("rewrite", "forall x, x * 0 = 0", "forall x, x * 0 = 0") == {"True", "forall x, x * (x * 0) = 0"}


def test_what_fits_anywhere_is_rewritten_last():
    subject = Subject(read_statement("forall x, x * 1 = x"), Random(0))
    known = known_of("forall x, x = x + 0", "forall x y, x * y = y * x")
    first = next(MUTATIONS["rewrite"](subject, known))
    assert (format_statement(tidied(first.formula)), first.lemma) == ("forall x, 1 * x = x", "known1")


def test_rewriting_with_an_equivalence_under_quantifiers():
    not_some = "forall (P : N -> Prop), ~ (exists x, P x) <-> forall x, ~ P x"
    assert outcomes("rewrite", "forall y, ~ (exists x, S x = 0 /\\ x = y)", not_some) == canonical(
        "forall y x, ~ (S x = 0 /\\ x = y)", "~ (exists y x, S x = 0 /\\ x = y)"
    )


def test_a_side_of_an_equivalence_stays_one():
    made = outcomes("rewrite", "forall p q, ~ p <-> (q /\\ p)", "forall p q, p /\\ q <-> q /\\ p")
    assert made == canonical("forall p q, ~ p <-> (p /\\ q)", "forall p q, (p /\\ q) <-> ~ q")


def test_applying_implications_to_conclusion_and_premise():
    left = "forall p q, p /\\ q -> p"
    assert outcomes("backward", "forall p q, p /\\ q -> q /\\ p", left) == canonical("forall p q, p /\\ q -> q")
    assert outcomes("backward", "forall x y z, x = y -> S y = S z -> S x = S z", "forall x y, S x = S y -> x = y") == canonical(
        "forall x y z, x = y -> S y = S z -> x = z",
        "forall x y z, S x = S y -> S y = S z -> S x = S z",
        "forall x y z, x = y -> S (S y) = S (S z) -> S x = S z",
    )


def test_the_further_premises_of_an_implication_stay():
    transitive = "forall x y z, x = y -> y = z -> x = z"
    made = outcomes("backward", "forall x, x + 0 = x", transitive)
    assert "forall x y, x = y -> x + 0 = y" in made


def test_generalising():
    assert outcomes("generalise", "forall x, x + 0 = 0 + x") == canonical(
        "forall x y, x + y = y + x", "forall x y, y = 0 + x", "forall x y, x + 0 = y"
    )
    assert "forall (P : N -> Prop), forall x, P x -> x = 0 + x" in outcomes("generalise", "forall x, 0 + x = x -> x = 0 + x")
    assert outcomes("generalise", "forall (p : Prop), p -> ~ ~ p") == canonical(
        "forall (p : Prop), ~ ~ p",
        "forall p q, p -> q",
        "forall p q, p -> ~ q",
        "forall p q, p -> (p -> q) -> q",
    )


def test_specialising():
    made = outcomes("specialise", "forall x y, S x + y = S (y + x)")
    assert {"forall x, S x + x = S (x + x)", "forall x, 1 + x = S (x + 0)", "forall x y, S (S x) + y = S (y + S x)"} <= made
    assert {
        "forall (p q : Prop), ~ p -> q -> ~ p",
        "forall (p q r : Prop), p \\/ q -> r -> p \\/ q",
    } <= outcomes("specialise", "forall p q, p -> q -> p")


def test_composing_two_theorems():
    symmetric = "forall x y, x = y -> y = x"
    assert "forall x, 0 + x = x" not in outcomes("compose", "forall x, x = 0 + x")
    assert "forall x, 0 + x = x" in outcomes("compose", "forall x, x = 0 + x", symmetric)
    made = outcomes("compose", "forall p q, p /\\ q -> q", "forall p q, p /\\ q -> q /\\ p")
    assert "forall (p q : Prop), p /\\ q -> q /\\ q /\\ p" in made


def test_contexts():
    made = outcomes("compose", "forall p q, p /\\ q -> p")
    assert {
        "forall (p q r : Prop), (p -> q /\\ r) -> p -> q",
        "forall (p q : Prop), ~ p -> ~ (p /\\ q)",
        "forall (p q : Prop), ~ ~ (p /\\ q -> p)",
    } <= made
    assert "forall x, S (x + 0) = S x" in outcomes("compose", "forall x, x + 0 = x")
    assert "(exists x, x = 0) -> (exists x, x + x = 0)" in outcomes("compose", "forall x, x = 0 -> x + x = 0")


def test_what_says_nothing_is_left_out():
    text = "forall (Q : N -> Prop) (a b : Prop), forall x y, True -> Q y -> a -> Q y -> exists z, b /\\ b /\\ y = y"
    assert (
        format_statement(tidied(read_statement(text).formula)) == "forall (P : N -> Prop) (p q : Prop), forall x, P x -> p -> q"
    )


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("p /\\ True -> q \\/ False", "p -> q"),
        ("(False -> p) -> True /\\ q", "q"),
        ("p \\/ True -> p", "p"),
        ("~ p \\/ (q -> False /\\ p)", "~ p \\/ ~ q"),
        ("p -> q -> True", "True"),
        ("exists x, p", "p"),
    ],
)
def test_true_and_false_are_left_out(text: str, simple: str):
    formula = read_statement(f"forall (p q : Prop), {text}").formula
    expected = read_statement(f"forall (p q : Prop), {simple}").formula
    assert tidied(formula) == tidied(expected)


# ------------------------------------------------------------------------------------------------------- truth

ATOMS: list[Expr] = [("pred", name, ()) for name in "pqr"]
SYMBOLS = tuple((name, 0) for name in "pqr")


def grown(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.tuples(st.sampled_from(["and", "or", "imp"]), parts, parts),
        st.builds(lambda part: ("imp", part, FALSE), parts),
        st.builds(lambda a, b: ("and", ("imp", a, b), ("imp", b, a)), parts, parts),
    )


propositional = st.recursive(st.sampled_from(ATOMS), grown, max_leaves=8)
KNOWN = [known for known in library() if known.statement.formula[0] != "all" and all(n == 0 for _, n in known.statement.symbols)]
seeds = st.integers(0, 10**6)


def mutants(operator: str, formula: Expr, seed: int) -> Iterator[Mutant]:
    return islice(MUTATIONS[operator](Subject(Statement(SYMBOLS, formula), Random(seed)), KNOWN), 4)


def implies(*formulas: Expr) -> bool:
    return Decider().holds(frozenset(formulas[:-1]), formulas[-1])


@settings(max_examples=60, deadline=None)
@given(propositional, seeds)
def test_rewriting_is_an_equivalence(formula: Expr, seed: int):
    for mutant in mutants("rewrite", formula, seed):
        assert implies(formula, mutant.formula)
        assert implies(mutant.formula, formula)


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.sampled_from([*ATOMS, FALSE, TRUE]), grown, max_leaves=8))
def test_what_is_left_out_says_nothing(formula: Expr):
    symbols, tidy = tidied(formula)
    names = [place.part[1] for place in places(tidy) if place.part[0] == "pred"]
    assert list(dict.fromkeys(names)) == [name for name, _ in symbols]
    assert implies(formula) == implies(tidy)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["backward", "compose"]), propositional, seeds)
def test_what_follows_from_the_theorem(operator: str, formula: Expr, seed: int):
    for mutant in mutants(operator, formula, seed):
        assert implies(formula, mutant.formula)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KNOWN), seeds)
def test_instances_of_what_holds_hold(known: Known, seed: int):
    statement = known.statement
    for step in range(3):
        found = list(islice(MUTATIONS["specialise"](Subject(statement, Random(seed + step)), ()), 4))
        for mutant in found:
            assert implies(mutant.formula)
        statement = tidied(found[-1].formula)
        if not statement.symbols:
            break


@pytest.mark.parametrize("operator", TRUTHFUL)
def test_chains_of_mutations_have_no_counterexample(operator: str):
    for number, text in enumerate(STATEMENTS):
        statement = read_statement(text)
        for step in range(3):
            subject = Subject(statement, Random(100 * number + step))
            statement = next((tidied(m.formula) for m in MUTATIONS[operator](subject, library())), statement)
            assert refute(statement) is None, format_statement(statement)


SCRIPTS = {
    "forall (P : N -> Prop) (q : Prop), ((exists x, P x) -> q) <-> (forall x, P x -> q)": "split\nintros h x h1\napply h\nexists x\n"
    "exact h1\nintros h h1\ndestruct h1 as [x h2]\nexact (h x h2)",
    "forall (P : N -> Prop), ~ (exists x, P x) <-> (forall x, ~ P x)": "split\nintros h x h1\napply h\nexists x\nexact h1\n"
    "intros h h1\ndestruct h1 as [x h2]\nexact (h x h2)",
    "forall (P Q : N -> Prop), (forall x, P x /\\ Q x) <-> (forall x, P x) /\\ (forall x, Q x)": "split\nintro h\nsplit\nintro x\n"
    "destruct (h x) as [h1 h2]\nexact h1\nintro x\ndestruct (h x) as [h1 h2]\nexact h2\nintros h x\ndestruct h as [h1 h2]\nsplit\n"
    "exact (h1 x)\nexact (h2 x)",
    "forall (P Q : N -> Prop), (exists x, P x \\/ Q x) <-> (exists x, P x) \\/ (exists x, Q x)": "split\nintro h\n"
    "destruct h as [x h1]\ndestruct h1 as [h2 | h2]\nleft\nexists x\nexact h2\nright\nexists x\nexact h2\nintro h\n"
    "destruct h as [h1 | h1]\ndestruct h1 as [x h2]\nexists x\nleft\nexact h2\ndestruct h1 as [x h2]\nexists x\nright\nexact h2",
    "forall (P : N -> Prop) (q : Prop), (exists x, P x /\\ q) <-> (exists x, P x) /\\ q": "split\nintro h\ndestruct h as [x h1]\n"
    "destruct h1 as [h2 h3]\nsplit\nexists x\nexact h2\nexact h3\nintro h\ndestruct h as [h1 h2]\ndestruct h1 as [x h3]\nexists x\n"
    "split\nexact h3\nexact h2",
    "forall x y, x = y <-> y = x": "intros x y\nsplit\nintro h\nsymmetry\nexact h\nintro h\nsymmetry\nexact h",
    "forall x y, S x = S y <-> x = y": "intros x y\nsplit\nintro h\ninjection h as h1\nexact h1\nintro h\nrewrite h\nrfl",
}


@pytest.mark.parametrize("text", EQUIVALENCES)
def test_what_formulas_are_rewritten_with_holds_constructively(text: str):
    statement = read_statement(text)
    assert is_equivalence(open_statement(statement.formula)[1])
    if text in SCRIPTS:
        verdict = KernelEnv().check(make_task(text), SCRIPTS[text])
        assert verdict.solved, verdict.note
    else:
        assert implies(statement.formula)


# ------------------------------------------------------------------------------------------------------- places


@settings(max_examples=100, deadline=None)
@given(st.one_of(propositional, st.sampled_from([read_statement(text).formula for text in STATEMENTS])), propositional)
def test_putting_back_what_was_there_changes_nothing(formula: Expr, other: Expr):
    for place in places(formula):
        assert place.put(place.part) == formula


@settings(max_examples=60, deadline=None)
@given(propositional, propositional)
def test_signs_tell_what_weakening_a_part_does(formula: Expr, extra: Expr):
    for place in places(formula):
        weaker: Expr = ("or", place.part, extra)
        if place.sign > 0:
            assert implies(formula, place.put(weaker))
        elif place.sign < 0:
            assert implies(place.put(weaker), formula)


# ------------------------------------------------------------------------------------------------------- mutate


@pytest.mark.parametrize("operator", OPERATORS)
def test_mutants_are_new_canonical_and_worth_an_attempt(operator: str):
    made = 0
    for seed, text in enumerate(STATEMENTS[::2]):
        child = mutate(text, operator, seed, STATEMENTS)
        assert child == mutate(text, operator, seed, STATEMENTS)
        if not child:
            continue
        made += 1
        assert statement_key(child) != statement_key(text)
        assert child == format_statement(read_statement(child))
        assert isinstance(read(child), Mapping)
        assert size_of(read_statement(child).formula) <= MAX_SIZE
    assert made >= len(STATEMENTS[::2]) * (0.15 if operator == "generalise" else 0.85)


def test_mutants_name_their_lemma_and_no_reserved_one():
    lemmas = {mutate_with(text, operator, 0)[1] for text in STATEMENTS for operator in OPERATORS}
    assert len(lemmas) > 10
    assert not lemmas & RESERVED
    assert lemmas <= {"", *(lemma.name for lemma in LIBRARY)}


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("text", ["", "forall x, x +", "nonsense", "(" * 5000])
def test_nothing_comes_of_what_is_no_statement(text: str, operator: str):
    assert mutate(text, operator, 0) == ""
    assert isinstance(mutate("forall x, x + 0 = x", operator, 0, [text, text]), str)


# ------------------------------------------------------------------------------------------------------- read


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("forall x, x +", "no statement"),
        ("forall (p : Prop), q", "no statement"),
        ("forall p q, q -> p -> q", "its conclusion is a premise"),
        ("forall p, False -> p", "False is a premise"),
        ("forall p, p -> True", "its conclusion is True"),
        ("forall x, 2 + x = S (1 + x)", "closed by rfl"),
        ("forall x y, x + y = x", "false"),
        ("forall p q, p \\/ q -> q", "false"),
        (" /\\ ".join(["0 = 1"] * 20), "too large"),
        ("40 * 40 * 40 * 40 = 0", "too large to compute"),
    ],
)
def test_what_is_not_worth_an_attempt(text: str, reason: str):
    assert read(text) == reason


def test_what_is_worth_an_attempt():
    found = read("∀ n m : N, n + m = m + n")
    assert isinstance(found, Mapping)
    assert found["text"] == "forall x y, x + y = y + x"
    assert found["size"] == 9  # two quantifiers, one equality, two sums, four variables
    assert found["key"] == statement_key("forall y x, x + y = y + x")


def test_one_key_for_two_wordings():
    one, other = read("forall (q p : Prop), q \\/ p -> p \\/ q"), read("forall p q, (p \\/ q) -> q \\/ p")
    assert isinstance(one, Mapping)
    assert isinstance(other, Mapping)
    assert one["key"] == other["key"]


def test_a_limit_of_ones_own():
    assert read("forall x, x + 0 = x", max_size=3) == "too large"


def test_numbers_are_one_sign():
    assert size_of(read_statement("10 = 2 + 8").formula) == 5
    assert size_of(read_statement("forall (P : N -> N -> Prop), forall x, P x (S x)").formula) == 5
