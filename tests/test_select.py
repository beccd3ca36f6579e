"""Which prompts are drawn: every metric against numbers worked out by hand, every draw against what it promises."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.config import Draw, Metric
from sparring.creators.select import DRAWS, METRICS, draw, estimate, weights_of

NAN = math.nan

# Six prompts with four answers each.
REWARDS_PN = np.array(
    [
        [0.2, 0.8, 0.5, 0.5],  # mean 0.5; distances to it 0.3, 0.3, 0, 0
        [1.0, 1.0, 0.0, 0.0],  # half of the answers pass; two are best
        [0.4, 0.4, 0.4, 0.4],  # a tie
        [1.0, NAN, 0.0, NAN],  # two broken judgements
        [NAN, 0.6, NAN, NAN],  # a single answer
        [NAN, NAN, NAN, NAN],  # none
    ]
)
WORKED = {
    "min": [0.6, 1.0, 0.0, 1.0, 0.0, NAN],
    "avg": [0.3, 0.5, 0.0, 0.5, 0.0, NAN],
    "dts": [0.3, 0.0, 0.0, 1.0, 0.0, NAN],
    "uniform": [1.0, 1.0, 1.0, 1.0, 1.0, NAN],
    "var": [0.045, 0.25, 0.0, 0.25, 0.0, NAN],
    "mean": [0.5, 0.5, 0.4, 0.5, 0.6, NAN],
    # the mean of the means is 0.5, a tenth of it 0.05
    "inv_mean": [1 / 0.55, 1 / 0.55, 1 / 0.45, 1 / 0.55, 1 / 0.65, NAN],
    # the mean of the gaps is 2.6 / 5, a tenth of it 0.052
    "inv_min": [1 / 0.652, 1 / 1.052, 1 / 0.052, 1 / 1.052, 1 / 0.052, NAN],
    "pass": [0.0, 1.0, 0.0, 1.0, 0.0, NAN],
}


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_by_hand(metric: str):
    assert estimate(metric, REWARDS_PN) == pytest.approx(WORKED[metric], nan_ok=True, abs=1e-12)


def test_a_recipe_can_name_every_metric_and_every_draw():
    assert set(METRICS) == set(get_args(Metric))
    assert set(DRAWS) == set(get_args(Draw))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("min", 2.0), ("avg", 1.0), ("dts", 1.0), ("var", 0.5), ("mean", -2.0), ("uniform", 1.0), ("pass", 0.0)],
)
def test_negative_rewards(metric: str, expected: float):
    assert estimate(metric, np.array([[-3.0, -1.0, -2.0, -2.0]])) == pytest.approx([expected])


def test_the_inverse_of_negative_means_lifts_the_lowest_to_zero():
    # means -3 and -1 become 0 and 2, a tenth of whose mean is 0.1
    assert estimate("inv_mean", np.array([[-3.0, -3.0], [-1.0, -1.0]])) == pytest.approx([1 / 0.1, 1 / 2.1])


@pytest.mark.parametrize("metric", ["min", "avg", "dts", "var"])
def test_a_tie_is_exactly_zero_whatever_the_mean_rounds_to(metric: str):
    # The mean of six times 0.1 is not 0.1 in floating point.
    assert estimate(metric, np.full((1, 6), 0.1)).tolist() == [0.0]


@pytest.mark.parametrize("metric", METRICS)
def test_pools_in_which_all_tie_are_drawn_uniformly(metric: str):
    weight_P = weights_of(estimate(metric, np.full((4, 6), 0.1)))
    assert weight_P.tolist() == [0.25] * 4


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_no_prompts_or_no_answers(metric: str, shape: tuple[int, int]):
    info_P = estimate(metric, np.empty(shape))
    assert len(info_P) == shape[0]
    assert np.isnan(info_P).all()
    assert draw(info_P, 2).tolist() == []


# ------------------------------------------------------------------------------------------------------------ weights


def test_weights_by_hand():
    assert weights_of(np.array([0.2, 0.6, NAN, 0.0])) == pytest.approx([0.25, 0.75, 0.0, 0.0])
    # Lifted: 0, 1, 3 above the lowest, and each a third of the range of 3 more; 1 + 2 + 4 = 7.
    assert weights_of(np.array([-2.0, -1.0, NAN, 1.0])) == pytest.approx([1 / 7, 2 / 7, 0.0, 4 / 7])
    assert weights_of(np.array([0.0, NAN, 0.0])).tolist() == [0.5, 0.0, 0.5]
    assert weights_of(np.array([NAN, NAN])).tolist() == [0.0, 0.0]


def test_the_least_informative_prompt_keeps_a_chance():
    # Min-max scaling would take it away, from a gap as from a score below zero.
    gaps_P = estimate("min", np.array([[0.1, 0.2], [0.1, 0.5], [0.0, 1.0]]))
    assert weights_of(gaps_P).min() == pytest.approx(0.1 / 1.5)
    assert weights_of(estimate("mean", np.array([[-5.0, -5.0], [-1.0, -2.0], [0.5, 2.0]]))).min() > 0


# Broken judgements come as NaN; an infinite reward is as broken.
REWARD = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, NAN, math.inf, -math.inf]))
TABLES = st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(REWARD, min_size=n, max_size=n), min_size=1, max_size=12))


@settings(deadline=None, max_examples=60)
@given(table=TABLES, metric=st.sampled_from(sorted(METRICS)), method=st.sampled_from(sorted(DRAWS)), share=st.floats(0, 1))
def test_nan_never_reaches_a_weight(table: list[list[float]], metric: str, method: str, share: float):
    rewards_PN = np.array(table)
    info_P = estimate(metric, rewards_PN)
    judged_P = np.array([np.isfinite(row).any() for row in rewards_PN])
    assert (np.isfinite(info_P) == judged_P).all()
    weight_P = weights_of(info_P)
    assert np.isfinite(weight_P).all()
    assert (weight_P >= 0).all()
    assert (weight_P[~judged_P] == 0).all()
    assert weight_P.sum() == pytest.approx(float(judged_P.any()))

    count = round(share * len(table))
    chosen = draw(info_P, count, method, uniform=share)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, judged_P.sum())
    assert judged_P[chosen].all()


# -------------------------------------------------------------------------------------------------------------- draws


def inclusion_by_hand(weight_P: list[float], count: int) -> list[float]:
    """Chance of each to be among ``count`` successive draws, by adding up every ordered outcome."""
    chance_P = [0.0] * len(weight_P)
    for order in itertools.permutations(range(len(weight_P)), count):
        left, chance = sum(weight_P), 1.0
        for index in order:
            chance *= weight_P[index] / left
            left -= weight_P[index]
        for index in order:
            chance_P[index] += chance
    return chance_P


def inclusion(info_P: list[float], count: int, method: str = "weighted", uniform: float = 0.0, draws: int = 4000) -> np.ndarray:
    counts_P = np.zeros(len(info_P))
    for seed in range(draws):
        counts_P[draw(np.array(info_P), count, method, uniform, seed)] += 1
    return counts_P / draws


def test_weighted_draws_are_successive_draws_without_replacement():
    info_P = [0.1, 0.2, 0.3, 0.4]
    # 4000 draws: a standard deviation is at most 0.008.
    assert inclusion(info_P, 2) == pytest.approx(inclusion_by_hand(info_P, 2), abs=0.032)


def test_the_first_drawn_is_drawn_by_weight():
    first = [int(draw(np.array([1.0, 3.0]), 2, seed=seed)[0]) for seed in range(2000)]
    assert np.mean(first) == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize("method", ["weighted", "greedy"])
def test_prompts_without_weight_come_last_and_by_chance(method: str):
    # Two prompts have a gap and three are wanted: the third is any of the ties, not the first in the file.
    chance_P = inclusion([0.0, 0.5, 0.0, 0.5, 0.0], 3, method, draws=2000)
    assert chance_P == pytest.approx([1 / 3, 1.0, 1 / 3, 1.0, 1 / 3], abs=0.045)


def test_greedy_takes_the_best_in_order():
    assert draw(np.array([0.3, NAN, 0.9, 0.1, 0.5]), 3, "greedy").tolist() == [2, 4, 0]


def test_stratified_takes_the_same_number_from_each_tenth():
    info_P = np.random.default_rng(0).permutation(np.arange(1.0, 41.0))  # tenths: 40..37, 36..33, ...
    for count, expected in ((20, [2] * 10), (13, [2, 2, 2, *[1] * 7]), (3, [1, 1, 1, *[0] * 7])):
        values = info_P[draw(info_P, count, "stratified")]
        assert [int(((values > 36 - 4 * tenth) & (values <= 40 - 4 * tenth)).sum()) for tenth in range(10)] == expected


def test_stratified_ignores_the_score_within_a_tenth():
    assert inclusion(list(range(40)), 10, "stratified", draws=1000) == pytest.approx([0.25] * 40, abs=0.07)


def test_a_uniform_share_ignores_the_score():
    info_P = [4.0, 3.0, 2.0, 1.0]
    assert inclusion(info_P, 2, "greedy", uniform=1.0, draws=2000) == pytest.approx([0.5] * 4, abs=0.045)
    # One of two by score, the other by chance from the rest.
    assert inclusion(info_P, 2, "greedy", uniform=0.5, draws=2000) == pytest.approx([1.0, 1 / 3, 1 / 3, 1 / 3], abs=0.045)


@pytest.mark.parametrize("method", DRAWS)
def test_the_seed_decides(method: str):
    info_P = np.random.default_rng(1).random(50)
    one, same, other = (draw(info_P, 20, method, uniform=0.3, seed=seed).tolist() for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("method", DRAWS)
def test_fewer_known_than_asked(method: str):
    info_P = np.array([NAN, 0.5, NAN, 0.0, 2.0])
    assert sorted(draw(info_P, 10, method).tolist()) == [1, 3, 4]
    assert draw(info_P, 0, method).tolist() == []
    assert draw(np.full(3, NAN), 2, method).tolist() == []
