"""Right, wrong, or the judge broke: the third is counted, never taught and never a zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sparring.config import Creator
from sparring.creators.evolve import draw_tasks, rewards_of
from sparring.creators.select import METRICS, estimate
from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Sample, Task, make_task
from sparring.judges.program import ProgramJudge, check_judge
from sparring.learners.lessons import pairs_of

TASK = make_task("say yes")


def grade(task: Task, answer: str) -> tuple[float, bool, str]:
    """The number that was answered; words break it."""
    return float(answer), float(answer) == 1.0, "read"


def play(*answers: str, task: Task = TASK, judge: Callable[[Task, str], Any] = grade) -> Bout:
    attempts = tuple(Attempt(answer=answer, samples=(Sample(role="solver", text=answer),)) for answer in answers)
    return Bout(task=task, attempts=attempts, verdicts=ProgramJudge(judge).judge([task], [attempts])[0])


def faults(bout: Bout) -> list[str | None]:
    return [verdict.fault for verdict in bout.verdicts]


def test_three_values():
    right, wrong, broken = play("1", "0.25", "no number").verdicts
    assert (right.score, right.solved, right.fault, right.note) == (1.0, True, None, "read")
    assert (wrong.score, wrong.solved, wrong.fault) == (0.25, False, None)
    assert broken.fault == "ValueError: could not convert string to float: 'no number'"
    assert not broken.solved


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_a_fault(score: float):
    assert faults(play("a", judge=lambda task, answer: (score, True, ""))) == [f"score is {score}"]


@pytest.mark.parametrize("found", [None, 0.5, (0.5, True), ("high", True, ""), (None, False, "")])
def test_a_judge_that_answers_something_else_is_a_fault(found: object):
    (fault,) = faults(play("a", judge=lambda task, answer: found))
    assert fault is not None
    assert fault.split(":")[0] in ("TypeError", "ValueError")


def test_numbers_of_numpy_are_numbers():
    verdict = play("a", judge=lambda task, answer: (np.float32(0.5), np.bool_(True), None)).verdicts[0]
    assert (verdict.score, verdict.solved, verdict.note) == (0.5, True, "None")
    assert (type(verdict.score), type(verdict.solved)) == (float, bool)


def test_a_player_that_broke_is_not_judged():
    attempt = Attempt(answer="1", fault="the server went away")
    assert ProgramJudge(grade).judge([TASK], [(attempt,)])[0][0].fault == "no answer: the server went away"


def test_a_user_who_wants_to_stop_is_obeyed():
    def slow(task: Task, answer: str) -> tuple[float, bool, str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play("a", judge=slow)


# ---------------------------------------------------------------------------------------------- never taught, never a zero


def test_pairs_come_from_judged_answers_alone():
    (pair,) = pairs_of([play("broken", "0.75", "nan", "0.5", "inf")])
    assert (pair.chosen.text, pair.rejected.text, pair.margin) == ("0.75", "0.5", 0.25)
    assert pairs_of([play("broken", "0.75"), play("broken", "broken")]) == []


@pytest.mark.parametrize("metric", [metric for metric in METRICS if not metric.startswith("inv_")])
def test_a_fault_counts_as_if_the_answer_did_not_exist(metric: str):
    with_fault = estimate(metric, rewards_of([play("0.75", "broken", "0.5", "1")]))
    without = estimate(metric, rewards_of([play("0.75", "0.5", "1")]))
    assert with_fault == pytest.approx(without)
    assert np.isnan(estimate(metric, rewards_of([play("broken", "nan")]))).all()


@pytest.mark.parametrize("metric", METRICS)
def test_a_prompt_without_a_judged_answer_is_never_drawn(metric: str):
    probe = [play("broken", "nan", task=make_task(f"b{k}")) for k in range(3)] + [
        play("0", "1", task=make_task(f"a{k}")) for k in range(3)
    ]
    drawn = draw_tasks(probe, Creator(metric=metric, fraction=1.0, uniform=0.5), seed=0)  # type: ignore[arg-type]
    assert sorted(task.text for task in drawn) == ["a0", "a1", "a2"]


# ---------------------------------------------------------------------------------------------- judging the judge


def test_a_judge_that_orders_the_controls_passes():
    check_judge(ProgramJudge(grade), [(TASK, "1", "0"), (TASK, "0.5", "0.25")])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda task, answer: (0.5, True, "fine"), r"\(score 0.5, fine\) above the bad answer '0' \(score 0.5, fine\)"),
        (lambda task, answer: (-float(answer), False, ""), r"\(score -1.0"),
        (lambda task, answer: (math.nan, False, ""), "score is nan"),
        (lambda task, answer: 1 / 0, "ZeroDivisionError"),
        (lambda task, answer: grade(task, answer or "x"), "could not convert"),
    ],
    ids=["constant", "upside down", "no number", "raises", "breaks on the bad answer"],
)
def test_a_broken_judge_is_refused(broken: Callable[[Task, str], Any], words: str):
    controls = [(TASK, "1", "0" if words != "could not convert" else "")]
    with pytest.raises(
        SparringError, match=rf"does not put the good answer '1'.*{words}.*'say yes'; mend judge\.grade or judge\.controls"
    ):
        check_judge(ProgramJudge(broken), controls)


def test_no_controls_are_no_proof():
    with pytest.raises(SparringError, match=r"judge\.controls gives none"):
        check_judge(ProgramJudge(grade), [])
