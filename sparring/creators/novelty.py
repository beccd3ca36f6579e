"""Has something like this been asked before? Exact and near duplicates over all rounds of a run."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from sparring.game import Task

# Words, and signs that carry meaning ("2 + 2", "2 - 2"); the punctuation of prose does not count.
_WORD = re.compile(r"""\w+|[^\w\s.,;:!?'"…“”‘’、。，；：！？]""")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold()) or [text]


def _runs(words: list[str]) -> list[slice]:
    """Runs of three words: enough to tell word order, short enough for prompts of a dozen words."""
    return [slice(start, start + 3) for start in range(max(1, len(words) - 2))]


def _shingles(words: list[str]) -> frozenset[str]:
    return frozenset(" ".join(words[run]) for run in _runs(words))


class Novelty:
    """Everything that was ever asked. ``threshold``: the Jaccard similarity of word shingles that counts as near; 1 is off.

    A task whose reader put a ``key`` into its meta is a duplicate of any task with that key: two wordings of one question.

    Exact, by prefix filtering (Bayardo, Ma & Srikant 2007): two sets of at least n shingles with Jaccard similarity t share at
    least t n of them, so, in any fixed order of shingles, the first n - t n + 1 of each have one in common. Only prompts that
    share such a shingle are compared. The order is that of the rarest word in a shingle, so that few prompts share one by chance,
    and none for its boilerplate (``python -m bench.novelty --prompts 100000`` says what that takes).
    """

    def __init__(self, threshold: float, seen: Iterable[Task] = ()) -> None:
        known = list(seen)
        self._threshold = threshold
        self._exact: set[tuple[str, str]] = set()
        self._index: dict[str, list[int]] = defaultdict(list)  # shingle -> places in the two lists
        self._texts: list[str] = []
        self._sizes: list[int] = []  # how many shingles
        self._ids: set[str] = set()
        # Counted once: whatever the order is, it must not change.
        self._counts = Counter(word for task in known for word in set(_words(task.text))) if threshold < 1.0 else Counter[str]()
        for task in known:
            self.add(task)

    def _keys(self, task: Task) -> set[tuple[str, str]]:
        key = {("key", str(task.meta["key"]))} if "key" in task.meta else set[tuple[str, str]]()
        return {("text", " ".join(_words(task.text)))} | key

    def _prefix(self, words: list[str]) -> tuple[list[str], int]:
        """The shingles to look under, and how many there are in all."""
        counts = [self._counts.get(word, 0) for word in words]
        rarity = {" ".join(words[run]): min(counts[run]) for run in _runs(words)}
        shared = max(1, math.ceil(self._threshold * len(rarity) - 1e-9))
        return sorted(rarity, key=lambda shingle: (rarity[shingle], shingle))[: len(rarity) - shared + 1], len(rarity)

    def extend(self, tasks: Iterable[Task]) -> None:
        """Adds those that were not added yet."""
        for task in tasks:
            if task.id not in self._ids:
                self.add(task)

    def add(self, task: Task) -> None:
        self._ids.add(task.id)
        keys = self._keys(task)
        if self._threshold < 1.0 and not keys <= self._exact:
            prefix, size = self._prefix(_words(task.text))
            for shingle in prefix:
                self._index[shingle].append(len(self._texts))
            self._texts.append(task.text)
            self._sizes.append(size)
        self._exact |= keys

    def objection(self, task: Task) -> str | None:
        """Why the task is not new, or None."""
        if self._keys(task) & self._exact:
            return "seen before"
        return "nearly seen before" if self._threshold < 1.0 and self._near(task) else None

    def _near(self, task: Task) -> bool:
        words = _words(task.text)
        prefix, size = self._prefix(words)
        fewest, most = self._threshold * size - 1e-9, size / max(self._threshold, 1e-9) + 1e-9
        near = {place for shingle in prefix for place in self._index.get(shingle, ()) if fewest <= self._sizes[place] <= most}
        shingles = _shingles(words)
        return any(_jaccard(shingles, _shingles(_words(self._texts[place]))) >= self._threshold for place in near)


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)
