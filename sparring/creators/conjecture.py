"""The prove game's creator: draw statements that are barely provable, then conjecture from them (STP, arXiv 2502.00212).

It knows no logic: what mutates a theorem, what reads a conjecture and what tells two of them apart are functions that it is given.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import numpy as np

from sparring.config_prove import Conjectures as Settings
from sparring.creators.evolve import draw_by
from sparring.creators.gates import Draft, Gates, Read
from sparring.creators.select import Floats, estimate
from sparring.game import Attempt, Bout, Demo, Model, Sampling, Task, stable_hash
from sparring.prompts import conjecture_prompt, one_line

HALVINGS = 8
"""Budgets at which a search is judged: all of it, a half, a quarter, ..., 1/128."""
BARELY = 0.25
"""The highest pass rate of a conjecture that is worth imitating (STP sec. 3.2)."""
INELEGANT = 0.2
"""Share of the conjectures that is dropped for saying much that is proved in a word (STP sec. 3.2)."""
NO_LEMMA = "True"
"""What stands for the lemma of a conjecture that needs none."""
WITHOUT_LEMMA = 0.25
"""Share of the conjectures that are asked for with it."""

Mutate = Callable[[str, str, int, Sequence[str]], tuple[str, str]]
"""(theorem, operator, seed, other theorems) -> a conjecture, "" where there is none, and the name of the lemma used, or ""."""


# ------------------------------------------------------------------------------------------------ how hard was it


def shortest_proof(bout: Bout) -> Attempt | None:
    """The attempt that was judged a proof and took the fewest model calls."""
    judged = zip(bout.attempts, bout.verdicts, strict=True)
    proofs = [attempt for attempt, verdict in judged if verdict.fault is None and verdict.solved]
    return min(proofs, key=_calls, default=None)


def _calls(attempt: Attempt) -> float:
    return float(attempt.stats.get("calls", 0))


def effort_rewards(bouts: Sequence[Bout], budget: int) -> Floats:
    """[P, 8]: column k is 1 where the statement was proved within ``budget`` / 2**k model calls, else 0; NaN where it was not judged.

    A row's mean is a pass rate from one search: 1/8 is barely provable, 1 is easy. A proof that the last wave found counts for the
    whole budget, though it took a little more. Without a budget (0), the dearest proof here is the measure.
    """
    proofs = [shortest_proof(bout) for bout in bouts]
    budget = budget or int(max((_calls(proof) for proof in proofs if proof), default=0))
    rewards_PK = np.zeros((len(bouts), HALVINGS))
    for row, (bout, proof) in enumerate(zip(bouts, proofs, strict=True)):
        if proof:
            rewards_PK[row] = [k == 0 or _calls(proof) <= budget / 2**k for k in range(HALVINGS)]
        elif not _is_judged(bout):
            rewards_PK[row] = np.nan
    return rewards_PK


def _is_judged(bout: Bout) -> bool:
    return any(a.fault is None and v.fault is None for a, v in zip(bout.attempts, bout.verdicts, strict=True))


# ------------------------------------------------------------------------------------------------ who writes them


class Writer(Protocol):
    """Conjectures from each theorem, in the order in which they are tried. ``proved``: all that may be built with."""

    def write(self, theorems: Sequence[Task], proved: Sequence[str], model: Model, seed: int) -> list[list[Draft]]: ...


@dataclass(frozen=True)
class Symbolic:
    """Asks a program (Alchemy, arXiv 2410.15748); another operator at every try."""

    mutate: Mutate
    operators: Sequence[str]
    tries: int

    def write(self, theorems: Sequence[Task], proved: Sequence[str], model: Model, seed: int) -> list[list[Draft]]:
        return [self._drafts(task.text, proved, stable_hash(seed, task.id)) for task in theorems]

    def _drafts(self, theorem: str, proved: Sequence[str], seed: int) -> list[Draft]:
        order = Random(seed).sample(self.operators, len(self.operators))
        others = [text for text in proved if text != theorem]
        drafts: list[Draft] = []
        for turn in range(self.tries):
            operator = order[turn % len(order)]
            text, lemma = self.mutate(theorem, operator, stable_hash(seed, turn), others)
            drafts.append(Draft(text, None, {"operator": operator, "lemma": lemma}))
        return drafts


@dataclass(frozen=True)
class ModelConjecturer:
    """Asks the model, for each theorem with one of ``lemmas`` (name: statement), rather one that shares rare signs with it."""

    settings: Settings
    lemmas: Mapping[str, str]

    def write(self, theorems: Sequence[Task], proved: Sequence[str], model: Model, seed: int) -> list[list[Draft]]:
        how = Sampling(
            n=self.settings.tries,
            temperature=self.settings.temperature,
            top_p=1.0,
            max_new_tokens=self.settings.max_new_tokens,
        )
        if not theorems:
            return []
        rarity = _rarity([*self.lemmas.values()])
        names = [self._lemma(task.text, rarity, Random(stable_hash(seed, "lemma", task.id))) for task in theorems]
        asked = [conjecture_prompt(self.lemmas.get(name, NO_LEMMA), t.text) for t, name in zip(theorems, names, strict=True)]
        answers = model.sample(asked, how, role="creator", seed=seed)
        return [
            [Draft(sample.text, sample, {"operator": "conjecture", "lemma": name}) for sample in group]
            for name, group in zip(names, answers, strict=True)
        ]

    def _lemma(self, theorem: str, rarity: Mapping[str, float], rng: Random) -> str:
        """The name of a lemma, "" for none; each weighs what the signs weigh that it shares, and a little."""
        names = list(self.lemmas)
        if not names or rng.random() < WITHOUT_LEMMA:
            return ""
        own = _signs(theorem)
        weights = [0.1 + sum(rarity[sign] for sign in _signs(self.lemmas[name]) & own) for name in names]
        return rng.choices(names, weights)[0]


def _signs(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+|[^\w\s()]+", text))


def _rarity(texts: Sequence[str]) -> dict[str, float]:
    """For every sign, the logarithm of the number of texts over the number of those that have it: 0 for what all have."""
    counts = Counter(sign for text in texts for sign in _signs(text))
    return {sign: math.log(len(texts) / number) for sign, number in counts.items()}


@dataclass(frozen=True)
class Alternating:
    """Two writers, each for every other theorem."""

    first: Writer
    second: Writer

    def write(self, theorems: Sequence[Task], proved: Sequence[str], model: Model, seed: int) -> list[list[Draft]]:
        groups: list[list[Draft]] = [[] for _ in theorems]
        groups[0::2] = self.first.write(theorems[0::2], proved, model, seed)
        groups[1::2] = self.second.write(theorems[1::2], proved, model, seed)
        return groups


# ------------------------------------------------------------------------------------------------ the creator


class SeenKeys:
    """Which statements have been asked, up to whatever ``key`` makes equal."""

    def __init__(self, key: Callable[[str], int], keys: AbstractSet[int], tasks: Sequence[Task]) -> None:
        self._key = key
        self._seen = {*keys, *(key(task.text) for task in tasks if task.rejected is None)}

    def add(self, task: Task) -> None:
        self._seen.add(self._key(task.text))

    def objection(self, task: Task) -> str | None:
        return "seen before" if self._key(task.text) in self._seen else None


@dataclass(frozen=True)
class Conjecturer:
    """A conjecture from each statement drawn: ``settings.fraction`` of the pool, out of what the probe proved.

    ``budget``: model calls of a search. ``seen``: the tasks of all rounds so far, and ``held_out``: keys of statements that must
    not be met; a draft with the key of one of them, or of one of the pool, is refused. Refused drafts come back too (see ``Gates``).
    """

    settings: Settings
    budget: int
    writer: Writer
    read: Read
    key: Callable[[str], int]
    seen: Sequence[Task] = ()
    held_out: AbstractSet[int] = frozenset()

    def propose(self, probe: Sequence[Bout], model: Model, seed: int) -> list[Task]:
        rewards_PK = effort_rewards(probe, self.budget)
        proved_P = rewards_PK[:, 0] == 1.0
        info_P = np.where(proved_P, estimate(self.settings.metric, rewards_PK), np.nan)
        theorems = draw_by(info_P, probe, self.settings, seed)
        proved = [bout.task.text for bout, was_proved in zip(probe, proved_P, strict=True) if was_proved]
        drafts = self.writer.write(theorems, proved, model, stable_hash(seed, "conjecture"))
        gates = Gates(self.read, SeenKeys(self.key, self.held_out, [*self.seen, *(bout.task for bout in probe)]))
        return [task for parent, group in zip(theorems, drafts, strict=True) for task in gates.first_accepted(parent, group)]


# ------------------------------------------------------------------------------------------------ what it learns


@dataclass(frozen=True)
class _Example:
    """A conjecture that turned out well: where it came from, and its proof."""

    parent: str
    lemma: str
    text: str
    script: str

    @property
    def wordiness(self) -> float:
        """Characters of the statement for each of its proof."""
        return len(one_line(self.text)) / max(len(one_line(self.script)), 1)


def conjecture_lessons(probe: Sequence[Bout], bouts: Sequence[Bout], lemmas: Mapping[str, str], budget: int) -> list[Demo]:
    """Teaches to conjecture what was proved, but barely (STP sec. 3.2), whoever conjectured it.

    ``probe`` has the parents of the conjectures in ``bouts``. One that was made with a lemma must have used it in its proof; for
    others the first lemma of their proof is taken. The fifth with the most words for the least proof is left out. Many of the same
    parent or with the same lemma weigh less, as 1 / sqrt(number of the one x number of the other); the mean weight is 1.
    """
    parents = {bout.task.id: bout.task.text for bout in probe}
    rate_P = effort_rewards(bouts, budget).mean(axis=1)
    found = [
        example
        for bout, rate in zip(bouts, rate_P, strict=True)
        if 0 < rate <= BARELY and (example := _example(bout, parents, lemmas)) is not None
    ]
    found.sort(key=lambda example: example.wordiness)
    kept = found[: len(found) - int(INELEGANT * len(found))]
    of_parent = Counter(example.parent for example in kept)
    of_lemma = Counter(example.lemma for example in kept)
    weights = [1 / math.sqrt(of_parent[example.parent] * of_lemma[example.lemma]) for example in kept]
    mean = sum(weights) / max(len(weights), 1)
    return [
        Demo(prompt=conjecture_prompt(lemmas.get(e.lemma, NO_LEMMA), e.parent), completion=e.text, weight=weight / mean)
        for e, weight in zip(kept, weights, strict=True)
    ]


def _example(bout: Bout, parents: Mapping[str, str], lemmas: Mapping[str, str]) -> _Example | None:
    proof, parent = shortest_proof(bout), parents.get(bout.task.parent or "")
    if proof is None or parent is None:
        return None
    given: Any = bout.task.meta.get("lemma", "")
    used = [word for word in re.findall(r"[\w']+", proof.answer) if word in lemmas]
    if given and given not in used:
        return None
    return _Example(parent, given or next(iter(used), ""), bout.task.text, proof.answer)
