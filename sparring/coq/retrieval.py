"""Premises for a proof state, best first: by shared words (BM25), by a trained encoder (``coq/dense``), by place, by use, and mixed.

Shapes: S states, P premises of the corpus.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import bm25s
import numpy as np
from numpy.typing import NDArray

from sparring.coq.premises import Bools, Corpus, Premise
from sparring.trace import TraceRow

Floats = NDArray[np.float32]
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+|[^\w\s().,:;'\"@⊢]+")
_RRF = 60
"""The constant of reciprocal-rank fusion (Cormack, Clarke and Buettcher 2009)."""


class Retriever(Protocol):
    """Ranks the premises of one corpus."""

    def rank(self, states: Sequence[str], accessible_SP: Bools, count: int) -> list[list[int]]:
        """For each state, places in the corpus of at most ``count`` premises that it may use, best first."""
        ...


def pieces(text: str) -> list[str]:
    """Parts of names, cut at dots, underscores and capitals, in lower case; numbers; and signs (``<=``). Brackets, commas and the like are
    dropped."""
    return [piece.lower() for piece in _PIECE.findall(text)]


def premise_text(premise: Premise) -> str:
    """What is searched: the name with the module or file that it is in, and what the premise says."""
    return f"{'.'.join(premise.name.split('.')[-2:])} {premise.statement}"


def query(state: str) -> list[str]:
    """Each piece of the state once, those of the goal three times: hypotheses are long, and the goal is what is to be proved."""
    goal = dict.fromkeys(pieces(state.rpartition("⊢")[2]))
    return [*dict.fromkeys(pieces(state)), *goal, *goal]


def best(scores_SP: Floats, accessible_SP: Bools, count: int) -> list[list[int]]:
    """The accessible places of each row by score, the later premise first among equals: it is nearer to the theorem."""
    ranked: list[list[int]] = []
    for scores, mask in zip(scores_SP, accessible_SP, strict=True):
        places = np.flatnonzero(mask)
        if len(places) > count:
            found = scores[places]
            least = np.partition(found, -count)[-count]
            places = places[found >= least]
        ranked.append(places[np.lexsort((-places, -scores[places]))][:count].tolist())
    return ranked


class Bm25:
    """Okapi BM25 as Lucene has it, frequencies over the whole corpus."""

    def __init__(self, corpus: Corpus) -> None:
        # The library takes its vocabulary from here: in the order of first use, whatever the process.
        documents = [pieces(premise_text(premise)) for premise in corpus.premises]
        vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(p for words in documents for p in words))}
        self._index = bm25s.BM25(backend="numpy", csc_backend="numpy")
        numbers = [[vocabulary[piece] for piece in words] for words in documents]
        self._index.index((numbers, vocabulary), show_progress=False, leave_progress=False)
        self._size = len(corpus)

    def scores(self, states: Sequence[str]) -> Floats:
        """[S, P]"""
        found = np.zeros((len(states), self._size), dtype=np.float32)
        for row, state in enumerate(states):
            if words := query(state):
                found[row] = self._index.get_scores(words)
        return found

    def rank(self, states: Sequence[str], accessible_SP: Bools, count: int) -> list[list[int]]:
        return best(self.scores(states), accessible_SP, count)


class Fixed:
    """One score per premise, whatever the state: for comparison, and as a part of mixtures."""

    def __init__(self, scores_P: Sequence[float]) -> None:
        self._scores = np.asarray(scores_P, dtype=np.float32)

    def rank(self, states: Sequence[str], accessible_SP: Bools, count: int) -> list[list[int]]:
        return best(np.broadcast_to(self._scores, accessible_SP.shape), accessible_SP, count)


def recent(corpus: Corpus) -> Fixed:
    """The latest first: in the file itself from the theorem upwards, then in the files before it."""
    return Fixed([float(place) for place in range(len(corpus))])


def frequent(corpus: Corpus, rows: Iterable[TraceRow]) -> Fixed:
    """The most used in the rows (of the training theorems) first."""
    counts = uses(corpus, rows)
    return Fixed([float(counts[place]) for place in range(len(corpus))])


def uses(corpus: Corpus, rows: Iterable[TraceRow]) -> Counter[int]:
    """How often the steps use each premise."""
    found = (corpus.find(name) for row in rows for name in row.premises)
    return Counter(place for place in found if place is not None)


class Fused:
    """Reciprocal-rank fusion: a premise has the sum of weight / (60 + its rank) over the retrievers that have it among their first
    ``depth``."""

    def __init__(self, parts: Mapping[Retriever, float], depth: int = 200) -> None:
        self._parts = dict(parts)
        self._depth = depth

    def rank(self, states: Sequence[str], accessible_SP: Bools, count: int) -> list[list[int]]:
        sums: list[dict[int, float]] = [{} for _ in states]
        for part, weight in self._parts.items():
            for found, places in zip(sums, part.rank(states, accessible_SP, self._depth), strict=True):
                for rank, place in enumerate(places, start=1):
                    found[place] = found.get(place, 0.0) + weight / (_RRF + rank)
        return [sorted(found, key=lambda place: (-found[place], -place))[:count] for found in sums]
