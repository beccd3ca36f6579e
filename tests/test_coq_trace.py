"""Traces of small Coq projects against rows written by hand; what fails stops nothing; what is finished is not done again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from sparring.coq.glob import premises, read_references
from sparring.coq.trace import CoqSummary, CoqTraceOptions, trace_coq
from sparring.envs.coq import CoqEnv
from sparring.envs.coq_files import find_sources, theorems_of
from sparring.envs.coq_replay import replayable
from sparring.envs.coq_theorems import task_of
from sparring.envs.sandbox import available
from sparring.game import Goals, Proved
from sparring.rundir import Watch
from sparring.trace import TraceRow, read_trace

pytestmark = [
    pytest.mark.skipif(
        shutil.which("coqidetop.opt") is None, reason="coqidetop.opt is not installed (Debian: apt-get install coq)"
    ),
    pytest.mark.skipif(available() is not None, reason=f"no sandbox: {available()}"),
]

BASE = """(* A file that another one needs. \u2200 *)
Section Swap.
  Variables A B : Prop.
  Lemma swap : A /\\ B -> B /\\ A.
  Proof.
    intros [a (* first *) b].
    split.
    - exact b.
    - { exact a. }
  Qed.
End Swap.
Module Facts.
  Lemma zero n : n + 0 = n. Proof. induction n as [| n IH]; [ reflexivity | ]. simpl. now rewrite IH. Qed.
  Notation zero_plus := plus_O_n.
End Facts.
"""
MAIN = """From Mine Require Import Base.
Require Import Program.
Definition two : nat := 2.
Lemma use (P : nat -> Prop) n (h : P n) : P (n + 0) /\\ True.
Proof with auto.
  split...
  rewrite Facts.zero, <- (Facts.zero_plus n); assumption.
Qed.
Lemma term : True /\\ True -> True /\\ True.
Proof swap True True.
Lemma two_is : two = 2. reflexivity. Defined.
Obligation Tactic := idtac.
Program Definition same (n : nat) : {m : nat | m + 0 = n} := n.
Next Obligation. intros n; apply Facts.zero. Qed.
Goal exists x : nat, x = 3 /\\ True.
Proof.
  eexists. split. 2: { exact I. }
  1: reflexivity.
Qed.
Lemma open : False. Proof. idtac. Admitted.
Lemma dropped : False. Proof. Abort.
"""


def write(folder: Path, **files: str) -> Path:
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "_CoqProject").write_text("-Q src Mine\n-arg -w -arg -all\n")
    for name, text in files.items():
        (folder / "src" / f"{name}.v").write_text(text)
    return folder


def trace(sources: Sequence[object], out: Path, **options: float) -> tuple[CoqSummary, list[TraceRow]]:
    summary = trace_coq([str(source) for source in sources], out, options=CoqTraceOptions(**options))  # type: ignore[arg-type]
    return summary, read_trace(out)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("project"), Base=BASE, Main=MAIN)


@pytest.fixture(scope="module")
def traced(project: Path) -> tuple[CoqSummary, list[TraceRow]]:
    return trace([project], project.parent / "trace.parquet")


def of(rows: Sequence[TraceRow], name: str) -> list[tuple[str, str, str]]:
    return [(row.state_before, row.tactic, row.state_after) for row in rows if row.full_name == name]


def test_bullets_and_braces_move_the_focus_and_are_no_rows(traced: tuple[CoqSummary, list[TraceRow]]) -> None:
    props = "A : Prop\nB : Prop\n"
    b, a = f"{props}a : A\nb : B\n⊢ B", f"{props}a : A\nb : B\n⊢ A"
    assert of(traced[1], "Mine.Base.swap") == [
        (f"{props}⊢ A /\\ B -> B /\\ A", "intros [a b]", f"{props}a : A\nb : B\n⊢ B /\\ A"),
        (f"{props}a : A\nb : B\n⊢ B /\\ A", "split", f"{b}\n\n{a}"),
        (b, "exact b", "no goals"),
        (a, "exact a", "no goals"),
    ]


def test_a_row_says_where_and_what_for(project: Path, traced: tuple[CoqSummary, list[TraceRow]]) -> None:
    data = (project / "src" / "Base.v").read_bytes()
    rows = [row for row in traced[1] if row.full_name == "Mine.Base.swap"]
    assert [row.step for row in rows] == [0, 1, 2, 3]
    assert {(row.file_path, row.theorem_statement) for row in rows} == {("src/Base.v", "Lemma swap : A /\\ B -> B /\\ A.")}
    texts = [data[row.start : row.end].decode() for row in rows]
    assert texts == ["intros [a (* first *) b].", "split.", "exact b.", "exact a."]


def test_compound_sentences_and_default_tactics_are_rows_as_they_are(traced: tuple[CoqSummary, list[TraceRow]]) -> None:
    whole, left = (f"P : nat -> Prop\nn : nat\nh : P n\n⊢ P (n + 0){rest}" for rest in (" /\\ True", ""))
    assert of(traced[1], "Mine.Main.use") == [
        (whole, "split...", left),
        (left, "rewrite Facts.zero, <- (Facts.zero_plus n); assumption", "no goals"),
    ]
    assert of(traced[1], "Mine.Base.Facts.zero")[0][2] == "n : nat\nIH : n + 0 = n\n⊢ S n + 0 = S n"
    assert [replayable(row.tactic) for row in traced[1] if row.full_name == "Mine.Main.use"] == [False, True]


def test_a_proof_that_is_a_term_is_one_step(traced: tuple[CoqSummary, list[TraceRow]]) -> None:
    swap = "⊢ True /\\ True -> True /\\ True"
    assert of(traced[1], "Mine.Main.term") == [(swap, "exact (swap True True)", "no goals")]


def test_coq_names_what_has_no_name(traced: tuple[CoqSummary, list[TraceRow]]) -> None:
    names = list(dict.fromkeys(row.full_name for row in traced[1] if row.file_path == "src/Main.v"))
    assert names == [f"Mine.Main.{name}" for name in ("use", "term", "two_is", "same_obligation_1", "Unnamed_thm")]
    [(before, tactic, after)] = of(traced[1], "Mine.Main.same_obligation_1")
    assert (before, tactic, after) == ("⊢ forall n : nat, (fun m : nat => m + 0 = n) n", "intros n; apply Facts.zero", "no goals")


def test_a_goal_that_another_one_closes_is_worked_on_as_well(traced: tuple[CoqSummary, list[TraceRow]]) -> None:
    rows = of(traced[1], "Mine.Main.Unnamed_thm")
    assert [row[1] for row in rows] == ["eexists", "split", "exact I", "1: reflexivity"]
    assert rows[1][2] == "⊢ ?x = 3\n\n⊢ True"
    assert [row[0] for row in rows[2:]] == ["⊢ True", "⊢ ?x = 3"]
    assert [row[2] for row in rows[2:]] == ["no goals"] * 2


def test_premises_are_the_lemmas_and_definitions_within_a_tactic(traced: tuple[CoqSummary, list[TraceRow]]) -> None:
    named = {row.tactic: row.premises for row in traced[1] if row.premises}
    assert named == {
        "intros n; apply Facts.zero": ("Mine.Base.Facts.zero",),
        "rewrite Facts.zero, <- (Facts.zero_plus n); assumption": ("Mine.Base.Facts.zero", "Mine.Base.Facts.zero_plus"),
        "exact (swap True True)": ("Mine.Base.swap",),
    }


def test_references_are_read_by_kind_and_place() -> None:
    glob = (
        "DIGEST 0\nFCoq.A\nR10:12 Coq.A M f thm\nR5:5 Coq.B <> g def\nR20:22 Coq.Init.Datatypes <> nil constr\n"
        "R30:31 Coq.A <> S.x var\nprf 40:41 <> h\nR50:52 Coq.A M f thm\nR60:61 Coq.B <> ::x_'+'_x not\nR70:70 Coq.C <> ax prfax\n"
    )
    found = read_references(glob)
    assert premises(found, 0, 100) == ("Coq.B.g", "Coq.A.M.f", "Coq.C.ax")
    assert premises(found, 6, 10) == ()
    assert premises(found, 10, 11) == ("Coq.A.M.f",)


def test_the_summary_counts(traced: tuple[CoqSummary, list[TraceRow]]) -> None:
    summary, rows = traced
    assert (summary.proofs, summary.replayed, summary.steps, summary.reused) == (7, 7, len(rows), 0)
    assert [(report.file, report.replayed, report.unfinished) for report in summary.reports] == [
        ("src/Base.v", 2, 0),
        ("src/Main.v", 5, 2),
    ]
    assert not any(report.failures or report.other or report.stopped or report.compiling for report in summary.reports)
    assert "7 replayed (100.00 %)" in next(summary.lines())


def test_nothing_is_written_into_the_project(project: Path, traced: object) -> None:
    assert sorted(path.name for path in project.rglob("*") if path.is_file()) == ["Base.v", "Main.v", "_CoqProject"]


def test_reading_finds_what_coq_opens(project: Path, traced: tuple[CoqSummary, list[TraceRow]]) -> None:
    found = [theorem for source in find_sources([str(project)]) for theorem in theorems_of(source) if theorem.proved]
    by_name = dict.fromkeys(row.full_name for row in traced[1])
    assert len(found) == len(by_name)
    assert [theorem.full_name for theorem in found if theorem.name] == [
        name for name in by_name if not name.endswith(("_1", "_thm"))
    ]


def test_a_step_of_a_trace_is_a_step_of_the_environment(tmp_path: Path) -> None:
    """The same states, from the task that a theorem makes."""
    _, rows = trace(["Bool.IfProp"], tmp_path / "trace.parquet", premises=False)
    env, [source] = CoqEnv(), find_sources(["Bool.IfProp"])
    try:
        for theorem in theorems_of(source):
            task = task_of(theorem)
            assert task is not None
            state = env.start(task)
            for row in [row for row in rows if row.full_name == theorem.full_name]:
                assert isinstance(state, Goals)
                assert state.texts[0] == row.state_before
                [state] = env.step([(state, row.tactic)])
            assert isinstance(state, Proved)
    finally:
        env.close()
    assert len(rows) > 10


# ------------------------------------------------------------------------------------------------ what fails

BROKEN = """Lemma good : True. Proof. exact I. Qed.
Lemma wrong : 1 = 2. Proof. split. exact I. Qed.
Definition bad := nothing.
Lemma unknown : nothing. Proof. auto. Qed.
Lemma last : 1 = 1. Proof. auto. Qed.
"""


def test_a_proof_that_fails_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    summary, rows = trace([write(tmp_path / "p", Broken=BROKEN)], tmp_path / "out.parquet")
    [report] = summary.reports
    assert [row.full_name for row in rows] == ["Mine.Broken.good", "Mine.Broken.last"]
    assert (summary.proofs, summary.replayed) == (4, 2)
    assert [name for name, _ in report.failures] == ["Mine.Broken.wrong", "Mine.Broken.unknown"]
    assert "Unable to unify" in report.failures[0][1]
    assert [name for name, _ in report.other] == ["Definition bad := nothing."]
    assert "Unable to unify" in report.compiling
    assert any("Mine.Broken.wrong" in line for line in summary.lines())


def test_a_file_that_cannot_run_stops_no_other(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "p", Alone="Lemma a : True. exact I. Qed.\n", Needy="Require Import Missing.\nLemma b : True. exact I. Qed.\n"
    )
    (folder / "src" / "Text.v").write_bytes(b"Lemma c : True. (* \xff *)")
    summary, rows = trace([folder], tmp_path / "out.parquet")
    assert [row.full_name for row in rows] == ["Mine.Alone.a"]
    stopped = {report.file: report.stopped for report in summary.reports}
    assert stopped["src/Alone.v"] == ""
    assert "Missing" in stopped["src/Needy.v"]
    assert "utf-8" in stopped["src/Text.v"]
    assert (summary.proofs, summary.replayed) == (2, 1)


def test_the_proofs_of_a_file_that_does_not_start_are_not_replayed(tmp_path: Path) -> None:
    text = "Lemma a : True. exact I. Qed.\nLemma b : True. exact I. Qed.\nLemma c : True. Admitted.\n"
    folder = write(tmp_path / "p", Alone=text)
    (folder / "_CoqProject").write_text("-Q src Mine\n-arg -nonsense\n")
    summary, rows = trace([folder], tmp_path / "out.parquet", premises=False)
    [report] = summary.reports
    assert not rows
    assert report.stopped
    assert [name for name, _ in report.failures] == ["Mine.Alone.a", "Mine.Alone.b"]
    assert "2 proofs, 0 replayed (0.00 %)" in next(summary.lines())


def test_a_sentence_that_takes_too_long_costs_its_proof(tmp_path: Path) -> None:
    text = "Lemma slow : True. do 1000000000 idtac. exact I. Qed.\nLemma fast : True. exact I. Qed.\n"
    folder = write(tmp_path / "p", Slow=text)
    summary, rows = trace([folder], tmp_path / "out.parquet", sentence_timeout_s=0.5, file_timeout_s=3)
    assert [row.full_name for row in rows] == ["Mine.Slow.fast"]
    assert "User interrupt" in summary.reports[0].failures[0][1]
    assert "longer than 3 s" in summary.reports[0].compiling


def test_a_file_that_takes_too_long_is_left(tmp_path: Path) -> None:
    text = "Lemma first : True. exact I. Qed.\nLemma slow : True. do 1000000000 idtac. exact I. Qed.\nLemma last : True. exact I. Qed.\n"
    summary, rows = trace([write(tmp_path / "p", Slow=text)], tmp_path / "out.parquet", file_timeout_s=2, premises=False)
    [report] = summary.reports
    assert [row.full_name for row in rows] == ["Mine.Slow.first"]
    assert "killed" in report.stopped
    assert [name for name, _ in report.failures] == ["Mine.Slow.slow", "Mine.Slow.last"]


# ------------------------------------------------------------------------------------------------ going on


def test_only_what_changed_is_done_again(tmp_path: Path) -> None:
    needs_a, out = "From Mine Require Import A.\nLemma b : True. exact a. Qed.\n", tmp_path / "out.parquet"
    folder = write(tmp_path / "p", A="Lemma a : True. exact I. Qed.\n", B=needs_a, C="Lemma c : True. exact I. Qed.\n")
    assert trace([folder], out, premises=False)[0].reused == 0
    first = out.read_bytes()
    assert trace([folder], out, premises=False)[0].reused == 3
    assert out.read_bytes() == first
    write(folder, B=needs_a + "Lemma more : True. exact I. Qed.\n")
    summary, rows = trace([folder], out, premises=False)
    assert (summary.reused, "Mine.B.more" in {row.full_name for row in rows}) == (2, True)
    write(folder, A="(* *) Lemma a : True. exact I. Qed.\n")
    assert trace([folder], out, premises=False)[0].reused == 1


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[object] = []

    class Listening(Watch):
        def begin(self, phase: str, total: int | None) -> None:
            told.append((phase, total))

        def update(self, done: int, total: int) -> None:
            told.append(done)

        def end(self, phase: str, finished: bool) -> None:
            told.append(finished)

    folder = write(tmp_path / "p", A="", B="", C="")
    trace_coq([str(folder)], tmp_path / "out.parquet", Listening())
    assert told == [("trace", 3), 1, 2, 3, True]


def test_an_error_on_the_way_leaves_nothing_running(tmp_path: Path) -> None:
    class Breaking(Watch):
        def update(self, done: int, total: int) -> None:
            raise KeyboardInterrupt

    slow = "Lemma a : True. do 1000000000 idtac. exact I. Qed.\n"
    folder, begun = write(tmp_path / "p", Quick="", Slow=slow, Slower=slow), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        trace_coq([str(folder)], tmp_path / "out.parquet", Breaking(), CoqTraceOptions(premises=False, jobs=3))
    assert time.monotonic() - begun < 30
    names = [process.name() for process in psutil.Process().children(recursive=True)]
    assert not [name for name in names if name.startswith("coqidetop")]


def _is_coq(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("coqidetop")
    except psutil.NoSuchProcess:
        return False


def test_a_call_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    files = {f"F{n}": f"Lemma f{n} : {n} = {n}. Proof. do {20 if n < 2 else 300000} idtac. reflexivity. Qed.\n" for n in range(5)}
    folder = write(tmp_path / "p", **files)
    out = tmp_path / "out.parquet"
    code = "import sys; from pathlib import Path; from sparring.coq.trace import *; "
    code += "trace_coq([sys.argv[1]], Path(sys.argv[2]), None, CoqTraceOptions(premises=False, jobs=2))"
    child = subprocess.Popen([sys.executable, "-c", code, str(folder), str(out)], cwd=Path(__file__).parents[1])
    below: list[psutil.Process] = []
    parts = out.with_name("out.parquet.parts")
    limit = time.monotonic() + 60
    # Not while a sandbox sets itself up: killed in that millisecond, bubblewrap leaves a child that waits for it for ever.
    while time.monotonic() < limit and child.poll() is None:
        below = psutil.Process(child.pid).children(recursive=True)
        if [*parts.glob("*.json")] and len([1 for process in below if _is_coq(process)]) == 2:
            break
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not alive
    assert not out.exists()
    summary, rows = trace([folder], out, premises=False)
    assert 1 <= summary.reused < 5
    assert len(rows) == 10
    again = tmp_path / "again.parquet"
    trace([folder], again, premises=False)
    assert again.read_bytes() == out.read_bytes()
