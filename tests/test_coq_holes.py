"""A user's own Coq file: its holes are found and filled in their places, and nothing else in it changes. With the real Coq."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from threading import Timer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.coq.compile import project_of
from sparring.coq.filling import Filling, describe_report, prove_file
from sparring.coq.flat import Unit, find_units
from sparring.coq.holes import scan
from sparring.coq.partial import best_part
from sparring.coq.patch import Block, apply_edits, as_block, edits_of, lay_out, unified_diff, write_file
from sparring.coq.results import Report, Result
from sparring.envs.coq_pool import CoqOptions
from sparring.envs.process import Child, Limits
from sparring.envs.sandbox import available
from sparring.errors import SparringError
from sparring.game import Attempt, Env, Model, Sampling, Solver, Step, Task
from sparring.models.scripted import ScriptedModel
from sparring.solvers.budget import Budget
from sparring.solvers.hierarchy import Flat, Prover
from sparring.solvers.search import Rules

missing = [name for name in ("coqidetop.opt", "coqc", "coqchk") if shutil.which(name) is None]
real = [
    pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed (Debian: apt-get install coq)"),
    pytest.mark.skipif(available() is not None, reason=f"no sandbox: {available()}"),
]

FILE = """\
Require Import Arith.

(** "Admitted." and (* admit. *) are no holes here *)
Definition text_α := tt. (* Admitted. *)
Lemma plain : forall n : nat, n + 0 = n.
Admitted. (* todo: α → β *)

Lemma wrong : forall n : nat, n = S n.
Proof.
Admitted.

Section Here.
  Variable A : Type.
  Hypothesis same : forall x y : A, x = y.

  Lemma in_section (x y : A) : x = y /\\ y = x.
  Proof. Admitted.

  Lemma selected : forall n, n + 0 = n /\\ 0 + n = n /\\ n * 0 = 0.
  Proof.
    intro n.
    split; [|split].
    3: { admit. }
    { admit. }
    all: idtac.
    admit.
  Admitted.
End Here.

Module Inner.
  Theorem bullets : forall p q : Prop, p -> q -> (p /\\ q) /\\ (q \\/ p).
  Proof.
    intros p q hp hq.
    split.
    - split.
      + admit.
      + exact hq.
    - (* right *) admit.
  Admitted.
End Inner.

Lemma left_open : forall n : nat, (n = n /\\ n + 0 = n) /\\ 0 = 0.
Proof.
  intros n. split.
  { split. - auto.
Admitted.

Class Pointed (A : Type) := { point : A; law : point = point }.
#[global] Instance inst : Pointed nat.
Proof. apply Build_Pointed with 0. Admitted.

Definition data : nat -> nat.
Proof. Admitted.

Lemma both : 1 = 1 /\\ 2 = 2 /\\ 3 = 4.
Proof.
  split; [|split].
  all: admit.
Admitted.

Lemma compound : True /\\ True.
Proof. split; [ admit | ]. exact I. Admitted.

Lemma done : True.
Proof. exact I. Qed."""
PROVED = {"plain", "in_section", "selected", "bullets", "left_open", "inst"}


def prover(say: Callable[[str], str] = lambda prompt: "", moves: int = 6, steps: int = 60) -> Callable[[Env], Solver]:
    """Searches with Coq's automation alone, unless a model is given something to say."""
    rules = Rules(budget=Budget(steps=steps), moves=moves)
    return lambda env: Prover(env=env, rules=rules, policy=Flat(actor=Sampling(n=8, beam=True, max_new_tokens=200)))


def model_of(*tactics: str) -> ScriptedModel:
    return ScriptedModel(lambda prompt, role, random: random.choice(tactics))


SILENT = model_of("")


def fill(path: Path, text: str, model: Model = SILENT, **how: object) -> Report:
    path.write_bytes(text.encode())
    solver = how.pop("solver", None) or prover()
    return prove_file(path, Filling(solver=solver, model=model, options=OPTIONS, **how))  # pyright: ignore[reportArgumentType]


OPTIONS = CoqOptions(tactic_timeout_s=2)


def statuses(report: Report) -> list[tuple[str | None, str]]:
    return [(result.unit.name, result.status) for result in report.results]


def only(report: Report) -> Result:
    [result] = report.results
    return result


def compiles(path: Path, *flags: str) -> bool:
    ran = subprocess.run(
        ["coqc", "-q", "-w", "none", *flags, path.name], cwd=path.parent, capture_output=True, text=True, check=False
    )
    return ran.returncode == 0


# ------------------------------------------------------------------------------------------------ a file with every kind of hole


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("holes")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return fill(folder / "File.v", FILE)


class TestFile:
    pytestmark = real

    def test_what_automation_can_prove_is_proved(self, report: Report):
        assert len(report.results) == 15
        assert {name for name, status in statuses(report) if status == "proved"} == {*PROVED, "both"}
        assert [status for name, status in statuses(report) if name == "both"] == ["proved", "proved", "gave up"]
        assert dict(statuses(report))["wrong"] == "gave up"
        closed = {result.unit.name for result in report.results if result.closes}
        assert closed == PROVED

    def test_each_hole_shows_its_goal(self, report: Report):
        goals = {(result.unit.name, result.hole.line): result.hole.goal for result in report.results}
        assert goals["in_section", 17] == "A : Type\nsame : forall x y : A, x = y\nx : A\ny : A\n⊢ x = y /\\ y = x"
        assert goals["selected", 23] == "A : Type\nsame : forall x y : A, x = y\nn : nat\n⊢ n * 0 = 0"
        assert goals["selected", 26] == "A : Type\nsame : forall x y : A, x = y\nn : nat\n⊢ 0 + n = n"
        assert goals["bullets", 38] == "p : Prop\nq : Prop\nhp : p\nhq : q\n⊢ q \\/ p"

    def test_the_file_with_the_proofs_compiles_and_is_not_written(self, report: Report, folder: Path):
        assert (folder / "File.v").read_bytes() == FILE.encode()
        assert report.kept is None
        (folder / "Filled.v").write_bytes(report.new.encode())
        assert compiles(folder / "Filled.v")
        admitted = {unit.name for unit in find_units(report.new).units}
        assert admitted == {"wrong", "both", "data", "compound"}
        assert "Defined." not in report.new

    def test_the_patch_makes_that_file(self, report: Report, folder: Path):
        (folder / "File.v").write_bytes(FILE.encode())
        subprocess.run(["git", "apply", "-"], input=report.diff.encode(), cwd=folder, check=True)
        assert (folder / "File.v").read_bytes() == report.new.encode()
        (folder / "File.v").write_bytes(FILE.encode())

    def test_proofs_look_as_if_written_there(self, report: Report):
        assert "n + 0 = n.\nProof.\n  auto.\nQed. (* todo: α → β *)\n" in report.new
        assert "  Proof.\n    auto.\n  Qed.\n" in report.new
        assert "    - (* right *) auto.\n  Qed.\n" in report.new
        assert report.new.endswith("Proof. exact I. Qed.")

    def test_a_person_is_told(self, report: Report):
        lines = "\n".join(describe_report(report))
        assert "12 of 15 holes proved" in lines
        assert "line 8, wrong" not in lines
        assert "line 10, wrong: gave up: everything was tried" in lines
        assert "note: compound: line 62: an admit within a larger tactic is no hole" in lines
        assert "the statement stays admitted" in lines

    def test_long_proofs_fit_everywhere(self, tmp_path: Path):
        """Scripts of several lines and goals, in every kind of hole."""
        report = fill(tmp_path / "File.v", FILE, solver=Lying([LONG] * 14))
        assert {name for name, status in statuses(report) if status == "proved"} == {*PROVED, "both"}
        assert {name for name, status in statuses(report) if status == "refused"} == {"wrong", "both"}
        assert {result.unit.name for result in report.results if result.closes} == PROVED
        assert LONG_IN_PLACE in report.new
        assert "    2: {" not in report.new
        assert "    3: { idtac.\n         cut True.\n         - intros _.\n" in report.new

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 10**6))
    def test_nothing_changes_but_what_is_replaced(self, seed: int):
        """Whatever is proved: only sentences ``admit.`` and ``Admitted.`` go, with the blanks before them."""
        random = Random(seed)
        units = scanned()
        solved = {hole: random.choice(BLOCKS) for unit in units for hole in unit.holes if random.random() < 0.5}
        edits = sorted(edit for unit in units for edit in edits_of(FILE, unit, solved))
        new = apply_edits(FILE, edits)
        place = moved = 0
        for edit in edits:
            assert new[place + moved : edit.start + moved] == FILE[place : edit.start]
            assert FILE[edit.start : edit.end].strip() in ("admit.", "all: admit.", "Admitted.")
            assert "\n\n" not in edit.new
            assert not any(line != line.rstrip() for line in edit.new.split("\n"))
            place, moved = edit.end, moved + len(edit.new) - (edit.end - edit.start)
        assert new[place + moved :] == FILE[place:]
        left = {unit.name for unit in find_units(new).units}
        whole = {unit.name for unit in units if not unit.skipped and all(hole in solved for hole in unit.holes)}
        assert left == {unit.name for unit in units} - whole


LONG = "idtac\ncut True\nintros _\nsolve [ auto with arith | reflexivity ]\ncut True\nauto\nexact I"
LONG_IN_PLACE = """
    - split.
      + idtac.
        cut True.
        * intros _.
          solve [ auto with arith | reflexivity ].
        * cut True.
          -- auto.
          -- exact I.
      + exact hq.
    - (* right *)
      idtac.
      cut True.
      + intros _.
"""
BLOCKS: list[Block] = [["auto"], ["intro h", "exact h"], ["split", [["auto"], ["intro", "split", [["a"], ["b"], ["c"]]]]]]


@cache
def scanned() -> list[Unit]:
    return scan(FILE, Path("File.v"), find_units(FILE).units, OPTIONS)


# ------------------------------------------------------------------------------------------------ other files


class TestCases:
    pytestmark = real

    def test_line_ends_stay(self, tmp_path: Path):
        text = "Lemma a : 1 = 1 /\\ 2 = 2.\r\nProof.\r\n  split.\r\n  - admit.\r\n  - admit.\r\nAdmitted.\r\nLemma b : True. Admitted."
        report = fill(tmp_path / "F.v", text)
        assert (
            report.new
            == (
                "Lemma a : 1 = 1 /\\ 2 = 2.\r\nProof.\r\n  split.\r\n  - reflexivity.\r\n  - reflexivity.\r\nQed.\r\n"
                "Lemma b : True.\r\nProof.\r\n  reflexivity.\r\nQed."
            )
            or "trivial" in report.new
        )
        assert report.new.count("\n") == report.new.count("\r\n")
        (tmp_path / "F.v").write_bytes(text.encode())
        subprocess.run(["git", "apply", "-"], input=report.diff.encode(), cwd=tmp_path, check=True)
        assert (tmp_path / "F.v").read_bytes() == report.new.encode()

    def test_a_model_proves_what_automation_cannot(self, tmp_path: Path):
        text = "Lemma f : forall P Q : nat -> Prop, (forall n, P n -> Q n) -> (exists n, P n) -> exists n, Q n /\\ True.\nAdmitted.\n"
        tactics = ("intros P Q h e", "destruct e as [n p]", "exists n", "split", "exact (h n p)", "exact I")
        report = fill(tmp_path / "F.v", text, model_of(*tactics), solver=prover(moves=0, steps=400))
        proof = "Proof.\n  intros P Q h e.\n  destruct e as [n p].\n  exists n.\n  split.\n  - exact (h n p).\n  - "
        assert report.new.endswith((f"{proof}exact I.\nQed.\n", f"{proof}split.\nQed.\n"))

    def test_a_part_of_a_proof_is_shown_and_not_written(self, tmp_path: Path):
        report = fill(tmp_path / "F.v", "Lemma f : 1 = 1 /\\ 1 = 2.\nAdmitted.\n", model_of("split"))
        found = only(report)
        assert (found.status, found.rest) == ("partial", ("⊢ 1 = 2",))
        assert found.block is not None
        assert lay_out(found.block, "")[0] == "split."
        assert lay_out(found.block, "")[2] == "- admit."
        assert not report.diff
        assert "  left:\n    ⊢ 1 = 2\n" in "\n".join(describe_report(report))

    def test_a_proof_may_rest_on_an_admitted_lemma_and_that_is_said(self, tmp_path: Path):
        text = "Axiom ax : nat -> nat.\nLemma odd : ax 0 = 1.\nAdmitted.\nLemma uses : 1 = ax 0.\nAdmitted.\n"
        solver, model = prover(moves=0), model_of("rewrite odd", "reflexivity")
        report = fill(tmp_path / "F.v", text, model, solver=solver)
        assert statuses(report) == [("odd", "gave up"), ("uses", "proved")]
        assert set(report.results[1].rests_on) == {"admitted lemma odd", "ax"}
        strict = fill(tmp_path / "F.v", text, model, solver=solver, allow_admitted=False)
        assert statuses(strict) == [("odd", "gave up"), ("uses", "taken back")]
        assert "odd" in strict.results[1].reason
        assert not strict.diff

    def test_one_theorem_can_be_chosen(self, tmp_path: Path):
        text = "Lemma a : True.\nAdmitted.\nLemma b : True.\nAdmitted.\n"
        report = fill(tmp_path / "F.v", text, theorem="b")
        assert statuses(report) == [("b", "proved")]
        assert report.new.startswith("Lemma a : True.\nAdmitted.\n")
        with pytest.raises(SparringError, match=r"'c' is not among the admitted statements of .*; name one of them \(a, b\)"):
            fill(tmp_path / "F.v", text, theorem="c")

    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("Lemma a : True.\nAdmitted.\nLemma b : nonsense.\nAdmitted.\n", 3, "nonsense was not found"),
            ("Lemma a : True.\nProof.\n  split. auto.\nAdmitted.\n", 3, "No such goal"),
            ("Lemma a : True.\nAdmitted.\nDefinition x := .\n", 3, "Syntax error"),
            ("Lemma a : True.\nProof. admit.\nQed.\nLemma b : True. Admitted.", 3, "given up"),
        ],
    )
    def test_a_file_that_does_not_compile_is_named_with_its_line(self, tmp_path: Path, text: str, line: int, message: str):
        with pytest.raises(SparringError, match=rf"F\.v, line {line}: Coq does not accept .*{message}.*Nothing was changed"):
            fill(tmp_path / "F.v", text)
        assert (tmp_path / "F.v").read_text() == text

    def test_a_file_that_breaks_at_its_end_only(self, tmp_path: Path):
        report = fill(tmp_path / "F.v", "Section S.\nLemma a : True.\nAdmitted.\n")
        assert only(report).status == "taken back"
        assert "does not compile as it is" in only(report).reason
        assert not report.diff

    def test_a_proof_that_spoils_another_is_taken_back(self, tmp_path: Path):
        """The second goal decides what the first one needs."""
        text = "Lemma a : exists n, n = 3 /\\ n <= 5.\nProof.\n  eexists. split.\n  - admit.\n  - admit.\nAdmitted.\n"
        text += "Lemma b : True.\nAdmitted.\n"
        report = fill(tmp_path / "F.v", text)
        assert statuses(report) == [("a", "proved"), ("a", "taken back"), ("b", "proved")]
        assert "does not compile: line" in report.results[1].reason
        assert [result.closes for result in report.results] == [False, False, True]

    def test_a_proof_by_its_own_statement_is_taken_back(self, tmp_path: Path):
        report = fill(
            tmp_path / "F.v", "Fixpoint f (n : nat) : n = n + 0.\nAdmitted.\n", model_of("apply f"), solver=prover(moves=0)
        )
        assert only(report).status == "taken back"
        assert "ill-formed" in only(report).reason

    @pytest.mark.parametrize(
        ("proof", "tactics"),
        [
            ("fix IH 1. intros n. assert (Q n).\n  - admit.\n  - admit.", ("exact (IH n)",)),
            ("fix IH 1. intros n. assert (Q n).", ("exact (IH n)",)),
            ("fix IH 1. intros n. enough (Q n).\n  - admit.\n  - split; [ admit | ]. admit.", ("exact (IH n)",)),
            ("intros n. assert (Q n).\n  - admit.\n  - admit.", ("refine ((fix f (m : nat) : P m := _) n)", "exact (f m)")),
        ],
    )
    def test_a_proof_by_itself_is_taken_back_where_the_statement_stays_admitted(
        self, tmp_path: Path, proof: str, tactics: tuple[str, ...]
    ):
        """There is no Qed then, which would look at recursive calls. Once the goal that is left is open at the end, and once an admit
        that is no hole is before it."""
        text = "Parameter P R : nat -> Prop.\nDefinition Q n := R n /\\ True.\n"
        text += f"Lemma f : forall n : nat, P n.\nProof.\n  {proof}\nAdmitted.\nLemma b : True.\nAdmitted.\n"
        report = fill(tmp_path / "F.v", text, model_of(*tactics, "exact I"), solver=prover(moves=0))
        found = {result.hole.goal.rpartition("⊢ ")[2]: result for result in report.results}
        assert found["P n"].status == "taken back"
        assert "ill-formed" in found["P n"].reason
        assert report.results[-1].status == "proved"
        assert "exact (IH n)" not in report.new

    def test_what_only_qed_looks_at_is_looked_at_where_the_statement_stays_admitted(self, tmp_path: Path):
        """A proof with a hypothesis that ``Proof using`` leaves out. What stands after it is taken as it is."""
        text = "Section S.\nVariables a b : nat.\nHypothesis h : a = b.\nLemma u : b = a /\\ a = a /\\ a = 0.\n"
        text += "Proof using a b.\n  split; [|split].\n  - admit.\n  - admit.\n  - admit.\nAdmitted.\nEnd S.\n"
        model = model_of("exact (eq_sym h)", "exact eq_refl")
        report = fill(tmp_path / "F.v", text, model, solver=prover(moves=0))
        assert statuses(report) == [("u", "taken back"), ("u", "taken back"), ("u", "gave up")]
        assert "would not take the whole proof at Qed" in report.results[0].reason
        fine = fill(tmp_path / "F.v", text.replace("using a b", "using a b h"), model, solver=prover(moves=0))
        assert statuses(fine) == [("u", "proved"), ("u", "proved"), ("u", "gave up")]
        assert [result.unseen for result in fine.results] == ["", "", ""]

    def test_what_qed_would_say_is_not_always_known(self, tmp_path: Path):
        """No axiom says that all of SProp is true."""
        text = "Lemma a (P : SProp) : True.\nProof.\n  assert P.\n  - admit.\n  - admit.\nAdmitted.\n"
        text += "Lemma b : True /\\ True.\nProof.\n  split.\n  - admit.\n  - split; [ admit .. ].\nAdmitted.\n"
        report = fill(tmp_path / "F.v", text, model_of("exact I"), solver=prover(moves=0))
        assert statuses(report) == [("a", "gave up"), ("a", "proved"), ("b", "proved")]
        assert "SProp" in report.results[1].unseen
        assert report.results[2].unseen == "part of its statement is no hole"
        assert "(whether Coq takes this proof at Qed is not known: part of" in "\n".join(describe_report(report))

    def test_data_that_other_goals_depend_on_is_not_made_up(self, tmp_path: Path):
        text = "Lemma a : exists n : nat, n = 2.\nProof.\n  unshelve eexists.\n  - admit.\n  - admit.\nAdmitted.\n"
        text += "Lemma b : True.\nProof.\n  assert nat.\n  - admit.\n  - admit.\nAdmitted.\n"
        report = fill(tmp_path / "F.v", text, model_of("exact 0", "exact I"), solver=prover(moves=0))
        assert [status for _, status in statuses(report)] == ["not tried", "gave up", "proved", "proved"]
        assert "other goals depend on" in report.results[0].reason

    def test_an_error_after_a_proof_is_not_laid_to_one_behind_it(self, tmp_path: Path):
        """With Qed the lemma is about fewer variables than when it was admitted."""
        text = "Section S.\nVariables (n m : nat) (h : n = m).\nLemma a : n + 0 = n.\nAdmitted.\nEnd S.\n"
        text += "Lemma use : 1 + 0 = 1.\nProof. apply (a 1 1 eq_refl). Qed.\nLemma b : True.\nAdmitted.\n"
        report = fill(tmp_path / "F.v", text)
        assert statuses(report) == [("a", "taken back"), ("b", "proved")]

    def test_comments_in_what_is_replaced_stay(self, tmp_path: Path):
        text = "Lemma a : True /\\ True.\nProof.\n  split.\n  - admit (* one *).\n  - exact I.\nAdmitted (* two *).\n"
        text += "Lemma b : True /\\ 1 = 2.\nProof.\n  split.\n  all: admit (* three *).\nAdmitted.\n"
        report = fill(tmp_path / "F.v", text, model_of("exact I"), solver=prover(moves=0))
        assert "  - exact I. (* one *)\n  - exact I.\nQed (* two *).\n" in report.new
        assert "  { exact I. }\n  all: admit (* three *).\nAdmitted.\n" in report.new
        assert report.new.count("three") == 1

    def test_what_is_not_looked_at_is_named(self, tmp_path: Path):
        text = "Require Import Program.\nObligation Tactic := idtac.\nProgram Definition pd (n : nat) : {m : nat | m = n + 0} := n.\n"
        text += "Admit Obligations.\nTimeout 3 Lemma tl : 3 = 3.\nAdmitted.\nSet Nested Proofs Allowed.\n"
        text += "Lemma outer : 1 = 1.\nProof.\n  Lemma inner : 2 = 2.\n  Proof.\n  Admitted.\nAdmitted.\n"
        report = fill(tmp_path / "F.v", text)
        assert statuses(report)[0] == ("tl", "proved")
        notes = "\n".join(report.notes)
        assert "line 4: Admit Obligations is not looked at" in notes
        assert "outer: another statement is proved within its proof" in notes
        assert [unit.name for unit in find_units(text).units] == ["tl", "inner", "outer"]
        assert find_units("Fail Lemma a : False. Foo b : x. Admitted.").others == (
            "line 1: what this Admitted ends is not understood, and not looked at",
        )

    def test_ltac2_is_not_supported(self, tmp_path: Path):
        report = fill(tmp_path / "F.v", "From Ltac2 Require Import Ltac2.\nLemma a : 1 = 1.\nProof.\nAdmitted.\n")
        assert not report.results
        assert report.notes == ("a: files in Ltac2 are not supported: idtac is no tactic there; it is not looked at",)

    def test_a_patch_of_a_file_elsewhere_can_be_applied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        report = fill(Path("../F.v"), "Lemma a : True.\nAdmitted.\n")
        subprocess.run(["git", "apply", "-"], input=report.diff.encode(), cwd=tmp_path, check=True)
        assert (tmp_path / "F.v").read_text() == report.new

    def test_stopped_in_the_middle(self, tmp_path: Path):
        """By Ctrl-C, while Coq is at work: what was found until then is there, checked and written."""
        text = "Lemma a : True.\nAdmitted.\nLemma b : 1 = 2.\nAdmitted.\nLemma c : True.\nAdmitted.\n"
        timer = Timer(0.6, signal.raise_signal, [signal.SIGINT])
        report = fill(tmp_path / "F.v", text, model_of("do 1000000000 idtac"), said=lambda result: timer.start(), write=True)
        assert statuses(report) == [("a", "proved"), ("b", "not tried"), ("c", "not tried")]
        assert report.stopped
        assert [unit.name for unit in find_units((tmp_path / "F.v").read_text()).units] == ["b", "c"]
        assert (tmp_path / "F.v.orig").read_text() == text

    def test_nobody_is_believed(self, tmp_path: Path):
        lies = [
            *(
                "admit",
                "Admitted. Axiom x : False.",
                "idtac",
                "give_up",
                "Qed",
                "exact I\nexact I",
                "auto. Qed. Axiom y : False. Goal True",
            ),
            *("split.\nadmit", "exact (ltac:(admit))", "Unset Guard Checking", "(* *) exact I"),
        ]
        text = "".join(f"Lemma l{number} : 1 = 2 -> True.\nAdmitted.\n" for number in range(len(lies)))
        report = fill(tmp_path / "F.v", text, solver=Lying(lies), write=True)
        assert {status for _, status in statuses(report)} == {"refused"}
        assert not report.diff
        assert (tmp_path / "F.v").read_text() == text
        assert not list(tmp_path.glob("*.orig*"))

    def test_a_search_that_breaks_loses_nothing(self, tmp_path: Path):
        text = "Lemma a : True.\nAdmitted.\nLemma b : True.\nAdmitted.\n"
        report = fill(tmp_path / "F.v", text, solver=Breaking(prover(), OSError("no model")))
        assert statuses(report) == [("a", "proved"), ("b", "gave up")]
        assert "no model" in report.results[1].reason

    def test_data_is_said_to_be_data(self, tmp_path: Path):
        """And that is only made up for somebody who asks for it; a theorem that is data, too, is proved."""
        text = "Definition d : nat.\nAdmitted.\nLemma e (n : nat) : {n = 0} + {True}.\nAdmitted.\n"
        tactics = model_of("exact 3", "right", "exact I")
        report = fill(tmp_path / "F.v", text, tactics, solver=prover(moves=0))
        assert statuses(report) == [("d", "not tried"), ("e", "proved")]
        asked = fill(tmp_path / "F.v", text, tactics, solver=prover(moves=0), theorem="d")
        assert statuses(asked) == [("d", "proved")]
        assert "this is data" in "\n".join(describe_report(asked))


class TestContexts:
    pytestmark = real

    def test_the_context_is_loaded_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """By the scan, and by the search, which leaves proofs out."""
        said: list[bytes] = []
        send = Child.send

        def listening(self: Child, data: bytes, limits: Limits) -> None:
            said.append(data)
            send(self, data, limits)

        monkeypatch.setattr(Child, "send", listening)
        text = "Require Import Arith.\nLemma done : True.\nProof. exact I. Qed.\n"
        text += "".join(f"Lemma a{n} : {n} = {n} /\\ True.\nProof. split. admit. exact I. Admitted.\n" for n in range(4))
        report = fill(tmp_path / "F.v", text)
        assert [status for _, status in statuses(report)] == ["proved"] * 4
        assert sum(b">Require Import Arith." in data for data in said) == 2
        assert sum(b">Lemma done" in data for data in said) == 2
        assert sum(b">Lemma a0 " in data for data in said) == 2


class TestProjects:
    pytestmark = real

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        (tmp_path / "theories").mkdir()
        (tmp_path / "_CoqProject").write_text('-Q theories Mine # the library\n-arg "-w none" -arg -time\ntheories/Base.v\n')
        (tmp_path / "theories" / "Base.v").write_text(
            "Definition odd_one := 3.\nLemma base : odd_one = 3. Proof. reflexivity. Qed.\nOpaque odd_one.\n"
        )
        return tmp_path

    TEXT = "From Mine Require Import Base.\nLemma uses : odd_one = 3 /\\ True.\nProof.\n  split.\n  - admit.\n  - exact I.\nAdmitted.\n"

    def test_a_project_brings_its_load_path(self, project: Path):
        subprocess.run(["coqc", "-q", "-Q", "theories", "Mine", "theories/Base.v"], cwd=project, check=True)
        report = fill(project / "theories" / "Use.v", self.TEXT, model_of("exact base"), solver=prover(moves=0), write=True)
        assert only(report).status == "proved"
        assert "  - exact base.\n  - exact I.\nQed.\n" in (project / "theories" / "Use.v").read_text()
        assert "not used of _CoqProject: -time" in report.notes

    def test_flags_reach_the_programs_that_know_them(self, project: Path, monkeypatch: pytest.MonkeyPatch):
        """``-noinit``: without it there is a ``nat`` from the beginning; coqchk does not know it. ``-impredicative-set`` is for all."""
        (project / "plugins").mkdir()
        with (project / "_CoqProject").open("a") as file:
            file.write("-I plugins\n-arg -noinit -arg -impredicative-set\n")
        text = (
            "Fail Check nat.\nRequire Import Coq.Init.Prelude.\nDefinition big : Set := forall A : Set, A -> A.\n"
            "Definition bigger : big := fun A a => a.\nCheck bigger big.\nLemma a : forall P : Prop, P -> P.\nAdmitted.\n"
        )
        found = project_of(project / "theories" / "Use.v")
        assert found.compiler_flags[:3] == ("-w", "none", "-noinit")
        assert "-I" in found.compiler_flags
        assert "-impredicative-set" in found.flags
        tactics = model_of("exact (fun P h => h)")
        assert only(fill(project / "theories" / "Use.v", text, tactics, solver=prover(moves=0))).status == "proved"

    @pytest.mark.parametrize("flag", ["-type-in-type", "-load-vernac-source x.v", "-unset 'Guard Checking'", "-top Evil", "-w"])
    def test_flags_that_are_dangerous_are_refused(self, project: Path, flag: str):
        (project / "_CoqProject").write_text(f'-Q theories Mine\n-arg "{flag}"\n')
        with pytest.raises(SparringError, match=rf"_CoqProject has Coq started with {flag.split()[0]}.*take it out"):
            fill(project / "theories" / "Use.v", "Lemma a : True.\nAdmitted.\n")

    def test_a_file_that_names_itself(self, project: Path):
        text = "Definition one := 1.\nLemma a : Own.one = 1.\nAdmitted.\nLemma b : Mine.Own.one = Own.one.\nAdmitted.\n"
        report = fill(project / "theories" / "Own.v", text)
        assert statuses(report) == [("a", "proved"), ("b", "proved")]

    def test_what_is_not_built_is_said(self, project: Path):
        with pytest.raises(SparringError, match=r"Use\.v, line 1: .*build what it requires first \(make\)"):
            fill(project / "theories" / "Use.v", self.TEXT)

    def test_without_a_project_the_folder_is_the_load_path(self, tmp_path: Path):
        (tmp_path / "Base.v").write_text("Lemma base : True. Proof. exact I. Qed.\n")
        assert compiles(tmp_path / "Base.v")
        assert only(fill(tmp_path / "Use.v", "Require Import Base.\nLemma a : True.\nAdmitted.\n")).status == "proved"


@dataclass
class Breaking:
    """The second search breaks."""

    solver: Callable[[Env], Solver]
    error: Exception
    searches: int = 0

    def __call__(self, env: Env) -> Solver:
        self.searches += 1
        return Raising(self.error) if self.searches == 2 else self.solver(env)


@dataclass
class Raising:
    error: Exception

    def attempt(self, tasks: Sequence[Task], model: Model, seed: int) -> list[tuple[Attempt, ...]]:
        raise self.error


@dataclass
class Lying:
    """Says something else each time, and that it is a proof."""

    lies: list[str]

    def __call__(self, env: Env) -> Solver:
        return self

    def attempt(self, tasks: Sequence[Task], model: Model, seed: int) -> list[tuple[Attempt, ...]]:
        return [(Attempt(answer=self.lies.pop(0), stats={"status": "proved"}),)]


# ------------------------------------------------------------------------------------------------ without Coq


def test_units_are_found_where_proofs_are_admitted():
    units = find_units(FILE).units
    names = ["plain", "wrong", "in_section", "selected", "bullets", "left_open", "inst", "data", "both", "compound"]
    assert [unit.name for unit in units] == names
    assert units[0].line == 5
    assert find_units("Goal True. Admitted.").units[0].title == "the statement in line 1"
    assert not find_units("Lemma a : True. Proof. exact I. Qed. (* Admitted. *)").units
    with pytest.raises(SparringError, match="a comment does not end"):
        find_units("Lemma a : True. (* Admitted.")


def test_a_script_is_a_tree():
    lines = ["split", "auto", "intro x", "destruct x", "easy", "split", "a", "b"]
    block = as_block(lines, [2, 0, 1, 2, 0, 2, 0, 0])
    assert block == ["split", [["auto"], ["intro x", "destruct x", [["easy"], ["split", [["a"], ["b"]]]]]]]
    assert lay_out(block, "  ", used=("-",)) == [
        "  split.",
        "  + auto.",
        "  + intro x.",
        "    destruct x.",
        "    * easy.",
        "    * split.",
        "      -- a.",
        "      -- b.",
    ]
    deep = lay_out(["split", [["auto"], ["intro x", "easy"]]], "", used=("-", "+", "*", "--", "++", "**"))
    assert deep == ["split.", "{ auto. }", "{ intro x.", "  easy. }"]


def test_the_best_part_closes_most_and_leaves_least():
    def step(state: str, tactic: str, result: str) -> Step:
        return Step(state=state, tactic=tactic, result=result, role="move")

    steps = [
        step("r", "left", "a"),
        step("r", "split", "a\n\nb\n\nc"),
        step("b", "auto", "no goals"),
        step("a", "back", "r"),
        step("c", "cases", "d\n\ne"),
        step("d", "easy", "no goals"),
    ]
    part = best_part("r", steps)
    assert (part.closed, part.rest) == (2, ("a", "e"))
    assert part.block == ["split", [["admit"], ["auto"], ["cases", [["easy"], ["admit"]]]]]
    assert best_part("x", steps).closed == 0


def test_a_patch_says_where_no_line_end_is():
    assert unified_diff("F.v", "a\x0cb\nc", "a\x0cb\nd") == (
        "--- a/F.v\n+++ b/F.v\n@@ -1,2 +1,2 @@\n a\x0cb\n-c\n\\ No newline at end of file\n+d\n\\ No newline at end of file\n"
    )
    assert unified_diff("F.v", "a", "a") == ""


def test_a_file_is_written_whole_and_kept_as_it_was(tmp_path: Path):
    path = tmp_path / "F.v"
    path.write_bytes(b"old\r\n")
    path.chmod(0o640)
    (tmp_path / "F.v.orig").write_text("somebody's")
    link = tmp_path / "link.v"
    link.symlink_to(path)
    kept = write_file(link, "old\r\n", "new\r\n")
    assert path.read_bytes() == b"new\r\n"
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert kept == path.resolve().with_name("F.v.orig2")
    assert kept.read_bytes() == b"old\r\n"
    assert (tmp_path / "F.v.orig").read_text() == "somebody's"
    with pytest.raises(SparringError, match="has changed while proofs were searched"):
        write_file(path, "old\r\n", "newer")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["F.v", "F.v.orig", "F.v.orig2", "link.v"]


def test_a_file_that_is_none(tmp_path: Path):
    how = Filling(solver=prover(), model=SILENT)
    with pytest.raises(SparringError, match="cannot be read"):
        prove_file(tmp_path / "none.v", how)
    (tmp_path / "latin.v").write_bytes(b"(* \xe9 *)")
    with pytest.raises(SparringError, match="is not UTF-8"):
        prove_file(tmp_path / "latin.v", how)
    (tmp_path / "marked.v").write_text("\ufeffLemma a : True.\nAdmitted.\n")
    with pytest.raises(SparringError, match=r"begins with a byte-order mark.*sed -i .* marked\.v"):
        prove_file(tmp_path / "marked.v", how)
