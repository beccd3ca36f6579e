"""A small Coq project as a world: its sets hold apart what is taught and what is asked; and Coq's automation on its theorems."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.coq_baselines import TACTICS, UNION, Automation, baseline_rows, missing, present, read_hammer, tried, union_of
from bench.rir_coq import METHODS, Setting, append, baselines, held_out, keep_setting, read_rows, report, search_rows, theory
from sparring.config_prove import ProveRecipe, Search
from sparring.coq.world import HELD_OUT, CoqWorld
from sparring.envs.coq import CoqEnv
from sparring.envs.coq_pool import CoqOptions
from sparring.envs.sandbox import available
from sparring.errors import SparringError
from sparring.game import Goals, Task, make_task
from sparring.games.prove import prover_of
from sparring.rundir import Watch

pytestmark = [
    pytest.mark.skipif(
        shutil.which("coqidetop.opt") is None, reason="coqidetop.opt is not installed (Debian: apt-get install coq)"
    ),
    pytest.mark.skipif(available() is not None, reason=f"no sandbox: {available()}"),
]

SETS = ("train", "validation", "test")
FIRST = """Section Pairs.
  Variables A B : Prop.
  Lemma swap : A /\\ B -> B /\\ A.
  Proof. intros [a b]. split; assumption. Qed.
End Pairs.
Lemma zero n : n + 0 = n.
Proof. induction n as [| n IH]; simpl. - reflexivity. - rewrite IH. reflexivity. Qed.
Lemma succ n m : n + S m = S (n + m).
Proof. induction n as [| n IH]; simpl; [ reflexivity | rewrite IH; reflexivity ]. Qed.
Set Nested Proofs Allowed.
Lemma outer : True /\\ (forall n : nat, n = n).
Proof.
  Lemma inner : True. Proof. exact I. Qed.
  split; [ exact inner | intros n; reflexivity ].
Qed.
"""
SECOND = """From Mine Require Import First.
Lemma comm n m : n + m = m + n.
Proof. induction n as [| n IH]. - simpl. now rewrite zero. - simpl. now rewrite succ, IH. Qed.
Lemma zero_again n : n + 0 = n.
Proof. exact (zero n). Qed.
Section One. Let twice : 1 = 1. Proof. reflexivity. Qed. End One.
Section Two. Let twice : 2 = 2. Proof. reflexivity. Qed. End Two.
Lemma on_the_way : forall n, n + 0 = n /\\ 0 + n = n.
Proof. intros n. assert (comm_of : 0 + n = n + 0). { apply comm. } rewrite zero. auto. Qed.
Lemma times : forall k : nat, k * 0 = 0.
Proof. induction k as [| k IH]. - reflexivity. - exact IH. Qed.
Lemma by_times : 3 * 0 = 0.
Proof. assert (all : forall k : nat, k * 0 = 0). { intros k. apply times. } apply all. Qed.
Lemma open : False. Proof. Admitted.
Program Definition same (n : nat) : nat := n.
Lemma dots (P : Prop) : P -> P /\\ True.
Proof with trivial. split... Qed.
Lemma last (a b : bool) : a = b -> b = a.
Proof. intros e. symmetry. exact e. Qed.
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "_CoqProject").write_text("-Q . Mine\n-arg -w -arg -all\n")
    (folder / "First.v").write_text(FIRST)
    (folder / "Second.v").write_text(SECOND)
    return folder


@pytest.fixture(scope="module")
def trace(project: Path) -> Path:
    return project.parent / "traces" / "trace.parquet"


def world(project: Path, trace: Path, split: str = "random", seed: int = 0) -> CoqWorld:
    return CoqWorld(libraries=[str(project)], trace=trace, split=split, seed=seed, held_out=0.3)  # type: ignore[arg-type]


def names(tasks: list[Task]) -> list[str]:
    return [task.meta["full_name"].removeprefix("Mine.") for task in tasks]


ORDER = [f"First.{name}" for name in ("swap", "zero", "succ", "outer")]
ORDER += [f"Second.{name}" for name in ("comm", "zero_again", "on_the_way", "times", "by_times", "dots", "last")]


def test_tasks_are_theorems_in_file_order_without_themselves(project: Path, trace: Path) -> None:
    made = world(project, trace)
    tasks = [task for name in SETS for task in made.tasks(name)]
    assert sorted(names(tasks), key=ORDER.index) == ORDER
    for name in SETS:
        places = [ORDER.index(found) for found in names(made.tasks(name))]
        assert places == sorted(places)
    [comm] = [task for task in tasks if task.meta["full_name"] == "Mine.Second.comm"]
    assert (comm.context, comm.text) == ("From Mine Require Import First.\n", "Lemma comm n m : n + m = m + n.")
    assert comm.meta["file_path"] == "Second.v"
    assert (comm.meta["steps"], comm.meta["premises"]) == (5, ["Mine.First.succ", "Mine.First.zero"])
    assert [task.id for name in SETS for task in world(project, trace).tasks(name)] == [task.id for task in tasks]


@pytest.mark.parametrize("seed", range(6))
def test_nothing_that_is_asked_is_taught(project: Path, trace: Path, seed: int) -> None:
    made = world(project, trace, seed=seed)
    asked = {name: {task.text.split(None, 2)[2] for task in made.tasks(name)} for name in SETS}
    assert sum(map(len, asked.values())) == len(set().union(*asked.values()))
    homes = [name for name in SETS if {"First.zero", "Second.zero_again"} & set(names(made.tasks(name)))]
    assert len(homes) == 1, "the same statement twice is in one set"
    taught = {step.state for step in made.steps("train")}
    assert taught
    assert not taught & made.statements(HELD_OUT)
    for name in SETS:
        first = made.statements(name)
        assert not any(step.state in first for other in SETS if other != name for step in made.steps(other))


def test_a_step_at_a_statement_of_another_set_is_no_step(project: Path, trace: Path) -> None:
    """``by_times`` proves by assert what ``times`` states."""
    seen: set[bool] = set()
    for seed in range(20):
        made = world(project, trace, seed=seed)
        apart = next(name for name in SETS if "Second.times" in names(made.tasks(name))) != next(
            name for name in SETS if "Second.by_times" in names(made.tasks(name))
        )
        taught = [step.tactic for name in SETS for step in made.steps(name)]
        assert "apply times" in taught
        assert ("intros k" in taught) is not apart
        assert ("1 steps left out: it begins at a statement of another set" in "\n".join(made.lines())) is apart
        seen.add(apart)
    assert seen == {True, False}


def test_what_is_left_out_is_counted(project: Path, trace: Path) -> None:
    made = world(project, trace)
    every = [step.tactic for name in SETS for step in made.steps(name)]
    assert "split..." not in every
    assert "symmetry" in every
    said = "\n".join(made.lines())
    assert "1 steps left out: no tactic that a player may say" in said
    assert "1 theorems left out: stated within another proof" in said
    assert "1 theorems left out: another theorem has the same name" in said
    assert "2 files" in said
    assert all(step.used and step.role == "trace" for step in made.steps("train"))


def test_an_environment_loads_what_the_files_require(project: Path, trace: Path) -> None:
    made = world(project, trace)
    [task] = [task for name in SETS for task in made.tasks(name) if task.meta["full_name"] == "Mine.Second.comm"]
    env = CoqEnv(made.options(CoqOptions()))
    try:
        begun = env.start(task)
        assert isinstance(begun, Goals), begun
        assert begun.text in {text for name in SETS for text in made.statements(name)}
        assert not present(env, begun, "Mine.Second.comm")
        assert env.check(task, "induction n; simpl; [ now rewrite zero | now rewrite succ, IHn ]").solved
        assert not env.check(task, "reflexivity").solved
    finally:
        env.close()


def test_samples_are_uniform_and_in_order(project: Path, trace: Path) -> None:
    made = world(project, trace)
    every = names(made.tasks("train"))
    drawn = [names(made.sample("train", 2, seed)) for seed in range(300)]
    assert all(pair == sorted(pair, key=ORDER.index) and len(set(pair)) == 2 for pair in drawn)
    counts = [sum(name in pair for pair in drawn) for name in every]
    expected = 600 / len(every)
    assert all(abs(count - expected) < 0.3 * expected for count in counts), counts
    assert names(made.sample("train", 99, 0)) == every
    assert drawn[0] == names(made.sample("train", 2, 0))
    held = names(made.tasks(HELD_OUT))
    assert held == sorted(names(made.tasks("validation")) + names(made.tasks("test")), key=ORDER.index)
    assert len(made.steps("train", theorems=1)) < len(made.steps("train"))


def test_what_is_traced_is_not_traced_again_unless_it_changed(project: Path, trace: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    class Told(Watch):
        def begin(self, phase: str, total: int | None) -> None:
            seen.append(f"{phase} {total}")

    again = CoqWorld(libraries=[str(project)], trace=trace, held_out=0.3, watch=Told())
    assert seen == []
    assert "(2 from before)" in next(again.lines())
    again.tasks("test")
    assert seen == ["trace 2"]


def test_what_is_wrong_is_said(project: Path, trace: Path) -> None:
    with pytest.raises(SparringError, match="'chapter' is none of random, folder, premise"):
        world(project, trace, "chapter")
    with pytest.raises(SparringError, match=r"held_out is 0\.7"):
        CoqWorld(libraries=["Bool"], trace=trace, held_out=0.7)
    with pytest.raises(SparringError, match="no set 'dev'"):
        world(project, trace).tasks("dev")
    with pytest.raises(SparringError, match="is no library"):
        CoqWorld(libraries=["Nowhere"], trace=trace).tasks("test")


# ---------------------------------------------------------------------------------------------- automation


def test_automation_proves_what_it_should_and_every_proof_is_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [tactic for tactic in TACTICS if tactic.name in ("easy", "auto", "firstorder", "lia")]
    monkeypatch.setattr("bench.coq_baselines.TACTICS", some)
    section = "Section S.\nVariable P : nat -> Prop.\nHypothesis all : forall n, P n.\n"
    tasks = [
        make_task("Lemma mine n : P n.", context=section),
        make_task("Lemma sum (n m : nat) : n <= m -> n < S m + n.", context=section),
        make_task("Lemma no (n : nat) : P n -> n = 0.", context=section),
        make_task("Lemma bad : forall n, P n.", context=section + "Lemma broken : 0 = 1.\nProof. discriminate. Qed.\n"),
    ]
    rows = list(baseline_rows(tasks, 2))
    assert {row["method"] for row in rows} == {tactic.name for tactic in some} | {UNION}
    proved = [{row["method"] for row in rows if row["task"] == task.id and row["proved"]} for task in tasks]
    assert proved[0] == {"easy", "auto", "firstorder", UNION}
    assert proved[1] == {"lia", UNION}
    assert proved[2:] == [set(), set()]
    assert all((row["audit_s"] > 0) == (row["status"] == "proved") for row in rows if row["method"] != UNION)
    assert {row["status"] for row in rows if row["task"] == tasks[3].id} == {"refused"}
    union = [row for row in rows if row["method"] == UNION]
    assert [row["by"] for row in union] == ["easy", "lia", "", ""]
    assert union[1]["seconds"] == pytest.approx(
        sum(row["seconds"] for row in rows if row["task"] == tasks[1].id and row["method"] != UNION)
    )


def test_what_a_tactic_needs_may_not_change_the_statement() -> None:
    """Where the line cannot stand, or gives the statement another meaning, the tactic has not proved it."""
    changing = Automation(name="changing", text="auto", loads="Definition three := 4.")
    hiding = Automation(name="hiding", text="auto", loads="Qed.")
    tasks = [make_task("three = 3", context="Module M. Definition three := 3. End M. Import M.")]
    env = CoqEnv()
    try:
        assert tried(env, tasks[0], env.start(tasks[0]), hiding, 2)["status"] == "refused"
        assert not tried(env, tasks[0], env.start(tasks[0]), changing, 2)["proved"]
        plain = env.start(make_task("1 + 1 = 2", context="Require Import PeanoNat."))
        assert isinstance(plain, Goals)
        assert present(env, plain, "Coq.Arith.PeanoNat.Nat.add_comm")
        assert not present(env, plain, "Coq.Reals.RIneq.Rle_refl")
    finally:
        env.close()


def test_the_union_stops_at_the_first_proof() -> None:
    def row(method: str, proved: bool, seconds: float) -> dict[str, object]:
        times = dict.fromkeys(("seconds", "env_s", "total_s"), seconds)
        return {
            "method": method,
            "task": "t",
            "proved": proved,
            "status": "proved" if proved else "timeout",
            "steps": 1,
            "audit_s": 0,
            **times,
        }

    found = union_of([row("a", False, 2.0), row("b", True, 0.5), row("c", True, 9.0)])
    assert (found["method"], found["by"], found["proved"], found["seconds"], found["steps"]) == (UNION, "b", True, 2.5, 2)
    none = union_of([row("a", False, 2.0), row("b", False, 0.5)])
    assert (none["by"], none["proved"], none["seconds"], none["status"]) == ("", False, 2.5, "timeout")


def test_the_bench_keeps_each_theorem_and_reports_all(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search over moves, which asks no model, stands for every method."""
    pytest.importorskip("matplotlib")
    recipe = tmp_path / "coq.toml"
    recipe.write_text('game = "prove"\n[env]\nkind = "coq"\n[creator]\nkind = "none"\n')
    setting = Setting(recipe=str(recipe), libraries=(str(project),), split="random", theorems=2, seconds=5.0, device="cpu")
    keep_setting(tmp_path, setting)
    keep_setting(tmp_path, setting)
    with pytest.raises(SparringError, match="another --folder"):
        keep_setting(tmp_path, replace(setting, theorems=3))
    monkeypatch.setattr("bench.coq_baselines.TACTICS", TACTICS[:2])
    baselines(tmp_path, setting)
    about = theory(setting.load(tmp_path))
    tasks, env = held_out(about.world, setting), about.env
    try:
        prover = prover_of(ProveRecipe(search=Search(policy="moves", calls=0, seconds=5.0)), env)
        rows = list(search_rows(tasks, prover, env, None, "any"))
    finally:
        env.close()
    assert [row["task"] for row in rows] == [task.id for task in tasks]
    for method in METHODS:
        mine = [{**row, "method": method.name} for row in rows]
        append(tmp_path / "search" / f"0 {method.name}.jsonl", tasks, method.name, lambda left, mine=mine: mine)
    report(tmp_path, setting, 1, tmp_path / "results")
    page = (tmp_path / "results" / "rir_coq.md").read_text("utf-8")
    assert "10 searches by 5 methods; seeds: 1; theorems: 2 of held-out." in page
    assert "### mixture minus all automation" in page
    assert "| easy | " in page
    assert "Sets: train: " in page


def test_a_killed_bench_goes_on_with_the_next_theorem(tmp_path: Path) -> None:
    tasks = [make_task(text) for text in ("a", "b", "c")]
    asked: list[list[str]] = []

    def rows(left: Sequence[Task]) -> Iterator[dict[str, str]]:
        asked.append([task.text for task in left])
        for task in left:
            for method in ("x", "last"):
                yield {"method": method, "task": task.id}

    out = tmp_path / "search" / "rows.jsonl"
    append(out, tasks[:1], "last", rows)
    whole = out.read_text()
    out.write_text(whole + json.dumps({"method": "x", "task": tasks[1].id}) + '\n{"method": "la')
    append(out, tasks, "last", rows)
    assert asked == [["a"], ["b", "c"]]
    assert [(row["task"], row["method"]) for row in read_rows(out)] == [(t.id, m) for t in tasks for m in ("x", "last")]


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Automation(name="nowhere", text="nowhere", library="Nowhere/Nowhere.vo")
    monkeypatch.setattr("bench.coq_baselines.TACTICS", (*TACTICS[:1], nowhere))
    assert missing() == ["nowhere"]
    assert {row["method"] for row in baseline_rows([make_task("True")], 2)} == {"easy", UNION}


def test_hammer_is_run_by_coqc_and_what_it_says_is_tried() -> None:
    """A tactic of that name that says at once what to write: the plug-in itself need not be installed."""
    says = 'Ltac hammer := match goal with |- _ = _ => idtac "Replace the hammer tactic with: symmetry; assumption" end.'
    fake = Automation(name="hammer", text="hammer")
    good = make_task("Lemma swapped (n m : nat) : n = m -> m = n.", context=f"Section S.\n{says}")
    none = make_task("True", context=says)
    env = CoqEnv()
    try:
        assert tried(env, good, env.start(good), fake, 2)["proved"]
        assert tried(env, none, env.start(none), fake, 2)["status"] == "exhausted"
    finally:
        env.close()


def test_what_hammer_says_is_read() -> None:
    said = "Running provers (using 8 threads)...\nReplace the hammer tactic with:\n\thauto lq: on use: Nat.add_comm, f.\n"
    assert read_hammer(said) == "hauto lq: on use: Nat.add_comm, f"
    assert read_hammer("Replace the hammer tactic with: sfirstorder\nx") == "sfirstorder"
    assert read_hammer("Error: Hammer failed: no proof") == ""
