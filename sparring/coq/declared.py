"""What a Coq file declares that a tactic can name, found by reading it, and what Coq itself lists of the files that it has compiled.

Reading finds names, places and the statements as they were written. Coq finds also what is not written anywhere: what functors bring
(``Nat.add_comm`` stands in no file), induction principles, projections; and it prints types as it prints goals, with what sections add.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from sparring.envs.coq_files import Source, read_source
from sparring.envs.coq_sentence import Token, tokens
from sparring.envs.coq_theorems import ASSERTIONS, Part, bytes_before, name_of, prefix_of, read_parts
from sparring.envs.sandbox import Limits, wrap
from sparring.errors import SparringError

Kind = Literal["lemma", "definition", "assumption", "type", "constructor", "part", "abbreviation", "module"]

_DEFINITIONS = frozenset({"Definition", "Example", "Fixpoint", "CoFixpoint", "Function", "Instance", "Coercion", "Canonical"})
_ASSUMPTIONS = frozenset({"Axiom", "Axioms", "Parameter", "Parameters", "Conjecture", "Conjectures"})
_TYPES = frozenset({"Inductive", "CoInductive", "Variant"})
_RECORDS = frozenset({"Record", "Structure", "Class"})
_WORD = re.compile(r"[^\W\d][\w']*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """``statement``: one line, without the proof. ``place``: where its sentence begins, in bytes; ``end``: where that ends.

    ``type`` and ``constructor`` are no premises (``coq/glob``), they are here so that Coq's list can be told apart. ``part``: a name
    within a record or class, a projection perhaps. ``module``: what may bring names that are not written; the statement has what it names
    (functors, modules), nothing for a block that only begins."""

    name: str
    kind: Kind
    statement: str
    place: int
    end: int


def declared_in(source: Source) -> list[Declared]:
    """In the order of the file. What a section or a proof keeps to itself is left out. Raises SparringError for a file that cannot
    be read."""
    text = read_source(source.path)
    at = bytes_before(text)
    return [
        Declared(name=name, kind=kind, statement=statement, place=at[part.sentence.start], end=at[part.sentence.end])
        for part in read_parts(text)
        for name, kind, statement in _names(part, prefix_of(part, source.name))
    ]


def _names(part: Part, prefix: str) -> Iterator[tuple[str, Kind, str]]:
    head, text = part.words[0], part.sentence.text
    if head in ASSERTIONS or head in _DEFINITIONS:
        if head == "Canonical":  # Structure
            return
        if name := name_of(part) or (part.words[1] if head == "Coercion" else ""):
            kind: Kind = "lemma" if head in ASSERTIONS else "definition"
            yield f"{prefix}.{name}", kind, one_line(text, name)
    elif head in _ASSUMPTIONS:
        for name in _assumed(text):
            yield f"{prefix}.{name}", "assumption", one_line(text, name)
    elif head in _TYPES or head in _RECORDS:
        for name, kind in _inductive(text, head in _RECORDS):
            yield f"{prefix}.{name}", kind, one_line(text, name)
    elif head == "Notation" and part.words[2:4] == (":", "=") and _WORD.fullmatch(part.words[1]):
        target = text.split(":=", 1)[1].split("(only parsing)")[0]
        yield f"{prefix}.{part.words[1]}", "abbreviation", " ".join(target.removesuffix(".").split())
    elif head in ("Include", "Module"):
        # "Module Nat <: T." begins a block whose name is not around it yet; "Module N := F M." is all of N.
        name = next((word for word in part.words[1:] if word not in ("Import", "Export", "Type")), "")
        brought = text.partition("Include" if head == "Include" else ":=")[2]
        yield (f"{prefix}.{name}" if head == "Module" else prefix), "module", " ".join(brought.split())


def one_line(text: str, name: str) -> str:
    """The text after the name of what it declares: ``n : n + 0 = n``, without comments, the final dot and superfluous blanks."""
    spoken = [" " if token.kind == "comment" else token.text for token in tokens(text)]
    after = "".join(spoken[spoken.index(name) + 1 :] if name in spoken else spoken)
    return " ".join(after.split()).removesuffix(".").removeprefix(": ")


def _spoken(text: str) -> list[Token]:
    return [token for token in tokens(text) if token.kind not in ("blank", "comment")]


def _assumed(text: str) -> Iterator[str]:
    """a and b of ``Parameters a b : nat`` and of ``Parameters (a b : nat)``."""
    naming = True
    for token in _spoken(text)[1:]:
        if token.text in ("(", ":"):
            naming = token.text == "("
        elif naming and token.kind == "name":
            yield token.text


def _inductive(text: str, record: bool) -> Iterator[tuple[str, Kind]]:
    """Types after the head word and after ``with``; constructors after ``:=`` and bars; all other names of a record are parts."""
    parts, seen = _spoken(text), set[str]()
    depth = 0
    for before, token in pairwise(parts):
        depth += (before.text in "([{") - (before.text in ")]}")
        if token.kind != "name" or token.text in seen:
            continue
        kind: Kind | None = None
        if before.text == "with" or before.start == parts[0].start:
            kind = "type"
        elif not depth and (before.text == "|" or (before.text == "=" and _is_defining(text, before))):
            kind = "constructor"
        elif record:
            kind = "part"
        if kind:
            seen.add(token.text)
            yield token.text, kind


def _is_defining(text: str, sign: Token) -> bool:
    return text[sign.start - 1 : sign.start + 1] == ":="


# ------------------------------------------------------------------------------------------------ what Coq lists

_LISTED = re.compile(r"^([^\W\d][\w'.]*): ", re.UNICODE)
_MARK = "sparring_next_file"


def list_compiled(
    sources: Sequence[Source], flags: Sequence[str] = (), readable: Sequence[Path] = (), allow_unsandboxed: bool = False
) -> dict[str, list[tuple[str, str]]]:
    """Logical name -> (full name, type in one line) of all that the file declares, in no order; printed as where the file is imported.

    ``flags``, ``readable``: the load path for files that are not installed, and its folders. Raises SparringError if Coq refuses.
    """
    lines = ["Set Printing Width 1000000.", "Set Printing Depth 1000000.", f"Definition {_MARK} := tt."]
    lines += [f"Require {source.name}." for source in sources]
    for number, source in enumerate(sources):
        # What an import brings ends with the module.
        lines += [f"Print {_MARK}.", f"Module M{number}.", f"Import {source.name}.", f"Search _ inside {source.name}."]
        lines += [f"End M{number}."]
    with tempfile.TemporaryDirectory(prefix="sparring-list-") as name:
        folder = Path(name)
        (folder / "List.v").write_text("\n".join(lines) + "\n", encoding="utf-8")
        limits = Limits(cpu_s=600, memory_mb=16_000)
        argv = ["coqc", "-q", "-w", "none", *flags, "List.v"]
        command = wrap(argv, folder, limits, readable=readable, allow_unsandboxed=allow_unsandboxed)
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, start_new_session=True)
    if done.returncode:
        raise SparringError(f"coqc does not list the premises: {done.stderr.decode(errors='replace').strip()[-500:]}")
    blocks = done.stdout.decode().split(f"{_MARK} = tt")[1:]
    return {source.name: list(_read_list(block, source.name)) for source, block in zip(sources, blocks, strict=True)}


def _read_list(block: str, library: str) -> Iterator[tuple[str, str]]:
    name, words = "", list[str]()
    for line in block.splitlines():
        found = _LISTED.match(line)
        if found or not line.startswith(" "):
            if name:
                yield name, " ".join(" ".join(words).split())
            name, words = (_full(found[1], library), [line[found.end() :]]) if found else ("", [])
        else:
            words.append(line)
    if name:
        yield name, " ".join(" ".join(words).split())


def _full(printed: str, library: str) -> str:
    """Coq prints the shortest name that is not ambiguous: ``Nat.add_comm``, ``PeanoNat.Nat.add_comm``."""
    parts, above = printed.split("."), library.split(".")
    shared = next((n for n in range(min(len(parts) - 1, len(above)), 0, -1) if parts[:n] == above[-n:]), 0)
    return ".".join(above + parts[shared:])
