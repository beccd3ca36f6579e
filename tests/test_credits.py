"""Advantages against numbers worked out by hand and against TRL's, and which answers of a group they are given to."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.game import Attempt, Bout, Credit
from sparring.learners.credits import ADVANTAGES, balanced, credit_group, leave_one_out, over_mean, sides, standardised
from sparring.learners.losses import CREDIT_LOSSES
from tests.test_lessons import NAN, bout_of

scores = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


def credited(group: tuple[Credit, ...]) -> list[tuple[str, float]]:
    return [(credit.completion.text, credit.advantage) for credit in group]


def test_every_loss_of_single_answers_has_its_advantages():
    assert set(ADVANTAGES) == set(CREDIT_LOSSES)


def test_advantages_worked_out_by_hand():
    """Mean 2; without 1 the others have mean 7/3, and so on; the squares of -1, 0, -1, 2 make 6 and the deviation sqrt(2)."""
    assert over_mean([1, 2, 1, 4]) == [-1, 0, -1, 2]
    assert leave_one_out([1, 2, 1, 4]) == pytest.approx([1 - 7 / 3, 0, 1 - 7 / 3, 4 - 4 / 3])
    assert standardised([1, 2, 1, 4]) == pytest.approx([value / (math.sqrt(2) + 1e-4) for value in (-1, 0, -1, 2)])
    assert sides([1, 2, 1, 4]) == [-1, 0, -1, 1]
    assert sides([0.3, 0.1, 0.2]) == [1, -1, 0], "the mean is not 0.2 to the last bit"


@given(scores=scores)
def test_leaving_one_out_is_the_mean_baseline_times_n_over_n_less_one(scores: list[float]):
    """eva's baseline and RLOO's differ by a factor that is the same for all groups of a run."""
    n = len(scores)
    assert leave_one_out(scores) == pytest.approx([n / (n - 1) * value for value in over_mean(scores)], abs=1e-9)


@given(scores=scores, shift=st.floats(-50, 50))
def test_advantages_sum_to_nothing_and_do_not_see_a_shift(scores: list[float], shift: float):
    for advantages in (over_mean, leave_one_out, standardised):
        assert sum(advantages(scores)) == pytest.approx(0, abs=1e-7)
        assert advantages([score + shift for score in scores]) == pytest.approx(advantages(scores), abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_standardised_advantages_are_trls():
    torch, utils = pytest.importorskip("torch"), pytest.importorskip("trl.trainer.utils")
    rewards = torch.tensor([[1.0, 2.0, 1.0, 4.0], [0.5, 0.25, 0.0, float("nan")]])
    deviation = utils.nanstd(rewards, dim=1)[:, None]
    theirs = (rewards - rewards.nanmean(1, keepdim=True)) / (deviation + 1e-4)
    assert standardised([1, 2, 1, 4]) == pytest.approx(theirs[0].tolist(), rel=1e-5)
    assert standardised([0.5, 0.25, 0.0]) == pytest.approx(theirs[1, :3].tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([1.0, 0.0, 0.5], [("a0", 0.5), ("a1", -0.5), ("a2", 0.0)]),
        # what the judge broke on is no zero: it leaves the group, and the others' baseline with it
        ([1.0, "timeout", 0.5], [("a0", 0.25), ("a2", -0.25)]),
        ([1.0, NAN, 0.5, math.inf], [("a0", 0.25), ("a2", -0.25)]),
        # nothing to tell apart
        ([0.5, 0.5, 0.5], []),
        ([0.5, "timeout", NAN], []),
        ([], []),
    ],
)
def test_who_gets_credit(scores: list[float | str], expected: list[tuple[str, float]]):
    assert credited(credit_group(bout_of(scores), over_mean)) == expected


def test_a_group_needs_a_difference_above_the_least():
    assert credit_group(bout_of([0.5, 0.25]), over_mean, min_margin=0.25) == ()
    assert len(credit_group(bout_of([0.5, 0.25]), over_mean, min_margin=0.2)) == 2


def test_a_broken_attempt_leaves_the_group():
    bout = bout_of([0.0, 1.0, 0.5])
    broken = replace(bout.attempts[0], fault="server gone")
    group = credit_group(Bout(task=bout.task, attempts=(broken, *bout.attempts[1:]), verdicts=bout.verdicts), over_mean)
    assert credited(group) == [("a1", 0.25), ("a2", -0.25)]
    no_call = (Attempt(answer="from nowhere"),) * 3
    assert credit_group(Bout(task=bout.task, attempts=no_call, verdicts=bout.verdicts), over_mean) == ()


def test_a_credit_says_where_it_comes_from():
    bout = bout_of([0.0, 1.0], text="Reverse the word stone.")
    first, _ = credit_group(bout, over_mean, created=True)
    sample = bout.attempts[0].samples[0]
    assert first == Credit(task=bout.task.id, prompt="Reverse the word stone.", completion=sample, advantage=-0.5, created=True)


@given(groups=st.lists(scores, min_size=1, max_size=5))
def test_good_and_bad_answers_weigh_the_same(groups: list[list[float]]):
    credits = [credit for group in groups for credit in credit_group(bout_of(group), sides)]
    weights = [credit.advantage for credit in balanced(credits)]
    assert sum(weights) == pytest.approx(0, abs=1e-9)
    assert sum(map(abs, weights)) == pytest.approx(len(weights))
    assert [math.copysign(1, weight) for weight in weights] == [credit.advantage for credit in credits if credit.advantage]


def test_one_good_answer_among_three_bad_ones():
    """Four answers: the good one weighs 4 / (2 * 1), a bad one 4 / (2 * 3)."""
    credits = balanced(credit_group(bout_of([1.0, 0.0, 0.0, 0.0]), sides))
    assert [credit.advantage for credit in credits] == pytest.approx([2, -2 / 3, -2 / 3, -2 / 3])
    alone = [credit for credit in credits if credit.advantage > 0]
    assert balanced(alone) == alone  # there is nothing to balance with
