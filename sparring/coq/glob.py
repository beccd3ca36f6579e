"""What a Coq file refers to: ``coqc`` writes a .glob file with every name that it resolved, and where.

A line ``R1670:1673 Coq.Init.Datatypes <> nil constr``: bytes 1670 to 1673 (the last one included) name ``nil`` of that library,
outside its modules (``<>``), a constructor. The module path has modules and no sections.

Premises are the references that ReProver retrieves: lemmas, definitions, axioms, instances, projections, and abbreviations
(``Notation plus_comm := Nat.add_comm``), under the abbreviation's own name since that is what the tactic says. Inductive types and their
constructors, section variables, bound names, notations for symbols, libraries and modules are none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sparring.envs.coq_files import Source
from sparring.envs.sandbox import Limits, wrap
from sparring.rundir import commit, commit_text

_KINDS = "thm prfax def defax ex inst meth proj coe canonstruc scheme prim subclass abbrev"
KINDS = frozenset(_KINDS.split())
"""Kinds of coqdoc's references (interp/dumpglob.ml) that are premises."""
_REFERENCE = re.compile(r"^R(\d+):\d+ (\S+) (\S+) (\S+) (\w+)$", re.MULTILINE)
_FILE_MB = 1024


class Reference(NamedTuple):
    start: int
    name: str


def read_references(glob: str) -> list[Reference]:
    """The premises that a .glob file names, with full names, in the order of their places (bytes)."""
    found = [
        Reference(int(start), ".".join(part for part in (library, modules, name) if part != "<>"))
        for start, library, modules, name, kind in _REFERENCE.findall(glob)
        if kind in KINDS
    ]
    return sorted(found)


def premises(references: Sequence[Reference], start: int, end: int) -> tuple[str, ...]:
    """Those within bytes ``start`` to ``end``, each once."""
    first, last = (bisect_left(references, place, key=lambda reference: reference.start) for place in (start, end))
    return tuple(dict.fromkeys(reference.name for reference in references[first:last]))


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """``glob``: the text of the .glob file; ``error``: what coqc said, empty where it compiled the file."""

    glob: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """``built``: the folder for compiled files of projects. ``timeout_s``: for one file."""

    built: Path
    timeout_s: float
    memory_mb: int
    allow_unsandboxed: bool = False

    def flags(self, source: Source) -> tuple[list[str], list[Path]]:
        """The load path and the further flags of a file, and the folders that it reads."""
        places = source.mirrored(self.built)
        for place in places:
            if place.folder.is_relative_to(self.built):
                place.folder.mkdir(parents=True, exist_ok=True)
        own = [flag for place in places for flag in place.flags()]
        readable = [place.folder for place in places if place.folder.is_dir()]
        return [*own, *source.args], outermost(readable)

    def compile(self, source: Source, key: str) -> Compiled:
        """What coqc makes of the file, once for each ``key``, which stands for all that it depends on."""
        kept = self.built / ".globs" / f"{source.name}.{key}"
        if kept.is_file() and (source.root is None or source.compiled_in(self.built).is_file()):
            return Compiled(glob=kept.read_text("utf-8"), error="")
        made = self._compile(source)
        if not made.error:
            commit_text(kept, made.glob)
        return made

    def _compile(self, source: Source) -> Compiled:
        """Runs coqc on a copy, shut in; the compiled file of a project's file is kept where others find it."""
        *above, stem = source.name.split(".")
        flags, readable = self.flags(source)
        own = ["-Q", ".", ".".join(above)] if above else []
        with tempfile.TemporaryDirectory(prefix="sparring-coqc-") as name:
            folder = Path(name)
            shutil.copyfile(source.path, folder / f"{stem}.v")
            error = self._run(["coqc", "-q", "-w", "none", *flags, *own, f"{stem}.v"], folder, readable)
            glob = folder / f"{stem}.glob"
            if source.root is not None and not error:
                commit(source.compiled_in(self.built), lambda partial: _copy(folder / f"{stem}.vo", partial))
            return Compiled(glob=glob.read_text("utf-8") if glob.is_file() else "", error=error)

    def _run(self, argv: Sequence[str], folder: Path, readable: Sequence[Path]) -> str:
        limits = Limits(cpu_s=int(self.timeout_s) + 1, memory_mb=2 * self.memory_mb, file_mb=_FILE_MB)
        command = wrap(argv, folder, limits, readable=readable, allow_unsandboxed=self.allow_unsandboxed)
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, timeout=self.timeout_s, check=False, start_new_session=True
            )
        except subprocess.TimeoutExpired:
            return f"coqc takes longer than {self.timeout_s:g} s"
        return " ".join(done.stderr.decode(errors="replace").split())[-500:] or "coqc failed" if done.returncode else ""


def outermost(folders: Iterable[Path]) -> list[Path]:
    """Without those that are in another one of them."""
    kept: list[Path] = []
    for folder in sorted(set(folders)):
        if not any(folder.is_relative_to(above) for above in kept):
            kept.append(folder)
    return kept


def _copy(made: Path, place: Path) -> None:
    shutil.copyfile(made, place)
