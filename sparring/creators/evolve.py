"""The align game's creator: draw the informative prompts, then evolve them (arXiv 2411.00062 alg. 1, lines 4-6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

import numpy as np

from sparring.config import Creator as Settings
from sparring.config_prove import Conjectures
from sparring.creators.gates import Draft, Gates, Read
from sparring.creators.novelty import Novelty
from sparring.creators.select import Floats, draw, estimate
from sparring.creators.templates import request
from sparring.game import Bout, Model, Sample, Sampling, Task, stable_hash

Written = tuple[str, Sample | None]
"""A rewriter's draft, and the model call that wrote it."""


class Rewriter(Protocol):
    """Evolves each task by its operator; one draft or several each, in the order in which they are tried."""

    def rewrite(self, tasks: Sequence[Task], operators: Sequence[str], model: Model, seed: int) -> list[list[Written]]: ...


@dataclass(frozen=True)
class ModelRewriter:
    """Asks the model, through the operator's template."""

    settings: Settings

    def rewrite(self, tasks: Sequence[Task], operators: Sequence[str], model: Model, seed: int) -> list[list[Written]]:
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

    def rewrite(self, tasks: Sequence[Task], operators: Sequence[str], model: Model, seed: int) -> list[list[Written]]:
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
    of the pool, is refused. Refused drafts come back too (see ``Gates``).
    """

    settings: Settings
    rewriter: Rewriter
    read: Read
    seen: Sequence[Task] = ()

    def propose(self, probe: Sequence[Bout], model: Model, seed: int) -> list[Task]:
        gates = Gates(self.read, Novelty(self.settings.near_duplicate, [*self.seen, *(bout.task for bout in probe)]))
        heads = draw_tasks(probe, self.settings, seed)
        proposals: list[Task] = []
        for link in range(self.settings.chain):
            step_seed = stable_hash(seed, "evolve", link)
            operators = [Random(stable_hash(step_seed, head.id)).choice(self.settings.operators) for head in heads]
            written = self.rewriter.rewrite(heads, operators, model, step_seed)
            for place, (head, operator, group) in enumerate(zip(heads, operators, written, strict=True)):
                tried = gates.first_accepted(head, [Draft(text, sample, {"operator": operator}) for text, sample in group])
                proposals += tried
                if tried and tried[-1].rejected is None:
                    heads[place] = tried[-1]  # the chain goes on from the child; a failed link is tried anew from the same parent
        return proposals
