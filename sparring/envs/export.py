"""Proofs of the embedded kernel as files for proof assistants: what ``coq_printer.py`` and ``lean_printer.py`` have in common.

A file needs nothing but the assistant itself: it begins with the numbers, and brings the lemmas that its theorems use with their own
proofs. Every primitive step is printed with all names and instances, so that the assistant neither searches nor unifies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, zip_longest
from typing import NamedTuple

from sparring.envs.embedded import KernelEnv, Lemma, lines_of, root
from sparring.envs.goals import Goal, TacticError, fresh
from sparring.envs.kernel import Expr, KernelError, Proof, Theorem, prove
from sparring.envs.printing import bound_name, names_in
from sparring.envs.reader import Malformed
from sparring.envs.script import Node, primitives, proof_of, prove_tree
from sparring.errors import SparringError

# ------------------------------------------------------------------------------------------------ names

_PLAIN = re.compile(r"([A-Za-z]|[hH][a-z]|ih)[0-9]*'*")
_LONG = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)+")
_CONSTANTS = frozenset({"N", "O", "S", "I"})
_TAKEN = frozenset(
    {
        "S_inj",
        "O_ne_S",
        "N_ind",
        "N_rec",
        "N_rect",
        "N_sind",
        "eq_ind",
        "eq_ind_r",
        "set_option",
        "termination_by",
        "decreasing_by",
    }
)
"""Long names that mean something in a file, or words of an assistant."""


def local(name: str) -> str:
    """What a variable, a hypothesis or a predicate is called in a file. A longer name could be a word of the assistant, today's or
    tomorrow's, or that of a lemma; it gets an underscore, which neither has at its end. Different names stay different."""
    return name if _PLAIN.fullmatch(name) and name not in _CONSTANTS else f"{name}_"


def locals_of(names: Sequence[str]) -> str:
    return " ".join(map(local, names))


def public(name: str) -> str:
    """What a lemma or a theorem is called in a file: never what ``local`` gives, a word, or something the file itself defines."""
    if _LONG.fullmatch(name) and name not in _TAKEN:
        return name
    return "lemma_" + (re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "0")


def spare(goal: Goal, stem: str) -> str:
    """A name for something that is gone before the step is over: the stem, maybe with a number."""
    return fresh(map(local, goal.names()), stem)


# ------------------------------------------------------------------------------------------------ formulas, terms, proofs


class Text(NamedTuple):
    """How an assistant writes formulas, terms and proof expressions. What is put together stands in brackets wherever it is part of
    something else, except for equations and predicates between connectives and the right side of A -> B -> C and its like."""

    forall: str
    exists: str
    signs: Mapping[str, str]
    """For the connectives and for equations."""
    sums: Mapping[str, str]
    """Patterns for add and mul."""
    hole: str
    arities: Mapping[str, Sequence[int]] = {}
    """For every lemma, how many arguments each of its predicates takes."""

    def full(self, expr: Expr, bound: Sequence[str] = ()) -> str:
        """A formula or a term without brackets around it; ``bound``: names for its loose bound variables, outermost first."""
        return self._full(expr, tuple(bound), names_in(expr))

    def part(self, expr: Expr) -> str:
        """A formula or a term as an argument."""
        return self._part(expr, (), names_in(expr))

    def predicate(self, body: Expr, arity: int = 1) -> str:
        """A formula with that many loose bound variables, as a function of them; as an argument."""
        if not arity:
            return self.part(body)
        bound = [bound_name(depth, names_in(body)) for depth in range(arity)]
        return f"(fun ({' '.join(bound)} : N) => {self.full(body, bound)})"

    def _full(self, expr: Expr, bound: tuple[str, ...], taken: frozenset[str]) -> str:
        tag = expr[0]
        if tag == "var":
            return local(expr[1])
        if tag == "bound":
            return bound[-1 - expr[1]]
        if tag == "pred":
            return " ".join([local(expr[1]), *(self._part(term, bound, taken) for term in expr[2])])
        if tag in _WORDS:
            return " ".join([_WORDS[tag], *(self._part(term, bound, taken) for term in expr[1:])])
        if tag in self.sums:
            return self.sums[tag].format(*(self._part(term, bound, taken) for term in expr[1:]))
        if tag == "eq":
            return f" {self.signs[tag]} ".join(self._full(term, bound, taken) for term in expr[1:])
        if tag in self.signs:
            return self._connected(expr, bound, taken)
        return self._quantified(expr, bound, taken)

    def _connected(self, expr: Expr, bound: tuple[str, ...], taken: frozenset[str]) -> str:
        tag, left, right = expr
        write_left, write_right = (
            self._full if loose else self._part for loose in (left[0] in _LOOSE, right[0] in (*_LOOSE, tag))
        )
        return f"{write_left(left, bound, taken)} {self.signs[tag]} {write_right(right, bound, taken)}"

    def _quantified(self, expr: Expr, bound: tuple[str, ...], taken: frozenset[str]) -> str:
        tag, names = expr[0], []
        while expr[0] == tag:
            names.append(bound_name(len(bound) + len(names), taken))
            expr = expr[1]
        word = self.forall if tag == "all" else self.exists
        return f"{word} ({' '.join(names)} : N), {self._full(expr, (*bound, *names), taken)}"

    def _part(self, expr: Expr, bound: tuple[str, ...], taken: frozenset[str]) -> str:
        return bracketed(self._full(expr, bound, taken))

    def proof(self, expression: Proof) -> str:
        """A proof expression (see ``steps.py``) without brackets around it."""
        arguments: list[str] = []
        while expression[0] in ("all_elim", "imp_elim"):
            tag, expression, argument = expression
            arguments.append(self.part(argument) if tag == "all_elim" else bracketed(self.proof(argument)))
        if expression[0] == "lemma":
            _, name, bodies = expression
            predicates = [self.predicate(body, arity) for body, arity in zip(bodies, self.arities[name], strict=True)]
            arguments += reversed(predicates)
            head = public(name)
        else:
            head = self.hole if expression[0] == "hole" else local(expression[1])
        return " ".join([head, *reversed(arguments)])


_LOOSE = ("eq", "pred")
"""What needs no brackets between connectives."""
_WORDS = {"zero": "O", "succ": "S", "true": "True", "false": "False"}


def bracketed(text: str) -> str:
    """As an argument."""
    return f"({text})" if " " in text else text


def holes_of(expression: Proof) -> Iterator[int]:
    """The holes of a proof expression, in the order in which it is written."""
    if expression[0] == "hole":
        yield expression[1]
    elif expression[0] in ("all_elim", "imp_elim"):
        for part in expression[1:]:
            yield from holes_of(part)


def lemmas_in(expression: Proof) -> Iterator[str]:
    """The lemmas that a proof expression uses."""
    if expression[0] == "lemma":
        yield expression[1]
    elif expression[0] in ("all_elim", "imp_elim"):
        for part in expression[1:]:
            yield from lemmas_in(part)


def mentions(expression: Proof, name: str) -> bool:
    """Whether a proof expression uses that hypothesis."""
    if expression[0] in ("all_elim", "imp_elim"):
        return any(mentions(part, name) for part in expression[1:])
    return expression == ("hyp", name)


def contains(expr: Expr, term: Expr) -> bool:
    """Whether ``term`` is part of a formula or a term."""
    if expr == term:
        return True
    parts = expr[2] if expr[0] == "pred" else expr[1:]
    return any(isinstance(part, tuple) and contains(part, term) for part in parts)


# ------------------------------------------------------------------------------------------------ scripts


class Block(NamedTuple):
    """The part of a script that is about one goal; ``head``: a line that says which one."""

    pieces: Sequence[Piece]
    head: str = ""


Piece = str | Block | Node
"""Of a script: a line, lines that belong together, or the proof of a goal."""
Printer = Callable[[Node, Text], Sequence[Piece]]
"""Writes one primitive step, and the proofs of the goals that it leaves."""


class Language(NamedTuple):
    """A proof assistant. ``printers`` has one for every kind of step; ``brackets`` stand around a block without a head."""

    text: Text
    printers: Mapping[str, Printer]
    brackets: tuple[str, str]
    preamble: str
    theorem: str
    """A pattern for a theorem's name and statement, and its proof, indented."""
    end: str
    introduce: str
    """A pattern for the line that introduces predicates by their names."""


def write_script(tree: Node, language: Language, text: Text) -> list[str]:
    """The lines of a proof. Not recursive, since long scripts nest deeply."""
    lines: list[str] = []
    pending: list[tuple[int, Piece | None]] = [(1, tree)]  # None: the end of a block
    opened = ""  # what the next line begins with, if it is the first of a block
    while pending:
        depth, piece = pending.pop()
        if piece is None:
            lines[-1] += language.brackets[1]
        elif isinstance(piece, str):
            lines.append((opened or "  " * depth) + piece)
            opened = ""
        elif isinstance(piece, Block):
            if piece.head:
                lines.append((opened or "  " * depth) + piece.head)
                opened = ""
            else:
                opened = (opened or "  " * depth) + language.brackets[0]
                pending.append((depth, None))
            pending += [(depth + 1, part) for part in reversed(piece.pieces)]
        else:
            pending += [(depth, part) for part in reversed(language.printers[piece.step[0]](piece, text))]
    return lines


def line(pattern: str) -> Printer:
    """For steps of one line that leave one goal at most; ``pattern`` is filled with the names in the step."""

    def printer(node: Node, text: Text) -> list[Piece]:
        names = [local(part) for part in node.step[1:] if isinstance(part, str)]
        return [pattern.format(*names), *node.children]

    return printer


def each(pattern: str, *heads: str) -> Printer:
    """The same for steps that leave several goals of equal rank, each of them under a head or none."""

    def printer(node: Node, text: Text) -> list[Piece]:
        names = [local(part) for part in node.step[1:]]
        blocks = [Block((child,), head.format(*names)) for child, head in zip_longest(node.children, heads, fillvalue="")]
        return [pattern.format(*names), *blocks]

    return printer


def premises_of(node: Node) -> list[Node]:
    """The proofs of the holes in the step's proof expression, in the order in which they are written."""
    return [node.children[hole] for hole in holes_of(expression_in(node))]


def expression_in(node: Node) -> Proof:
    """The step's proof expression; a step without one has the trivial one, of no lemma and no hole."""
    place = _EXPRESSIONS.get(node.step[0])
    return node.step[place] if place else ("true_intro",)


_EXPRESSIONS = {"refine": 1, "pose": 3, "replace": 3, "rewrite": 1}
"""Where steps have their proof expression."""


def rewrites_all(node: Node) -> bool:
    """Whether a rewriting replaces all that looks like what it replaces, in something that its equation does not come from: then
    it is what assistants mean by ``rewrite``."""
    _, expression, (_, left, right), direction, motive, where = node.step
    return not contains(motive, left if direction == "->" else right) and not (where and mentions(expression, where))


def introductions(one: str, several: str) -> Printer:
    """For steps that introduce something: all of them in a row at once."""

    def printer(node: Node, text: Text) -> list[Piece]:
        names: list[str] = []
        while node.step[0] in ("intro_var", "intro_hyp"):
            names.append(node.step[1])
            (node,) = node.children
        return [(one if len(names) == 1 else several).format(locals_of(names)), node]

    return printer


def focused(*parts: Sequence[Piece]) -> list[Piece]:
    """The proofs of several goals, each in a block but the last, so that a long chain of goals does not run to the right."""
    return [*(Block(part) for part in parts[:-1]), *parts[-1]]


# ------------------------------------------------------------------------------------------------ files


def write_file(theorems: Sequence[Lemma], library: Sequence[Lemma], language: Language) -> str:
    """The theorems, after the lemmas that they use; raises SparringError for one that its script does not prove."""
    known = _known(tuple(library))
    text = language.text._replace(arities={name: [n for _, n in lemma.symbols] for name, lemma in known.items()})
    proofs = [(theorem, _proof(theorem, known)) for theorem in theorems if theorem not in library]
    needed = {name for _, proof in proofs for name in _used(proof)}
    for lemma in reversed(library):
        if lemma.name in needed or lemma in theorems:
            proofs.insert(0, (lemma, _proof(lemma, known)))
            needed.update(_used(proofs[0][1]))
    names = [public(theorem.name) for theorem, _ in proofs]
    if doubles := {name for name in names if names.count(name) > 1}:
        raise SparringError(f"several theorems would be called {', '.join(sorted(doubles))}; give them other names")
    parts = [_theorem(theorem.name, proof, language, text) for theorem, proof in proofs]
    return "\n\n".join([language.preamble, *parts, *([language.end] if language.end else [])]) + "\n"


def _theorem(name: str, proof: Node, language: Language, text: Text) -> str:
    symbols = proof.goal.symbols
    formula = text.full(proof.goal.conclusion)
    lines = write_script(proof, language, text)
    if symbols:
        kinds = groupby(symbols, key=lambda symbol: symbol[1])
        groups = [f"({locals_of([name for name, _ in group])} : {_kind(arity, text)})" for arity, group in kinds]
        formula = f"{text.forall} {' '.join(groups)}, {formula}"
        lines.insert(0, "  " + language.introduce.format(locals_of([name for name, _ in symbols])))
    return language.theorem.format(name=public(name), statement=formula, proof="\n".join(lines))


def _kind(arity: int, text: Text) -> str:
    return f"N {text.signs['imp']} " * arity + "Prop"


@lru_cache(maxsize=4)
def _known(library: tuple[Lemma, ...]) -> Mapping[str, Theorem]:
    return KernelEnv(library).lemmas


def _proof(theorem: Lemma, known: Mapping[str, Theorem]) -> Node:
    """The theorem's proof in primitive steps; the kernel checks it first."""
    try:
        goal = root(theorem.statement)
        tree = prove_tree(goal, lines_of(theorem.script), known)
        prove(goal.symbols, goal.conclusion, proof_of(tree), known)
    except (Malformed, TacticError, KernelError) as error:
        raise SparringError(f"{theorem.name} is not proved: {error}") from None
    return primitives(tree)


def _used(proof: Node) -> set[str]:
    """The lemmas in a proof."""
    found: set[str] = set()
    pending = [proof]
    while pending:
        node = pending.pop()
        pending += node.children
        found.update(lemmas_in(expression_in(node)))
    return found
