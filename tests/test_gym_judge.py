"""Tasks of reasoning-gym: reading, keeping and grading them, and that answers are not run as programs."""

from __future__ import annotations

import builtins
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.errors import SparringError
from sparring.game import Attempt, Task, Verdict, make_task
from sparring.judges import gym
from sparring.judges.gym import SUFFIX, controls_of, gym_tasks, pack, read_gym, tagged_answer, unpack
from sparring.judges.locked import Refused, checked_eval
from sparring.judges.program import ProgramJudge, check_judge

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("reasoning_gym") is None, reason="the extra gym is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]


def verdict(task: Task, answer: str) -> Verdict:
    return ProgramJudge(gym.grade).judge([task], [(Attempt(answer=answer),)])[0][0]


# ------------------------------------------------------------------------------------------------------------- reading


def test_tasks_are_the_same_for_the_same_source():
    tasks = read_gym("gym:chain_sum?size=5&seed=3&min_terms=2&max_terms=2")
    assert len(tasks) == 5
    assert tasks == read_gym("gym:chain_sum?size=5&seed=3&min_terms=2&max_terms=2")
    assert {task.id for task in tasks}.isdisjoint({task.id for task in read_gym("gym:chain_sum?size=5&seed=4")})
    assert all(task.text.endswith(SUFFIX) for task in tasks)
    assert {task.meta["topic"] for task in tasks} == {"chain_sum"}
    assert tasks[0].meta["gym"]["config"] == {"min_terms": 2, "max_terms": 2}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gym:chain_sums", "no family 'chain_sums'; did you mean chain_sum"),
        ("gym:", "no family ''"),
        ("gym:chain_sum?terms=2", "has no setting 'terms'; there are min_terms"),
        ("gym:chain_sum?size=0", "size = 0 should be a whole number"),
        ("gym:chain_sum?size=many", "size = 'many' should be"),
        ("gym:chain_sum?seed=-1", "seed = -1 should be"),
        ("gym:chain_sum?min_terms=5&max_terms=2", "gym:chain_sum refuses"),
        ("gym:composite", "gym:composite refuses"),
    ],
)
def test_a_source_that_is_none_is_refused(source: str, words: str):
    with pytest.raises(SparringError, match=words):
        read_gym(source)


def test_without_the_extra_the_repair_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SparringError, match=r'pip install "sparring\[gym\]"'):
        read_gym("gym:chain_sum")


Json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.integers())), inner),
    ),
    max_leaves=20,
)


@given(Json)
def test_entries_are_kept_exactly(value: Any):
    assert unpack(json.loads(json.dumps(pack(value)))) == value


def test_what_is_no_json_is_not_kept():
    with pytest.raises(TypeError, match="a set is no JSON"):
        pack({"a": [{1, 2}]})


# ------------------------------------------------------------------------------------------------------------- grading


@pytest.mark.parametrize(
    "name", ["basic_arithmetic", "countdown", "n_queens", "sudoku", "rearc", "knights_knaves", "polynomial_equations"]
)
def test_a_gold_answer_is_above_a_corrupted_one_after_a_journey_through_json(name: str):
    tasks = [make_task(task.text, meta=json.loads(json.dumps(task.meta))) for task in gym_tasks(name, 2, 1)]
    check_judge(ProgramJudge(gym.grade), controls_of(tasks))
    for task, good, _ in controls_of(tasks):
        assert verdict(task, f"Let me see.\n{good}").solved


def test_judges_pass_the_check_before_a_run():
    check_judge(ProgramJudge(gym.grade), gym.controls())


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>1</answer> no <answer> 2\n</answer> yes", "2"),
        ("<answer>1", "<answer>1"),
        ("1</answer>", "1</answer>"),
        ("  3\n", "3"),
        ("<answer>" * 200_000 + "</answer>", ""),
    ],
)
def test_the_last_pair_of_tags_holds_the_answer(text: str, answer: str):
    assert tagged_answer(text) == answer


def test_partial_credit_is_the_familys_and_not_solved():
    [task] = gym_tasks("spell_backward", 1, 0)
    gold = unpack(task.meta["gym"]["entry"])["answer"]
    found = verdict(task, f"<answer>{gold[:-1]}x</answer>")
    assert found.fault is None
    assert 0 <= found.score < 1
    assert not found.solved


def test_a_task_of_another_kind_is_a_fault():
    fault = verdict(make_task("1 + 1"), "2").fault
    assert fault is not None
    assert "is none of reasoning-gym's" in fault


def test_what_breaks_the_grader_is_a_fault():
    [task] = gym_tasks("prime_factorization", 1, 0)
    fault = verdict(task, "<answer>many primes</answer>").fault
    assert fault is not None
    assert fault.startswith("Broken: ValueError")
    fault = verdict(task, "7" * 30_000).fault
    assert fault is not None
    assert "30000 characters, more than 20000" in fault
    broken = make_task("x", meta={"gym": {"name": "chain_sum", "config": {}, "entry": {"{}": [["answer", 5]]}}})
    assert verdict(broken, "5").fault is not None


# ----------------------------------------------------------------------------------------------------- untrusted answers


@pytest.mark.parametrize(
    "name", ["n_queens", "spiral_matrix", "string_insertion", "binary_matrix", "countdown", "polynomial_multiplication"]
)
def test_an_answer_is_not_run_as_a_program(name: str, tmp_path: Path):
    target = tmp_path / "made"
    [task] = gym_tasks(name, 1, 1)
    gold = unpack(task.meta["gym"]["entry"])["answer"]
    for code in (f"open({str(target)!r}, 'w')", f"__import__('os').system('touch {target}')", f"exec(\"open('{target}', 'w')\")"):
        found = verdict(task, f"<answer>[{code}, {gold!r}]</answer>")
        assert found.fault or found.score < 1
        found = verdict(task, f"<answer>{code}</answer>")
        assert found.fault or found.score < 1
    assert not target.exists()


@pytest.mark.slow
def test_an_answer_that_takes_forever_is_a_fault():
    [task] = gym_tasks("countdown", 1, 1)
    fault = verdict(task, "<answer>9**9**9**9</answer>").fault
    assert fault is None or "processor time" in fault  # some versions look at the form first
    assert verdict(task, controls_of([task])[0][1]).solved, "the next question is answered"


SAFE = [
    "1 + 2 * 3",
    "[[1, 2], [3, 4]]",
    "-3.5e2 < 4",
    "'a'",
    "{'a': 1}",
    "Integer (1 )+Symbol ('x' )**Integer (2 )",
    "sqrt (Integer (2 ))",
]
UNSAFE = [
    "open('x', 'w')",
    "__import__('os')",
    "().__class__",
    "[x for x in (1, 2)]",
    "lambda: 1",
    "exec('1')",
    "eval('1')",
    "(Integer)(1).__class__",
    "preview (Integer (1 ))",
    "lambdify (Symbol ('x' ),Symbol ('x' ))",
    "f'{1}'",
    "__builtins__",
    "[1, 2][0]",
    "sympify.__globals__",
]


def library_eval() -> tuple[Any, dict[str, Any]]:
    """``checked_eval`` as sympy would call it, and the names that it would hand over."""
    names: dict[str, Any] = {}
    exec("from sympy import *", names)
    names |= {name: value for name, value in vars(builtins).items() if callable(value)}
    scope: dict[str, Any] = {"__name__": "sympy.parsing", "checked_eval": checked_eval}
    exec("def call(source, names):\n    return checked_eval(source, names, {})", scope)
    return scope["call"], names


@pytest.mark.parametrize("source", SAFE)
def test_arithmetic_is_evaluated(source: str):
    call, names = library_eval()
    assert call(source, names) == eval(source, names)
    assert call(compile(source, "test", "eval"), names) == eval(source, names)


@pytest.mark.parametrize("source", UNSAFE)
def test_anything_else_is_refused(source: str):
    call, names = library_eval()
    with pytest.raises(Refused):
        call(source, names)


@pytest.mark.parametrize("source", ["open('x', 'w')", "__import__('os')", "().__class__", "lambda: 1", "exec('1')"])
def test_a_compiled_program_is_refused(source: str):
    call, names = library_eval()
    with pytest.raises(Refused):
        call(compile(source, "test", "eval"), names)


def test_other_callers_of_eval_are_left_alone():
    here = 5
    assert checked_eval("here + len('abc')") == here + 3
    assert checked_eval("a.real", {"a": 2}) == 2
