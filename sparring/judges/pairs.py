"""All against all: which answers to compare with one another, and what they won."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

Order = tuple[int, int]
"""Two answers of a group, the one that is shown first and the one that is shown second."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What an answer won of its pairs. ``win_rate``: a tie counts half; None where fewer than half of its pairs were judged.

    ``flipped``: pairs in which the better answer was another one when the order was turned around.
    """

    win_rate: float | None
    judged: int
    pairs: int
    flipped: int


@dataclass(slots=True)
class PositionBias:
    """What the order of two answers did to verdicts, over all pairs judged so far in both orders.

    ``pairs`` of different answers, ``flipped`` among them; ``first`` of the ``decided`` verdicts preferred the answer shown first.
    """

    pairs: int = 0
    flipped: int = 0
    decided: int = 0
    first: int = 0

    def add(self, won: Mapping[Order, float | None]) -> None:
        """Counts the comparisons of one group: what the first answer of each order won."""
        for (first, second), there in won.items():
            back = won.get((second, first))
            if there is None or back is None:
                continue
            self.decided += there != 0.5
            self.first += there == 1.0
            if first < second:
                self.pairs += 1
                self.flipped += there != 1 - back

    @property
    def flip_rate(self) -> float | None:
        """Share of pairs whose verdict depends on the order; 0 for a judge without bias, None before the first pair."""
        return self.flipped / self.pairs if self.pairs else None

    @property
    def first_rate(self) -> float | None:
        """Share of wins that went to the answer shown first; 0.5 for a judge without bias, None before the first win."""
        return self.first / self.decided if self.decided else None


def orders_of(answers: Sequence[str | None]) -> Iterator[Order]:
    """The comparisons to be made: every pair of different answers in both orders. None stands for an answer that is not there."""
    for first, second in permutations(range(len(answers)), 2):
        if answers[first] is not None and answers[second] is not None and answers[first] != answers[second]:
            yield first, second


def standings(answers: Sequence[str | None], won: Mapping[Order, float | None]) -> list[Standing]:
    """Each answer's standing, from what the first answer of each order won (None: no verdict).

    A pair counts with the mean of both orders, and only where both were judged: one alone brings the bias for a place back.
    Equal answers tie without a comparison.
    """
    return [_standing(place, answers, won) for place in range(len(answers))]


def _standing(place: int, answers: Sequence[str | None], won: Mapping[Order, float | None]) -> Standing:
    mine = answers[place]
    if mine is None:
        return Standing(None, 0, 0, 0)
    wins: list[float] = []
    pairs = flipped = 0
    for rival, text in enumerate(answers):
        if rival == place or text is None:
            continue
        pairs += 1
        there, back = (0.5, 0.5) if text == mine else (won[place, rival], won[rival, place])
        if there is not None and back is not None:
            wins.append((there + 1 - back) / 2)
            flipped += there != 1 - back
    enough = wins and 2 * len(wins) >= pairs
    return Standing(sum(wins) / len(wins) if enough else None, len(wins), pairs, flipped)
