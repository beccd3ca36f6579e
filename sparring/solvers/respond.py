"""The align game's solver: n samples per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparring.game import Attempt, Model, Sampling, Task


@dataclass(frozen=True)
class Responder:
    """Answers every task ``how.n`` times (arXiv 2411.00062 alg. 1, line 3)."""

    how: Sampling

    def attempt(self, tasks: Sequence[Task], model: Model, seed: int) -> list[tuple[Attempt, ...]]:
        prompts = [f"{task.context}\n\n{task.text}" if task.context else task.text for task in tasks]
        groups = model.sample(prompts, self.how, role="solver", seed=seed)
        return [tuple(Attempt(answer=sample.text, samples=(sample,), fault=sample.fault) for sample in group) for group in groups]
