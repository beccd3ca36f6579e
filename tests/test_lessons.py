"""What a round teaches: the best answer against the worst, in the promised mixture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Credit, Demo, Lesson, Pair, Sample, Verdict, make_task
from sparring.learners.lessons import best_against_worst, bradley_terry, mix, pairs_of, win_rates
from sparring.records import LESSONS, read_parquet, write_parquet

NAN = math.nan


def bout_of(scores: Sequence[float | str], text: str = "a task") -> Bout:
    """Answers a0, a1, ...; a word in place of a score is a fault of the judge."""
    attempts = tuple(
        Attempt(answer=f"a{place}", samples=(Sample(role="solver", text=f"a{place}"),)) for place, _ in enumerate(scores)
    )
    verdicts = tuple(
        Verdict(score=0.0, solved=False, fault=score) if isinstance(score, str) else Verdict(score=score, solved=score == 1)
        for score in scores
    )
    return Bout(task=make_task(text), attempts=attempts, verdicts=verdicts)


def taught(scores: Sequence[float | str], min_margin: float = 0.0) -> tuple[str, str, float] | None:
    pair = best_against_worst(bout_of(scores), min_margin)
    return pair and (pair.chosen.text, pair.rejected.text, pair.margin)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.25, 0.75, 0.0, 0.5], ("a1", "a2", 0.75)),
        ([-3.0, -1.0], ("a1", "a0", 2.0)),
        # the first of equals on both sides
        ([1.0, 0.0, 1.0, 0.0], ("a0", "a1", 1.0)),
        # ties teach nothing, nor does an answer alone, nor none
        ([0.5, 0.5, 0.5], None),
        ([1.0], None),
        ([], None),
        # what the judge broke on is neither the worst nor the best
        (["timeout", 0.75, 0.5], ("a1", "a2", 0.25)),
        (["timeout", 0.75], None),
        (["timeout", "timeout"], None),
        # a judge that lets a NaN or an infinity through is not believed
        ([NAN, 0.75, 0.5, NAN], ("a1", "a2", 0.25)),
        ([0.75, NAN], None),
        ([math.inf, 0.75, -math.inf, 0.5], ("a1", "a3", 0.25)),
    ],
)
def test_best_against_worst(scores: list[float | str], expected: tuple[str, str, float] | None):
    assert taught(scores) == expected


def test_a_margin_must_be_above_the_least():
    assert taught([0.5, 0.25], min_margin=0.25) is None
    assert taught([0.5, 0.25], min_margin=0.2) == ("a0", "a1", 0.25)


def test_a_broken_attempt_is_not_taught_whatever_its_score():
    bout = bout_of([0.0, 1.0, 0.5])
    broken = Attempt(answer="", samples=bout.attempts[0].samples, fault="server gone")
    no_call = Attempt(answer="from nowhere")
    pair = best_against_worst(Bout(task=bout.task, attempts=(broken, *bout.attempts[1:]), verdicts=bout.verdicts))
    assert pair is not None
    assert (pair.chosen.text, pair.rejected.text) == ("a1", "a2")
    assert best_against_worst(Bout(task=bout.task, attempts=(broken, no_call, bout.attempts[2]), verdicts=bout.verdicts)) is None


def test_the_prompt_is_what_the_solver_was_shown():
    bout = bout_of([0.0, 1.0], "Who won?")
    shown = Bout(task=make_task("Who won?", context="A report."), attempts=bout.attempts, verdicts=bout.verdicts)
    pair = best_against_worst(shown)
    assert pair is not None
    assert pair.prompt == "A report.\n\nWho won?"


def test_an_answer_whose_tokens_all_went_into_hidden_thoughts_is_not_taught():
    """Nothing of it can be taught, and a mean over its tokens is no number. An empty answer that ended by itself has its end."""
    bout = bout_of([0.0, 1.0])
    for finish, is_taught in (("length", False), ("stop", True)):
        empty = Attempt(answer="", samples=(Sample(role="solver", text="", finish=finish),))
        pair = best_against_worst(Bout(task=bout.task, attempts=(empty, bout.attempts[1]), verdicts=bout.verdicts))
        assert (pair is not None) == is_taught


def test_a_pair_says_where_it_comes_from():
    bout = bout_of([0.0, 1.0], text="Reverse the word stone.")
    assert pairs_of([bout, bout_of([1.0, 1.0])], created=True) == [
        Pair(
            task=bout.task.id,
            prompt="Reverse the word stone.",
            chosen=bout.attempts[1].samples[0],
            rejected=bout.attempts[0].samples[0],
            margin=1.0,
            created=True,
        )
    ]
    assert not pairs_of([bout])[0].created


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(st.floats(), st.just("fault")), max_size=6))
def test_a_pair_has_a_margin_and_no_fault(scores: list[float | str]):
    pair = best_against_worst(bout_of(scores))
    numbers = [score for score in scores if not isinstance(score, str) and math.isfinite(score)]
    if pair is None:
        assert len(set(numbers)) < 2
    else:
        assert pair.margin > 0
        assert scores[int(pair.chosen.text[1:])] == max(numbers)
        assert scores[int(pair.rejected.text[1:])] == min(numbers)


# ------------------------------------------------------------------------------------------------------------ mixture


def some(count: int, created: bool) -> list[Pair]:
    return pairs_of([bout_of([1.0, 0.0], f"{created} {number}") for number in range(count)], created=created)


@pytest.mark.parametrize(
    ("created", "original", "expected"),
    [
        (500, 500, (80, 20)),
        (30, 500, (30, 70)),  # too few created: human prompts make up for them
        (500, 5, (95, 5)),  # and the other way round
        (30, 5, (30, 5)),  # too few of both: all there are
        (0, 500, (0, 100)),
        (500, 0, (100, 0)),
        (0, 0, (0, 0)),
    ],
)
def test_mixture_of_eighty_to_twenty(created: int, original: int, expected: tuple[int, int]):
    mixed = mix(some(created, True), some(original, False), share=0.8, total=100, seed=0)
    assert (sum(pair.created for pair in mixed), sum(not pair.created for pair in mixed)) == expected


@settings(deadline=None, max_examples=60)
@given(
    created=st.integers(0, 12),
    original=st.integers(0, 12),
    share=st.floats(0, 1),
    total=st.integers(0, 20),
    seed=st.integers(0, 9),
)
def test_the_budget_is_kept_and_nothing_is_taught_twice(created: int, original: int, share: float, total: int, seed: int):
    pools = some(created, True), some(original, False)
    mixed = mix(*pools, share=share, total=total, seed=seed)
    assert len(mixed) == min(total, created + original)
    assert len({pair.task for pair in mixed}) == len(mixed)
    assert mixed == mix(*pools, share=share, total=total, seed=seed)


def test_another_seed_mixes_other_pairs():
    pools = some(50, True), some(50, False)
    assert mix(*pools, share=0.5, total=20, seed=1) != mix(*pools, share=0.5, total=20, seed=2)


# ------------------------------------------------------------------------------------------------ who beats whom


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_a_pairwise_judges_scores_are_win_rates():
    pair = best_against_worst(bout_of([0.25, "timeout", 0.75, 0.5]), wins=win_rates)
    assert pair is not None
    assert pair.wins == (0.75, 0.25)
    with pytest.raises(SparringError, match=r"1\.5 is no win rate.*judge\.scale to 1"):
        best_against_worst(bout_of([0.25, 1.5]), wins=win_rates)


def test_a_reward_models_scores_are_odds():
    """Scores 3, 0 and 1: the best beats the others with sigmoid(3) and sigmoid(2)."""
    pair = best_against_worst(bout_of([3.0, 0.0, 1.0]), wins=bradley_terry)
    assert pair is not None
    chosen, rejected = (sigmoid(3) + sigmoid(2)) / 2, (sigmoid(-3) + sigmoid(-1)) / 2
    assert pair.wins == (pytest.approx(chosen), pytest.approx(rejected))


@given(scores=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=6))
def test_win_rates_of_a_group_lie_around_one_half(scores: list[float]):
    rates = bradley_terry(scores)
    assert all(0 <= rate <= 1 for rate in rates)
    assert sum(rates) == pytest.approx(len(scores) / 2)
    assert max(rates) == rates[scores.index(max(scores))]


# ------------------------------------------------------------------------------------------------ on disk

SAMPLE = Sample(role="solver", prompt_ids=(1, 2), token_ids=(3,), logprobs=(-0.5,), text="a", finish="length")
KNOWN = Pair(task="t", prompt="p", chosen=SAMPLE, rejected=SAMPLE, margin=0.5, created=True, wins=(0.75, 0.25))
UNKNOWN = Pair(task="t", prompt="p", chosen=SAMPLE, rejected=SAMPLE, margin=0.5)
DEMO = Demo(prompt="p", completion="c", weight=2.0)


def test_credits_and_win_rates_come_back_as_they_were(tmp_path: Path):
    lessons: list[Lesson] = [
        Credit(task="t", prompt="p", completion=SAMPLE, advantage=-1.25, created=True),
        Credit(task="t", prompt="p", completion=Sample(role="solver", text="b"), advantage=0.0),
        KNOWN,
        UNKNOWN,
        DEMO,
    ]
    write_parquet(tmp_path / "a", lessons, LESSONS)
    assert read_parquet(tmp_path / "a", LESSONS) == lessons


def test_lessons_of_before_credits_are_read(tmp_path: Path):
    (older,) = LESSONS.older
    assert {"wins", "advantage"}.isdisjoint(older.names)
    rows = [{name: LESSONS.to_row(lesson)[name] for name in older.names} for lesson in (UNKNOWN, DEMO)]
    pq.write_table(pa.Table.from_pylist(rows, schema=older), tmp_path / "old", write_page_checksum=True)
    assert read_parquet(tmp_path / "old", LESSONS) == [UNKNOWN, DEMO]
