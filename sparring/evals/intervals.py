"""Intervals for means and for paired differences: percentile bootstrap, seeded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparring.game import stable_hash


@dataclass(frozen=True)
class Interval:
    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], level: float = 0.95, resamples: int = 1000, seed: int = 0) -> Interval:
    """The mean of ``values`` with a percentile interval; NaN for none. One value per item (tasks, or seeds).

    Items are what was drawn by chance: an interval over tasks says nothing of another training run. Where all values are equal
    the interval has no width, which is too sure of itself for few items.
    """
    if not len(values):
        return Interval(math.nan, math.nan, math.nan)
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(stable_hash(seed, "bootstrap"))
    # One resample at a time: all at once would need resamples x items in memory.
    means = [data[rng.integers(0, len(data), size=len(data))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(data.mean()), float(low), float(high))


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """The mean of a - b over the same items in the same order; ValueError for lists of different lengths."""
    return bootstrap([x - y for x, y in zip(a, b, strict=True)], level, resamples, seed)
