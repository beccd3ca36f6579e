"""No operator and no topic may make up more than its share of a round's created prompts: what keeps them from collapsing.

A prompt's topic is its meta's ``topic``. Every child inherits its parent's, in breadth too: a rarer prompt of the same field is still of
that field. Where nobody named a topic it is the id of the prompt that the lineage began with, so that the quota then bounds how many
prompts go back to the same one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from sparring.config import Creator as Settings
from sparring.errors import SparringError
from sparring.game import Task


class Quota:
    """Accepts a prompt if, with it, its group has at most ``share`` of all that are accepted, rounded up to a whole prompt.

    All that counts is the order of acceptance. Since the rule holds after every prompt, it holds at the end, however many prompts there
    turn out to be. ``kinds``: how many groups there can be; with too few to fill the share, each may have its even part.
    ``reason``: what a refused draft is told, ``{group}`` in it being the group.
    """

    def __init__(self, reason: str, share: float, kinds: int, group_of: Callable[[Task], str]) -> None:
        self._reason = reason
        self._share = max(share, 1 / max(kinds, 1))
        self._group_of = group_of
        self._counts: Counter[str] = Counter()

    def foresee(self, tasks: Sequence[Task]) -> None:
        """Nothing to prepare."""

    def add(self, task: Task) -> None:
        self._counts[self._group_of(task)] += 1

    def objection(self, task: Task) -> str | None:
        group = self._group_of(task)
        most = math.ceil(self._share * (self._counts.total() + 1) - 1e-9)
        return self._reason.replace("{group}", group) if self._counts[group] + 1 > most else None


def _operator_of(task: Task) -> str:
    return str(task.meta["operator"])


def topic_of(task: Task) -> str:
    return str(task.meta.get("topic", task.id))


def lineage_of(parent: Task, settings: Settings) -> dict[str, str]:
    """What a child's meta has of its parent's topic; nothing where neither the prompts nor the recipe speak of topics."""
    return {"topic": topic_of(parent)} if "topic" in parent.meta or settings.topic_share < 1 else {}


def quotas(settings: Settings, operators: Sequence[str], heads: Sequence[Task]) -> list[Quota]:
    """Those that the recipe sets. ``heads``: the prompts that are evolved, whose topics are all that a round can have.

    Raises SparringError for a share that its operators cannot fill.
    """
    kinds = len(set(operators))
    if settings.operator_share * kinds < 1 - 1e-9:
        raise SparringError(
            f"creator.operator_share {settings.operator_share} of {kinds} operators ({', '.join(operators)}) adds up to less than all "
            f"prompts; set it to {1 / kinds:.3g} or more, or name more operators"
        )
    found: list[Quota] = []
    if settings.operator_share < 1:
        found.append(Quota("quota of operator {group}", settings.operator_share, kinds, _operator_of))
    if settings.topic_share < 1:
        # The topic is not named: a table of reasons would have a row for every one.
        found.append(Quota("quota of its topic", settings.topic_share, len({topic_of(head) for head in heads}), topic_of))
    return found
