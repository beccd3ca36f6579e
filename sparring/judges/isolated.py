"""A function in a process of its own, for graders that hand untrusted text to a library: it may hang there, flood or break."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

START_S = 120.0
"""Libraries of mathematics take seconds to import, on a busy machine many."""
WALL = 6.0
"""By the clock a question may take this many times its processor time: a busy machine is no hang."""
MAX_QUESTION_BYTES = 2**20
_MAX_REPLY_BYTES = 2**20
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from sparring.judges.locked import serve; "
    "serve(sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]))"
)


class Broken(Exception):
    """The question was not answered; the next one meets a fresh process where this one is gone."""


class Isolated:
    """Calls ``package.module:function`` in a locked process (``locked``), which starts at the first call and stays.

    ``warm``: arguments of a call that loads what the function needs, before the process is locked. ``cpu_s``: processor time of one
    call; ``memory_mb``: address space of the process. Arguments and result are JSON. May be shared by threads.
    """

    def __init__(self, function: str, warm: Sequence[Any], *, cpu_s: float = 5.0, memory_mb: int = 2048) -> None:
        self._words = [function, json.dumps(list(warm)), str(cpu_s), str(memory_mb)]
        self._cpu_s = cpu_s
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._turn = Lock()

    def __call__(self, *args: Any) -> Any:
        """The function's result. Raises Broken: for time, memory, an error of the function, or the end of its process."""
        with self._turn:
            self._number += 1
            question = json.dumps([self._number, args]).encode() + b"\n"
            if len(question) > MAX_QUESTION_BYTES:
                raise Broken(f"{len(question)} bytes are more than {MAX_QUESTION_BYTES}")
            process = self._process = self._process or self._start()
            with suppress(BrokenPipeError):  # its end is found out by the reading
                _stdin(process).write(question)
                _stdin(process).flush()
            return self._result(self._line(process, self._cpu_s * WALL))

    def close(self) -> None:
        """Ends the process; a later call starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with process:  # closes the pipes and waits
                pass

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _PROGRAM, json.dumps(sys.path), *self._words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal is for this process alone
            env={**kept, "PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        )
        self._process = process
        try:
            self._line(process, START_S)
        except Broken as error:
            raise Broken(f"{self._words[0]} cannot be loaded in a process of its own: {error}") from None
        return process

    def _line(self, process: subprocess.Popen[bytes], limit_s: float) -> bytes:
        """The next line; raises Broken, with the process gone, if none comes in time."""
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], limit_s)[0]:
            self.close()
            raise Broken(f"no answer within {limit_s:g} s")
        line = process.stdout.readline(_MAX_REPLY_BYTES)
        if not line.endswith(b"\n"):
            code = process.poll() if line else process.wait()
            self.close()
            late = code == -signal.SIGPROF
            raise Broken(f"more than {self._cpu_s:g} s of processor time" if late else f"the process ended (status {code})")
        return line

    def _result(self, line: bytes) -> Any:
        number, reply = json.loads(line)
        if number != self._number:
            self.close()
            raise Broken("an answer to another question")
        if "error" in reply:
            raise Broken(reply["error"])
        return reply["value"]


def _stdin(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdin is not None
    return process.stdin
