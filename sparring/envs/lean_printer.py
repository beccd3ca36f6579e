"""Proofs of the embedded kernel as Lean 4 files without Mathlib (4.7 or later), a line per primitive step."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from sparring.envs.embedded import Lemma
from sparring.envs.export import (
    Block,
    Language,
    Piece,
    Printer,
    Text,
    bracketed,
    each,
    expression_in,
    focused,
    introductions,
    lemmas_in,
    line,
    local,
    premises_of,
    rewrites_all,
    spare,
    write_file,
)
from sparring.envs.kernel import ZERO, Expr
from sparring.envs.script import Node


def lean_script(name: str, statement: str, script: str, library: Sequence[Lemma]) -> str:
    """A Lean file that proves the statement as the script does; raises SparringError if it does not."""
    return lean_file([Lemma(name, statement, script)], library)


def lean_file(theorems: Sequence[Lemma], library: Sequence[Lemma]) -> str:
    """A Lean file with these theorems and what they use of the library. Its first line says what it is worth here."""
    return f"-- {lean_label()}\n\n{write_file(theorems, library, LEAN)}"


def lean_label() -> str:
    """Whether Lean could check what is printed on this machine."""
    return "Check with: lean FILE.lean" if shutil.which("lean") else "printed, not checked"


TEXT = Text(
    forall="∀",
    exists="∃",
    signs={"imp": "→", "or": "∨", "and": "∧", "eq": "="},
    sums={"add": "add {} {}", "mul": "mul {} {}"},
    hole="?_",
)
PREAMBLE = """\
namespace Printed

inductive N where
  | O : N
  | S : N → N

open N

def add : N → N → N
  | O, m => m
  | S n, m => S (add n m)

def mul : N → N → N
  | O, _ => O
  | S n, m => add m (mul n m)

theorem S_inj (n m : N) (h : S n = S m) : n = m := N.S.inj h

theorem O_ne_S (n : N) (h : O = S n) : False := nomatch h"""


# ------------------------------------------------------------------------------------------------ proofs given and facts gained


def _prove(node: Node, text: Text) -> list[Piece]:
    """The goal is what the step's proof expression proves. Premises that a predicate was put into are written out."""
    expression, premises = expression_in(node), premises_of(node)
    if not premises:
        return [f"exact {text.proof(expression)}"]
    parts: list[Sequence[Piece]] = [(premise,) for premise in premises]
    if any(arity for name in lemmas_in(expression) for arity in text.arities[name]):
        parts = [(_show(premise.goal.conclusion, text), premise) for premise in premises]
    return [f"refine {text.proof(expression)}", *focused(*parts)]


def _show(formula: Expr, text: Text) -> str:
    return f"show {text.full(formula)}"


def _fact(word: str, node: Node, text: Text) -> list[Piece]:
    """``have`` or ``replace``, by the step's proof expression."""
    _, name, formula, expression = node.step
    stated = f"{word} {local(name)} : {text.full(formula)} :="
    if not premises_of(node):
        return [f"{stated} {text.proof(expression)}", node.children[0]]
    return [Block(_prove(node, text), f"{stated} by"), node.children[0]]


def _pose(node: Node, text: Text) -> list[Piece]:
    return _fact("have", node, text)


def _replace(node: Node, text: Text) -> list[Piece]:
    return _fact("replace", node, text)


def _assert(node: Node, text: Text) -> list[Piece]:
    _, name, formula = node.step
    first, main = node.children
    return [Block((first,), f"have {local(name)} : {text.full(formula)} := by"), main]


def _change(where: str, proof: str, node: Node, text: Text) -> str:
    """The hypothesis says what it says in the goal that is left."""
    formula = node.children[0].goal.hyp(where)
    assert formula is not None, "the step changes it in its place"
    return f"replace {local(where)} : {text.full(formula)} := {proof}"


def _exists(node: Node, text: Text) -> list[Piece]:
    (main,) = node.children
    return [f"refine Exists.intro {text.part(node.step[1])} ?_", _show(main.goal.conclusion, text), main]


# ------------------------------------------------------------------------------------------------ equations and numbers


def _simpl(node: Node, text: Text) -> list[Piece]:
    _, result, where = node.step
    (main,) = node.children
    return [_show(result, text) if where is None else _change(where, local(where), node, text), main]


def _symmetry(node: Node, text: Text) -> list[Piece]:
    where = node.step[1]
    (main,) = node.children
    return ["refine Eq.symm ?_" if where is None else _change(where, f"Eq.symm {local(where)}", node, text), main]


def _rewrite(node: Node, text: Text) -> list[Piece]:
    """With premises, the equation becomes a hypothesis first."""
    _, expression, equation, _, _, _ = node.step
    main, *premises = node.children
    if not premises:
        return [*_rewrite_with(text.proof(expression), node, text), main]
    name = spare(node.goal, "e")
    have = Block(_prove(node, text), f"have {name} : {text.full(equation)} := by")
    return [have, *_rewrite_with(name, node, text), f"clear {name}", main]


def _rewrite_with(proof: str, node: Node, text: Text) -> list[Piece]:
    _, _, _, direction, motive, where = node.step
    if rewrites_all(node):
        arrow = "← " if direction == "<-" else ""
        return [f"rewrite [{arrow}{proof}]{f' at {local(where)}' if where is not None else ''}"]
    if (direction == "->") == (where is None):  # from what holds of the right side to what holds of the left one
        proof = f"Eq.symm {bracketed(proof)}"
    term = f"Eq.subst (motive := {text.predicate(motive)[1:-1]}) {bracketed(proof)}"
    if where is None:
        return [f"refine {term} ?_", _show(node.children[0].goal.conclusion, text)]
    return [_change(where, f"{term} {local(where)}", node, text)]


def _cases(split: str, successor: str, carried: Sequence[str], node: Node) -> list[Piece]:
    """Zero and successor; the hypotheses ``carried`` go back into the conclusion before."""
    before = [f"revert {local(name)}" for name in reversed(carried)]
    after = [f"intro {local(name)}" for name in carried]
    zero, main = node.children
    return [*before, split, Block((*after, zero), "| O =>"), Block((*after, main), successor)]


def _induction(node: Node, text: Text) -> list[Piece]:
    _, x, y, ih, carried, _ = node.step
    return _cases(f"induction {local(x)} with", f"| S {local(y)} {local(ih)} =>", carried, node)


def _case_nat(node: Node, text: Text) -> list[Piece]:
    _, x, y, carried, _ = node.step
    return _cases(f"cases {local(x)} with", f"| S {local(y)} =>", carried, node)


def _injection(node: Node, text: Text) -> list[Piece]:
    _, name, new, (_, (_, left), (_, right)) = node.step
    proof = f"S_inj {text.part(left)} {text.part(right)} {local(name)}"
    return [f"have {local(new)} : {text.full(('eq', left, right))} := {proof}", *node.children]


def _discriminate(node: Node, text: Text) -> list[Piece]:
    """Takes S off both sides until one of them is zero."""
    _, name, (_, left, right) = node.step
    proof = local(name)
    while left[0] == right[0] == "succ":
        left, right = left[1], right[1]
        proof = f"(S_inj {text.part(left)} {text.part(right)} {proof})"
    if left != ZERO:
        left, right, proof = right, left, f"(Eq.symm {proof})"
    return [f"exact False.elim (O_ne_S {text.part(right[1])} {proof})"]


PRINTERS: Mapping[str, Printer] = {
    "intro_var": introductions("intro {}", "intro {}"),
    "intro_hyp": introductions("intro {}", "intro {}"),
    "refine": _prove,
    "true": line("exact True.intro"),
    "split": each("refine And.intro ?_ ?_"),
    "left": line("refine Or.inl ?_"),
    "right": line("refine Or.inr ?_"),
    "exists": _exists,
    "exfalso": line("refine False.elim ?_"),
    "assert": _assert,
    "pose": _pose,
    "replace": _replace,
    "case_and": line("obtain ⟨{1}, {2}⟩ := {0}"),
    "case_or": each("cases {} with", "| inl {1} =>", "| inr {2} =>"),
    "case_ex": line("obtain ⟨{1}, {2}⟩ := {0}"),
    "case_false": line("exact False.elim {}"),
    "revert_hyp": line("revert {}"),
    "revert_var": line("revert {}"),
    "clear": line("clear {}"),
    "rfl": line("rfl"),
    "simpl": _simpl,
    "symmetry": _symmetry,
    "rewrite": _rewrite,
    "induction": _induction,
    "case_nat": _case_nat,
    "injection": _injection,
    "discriminate": _discriminate,
}
LEAN = Language(
    text=TEXT,
    printers=PRINTERS,
    brackets=("· ", ""),
    preamble=PREAMBLE,
    theorem="theorem {name} : {statement} := by\n{proof}",
    end="end Printed",
    introduce="intro {}",
)
