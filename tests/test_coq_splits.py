"""Splits of a trace: no theorem and no copy in two sets, and what each split promises besides."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.coq.splits import SETS, SPLITS, Entry, Split, entries_of, split_at_random, split_by_folder, split_by_premise
from sparring.errors import SparringError
from sparring.trace import TraceRow


def row(name: str, statement: str, goal: str, step: int = 0, premises: tuple[str, ...] = (), path: str = "A/B.v") -> TraceRow:
    return TraceRow(
        full_name=name,
        file_path=path,
        theorem_statement=statement,
        step=step,
        state_before=goal,
        tactic="auto",
        premises=premises,
        state_after="no goals",
    )


def theorem(name: str, path: str = "A/B.v", premises: tuple[str, ...] = (), copy_of: str = "") -> Entry:
    marks = frozenset({("goal", copy_of or name)})
    return Entry(name=name, file_path=path, marks=marks, premises=frozenset(premises))


theorems = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 25), st.frozensets(st.integers(0, 20), max_size=4)), max_size=60
).map(
    lambda found: [
        theorem(f"t{n}", f"lib/d{folder}/x.v", tuple(f"p{p}" for p in used), f"c{copy}")
        for n, (folder, copy, used) in enumerate([*found, *((n, n, frozenset[int]()) for n in (100, 101, 102))])
    ]
)


def members(entries: list[Entry], split: Split) -> dict[str, list[Entry]]:
    known = {entry.name: entry for entry in entries}
    return {name: [known[theorem] for theorem in split[name]] for name in SETS}


@given(entries=theorems, seed=st.integers(0, 5), kind=st.sampled_from(sorted(SPLITS)))
def test_no_theorem_and_no_copy_is_in_two_sets(entries: list[Entry], seed: int, kind: str) -> None:
    split = SPLITS[kind](entries, seed, 0.2)
    assert tuple(split) == SETS
    names = Counter(name for part in split.values() for name in part)
    assert set(names) <= {entry.name for entry in entries}
    assert set(names.values()) <= {1}
    sets = members(entries, split)
    marks = Counter(mark for part in sets.values() for mark in {mark for entry in part for mark in entry.marks})
    assert set(marks.values()) <= {1}


@given(entries=theorems, seed=st.integers(0, 5))
def test_at_random_every_theorem_is_somewhere_whatever_the_order(entries: list[Entry], seed: int) -> None:
    split = split_at_random(entries, seed, 0.2)
    assert sorted(name for part in split.values() for name in part) == sorted(entry.name for entry in entries)


@given(entries=theorems, seed=st.integers(0, 5))
def test_folders_are_in_one_set(entries: list[Entry], seed: int) -> None:
    sets = members(entries, split_by_folder(entries, seed, 0.2))
    folders = [folder for part in sets.values() for folder in {entry.file_path for entry in part}]
    assert len(folders) == len(set(folders))


@given(entries=theorems, seed=st.integers(0, 5))
def test_held_out_theorems_use_a_premise_that_is_used_nowhere_else(entries: list[Entry], seed: int) -> None:
    sets = members(entries, split_by_premise(entries, seed, 0.2))
    for name in ("validation", "test"):
        others = {premise for other in SETS if other != name for entry in sets[other] for premise in entry.premises}
        assert all(entry.premises - others for entry in sets[name])


def test_shares_are_what_was_asked_for_where_nothing_hinders() -> None:
    entries = [theorem(f"t{n}", f"lib/d{n % 50}/x.v", (f"p{n}",)) for n in range(1000)]
    for split in (kind(entries, 3, 0.1) for kind in SPLITS.values()):
        assert [len(split[name]) for name in SETS] == [800, 100, 100]


def test_seeds_differ_and_repeat_whatever_the_order_of_the_trace() -> None:
    entries = [theorem(f"t{n}", f"d{n}/x.v", (f"p{n}",)) for n in range(40)]
    shuffled = Random(0).sample(entries, len(entries))
    for kind in SPLITS.values():
        first = kind(entries, 0, 0.2)
        assert first != kind(entries, 1, 0.2)
        assert {name: set(part) for name, part in first.items()} == {
            name: set(part) for name, part in kind(shuffled, 0, 0.2).items()
        }


def test_a_folder_that_is_too_large_is_not_held_out() -> None:
    entries = [theorem(f"t{n}", f"{'large' if n < 80 else f'd{n % 4}'}/x.v") for n in range(100)]
    for seed in range(10):
        split = split_by_folder(entries, seed, 0.1)
        assert {f"t{n}" for n in range(80)} <= set(split["train"])
        assert split["test"]
        assert split["validation"]


def test_twin_folders_are_one() -> None:
    entries = [
        *(theorem(f"f{n}", "theories/FSets/FSetList.v") for n in range(5)),
        *(theorem(f"m{n}", "theories/MSets/MSetList.v") for n in range(5)),
        *(theorem(f"o{n}", f"theories/D{n}/x.v") for n in range(10)),
    ]
    for seed in range(10):
        split = split_by_folder(entries, seed, 0.3)
        assert any({f"f{n}" for n in range(5)} | {f"m{n}" for n in range(5)} <= set(part) for part in split.values())


def test_copies_are_the_same_statement_or_the_same_first_goal() -> None:
    rows = [
        row("A.one", "Lemma one  n :\n n = n.", "n : nat\n⊢ n = n"),
        row("A.one", "Lemma one  n :\n n = n.", "later", step=1, premises=("Coq.p",)),
        row("B.two", "#[local] Theorem two n : n = n.", "n : Z\n⊢ n = n"),
        row("C.three", "Goal forall n, n = n.", "n : Z\n⊢ n = n"),
        row("C.four", "Next Obligation.", "⊢ a"),
        row("C.five", "Next Obligation.", "⊢ b"),
    ]
    entries = entries_of(rows)
    assert [entry.name for entry in entries] == ["A.one", "B.two", "C.three", "C.four", "C.five"]
    one, two, three, four, five = entries
    assert one.premises == {"Coq.p"}
    assert one.marks & two.marks
    assert two.marks & three.marks
    assert not four.marks & five.marks
    for seed in range(20):
        split = split_at_random(entries, seed, 0.2)
        assert any({"A.one", "B.two", "C.three"} <= set(part) for part in split.values())


def test_near_copies_differ_in_what_is_before_the_colon() -> None:
    """Those of the training set are dropped, and of the others all that are copies of the test set's."""
    binders = ["n : nat\nm : nat\np : Z\n⊢ n = m -> p = p", "⊢ forall (a b : nat) (n : Z), a = b -> n = n"]
    binders += ["x : nat\n⊢ forall y : nat, forall p : Z, x = y -> p = p", "⊢ forall (f : (nat -> nat) -> nat), f = f"]
    binders += ["n : nat\n⊢ forall m : nat, n = m", "⊢ forall n m : nat, m = n"]
    one, two, three, four, five, six = entries_of(row(f"t{n}", f"Lemma t{n} {n}.", goal) for n, goal in enumerate(binders))
    assert one.marks & two.marks & three.marks
    assert not any(one.marks & other.marks for other in (four, five, six))
    assert not five.marks & six.marks
    others = [theorem(f"o{n}", f"lib/d{n}/x.v") for n in range(20)]
    for kind in SPLITS.values():
        for seed in range(10):
            split = kind([one, two, three, *others], seed, 0.3)
            assert sum(any(name in part for name in ("t0", "t1", "t2")) for part in split.values()) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_folders_that_are_too_few_are_refused(count: int) -> None:
    with pytest.raises(SparringError, match=rf"{count} folders are too few for the sets train, validation, test"):
        split_by_folder([theorem(f"t{n}", f"d{n % count}/x.v") for n in range(9)], 0)
    with pytest.raises(SparringError, match="theorems without copies are too few"):
        split_at_random([theorem(f"t{n}", copy_of=f"c{n % count}") for n in range(9)], 0)


@pytest.mark.parametrize("held_out", [0.0, 0.5, -1.0])
def test_shares_that_leave_nothing_are_refused(held_out: float) -> None:
    with pytest.raises(SparringError, match="held_out"):
        split_at_random([theorem("t")], 0, held_out)
