"""Counterexamples: found for what is false in small numbers, and never for what is true."""

import pytest

from sparring.envs.reader import read_statement
from sparring.envs.refute import refute
from sparring.worlds.lemmas import LIBRARY


@pytest.mark.parametrize(
    ("statement", "example"),
    [
        ("forall p q, p \\/ q -> q /\\ p", "p true, q false"),
        ("forall n, n + 1 = n", "x = 0"),
        ("2 + 2 = 5", "it is false as it stands"),
        ("forall n m, n * m = n + m", "x = 0, y = 1"),
        ("forall p n m, p -> n = m", "p true, x = 0, y = 1"),
        ("exists n, n <> n", None),  # no number does, but not all numbers can be tried
        ("forall n, n <> 3", "x = 3"),
    ],
)
def test_counterexamples(statement: str, example: str | None):
    assert refute(read_statement(statement)) == example


@pytest.mark.parametrize(
    "statement",
    [
        "forall p, p \\/ ~ p",
        "forall n, exists m, m = n + n",
        "forall (P : N -> Prop), P 0 -> exists n, P n",
        "forall n, n <> S n",
    ],
)
def test_what_is_true_has_none(statement: str):
    assert refute(read_statement(statement)) is None


def test_the_library_has_none():
    assert [lemma.name for lemma in LIBRARY if refute(read_statement(lemma.statement))] == []


def test_predicates_are_tried_too():
    assert refute(read_statement("forall (P : N -> Prop), (exists x, P x) -> forall x, P x")) is not None
    assert refute(read_statement("forall (R : N -> N -> Prop), (forall x, exists y, R x y) -> exists y, forall x, R x y")) is None


@pytest.mark.parametrize(
    "statement",
    [
        "forall a b c d e f g h i j, a = b",
        "forall (P : N -> N -> N -> N -> N -> N -> Prop) a, P a a a a a a",
        "forall n, " + "(" * 20 + "n" + " * 40)" * 20 + " = 0",
        "forall p q r s t u v w, p -> q -> r -> s -> t -> u -> v -> w",
    ],
)
def test_it_gives_up(statement: str):
    refute(read_statement(statement))  # a bounded number of steps: the test is that it ends
