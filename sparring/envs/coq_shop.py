"""Where a judge compiles a Coq file: a folder, ``coqc`` and ``coqchk`` in the sandbox, and a deadline for both.

A file is compiled under its own library's name where it is known (``Coq.Lists.List``), since texts refer to themselves by it. The folder
is put on the load path under the name's beginning then, and the checker is given the file and not the name, which an installed library
may have as well.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sparring.envs.sandbox import Limits, wrap

_NAME = re.compile(r"[^\W\d][\w']*")


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """``axioms``: full names of the axioms that a proof may use, such as
    "Coq.Logic.FunctionalExtensionality.functional_extensionality_dep"; those of the context are called "audited.name", or by the
    library's name where the task has one.
    ``timeout_s``: seconds for all programs together. ``flags``: for coqc and coqchk alike, such as the load path (-Q, -R), whose folders
    are in ``readable``; ``compiler_flags``: for coqc alone. ``allow_unsandboxed``: see ``sandbox.wrap``."""

    axioms: tuple[str, ...] = ()
    timeout_s: float = 120.0
    limits: Limits = field(default_factory=Limits)
    coqc: str = "coqc"
    coqchk: str = "coqchk"
    flags: tuple[str, ...] = ()
    compiler_flags: tuple[str, ...] = ()
    readable: tuple[Path, ...] = ()
    allow_unsandboxed: bool = False


class ShopFault(Exception):
    """A program could not do its work; nothing is known about the file."""


class Ran(NamedTuple):
    """``said``: what went to stderr."""

    code: int
    out: str
    said: str


@dataclass(frozen=True)
class Shop:
    """A folder, ``room`` in it that programs see, and how to run them there until the deadline (time.monotonic). ``library``: the name
    of the file that is compiled."""

    folder: Path
    options: AuditOptions
    deadline: float
    library: str

    @property
    def room(self) -> Path:
        return self.folder / "room"

    @property
    def stem(self) -> str:
        return self.library.rpartition(".")[2]

    def compile(self, text: str) -> Ran:
        """The text through coqc. Raises ShopFault, also from ``check``."""
        self.room.mkdir(exist_ok=True)
        file = self.room / f"{self.stem}.v"
        for old in (file, file.with_suffix(".vo")):  # what a program left in its place may be a link to somewhere else
            old.unlink(missing_ok=True)
        with file.open("x", encoding="utf-8", newline="") as stream:
            stream.write(text)
        options = self.options
        flags = (*options.flags, *options.compiler_flags, *self._named())
        return self._run([options.coqc, "-q", "-w", "none", "-native-compiler", "no", *flags, file.name])

    def check(self) -> Ran:
        """What was compiled through coqchk, without the libraries."""
        return self._run([self.options.coqchk, "-silent", *self.options.flags, *self._named(), "-norec", f"{self.stem}.vo"])

    def _named(self) -> list[str]:
        prefix = self.library.rpartition(".")[0]
        return ["-Q", ".", prefix] if prefix else []

    def _run(self, argv: Sequence[str]) -> Ran:
        """Output goes to files outside the room; the limit on file sizes holds for it there, too."""
        options = self.options
        command = wrap(argv, self.room, options.limits, readable=options.readable, allow_unsandboxed=options.allow_unsandboxed)
        out, said = self.folder / "out", self.folder / "said"
        with out.open("wb") as to_out, said.open("wb") as to_said:
            code = self._wait(
                subprocess.Popen(
                    command, cwd=self.room, stdin=subprocess.DEVNULL, stdout=to_out, stderr=to_said, start_new_session=True
                )
            )
        if code is None:
            raise ShopFault(f"{argv[0]} takes longer than the {options.timeout_s:g} s of an audit")
        ran = Ran(code, out.read_text("utf-8", "replace"), said.read_text("utf-8", "replace"))
        if code and ("No space left" in ran.said or "Out of memory" in ran.said):
            raise ShopFault(f"{argv[0]}: {ran.said}")
        return ran

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """The exit status; None where time ran out. Whatever happens, nothing goes on running."""
        try:
            return process.wait(max(0.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def library_of(full_name: str, file_path: str) -> str:
    """The library that a theorem's file makes: what of the theorem's name agrees best with the path of the file (Coq.Lists.List of
    Coq.Lists.List.List.f in Lists/List.v); "" where nothing does."""
    names, parts = full_name.split(".")[:-1], file_path.removesuffix(".v").split("/")
    alike = [_alike(names[:end], parts) for end in range(1, len(names) + 1)]
    best = max(alike, default=0)
    library = names[: alike.index(best) + 1] if best else []
    return ".".join(library) if all(map(_NAME.fullmatch, library)) else ""


def refers_to(library: str, text: str) -> bool:
    """Whether names in the text may begin with the library's."""
    return bool(library) and re.search(rf"\b{re.escape(library.rpartition('.')[2])}\.[^\W\d]", text) is not None


def _alike(names: Sequence[str], parts: Sequence[str]) -> int:
    """How many are the same, from the end."""
    same = 0
    for name, part in zip(reversed(names), reversed(parts), strict=False):
        if name != part:
            break
        same += 1
    return same
