"""What the judge of Coq proofs believes: honest proofs, and nothing else. With the real coqc and coqchk."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sparring.envs.coq_audit import Assumptions, AuditOptions, audit, read_assumptions
from sparring.envs.coq_blocks import Opened, unsigned
from sparring.envs.sandbox import Limits, available
from sparring.game import Verdict

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="coqc is not installed")
needs_sandbox = pytest.mark.skipif(available() is not None, reason=f"no sandbox: {available()}")
real = [needs_coq, needs_sandbox]

PLUS_0 = "forall n : nat, n + 0 = n"
PLUS_0_PROOF = "induction n\nreflexivity\nsimpl\nrewrite IHn\nreflexivity"
EXTENSIONALITY = "forall f g : nat -> nat, (forall x, f x = g x) -> f = g"
EXTENSIONALITY_PROOF = "intros f g H\nextensionality x\napply H"
FUNEXT = "Coq.Logic.FunctionalExtensionality.functional_extensionality_dep"
FUNCTORS = """\
Module Type T. Parameter foo : nat. Parameter bar : foo = 0. End T.
Axiom zz : 1 = 0.
Module Done (X : T) := X.
"""
KEYWORD = """\
Module F (X : T). Import X. Notation "a 'bar' b" := (a = b) (at level 70).
"""
"""What is called ``bar`` there cannot be called so."""


def proved(verdict: Verdict) -> bool:
    assert verdict.fault is None, verdict.fault
    assert verdict.solved == (verdict.score == 1.0)
    assert verdict.solved or verdict.note
    return verdict.solved


class TestReal:
    pytestmark = real

    @pytest.fixture(autouse=True)
    def nothing_is_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        yield
        assert not list(tmp_path.iterdir())

    # ---------------------------------------------------------------------------------------------- honest proofs

    @pytest.mark.parametrize(
        ("context", "statement", "script"),
        [
            ("", PLUS_0, PLUS_0_PROOF),
            ("", "True", "exact I.\n\n"),
            ("Require Import Lia.", PLUS_0, "lia"),
            ("(* Axiom a : False. *) Section S. Variable P : Prop. Hypothesis h : P.", "P /\\ True", "split\nexact h\nexact I"),
            ("Set Implicit Arguments. Set Maximal Implicit Insertion.", "forall (A : Type) (x y : A), x = y -> y = x", "auto"),
            ("Ltac crush := intros; simpl; auto.", "True", "crush"),
            ("Notation \"'yes'\" := True. Module B. Section A.", "yes", "exact I"),
            (f"{FUNCTORS}Module M (* no *) <:\n T with Definition foo := 1. Section K.", "1 = 1", "reflexivity"),
            (f"{FUNCTORS}Module F (Import X : T) (Y Z : T) <: T.", "X.foo = Y.foo /\\ 0 = foo", "rewrite Y.bar\nrewrite bar\nauto"),
            (f"{FUNCTORS}Module Type A (Z : T). Parameter q : Z.foo = 1. Section K.", "0 = 1", "rewrite <- q\nsymmetry\nexact Z.bar"),
            (f"{FUNCTORS}{KEYWORD}", "X.foo = 0", "apply X.bar"),
        ],
    )  # fmt: skip
    def test_accepted(self, context: str, statement: str, script: str):
        assert audit(context, statement, script) == Verdict(score=1.0, solved=True)

    def test_several_side_by_side(self):
        with ThreadPoolExecutor(4) as pool:
            verdicts = list(pool.map(lambda n: audit("", f"{n} + 0 = {n}", "reflexivity" if n % 2 else "symmetry"), range(6)))
        assert [proved(verdict) for verdict in verdicts] == [False, True] * 3

    # ---------------------------------------------------------------------------------------------- axioms

    def test_an_axiom_must_be_allowed(self):
        context = "Require Import FunctionalExtensionality."
        refused = audit(context, EXTENSIONALITY, EXTENSIONALITY_PROOF)
        assert not proved(refused)
        assert refused.note == "the proof uses axioms that are not allowed: functional_extensionality_dep"
        assert proved(audit(context, EXTENSIONALITY, EXTENSIONALITY_PROOF, AuditOptions(axioms=(FUNEXT,))))
        other = f"Axiom functional_extensionality_dep : {EXTENSIONALITY}."
        assert not proved(audit(other, EXTENSIONALITY, "exact functional_extensionality_dep", AuditOptions(axioms=(FUNEXT,))))

    def test_axioms_of_the_context_too(self):
        context = f"Axiom a : False. Definition b := a. Lemma c : 1 = 2. Proof. destruct b. Qed. {FUNCTORS}"
        assert proved(audit(context, "1 = 1", "reflexivity"))
        assert audit(context, "1 = 2", "exact c").note == "the proof uses axioms that are not allowed: a"
        assert proved(audit(context, "1 = 2", "exact c", AuditOptions(axioms=("audited.a",))))
        in_functor = audit(f"{context}Module F (X : T).", "X.foo = 1", "rewrite X.bar\nsymmetry\nexact zz")
        assert in_functor.note == "the proof uses axioms that are not allowed: zz"

    def test_an_unfinished_lemma_of_the_context_is_an_axiom(self):
        assert not proved(audit("Lemma a : False. Admitted.", "1 = 2", "destruct a"))

    def test_what_admit_rests_on_is_an_axiom(self):
        context = "Require Import Coq.Compat.AdmitAxiom. Lemma a : False. Proof proof_admitted."
        assert audit(context, "1 = 2", "destruct a").note == "the proof uses axioms that are not allowed: proof_admitted"
        assert "proof_admitted is not allowed" in audit(context, "False", "exact proof_admitted").note

    def test_nothing_is_compiled_to_native_code(self):
        """What the context has of it falls back; there a warning is made an error to show that."""
        cast = "Definition a := (eq_refl 2 <<: 1 + 1 = 2)."
        assert proved(audit(cast, "True", "exact I"))
        fault = audit(f'Set Warnings "+native-compiler-disabled". {cast}', "True", "exact I").fault
        assert fault is not None
        assert "Native compiler is disabled" in fault

    # ---------------------------------------------------------------------------------------------- cheats

    @pytest.mark.parametrize(
        ("context", "statement", "script"),
        [
            ("", "False", "refine (fix f (n : nat) : False := _) 0\nexact (f n)"),
            ("", "False", "exact ((fix f (n : nat) : False := f n) 0)"),
            ("Unset Guard Checking.", "False", "exact ((fix f (n : nat) : False := f n) 0)"),
            ("Unset Guard Checking. Fixpoint f (n : nat) : False := f n. Set Guard Checking.", "False", "exact (f 0)"),
            ("Unset Universe Checking.", "exists T : Type, T = Type", "exists Type\nreflexivity"),
            ("Unset Positivity Checking. Inductive P := c (f : P -> False). Definition g (p : P) := let (f) := p in f p.",
             "False", "exact (g (c g))"),
            ("Definition T := Type.", "exists u : T, u = T", "exists T\nreflexivity"),
            ("", "exists n : nat, n = 1", "eexists"),
            ("", "exists n : nat, n = n", "unshelve eexists\nexact 0"),
            ("", "nat * True", "constructor\nconstructor\nexact I\nexact I"),
            ("", "1 = 2", "lia"),
            ("", "1 = 2", "cut False\nintros []"),
            ("", "1 = 2", ""),
            ("", "nonsense", "exact I"),
            ("", "1", "exact I"),
            ("", "_", "exact I"),
            ("Ltac stop := admit.", "1 = 2", "stop"),
            ("Ltac stop := shelve.", "1 = 2", "stop"),
            ("Ltac stop := exact_no_check I.", "1 = 2", "stop"),
            ("Ltac stop := fix f 1.", "nat -> False", "stop\nexact f"),
            ("Ltac stop := vm_cast_no_check (eq_refl 1).", "1 = 2", "stop"),
        ],
    )  # fmt: skip
    def test_refused_by_coq(self, context: str, statement: str, script: str):
        assert not proved(audit(context, statement, script))

    def test_the_note_is_the_provers(self):
        note = audit("", "1 = 2", "intros\nreflexivity").note
        assert note.startswith("line 2: Error:")
        assert 'Unable to unify "2" with "1"' in note
        assert audit("", "1 = 2", "intros").note == "Qed: Error: Attempt to save an incomplete proof"
        assert audit("", "1 +", "intros").note.startswith("the statement: Error: Syntax error")

    # ---------------------------------------------------------------------------------------------- faults

    def test_a_context_that_does_not_compile_is_a_fault(self):
        verdict = audit("Lemma a : True.\nProof. exact 0. Qed.", "True", "exact I")
        assert verdict.fault is not None
        assert verdict.fault.startswith("audit: the context does not compile, line 2: Error:")
        assert "does not end" in (audit("(* open", "True", "exact I").fault or "")
        assert "surrogates" in (audit("(* \ud800 *)", "True", "exact I").fault or "")
        assert audit("Section S. Lemma open : True.", "True", "exact I").fault

    def test_limits_are_faults(self):
        slow = audit("", "True", "do 1000000000 idtac\nexact I", AuditOptions(timeout_s=1.5))
        assert slow.fault == "audit: coqc takes longer than the 1.5 s of an audit"
        busy = audit("", "True", "do 1000000000 idtac\nexact I", AuditOptions(limits=Limits(cpu_s=1)))
        assert (busy.fault or "").startswith("audit: coqc ended with status")
        small = audit("", "True", "exact I", AuditOptions(limits=Limits(memory_mb=60)))
        assert small.fault
        grown = "Fixpoint grow (n : nat) := match n with O => nil | S m => cons m (grow m ++ grow m)%list end."
        hungry = audit(f"Require Import List. {grown}", "grow 60 = nil", "vm_compute", AuditOptions(limits=Limits(memory_mb=400)))
        assert hungry.fault

    def test_what_is_missing_is_a_fault(self):
        assert (audit("", "True", "exact I", AuditOptions(coqc="no_coqc")).fault or "").startswith("audit: no_coqc is not there")
        assert (audit("", "True", "exact I", AuditOptions(coqchk="no_coqchk")).fault or "").startswith(
            "audit: no_coqchk is not there"
        )

    def test_a_disk_that_is_full_is_a_fault(self):
        assert audit("", "True", "exact I", AuditOptions(limits=Limits(file_mb=0))).fault

    def test_a_checker_that_disagrees_is_a_fault(self):
        verdict = audit("", "True", "exact I", AuditOptions(coqchk="false"))
        assert verdict.fault == "audit: coqc accepts the proof and coqchk does not:"

    def test_without_a_sandbox(self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
        tools = tmp_path_factory.mktemp("tools")
        for name in ("coqc", "coqchk", "prlimit", "env"):
            found = shutil.which(name)
            assert found is not None
            (tools / name).symlink_to(found)
        monkeypatch.setenv("PATH", str(tools))
        assert "set allow_unsandboxed" in (audit("", PLUS_0, PLUS_0_PROOF).fault or "")
        with pytest.warns(RuntimeWarning, match="without a sandbox"):
            assert proved(audit("", PLUS_0, PLUS_0_PROOF, AuditOptions(allow_unsandboxed=True)))

    def test_a_hostile_prover_reaches_nothing(self, tmp_path_factory: pytest.TempPathFactory):
        """Links that it leaves behind are not followed when the file is written for the second run, nor when it is read."""
        place = tmp_path_factory.mktemp("place")
        (place / "victim").write_text("as it was")
        (place / "bin").mkdir()
        hostile = place / "bin" / "coqc"
        hostile.write_text(
            "#!/bin/sh\nname=$(grep -o 'sparring_[0-9a-f]*' audited.v | head -1)\n"
            f"for file in audited.v out said .out .said; do ln -sf {place}/victim $file; done\n"
            "echo Constant audited.$name; echo Axioms:; echo foo : nat\n"
        )
        hostile.chmod(0o755)
        verdict = audit("", "True", "exact I", AuditOptions(coqc=str(hostile), axioms=("audited.a",)))
        assert verdict.note == "the proof uses axioms that are not allowed: foo"
        assert (place / "victim").read_text() == "as it was"

    def test_own_libraries(self, tmp_path_factory: pytest.TempPathFactory):
        """A load path, in a folder that is readable."""
        project = tmp_path_factory.mktemp("project")
        (project / "Own.v").write_text("Definition own := 1.")
        options = AuditOptions(flags=("-Q", str(project), "Own"), readable=(project,))
        assert "Cannot find" in (audit("From Own Require Own.", "True", "exact I", options).fault or "")
        subprocess.run(["coqc", "-q", "-Q", ".", "Own", "Own.v"], cwd=project, check=True)
        assert proved(audit("From Own Require Import Own.", "own = 1", "reflexivity", options))
        assert audit("From Own Require Import Own.", "own = 1", "reflexivity", replace(options, readable=())).fault


# -------------------------------------------------------------------------------------------------- refused before Coq is asked


@pytest.mark.parametrize(
    "line",
    [
        "admit", "give_up", "shelve", "abstract exact I", "exact_no_check I", "Qed", "Abort", "Admitted", "cofix f", "fix f 1",
        "Abort. Theorem real : True", "Qed. Theorem x : True. Proof", "exact I. Qed. Axiom bad : False", "Unset Guard Checking",
        "Axiom bad : False", "Notation False := True", "exact I). Qed. (*", "all: exact I", "#[local] Axiom bad : False", "infoH auto",
    ],
)  # fmt: skip
def test_cheats_do_not_reach_coq(line: str):
    verdict = audit("", "False", f"intros\n{line}", AuditOptions(coqc="not_asked"))
    assert not proved(verdict)
    assert verdict.note.startswith(f"line 2, {line:.60}: ")


@pytest.mark.parametrize(
    "statement", ["True. Axiom bad : False", "True) . Theorem x : ( False", "ltac:(exact True)", "", "True (* *)"]
)
def test_nor_do_statements(statement: str):
    verdict = audit("", statement, "exact I", AuditOptions(coqc="not_asked"))
    assert not proved(verdict)
    assert verdict.note.startswith("the statement: ")


def test_too_many_lines():
    assert audit("", "True", "idtac\n" * 1001).note == "1001 lines are too many: at most 1000"


# -------------------------------------------------------------------------------------------------- the report


def test_reading_assumptions():
    printed = """\
Section Variables:
H
: forall x y : A, x = y
A : Type
Axioms:
funext
  : forall (A : Type) (B : A -> Type) (f g : forall x : A, B x),
    (forall x : A, f x = g x) -> f = g
X.foo : nat
lo is assumed to be guarded.
u relies on an unsafe hierarchy.
Theory:
Type hierarchy is collapsed (logic is inconsistent)"""
    found = read_assumptions(printed.splitlines())
    assert found.axioms == ("funext", "X.foo")
    assert [flaw.split()[0] for flaw in found.flaws] == ["lo", "u", "Type"]
    assert read_assumptions(["Closed under the global context"]) == Assumptions((), ())


@pytest.mark.parametrize("lines", [[], ["foo : nat"], ["Closed under the global context", "foo : nat"], ["  Axioms:"]])
def test_a_report_that_is_not_understood(lines: list[str]):
    with pytest.raises(ValueError, match=r"no assumption|no report"):
        read_assumptions(lines)


# -------------------------------------------------------------------------------------------------- sections and modules


@pytest.mark.parametrize(
    ("context", "same", "opened"),
    [
        ("Section A. End A.", "Section A. End A.", []),
        ("Section A. Module B. (* End B. *)", "Section A. Module B. (* End B. *)", ["Section A", "Module B"]),
        ("Module A <: T. Section B.", "Module A . Section B.", ["Module A", "Section B"]),
        ("Module A\n : T\n with Definition t := nat.", "Module A\n \n.", ["Module A"]),
        ("Module A := B. Module C <: T := D.", "Module A := B. Module C <: T := D.", []),
        ("Module A <: T with Definition t := nat := B.", "Module A <: T with Definition t := nat := B.", []),
        ("Module Type A. End A. Module Type B := A <+ C.", "Module Type A. End A. Module Type B := A <+ C.", []),
        ("#[local] Section A.\nModule Import B.", "#[local] Section A.\nModule Import B.", ["Section A", "Module B"]),
        ("Declare Module A : T. Include B. Local Open Scope x.", "Declare Module A : T. Include B. Local Open Scope x.", []),
        ("Module Type A (X : T). Proof. - { auto. }", "Module Type A (X : T). Proof. - { auto. }", ["Module Type A"]),
    ],
)
def test_what_a_context_leaves_open(context: str, same: str, opened: list[str]):
    text, blocks = unsigned(context)
    assert text == same
    assert [f"{block.kind} {block.name}" for block in blocks] == opened


def test_parameters_of_functors():
    _, blocks = unsigned("Module F (X Y : T with Definition t := nat) (Import Z : U (X)) <: V.")
    assert blocks == [Opened("Module", "F", ("X", "Y", "Z"))]
