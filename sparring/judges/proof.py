"""A proof counts after a fresh check from the root: the searcher is not believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparring.game import Attempt, Env, Task, Verdict


@dataclass(frozen=True)
class ProofJudge:
    """Scores 1 what the environment accepts as a proof of the statement, and 0 what it does not."""

    env: Env

    def judge(self, tasks: Sequence[Task], attempts: Sequence[tuple[Attempt, ...]]) -> list[tuple[Verdict, ...]]:
        return [tuple(self._one(task, attempt) for attempt in group) for task, group in zip(tasks, attempts, strict=True)]

    def _one(self, task: Task, attempt: Attempt) -> Verdict:
        if attempt.fault:
            return Verdict(score=0.0, solved=False, fault=f"no proof: {attempt.fault}")
        if not attempt.answer.strip():
            return Verdict(score=0.0, solved=False, note=str(attempt.stats.get("status", "no proof")))
        return self.env.check(task, attempt.answer)
