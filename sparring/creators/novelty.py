"""Has something like this been asked before? Exact and near duplicates over all rounds of a run."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable

from sparring.game import Task

# Words, and signs that carry meaning ("2 + 2", "2 - 2"); the punctuation of prose does not count.
_WORD = re.compile(r"""\w+|[^\w\s.,;:!?'"…“”‘’、。，；：！？]""")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold()) or [text]


def _shingles(words: list[str]) -> frozenset[str]:
    """Runs of three words: enough to tell word order, short enough for prompts of a dozen words."""
    return frozenset(" ".join(words[start : start + 3]) for start in range(max(1, len(words) - 2)))


class Novelty:
    """Everything that was ever asked. ``threshold``: the Jaccard similarity of word shingles that counts as near; 1 is off.

    A task whose reader put a ``key`` into its meta is a duplicate of any task with that key: two wordings of one question.

    Exact, by prefix filtering (Bayardo, Ma & Srikant 2007): two sets of at least n shingles with Jaccard similarity t share at
    least t n of them, so, in any fixed order of shingles, the first n - t n + 1 of each have one in common. Only prompts that
    share such a shingle are compared.
    """

    def __init__(self, threshold: float, seen: Iterable[Task] = ()) -> None:
        self._threshold = threshold
        self._exact: set[tuple[str, str]] = set()
        self._index: dict[str, list[tuple[int, str]]] = defaultdict(list)  # shingle -> (how many shingles, text)
        for task in seen:
            self.add(task)

    def _keys(self, task: Task) -> set[tuple[str, str]]:
        key = {("key", str(task.meta["key"]))} if "key" in task.meta else set[tuple[str, str]]()
        return {("text", " ".join(_words(task.text)))} | key

    def _prefix(self, shingles: frozenset[str]) -> list[str]:
        shared = max(1, math.ceil(self._threshold * len(shingles) - 1e-9))
        return sorted(shingles)[: len(shingles) - shared + 1]

    def add(self, task: Task) -> None:
        keys = self._keys(task)
        if self._threshold < 1.0 and not keys <= self._exact:
            shingles = _shingles(_words(task.text))
            for shingle in self._prefix(shingles):
                self._index[shingle].append((len(shingles), task.text))
        self._exact |= keys

    def objection(self, task: Task) -> str | None:
        """Why the task is not new, or None."""
        if self._keys(task) & self._exact:
            return "seen before"
        return "nearly seen before" if self._threshold < 1.0 and self._near(task) else None

    def _near(self, task: Task) -> bool:
        shingles = _shingles(_words(task.text))
        fewest, most = self._threshold * len(shingles) - 1e-9, len(shingles) / max(self._threshold, 1e-9) + 1e-9
        near = {
            text for shingle in self._prefix(shingles) for size, text in self._index.get(shingle, ()) if fewest <= size <= most
        }
        return any(_jaccard(shingles, _shingles(_words(text))) >= self._threshold for text in near)


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)
