"""The run directory: phases as files that appear whole or not at all.

    runs/NAME/run.toml                        the resolved recipe
    runs/NAME/provenance.jsonl                one line per process that worked here: versions, machine, when
    runs/NAME/timings.jsonl                   one line per phase made
    runs/NAME/metrics.jsonl                   one line per round, recomputed from the phases
    runs/NAME/prompts/, evals/                the tasks that the run was begun with
    runs/NAME/round-003/proposals.parquet     a phase that is one file
    runs/NAME/round-003/probe/000512.parquet  a phase made in shards, this one from its 513th task on; ``probe.partial/`` until all
                                              are there
    runs/NAME/round-003/policy/               a phase that is a folder
    runs/NAME/round-003/turn-0007/            online, the phases of a turn of the round

Nothing in a run directory names a path outside it that is needed to go on, so it can be moved, copied and resumed elsewhere.
A run that was killed and resumed ends with the same bytes as one that was not, except for the files of ``UNREPEATABLE``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from sparring.errors import SparringError
from sparring.records import Kind, read_parquet, write_parquet

T = TypeVar("T")
U = TypeVar("U")

FORMAT = 2
UNREPEATABLE = ("provenance.jsonl", "timings.jsonl", ".lock", "calls.sqlite", "calls.sqlite-wal", "calls.sqlite-shm")
"""What tells of processes, hours and costs instead of the game: nothing is computed from it."""


def round_name(number: int) -> str:
    return f"round-{number:03d}"


def turn_name(number: int) -> str:
    return f"turn-{number:04d}"


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync_tree(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return
    for inner in path.iterdir():
        _fsync_tree(inner)
    _fsync_folder(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file would be larger than this file system or `ulimit -f` allows; raise the limit or copy the run elsewhere",
    errno.EROFS: "the file system is read-only; mount it writable or copy the run elsewhere",
    errno.EACCES: "permission denied; make the folder writable (chmod -R u+w) or copy the run elsewhere",
    errno.EPERM: "not permitted; make the folder writable or copy the run elsewhere",
    errno.EEXIST: "there is a file where a folder has to be; move it away",
    errno.ENOTDIR: "there is a file where a folder has to be; move it away",
    errno.ENOLCK: "the file system keeps no locks; put the run on another one (--run.folder=FOLDER)",
    errno.ENOTSUP: "the file system keeps no locks; put the run on another one (--run.folder=FOLDER)",
}


def _errno(error: Exception) -> int | None:
    """The system's error number, also where a library written in Rust (safetensors, tokenizers) put it into its message."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    named = re.search(r"\(os error (\d+)\)", str(error))
    return int(named[1]) if named else None


@contextlib.contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """A full or read-only disk becomes an error that says what to do; what is finished stays."""
    try:
        yield
    except Exception as error:
        reason = _DISK_ERRORS.get(_errno(error) or 0)
        if reason is None:
            raise
        raise SparringError(
            f"cannot write {path}: {reason}, then run the same command again; finished phases are kept"
        ) from error


def _make_folder(path: Path) -> None:
    """``path`` and its parents, each noted on disk, so that a loss of power does not take a folder and leave its files."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _fsync_folder(path.parent)


def commit(path: Path, write: Callable[[Path], None]) -> None:
    """``write`` fills a ``.tmp`` beside ``path`` (a file or a folder), which is synced and renamed: whole or not at all."""
    partial = path.with_name(path.name + ".tmp")
    with disk_errors(path):
        _make_folder(path.parent)
        _remove(partial)
        try:
            write(partial)
            _fsync_tree(partial)
        except Exception:
            with contextlib.suppress(OSError):
                _remove(partial)  # half a file on a full disk helps nobody
            raise
        _rename(partial, path)


def _rename(source: Path, target: Path) -> None:
    source.rename(target)
    _fsync_folder(target.parent)


def commit_text(path: Path, text: str) -> None:
    def write(partial: Path) -> None:
        partial.write_text(text, encoding="utf-8")

    commit(path, write)


class Watch:
    """Is told what a run is doing; this one is silent. ``total`` and ``done`` count items, or steps while learning."""

    def begin(self, phase: str, total: int | None) -> None: ...

    def update(self, done: int, total: int) -> None: ...

    def end(self, phase: str, finished: bool) -> None: ...

    def note(self, text: str) -> None:
        """Something that a person should know, and that stops nothing."""


@contextlib.contextmanager
def watched(watch: Watch, phase: str, total: int | None = None) -> Generator[None]:
    """Tells ``watch`` that a phase begins and, however it does, that it ends."""
    watch.begin(phase, total)
    try:
        yield
    except BaseException:
        watch.end(phase, finished=False)
        raise
    watch.end(phase, finished=True)


class RunDir:
    """Phases of one run. Every method returns what is on disk, so a resumed run sees exactly what the first one saw."""

    def __init__(self, root: Path, watch: Watch | None = None) -> None:
        self.root = root
        self._watch = watch or Watch()

    @contextlib.contextmanager
    def _phase(self, name: str, total: int | None = None) -> Generator[None]:
        """Tells the watch, and the log of timings, what is being made and how long it took."""
        begun, cpu = time.monotonic(), time.process_time()
        with watched(self._watch, name, total):
            yield
        seconds, cpu_seconds = time.monotonic() - begun, time.process_time() - cpu
        self.append("timings.jsonl", {"phase": name, "seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)})

    def file(self, name: str, kind: Kind[T], make: Callable[[], Sequence[T]]) -> list[T]:
        """A phase that is one Parquet file, made if it is not there."""
        path = self.root / f"{name}.parquet"
        if not path.exists():
            with self._phase(name):
                _commit_records(path, make(), kind)
        return read_parquet(path, kind)

    def shards(
        self, name: str, kind: Kind[U], items: Sequence[T], make: Callable[[Sequence[T]], Sequence[U]], size: int
    ) -> list[U]:
        """A phase made ``size`` items at a time, one record for each; after a kill only the shard under way is made again."""
        whole, partial = self.root / name, self.root / f"{name}.partial"
        if whole.exists():
            return self._fill(whole, kind, items, make, size)
        with self._phase(name, len(items)):
            with disk_errors(partial):
                _make_folder(partial)
            records = self._fill(partial, kind, items, make, size)
            with disk_errors(whole):
                _rename(partial, whole)
        return records

    def _fill(
        self, folder: Path, kind: Kind[U], items: Sequence[T], make: Callable[[Sequence[T]], Sequence[U]], size: int
    ) -> list[U]:
        """The records of all items; shards that are missing are made, which is also the repair of a damaged one.

        A shard is named by its first item and ends where its records end, so ``size`` may change between two processes.
        """
        firsts = sorted(int(path.stem) for path in folder.glob("*.parquet"))
        records: list[U] = []
        while (start := len(records)) < len(items):
            path = folder / f"{start:06d}.parquet"
            if not path.exists():
                stop = min([start + size, len(items), *(first for first in firsts if first > start)])
                _commit_records(path, make(items[start:stop]), kind)
            found = read_parquet(path, kind)
            if not 0 < len(found) <= len(items) - start:
                raise SparringError(
                    f"{path} has {len(found)} {kind.name} where there are {len(items) - start} tasks left; "
                    "it belongs to another run: delete it and run `sparring resume` again"
                )
            records += found
            self._watch.update(len(records), len(items))
        return records

    def folder(self, name: str, make: Callable[[Path], None]) -> Path:
        """A phase that is a folder; ``make`` must create it whole or not at all (``commit`` does).

        What ``make`` keeps beside it while it works (``NAME.state``, say) goes once the folder is there.
        """
        path = self.root / name
        if not path.exists():
            with self._phase(name):
                with disk_errors(path):
                    _make_folder(path.parent)
                make(path)
        for left in path.parent.glob(f"{path.name}.*"):
            with disk_errors(left):
                _remove(left)
        return path

    def rounds(self) -> list[int]:
        """The numbers of the rounds that were begun, in order."""
        names = (re.fullmatch(r"round-(\d{3,})", path.name) for path in self.root.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def read(self, name: str, kind: Kind[T]) -> list[T] | None:
        """The records of a finished phase, or None."""
        single, sharded = self.root / f"{name}.parquet", self.root / name
        if single.exists():
            return read_parquet(single, kind)
        if sharded.is_dir():
            return [record for path in sorted(sharded.glob("*.parquet")) for record in read_parquet(path, kind)]
        return None

    def read_round(self, number: int, phase: str, kind: Kind[T]) -> list[T] | None:
        """The records of a round's finished phase, of all its turns where it has turns; None where there is nothing."""
        name = round_name(number)
        if (whole := self.read(f"{name}/{phase}", kind)) is not None:
            return whole
        turns = [self.read(f"{name}/{folder.name}/{phase}", kind) for folder in sorted((self.root / name).glob("turn-*"))]
        found = [records for records in turns if records is not None]
        return [record for records in found for record in records] if found else None

    def append(self, name: str, row: dict[str, Any]) -> None:
        """A line of a log that no result depends on."""
        with disk_errors(self.root / name), (self.root / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    @contextlib.contextmanager
    def lock(self) -> Generator[None]:
        """One process at a time; the lock goes with its process, however that ends."""
        path = self.root / ".lock"
        with disk_errors(path):
            _make_folder(self.root)
            file = path.open("a+b", buffering=0)
        with file:
            with disk_errors(path):
                _lock_or_say_who(file, self.root)
                file.truncate(0)
                file.write(f"{os.getpid()} on {os.uname().nodename}".encode())
            yield


def _commit_records(path: Path, records: Sequence[T], kind: Kind[T]) -> None:
    commit(path, lambda partial: write_parquet(partial, records, kind))


def _lock_or_say_who(file: IO[bytes], root: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise SparringError(
            f"{root} is being played by process {file.read().decode() or 'unknown'}; wait for it or end it, "
            "or play another run with --run.name=NAME"
        ) from None
