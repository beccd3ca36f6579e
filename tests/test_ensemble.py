"""Several judges as one; what may not be averaged is a fault."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.config import Judge as JudgeSettings
from sparring.config import Member
from sparring.errors import SparringError
from sparring.game import Attempt, Task, Verdict, make_task
from sparring.judges.ensemble import Ensemble, Scaled, combine
from sparring.judges.program import ProgramJudge

TASKS = [make_task("one"), make_task("two")]
ATTEMPTS = [(Attempt(answer="0.5"), Attempt(answer="1")), (Attempt(answer="x"),)]


def number(task: Task, answer: str) -> tuple[float, bool, str]:
    return float(answer), float(answer) == 1, ""


@dataclass(frozen=True)
class Constant:
    """A judge of one opinion."""

    score: float

    def judge(self, tasks: Sequence[Task], attempts: Sequence[tuple[Attempt, ...]]) -> list[tuple[Verdict, ...]]:
        return [tuple(Verdict(score=self.score, solved=True) for _ in group) for group in attempts]


def of(scores: Sequence[float], **settings: object) -> Verdict:
    ensemble = Ensemble({f"judge{place}": Constant(score) for place, score in enumerate(scores)}, JudgeSettings(**settings))  # type: ignore[arg-type]
    return ensemble.judge(TASKS[:1], [(Attempt(answer=""),)])[0][0]


def test_by_hand():
    assert of([1, 2, 6]).score == 3
    assert of([1, 2, 6], combine="worst").score == 1
    assert of([1, 2, 6], combine="uncertain", doubt=0.25).score == pytest.approx(3 - 0.25 * (4 + 1 + 9) / 3)
    assert of([7], combine="uncertain", doubt=9.0).score == 7
    assert of([1, 2, 6]).note == "judge0 1, judge1 2, judge2 6"


def test_solved_is_what_the_combined_score_says():
    assert of([0.4, 0.6]).solved
    assert not of([0.4, 0.6], combine="worst").solved
    assert of([0.4, 0.6], combine="worst", solved_from=0.4).solved


def test_a_fault_of_one_member_is_a_fault_and_of_that_answer_alone():
    ensemble = Ensemble({"program": ProgramJudge(number), "always": Constant(3)}, JudgeSettings(combine="worst"))
    (half, one), (fault,) = ensemble.judge(TASKS, ATTEMPTS)
    assert (half.score, one.score) == (0.5, 1)
    assert fault.fault == "program: ValueError: could not convert string to float: 'x'"
    assert (fault.score, fault.solved) == (0, False)


def test_what_overflows_is_a_fault():
    assert of([1e200, -1e200], combine="uncertain").fault == "score is -inf"
    assert of([1e308, 1e308, 1e308]).fault is None


def test_an_ensemble_of_nobody():
    with pytest.raises(SparringError, match=r"list some under \[\[judge\.members\]\]"):
        Ensemble({}, JudgeSettings())


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6), st.floats(0, 10))
def test_doubt_never_raises_a_score_and_agreement_costs_nothing(scores: list[float], doubt: float):
    mean = combine(scores, JudgeSettings())
    assert min(scores) - 1e-6 <= mean <= max(scores) + 1e-6
    assert combine(scores, JudgeSettings(combine="uncertain", doubt=doubt)) <= mean
    assert combine(scores, JudgeSettings(combine="worst")) == min(scores)
    agreed = JudgeSettings(combine="uncertain", doubt=doubt)
    assert combine([scores[0]] * len(scores), agreed) == pytest.approx(scores[0])


def test_a_program_on_the_scale_of_others():
    (half, one), (fault,) = Scaled(ProgramJudge(number), Member(shift=0.25, scale=0.5)).judge(TASKS, ATTEMPTS)
    assert (half.score, half.solved, one.score, one.solved) == (0.5, False, 1.5, True)
    assert fault.fault is not None
    tiny = Scaled(Constant(1e300), Member(scale=1e-300)).judge(TASKS[:1], [(Attempt(answer=""),)])[0][0]
    assert (tiny.fault, math.isfinite(tiny.score)) == ("score is inf after shift and scale", True)
