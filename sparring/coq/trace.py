"""``sparring trace coq``: the proofs of real Coq files as rows, replayed in Coq itself.

For each file: coqc compiles a copy, for the references that it resolves (and for what other files of the project need), then coqidetop runs
it sentence by sentence (``envs/coq_replay``). All of it is shut in.

``OUT.parts`` keeps what is finished, a file at a time: the rows, then a report. A call that was killed goes on from there, and a file
that has changed is done again, with all that depend on it. The rows of all files then become ``OUT``, in an order that depends on the
sources alone.

A theorem that a tactic is to be tried on again is found in ``envs/coq_files.theorems_of``; ``envs/coq_theorems.task_of`` makes it a task.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from threading import Event

from sparring.coq.glob import Compiled, Compiler, premises, read_references
from sparring.envs.coq_files import Source, coq_version, find_sources, read_source
from sparring.envs.coq_replay import FileTop, Replay, Replayed
from sparring.envs.coq_theorems import bytes_before, find_theorems, read_parts
from sparring.envs.coqtop import ARGV
from sparring.envs.process import Limits
from sparring.envs.sandbox import Limits as SandboxLimits
from sparring.envs.sandbox import wrap
from sparring.errors import SparringError
from sparring.game import stable_hash
from sparring.rundir import Watch, commit, commit_text, watched
from sparring.trace import TraceRow, write_trace

_FORMAT = 1
"""Of what is kept in ``OUT.parts``."""
_SPARE_MB = 4000
"""Address space that Coq asks for without using it."""


@dataclass(frozen=True, kw_only=True)
class CoqTraceOptions:
    """``jobs``: files at a time. ``file_timeout_s``: for compiling a file, and again for replaying it; ``sentence_timeout_s`` for one
    sentence. ``premises``: without them, only what other files of a project need is compiled, which saves a third of the time."""

    jobs: int = 2
    file_timeout_s: float = 1800.0
    sentence_timeout_s: float = 120.0
    memory_mb: int = 4000
    premises: bool = True
    allow_unsandboxed: bool = False


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """``failures``: (theorem, reason) of proofs that were not replayed; ``other``: sentences outside proofs that failed. ``unfinished``:
    proofs that end with Admitted or Abort; they give no rows. ``stopped``: why the file was not run to its end. ``compiling``: what coqc
    said if it failed; the rows have no premises then."""

    file: str
    replayed: int = 0
    steps: int = 0
    unfinished: int = 0
    seconds: float = 0.0
    failures: Sequence[tuple[str, str]] = ()
    other: Sequence[tuple[str, str]] = ()
    stopped: str = ""
    compiling: str = ""

    @property
    def proofs(self) -> int:
        return self.replayed + len(self.failures)


@dataclass(frozen=True, kw_only=True)
class CoqSummary:
    """``seconds``: of this call; ``reused``: files that were finished before it. ``file_seconds``: of all files, summed over jobs."""

    reports: Sequence[FileReport]
    seconds: float
    reused: int
    proofs: int = field(init=False)
    replayed: int = field(init=False)
    steps: int = field(init=False)
    file_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        for name in ("proofs", "replayed", "steps"):
            object.__setattr__(self, name, sum(getattr(report, name) for report in self.reports))
        object.__setattr__(self, "file_seconds", sum(report.seconds for report in self.reports))

    def lines(self) -> Iterator[str]:
        """For a person."""
        share = 100 * self.replayed / self.proofs if self.proofs else 100.0
        yield (
            f"{len(self.reports)} files ({self.reused} from before), {self.proofs} proofs, {self.replayed} replayed ({share:.2f} %), "
            f"{self.steps} steps, {self.seconds:.0f} s"
        )
        for report in self.reports:
            if report.stopped:
                yield f"  {report.file} was not run to its end: {report.stopped}"
            if report.compiling:
                yield f"  {report.file} has no premises: {report.compiling}"
            for what, reason in (*report.failures, *report.other):
                yield f"  {report.file}, {what}: {reason}"


def trace_coq(
    sources: Sequence[str], out: Path, watch: Watch | None = None, options: CoqTraceOptions | None = None
) -> CoqSummary:
    """Writes a row per tactic of each proof of the sources (see ``coq_files``) to the Parquet file ``out``.

    Raises SparringError for sources that are none, and where there is no Coq or no sandbox. A file or a proof that fails is in the
    summary, and stops nothing.
    """
    begun, watch, options = time.monotonic(), watch or Watch(), options or CoqTraceOptions()
    files = find_sources(sources)
    tracer = _Tracer(out.with_name(f"{out.name}.parts"), options, files)
    wrap(ARGV, Path.cwd(), allow_unsandboxed=options.allow_unsandboxed)  # says now what would be missing later
    with watched(watch, "trace", len(files)):
        reports = tracer.run(files, lambda done: watch.update(done, len(files)))
    wanted = [source for source in files if source.wanted]
    commit(out, lambda partial: _join([tracer.shard(source) for source in wanted], partial))
    return CoqSummary(reports=[reports[source.name] for source in wanted], seconds=time.monotonic() - begun, reused=tracer.reused)


class _Tracer:
    """What is done and what is to do in one folder of parts."""

    def __init__(self, folder: Path, options: CoqTraceOptions, files: Sequence[Source]) -> None:
        self._folder = folder
        self._options = options
        self._keys = _keys(files, options)
        self._needed = {name for source in files if source.root is not None for name in source.needs}
        self._compiler = Compiler(
            built=folder / "built",
            timeout_s=options.file_timeout_s,
            memory_mb=options.memory_mb,
            allow_unsandboxed=options.allow_unsandboxed,
        )
        self._running: set[FileTop] = set()
        self._over = Event()
        self.reused = 0

    def shard(self, source: Source) -> Path:
        return self._folder / f"{source.name}.{self._keys[source.name]}.parquet"

    def run(self, files: Sequence[Source], tell: Callable[[int], None]) -> dict[str, FileReport]:
        """The reports by logical names. What a file needs is compiled before it; of what may run, the longest file goes first."""
        reports: dict[str, FileReport] = {}
        sorter = TopologicalSorter({source.name: source.needs if source.root else () for source in files})
        sorter.prepare()
        known, sizes = {source.name: source for source in files}, {source.name: source.path.stat().st_size for source in files}
        working: dict[Future[FileReport], str] = {}
        pool = ThreadPoolExecutor(self._options.jobs, thread_name_prefix="trace")
        try:
            while sorter.is_active():
                for name in sorted(sorter.get_ready(), key=sizes.__getitem__, reverse=True):
                    working[pool.submit(self._file, known[name])] = name
                for done in wait(working, return_when=FIRST_COMPLETED).done:
                    name = working.pop(done)
                    reports[name] = done.result()
                    sorter.done(name)
                    tell(len(reports))
        finally:
            self._over.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for coq in [*self._running]:  # after an error, or Ctrl-C: whoever waits for them gives up
                with suppress(ProcessLookupError):
                    os.killpg(coq.child.pid, signal.SIGKILL)
            pool.shutdown()
        return reports

    def _file(self, source: Source) -> FileReport:
        """The report of a file, from before or made now; the rows are there then."""
        shard = self.shard(source)
        kept = shard.with_suffix(".json")
        if kept.is_file() and (source.name not in self._needed or source.compiled_in(self._compiler.built).is_file()):
            self.reused += 1
            return FileReport(**json.loads(kept.read_text("utf-8")))
        begun = time.monotonic()
        try:
            rows, report = self._rows(source)
        except Exception as error:  # whatever is wrong with one file, the others go on
            why = f"{type(error).__name__}: {error}"
            rows, report = [], FileReport(file=source.shown_path, stopped=why, failures=_all_failed(source, "not started"))
        commit(shard, lambda partial: _write(partial, rows))
        report = FileReport(**{**asdict(report), "seconds": round(time.monotonic() - begun, 3)})
        if not report.stopped:
            commit_text(kept, json.dumps(asdict(report), ensure_ascii=False))
        return report

    def _rows(self, source: Source) -> tuple[list[TraceRow], FileReport]:
        text = read_source(source.path)
        compiled = Compiled(glob="", error="")
        if source.name in self._needed or self._options.premises:
            compiled = self._compiler.compile(source, self._keys[source.name])
        if not source.wanted:
            return [], FileReport(file=source.shown_path, compiling=compiled.error)
        done = self._replay(source, text)
        rows = list(_rows_of(done, source, text, compiled.glob if self._options.premises else ""))
        return rows, FileReport(
            file=source.shown_path,
            replayed=len(done.proofs),
            steps=len(rows),
            unfinished=done.unfinished,
            failures=done.failures,
            other=done.other,
            stopped=done.stopped,
            compiling=compiled.error,
        )

    def _replay(self, source: Source, text: str) -> Replayed:
        parts, theorems = read_parts(text), find_theorems(text, source.name, source.path, source.shown_path)
        options = self._options
        deadline = time.monotonic() + options.file_timeout_s
        with self._process(source) as coq:
            return Replay(coq, source.name, deadline, options.sentence_timeout_s, options.memory_mb).run(parts, theorems)

    @contextmanager
    def _process(self, source: Source) -> Iterator[FileTop]:
        options = self._options
        flags, readable = self._compiler.flags(source)
        limits = SandboxLimits(cpu_s=10**7, memory_mb=2 * options.memory_mb + _SPARE_MB)
        argv = [*ARGV, *flags, "-top", source.name]
        with tempfile.TemporaryDirectory(prefix="sparring-trace-") as name:
            folder = Path(name)
            command = wrap(argv, folder, limits, readable=readable, allow_unsandboxed=options.allow_unsandboxed)
            coq = FileTop(command, folder, Limits(options.file_timeout_s, options.file_timeout_s, options.memory_mb))
            self._running.add(coq)
            try:
                if self._over.is_set():
                    raise SparringError("the trace was stopped")
                yield coq
            finally:
                self._running.discard(coq)
                coq.close()


def _all_failed(source: Source, why: str) -> list[tuple[str, str]]:
    """The proofs of a file that was not run, as far as it can be read."""
    text = source.path.read_bytes().decode(errors="replace")
    with suppress(SparringError):
        theorems = find_theorems(text, source.name, source.path, source.shown_path)
        return [(theorem.full_name, why) for theorem in theorems if theorem.proved] if source.wanted else []
    return []


def _rows_of(done: Replayed, source: Source, text: str, glob: str) -> Iterator[TraceRow]:
    at, references = bytes_before(text), read_references(glob)
    for proof in done.proofs:
        for number, step in enumerate(proof.steps):
            start, end = at[step.start], at[step.end]
            yield TraceRow(
                full_name=proof.full_name,
                file_path=source.shown_path,
                theorem_statement=proof.statement,
                step=number,
                state_before=step.before,
                tactic=step.tactic,
                premises=premises(references, start, end),
                state_after=step.after,
                start=start,
                end=end,
            )


def _keys(files: Sequence[Source], options: CoqTraceOptions) -> Mapping[str, str]:
    """What the rows of a file depend on: its text and flags, Coq, and, in a project, the files that it requires."""
    keys: dict[str, str] = {}
    for source in files:
        digest = hashlib.blake2b(source.path.read_bytes(), digest_size=16).hexdigest()
        needs = [keys[name] for name in source.needs] if source.root else []
        load = [(place.option, place.name) for place in source.load]
        asked = (options.premises, options.sentence_timeout_s, source.wanted)
        keys[source.name] = f"{stable_hash(_FORMAT, coq_version(), digest, source.args, load, asked, needs):016x}"
    return keys


def _write(path: Path, rows: Sequence[TraceRow]) -> None:
    write_trace(path, rows)


def _join(shards: Sequence[Path], path: Path) -> None:
    """One file with the rows of all, one shard in memory at a time."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        write_trace(Path(folder) / "empty", [])
        schema = pq.read_schema(Path(folder) / "empty")
    with pq.ParquetWriter(path, schema) as writer:
        for shard in shards:
            if (table := pq.read_table(shard)).num_rows:
                writer.write_table(table)
