"""Proofs of the embedded kernel as Coq files (tried with 8.16), a line per primitive step."""

from __future__ import annotations

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
    line,
    local,
    locals_of,
    premises_of,
    rewrites_all,
    spare,
    write_file,
)
from sparring.envs.kernel import Expr
from sparring.envs.script import Node


def coq_script(name: str, statement: str, script: str, library: Sequence[Lemma]) -> str:
    """A Coq file that proves the statement as the script does; raises SparringError if it does not."""
    return coq_file([Lemma(name, statement, script)], library)


def coq_file(theorems: Sequence[Lemma], library: Sequence[Lemma]) -> str:
    """A Coq file with these theorems and what they use of the library."""
    return write_file(theorems, library, COQ)


TEXT = Text(
    forall="forall",
    exists="exists",
    signs={"imp": "->", "or": "\\/", "and": "/\\", "eq": "="},
    sums={"add": "{} + {}", "mul": "{} * {}"},
    hole="_",
)
PREAMBLE = """\
(* Check with: coqc -q FILE.v *)

Inductive N : Set := O | S (n : N).

Fixpoint add (n m : N) : N := match n with O => m | S k => S (add k m) end.
Fixpoint mul (n m : N) : N := match n with O => O | S k => add m (mul k m) end.

Infix "+" := add.
Infix "*" := mul.

Lemma S_inj (n m : N) : S n = S m -> n = m.
Proof. intro h. injection h. intro e. exact e. Qed."""


# ------------------------------------------------------------------------------------------------ proofs given and facts gained


def _prove(node: Node, text: Text) -> list[Piece]:
    """The goal is what the step's proof expression proves."""
    proof, premises = bracketed(text.proof(expression_in(node))), premises_of(node)
    return [f"refine {proof}.", *focused(*((premise,) for premise in premises))] if premises else [f"exact {proof}."]


def _have(name: str, formula: Expr, pieces: Sequence[Piece], text: Text) -> list[Piece]:
    return [f"assert ({name} : {text.full(formula)}).", Block(pieces)]


def _replace(name: str, formula: Expr, proof: Sequence[Piece], node: Node, text: Text) -> list[Piece]:
    """The hypothesis says something else, which ``proof`` proves from what it said."""
    new = spare(node.goal, "h")
    return [*_have(new, formula, proof, text), f"clear {name}.", f"rename {new} into {name}."]


def _assert(node: Node, text: Text) -> list[Piece]:
    _, name, formula = node.step
    first, main = node.children
    return [*_have(local(name), formula, [first], text), main]


def _pose(node: Node, text: Text) -> list[Piece]:
    _, name, formula, _ = node.step
    return [*_have(local(name), formula, _prove(node, text), text), node.children[0]]


def _put(node: Node, text: Text) -> list[Piece]:
    _, name, formula, _ = node.step
    return [*_replace(local(name), formula, _prove(node, text), node, text), node.children[0]]


# ------------------------------------------------------------------------------------------------ equations and numbers


def _simpl(node: Node, text: Text) -> list[Piece]:
    _, result, where = node.step
    place = f" in {local(where)}" if where is not None else ""
    return [f"change ({text.full(result)}){place}.", *node.children]


def _symmetry(node: Node, text: Text) -> list[Piece]:
    where = node.step[1]
    return [f"symmetry in {local(where)}." if where is not None else "symmetry.", *node.children]


def _rewrite(node: Node, text: Text) -> list[Piece]:
    """With premises, the equation becomes a hypothesis first."""
    _, expression, equation, _, _, _ = node.step
    main, *premises = node.children
    if not premises:
        return [*_rewrite_with(bracketed(text.proof(expression)), node, text), main]
    name = spare(node.goal, "e")
    return [*_have(name, equation, _prove(node, text), text), *_rewrite_with(name, node, text), f"clear {name}.", main]


def _rewrite_with(proof: str, node: Node, text: Text) -> list[Piece]:
    _, _, (_, left, right), direction, motive, where = node.step
    if rewrites_all(node):
        return [f"rewrite {direction} {proof}{f' in {local(where)}' if where is not None else ''}."]
    old = "_" if where is None else local(where)
    if (direction == "->") == (where is None):  # from what holds of the right side to what holds of the left one
        term = f"eq_ind_r {text.predicate(motive)} {old} {proof}"
    else:
        term = f"eq_ind {text.part(left)} {text.predicate(motive)} {old} {text.part(right)} {proof}"
    if where is None:
        return [f"refine ({term})."]
    formula = node.children[0].goal.hyp(where)
    assert formula is not None, "the step changes it in its place"
    return _replace(local(where), formula, [f"exact ({term})."], node, text)


def _cases(split: str, carried: Sequence[str], node: Node) -> list[Piece]:
    """Zero and successor; the hypotheses ``carried`` go back into the conclusion before."""
    before = [f"revert {locals_of(carried)}."] if carried else []
    after = [f"intros {locals_of(carried)}."] if carried else []
    return [*before, split, *(Block((*after, child)) for child in node.children)]


def _induction(node: Node, text: Text) -> list[Piece]:
    _, x, y, ih, carried, _ = node.step
    return _cases(f"induction {local(x)} as [| {local(y)} {local(ih)}].", carried, node)


def _case_nat(node: Node, text: Text) -> list[Piece]:
    _, x, y, carried, _ = node.step
    return _cases(f"destruct {local(x)} as [| {local(y)}].", carried, node)


def _injection(node: Node, text: Text) -> list[Piece]:
    _, name, new, (_, (_, left), (_, right)) = node.step
    proof = f"exact (S_inj {text.part(left)} {text.part(right)} {local(name)})."
    return [*_have(local(new), ("eq", left, right), [proof], text), *node.children]


def _discriminate(node: Node, text: Text) -> list[Piece]:
    _, name, equation = node.step
    computed = [] if node.goal.hyp(name) == equation else [f"change ({text.full(equation)}) in {local(name)}."]
    return [*computed, f"discriminate {local(name)}."]


# ------------------------------------------------------------------------------------------------ the others


def _exists(node: Node, text: Text) -> list[Piece]:
    return [f"exists {text.part(node.step[1])}.", *node.children]


PRINTERS: Mapping[str, Printer] = {
    "intro_var": introductions("intro {}.", "intros {}."),
    "intro_hyp": introductions("intro {}.", "intros {}."),
    "refine": _prove,
    "true": line("exact I."),
    "split": each("split."),
    "left": line("left."),
    "right": line("right."),
    "exists": _exists,
    "exfalso": line("exfalso."),
    "assert": _assert,
    "pose": _pose,
    "replace": _put,
    "case_and": line("destruct {} as [{} {}]."),
    "case_or": each("destruct {} as [{} | {}]."),
    "case_ex": line("destruct {} as [{} {}]."),
    "case_false": line("destruct {}."),
    "revert_hyp": line("revert {}."),
    "revert_var": line("revert {}."),
    "clear": line("clear {}."),
    "rfl": line("reflexivity."),
    "simpl": _simpl,
    "symmetry": _symmetry,
    "rewrite": _rewrite,
    "induction": _induction,
    "case_nat": _case_nat,
    "injection": _injection,
    "discriminate": _discriminate,
}
COQ = Language(
    text=TEXT,
    printers=PRINTERS,
    brackets=("{ ", " }"),
    preamble=PREAMBLE,
    theorem="Theorem {name} : {statement}.\nProof.\n{proof}\nQed.",
    end="",
    introduce="intros {}.",
)
