"""Statements as text: what is read, what is refused with which message, and that printing is canonical."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.printing import Statement, bound_name, format_expr, format_statement, shown
from sparring.envs.reader import MAX_NUMBER, Malformed, Names, Reader, read_statement, tokens_of
from tests import formulas
from tests.formulas import Expr

READ = {
    # what is written: what it is written as in canonical form
    "True": "True",
    "forall p q, p \\/ q -> q \\/ p": "forall (p q : Prop), p \\/ q -> q \\/ p",
    "∀ (p q : Prop), p ∨ q → q ∨ p": "forall (p q : Prop), p \\/ q -> q \\/ p",
    "forall p : Prop, ¬ p": "forall (p : Prop), ~ p",
    "forall p, p -> False": "forall (p : Prop), ~ p",
    "forall p, ~~p": "forall (p : Prop), ~ ~ p",
    "forall n m : N, n = m": "forall x y, x = y",
    "forall (n : N) (m : N), n ≠ m": "forall x y, x <> y",
    "forall n, ∃ m, n = m + m ∨ n = S (m + m)": "forall x, exists y, x = y + y \\/ x = S (y + y)",
    "forall (P : N -> Prop) n, P n -> exists m, P m": "forall (P : N -> Prop), forall x, P x -> (exists y, P y)",
    "forall P n, P (S n) -> P n": "forall (P : N -> Prop), forall x, P (S x) -> P x",
    "forall R x y, R x y -> R (S x) y": "forall (R : N -> N -> Prop), forall x y, R x y -> R (S x) y",
    "forall p, forall x, forall q, p -> q": "forall (p q : Prop), forall x, p -> q",
    "forall p q r, p /\\ q /\\ r": "forall (p q r : Prop), p /\\ q /\\ r",
    "forall p q r, (p /\\ q) /\\ r": "forall (p q r : Prop), (p /\\ q) /\\ r",
    "forall p q r, p -> q -> r": "forall (p q r : Prop), p -> q -> r",
    "forall p q, (p -> q) /\\ (q -> p)": "forall (p q : Prop), p <-> q",
    "forall x y z, x + y + z = x * y * z": "forall x y z, x + y + z = x * y * z",
    "forall x y z, x + (y + z) = x * (y + z)": "forall x y z, x + (y + z) = x * (y + z)",
    "S (S 0) = 1 + 1": "2 = 1 + 1",
    "forall x, S (S x) = 2 + x": "forall x, S (S x) = 2 + x",
    "forall p, (exists x, x = x) -> p": "forall (p : Prop), (exists x, x = x) -> p",
    "forall x, x = x.": "",
    "forall (x : N -> Prop), forall n, x n": "forall (x : N -> Prop), forall y, x y",
    "forall p, (forall p, p = p) -> p": "forall (p : Prop), (forall x, x = x) -> p",
}


@pytest.mark.parametrize("text", READ)
def test_what_is_read(text: str):
    if not READ[text]:
        with pytest.raises(Malformed):
            read_statement(text)
        return
    assert format_statement(read_statement(text)) == READ[text]
    assert format_statement(read_statement(READ[text])) == READ[text]


REFUSED = {
    "": "expected a name, found 'the end'",
    "forall": "expected a name",
    "forall , True": "a quantifier needs a variable",
    "p": "unknown name p",
    "forall p p, p": "p is bound twice",
    "forall p, p -> p = 0": "p is used in two ways",
    "forall P, P 0 -> P 0 0": "P is used in two ways",
    "forall P, P 0 -> P": "P is used in two ways",
    "forall p : Prop, p = p": "expected a number, found the proposition p",
    "forall n : N, n": "expected a proposition, found the number n",
    "forall n : N, n + 1 -> True": "expected a proposition, found the number n + 1",
    "forall f : N -> N, True": "a function from numbers to numbers cannot be a parameter",
    "forall x : Q, True": "expected 'Prop', found 'Q'",
    "forall (P : N -> Prop), P": "P needs 1 arguments, found 'the end'",
    "forall x, S x": "expected a proposition, found the number S x",
    "forall x, S S x = x": "expected a name, found 'S'",
    "True True": "unexpected 'True'",
    "(True": "expected ')', found 'the end'",
    "0 = 100": "the number 100 is above 99",
    "0 = 0 = 0": "expected a number, found the proposition 0 = 0",
    "forall in, True": "expected a name, found 'in'",
    "exists p, p -> p": "expected a proposition, found the number",
    "forall x, x = y": "unknown name y",
    "0 = x1%": "unknown name x1",
    " ".join(f"forall a{i}," for i in range(65)) + " True": "more than 64 names",
    "~ " * 70 + "True": "nested more than 60 deep",
    "0 = " + " + ".join("0" * 130): "nested more than 120 deep",
    " /\\ ".join(["99 = 99"] * 9): "more than 1000 symbols",
    "True /\\ " * 600: "characters are too many",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_what_is_refused_and_why(text: str):
    with pytest.raises(Malformed) as refused:
        read_statement(text)
    assert REFUSED[text] in str(refused.value)


def test_equivalences_inside_equivalences_do_not_blow_up():
    text = "a"
    for _ in range(50):
        text = f"({text} <-> b)"
    begun = time.process_time()
    with pytest.raises(Malformed, match="more than 1000 symbols"):
        read_statement(f"forall a b, {text} = 0")
    assert time.process_time() - begun < 5


def test_terms_and_arguments():
    names = Names(frozenset({"x", "y"}))
    reader = Reader(tokens_of("x + 1 * y (S x) 2 y z"), names)
    assert format_expr(reader.term()) == "x + 1 * y"
    assert [format_expr(reader.argument()) for _ in range(3)] == ["S x", "2", "y"]
    with pytest.raises(Malformed, match="unknown name z"):
        reader.argument()


def test_names_of_bound_variables():
    assert [bound_name(depth, frozenset({"y"})) for depth in range(7)] == ["x", "z", "u", "v", "w", "x1", "y1"]


def test_bound_variables_do_not_take_names_in_use():
    formula: Expr = ("all", ("eq", ("bound", 0), ("var", "x")))
    assert format_expr(formula) == "forall y, y = x"


def test_numbers_as_large_as_they_are_printed_are_read():
    assert format_statement(read_statement(f"{MAX_NUMBER} = 0")) == f"{MAX_NUMBER} = 0"


def test_long_formulas_are_cut_short_in_messages():
    assert len(shown(read_statement(" /\\ ".join(["True"] * 50)).formula)) < 210


# ------------------------------------------------------------------------------------------------ for all formulas

SYMBOLS = formulas.PROPS + formulas.PREDICATES


@given(formulas.formulas(SYMBOLS))
def test_what_is_printed_is_read_back(formula: Expr):
    text = format_statement(Statement(SYMBOLS, formula))
    again = read_statement(text)
    # Leading numbers of the formula are numbers of the statement, which is the same.
    assert again.formula == formula
    assert dict(again.symbols) == dict(SYMBOLS)
    assert format_statement(again) == text


@given(formulas.formulas(SYMBOLS, ["x", "h"]))
def test_formulas_of_a_goal_are_read_back(formula: Expr):
    reader = Reader(tokens_of(format_expr(formula)), Names(frozenset({"x", "h"}), dict(SYMBOLS)))
    assert reader.formula() == formula
    reader.end()


@given(formulas.formulas(SYMBOLS), st.integers(0, 2**32))
def test_what_bound_variables_are_called_does_not_matter(formula: Expr, seed: int):
    rng = random.Random(seed)
    text = with_other_names(formula, rng, ())
    reader = Reader(tokens_of(text), Names(symbols=dict(SYMBOLS)))
    assert reader.formula() == formula


def with_other_names(expr: Expr, rng: random.Random, bound: tuple[str, ...]) -> str:
    """Printed with everything in parentheses and random names for what is bound, some of which hide one another where they may."""
    match expr:
        case ("all" | "ex", body):
            name = rng.choice(["a", "b", "x'", "y_1", "Z", "p0"]) + "1" * len(bound)
            return f"({'forall' if expr[0] == 'all' else '∃'} {name}, {with_other_names(body, rng, (*bound, name))})"
        case ("bound", index):
            return bound[-1 - index]
        case ("true" | "false" as tag,):
            return tag.capitalize()
        case ("zero",):
            return "0"
        case ("succ", inner):
            return f"(S {with_other_names(inner, rng, bound)})"
        case ("pred", name, arguments):
            return f"({' '.join([name, *(with_other_names(part, rng, bound) for part in arguments)])})"
        case (tag, left, right):
            sign = {"and": "/\\", "or": "∨", "imp": "→", "eq": "=", "add": "+", "mul": "*"}[tag]
            return f"({with_other_names(left, rng, bound)} {sign} {with_other_names(right, rng, bound)})"
    raise AssertionError(expr)


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*"()~=+*,:0S", "forall", "p", "x", "->", "<->", "/\\", "N", "Prop", "1"])).map(" ".join)
)
def test_any_text_is_read_or_refused(text: str):
    with suppress(Malformed):
        statement = read_statement(text)
        assert read_statement(format_statement(statement)).formula == statement.formula
