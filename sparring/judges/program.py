"""A judge that is a program: any function of (task, answer) that can be imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from sparring.errors import SparringError
from sparring.game import Attempt, Judge, Task, Verdict

Grade = Callable[[Task, str], tuple[float, bool, str]]
"""(task, answer) -> (score, solved, why)."""
Control = tuple[Task, str, str]
"""A task with an answer known to be good and one known to be bad."""


class ProgramJudge:
    def __init__(self, grade: Grade) -> None:
        self.grade = grade

    def judge(self, tasks: Sequence[Task], attempts: Sequence[tuple[Attempt, ...]]) -> list[tuple[Verdict, ...]]:
        """A program that raises, or that scores NaN, is a fault of the judge: counted, shown, never taught."""
        return [tuple(self._one(task, attempt) for attempt in group) for task, group in zip(tasks, attempts, strict=True)]

    def _one(self, task: Task, attempt: Attempt) -> Verdict:
        if attempt.fault:
            return Verdict(score=0.0, solved=False, fault=f"no answer: {attempt.fault}")
        try:
            score, solved, note = self.grade(task, attempt.answer)
            score = float(score)
        except Exception as error:  # whatever somebody's grader throws is its fault, not the answer's
            return Verdict(score=0.0, solved=False, fault=f"{type(error).__name__}: {error}"[:200])
        if not math.isfinite(score):
            return Verdict(score=0.0, solved=False, fault=f"score is {score}")
        return Verdict(score=score, solved=bool(solved), note=str(note))


def check_judge(judge: Judge, controls: Iterable[Control]) -> None:
    """Judge the judge: every good answer must score above its bad one, or the run does not start."""
    known = list(controls)
    if not known:
        raise SparringError(
            "judge.controls gives none, so nothing shows that the judge works; add some, or set it to '' to do without"
        )
    for task, good, bad in known:
        above, below = judge.judge([task], [(Attempt(answer=good), Attempt(answer=bad))])[0]
        if above.fault or below.fault or above.score <= below.score:
            raise SparringError(
                f"the judge does not put the good answer {good!r} (score {above.score}, {above.fault or above.note}) above the bad "
                f"answer {bad!r} (score {below.score}, {below.fault or below.note}) for {task.text!r}; mend judge.grade or judge.controls"
            )
