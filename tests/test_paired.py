"""McNemar's exact test against numbers worked out by hand and against its definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.evals.paired import mcnemar


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (0, 5, 2 / 32),
        (1, 9, 2 * (1 + 10) / 1024),
        (2, 6, 2 * (1 + 8 + 28) / 256),
        (5, 5, 1.0),  # the two tails overlap
    ],
)
def test_known_splits(only_a: int, only_b: int, p: float):
    assert mcnemar(only_a, only_b) == pytest.approx(p, abs=5e-5)
    assert mcnemar(only_b, only_a) == mcnemar(only_a, only_b)


@given(st.integers(0, 60), st.integers(0, 60))
def test_it_is_the_chance_of_a_split_at_least_as_uneven(only_a: int, only_b: int):
    count = only_a + only_b
    uneven = sum(math.comb(count, k) for k in range(count + 1) if abs(2 * k - count) >= abs(only_a - only_b))
    assert mcnemar(only_a, only_b) == pytest.approx(uneven / 2**count)


def test_large_counts_agree_with_the_normal_approximation():
    # With the correction for continuity: z = (|a - b| - 1) / sqrt(a + b)
    z = (2600 - 2400 - 1) / math.sqrt(5000)
    assert mcnemar(2600, 2400) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)


def test_counts_are_not_negative():
    with pytest.raises(ValueError, match="at least 0"):
        mcnemar(-1, 3)
