"""The theorems of a Coq file, found by reading it: names, statements, where their proofs are, and what they stand in.

Nothing is run. What opens a proof cannot be told from one sentence alone (``Definition f : nat.`` does, ``Definition f := 0.`` does not),
so a sentence that may open one does if a proof's text follows it. Code under ``Ltac2`` and inside other languages is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Literal, NamedTuple

from sparring.envs.coq_blocks import opens_block
from sparring.envs.coq_sentence import LexError, Sentence, Token, split_sentences, tokens
from sparring.errors import SparringError
from sparring.game import Task, make_task

Role = Literal["assertion", "opener", "begin", "term", "end", "command", "structure", "tactic"]
"""What a sentence is: it states a theorem; it may open a proof; ``Proof.``; ``Proof term.``; it closes a proof; any other command;
a bullet or brace; a tactic."""

ASSERTIONS = frozenset({"Theorem", "Lemma", "Fact", "Remark", "Corollary", "Proposition", "Property"})
_NAMING = frozenset({"Example", "Definition", "Let", "Fixpoint", "CoFixpoint", "Function", "Instance"})
"""Besides assertions: the next word is a name, or there is none."""
_OPENERS = _NAMING | {"Goal", "Coercion", "SubClass", "Next", "Obligation", "Final", "Add", "Derive", "Equations", "Canonical"}
_STATING = ASSERTIONS | {"Goal", "Example", "Definition", "Let", "Instance"}
PROVED = ("Qed", "Defined", "Save", "Proof")
"""How a proof ends that is one; ``Proof`` is ``Proof term.``"""
_ENDS = frozenset({"Qed", "Defined", "Save", "Admitted", "Abort"})
_BEFORE = frozenset(
    {"Local", "Global", "Polymorphic", "Monomorphic", "Cumulative", "NonCumulative", "Private", "Program", "Time"}
)
_COMMAND_WORDS = """
About Admit Arguments Axiom Axioms Back BackTo Bind Cd Check Class Close CoInductive Collection Combined Comments Compute Conjecture
Conjectures Constraint Context Corollary Create Cumulative Debug Declare Delimit Disable Drop Elimination Enable End Eval
Example Existential Existing Export Extract Extraction Fail Fact Field File Final Focus From Functional Generalizable Goal Grab
Guarded Hint Hypotheses Hypothesis Identity Implicit Import Include Inductive Infix Info Inspect Instructions Intro Lemma
Library Load Locate Ltac Ltac2 Module Morphism Next Notation Number Numeral Obligation Obligations Opaque Open Optimize
Parameter Parameters Prenex Preterm Primitive Print Proof Property Proposition Prove Pwd Qed Quit Record Recursive Redirect
Register Remark Remove Require Reserved Reset Restart Rewrite Ring Save Scheme Search SearchPattern SearchRewrite Section
Separate Set Show Solve Sort Strategy String Structure Succeed Tactic Test Theorem Timeout Transparent Type Typeclasses
Undelimit Undo Unfocus Unfocused Universe Universes Unset Unshelve Validate Variable Variables Variant
"""
_COMMANDS = frozenset(_COMMAND_WORDS.split())
_FEW = 4
"""Words that tell what a sentence is."""
_START = 32
"""Tokens among which they are, attributes included."""
_INITIAL = "Coq.Init."
_UNNAMED = "unnamed"
"""What an instance without a name is called as a lemma; no environment heeds it."""
_SILENT = frozenset({"blank", "comment"})


class Part(NamedTuple):
    """A sentence of a file: its first words without attributes and prefixes, what it is, and the modules and sections around it."""

    sentence: Sentence
    words: tuple[str, ...]
    role: Role
    modules: tuple[str, ...]
    sections: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Theorem:
    """``start`` and ``end`` of the statement, ``proof_start`` and ``proof_end``, in bytes of the file. ``name`` is empty where Coq
    makes one up, ``full_name`` has the place in the file instead then. ``ending``: Qed, Defined, Save, Proof (a term), Admitted or
    Abort. ``nested``: stated within the proof of another one. ``place``, ``last``: numbers of the first and the last sentence."""

    path: Path
    shown_path: str
    name: str
    full_name: str
    sections: tuple[str, ...]
    statement: str
    start: int
    end: int
    proof_start: int
    proof_end: int
    ending: str
    kind: str
    nested: bool
    place: int
    last: int

    @property
    def proved(self) -> bool:
        return self.ending in PROVED


def read_parts(text: str) -> list[Part]:
    """The sentences of a file; raises SparringError for text that has no end."""
    try:
        return list(_parts(text))
    except LexError as error:
        raise SparringError(f"this is no Coq file: {error}") from None


class Spoken(NamedTuple):
    """A sentence by itself, as ``Part`` has it."""

    text: str
    words: tuple[str, ...]
    role: Role

    def tokens(self) -> Sequence[Token]:
        """Those that mean something, without attributes and prefixes."""
        return _first_words([token for token in tokens(self.text) if token.kind not in _SILENT])[1]


def read_sentence(text: str) -> Spoken:
    """Raises LexError."""
    spoken = (token for token in tokens(text) if token.kind not in _SILENT)
    words, _ = _first_words(list(islice(spoken, _START)))
    return Spoken(text, words, _role(words, text))


def _parts(text: str) -> Iterator[Part]:
    blocks: list[tuple[str, str]] = []  # (kind, name)
    for sentence in split_sentences(text):
        spoken = read_sentence(sentence.text)
        words = spoken.words
        if words[0] == "End" and blocks:
            blocks.pop()
        modules = tuple(name for kind, name in blocks if kind != "Section")
        sections = tuple(name for kind, name in blocks if kind == "Section")
        yield Part(sentence, words, spoken.role, modules, sections)
        if words[0] in ("Section", "Module") and (block := opens_block(spoken.tokens())) is not None:
            blocks.append((block.kind, block.name))


def _first_words(parts: Sequence[Token]) -> tuple[tuple[str, ...], Sequence[Token]]:
    """Without ``#[attributes]``, ``Local``, ``Program`` and the like."""
    at = 0
    while at < len(parts):
        text = parts[at].text
        if text == "#" and at + 1 < len(parts) and parts[at + 1].text == "[":
            at = next((n + 1 for n in range(at, len(parts)) if parts[n].text == "]"), len(parts))
        elif text in _BEFORE:
            at += 1
        elif text == "Timeout" and at + 1 < len(parts):
            at += 2
        else:
            break
    rest = parts[at:] or parts
    return tuple(token.text for token in rest[:_FEW]), rest


def _role(words: Sequence[str], text: str) -> Role:
    head = words[0]
    if text[-1] in "-+*{}":  # a bullet, a brace, or 2:{
        return "structure"
    if head in ASSERTIONS:
        return "assertion"
    if head == "Proof":
        return "begin" if words[1] in (".", "using", "with", "Mode") else "term"
    if head in _ENDS:
        return "end"
    if head in _OPENERS:
        return "opener"
    return "command" if head in _COMMANDS or head in ("#", "|") else "tactic"


def name_of(part: Part) -> str:
    """What a sentence calls its theorem; empty where Coq makes a name up."""
    head, *words = part.words
    if head in ASSERTIONS or head in _NAMING:
        return words[0] if words and re.match(r"[^\W\d]", words[0]) else ""
    return ""


def prefix_of(part: Part, library: str) -> str:
    """The name of what is there, up to its last part; sections do not count once they are closed."""
    return ".".join([library, *part.modules])


# ------------------------------------------------------------------------------------------------ theorems


def bytes_before(text: str) -> Sequence[int]:
    """Bytes before each character, and before the end: Coq and its files of references count bytes."""
    if text.isascii():
        return range(len(text) + 1)
    return [0, *accumulate(len(char.encode()) for char in text)]


def find_theorems(text: str, library: str, path: Path, shown_path: str = "") -> list[Theorem]:
    """The theorems of a file in the order in which their proofs end; ``library`` is its logical name. Raises SparringError."""
    parts, at = read_parts(text), bytes_before(text)
    found: list[Theorem] = []
    waiting: list[int] = []  # numbers of the sentences whose proofs are open
    for number, part in enumerate(parts):
        if part.role == "assertion" or (part.role == "opener" and not waiting and _begins_proof(parts[number + 1 : number + 2])):
            waiting.append(number)
        elif part.role in ("end", "term") and waiting:
            first = waiting.pop()
            stated = parts[first]
            name = name_of(stated)
            start = at[stated.sentence.start]
            found.append(
                Theorem(
                    path=path,
                    shown_path=shown_path or path.name,
                    name=name,
                    full_name=f"{prefix_of(stated, library)}.{name or f'at_{start}'}",
                    sections=stated.sections,
                    statement=stated.sentence.text,
                    start=start,
                    end=at[stated.sentence.end],
                    proof_start=at[parts[first + 1].sentence.start],
                    proof_end=at[part.sentence.end],
                    ending=part.words[0],
                    kind=stated.words[0],
                    nested=bool(waiting),
                    place=first,
                    last=number,
                )
            )
    return found


def _begins_proof(following: Sequence[Part]) -> bool:
    return bool(following) and following[0].role in ("begin", "term", "end", "structure", "tactic")


def context_of(theorem: Theorem) -> str:
    """What the statement stands in: the file's text before it. Sections and modules are open there, and no proof is, unless the
    theorem is ``nested``."""
    return theorem.path.read_bytes()[: theorem.start].decode()


def why_no_task(theorem: Theorem) -> str | None:
    """Why a theorem cannot be put to a player; None if it can."""
    if theorem.nested:
        return "it is stated within the proof of another theorem"
    if theorem.kind not in _STATING:
        return f"{theorem.kind} does not say what is to be proved"
    if theorem.full_name.startswith(_INITIAL):
        return "every process has loaded the files of Coq.Init, and with them the theorem"
    return None


def task_of(theorem: Theorem) -> Task | None:
    """To prove it where it stands, with all that comes before it and nothing of what comes after. None where there is a reason
    (``why_no_task``).

    Instances and definitions are stated as lemmas: whoever proves them need not know how they will be used.
    """
    if why_no_task(theorem):
        return None
    spoken = ["" if token.kind == "comment" else token.text for token in tokens(theorem.statement)]
    after = "".join(spoken[spoken.index(theorem.kind) + 1 :])
    head = theorem.kind if theorem.kind in ASSERTIONS | {"Goal"} else "Lemma" if theorem.name else f"Lemma {_UNNAMED}"
    text = f"{head}{after}"
    meta = {"full_name": theorem.full_name, "file_path": theorem.shown_path, "start": theorem.start}
    return make_task(text, context=context_of(theorem), meta=meta)
