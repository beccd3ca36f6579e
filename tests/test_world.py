"""The words world: what it asks, what it accepts, what it keeps apart. Nothing here depends on how its constants are tuned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.errors import SparringError
from sparring.game import Task, make_task
from sparring.worlds.operations import NUMBER_OPERATIONS, OPERATIONS, WORD_OPERATIONS, rarity
from sparring.worlds.splits import HARD, HUMAN, SIZES, draw_programs, held_out, split
from sparring.worlds.words import (
    ARROW,
    MAX_ANSWER_CHARS,
    MAX_DEPTH,
    Program,
    controls,
    describe,
    equivalence_key,
    grade,
    parse,
    read,
    run,
    say,
    show,
    similarity,
    task_of,
)


def drawn(seed: int, hard: bool = False) -> Program:
    return next(draw_programs(Random(seed), HARD if hard else HUMAN))


def task(text: str) -> Task:
    return make_task(text, meta=describe(parse(text)))


# -------------------------------------------------------------------------------------------------- text and programs

EXAMPLES = {
    "reverse": ("Reverse the word stone.", "enots"),
    "capitals": ("Write the word stone in capitals.", "STONE"),
    "drop_first": ("Drop the first letter of the word stone.", "tone"),
    "append": ("Put q after the word stone.", "stoneq"),
    "drop_last": ("Drop the last letter of the word stone.", "ston"),
    "count": ("Count the letters of the word stone.", "5"),
    "keep_first": ("Keep the first 3 letters of the word stone.", "sto"),
    "prepend": ("Put q before the word stone.", "qstone"),
    "change": ("Change t in the word settle to q.", "seqqle"),
    "roll": ("Move the last letter of the word stone to the front.", "eston"),
    "no_vowels": ("Remove the vowels from the word stone.", "stn"),
    "swap_ends": ("Swap the ends of the word stone.", "etons"),
    "sort_up": ("Sort the numbers 3 10 2.", "2 3 10"),
    "reverse_numbers": ("Reverse the numbers 3 10 2.", "2 10 3"),
    "largest": ("Find the largest of the numbers 3 10 2.", "10"),
    "add": ("Add 3 to each of the numbers 3 10 2.", "6 13 5"),
    "drop_first_number": ("Drop the first number of the numbers 3 10 2.", "10 2"),
    "put_number": ("Put 7 after the numbers 3 10 2.", "3 10 2 7"),
    "smallest": ("Find the smallest of the numbers 3 10 2.", "2"),
    "drop_last_number": ("Drop the last number of the numbers 3 10 2.", "3 10"),
    "double": ("Double each of the numbers 3 10 2.", "6 20 4"),
    "keep_even": ("Keep the even numbers of the numbers 3 10 2.", "10 2"),
    "swap_numbers": ("Swap the ends of the numbers 3 4 10 2.", "2 4 10 3"),
}


def test_there_are_a_dozen_operations_and_an_example_of_each():
    assert len(OPERATIONS) >= 12
    assert set(EXAMPLES) == set(OPERATIONS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_operations_by_hand(name: str):
    text, expected = EXAMPLES[name]
    program = parse(text)
    assert [step.op for step in program.steps] == [name]
    assert say(program) == text
    assert show(run(program)[-1]) == expected


def test_a_task_of_three_steps():
    text = "Reverse the word stone, then drop the first letter of it, then write it in capitals."
    assert [show(value) for value in run(parse(text))] == ["enots", "nots", "NOTS"]
    found = task(text)
    assert found.meta["input"] == "stone"
    assert found.meta["steps"] == ["enots", "nots", "NOTS"]
    assert found.meta["gold"] == "NOTS"
    assert found.meta["depth"] == 3


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**9), hard=st.booleans())
def test_text_and_program_determine_each_other(seed: int, hard: bool):
    program = drawn(seed, hard)
    assert parse(say(program)) == program
    assert say(parse(say(program))) == say(program)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**9), hard=st.booleans())
def test_every_step_of_a_proper_program_matters(seed: int, hard: bool):
    program = drawn(seed, hard)
    values = run(program)
    assert len({program.operand, *values}) == program.depth + 1
    assert 1 <= program.depth <= MAX_DEPTH


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" . ", "empty"),
        ("What is the capital of France?", "not an instruction of this world"),
        ("Reverse the word stone, then", "not an instruction of this world"),
        ("Reverse the word stone, then sort them.", "not an instruction of this world"),
        ("Reverse the word.", "not an instruction of this world"),
        ("Reverse the word stone. Reverse the word stone.", "not an instruction of this world"),
        ("Reverse the word stone, then reverse it.", "a step changes nothing or undoes another"),
        ("Sort the numbers 1 2 3.", "a step changes nothing or undoes another"),
        ("Count the letters of the word stone, then reverse it.", "goes on after a total"),
        ("Drop the first letter of the word a.", "a value is empty or too long"),
        ("Reverse the word abcdefghijklmnopqrstuvwxyz.", "operand too long"),
        ("Reverse the numbers 1 2 3 4 5 6 7.", "operand too long"),
    ],
)
def test_what_cannot_be_graded_says_why(text: str, reason: str):
    assert read(text) == reason


def test_too_deep():
    appended = "".join(f", then put {letter} after it" for letter in "abcdefghij"[: MAX_DEPTH - 1])
    assert isinstance(read(f"Put z after the word it{appended}."), dict)
    assert read(f"Put z after the word it{appended}, then reverse it.") == "too deep"


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["{}", "Sort the numbers {}.", "Put {} after the word stone."]), st.text(max_size=40))
def test_any_text_is_read_or_refused(frame: str, filling: str):
    text = frame.format(filling)
    found = read(text)
    assert isinstance(found, str) == (not isinstance(found, dict))
    if isinstance(found, dict):
        assert grade(make_task(text, meta=found), str(found["gold"]))[:2] == (1.0, True)


# ---------------------------------------------------------------------------------------------------- equivalent tasks


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("Reverse the word stone, then write it in capitals.", "Write the word stone in capitals, then reverse it.", True),
        ("Put q after the word stone, then put z before it.", "Put z before the word stone, then put q after it.", True),
        ("Reverse the word stone.", "Reverse the word store.", False),
        # the same answer, but only by chance
        ("Reverse the word level, then put q after it.", "Put q after the word level.", False),
        ("Drop the first letter of the word stone, then reverse it.", "Reverse the word stone, then drop the first letter of it.", False),
        ("Sort the numbers 3 1 2.", "Reverse the numbers 3 1 2.", False),
        ("Find the largest of the numbers 3 1 2.", "Find the smallest of the numbers 3 1 2.", False),
    ],
)  # fmt: skip
def test_equivalence(one: str, other: str, equal: bool):
    assert (equivalence_key(parse(one)) == equivalence_key(parse(other))) == equal


# ------------------------------------------------------------------------------------------------------------- grading

WORD = task("Reverse the word stone, then write it in capitals.")  # enots -> ENOTS
NUMBERS = task("Reverse the numbers 6 4 2, then put 9 after them.")  # 2 4 6 -> 2 4 6 9


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        *((WORD, text) for text in ("ENOTS", "  ENOTS\n", "ENOTS.", '"ENOTS"', "'ENOTS'.", "“ENOTS”", "`ENOTS`")),
        *((WORD, text) for text in ("enots -> ENOTS", "enots->ENOTS.", "stone -> enots -> 'ENOTS'", "wrong -> ENOTS")),
        *(
            (NUMBERS, text)
            for text in ("2 4 6 9", "2, 4, 6, 9", "2,4,6,9", "[2, 4, 6, 9]", "(2 4 6 9).", "2 4 6 -> [2, 4, 6, 9]")
        ),
    ],
)
def test_a_right_answer_in_any_dress(asked: Task, text: str):
    assert grade(asked, text) == (1.0, True, "right")


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        *((WORD, text) for text in ("enots", "Enots", "ENOT", "ENOTSS", "E N O T S", "ENOTS ENOTS", "ENOTS or STONE")),
        *((WORD, text) for text in ("ENOTS -> enots", "ENOTS ->", "The answer is ENOTS", "STONE", "ENOTS!", "", "->", '""')),
        *((NUMBERS, text) for text in ("2469", "2 4 6", "2 4 6 9 9", "9 6 4 2", "2 4 6 9 -> 2 4 6", "2.4.6.9", "2 4 6 nine")),
    ],
)
def test_a_near_miss_is_not_right(asked: Task, text: str):
    score, solved, note = grade(asked, text)
    assert 0.0 <= score <= 0.5
    assert not solved
    assert note


def test_notes():
    assert [grade(WORD, text)[2] for text in ("", "stone", "enots", "ENOTT", "xyz")] == [
        "empty",
        "input unchanged",
        "stops after step 1 of 2",
        "close",
        "wrong",
    ]
    assert grade(WORD, "ENOTS" + " " * MAX_ANSWER_CHARS)[::2] == (0.0, f"longer than {MAX_ANSWER_CHARS} characters")


def test_partial_credit_by_hand():
    # One of two steps: 0.5 / 2. One of four letters wrong where nothing on the way comes closer than half: 0.4 (0.8 - 0.5) / 0.5.
    assert grade(WORD, "enots")[0] == pytest.approx(0.25)
    assert grade(WORD, "ENOTT")[0] == pytest.approx(0.4 * 0.6)
    # The input alone is that close to the right answer, stoneq.
    assert grade(task("Put q after the word stone."), "stonex")[::2] == (0.0, "wrong")
    # It is 5/7 close to zstoneq, which is worth nothing, and so is the value on the way, stoneq, with its 6/7.
    assert grade(task("Put q after the word stone, then put z before it."), "xstoneq")[::2] == (0.0, "wrong")


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("stone", "stone", 1.0),
        ("stone", "store", 0.8),
        ("ab", "", 0.0),
        ("", "", 1.0),
        ("1 12 3", "1 3", 2 / 3),
        ("12", "21", 0.0),
    ],
)
def test_similarity_by_hand(a: str, b: str, expected: float):
    assert similarity(a, b) == pytest.approx(expected)
    assert similarity(b, a) == pytest.approx(expected)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**6), text=st.one_of(st.text(max_size=200), st.text("enotsENOTS12 ,[]->.", max_size=40)))
def test_every_score_lies_between_nothing_and_one(seed: int, text: str):
    score, solved, note = grade(task_of(drawn(seed)), text)
    assert 0.0 <= score <= 1.0
    assert solved == (score == 1.0)
    assert note


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_each_further_step_earns_more(seed: int):
    found = task_of(drawn(seed, hard=True))
    scores = [grade(found, value)[0] for value in found.meta["steps"]]
    assert scores == sorted(set(scores))
    assert scores[-2] < 0.5 < scores[-1]


def _everything(found: Task) -> list[str]:
    return [found.meta["input"], *found.meta["steps"]]


GAMES: dict[str, Callable[[Task], str]] = {
    "empty": lambda found: "",
    "an arrow": lambda found: ARROW,
    "copied input": lambda found: found.meta["input"],
    "copied task": lambda found: found.text,
    "gold, then the input": lambda found: found.meta["gold"] + ARROW + found.meta["input"],
    "all values": lambda found: " ".join(_everything(found)),
    "all values without spaces": lambda found: "".join(_everything(found)),
    "hidden": lambda found: f"I think that {found.meta['gold']} is the answer",
    "between": lambda found: f"{found.meta['input']} {found.meta['gold']} {found.meta['input']}",
    "twice": lambda found: f"{found.meta['gold']} {found.meta['gold']}",
    "long": lambda found: (found.meta["gold"] + " ") * 100,
    "gold at the end of something long": lambda found: "x" * MAX_ANSWER_CHARS + ARROW + found.meta["gold"],
    "the alphabet": lambda found: "abcdefghijklmnopqrstuvwxyz",
    "all numbers": lambda found: " ".join(map(str, range(13))),
    **{f"always {text}": lambda found, text=text: text for text in ("a", "stone", "ENOTS", "1 2 3", "yes", "3", "4", "5", "10")},
}


@pytest.mark.parametrize("name", GAMES)
def test_partial_credit_cannot_be_gamed(name: str):
    for place in ("human", "easy", "hard"):
        assert fmean(grade(found, GAMES[name](found))[0] for found in split(place)) < 0.05


def test_the_controls_are_ordered():
    for found, good, bad in controls():
        assert grade(found, good)[0] > grade(found, bad)[0]


# -------------------------------------------------------------------------------------------------------------- splits


def all_tasks() -> Iterator[Task]:
    return (found for name in SIZES for found in split(name))


def test_sizes():
    assert {name: len(split(name)) for name in SIZES} == SIZES
    assert len(split("human")) == 2000
    with pytest.raises(SparringError, match=r"no split 'test'; it has easy, hard, human, fresh"):
        split("test")


def test_every_task_can_be_graded():
    for found in all_tasks():
        program = parse(found.text)
        assert found.meta == describe(program)
        assert found.meta["gold"] == show(run(program)[-1])
        assert grade(found, found.meta["gold"]) == (1.0, True, "right")


def test_nothing_is_in_two_splits():
    assert max(Counter(found.id for found in all_tasks()).values()) == 1
    assert max(Counter(found.meta["key"] for found in all_tasks()).values()) == 1
    assert held_out() == {found.meta["key"] for name in ("easy", "hard") for found in split(name)}


def test_human_prompts_are_imbalanced():
    for name in ("human", "fresh", "easy"):
        tasks = split(name)
        depths = Counter(found.meta["depth"] for found in tasks)
        assert depths[1] > depths[2] > depths[3] > depths[5]
        assert depths[1] + depths[2] > 0.6 * len(tasks)
        used = Counter(op for found in tasks for op in found.meta["ops"])
        for family in (WORD_OPERATIONS, NUMBER_OPERATIONS):
            counts = [used[op.name] for op in family]
            third = len(family) // 3
            assert sum(counts[:third]) > 2 * sum(counts[-third:])
            assert max(counts) == counts[0]


def test_hard_prompts_are_deep_and_rare():
    def mean_rarity(name: str) -> float:
        return fmean(rarity(op) for found in split(name) for op in found.meta["ops"])

    assert {found.meta["depth"] for found in split("hard")} == {3, 4, 5}
    assert mean_rarity("hard") > mean_rarity("human") + 0.2


def test_rarity_goes_from_nothing_to_one():
    for family in (WORD_OPERATIONS, NUMBER_OPERATIONS):
        ranks = [rarity(op.name) for op in family]
        assert ranks[0] == 0.0
        assert ranks[-1] == 1.0
        assert ranks == sorted(ranks)
