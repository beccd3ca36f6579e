"""A child process on pipes that answers questions: any prover that reads commands and prints answers with a known end.

Nothing here knows a prover. A child that hangs, floods, eats memory or dies is a ``ProcessDied`` with its cause, never a hang of this
process; ``close`` ends the child with everything it started, and the child does not outlive this process.

Questions and answers are plain blocking writes and reads, which is as fast as a pipe gets; a thread of the child's own watches time and
memory and ends what takes too much.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import IO, Literal, NamedTuple

import psutil

WATCH_S = 0.1
"""How often a working child's time and memory are looked at."""
MAX_ANSWER_BYTES = 64 * 2**20
"""Of all answers to one question."""
AHEAD_BYTES = 4096
"""What a pipe takes without a reader, however small it was made (``PIPE_BUF``)."""
STDERR_KEPT_BYTES = 4096
CLOSE_S = 5.0
GOODBYE_S = 1.0
"""How long a child that closed a pipe may take to end and to say why."""
_READ_BYTES = 1 << 16
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Cause = Literal["crash", "time", "memory", "flood"]


class Limits(NamedTuple):
    """What one question may take: SIGINT after ``interrupt_s``, SIGKILL after ``kill_s`` or above ``memory_mb`` of resident memory.

    A prover's own soft limit comes before these.
    """

    interrupt_s: float
    kill_s: float
    memory_mb: int


class ProcessDied(Exception):
    """The child ended, by itself ("crash") or because it was killed for the time, the memory or the output that it took."""

    def __init__(self, reason: str, cause: Cause) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.cause: Cause = cause


@dataclass(slots=True)
class _Question:
    """``begun``: when the child was free for it. ``interrupted``, ``overdue``: SIGINT and SIGKILL were sent because of it."""

    limits: Limits
    begun: float
    interrupted: bool = False
    overdue: bool = False


class Child:
    """A running process. ``end``, of two bytes or more, ends each of its answers. Start it in a thread that lives as long as it: Linux
    sends the signal that ends an orphan when the thread that started it ends."""

    def __init__(self, argv: Sequence[str], *, end: bytes, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self.name = Path(argv[0]).name
        self.interrupts = 0
        """SIGINTs sent so far."""
        self.interrupted = False
        """One of them was for the question that was answered last."""
        self._end = end
        self._process = subprocess.Popen(
            [*_dying_with_parent(), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            env=env,
            start_new_session=True,  # a Ctrl-C at the terminal is for this process alone, and the whole group can be killed
        )
        self.pid = self._process.pid
        self._stdin, self._stdout, self._stderr = map(_fd, (self._process.stdin, self._process.stdout, self._process.stderr))
        self._rest = b""
        """What came after the last answer."""
        self._last_words = b""
        self._broken = False
        self._answered = False
        self._worker: int | None = None
        self._asked: _Question | None = None
        """The one that the next answers belong to."""
        self._waiting: deque[_Question] = deque()
        """Those that were written after it."""
        self._killed: tuple[Cause, str] | None = None
        self._over = Event()
        self._watch = Thread(target=self._watching, name=f"watch {self.name}", daemon=True)
        self._watch.start()

    def ask(self, data: bytes, answers: int, limits: Limits) -> list[bytes]:
        """Writes ``data`` and reads until that many answers are there, each without its end mark. Raises ProcessDied."""
        self.send(data, limits)
        return self.receive(answers)

    def send(self, data: bytes, limits: Limits) -> None:
        """The first half of ``ask``. A child that is not there any more is found out by ``receive``.

        Another question may be sent before the first one is answered, so that the child need not wait; its time runs from the first
        one's answer on. Both together must fit into a pipe (``AHEAD_BYTES``): a child that writes does not read.
        """
        question = _Question(limits, time.monotonic())
        if self._asked:
            self._waiting.append(question)
        else:
            self._asked = question
        try:
            while data:
                data = data[os.write(self._stdin, data) :]
        except OSError:  # a broken pipe, or closed on this side
            self._broken = True

    def receive(self, answers: int) -> list[bytes]:
        """The second half, for the question that was sent first. Raises ProcessDied."""
        if self._broken:
            raise self._gone()
        parts = self._read(answers)
        self.interrupted = self._asked is not None and self._asked.interrupted
        following = self._waiting.popleft() if self._waiting else None
        if following:
            following.begun = time.monotonic()
        self._asked = following
        self._answered = True
        return parts

    def rss_mb(self) -> float:
        """Resident memory of the working process, in MB (2**20 bytes); 0 when it is gone."""
        try:
            pages = Path(f"/proc/{self._working_pid()}/statm").read_bytes().split()[1]
        except (OSError, IndexError):
            return 0.0
        return int(pages) * _PAGE_BYTES / 2**20

    @property
    def ready(self) -> bool:
        """It may be asked: it was not ended, nobody noticed that it ended, and it owes no answer."""
        return not self._over.is_set() and self._asked is None

    def close(self) -> None:
        """Ends the child and all that it started. Harmless when it is over already."""
        if self._over.is_set():
            return
        self._over.set()
        self.kill()
        with suppress(subprocess.TimeoutExpired):  # in the kernel's hands, it dies when it comes back
            self._process.wait(CLOSE_S)
        self._watch.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                stream.close()

    def _read(self, answers: int) -> list[bytes]:
        end, chunks, size = self._end, [self._rest], len(self._rest)
        seen, tail = self._rest.count(end), self._rest[1 - len(end) :]
        while seen < answers:
            data = os.read(self._stdout, _READ_BYTES)
            if not data:
                raise self._gone()
            chunks.append(data)
            size += len(data)
            if size > MAX_ANSWER_BYTES:
                self._killed = ("flood", f"an answer of more than {MAX_ANSWER_BYTES >> 20} MB")
                raise self._gone()
            both = tail + data  # an end mark may come in pieces
            seen += both.count(end)
            tail = both[1 - len(end) :]
        *parts, self._rest = b"".join(chunks).split(end, answers)
        return parts

    def _watching(self) -> None:
        """Takes in complaints, and ends what takes too much."""
        poll = select.poll()
        poll.register(self._stderr, select.POLLIN)
        while not self._over.is_set():
            if poll.poll(WATCH_S * 1000):
                said = os.read(self._stderr, _READ_BYTES)
                self._last_words = (self._last_words + said)[-STDERR_KEPT_BYTES:]
                if not said:
                    poll.unregister(self._stderr)
            asked = self._asked
            if asked is None or self._killed:
                continue
            limits, took = asked.limits, time.monotonic() - asked.begun
            if took > limits.kill_s:
                asked.overdue = True
                self._killed = ("time", f"no answer within {limits.kill_s:g} s")
            elif took > WATCH_S and self.rss_mb() > limits.memory_mb:
                self._killed = ("memory", f"more than {limits.memory_mb} MB of memory")
            elif took > limits.interrupt_s and not asked.interrupted:
                asked.interrupted = True
                self.interrupts += 1
                _signal(self._working_pid(), signal.SIGINT)
            if self._killed:
                self.kill()

    def kill(self) -> None:
        """From any thread: who waits for an answer learns that it ended. Everything below first: what left the group would live on."""
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.pid).children(recursive=True):
                _signal(process.pid, signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _gone(self) -> ProcessDied:
        """It ended, and this is why."""
        if self._killed:
            self.close()
            cause, why = self._killed
            if cause == "time" and self._asked and not self._asked.overdue:
                cause = "crash"  # it was another one's time, whose answer came in the last moment
            return ProcessDied(f"{self.name} was killed: {why}", cause)
        try:
            status = self._process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            how = "it closed a pipe"  # and goes on: of no use either
        else:
            how = f"signal {-status}" if status < 0 else f"status {status}"
        self.close()
        lines = self._last_words.decode(errors="replace").strip().splitlines()[-5:]
        return ProcessDied(": ".join([f"{self.name} ended ({how})", *["\n".join(lines)][: len(lines)]]), "crash")

    def _working_pid(self) -> int:
        """The process that does the work: what a wrapper (a sandbox) started, where there is one. Certain once it has answered."""
        if self._worker is not None:
            return self._worker
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            while children := process.children():
                process = children[0]
            self._worker = process.pid if self._answered else None
            return process.pid
        return self.pid


def _fd(stream: IO[bytes] | None) -> int:
    assert stream is not None
    return stream.fileno()


def _dying_with_parent() -> list[str]:
    """A wrapper that is gone once it has asked for SIGKILL at this process's death. In the child's own code between fork and exec
    (``preexec_fn``) a lock that another thread held would block it for ever."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
