"""The best part of a proof that was not found: which goals a search closed, and which remain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparring.coq.patch import UNPROVED, Block
from sparring.game import NO_GOALS, Step


@dataclass(frozen=True, kw_only=True)
class Part:
    """``closed``: goals in it that were proved."""

    closed: int
    block: Block
    rest: tuple[str, ...]

    @property
    def rank(self) -> tuple[int, int]:
        return self.closed, -len(self.rest)


def best_part(goal: str, steps: Sequence[Step]) -> Part:
    """Of the recorded steps those that close most goals and leave least: ``admit`` stands where a goal remains."""
    ways: dict[str, list[tuple[str, list[str]]]] = {}
    states = {step.state for step in steps}
    for step in steps:
        whole = step.result in states
        parts = [] if step.result == NO_GOALS else [step.result] if whole else step.result.split("\n\n")
        ways.setdefault(step.state, []).append((step.tactic, parts))
    known: dict[str, Part] = {}
    for state in reversed(_depths(goal, ways)):  # the deepest first
        found = Part(closed=0, block=UNPROVED, rest=(state,))
        for tactic, parts in ways.get(state, ()):
            inner = [known.get(part) for part in parts]  # steps back, or across, lead to no part of a proof
            better = _joined(tactic, [part for part in inner if part is not None])
            if None not in inner and better.closed and better.rank > found.rank:
                found = better
        known[state] = found
    return known[goal]


def _joined(tactic: str, inner: Sequence[Part]) -> Part:
    below: Block = [*inner[0].block] if len(inner) == 1 else [[part.block for part in inner]] if inner else []
    rest = tuple(text for part in inner for text in part.rest)
    return Part(closed=sum(part.closed for part in inner) + (not inner), block=[tactic, *below], rest=rest)


def _depths(goal: str, ways: Mapping[str, Sequence[tuple[str, Sequence[str]]]]) -> dict[str, int]:
    """How many steps it takes to a state, the nearest first."""
    depths = {goal: 0}
    waiting = [goal]
    for state in waiting:
        for part in (part for _, parts in ways.get(state, ()) for part in parts):
            if part not in depths:
                depths[part] = depths[state] + 1
                waiting.append(part)
    return depths
