"""Bootstrap intervals against what is known of them: the normal interval, coverage, the gain of pairing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sparring.evals.intervals import Interval, bootstrap, paired_bootstrap

RNG_SEED = 7


def test_large_samples_agree_with_the_normal_interval():
    values = np.random.default_rng(RNG_SEED).normal(3.0, 2.0, size=2000).tolist()
    found = bootstrap(values, level=0.95, resamples=2000)
    half_width = 1.96 * float(np.std(values)) / math.sqrt(len(values))
    assert found.mean == pytest.approx(np.mean(values))
    # Quantiles of 2000 resamples are themselves known to about 3 % of the width.
    assert found.low == pytest.approx(found.mean - half_width, abs=0.1 * half_width)
    assert found.high == pytest.approx(found.mean + half_width, abs=0.1 * half_width)


def test_a_higher_level_is_wider():
    values = np.random.default_rng(RNG_SEED).random(100).tolist()
    narrow, wide = bootstrap(values, level=0.5), bootstrap(values, level=0.99)
    assert wide.low < narrow.low < narrow.mean == wide.mean < narrow.high < wide.high


def test_nineteen_of_twenty_intervals_hold_the_truth():
    rng = np.random.default_rng(RNG_SEED)
    intervals = [bootstrap((rng.random(60) < 0.3).astype(float).tolist(), resamples=200, seed=trial) for trial in range(200)]
    covered = np.mean([interval.low <= 0.3 <= interval.high for interval in intervals])
    assert 0.90 <= covered <= 0.98


def test_pairing_is_tighter_where_items_are_hard_for_both():
    rng = np.random.default_rng(RNG_SEED)
    difficulty = rng.normal(0.0, 1.0, size=300)
    a = (difficulty + 0.2 + rng.normal(0.0, 0.1, size=300)).tolist()
    b = (difficulty + rng.normal(0.0, 0.1, size=300)).tolist()
    paired = paired_bootstrap(a, b)
    alone = bootstrap(a)
    assert paired.mean == pytest.approx(np.mean(a) - np.mean(b))
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)
    assert paired.low > 0  # the difference is seen; from the two intervals alone it is not
    assert bootstrap(b).high > alone.low


def test_few_values():
    none = bootstrap([])
    assert all(math.isnan(number) for number in (none.mean, none.low, none.high))
    assert bootstrap([0.5]) == Interval(0.5, 0.5, 0.5)
    assert bootstrap([1.0] * 10) == Interval(1.0, 1.0, 1.0)


def test_pairs_must_match():
    with pytest.raises(ValueError, match="longer"):
        paired_bootstrap([1.0, 2.0], [1.0, 2.0, 3.0])


def test_the_seed_decides():
    values = np.random.default_rng(RNG_SEED).random(50).tolist()
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)
