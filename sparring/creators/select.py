"""Which prompts can the solver learn from? Estimate how informative each is, then draw (arXiv 2411.00062 sec. 3.1, 3.2).

Shapes: P prompts, N answers per prompt. Rewards of broken judgements are NaN (an infinite one is broken too): they count as
if the answer did not exist. A prompt without any judged answer has the score NaN and is never drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sparring.game import stable_hash

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def _best(rewards_PN: Floats) -> Floats:
    return np.fmax.reduce(rewards_PN, axis=1)  # NaN only where all are


def _worst(rewards_PN: Floats) -> Floats:
    return np.fmin.reduce(rewards_PN, axis=1)


def _mean(rewards_PN: Floats) -> Floats:
    ok_PN = ~np.isnan(rewards_PN)
    count_P = ok_PN.sum(axis=1)
    return np.where(ok_PN, rewards_PN, 0.0).sum(axis=1) / np.where(count_P > 0, count_P, np.nan)


def _below_best(rewards_PN: Floats) -> Floats:
    """Exactly 0 throughout a tie, where a difference to the mean would be rounding noise that a draw mistakes for a score."""
    return _best(rewards_PN)[:, None] - rewards_PN


def _min(rewards_PN: Floats) -> Floats:
    """A*_min: best minus worst, the offline regret proxy (sec. 3.1)."""
    return _best(rewards_PN) - _worst(rewards_PN)


def _avg(rewards_PN: Floats) -> Floats:
    """A*_avg: best minus mean."""
    return _mean(_below_best(rewards_PN))


def _dts(rewards_PN: Floats) -> Floats:
    """A*_dts: best minus second best (duelling Thompson sampling); 0 for a single answer."""
    best_P = _best(rewards_PN)
    if rewards_PN.shape[1] < 2:
        return best_P - best_P
    second_P = np.partition(np.where(np.isnan(rewards_PN), -np.inf, rewards_PN), -2, axis=1)[:, -2]
    return best_P - np.where(np.isneginf(second_P), best_P, second_P)


def _var(rewards_PN: Floats) -> Floats:
    """Of the answers at hand: divided by N, not N - 1, so 0 for a single answer."""
    below_PN = _below_best(rewards_PN)
    return _mean((below_PN - _mean(below_PN)[:, None]) ** 2)


def _inverse(values_P: Floats) -> Floats:
    """1/x, with x lifted to 0 and more, softened by a tenth of its mean so that a zero does not take the whole draw."""
    lifted_P = values_P - float(np.nanmin(values_P, initial=0.0))
    softening = 0.1 * float(np.nanmean(lifted_P)) if np.isfinite(lifted_P).any() else 0.0
    return 1.0 / (lifted_P + (softening or 1.0))


def _uniform(rewards_PN: Floats) -> Floats:
    return np.where(np.isnan(_best(rewards_PN)), np.nan, 1.0)


def _pass(rewards_PN: Floats) -> Floats:
    """4p(1-p) for the pass rate p, where a reward of 1 is a pass: most for tasks solved half of the time."""
    rate_P = _mean(np.where(np.isnan(rewards_PN), np.nan, rewards_PN >= 1.0))
    return 4.0 * rate_P * (1.0 - rate_P)


METRICS: dict[str, Callable[[Floats], Floats]] = {
    "min": _min,
    "avg": _avg,
    "dts": _dts,
    "uniform": _uniform,
    "var": _var,
    "mean": _mean,
    "inv_mean": lambda rewards_PN: _inverse(_mean(rewards_PN)),
    "inv_min": lambda rewards_PN: _inverse(_min(rewards_PN)),
    "pass": _pass,
}


def estimate(metric: str, rewards_PN: Floats) -> Floats:
    """Informativeness of each prompt [P]; NaN where no answer of it was judged."""
    if not rewards_PN.size:
        return np.full(len(rewards_PN), np.nan)
    return METRICS[metric](np.where(np.isfinite(rewards_PN), rewards_PN, np.nan))


def weights_of(info_P: Floats) -> Floats:
    """Sampling weights >= 0 that sum to 1 (or are all 0 where nothing may be drawn).

    NaN weighs nothing. Scores are weights as they are: a tie under a gap metric weighs 0, any gap keeps its share. Min-max
    scaling, as in the public code, would give the smallest gap 0 and divide zero by zero where all are equal; here equal
    scores weigh equally. Scores of which some are below zero are lifted so that the lowest weighs (high - low) / P.
    """
    known_P = np.isfinite(info_P)
    if not known_P.any():
        return np.zeros_like(info_P)
    low, high = float(info_P[known_P].min()), float(info_P[known_P].max())
    if high == low:
        weight_P = known_P.astype(np.float64)
    elif low < 0:
        weight_P = np.where(known_P, (info_P - low) + (high - low) / known_P.sum(), 0.0)
    else:
        weight_P = np.where(known_P, info_P, 0.0)
    return weight_P / weight_P.sum()


# The draws get weights in an order by chance, so that what ties is drawn by chance.


def _weighted(weight_P: Floats, count: int, rng: np.random.Generator) -> Indices:
    """Without replacement: the ``count`` largest of weight's log plus Gumbel noise (Efraimidis & Spirakis 2006).

    What weighs nothing comes after all that weighs something.
    """
    with np.errstate(divide="ignore"):
        return _greedy(np.log(weight_P) + rng.gumbel(size=len(weight_P)), count, rng)


def _greedy(weight_P: Floats, count: int, rng: np.random.Generator) -> Indices:
    return np.argsort(-weight_P, kind="stable")[:count]


def _stratified(weight_P: Floats, count: int, rng: np.random.Generator) -> Indices:
    """Ten bins of equal size by weight, the same number from each (one more from the most informative bins)."""
    bins = np.array_split(_greedy(weight_P, len(weight_P), rng), 10)
    members_P = np.concatenate([rng.permutation(members) for members in bins])
    place_P = np.concatenate([np.arange(len(members)) for members in bins])
    # The first of every bin, best bin first, then the second of every bin, and so on.
    return members_P[np.argsort(place_P, kind="stable")[:count]]


DRAWS: dict[str, Callable[[Floats, int, np.random.Generator], Indices]] = {
    "weighted": _weighted,
    "greedy": _greedy,
    "stratified": _stratified,
}


def draw(info_P: Floats, count: int, method: str = "weighted", uniform: float = 0.0, seed: int = 0) -> Indices:
    """Indices of ``count`` different prompts, in order of the draw; fewer where fewer have a known score.

    A share ``uniform`` of them is drawn without regard to the score, from what the metric left.
    """
    rng = np.random.default_rng(stable_hash(seed, "draw"))
    known = rng.permutation(np.flatnonzero(np.isfinite(info_P)))
    count = min(count, len(known))
    blind = round(uniform * count)
    chosen = DRAWS[method](weights_of(info_P[known]), count - blind, rng)
    left = np.ones(len(known), dtype=np.bool_)
    left[chosen] = False
    return np.concatenate([known[chosen], known[left][:blind]])
