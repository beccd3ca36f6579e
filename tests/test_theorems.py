"""The theorem world: its library, its splits, and what keeps them apart."""

from __future__ import annotations

from itertools import combinations, islice
from random import Random

import pytest

from sparring.envs.printing import format_statement
from sparring.envs.reader import Malformed, read_statement
from sparring.errors import SparringError
from sparring.game import stable_hash
from sparring.worlds.keys import statement_key
from sparring.worlds.lemmas import LIBRARY, RESERVED
from sparring.worlds.novel import NOVEL
from sparring.worlds.theorem_splits import HELD_OUT, SPLITS, held_out, split
from sparring.worlds.theorems import (
    GROUPS,
    HARD,
    HARDER,
    LONGEST,
    SHORTEST,
    SIZES,
    branches_of,
    build,
    environment,
    is_dull,
    library_keys,
    premises_of,
    prove,
    row_of,
)

# ------------------------------------------------------------------------------------------------ library


def test_the_library_is_proved_and_big_enough() -> None:
    assert len(LIBRARY) >= 60
    assert len(environment().lemmas) == len(LIBRARY)  # making it checks every script
    assert len(RESERVED) == 12
    assert {lemma.name for lemma in LIBRARY} >= RESERVED


# ------------------------------------------------------------------------------------------------ keys

SAME = [
    ("forall p q, p /\\ q -> q", "forall A B, B /\\ A -> B"),
    ("forall p q, p /\\ q -> q", "forall p q, q -> p -> q"),
    ("forall x y, x + y = y + x", "forall y x, y + x = x + y"),
    ("forall x y, x * (y + 1) = x", "forall a b, a = (1 + b) * a"),
    ("forall (P : N -> Prop) x y, P x -> x = y -> P y", "forall (Q : N -> Prop) u v, v = u -> Q v -> Q u"),
    (
        "forall (P : N -> Prop), (exists x y, P (x + y)) -> exists x, P x",
        "forall (A : N -> Prop), (exists z u, A (u + z)) -> exists y, A y",
    ),
    ("forall p q r, p \\/ q \\/ r -> r", "forall p q r, (q \\/ p) \\/ r -> p"),
    (
        "forall (R : N -> N -> Prop), (forall x y, R x y -> R y x) -> R 0 1 -> R 1 0",
        "forall (T : N -> N -> Prop), T 0 1 -> (forall y x, T x y -> T y x) -> T 1 0",
    ),
]
DIFFERENT = [
    ("forall p q, p /\\ q -> q", "forall p q, p \\/ q -> q"),
    ("forall p q, (p -> q) -> p -> q", "forall p q, (p -> q) -> q -> p"),
    ("forall x y, x + y = y", "forall x y, x * y = y"),
    ("forall (R : N -> N -> Prop), R 0 1 -> R 1 0", "forall (R : N -> N -> Prop), R 0 1 -> R 0 1"),
    ("forall x, exists y, x = y", "exists y, forall x, x = y"),
    ("forall x, x = 1", "forall x, x = 2"),
    ("forall p q r, (p -> q) -> r", "forall p q r, p -> q -> r"),
    ("forall (P : N -> Prop) x y, P (x + S y)", "forall (P : N -> Prop) x y, P (S x + S y)"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_in_other_words_has_the_same_key(one: str, other: str) -> None:
    assert statement_key(one) == statement_key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_differs_has_another_key(one: str, other: str) -> None:
    assert statement_key(one) != statement_key(other)


def test_a_key_is_a_number_that_never_changes() -> None:
    assert statement_key("forall p, p -> p") == 898233163701025438


def test_what_is_no_statement_has_no_key() -> None:
    with pytest.raises(Malformed):
        statement_key("forall x, x +")


# ------------------------------------------------------------------------------------------------ splits


def test_sizes() -> None:
    assert {name: len(split(name)) for name in SPLITS} == SIZES


def test_no_two_theorems_of_all_splits_are_the_same() -> None:
    keys = {name: {task.meta["key"] for task in split(name)} for name in SPLITS}
    assert {name: len(found) for name, found in keys.items()} == SIZES
    assert all(keys[a].isdisjoint(keys[b]) for a, b in combinations(SPLITS, 2))
    assert library_keys().isdisjoint(set().union(*keys.values()))


def test_keys_and_texts_are_what_they_claim_to_be() -> None:
    for name in SPLITS:
        for task in Random(7).sample(split(name), 60):
            assert task.meta["key"] == statement_key(task.text)
            assert format_statement(read_statement(task.text)) == task.text
            assert not is_dull(read_statement(task.text).formula)


def test_held_out_are_the_keys_of_the_evaluation_splits() -> None:
    assert len(held_out()) == sum(SIZES[name] for name in HELD_OUT)
    assert split("test")[0].meta["key"] in held_out()
    assert not any(task.meta["key"] in held_out() for name in ("train", "pool") for task in split(name))


def test_only_train_shows_proofs() -> None:
    for name in SPLITS:
        assert all(("script" in task.meta) == (name == "train") for task in split(name))


def test_demonstrations_are_proofs() -> None:
    for task in Random(11).sample(split("train"), 150):
        script = tuple(task.meta["script"].splitlines())
        assert branches_of(task.text, script) == task.meta["branches"]
        assert premises_of(script) == tuple(task.meta["premises"])
        assert len(script) == task.meta["steps"]
        assert task.meta["difficulty"] == task.meta["steps"] + task.meta["branches"]


def test_lengths_of_proofs() -> None:
    steps = {name: [task.meta["steps"] for task in split(name)] for name in SPLITS}
    for name in ("train", "validation", "test", "novel"):
        assert min(steps[name]) >= SHORTEST
        assert max(steps[name]) <= LONGEST
    assert min(steps["hard"]) == HARD[0] >= 1.2 * LONGEST
    assert max(steps["hard"]) <= HARD[1] <= 2.5 * LONGEST
    assert sum(count > LONGEST for count in steps["pool"]) > 0.3 * len(steps["pool"])
    assert max(steps["pool"]) <= HARDER[1]


def test_demonstrations_use_no_reserved_lemma_and_novel_theorems_do() -> None:
    for task in split("train"):
        assert RESERVED.isdisjoint(task.meta["premises"])
    used = [RESERVED.intersection(task.meta["premises"]) for task in split("novel")]
    assert all(used)
    assert len(frozenset().union(*used)) >= 9


def test_every_family_is_demonstrated_and_tested() -> None:
    families = {name for _, group in GROUPS.values() for name in group}
    assert {task.meta["family"] for task in split("train")} == families
    assert len({task.meta["family"] for task in split("test")}) >= len(families) - 1
    assert {task.meta["family"] for task in split("novel")} == set(NOVEL)


def test_names_of_propositions_vary() -> None:
    names = {name for task in split("train") for name, arity in read_statement(task.text).symbols if arity == 0}
    assert len(names) >= 20


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(SparringError, match="no split 'easy'; it has train"):
        split("easy")


def test_the_file_is_what_its_generator_makes() -> None:
    made = [row_of(name, theorem) for name, theorem in islice(build(), 60)]
    for name in ("train", "pool"):
        mine = [row for row in made if row["split"] == name]
        shipped = split(name)[: len(mine)]
        assert [row["text"] for row in mine] == [task.text for task in shipped]
        assert [row.get("script") for row in mine] == [task.meta.get("script") for task in shipped]


def test_novel_theorems_need_what_they_use() -> None:
    found = NOVEL["antisymmetric"](Random(stable_hash("novel", 1)), 1)
    assert found is not None
    theorem = prove("antisymmetric", found, reserved=True)
    assert theorem is not None
    assert "le_antisymm" in theorem.premises
    assert prove("antisymmetric", found) is None


@pytest.mark.parametrize(
    "text", ["forall x, x = x -> x + 0 = x", "forall p, p -> p -> p", "forall (P : N -> Prop), P 0 \\/ 1 = 1"]
)
def test_dull_statements(text: str) -> None:
    assert is_dull(read_statement(text).formula)
