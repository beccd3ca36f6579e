"""A child process that answers questions, and children that would rather not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sparring.envs.process import Child, Limits, ProcessDied

ECHO = "import sys\nfor line in sys.stdin:\n    print('answer', line, end='<end>', flush=True)"
LIMITS = Limits(interrupt_s=10, kill_s=20, memory_mb=1000)
SOON = Limits(interrupt_s=0.3, kill_s=0.8, memory_mb=1000)
Start = Callable[[str], Child]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Python program as a child; all are ended afterwards."""
    children: list[Child] = []

    def begin(program: str) -> Child:
        children.append(Child([sys.executable, "-c", program], end=b"<end>"))
        return children[-1]

    yield begin
    for child in children:
        child.close()


READY = "print(end='<end>', flush=True)\n"
"""An answer before any question: the program has come this far."""


def died(child: Child, limits: Limits, data: bytes = b"x\n") -> ProcessDied:
    with pytest.raises(ProcessDied) as caught:
        child.ask(data, 1, limits)
    assert not child.ready
    assert gone(child.pid)
    return caught.value


def gone(pid: int) -> bool:
    """Within a moment."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_answers_come_one_by_one(start: Start):
    child = start(ECHO)
    assert child.ask(b"one\n", 1, LIMITS) == [b"answer one\n"]
    assert child.ask(b"two\nthree\n", 2, LIMITS) == [b"answer two\n", b"answer three\n"]
    assert child.rss_mb() > 1
    child.close()
    assert not child.ready
    child.close()
    with pytest.raises(ProcessDied):
        child.ask(b"four\n", 1, LIMITS)


def test_an_end_mark_may_come_in_pieces(start: Start):
    pieces = "import sys, time\nsys.stdin.readline()\nfor piece in ('a<e', 'nd', '>b<en', 'd><e', 'x<end>'):\n"
    child = start(pieces + "    print(piece, end='', flush=True)\n    time.sleep(0.05)\nsys.stdin.read()")
    assert child.ask(b"go\n", 3, LIMITS) == [b"a", b"b", b"<ex"]


def test_large_questions_and_answers(start: Start):
    child = start("import sys\nfor line in sys.stdin:\n    print(line.strip() * 20, end='<end>', flush=True)")
    text = b"0123456789" * 30_000
    assert child.ask(text + b"\n", 1, LIMITS) == [text * 20]


def test_a_sleeper_is_interrupted_and_goes_on(start: Start):
    sleeper = "import sys, time\nfor line in sys.stdin:\n    try:\n        time.sleep(50)\n    except KeyboardInterrupt:\n"
    child = start(sleeper + "        print('woken', end='<end>', flush=True)")
    begun = time.monotonic()
    assert child.ask(b"sleep\n", 1, Limits(interrupt_s=0.4, kill_s=20, memory_mb=1000)) == [b"woken"]
    assert 0.3 < time.monotonic() - begun < 15
    assert child.interrupts == 1


def test_a_question_may_wait_behind_another_one(start: Start):
    """Its time runs from the first one's answer on, and an interrupt is for the one that took too long."""
    sleeper = "import sys, time\nfor line in sys.stdin:\n    try:\n        time.sleep(float(line))\n        said = 'slept'\n"
    child = start(sleeper + "    except KeyboardInterrupt:\n        said = 'woken'\n    print(said, end='<end>', flush=True)")
    limits = Limits(interrupt_s=2, kill_s=20, memory_mb=1000)
    for seconds in (b"1.2\n", b"1.2\n"):
        child.send(seconds, limits)
    assert [child.receive(1), child.interrupted] == [[b"slept"], False]
    assert not child.ready
    assert [child.receive(1), child.interrupted] == [[b"slept"], False]
    assert child.ready
    for seconds in (b"50\n", b"0.1\n"):
        child.send(seconds, limits)
    assert [child.receive(1), child.interrupted] == [[b"woken"], True]
    assert [child.receive(1), child.interrupted] == [[b"slept"], False]
    assert child.interrupts == 1


def test_who_ignores_the_interrupt_is_killed(start: Start):
    child = start(f"import signal, sys, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{READY}while True: time.sleep(1)")
    child.ask(b"", 1, LIMITS)
    begun = time.monotonic()
    found = died(child, SOON)
    assert found.cause == "time"
    assert "0.8 s" in found.reason
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_babbler_is_killed(start: Start, stream: str):
    deaf = f"import signal, sys, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{READY}"
    child = start(f"{deaf}while True:\n    print('bla', file=sys.{stream})\n    time.sleep(0.0001)")
    child.ask(b"", 1, LIMITS)
    assert died(child, SOON).cause == "time"


def test_a_flood_is_killed_before_it_fills_the_memory(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sparring.envs.process.MAX_ANSWER_BYTES", 2**20)
    assert died(start("while True: print('bla' * 10_000)"), LIMITS).cause == "flood"


def test_who_eats_memory_is_killed(start: Start):
    hog = "import time\nfood = []\nwhile True:\n    food.append(bytearray(10_000_000))\n    time.sleep(0.01)"
    found = died(start(hog), LIMITS._replace(memory_mb=200))
    assert found.cause == "memory"
    assert "200 MB" in found.reason


def test_a_death_has_its_last_words(start: Start):
    found = died(start("import sys\nsys.stdin.readline()\nsys.exit('I am ill')"), LIMITS)
    assert found.cause == "crash"
    assert "status 1" in found.reason
    assert "I am ill" in found.reason


def test_who_is_killed_from_outside_has_crashed(start: Start):
    child = start(ECHO)
    child.ask(b"one\n", 1, LIMITS)
    os.kill(child.pid, signal.SIGKILL)
    found = died(child, LIMITS)
    assert found.cause == "crash"
    assert "signal 9" in found.reason


def test_close_ends_the_children_of_the_child(start: Start):
    child = start(
        "import subprocess, sys, time\nown = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "sys.stdin.readline()\nprint(own.pid, end='<end>', flush=True)\ntime.sleep(1000)"
    )
    [pid] = child.ask(b"who\n", 1, LIMITS)
    assert psutil.pid_exists(int(pid))
    child.close()
    assert gone(int(pid))


def test_the_child_dies_with_its_parent():
    """Even one that does not read, of a parent that had no time to close anything."""
    program = (
        "import os, signal\nfrom sparring.envs.process import Child, Limits\n"
        "child = Child(['python3', '-c', 'import time; print(1, end=\"<end>\", flush=True); time.sleep(1000)'], end=b'<end>')\n"
        "child.ask(b'', 1, Limits(10, 20, 1000))\nprint(child.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert gone(int(ended.stdout))
