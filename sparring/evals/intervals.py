"""Intervals for means and for paired differences: percentile bootstrap, seeded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

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


def two_level_bootstrap(table: Sequence[Sequence[float]], level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of a table (a row per training seed, a column per task) with a percentile interval; NaN for an empty one.

    Seeds are resampled, then tasks, the same tasks under every seed: the interval is about another training run judged on other
    tasks. With few seeds it is too narrow; with one it is an interval over tasks alone. ValueError for rows of unequal length.
    """
    data = np.asarray(table, dtype=np.float64)
    if not data.size:
        return Interval(math.nan, math.nan, math.nan)
    seeds, tasks = data.shape
    seed_counts, task_counts = _draws(seeds, tasks, resamples, seed)
    means = np.einsum("rt,rt->r", seed_counts @ data, task_counts) / (seeds * tasks)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(data.mean()), float(low), float(high))


@lru_cache(maxsize=4)
def _draws(seeds: int, tasks: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed and each task is drawn in each resample; kept, since a report has many tables of one shape."""
    rng = np.random.default_rng(seed)
    seed_counts, task_counts = np.zeros((resamples, seeds)), np.zeros((resamples, tasks))
    for row in range(resamples):
        seed_counts[row] = np.bincount(rng.integers(0, seeds, seeds), minlength=seeds)
        task_counts[row] = np.bincount(rng.integers(0, tasks, tasks), minlength=tasks)
    return seed_counts, task_counts
