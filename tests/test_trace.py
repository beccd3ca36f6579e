"""Traces: a row per tactic, the goal it worked on, what it made of it; written and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sparring.envs.embedded import KernelEnv
from sparring.errors import SparringError
from sparring.game import Goals, Outcome, Proved, Rejected, Task, Verdict, make_task
from sparring.trace import TraceRow, read_trace, trace, write_trace
from sparring.worlds.lemmas import LIBRARY

SWAP = make_task("forall (p q : Prop), p /\\ q -> q /\\ p", meta={"full_name": "Logic.and_swap", "file_path": "logic.v"})
SWAP_SCRIPT = "intro h\ndestruct h as [h1 h2]\nsplit\nexact h2\n\nexact h1"


@pytest.fixture(scope="module")
def env() -> KernelEnv:
    return KernelEnv(LIBRARY)


def test_a_row_for_each_tactic_with_its_own_goal_alone(env: KernelEnv) -> None:
    rows = list(trace(env, [(SWAP, SWAP_SCRIPT)]))
    assert [row.tactic for row in rows] == ["intro h", "destruct h as [h1 h2]", "split", "exact h2", "exact h1"]
    assert [row.step for row in rows] == [0, 1, 2, 3, 4]
    assert rows[0].state_before == "p q : Prop\n⊢ p /\\ q -> q /\\ p"
    halves = ["p q : Prop\nh1 : p\nh2 : q\n⊢ q", "p q : Prop\nh1 : p\nh2 : q\n⊢ p"]
    assert rows[2].state_after == "\n\n".join(halves)
    assert [rows[3].state_before, rows[4].state_before] == halves
    assert rows[3].state_after == rows[4].state_after == "no goals"
    assert {(row.full_name, row.file_path, row.theorem_statement) for row in rows} == {("Logic.and_swap", "logic.v", SWAP.text)}


def test_premises_are_the_lemmas_that_a_tactic_names(env: KernelEnv) -> None:
    task = make_task("forall x y, x + y = y + x")
    rows = list(trace(env, [(task, "intros x y\nrewrite (add_comm x y)\nrfl")], frozenset(env.lemmas)))
    assert [row.premises for row in rows] == [(), ("add_comm",), ()]
    assert rows[0].full_name == task.id


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("intro h\nleft", "line 2"),
        ("intro h", "goals are left"),
        (SWAP_SCRIPT + "\ntrivial", "nothing is left to prove at line 6"),
    ],
)
def test_what_is_no_proof_has_no_trace(env: KernelEnv, script: str, complaint: str) -> None:
    with pytest.raises(SparringError, match=complaint):
        list(trace(env, [(SWAP, script)]))


def test_what_is_no_statement_has_no_trace(env: KernelEnv) -> None:
    with pytest.raises(SparringError, match="cannot be started"):
        list(trace(env, [(make_task("forall x, x +"), "rfl")]))


def test_a_trace_reads_back_as_it_was_written(env: KernelEnv, tmp_path: Path) -> None:
    rows = list(trace(env, [(SWAP, SWAP_SCRIPT)]))
    assert write_trace(tmp_path / "trace.parquet", rows) == len(rows)
    assert read_trace(tmp_path / "trace.parquet") == rows
    assert [path.name for path in tmp_path.iterdir()] == ["trace.parquet"]


def test_places_are_kept_and_may_be_missing(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "trace.parquet"
    placed = TraceRow(
        full_name="A.b",
        file_path="A.v",
        theorem_statement="Lemma b : True.",
        step=0,
        state_before="⊢ True",
        tactic="exact I",
        premises=(),
        state_after="no goals",
        start=16,
        end=24,
    )
    write_trace(path, [placed])
    assert read_trace(path) == [placed]
    pq.write_table(pq.read_table(path).drop_columns(["start", "end"]), path)
    assert [(row.tactic, row.start, row.end) for row in read_trace(path)] == [("exact I", 0, 0)]


def test_an_empty_trace_is_a_trace(tmp_path: Path) -> None:
    assert write_trace(tmp_path / "none.parquet", []) == 0
    assert read_trace(tmp_path / "none.parquet") == []


def test_other_files_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(SparringError, match="not a trace"):
        read_trace(tmp_path / "missing.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(SparringError, match="not a trace"):
        read_trace(tmp_path / "text.parquet")
    pq.write_table(pa.table({"tactic": ["rfl"]}), tmp_path / "other.parquet")
    with pytest.raises(SparringError, match="no column"):
        read_trace(tmp_path / "other.parquet")


class Tangled:
    """An environment whose goals depend on each other: ``split`` keeps them together."""

    def start(self, task: Task) -> Goals | Rejected:
        return Goals(texts=("a ?m", "b ?m"))

    def step(self, tries: Sequence[tuple[Goals, str]]) -> list[Outcome]:
        return [Proved() if len(goals.texts) == 1 else Goals(texts=goals.texts[1:]) for goals, _ in tries]

    def moves(self, goals: Goals) -> Sequence[str]:
        return ()

    def hints(self, goals: Goals) -> str:
        return ""

    def split(self, goals: Goals) -> list[Goals]:
        return [goals]

    def check(self, task: Task, script: str) -> Verdict:
        return Verdict(score=1.0, solved=True)

    def close(self) -> None: ...


def test_goals_that_depend_on_each_other_stay_one_state() -> None:
    rows = list(trace(Tangled(), [(make_task("t"), "one\ntwo")]))
    assert [(row.state_before, row.state_after) for row in rows] == [("a ?m\n\nb ?m", "b ?m"), ("b ?m", "no goals")]
