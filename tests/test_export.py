"""Printed proofs: Coq accepts every one of them, and the text is what a person would want to read."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs import steps
from sparring.envs.coq_printer import COQ, coq_file, coq_script
from sparring.envs.embedded import KernelEnv, Lemma, lines_of, root
from sparring.envs.export import local, public
from sparring.envs.kernel import Theorem
from sparring.envs.lean_printer import LEAN, lean_file, lean_label, lean_script
from sparring.envs.reader import NAME, RESERVED, read_statement
from sparring.envs.script import Node, primitives, prove_tree
from sparring.errors import SparringError
from sparring.worlds.lemmas import LIBRARY
from tests.proofs import EVERY_STEP, PREDICATES, lemma, shipped_proofs, walk, weird_names

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="coqc is not installed")


def tree_of(theorem: Lemma, library: Sequence[Lemma] = LIBRARY) -> Node:
    return primitives(prove_tree(root(theorem.statement), lines_of(theorem.script), known(tuple(library))))


@cache
def known(library: tuple[Lemma, ...]) -> Mapping[str, Theorem]:
    return KernelEnv(library).lemmas


def nodes_of(tree: Node) -> Iterator[Node]:
    pending = [tree]
    while pending:
        yield (node := pending.pop())
        pending += node.children


def coqc(text: str, folder: Path) -> tuple[bool, str]:
    """Whether Coq accepts the file, and what it says."""
    (folder / "printed.v").write_text(text)
    done = subprocess.run(["coqc", "-q", "printed.v"], check=False, cwd=folder, capture_output=True, text=True, timeout=120)
    return done.returncode == 0, done.stdout + done.stderr


def test_the_examples_have_every_step():
    library = (*LIBRARY, *PREDICATES)
    kinds = {node.step[0] for theorem in EVERY_STEP for node in nodes_of(tree_of(theorem, library))}
    assert kinds == set(COQ.printers) == set(LEAN.printers) == set(steps._PROOFS)


# -------------------------------------------------------------------------------------------------- Coq


@needs_coq
def test_coq_accepts_every_step_every_lemma_and_every_name(tmp_path: Path):
    library = (*LIBRARY, *PREDICATES)
    text = coq_file([*library, *EVERY_STEP, *weird_names()], library)
    closed = [public(theorem.name) for theorem in (*EVERY_STEP, LIBRARY[-1])]
    accepted, said = coqc(text + "".join(f"Print Assumptions {name}.\n" for name in closed), tmp_path)
    assert accepted, said
    assert said.count("Closed under the global context") == len(closed)


@needs_coq
def test_coq_refuses_a_proof_of_something_else(tmp_path: Path):
    text = coq_script("half_of_it", "forall x, x + 0 = x", "intro x\nexact (add_0_r x)", LIBRARY)
    assert coqc(text, tmp_path)[0]
    accepted, said = coqc(
        text.replace("half_of_it : forall (x : N), x + O = x", "half_of_it : forall (x : N), x + O = S x"), tmp_path
    )
    assert not accepted
    assert "has type" in said


@needs_coq
def test_coq_accepts_what_the_expert_writes(tmp_path: Path):
    theorems = list(shipped_proofs(300))
    accepted, said = coqc(coq_file(theorems, LIBRARY), tmp_path)
    assert accepted, said


@needs_coq
def test_coq_accepts_whatever_tactics_do(tmp_path: Path):
    walks = [walk(seed) for seed in range(60)]
    kinds = {node.step[0] for theorem in walks for node in nodes_of(tree_of(theorem))}
    assert len(kinds) > 20
    accepted, said = coqc(coq_file(walks, LIBRARY), tmp_path)
    assert accepted, said


ZERO_TIMES = Lemma("zero_times", "forall x, 0 = x * 0", "intro x\nsymmetry\ninduction x\nrfl\nsimpl\nexact ih")


def test_a_coq_file_reads_well():
    assert coq_script(*ZERO_TIMES, LIBRARY).endswith(
        """
Proof. intro h. injection h. intro e. exact e. Qed.

Theorem zero_times : forall (x : N), O = x * O.
Proof.
  intro x.
  symmetry.
  induction x as [| x ih].
  { reflexivity. }
  { change (x * O = O).
    exact ih. }
Qed.
"""
    )


# -------------------------------------------------------------------------------------------------- Lean


def test_a_lean_file_reads_well():
    assert lean_script(*ZERO_TIMES, LIBRARY).endswith(
        """
theorem O_ne_S (n : N) (h : O = S n) : False := nomatch h

theorem zero_times : ∀ (x : N), O = mul x O := by
  intro x
  refine Eq.symm ?_
  induction x with
  | O =>
    rfl
  | S x ih =>
    show mul x O = O
    exact ih

end Printed
"""
    )


def test_lean_has_a_line_for_every_step():
    library = (*LIBRARY, *PREDICATES)
    text = lean_file([*library, *EVERY_STEP, *weird_names()], library)
    proofs = {part.split()[0]: part.splitlines()[1:] for part in text.split("\ntheorem ")}
    for theorem in EVERY_STEP:
        nodes = list(nodes_of(tree_of(theorem, library)))
        in_a_row = sum("intro" in node.step[0] and "intro" in node.children[0].step[0] for node in nodes)
        assert len(proofs[theorem.name]) >= len(nodes) - in_a_row
    for line in text.splitlines():
        assert all(line.count(opening) == line.count(closing) for opening, closing in ("()", "[]", "⟨⟩"))
        assert (len(line) - len(line.lstrip())) % 2 == 0
    assert not {"sorry", "{", "}", "{}", "None", "forall", "->", "/\\"} & set(text.split())


def test_lean_files_say_whether_they_can_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lean_label() == "printed, not checked"
    assert lean_script(*ZERO_TIMES, LIBRARY).splitlines()[0] == "-- printed, not checked"
    (tmp_path / "lean").touch(mode=0o755)
    assert lean_script(*ZERO_TIMES, LIBRARY).splitlines()[0] == "-- Check with: lean FILE.lean"


# -------------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize(
    ("formula", "coq", "lean"),
    [
        ("~ 0 = 1", "O = S O -> False", "O = S O → False"),
        ("(0 = 0 -> 0 = 1) -> True", "(O = O -> O = S O) -> True", "(O = O → O = S O) → True"),
        (
            "forall x y, x = 0 /\\ S x + y * 2 = y -> False \\/ True",
            "forall (x y : N), (x = O /\\ (S x) + (y * (S (S O))) = y) -> (False \\/ True)",
            "∀ (x y : N), (x = O ∧ add (S x) (mul y (S (S O))) = y) → (False ∨ True)",
        ),
        ("exists x, forall y, x = y", "exists (x : N), forall (y : N), x = y", "∃ (x : N), ∀ (y : N), x = y"),
        ("(exists x, x = 0) /\\ True", "(exists (x : N), x = O) /\\ True", "(∃ (x : N), x = O) ∧ True"),
    ],
)
def test_formulas(formula: str, coq: str, lean: str):
    expr = read_statement(formula).formula
    assert (COQ.text.full(expr), LEAN.text.full(expr)) == (coq, lean)


def test_predicates_are_bound_in_the_order_of_the_statement():
    theorem = lemma("mixed_kinds", "forall (p : Prop) (P R : N -> Prop) (q : Prop), p -> p", "intro h; exact h")
    assert "forall (p : Prop) (P R : N -> Prop) (q : Prop), p -> p.\nProof.\n  intros p P R q.\n" in coq_file([theorem], ())


def test_a_file_has_the_lemmas_that_it_needs_and_no_others():
    theorem = lemma("commuted", "forall x y, x + S y = S y + x", "intros x y; rewrite (add_comm x (S y)); rfl")
    for text, word in ((coq_file([theorem], LIBRARY), "Theorem"), (lean_file([theorem], LIBRARY), "theorem")):
        names = [line.split()[1] for line in text.splitlines() if line.startswith(word) and "(h :" not in line]
        assert names == ["add_0_r", "add_succ_r", "add_comm", "lemma_commuted"]


def test_a_lemma_of_the_library_is_printed_once():
    assert coq_file([LIBRARY[4], LIBRARY[2]], LIBRARY).count("Theorem add_0_r ") == 1


@pytest.mark.parametrize(
    ("theorem", "complaint"),
    [
        (lemma("no_proof", "forall x, x = 0", "intro x; rfl"), "no_proof is not proved: line 2"),
        (lemma("no_end", "forall x, x = x", "intro x"), "no_end is not proved: the script ends"),
        (lemma("no_statement", "forall x, 0", "intro x"), "no_statement is not proved: expected a proposition"),
        (
            lemma("add_0_r", "forall x, 0 + x + 0 = x", "intro x; rewrite add_0_r; rfl"),
            "several theorems would be called add_0_r",
        ),
    ],
)
def test_what_cannot_be_printed(theorem: Lemma, complaint: str):
    with pytest.raises(SparringError, match=complaint):
        coq_file([theorem], LIBRARY)


NAMES = st.from_regex(NAME, fullmatch=True).filter(lambda name: name not in RESERVED)


@given(NAMES, NAMES)
def test_names_stay_apart(one: str, other: str):
    assert (local(one) == local(other)) == (one == other)
    assert public(one) != local(other)
    assert public(one) not in ("S_inj", "O_ne_S", "add", "mul")
    assert local(one) not in ("N", "O", "S", "I", "add", "mul", "end", "theorem", "_")


@pytest.mark.parametrize(
    ("name", "locally", "publicly"),
    [
        ("x", "x", "lemma_x"),
        ("ih2", "ih2", "lemma_ih2"),
        ("hp'", "hp'", "lemma_hp"),
        ("end", "end_", "lemma_end"),
        ("end_", "end__", "lemma_end"),
        ("O", "O_", "lemma_O"),
        ("add_comm", "add_comm_", "add_comm"),
        ("set_option", "set_option_", "lemma_set_option"),
        ("N_ind", "N_ind_", "lemma_N_ind"),
        ("_", "__", "lemma_0"),
    ],
)
def test_names(name: str, locally: str, publicly: str):
    assert (local(name), public(name)) == (locally, publicly)


def test_blocks_nest():
    script = "\n".join(["intro x", *["destruct x as [| x]\nrfl"] * 40, "rfl"])
    text = coq_script("many_cases", "forall x, x = x", script, ())
    assert text.count("destruct") == 40
    assert text.splitlines()[-2].endswith("reflexivity." + " }" * 40)
