"""The align game's creator: draw the informative prompts, then evolve them (arXiv 2411.00062 alg. 1, lines 4-6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

import numpy as np

from sparring.config import Creator as Settings
from sparring.creators.novelty import Novelty
from sparring.creators.select import Floats, draw, estimate
from sparring.creators.templates import request
from sparring.game import Bout, Model, Sample, Sampling, Task, make_task, stable_hash

Read = Callable[[str], Mapping[str, Any] | str]
"""The validity gate: a prompt's meta, or the reason why it cannot be judged, in few words that a table can group by."""

Draft = tuple[str, Sample | None]
"""What a rewriter wrote, and the model call that wrote it."""


class Rewriter(Protocol):
    """Evolves each task by its operator; one draft or several each, in the order in which they are tried."""

    def rewrite(self, tasks: Sequence[Task], operators: Sequence[str], model: Model, seed: int) -> list[list[Draft]]: ...


@dataclass(frozen=True)
class ModelRewriter:
    """Asks the model, through the operator's template."""

    settings: Settings

    def rewrite(self, tasks: Sequence[Task], operators: Sequence[str], model: Model, seed: int) -> list[list[Draft]]:
        how = Sampling(
            n=self.settings.tries,
            temperature=self.settings.temperature,
            top_p=self.settings.top_p,
            max_new_tokens=self.settings.max_new_tokens,
        )
        asked = [request(self.settings.templates, op, task.text) for task, op in zip(tasks, operators, strict=True)]
        return [[(s.text, s) for s in group] for group in model.sample(asked, how, role="creator", seed=seed)]


@dataclass(frozen=True)
class SymbolicRewriter:
    """Asks a program: ``mutate(text, operator, seed)`` gives the new text, or "" where it finds none; as many drafts as a model."""

    mutate: Callable[[str, str, int], str]
    tries: int = 1

    def rewrite(self, tasks: Sequence[Task], operators: Sequence[str], model: Model, seed: int) -> list[list[Draft]]:
        seeds = [stable_hash(seed, "draft", k) for k in range(self.tries)]
        return [[(self.mutate(task.text, op, s), None) for s in seeds] for task, op in zip(tasks, operators, strict=True)]


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
    info_P = estimate(settings.metric, rewards_of(probe))
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
    of the pool, is refused. Refused drafts come back too, with ``rejected`` set, so that the record shows what the creator
    tried; later drafts of the same group than the accepted one are not looked at.
    """

    settings: Settings
    rewriter: Rewriter
    read: Read
    seen: Sequence[Task] = ()

    def propose(self, probe: Sequence[Bout], model: Model, seed: int) -> list[Task]:
        novelty = Novelty(self.settings.near_duplicate, [*self.seen, *(bout.task for bout in probe)])
        heads = draw_tasks(probe, self.settings, seed)
        proposals: list[Task] = []
        for link in range(self.settings.chain):
            step_seed = stable_hash(seed, "evolve", link)
            operators = [Random(stable_hash(step_seed, head.id)).choice(self.settings.operators) for head in heads]
            drafts = self.rewriter.rewrite(heads, operators, model, step_seed)
            for place, (head, operator, group) in enumerate(zip(heads, operators, drafts, strict=True)):
                tried = self._first_accepted(head, operator, group, novelty)
                proposals += tried
                if tried and tried[-1].rejected is None:
                    heads[place] = tried[-1]  # the chain goes on from the child; a failed link is tried anew from the same parent
        return proposals

    def _first_accepted(self, parent: Task, operator: str, drafts: Sequence[Draft], novelty: Novelty) -> list[Task]:
        tried: list[Task] = []
        for text, sample in drafts:
            task = self._judge_draft(parent, operator, text, sample, novelty)
            tried.append(task)
            if task.rejected is None:
                novelty.add(task)
                break
        return tried

    def _judge_draft(self, parent: Task, operator: str, text: str, sample: Sample | None, novelty: Novelty) -> Task:
        text = text.strip()
        lineage: dict[str, Any] = {"operator": operator, "generation": int(parent.meta.get("generation", 0)) + 1}
        meta = self._gate(parent, text, sample)
        if isinstance(meta, str):
            return make_task(text, context=parent.context, parent=parent.id, draft=sample, rejected=meta, meta=lineage)
        task = make_task(text, context=parent.context, parent=parent.id, draft=sample, meta={**meta, **lineage})
        objection = novelty.objection(task)
        return replace(task, rejected=objection) if objection else task

    def _gate(self, parent: Task, text: str, sample: Sample | None) -> Mapping[str, Any] | str:
        """The draft's meta, or what is wrong with it."""
        if not text:
            return "empty"
        if sample is not None and sample.finish == "length":
            return "cut off"  # at max_new_tokens: half a prompt may well pass the reader
        if text.casefold() == parent.text.strip().casefold():
            return "copy of its parent"
        try:
            return self.read(text)
        except Exception as error:  # a reader is somebody's code and a draft is anything: one draft must not end the run
            return f"the reader broke: {type(error).__name__}"
