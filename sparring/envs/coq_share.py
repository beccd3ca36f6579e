"""Which process of the Coq environment works on what, and in which order: no file is gone through twice, and processes keep theirs.

Sentences are compared with where a process stands; what it has run already, from the first sentence on, costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

_LOADING = ("Require", "From")
_LIBRARY_COST = 200
"""What loading libraries takes, in tactics. Any other sentence counts as one."""


@dataclass(frozen=True, eq=False)
class Root:
    """A statement in its context: the sentences that lead to the first goal, and the moves that make sense there."""

    sentences: tuple[str, ...]
    moves: tuple[str, ...] = ()
    theorem: str = ""
    """Its full name, where it has one."""
    library: str = ""
    """The name that the text has for itself, where it uses that."""

    @property
    def context(self) -> tuple[str, ...]:
        return self.sentences[:-1]

    @cached_property
    def costs(self) -> tuple[int, ...]:
        """``costs[i]``: what the first ``i`` sentences take, in tactics."""
        return (0, *accumulate(map(_cost, self.sentences)))

    def way(self, position: Sequence[str]) -> int:
        """What it takes to get there."""
        return self.costs[-1] - self.costs[shared(position, self.sentences)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Handle:
    """Goals ``first`` to ``first + count - 1`` of the ``total`` goals of a state. ``apart``: none of them depends on another."""

    root: Root
    path: tuple[str, ...]
    first: int
    count: int
    total: int
    apart: bool


class Group(NamedTuple):
    """Tries at one state: where it is, and (number of the try, handle, tactic)."""

    root: Root
    path: tuple[str, ...]
    tries: list[tuple[int, Handle, str]]


# ------------------------------------------------------------------------------------------------ sharing the work


class _Piece(NamedTuple):
    """What goes to one process: some of the groups of a theorem."""

    root: Root
    groups: list[Group]
    tries: int


def share(groups: Iterable[Group], positions: Sequence[Sequence[str]], at_once: int) -> list[list[Group]]:
    """Who works on what, in which order, where processes stand at ``positions`` and ``at_once`` of them work at a time.

    Each piece goes where all is done first: what is near to a process before the rest, so that the rest takes the processes that
    nobody needs, and of these the one that it takes least to bring back to where it was.
    """
    ordered = _in_order(groups)
    if len(positions) == 1:
        return [_walk(ordered, positions[0])]
    total = sum(len(group.tries) for group in ordered)
    pieces = _pieces(ordered, -(-total // at_once))
    ways = {id(piece.root): [piece.root.way(position) for position in positions] for piece in pieces}
    lost = [sum(map(_cost, position)) for position in positions]
    ends: list[Root | None] = [None] * len(positions)
    loads = [0] * len(positions)
    shares: list[list[Group]] = [[] for _ in positions]
    for piece in sorted(pieces, key=lambda piece: min(ways[id(piece.root)])):
        way = [
            min(own, piece.root.way(end.sentences)) if end else own for own, end in zip(ways[id(piece.root)], ends, strict=True)
        ]
        ready = [load + cost + piece.tries for load, cost in zip(loads, way, strict=True)]
        # When all is done, and what is spent on the way: it is not worth loading a file a second time for a few tries.
        price = [max((total + cost) / at_once, end) + cost / at_once for cost, end in zip(way, ready, strict=True)]
        best = min(range(len(price)), key=lambda n: (price[n], loads[n], lost[n]))
        shares[best] += piece.groups
        total, loads[best], ends[best] = total + way[best], ready[best], piece.root
    return [_walk(_in_order(part), position) for part, position in zip(shares, positions, strict=True)]


def nearest(root: Root, positions: Sequence[Sequence[str]]) -> int:
    """Which process a new theorem goes to: where it takes least to get there and to return to where the process was."""

    def there_and_back(number: int) -> int:
        position = positions[number]
        return root.way(position) + sum(map(_cost, position[shared(position, root.sentences) :]))

    return min(range(len(positions)), key=there_and_back)


def shared(position: Sequence[str], sentences: Sequence[str]) -> int:
    """How many of the sentences, from the first on, need not be run again. Thousands of them are compared, for each theorem."""
    low, high = 0, min(len(position), len(sentences)) + 1  # that many are the same; that many are not
    while high - low > 1:
        middle = (low + high) // 2
        if tuple(position[low:middle]) == tuple(sentences[low:middle]):
            low = middle
        else:
            high = middle
    return low


def _cost(sentence: str) -> int:
    return _LIBRARY_COST if sentence.startswith(_LOADING) else 1


def _in_order(groups: Iterable[Group]) -> list[Group]:
    """As in their files: a theorem before those whose contexts go on after it."""
    groups = list(groups)
    roots = {id(group.root): group.root for group in groups}
    ranks = {
        id(root): rank for rank, root in enumerate(sorted(roots.values(), key=lambda root: (root.context, root.sentences[-1])))
    }
    return sorted(groups, key=lambda group: (ranks[id(group.root)], group.path))


def _walk(ordered: Sequence[Group], position: Sequence[str]) -> list[Group]:
    """First what lies on the way back from ``position``, the nearest first: going back is free. So a process that has gone through a file
    goes back through it in the next wave. No sentence is run twice."""
    at = {id(group.root): shared(position, group.root.sentences) for group in ordered}

    def common(group: Group) -> int:
        known = at[id(group.root)]
        inside = known == len(group.root.sentences)
        return known + (shared(position[known:], group.path) if inside else 0)

    return sorted(ordered, key=common, reverse=True)


def _pieces(ordered: Iterable[Group], most: int) -> list[_Piece]:
    """Of at most so many tries."""
    pieces: list[_Piece] = []
    for root, path, tries in ordered:
        while tries:
            room = most - pieces[-1].tries if pieces and pieces[-1].root is root else 0
            if not room:
                pieces.append(_Piece(root, [], 0))
                room = most
            last = pieces[-1]
            last.groups.append(Group(root, path, tries[:room]))
            pieces[-1] = last._replace(tries=last.tries + len(tries[:room]))
            tries = tries[room:]
    return pieces
