"""The judge that is a program, the check of it before a run, and the solver that it judges."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sparring.errors import SparringError
from sparring.game import Attempt, Sampling, Task, Verdict, make_task
from sparring.judges.program import Grade, ProgramJudge, check_judge
from sparring.models.scripted import ScriptedModel
from sparring.solvers.respond import Responder
from sparring.worlds.words import controls, grade

TASK = make_task("a task")


def verdict_of(graded: Any) -> Verdict:
    """What becomes of a grader's result; an exception is raised by it."""

    def grader(task: Task, answer: str) -> Any:
        if isinstance(graded, Exception):
            raise graded
        return graded

    return ProgramJudge(grader).judge([TASK], [(Attempt(answer="an answer"),)])[0][0]


def test_verdicts():
    assert verdict_of((0.25, False, "close")) == Verdict(score=0.25, solved=False, note="close")
    assert verdict_of((1, True, "")) == Verdict(score=1.0, solved=True)


@pytest.mark.parametrize(
    ("graded", "fault"),
    [
        (ValueError("no gold"), "ValueError: no gold"),
        (RecursionError(), "RecursionError: "),
        (RuntimeError("x" * 1000), "RuntimeError: " + "x" * 186),
        ((math.nan, False, ""), "score is nan"),
        ((math.inf, True, ""), "score is inf"),
        (("high", True, ""), "ValueError: could not convert string to float: 'high'"),
        ((None, False, ""), "TypeError: float() argument must be a string or a real number, not 'NoneType'"),
        (1.0, "TypeError: cannot unpack non-iterable float object"),
    ],
)
def test_a_broken_grader_is_a_fault_of_the_judge(graded: Any, fault: str):
    verdict = verdict_of(graded)
    assert verdict.fault == fault
    assert not verdict.solved


def test_a_broken_attempt_is_not_graded():
    judge = ProgramJudge(lambda task, answer: (1.0, True, ""))
    verdicts = judge.judge([TASK], [(Attempt(answer="", fault="server gone"), Attempt(answer=""))])[0]
    assert [verdict.fault for verdict in verdicts] == ["no answer: server gone", None]


def test_verdicts_come_in_the_order_of_the_attempts():
    judge = ProgramJudge(lambda task, answer: (float(len(task.text) * 10 + len(answer)), False, ""))
    tasks, attempts = [make_task("a"), make_task("bb")], [(Attempt(answer="x"), Attempt(answer="xxx")), (Attempt(answer=""),)]
    assert [[verdict.score for verdict in group] for group in judge.judge(tasks, attempts)] == [[11.0, 13.0], [20.0]]
    assert judge.judge([], []) == []
    with pytest.raises(ValueError, match="shorter"):
        judge.judge(tasks, attempts[:1])


# ------------------------------------------------------------------------------------------------------ before a run


def test_the_judge_of_the_words_world_passes():
    check_judge(ProgramJudge(grade), controls())


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda task, answer: (0.5, False, ""), "score 0.5"),
        (lambda task, answer: (-grade(task, answer)[0], False, ""), "score -1.0"),
        (lambda task, answer: (math.nan, False, ""), "score is nan"),
        (lambda task, answer: grade(TASK, answer), "KeyError: 'gold'"),
    ],
)
def test_a_judge_that_does_not_put_good_above_bad_is_refused(broken: Grade, why: str):
    with pytest.raises(SparringError, match=r"mend judge\.grade or judge\.controls") as refused:
        check_judge(ProgramJudge(broken), controls())
    assert why in str(refused.value)


# ------------------------------------------------------------------------------------------------------------- solver


def test_every_task_is_answered_n_times():
    model = ScriptedModel(lambda prompt, role, rng: f"{role} on {prompt!r}: {rng.random()}")
    tasks = [make_task("one"), make_task("two", context="given")]
    attempts = Responder(Sampling(n=3, max_new_tokens=100)).attempt(tasks, model, seed=5)
    assert [len(group) for group in attempts] == [3, 3]
    for group, prompt in zip(attempts, ("'one'", "'given\\n\\ntwo'"), strict=True):
        assert len({attempt.answer for attempt in group}) == 3
        for attempt in group:
            assert attempt.answer.startswith(f"solver on {prompt}")
            assert [sample.text for sample in attempt.samples] == [attempt.answer]
            assert attempt.fault is None
    assert attempts == Responder(Sampling(n=3, max_new_tokens=100)).attempt(tasks, model, seed=5)
