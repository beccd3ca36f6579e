"""The corpus that premises are retrieved from, and which of it a theorem may use (arXiv 2306.15626 sec. 4: accessible premises).

A theorem may use what stands before it in its own file, and all of the files that its file requires, however indirectly; Coq's prelude
is required by every file. What is written in a functor or a module type is a premise in that file alone.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparring.coq.declared import Declared, declared_in, list_compiled
from sparring.coq.glob import Compiler, outermost
from sparring.envs.coq_files import STANDARD, Source, find_sources, read_source, theorems_of
from sparring.envs.coq_theorems import read_parts
from sparring.errors import SparringError
from sparring.trace import TraceRow

Bools = NDArray[np.bool_]
PRELUDE = "Coq.Init.Prelude"
_EXPORTED = frozenset(
    f"Coq.Init.{name}" for name in ["Notations", "Logic", "Datatypes", "Specif", "Peano", "Wf", "Tactics", "Tauto"]
)
"""What the prelude exports: known without the file's name."""
_NEVER = ("type", "constructor", "module")
_NAME = re.compile(r"[^\W\d][\w']*(?:\.[^\W\d][\w']*)*")
_MADE = re.compile(r"_(?:ind|rec|rect|sind|obligation_\d+)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Premise:
    """``file``: logical name of the file; ``place``: first byte of the sentence that makes it there. ``statement``: one line, as Coq
    prints the type where Coq was asked, else as it was written. ``kind`` of ``coq/declared``, or ``brought`` where it is not written.
    ``local``: other files cannot name it."""

    name: str
    statement: str
    file: str
    place: int
    kind: str
    local: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """``premises``: by file, each after those it requires, then by place. ``closures``: the files that a file requires, however
    indirectly, not itself. ``theorems``: full name -> its file and first byte. ``shown``: how rows call a file -> its logical name."""

    premises: tuple[Premise, ...]
    closures: Mapping[str, frozenset[str]]
    theorems: Mapping[str, tuple[str, int]]
    shown: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.premises)

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Full name -> place in ``premises``."""
        return {premise.name: number for number, premise in enumerate(self.premises)}

    def find(self, name: str) -> int | None:
        """Where the premise is that a trace calls ``name``: coqc leaves out modules that were imported, or made by a functor, on the way
        (``Nat.Even_0`` for ``Nat.Private_Parity.Even_0``), so the only one of that file with that last part will do."""
        found = self.places.get(name)
        if found is not None:
            return found
        near = [
            place for place in self._by_last.get(name.rpartition(".")[2], ()) if name.startswith(f"{self.premises[place].file}.")
        ]
        near = [place for place in near if not self.premises[place].local] or near
        return near[0] if len(near) == 1 else None

    def accessible(self, theorem: str) -> Bools:
        """[P] which premises the theorem may use. Raises SparringError for a theorem that the files do not have."""
        if theorem not in self.theorems:
            raise SparringError(f"{theorem} is in none of the files of this corpus; build it from the libraries that were traced")
        return self.accessible_at(*self.theorems[theorem])

    def accessible_at(self, file: str, place: int) -> Bools:
        """[P] which premises may be used at a byte of a file, the sentence that begins there not included."""
        if file not in self.closures:
            raise SparringError(f"{file} is not a file of this corpus; build it from the libraries that were traced")
        required, own = self._reach(file)
        return required | (own & (self._bytes < place))

    def standing(self, row: TraceRow) -> tuple[str, int]:
        """File and byte of the theorem of a row; of the step where Coq made the theorem's name up. Raises SparringError."""
        if row.full_name in self.theorems:
            return self.theorems[row.full_name]
        if row.file_path not in self.shown:
            raise SparringError(f"{row.file_path} is not a file of this corpus; build it from the libraries that were traced")
        return self.shown[row.file_path], row.start

    @lru_cache(maxsize=256)  # noqa: B019 - a corpus lives as long as the process
    def _reach(self, file: str) -> tuple[Bools, Bools]:
        """What other files give to a file, and what it has itself."""
        closure = self.closures[file]
        required = np.array([premise.file in closure and not premise.local for premise in self.premises], dtype=np.bool_)
        return required, np.array([premise.file == file for premise in self.premises], dtype=np.bool_)

    @cached_property
    def _bytes(self) -> NDArray[np.int64]:
        return np.array([premise.place for premise in self.premises], dtype=np.int64)

    def short_name(self, place: int, file: str) -> str:
        """What to call a premise in a tactic of a theorem of ``file``: without the library in its own file (which has another name
        while it is being worked on), else with as much of the library as tells it from all others."""
        premise = self.premises[place]
        words, above = premise.name.split("."), len(premise.file.split("."))
        if premise.file == file:
            return ".".join(words[above:])
        least = len(words) - above + (premise.file not in _EXPORTED)
        for count in range(least, len(words)):
            if self._suffixes[suffix := ".".join(words[-count:])] == 1:
                return suffix
        return premise.name

    @cached_property
    def _suffixes(self) -> Counter[str]:
        named = (premise.name.split(".") for premise in self.premises)
        return Counter(".".join(words[-count:]) for words in named for count in range(1, len(words) + 1))

    @cached_property
    def _by_last(self) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for place, premise in enumerate(self.premises):
            found[premise.name.rpartition(".")[2]].append(place)
        return found


def read_corpus(names: Sequence[str], compiler: Compiler | None = None) -> Corpus:
    """The corpus of the sources (``envs/coq_files``) and of all that they require.

    With ``compiler`` (that of the trace, for projects that are not installed) Coq lists what the compiled files have; without, what can
    be read is all there is. Raises SparringError for sources that are none, and where Coq is asked and refuses.
    """
    files = find_sources([*names, STANDARD])
    wanted = {source.name for source in find_sources(names) if source.wanted}
    return corpus_of(files, wanted, compiler)


def corpus_of(files: Sequence[Source], wanted: Iterable[str], compiler: Compiler | None = None) -> Corpus:
    """Of the ``wanted`` files and what they require of ``files``, which come each after those that it requires."""
    closures, wanted = _closures(files), set(wanted)
    kept = wanted.union(*(closures[name] for name in wanted))
    sources = [source for source in files if source.name in kept]
    listed = _list(sources, compiler) if compiler else {}
    premises: list[Premise] = []
    theorems: dict[str, tuple[str, int]] = {}
    modules = _Modules()
    for source in sources:
        declared = declared_in(source)
        coq = listed.get(source.name)
        found = _written(source, declared) if coq is None else _merged(source, declared, coq, modules)
        premises += sorted(found, key=lambda premise: premise.place)
        modules.add(declared)  # a file's own modules were not there when it was looked at
        if source.name in wanted:
            theorems |= {theorem.full_name: (source.name, theorem.start) for theorem in theorems_of(source)}
    return Corpus(
        premises=tuple(_resolved(premises)),
        closures={name: closures[name] for name in kept},
        theorems=theorems,
        shown={source.shown_path: source.name for source in sources},
    )


def _list(sources: Sequence[Source], compiler: Compiler) -> dict[str, list[tuple[str, str]]]:
    """One process for all that is installed, one for each project. Files that are not compiled are left out."""
    found: dict[str, list[tuple[str, str]]] = {}
    compiled = [source for source in sources if source.root is None or source.compiled_in(compiler.built).is_file()]
    for root in dict.fromkeys(source.root for source in compiled):
        group = [source for source in compiled if source.root == root]
        flags, readable = compiler.flags(group[0]) if root else ([], [])
        found |= list_compiled(group, flags, outermost(readable), compiler.allow_unsandboxed)
    return found


def _written(source: Source, declared: Sequence[Declared]) -> Iterator[Premise]:
    last = {item.name: item for item in declared if item.kind not in (*_NEVER, "part")}
    for item in last.values():
        yield Premise(name=item.name, statement=item.statement, file=source.name, place=item.place, kind=item.kind)


def _merged(
    source: Source, declared: Sequence[Declared], listed: Sequence[tuple[str, str]], modules: _Modules
) -> Iterator[Premise]:
    """What Coq lists, at the places where it is written; then what is written and not listed: abbreviations, and what is local."""
    known = {item.name: item for item in declared}
    bringing: dict[str, list[Declared]] = defaultdict(list)
    for item in declared:
        if item.kind == "module":
            bringing[item.name].append(item)
    end, types = max((item.end for item in declared), default=0), dict(listed)
    for name, statement in types.items():
        item = known.get(name)
        if item is None or item.kind in ("module", "abbreviation"):
            about = known.get(_MADE.sub("", name))
            place = about.place if about and about.name != name else _brought_at(name, bringing, modules, end)
            yield Premise(name=name, statement=statement, file=source.name, place=place, kind="brought")
        elif item.kind not in _NEVER:
            yield Premise(name=name, statement=statement, file=source.name, place=item.place, kind=item.kind)
    rest = [premise for premise in _written(source, declared) if premise.name not in types]
    within = {_above(premise.name) for premise in rest if premise.kind != "abbreviation"} - {source.name}
    for premise in rest:
        yield replace(premise, local=premise.kind != "abbreviation" or _above(premise.name) in within)


class _Modules:
    """What modules, functors and files have, by the last parts of names, as far as that can be read: what is written in them, and what
    they include. Modules of one name are taken together."""

    def __init__(self) -> None:
        self._has: dict[str, set[str]] = defaultdict(set)
        self._includes: dict[str, set[str]] = defaultdict(set)

    def add(self, declared: Sequence[Declared]) -> None:
        for item in declared:
            if item.kind == "module":
                self._includes[item.name.rpartition(".")[2]].update(_named(item.statement))
            else:
                *_, module, name = item.name.split(".")
                self._has[module].add(name)

    @lru_cache(maxsize=1 << 12)  # noqa: B019 - one per corpus that is read
    def _reached(self, words: tuple[str, ...]) -> frozenset[str]:
        seen, waiting = set[str](), list(words)
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += self._includes.get(module, ())
        return frozenset(seen)

    def bring(self, item: Declared, name: str) -> bool:
        return any(name in self._has.get(module, ()) for module in self._reached(tuple(_named(item.statement))))


def _named(text: str) -> list[str]:
    return [word.rpartition(".")[2] for word in _NAME.findall(text)]


def _above(name: str) -> str:
    return name.rpartition(".")[0]


def _brought_at(name: str, bringing: Mapping[str, Sequence[Declared]], modules: _Modules, end: int) -> int:
    """The place of the first sentence that brings the name into its module, by what was read of the modules of other files; else of
    the last sentence that may have brought it; else, as it may be anywhere, the end of the file."""
    above, last = name, name.rpartition(".")[2]
    while "." in above:
        above = _above(above)
        if items := bringing.get(above):
            return next((item.place for item in items if modules.bring(item, last)), items[-1].place)
    return end


def _resolved(premises: Sequence[Premise]) -> Iterator[Premise]:
    """Abbreviations say what the lemma says that they stand for, where there is just one of that name before them."""
    by_last: dict[str, list[Premise]] = defaultdict(list)
    for premise in premises:
        if premise.kind == "abbreviation":
            target = premise.statement.strip("()@ ")
            found = [other for other in by_last[target.rpartition(".")[2]] if f".{other.name}".endswith(f".{target}")]
            near = [other for other in found if other.file == premise.file] or found
            if len(near) == 1:
                premise = replace(premise, statement=near[0].statement)
        elif not premise.local:
            by_last[premise.name.rpartition(".")[2]].append(premise)
        yield premise


# ------------------------------------------------------------------------------------------------ what requires what


def _closures(files: Sequence[Source]) -> dict[str, frozenset[str]]:
    """``Source.needs`` has the files that were looked for together; what else a file requires is read in its text."""
    names = {source.name for source in files}
    ends: dict[str, list[str]] = defaultdict(list)
    for source in files:
        words = source.name.split(".")
        for count in range(1, len(words) + 1):
            ends[".".join(words[-count:])].append(source.name)
    closures: dict[str, frozenset[str]] = {}
    for source in _after_needs(files):
        needs = [name for name in source.needs if name in names]
        if not source.name.startswith("Coq."):
            needs += [name for asked in _required_by(source.path) for name in _matching(asked, ends)]
        if PRELUDE in names and "-noinit" not in source.args:
            needs.append(PRELUDE)
        closures[source.name] = frozenset(needs).union(*(closures[name] for name in needs if name in closures))
    return closures


def _after_needs(files: Sequence[Source]) -> Iterator[Source]:
    """Coq's own files first, those that need no prelude before all others; else as they are."""
    return iter(sorted(files, key=lambda source: (not source.name.startswith("Coq."), "-noinit" not in source.args)))


def _required_by(path: Path) -> Iterator[tuple[str, str]]:
    """(library, name) for each name of ``From library Require Import name name``."""
    for part in read_parts(read_source(path)):
        words = part.sentence.text.removesuffix(".").split()
        if "Require" not in words[:3]:
            continue
        library = words[1] if words[0] == "From" else ""
        for name in words[words.index("Require") + 1 :]:
            if name not in ("Import", "Export"):
                yield library, name


def _matching(asked: tuple[str, str], ends: Mapping[str, Sequence[str]]) -> list[str]:
    library, name = asked
    found = [full for full in ends.get(name, ()) if not library or full.startswith(f"{library}.")]
    return found if len(found) <= 1 else [full for full in found if full in (name, f"{library}.{name}")] or found[:1]
