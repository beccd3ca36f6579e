"""Math answers: where the final answer is found, what counts as equal, and that no answer hangs or breaks the judge."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.errors import SparringError
from sparring.game import Attempt, Task, Verdict, make_task
from sparring.judges import maths
from sparring.judges.isolated import Broken, Isolated
from sparring.judges.maths import MAX_CHARS, final_answer, gold_answer
from sparring.judges.program import ProgramJudge, check_judge

pytestmark = pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="the extra math is not installed")


def task_of(answer: Any) -> Task:
    return make_task("What is it?", meta={"answer": answer})


def verdict(gold: Any, answer: str) -> Verdict:
    return ProgramJudge(maths.grade).judge([task_of(gold)], [(Attempt(answer=answer),)])[0][0]


# ------------------------------------------------------------------------------------------------------- final answer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("So \\boxed{1} or rather \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed 5 it is", "5"),
        ("\\boxed{ 7 } though the answer is 8.\n#### 9", "7"),
        ("\\boxed{unclosed and 12", "12"),
        ("The answer is 8, I think.\n#### 1,200\nBye 3", "1,200"),
        ("First the answer is 3. Then the answer is $x = 4$. It took 5 steps.", "x = 4"),
        ("**Answer:** 42 dollars", "42"),
        ("The answer is: \\(\\sqrt{2}\\).", "\\sqrt{2}"),
        ("The answer is 3.5.", "3.5"),
        ("answer = 3 or 4", "3 or 4"),
        ("It took 2 days and -1,234.5 hours.", "-1,234.5"),
        ("one half is 1/2", "1/2"),
        ("I do not know", ""),
        ("", ""),
        ("\\boxed", ""),
        ("\\boxed{}", ""),
        ("\\boxed{" + "1" * (MAX_CHARS + 1) + "}", ""),
    ],
)
def test_the_final_answer_is_found(text: str, found: str):
    assert final_answer(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "{" * 200_000,
        "\\boxed{" * 50_000,
        "answer is " * 50_000,
        "$" * 200_000,
        "answer" + " " * 200_000,
        "1" * 200_000,
        "#" * 200_000,
    ],
)
def test_looking_for_it_takes_no_time(text: str):
    start = time.process_time()
    final_answer(text)
    assert time.process_time() - start < 1.0


@given(st.text(alphabet="\\boxed{}$()[]#answer is:1/,.-\n", max_size=200))
def test_no_text_breaks_the_looking(text: str):
    assert len(final_answer(text)) <= MAX_CHARS


@pytest.mark.parametrize(
    ("answer", "gold"), [("2 * 36 = 72\n#### 72", "72"), ("so \\boxed{x^2}.", "x^2"), (0.5, "0.5"), (7, "7"), ("$3$", "3")]
)
def test_the_gold_answer_is_the_end_of_a_solution_or_all_of_it(answer: Any, gold: str):
    assert gold_answer(task_of(answer)) == gold


@pytest.mark.parametrize("answer", [None, "", " ", True, ["1"]])
def test_a_task_without_a_gold_answer_is_a_fault(answer: Any):
    fault = verdict(answer, "1").fault
    assert fault is not None
    assert "give it a column `answer`" in fault


# ----------------------------------------------------------------------------------------------------------- equality


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2}", "\\boxed{0.5}"),
        ("1/2", "It is 2/4"),
        ("72", "#### 72.00"),
        ("1000", "The answer is $1{,}000$"),
        ("x^2 + 2x + 1", "\\boxed{(x+1)^2}"),
        ("\\frac{\\sqrt{2}}{2}", "\\boxed{\\frac{1}{\\sqrt 2}}"),
        ("3", "\\boxed{x = 3}"),
        ("\\{1, 2\\}", "\\boxed{\\{2, 1\\}}"),
        ("50\\%", "\\boxed{0.5}"),
        ("12", "\\boxed{12 \\text{ cm}}"),
        ("\\text{Paris}", "The answer is **\\text{paris}**"),
        ("Paris", "The answer is Paris."),
        ("-5", "The answer is −5"),
        ("2\\pi", "\\boxed{2 \\pi}"),
    ],
)
def test_equal(gold: str, answer: str):
    assert verdict(gold, answer) == Verdict(score=1.0, solved=True, note=f"final answer {final_answer(answer)}")


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2}", "\\boxed{0.51}"),
        ("3", "\\boxed{3, 4}"),
        ("3", "The answer is 3 or 4"),
        ("3", "\\boxed{3} no, \\boxed{4}"),
        ("(1, 2)", "\\boxed{(2, 1)}"),
        ("x + 1", "\\boxed{x - 1}"),
        ("Paris", "The answer is Sirap"),
        ("5", "five"),
        ("5", ""),
        ("5", "\\boxed{\\frac{}"),
        ("2", "\\boxed{__import__('os').system('true')}"),
    ],
)
def test_different(gold: str, answer: str):
    found = verdict(gold, answer)
    assert (found.fault, found.score, found.solved) == (None, 0.0, False)


def test_a_gold_that_nobody_can_read_is_a_fault_of_the_judge():
    fault = verdict("\\begin{nonsense", "\\boxed{2}").fault
    assert fault is not None
    assert "is no formula that math-verify can read" in fault


def test_judges_pass_the_check_before_a_run():
    check_judge(ProgramJudge(maths.grade), maths.controls())


def test_without_the_extra_the_repair_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SparringError, match=r'pip install "sparring\[math\]"'):
        maths.controls()


# ------------------------------------------------------------------------------------------------------ untrusted text


BOMBS = [
    "9^{9^{9^{9}}}",
    "\\sum_{n=1}^{10^{9}} \\sin(n)",
    "(x+1)^{100000}",
    "1000000!",
    "\\int_0^1 x^{x^{x}} dx",
    "{" * 200 + "1" + "}" * 200,
]


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_no_formula_takes_longer_than_it_may(bomb: str):
    start = time.monotonic()
    found = verdict("3", f"\\boxed{{{bomb}}}")
    assert not found.solved
    assert found.fault in (None, "Broken: more than 3 s of processor time")
    assert time.monotonic() - start < 60  # 3 s of processor time; the machine may be busy


def test_an_answer_that_hangs_the_parser_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    impatient = Isolated("sparring.judges.maths:equal", ("1", "\\frac{2}{2}"), cpu_s=0.5)
    monkeypatch.setattr(maths, "_checker", lambda: impatient)
    assert verdict("3", "\\boxed{9^{9^{9^{9}}}}").fault == "Broken: more than 0.5 s of processor time"
    impatient.close()


def echo(value: Any) -> Any:
    """What the tests below ask a locked process to do, by name."""
    kind, _, rest = str(value).partition(":")
    if kind == "write":
        Path(rest).write_text("here", encoding="utf-8")
    elif kind == "run":
        os.system(rest)
    elif kind == "spin":
        while True:
            pass
    elif kind == "sleep":
        time.sleep(60)
    elif kind == "eat":
        return len("x" * 10**11)
    elif kind == "die":
        os.kill(os.getpid(), signal.SIGKILL) if rest == "kill" else os._exit(3)
    elif kind == "print":
        print("[1, {}]")
    elif kind == "environment":
        return dict(os.environ)
    elif kind == "nan":
        return {1, 2}
    return value


@pytest.fixture(scope="module")
def locked() -> Iterator[Isolated]:
    isolated = Isolated("tests.test_maths_judge:echo", ("warm",), cpu_s=0.5)
    yield isolated
    isolated.close()


def test_a_locked_process_answers(locked: Isolated):
    assert locked(["a", 1, {"b": None}]) == ["a", 1, {"b": None}]
    assert locked("print:") == "print:"


def test_a_locked_process_writes_nothing_and_runs_nothing(locked: Isolated, tmp_path: Path):
    for deed in (f"write:{tmp_path / 'file'}", f"run:touch {tmp_path / 'file'}"):
        with pytest.raises(Broken, match="Refused"):
            locked(deed)
    assert list(tmp_path.iterdir()) == []
    assert locked("alive") == "alive"


def test_a_locked_process_has_no_secrets(locked: Isolated, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    locked.close()
    assert "secret" not in str(locked("environment:"))


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        ("spin:", "more than 0.5 s of processor time"),
        ("sleep:", "no answer within 3 s"),
        ("eat:", "MemoryError"),
        ("die:exit", r"the process ended \(status 3\)"),
        ("die:kill", r"Refused|the process ended \(status -9\)"),
        ("nan:", "no JSON|not JSON|the process ended"),
        ("x" * 2**20, "are more than 1048576"),
    ],
    ids=["spin", "sleep", "eat", "exit", "kill", "no JSON", "long"],
)
def test_what_breaks_a_locked_process_is_an_error_and_the_next_question_is_answered(locked: Isolated, deed: str, why: str):
    with pytest.raises(Broken, match=why):
        locked(deed)
    assert locked("alive") == "alive"


def test_a_function_that_cannot_be_loaded_says_so():
    with pytest.raises(Broken, match=r"tests\.nowhere:work cannot be loaded"):
        Isolated("tests.nowhere:work", ())("x")
