"""Coq's files: of an installed library, of a project with a ``_CoqProject``, or a single one; each after the files it requires.

    Arith, Lists.List, stdlib       folders and files of the standard library
    mathcomp.ssreflect              what else is installed (``user-contrib``)
    path/to/project, path/to/A.v    with the load path of the _CoqProject there, or in a folder above

Compiled files of installed libraries are there already. Those of a project are made in a folder of ours, so that nothing is written
into the project (``compiled_in``).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from sparring.envs.coq_theorems import Theorem, find_theorems
from sparring.errors import SparringError

STANDARD = "stdlib"
_PROJECT_FILE = "_CoqProject"
_ASK_S = 120


class Mapping(NamedTuple):
    """``-Q folder name``, ``-R folder name``, or ``-I folder`` with an empty name."""

    option: str
    folder: Path
    name: str

    def flags(self) -> tuple[str, ...]:
        return (self.option, str(self.folder)) if self.option == "-I" else (self.option, str(self.folder), self.name)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file: its logical name, what it is called in rows, the load path and other flags it is compiled with, and the logical names of
    the files that have to be compiled before it. ``root``: the folder of its project; None for an installed file. ``wanted``: it was
    asked for, and not only for the sake of another one."""

    path: Path
    name: str
    shown_path: str
    load: tuple[Mapping, ...] = ()
    args: tuple[str, ...] = ()
    root: Path | None = None
    needs: tuple[str, ...] = ()
    wanted: bool = True

    def compiled_in(self, folder: Path) -> Path:
        """Where its .vo belongs in a folder that mirrors the project's."""
        assert self.root is not None
        return (folder / self.path.relative_to(self.root)).with_suffix(".vo")

    def mirrored(self, folder: Path) -> list[Mapping]:
        """The load path with the project's own folders looked for in ``folder``; plug-ins stay where they are."""
        root = self.root
        return [
            place._replace(folder=folder / place.folder.relative_to(root))
            if root and place.option != "-I" and place.folder.is_relative_to(root)
            else place
            for place in self.load
        ]


def find_sources(names: Sequence[str]) -> list[Source]:
    """The files that the names stand for, each after those that it requires. Raises SparringError for a name that is nothing, and for
    no names."""
    if not names or not all(names):
        raise SparringError(f"no library is named; name some: Arith,Lists.List, {STANDARD}, or paths of projects")
    found: dict[Path, Source] = {}
    for name in names:
        sources = _project(Path(name)) if _is_path(name) else _installed(name)
        for source in sources:
            known = found.get(source.path)
            if known is None or source.wanted:
                found[source.path] = source
    by_name: dict[str, Source] = {}
    for source in found.values():
        if (other := by_name.setdefault(source.name, source)) is not source:
            raise SparringError(
                f"{other.path} and {source.path} are both called {source.name}; trace them apart, or give their folders names in a "
                f"{_PROJECT_FILE} (-Q FOLDER NAME)"
            )
    return _ordered(list(found.values()))


def theorems_of(source: Source) -> list[Theorem]:
    """Raises SparringError for a file that is not Coq text in UTF-8."""
    return find_theorems(read_source(source.path), source.name, source.path, source.shown_path)


def read_source(path: Path) -> str:
    """The text with its line ends as they are: places are counted in it."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SparringError(f"{path} cannot be read: {error}") from None


def _is_path(name: str) -> bool:
    return name.endswith(".v") or os.sep in name or name in (".", "..") or (Path(name) / _PROJECT_FILE).is_file()


def _ordered(sources: list[Source]) -> list[Source]:
    known = {source.name: source for source in sources}
    sorter = TopologicalSorter({source.name: [name for name in source.needs if name in known] for source in sources})
    try:
        return [known[name] for name in sorter.static_order()]
    except CycleError as error:
        raise SparringError(f"these files require each other: {', '.join(error.args[1])}") from None


# ------------------------------------------------------------------------------------------------ installed libraries


@cache
def coq_folder() -> Path:
    """Where Coq's own libraries are."""
    return Path(_ask(["coqc", "-where"], Path.cwd()).strip())


@cache
def coq_version() -> str:
    return " ".join(_ask(["coqc", "-print-version"], Path.cwd()).split())


def _installed(name: str) -> list[Source]:
    theories, others = coq_folder() / "theories", coq_folder() / "user-contrib"
    words = [] if name in (STANDARD, "Coq") else name.removeprefix("Coq.").split(".")
    for root, first in ((theories, "Coq"), (others, "")):
        place = root.joinpath(*words)
        if place.with_suffix(".v").is_file() and words:
            return _library([place.with_suffix(".v")], root, first)
        if place.is_dir() and (words or first):
            files = sorted(place.rglob("*.v"))
            if files:
                return _library(files, root, first)
            raise SparringError(f"{place} has compiled files alone; install the library with its .v files")
    there = ", ".join(sorted(path.name for root in (theories, others) for path in root.iterdir() if path.is_dir()))
    raise SparringError(f"{name!r} is no library; there are {there}, {STANDARD} (all of Coq's own), and paths of projects")


def _library(files: Sequence[Path], root: Path, first: str) -> list[Source]:
    sources = [
        Source(
            path=path,
            name=".".join([*([first] if first else []), *path.relative_to(root).with_suffix("").parts]),
            shown_path=str(path.relative_to(root.parent if first else root)),
            load=() if first else _beside(path, root),
            args=("-noinit",) if first and path.relative_to(root).parts[0] == "Init" else (),
        )
        for path in files
    ]
    return _with_needs(sources, ["-boot", "-R", ".", first] if first else ["-R", ".", ""], root)


def _beside(path: Path, root: Path) -> tuple[Mapping, ...]:
    """Files that came with it may be called by their last names, as where the library was made."""
    name = ".".join(path.relative_to(root).parent.parts)
    return (Mapping("-R", path.parent, name),) if name else ()


# ------------------------------------------------------------------------------------------------ projects


def _project(place: Path) -> list[Source]:
    """All files that the project lists, or has; those that were not asked for are needed at most."""
    place = place.expanduser().resolve()
    if not place.exists():
        raise SparringError(f"{place} is not there; give a project's folder, a .v file, or the name of an installed library")
    folder = place if place.is_dir() else place.parent
    root = next((above for above in (folder, *folder.parents) if (above / _PROJECT_FILE).is_file()), None)
    if root is None:
        load, args, files = (Mapping("-R", folder, ""),), (), sorted(folder.rglob("*.v")) if place.is_dir() else [place]
        root = folder
    else:
        load, args, files = read_project(root)
    if not files:
        raise SparringError(f"{root} has no .v files")
    sources = [
        Source(
            path=path,
            name=_logical(path, load),
            shown_path=str(path.relative_to(root)),
            load=load,
            args=args,
            root=root,
            wanted=path == place or path.is_relative_to(place),
        )
        for path in files
    ]
    sources = _with_needs(sources, [flag for mapping in load for flag in mapping.flags()], root)
    if not any(source.wanted for source in sources):
        raise SparringError(f"{place} is not among the files of {root / _PROJECT_FILE}; list it there")
    return _closed(sources)


def read_project(root: Path) -> tuple[tuple[Mapping, ...], tuple[str, ...], list[Path]]:
    """The load path, further flags and files of a ``_CoqProject``, as coq_makefile reads it; all files of the load path if it lists
    none."""
    text = (root / _PROJECT_FILE).read_text("utf-8")
    words = iter(shlex.split(text, comments=True))
    load: list[Mapping] = []
    args: list[str] = []
    files: list[Path] = []
    for word in words:
        if word in ("-Q", "-R"):
            load.append(Mapping(word, (root / next(words, "")).resolve(), next(words, "")))
        elif word == "-I":
            load.append(Mapping(word, (root / next(words, "")).resolve(), ""))
        elif word == "-arg":
            args += shlex.split(next(words, ""))
        elif word.endswith(".v"):
            files.append((root / word).resolve())
    if not any(mapping.option != "-I" for mapping in load):
        load.append(Mapping("-R", root, ""))
    if not files:
        folders = [mapping.folder for mapping in load if mapping.option != "-I" and mapping.folder.is_relative_to(root)]
        files = sorted({path for folder in folders for path in folder.rglob("*.v")})
    if missing := [path for path in files if not path.is_file()]:
        raise SparringError(f"{root / _PROJECT_FILE} lists {missing[0]}, which is not there")
    return tuple(load), tuple(args), files


def _logical(path: Path, load: Iterable[Mapping]) -> str:
    """By the deepest folder of the load path that it is in."""
    places = [mapping for mapping in load if mapping.option != "-I" and path.is_relative_to(mapping.folder)]
    if not places:
        raise SparringError(f"{path} is in no folder of the load path; add -Q or -R to the {_PROJECT_FILE}")
    best = max(places, key=lambda mapping: len(mapping.folder.parts))
    return ".".join([*filter(None, [best.name]), *path.relative_to(best.folder).with_suffix("").parts])


def _closed(sources: list[Source]) -> list[Source]:
    """What was asked for and what that needs, however far away."""
    known = {source.name: source for source in sources}
    waiting = [source.name for source in sources if source.wanted]
    kept: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept.add(name)
            waiting += known[name].needs
    return [source for source in sources if source.name in kept]


# ------------------------------------------------------------------------------------------------ what requires what

_RULE = re.compile(r"^(\S.*?)\.vo .*?:\s(.*)$", re.MULTILINE)


def _with_needs(sources: Sequence[Source], flags: Sequence[str], root: Path) -> list[Source]:
    """As coqdep says, which only reads. It names files as it was given them, so they are given from ``root`` on."""
    names = {str(source.path.relative_to(root).with_suffix("")): source.name for source in sources}
    relative = [os.path.relpath(flag, root) if os.path.isabs(flag) else flag for flag in flags]
    rules = _ask(["coqdep", *relative, *(f"{name}.v" for name in names)], root).replace("\\ ", "\0")
    needs = {
        _plain(target): [_plain(word[:-3]) for word in required.split() if word.endswith(".vo")]
        for target, required in _RULE.findall(rules)
    }
    return [
        replace(source, needs=tuple(names[word] for word in needs.get(stem, ()) if word in names))
        for source, stem in zip(sources, names, strict=True)
    ]


def _plain(word: str) -> str:
    return os.path.normpath(word.replace("\0", " "))


def _ask(argv: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SparringError(f"{argv[0]} does not run: {error}; install Coq 8.16 (Debian: apt-get install coq)") from None
    if done.returncode:
        raise SparringError(f"{argv[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout
