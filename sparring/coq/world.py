"""Coq libraries as a world: theorems to prove where they stand in their files, and the steps of traced proofs, without leaks.

The rows of a trace (``trace.py``) are split (``splits.py``). A theorem is a task if reading its file says what is to be proved; what is
dropped is counted by reason. What is taught and what is asked are held apart:

- no theorem, and no copy of one, is in two sets;
- no step of a set begins at the statement of a theorem in another set (a proof may prove a lemma on its way, by ``assert``);
- rows that several theorems share a name for are left out everywhere, since they cannot be told apart.
"""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from sparring.coq.glob import outermost
from sparring.coq.splits import SETS, SPLITS, entries_of
from sparring.coq.trace import CoqSummary, CoqTraceOptions, trace_coq
from sparring.envs.coq import read_statement
from sparring.envs.coq_files import find_sources, theorems_of
from sparring.envs.coq_pool import CoqOptions
from sparring.envs.coq_replay import replayable
from sparring.envs.coq_theorems import Theorem, task_of
from sparring.errors import SparringError
from sparring.game import Rejected, Step, Task, make_task, stable_hash
from sparring.rundir import Watch
from sparring.trace import TraceRow, read_trace

SplitKind = Literal["random", "folder", "premise"]
HELD_OUT = "held-out"
"""The validation and the test set together, where nothing is chosen by either."""
_SAME_NAME = "another theorem has the same name"


class _Known(NamedTuple):
    """All that the trace and the files say. ``stated``: set and theorem, in file order. ``dropped``: per set, why theorems are no tasks.
    ``steps``: per set, theorem and step. ``unsaid``: per set, why rows are no steps."""

    summary: CoqSummary
    rows: Mapping[str, Sequence[TraceRow]]
    names: Mapping[str, Sequence[str]]
    stated: Sequence[tuple[str, Theorem]]
    dropped: Mapping[str, Counter[str]]
    steps: Mapping[str, Sequence[tuple[str, Step]]]
    unsaid: Mapping[str, Counter[str]]


@dataclass(frozen=True, kw_only=True)
class CoqWorld:
    """``libraries``: folders and files of installed libraries, or paths of projects (``coq_files``). ``trace``: the Parquet file of
    their proofs, beside its parts; what is missing of it is traced when the world is first asked for something, which takes minutes
    for a large library and moments once it is there. ``held_out``: the share of the validation set, and that of the test set.
    ``jobs``: files traced at a time; ``watch`` is told how far it is. ``allow_unsandboxed``: see ``sandbox.wrap``.

    Raises SparringError for a split or a share that there is not, and, when first asked, for a library that there is not.
    """

    libraries: Sequence[str]
    trace: Path
    split: SplitKind = "random"
    seed: int = 0
    held_out: float = 0.1
    jobs: int = 2
    watch: Watch | None = None
    allow_unsandboxed: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise SparringError(f"the split {self.split!r} is none of {', '.join(SPLITS)}")
        SPLITS[self.split]([], self.seed, self.held_out)  # says now that the share is wrong

    def tasks(self, name: str) -> list[Task]:
        """The theorems of a set (train, validation, test, or held-out: the last two), in the order of the files and of each file: so
        their contexts grow from one to the next."""
        return [self._task(theorem) for theorem in self._stated(name)]

    def sample(self, name: str, number: int, seed: int) -> list[Task]:
        """``number`` theorems of the set drawn uniformly (all, where there are no more), in the order of ``tasks``."""
        stated = self._stated(name)
        places = Random(stable_hash(seed, "sample", name)).sample(range(len(stated)), min(number, len(stated)))
        return [self._task(stated[place]) for place in sorted(places)]

    def steps(self, name: str, theorems: int = 0) -> list[Step]:
        """What the proofs of a set did, a step for each tactic that a player may say; of ``theorems`` proofs drawn uniformly (0: all)."""
        return [step for _, step in self.named_steps(name, theorems)]

    def named_steps(self, name: str, theorems: int = 0) -> list[tuple[str, Step]]:
        """The same with the full names of the theorems."""
        found = [one for own in _members(name) for one in self._known.steps[own]]
        if theorems:
            names = list(dict.fromkeys(theorem for theorem, _ in found))
            kept = set(Random(stable_hash(self.seed, "proofs", name)).sample(names, min(theorems, len(names))))
            found = [one for one in found if one[0] in kept]
        return found

    def rows(self, name: str) -> list[TraceRow]:
        """The trace of a set's theorems."""
        return [row for own in _members(name) for theorem in self._known.names[own] for row in self._known.rows[theorem]]

    def statements(self, name: str) -> frozenset[str]:
        """The first goals of all theorems of a set, those that are no tasks too: what must not be taught to who is asked them."""
        wanted = _members(name)
        known = self._known
        return frozenset(
            row.state_before for own in wanted for theorem in known.names[own] for row in known.rows[theorem] if row.step == 0
        )

    def options(self, options: CoqOptions) -> CoqOptions:
        """``options`` of an environment that can load what the files require: with the folders of the libraries."""
        built = self.trace.with_name(f"{self.trace.name}.parts") / "built"
        mirrored = (place for source in find_sources(self.libraries) for place in source.mirrored(built) if place.option != "-I")
        places = list(dict.fromkeys(mirrored))
        for place in places:
            if place.folder.is_relative_to(built):
                place.folder.mkdir(parents=True, exist_ok=True)
        flags = tuple(flag for place in places for flag in place.flags())
        audit = options.audit
        readable = (*audit.readable, *outermost(place.folder for place in places))
        return replace(options, audit=replace(audit, flags=(*audit.flags, *flags), readable=readable))

    def lines(self) -> Iterator[str]:
        """The world for a person: what was traced, and for each set what there is and what was dropped, and why."""
        known = self._known
        tasks = Counter(name for name, _ in known.stated)
        yield f"{', '.join(self.libraries)}, split {self.split}, seed {self.seed}: {next(known.summary.lines())}"
        for name in SETS:
            yield f"  {name}: {len(known.names[name])} theorems, {tasks[name]} as tasks, {len(known.steps[name])} steps"
            for what, reasons in (("theorems", known.dropped[name]), ("steps", known.unsaid[name])):
                for reason, count in sorted(reasons.items()):
                    yield f"    {count} {what} left out: {reason}"

    def _stated(self, name: str) -> list[Theorem]:
        wanted = _members(name)
        return [theorem for own, theorem in self._known.stated if own in wanted]

    def _task(self, theorem: Theorem) -> Task:
        task, rows = task_of(theorem), self._known.rows[theorem.full_name]
        assert task is not None
        premises = sorted({premise for row in rows for premise in row.premises})
        meta = {**task.meta, "steps": len(rows), "premises": premises}
        return make_task(task.text, context=task.context, meta=meta)

    @cached_property
    def _known(self) -> _Known:
        with _alone(self.trace):
            options = CoqTraceOptions(jobs=self.jobs, allow_unsandboxed=self.allow_unsandboxed)
            summary = trace_coq(self.libraries, self.trace, self.watch, options)
            rows = read_trace(self.trace)
        by_name: dict[str, list[TraceRow]] = {}
        for row in rows:
            by_name.setdefault(row.full_name, []).append(row)
        twice = {name for name, own in by_name.items() if sum(row.step == 0 for row in own) > 1}
        names = SPLITS[self.split](entries_of(row for row in rows if row.full_name not in twice), self.seed, self.held_out)
        home = {theorem: name for name, theorems in names.items() for theorem in theorems}
        stated, dropped = _stated(self.libraries, home)
        steps, unsaid = _steps(rows, home)
        if twice:
            dropped["train"][_SAME_NAME] = len(twice)
        return _Known(summary, by_name, names, stated, dropped, steps, unsaid)


def _members(name: str) -> tuple[str, ...]:
    if name == HELD_OUT:
        return ("validation", "test")
    if name not in SETS:
        raise SparringError(f"the Coq world has no set {name!r}; it has {', '.join(SETS)}, and {HELD_OUT}")
    return (name,)


def _stated(libraries: Sequence[str], home: Mapping[str, str]) -> tuple[list[tuple[str, Theorem]], dict[str, Counter[str]]]:
    """The theorems with their sets in file order, and why others are no tasks; ``home``: the set of each name."""
    stated: list[tuple[str, Theorem]] = []
    dropped: dict[str, Counter[str]] = {name: Counter() for name in SETS}
    found: set[str] = set()
    for source in find_sources(libraries):
        read = sorted(theorems_of(source), key=lambda theorem: theorem.start) if source.wanted else []
        for theorem in read:
            if (name := home.get(theorem.full_name)) is None or not theorem.proved or theorem.full_name in found:
                continue
            found.add(theorem.full_name)
            if why := _unstated(theorem):
                dropped[name][why] += 1
            else:
                stated.append((name, theorem))
    for theorem, name in home.items():
        dropped[name]["the file does not name it"] += theorem not in found
    return stated, {name: +reasons for name, reasons in dropped.items()}


def _unstated(theorem: Theorem) -> str:
    """Why a theorem is no task; empty if it is one."""
    if (task := task_of(theorem)) is None:
        return "stated within another proof" if theorem.nested else f"{theorem.kind} does not say what is to be proved"
    statement = read_statement(task.text)
    return f"the statement: {statement.reason}" if isinstance(statement, Rejected) else ""


def _steps(
    rows: Sequence[TraceRow], home: Mapping[str, str]
) -> tuple[dict[str, list[tuple[str, Step]]], dict[str, Counter[str]]]:
    """(theorem, step) of each set, and why other rows are none."""
    steps: dict[str, list[tuple[str, Step]]] = {name: [] for name in SETS}
    unsaid: dict[str, Counter[str]] = {name: Counter() for name in SETS}
    statements = {row.state_before: home[row.full_name] for row in rows if row.step == 0 and row.full_name in home}
    for row in rows:
        if (name := home.get(row.full_name)) is None:
            continue
        if statements.get(row.state_before, name) != name:
            unsaid[name]["it begins at a statement of another set"] += 1
        elif not replayable(row.tactic):
            unsaid[name]["no tactic that a player may say"] += 1
        else:
            step = Step(state=row.state_before, tactic=row.tactic, result=row.state_after, role="trace", used=True)
            steps[name].append((row.full_name, step))
    return steps, unsaid


@contextmanager
def _alone(trace: Path) -> Iterator[None]:
    """Two programs that want the same trace make it one after the other; the second one finds it done."""
    trace.parent.mkdir(parents=True, exist_ok=True)
    with trace.with_name(f"{trace.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
