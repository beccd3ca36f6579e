"""A whole Coq file through ``coqc`` and ``coqchk`` in the sandbox, with its project's load path, and what its theorems rest on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from sparring.coq.patch import Edit, apply_edits
from sparring.envs.coq_audit import AuditOptions, read_assumptions
from sparring.envs.coq_files import read_project
from sparring.envs.coq_pool import CoqOptions
from sparring.envs.sandbox import wrap
from sparring.errors import SparringError
from sparring.game import stable_hash

_MODULE = "Searched"
"""As in ``coqtop.ARGV``: names are the same in the search."""
_PROJECT = "_CoqProject"


# ------------------------------------------------------------------------------------------------ projects


class Project(NamedTuple):
    """``flags``: the load path. ``ignored``: what the project says beyond that and what has no effect here."""

    flags: tuple[str, ...]
    readable: tuple[Path, ...]
    ignored: tuple[str, ...]


def project_of(file: Path) -> Project:
    """By the nearest ``_CoqProject`` in the folders above; without one the file's own folder is the load path, as for coqc in it."""
    folder = file.resolve().parent
    root = next((place for place in (folder, *folder.parents) if (place / _PROJECT).is_file()), None)
    if root is None:
        return Project(("-Q", str(folder), ""), (folder,), ())
    try:
        load, args, _ = read_project(root)
    except (OSError, ValueError) as error:
        raise SparringError(f"{root / _PROJECT} cannot be read: {error}; mend it, or move it away") from None
    used = [mapping for mapping in load if mapping.option != "-I"]  # coqchk knows of no plug-ins
    if missing := [mapping.folder for mapping in used if not mapping.folder.is_dir()]:
        raise SparringError(f"{root / _PROJECT} names the folder {missing[0]}, which is not there; make it, or take it out")
    flags = tuple(flag for mapping in used for flag in mapping.flags())
    ignored = [" ".join(mapping.flags()) for mapping in load if mapping.option == "-I"]
    return Project(flags, tuple(dict.fromkeys(mapping.folder for mapping in used)), (*ignored, *args))


def in_project(options: CoqOptions, project: Project) -> CoqOptions:
    audit = options.audit
    flags, readable = (*audit.flags, *project.flags), tuple(dict.fromkeys((*audit.readable, *project.readable)))
    return replace(options, header="", audit=replace(audit, flags=flags, readable=readable))


# ------------------------------------------------------------------------------------------------ compiling


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """``error``: why the file does not compile, which is in ``line``; None if it does. ``rests_on``: by the number of a unit's statement
    what its proof takes for granted: axioms and admitted lemmas, by the names that they have there."""

    error: str | None
    line: int | None = None
    rests_on: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])


def compile_edited(text: str, edits: Sequence[Edit], options: AuditOptions) -> Compiled:
    """The file with the edits. Never raises for what is in it."""
    key = f"sparring_{stable_hash(text, *(edit.new for edit in edits)):x}"
    asked = [edit for edit in edits if edit.closes and edit.closes.name]
    questions = {
        id(edit): _question(f"{key}_{number}", str(edit.closes and edit.closes.name)) for number, edit in enumerate(asked)
    }
    copy = apply_edits(text, [edit._replace(new=edit.new + questions.get(id(edit), "")) for edit in edits])
    deadline = time.monotonic() + options.timeout_s
    with tempfile.TemporaryDirectory(prefix="sparring-file-", ignore_cleanup_errors=True) as folder:
        room = Path(folder) / "room"
        room.mkdir()
        (room / f"{_MODULE}.v").write_bytes(copy.encode())
        ran = _run([options.coqc, "-q", "-w", "none", *options.flags, f"{_MODULE}.v"], room, options, deadline)
        if ran.code:
            return _failed(ran)
        checked = _run([options.coqchk, "-silent", *options.flags, "-norec", _MODULE], room, options, deadline)
        if checked.code:
            return Compiled(error=f"coqc accepts the file and coqchk does not: {_brief(checked.said)}")
    lines = ran.out.splitlines()
    found = {edit.closes.statement: _answer(lines, f"{key}_{number}") for number, edit in enumerate(asked) if edit.closes}
    return Compiled(error=None, rests_on=found)


class _Ran(NamedTuple):
    code: int | None  # None: it took too long
    out: str
    said: str


def _run(argv: Sequence[str], room: Path, options: AuditOptions, deadline: float) -> _Ran:
    """Output goes to files, for which the limit on file sizes holds, too."""
    command = wrap(argv, room, options.limits, readable=options.readable, allow_unsandboxed=options.allow_unsandboxed)
    out, said = room.parent / "out", room.parent / "said"
    with out.open("wb") as to_out, said.open("wb") as to_said:
        process = subprocess.Popen(
            command, cwd=room, stdin=subprocess.DEVNULL, stdout=to_out, stderr=to_said, start_new_session=True
        )
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return _Ran(-1, "", f"{argv[0]} takes longer than the {options.timeout_s:g} s of an audit")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return _Ran(code, out.read_text("utf-8", "replace"), said.read_text("utf-8", "replace"))


_ERROR = re.compile(rf'File "[^"\n]*{_MODULE}\.v", line (\d+), characters [^\n]*:\s*((?:Error|Syntax error|Anomaly)[^\0]*)')


def _failed(ran: _Ran) -> Compiled:
    found = _ERROR.search(ran.said)
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
