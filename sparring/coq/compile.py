"""A whole Coq file through ``coqc`` and ``coqchk`` in the sandbox, with its project's load path, and what its theorems rest on."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from sparring.coq.patch import Edit, apply_edits
from sparring.envs.coq_audit import read_assumptions
from sparring.envs.coq_files import Mapping, read_project
from sparring.envs.coq_pool import CoqOptions
from sparring.envs.coq_shop import AuditOptions, Ran, Shop, ShopFault
from sparring.errors import SparringError
from sparring.game import stable_hash

_LIBRARY = "Searched"
"""As in ``coqtop.ARGV``: names are the same in the search."""
_PROJECT = "_CoqProject"
_NAME = re.compile(r"[^\W\d][\w']*")
_COMPILER = {"-w": 1, "-noinit": 0}
"""Flags that coqc and coqidetop are given, and the number of words after each."""
_BOTH = {"-impredicative-set": 0, "-indices-matter": 0}
"""Flags that change what is true: for coqchk too."""
_IDLE = {
    **{"-q": 0, "-quiet": 0, "-bt": 0, "-time": 0, "-noglob": 0, "-color": 1, "-diffs": 1},
    **{"-native-compiler": 1, "-native-output-dir": 1, "-bytecode-compiler": 1, "-async-proofs": 1, "-async-proofs-j": 1},
}
"""Flags that change nothing that a proof is."""


# ------------------------------------------------------------------------------------------------ projects


class Project(NamedTuple):
    """``flags``: the load path, and what else coqc and coqchk are given; ``compiler_flags``: what coqc alone is given. ``ignored``: what
    has no effect here. ``library``: what the project calls the file."""

    flags: tuple[str, ...]
    compiler_flags: tuple[str, ...]
    readable: tuple[Path, ...]
    ignored: tuple[str, ...]
    library: str


def project_of(file: Path) -> Project:
    """By the nearest ``_CoqProject`` in the folders above; without one the file's own folder is the load path, as for coqc in it.

    Raises SparringError for a project that cannot be read, and for flags that it would be wrong to pass on or to leave out.
    """
    file = file.resolve()
    root = next((place for place in file.parents if (place / _PROJECT).is_file()), None)
    if root is None:
        here = [Mapping("-Q", file.parent, "")]
        return Project(here[0].flags(), (), (file.parent,), (), _library(file, here))
    try:
        load, args, _ = read_project(root)
    except (OSError, ValueError) as error:
        raise SparringError(f"{root / _PROJECT} cannot be read: {error}; mend it, or move it away") from None
    if missing := [mapping.folder for mapping in load if not mapping.folder.is_dir()]:
        raise SparringError(f"{root / _PROJECT} names the folder {missing[0]}, which is not there; make it, or take it out")
    both, compiler, ignored = _sorted_out(args, root / _PROJECT)
    for mapping in load:
        (compiler if mapping.option == "-I" else both).extend(mapping.flags())
    readable = tuple(dict.fromkeys(mapping.folder for mapping in load))
    return Project(tuple(both), tuple(compiler), readable, tuple(ignored), _library(file, load))


def _sorted_out(args: Sequence[str], project: Path) -> tuple[list[str], list[str], list[str]]:
    """Flags for both programs, for coqc, and those that are ignored."""
    both, compiler, ignored = list[str](), list[str](), list[str]()
    words = list(args)
    while words:
        word = words[0]
        place = next((place for known, place in ((_BOTH, both), (_COMPILER, compiler), (_IDLE, ignored)) if word in known), None)
        count = 1 + {**_BOTH, **_COMPILER, **_IDLE}.get(word, 0)
        if place is None or len(words) < count:
            raise SparringError(
                f"{project} has Coq started with {word}, under which proofs are not searched: it may change what is accepted, or read and "
                "write files; take it out of the project, or prove with a _CoqProject without it"
            )
        place += words[:count]
        del words[:count]
    return both, compiler, ignored


def _library(file: Path, load: Sequence[Mapping]) -> str:
    """By the deepest folder of the load path that the file is in; "" if there is none, or if it is no name."""
    places = [mapping for mapping in load if mapping.option != "-I" and file.is_relative_to(mapping.folder)]
    if not places:
        return ""
    best = max(places, key=lambda mapping: len(mapping.folder.parts))
    words = [*filter(None, best.name.split(".")), *file.relative_to(best.folder).with_suffix("").parts]
    return ".".join(words) if all(map(_NAME.fullmatch, words)) else ""


def in_project(options: CoqOptions, project: Project) -> CoqOptions:
    audit = options.audit
    flags, readable = (*audit.flags, *project.flags), tuple(dict.fromkeys((*audit.readable, *project.readable)))
    compiler_flags = (*audit.compiler_flags, *project.compiler_flags)
    return replace(options, header="", audit=replace(audit, flags=flags, compiler_flags=compiler_flags, readable=readable))


# ------------------------------------------------------------------------------------------------ compiling


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """``error``: why the file does not compile, which is in ``line``; None if it does. ``rests_on``: by the number of a unit's statement
    what its proof takes for granted: axioms and admitted lemmas, by the names that they have there."""

    error: str | None
    line: int | None = None
    rests_on: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])


def compile_edited(text: str, edits: Sequence[Edit], options: AuditOptions, library: str = "", check: bool = True) -> Compiled:
    """The file with the edits, under the name of ``library``; ``check``: coqchk, too. Never raises for what is in it."""
    key = f"sparring_{stable_hash(text, *(edit.new for edit in edits)):x}"
    asked = [edit for edit in edits if edit.closes and edit.closes.name]
    questions = {
        id(edit): _question(f"{key}_{number}", str(edit.closes and edit.closes.name)) for number, edit in enumerate(asked)
    }
    copy = apply_edits(text, [edit._replace(new=edit.new + questions.get(id(edit), "")) for edit in edits])
    deadline = time.monotonic() + options.timeout_s
    with tempfile.TemporaryDirectory(prefix="sparring-file-", ignore_cleanup_errors=True) as folder:
        shop = Shop(Path(folder), options, deadline, library or _LIBRARY)
        try:
            ran = shop.compile(copy)
            if ran.code:
                return _failed(ran, shop.stem)
            checked = shop.check() if check else ran
        except ShopFault as fault:
            return Compiled(error=_brief(str(fault)))
        if checked.code:
            return Compiled(error=f"coqc accepts the file and coqchk does not: {_brief(checked.said)}")
    lines = ran.out.splitlines()
    found = {edit.closes.statement: _answer(lines, f"{key}_{number}") for number, edit in enumerate(asked) if edit.closes}
    return Compiled(error=None, rests_on=found)


def _failed(ran: Ran, stem: str) -> Compiled:
    pattern = rf'File "[^"\n]*{stem}\.v", line (\d+), characters [^\n]*:\s*((?:Error|Syntax error|Anomaly)[^\0]*)'
    found = re.search(pattern, ran.said)
    if found is None:
        return Compiled(error=_brief(ran.said or ran.out))
    return Compiled(error=f"line {found[1]}: {_brief(found[2])}", line=int(found[1]))


def _brief(text: str) -> str:
    return " ".join(text.split())[:400]


def _question(mark: str, name: str) -> str:
    """On the same line, so that the lines of errors are those of the file. Nobody else can print the mark: it is a hash of the file."""
    return f" Set Printing Width 100000. Locate Term {mark}_begin. Print Assumptions {name}. Locate Term {mark}_end."


def _answer(lines: Sequence[str], mark: str) -> tuple[str, ...]:
    """The assumptions that are printed between the marks."""
    begin = next((number for number, line in enumerate(lines) if f"{mark}_begin" in line), None)
    end = next((number for number, line in enumerate(lines) if f"{mark}_end" in line), None)
    if begin is None or end is None:
        return ("what it rests on is not known",)
    try:
        found = read_assumptions(lines[begin + 1 : end])
    except ValueError as error:
        return (f"what it rests on is not understood: {_brief(str(error))}",)
    return (*found.axioms, *found.flaws)
