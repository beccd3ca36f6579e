"""A test for two players judged right or wrong on the same items."""

from __future__ import annotations


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p-value of McNemar's test; ValueError for a negative count.

    ``only_a`` and ``only_b`` count the items that one of the two alone got right. Were both equally good, each such item would
    fall to either by a fair coin; p is the chance of a split at least as uneven, 1 where there are no such items. Items are
    taken as independent: pairs that share an item or a training run are not, and p is then too small.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"counts are {only_a} and {only_b}; both must be at least 0")
    count, term, tail = only_a + only_b, 1, 0
    for k in range(min(only_a, only_b) + 1):
        tail += term
        term = term * (count - k) // (k + 1)  # the next binomial coefficient
    return min(1.0, 2 * tail / 2**count)
