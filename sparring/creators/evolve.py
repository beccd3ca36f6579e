"""The align game's creator: draw the informative prompts, then evolve them (arXiv 2411.00062 alg. 1, lines 4-6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

import numpy as np

from sparring.config import Creator as Settings
from sparring.config_prove import Conjectures
from sparring.creators.answers import objection_to, unwrap
from sparring.creators.gates import Draft, Gate, Gates, Read, any_form
from sparring.creators.meaning import Embed, Meanings
from sparring.creators.novelty import Novelty
from sparring.creators.quotas import lineage_of, quotas
from sparring.creators.select import Floats, draw, estimate
from sparring.creators.templates import EXAMPLE_CHARACTERS, EXAMPLES, OPERATORS, load_templates
from sparring.data import prompt_of
from sparring.game import Bout, Model, Sample, Sampling, Task, stable_hash

Written = tuple[str, Sample | None]
"""A rewriter's draft, and the model call that wrote it."""


class Rewriter(Protocol):
    """Evolves each task by its operator; one draft or several each, in the order in which they are tried."""

    @property
    def operators(self) -> Sequence[str]:
        """What a task can be evolved by."""
        ...

    def rewrite(self, tasks: Sequence[Task], operators: Sequence[str], model: Model, seed: int) -> list[list[Written]]: ...

    def objection(self, parent: Task, draft: Draft) -> str:
        """Why a draft does not even look like a prompt; "" where it does."""
        ...


class ModelRewriter:
    """Asks a model, through the operator's template: ``model``, or the one that plays (the solver itself) where that is None.

    ``refuse``: why a request cannot be put to it (too long), "" where it can; such a prompt gets no draft.
    Raises SparringError for templates that cannot be read and for operators that they do not have.
    """

    def __init__(self, settings: Settings, model: Model | None = None, refuse: Callable[[str], str] = lambda text: "") -> None:
        self._settings = settings
        self._model = model
        self._refuse = refuse
        self._templates = load_templates(settings.templates)
        self.operators: Sequence[str] = self._templates.chosen(settings.operators)

    def rewrite(self, tasks: Sequence[Task], operators: Sequence[str], model: Model, seed: int) -> list[list[Written]]:
        settings, templates = self._settings, self._templates
        how = Sampling(
            n=settings.tries, temperature=settings.temperature, top_p=settings.top_p, max_new_tokens=settings.max_new_tokens
        )
        pairs = list(zip(tasks, operators, strict=True))
        lists = [_examples(task, tasks, seed) if templates.shows_examples(op) else None for task, op in pairs]
        asked = [templates.request(op, task.text, shown or ()) for (task, op), shown in zip(pairs, lists, strict=True)]
        possible = [text for text in asked if not self._refuse(text)]
        found = dict(zip(possible, (self._model or model).sample(possible, how, role="creator", seed=seed), strict=True))
        answers = [found.get(text, []) for text in asked]
        if templates.bare:
            return [[(sample.text, sample) for sample in group] for group in answers]
        numbers = [0 if shown is None else len(shown) + 2 for shown in lists]  # of the item after the parent
        return [
            [(unwrap(sample.text, task.text, number), sample) for sample in group]
            for task, number, group in zip(tasks, numbers, answers, strict=True)
        ]

    def objection(self, parent: Task, draft: Draft) -> str:
        operator = str(draft.lineage["operator"])
        if self._templates.bare:
            return any_form(parent, draft)
        sized = not self._templates.shows_examples(operator)  # an item of a list is as long as it likes
        return objection_to(draft.text, parent.text, self._templates.texts[operator], sized=sized)


def _examples(task: Task, tasks: Sequence[Task], seed: int) -> list[str]:
    """Other prompts for a list that ends with the task's: informative ones as well, since they were drawn along with it."""
    others = [text for text in dict.fromkeys(other.text for other in tasks) if text != task.text]
    Random(stable_hash(seed, "examples", task.id)).shuffle(others)
    chosen: list[str] = []
    for text in others:
        if len(chosen) < EXAMPLES - 1 and sum(map(len, chosen)) + len(text) <= EXAMPLE_CHARACTERS:
            chosen.append(text)
    return chosen


@dataclass(frozen=True)
class SymbolicRewriter:
    """Asks a program: ``mutate(text, operator, seed)`` gives the new text, or "" where it finds none; as many drafts as a model."""

    mutate: Callable[[str, str, int], str]
    tries: int = 1
    operators: Sequence[str] = OPERATORS

    def rewrite(self, tasks: Sequence[Task], operators: Sequence[str], model: Model, seed: int) -> list[list[Written]]:
        seeds = [stable_hash(seed, "draft", k) for k in range(self.tries)]
        return [[(self.mutate(task.text, op, s), None) for s in seeds] for task, op in zip(tasks, operators, strict=True)]

    def objection(self, parent: Task, draft: Draft) -> str:
        return any_form(parent, draft)


def rewards_of(bouts: Sequence[Bout]) -> Floats:
    """[P, N] scores, NaN where the judge or the answer broke or where a task has fewer answers than another."""
    rewards_PN = np.full((len(bouts), max((len(bout.verdicts) for bout in bouts), default=0)), np.nan)
    for row, bout in enumerate(bouts):
        for column, verdict in enumerate(bout.verdicts):
            if verdict.fault is None:
                rewards_PN[row, column] = verdict.score
    return rewards_PN


def draw_tasks(probe: Sequence[Bout], settings: Settings, seed: int) -> list[Task]:
    """The share of the pool to work on, each with its score in ``meta["info"]``, in the order of the pool.

    At least one of any pool, unless the share is 0; none without a judged answer.
    """
    return draw_by(estimate(settings.metric, rewards_of(probe)), probe, settings, seed)


def draw_by(info_P: Floats, probe: Sequence[Bout], settings: Settings | Conjectures, seed: int) -> list[Task]:
    """``draw_tasks`` for given scores; NaN is never drawn."""
    count = max(round(settings.fraction * len(probe)), int(settings.fraction > 0))
    chosen = np.sort(draw(info_P, count, settings.draw, settings.uniform, seed))
    drawn = [(probe[int(place)].task, float(info_P[place])) for place in chosen]
    return [replace(task, meta={**task.meta, "info": info}) for task, info in drawn]


@dataclass(frozen=True)
class Resampler:
    """No evolving: the drawn prompts themselves are attempted again (the paper's ablation, table 4)."""

    settings: Settings

    def propose(self, probe: Sequence[Bout], model: Model, seed: int) -> list[Task]:
        return draw_tasks(probe, self.settings, seed)


@dataclass(frozen=True)
class Repeater:
    """Proposes nothing: the round teaches from the pool as it is (human prompts, fresh human prompts)."""

    def propose(self, probe: Sequence[Bout], model: Model, seed: int) -> list[Task]:
        return []


@dataclass(frozen=True)
class Evolver:
    """Chains of ``settings.chain`` evolutions from each drawn prompt; every accepted link is a task.

    ``seen`` are the tasks of all rounds so far and the held-out ones: a draft equal or nearly equal to one of them, or to one
    of the pool, is refused; with ``embed``, one that means the same as well. ``answerable``: a further gate, asked last.
    Refused drafts come back too (see ``Gates``).
    """

    settings: Settings
    rewriter: Rewriter
    read: Read
    seen: Sequence[Task] = ()
    embed: Embed | None = None
    answerable: Gate | None = None
    novelty: Novelty | None = None
    """What earlier creators of the run have built, to be gone on with."""
    refuse: Callable[[str], str] = lambda prompt: ""
    """Why the solver has no room for a whole prompt, "" where it has."""

    def propose(self, probe: Sequence[Bout], model: Model, seed: int) -> list[Task]:
        heads = draw_tasks(probe, self.settings, seed)
        gates = self._gates([*self.seen, *(bout.task for bout in probe)], heads)
        proposals: list[Task] = []
        for link in range(self.settings.chain):
            step_seed = stable_hash(seed, "evolve", link)
            operators = [Random(stable_hash(step_seed, head.id)).choice(self.rewriter.operators) for head in heads]
            written = self.rewriter.rewrite(heads, operators, model, step_seed)
            drafts = [
                [Draft(text, sample, {"operator": operator, **lineage_of(head, self.settings)}) for text, sample in group]
                for head, operator, group in zip(heads, operators, written, strict=True)
            ]
            gates.foresee((head, draft) for head, group in zip(heads, drafts, strict=True) for draft in group)
            for place, group in enumerate(drafts):
                tried = gates.first_accepted(heads[place], group)
                proposals += tried
                if tried and tried[-1].rejected is None:
                    heads[place] = tried[-1]  # the chain goes on from the child; a failed link is tried anew from the same parent
        return proposals

    def _gates(self, asked: Sequence[Task], heads: Sequence[Task]) -> Gates:
        further: list[Gate] = []
        if self.embed and self.settings.near_meaning < 1:
            further.append(Meanings(self.settings.near_meaning, self.embed, asked))
        if self.answerable:
            further.append(self.answerable)
        # Last, for the one that may come to pass what it refused: all others can be foreseen.
        further += quotas(self.settings, self.rewriter.operators, heads)
        if self.novelty:
            self.novelty.extend(asked)
        novelty = self.novelty or Novelty(self.settings.near_duplicate, asked)
        return Gates(self.read, novelty, self._objection, further)

    def _objection(self, parent: Task, draft: Draft) -> str:
        """The draft's own form, and its length with the context that it takes over."""
        return self.rewriter.objection(parent, draft) or self.refuse(prompt_of(replace(parent, text=draft.text.strip())))
