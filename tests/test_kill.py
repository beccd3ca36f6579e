"""Kill -9 at any moment: what is finished is kept, and the end is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.killed import contents

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize("game", ["align", "online", "prove"])
def test_killed_at_every_commit(tmp_path: Path, game: str):
    script = [sys.executable, str(ROOT / "tests" / "killed.py"), str(tmp_path), game]
    done = subprocess.run(script, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    found = json.loads(done.stdout)
    assert found["commits"] > 30
    assert found["wrong"] == [], "resumed runs that end with other bytes than the one that was not killed"
    assert found["again"], "killed after every single commit, it still ends with the same bytes"
    assert found["processes"] == found["commits"] + 1, "every process got one commit further"
    assert not found["torch"]


# ---------------------------------------------------------------------------------------------- the real thing


def committed(run: Path) -> dict[str, tuple[int, int]]:
    """Every file that is finished, with what would change if it were made again."""
    while True:
        found: dict[str, tuple[int, int]] = {}
        try:
            for path in [*run.rglob("*.parquet"), *run.glob("*/policy/*")]:
                found[str(path.relative_to(run)).replace(".partial", "")] = (path.stat().st_ino, path.stat().st_mtime_ns)
        except FileNotFoundError:  # a phase was renamed meanwhile: look again
            continue
        return found


def play_until(folder: Path, files: int, stop: Sequence[int] = (signal.SIGKILL,)) -> tuple[int, str]:
    """Plays in a process of its own, sends it signals once so many files are committed and one of them by itself; its exit status
    and its words."""
    files = max(files, len(committed(folder / "runs" / "small")) + 1)
    command = [sys.executable, "-m", "sparring.cli", "play", "small.toml"]
    with subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while process.poll() is None and len(committed(folder / "runs" / "small")) < files:
            time.sleep(0.002)
        for number in stop:
            process.send_signal(number)
        words = process.communicate()[0]
    return process.returncode, words


def copy_of(small_run: Path, tmp_path: Path) -> Path:
    """Where the recipe can be played from the start."""
    folder = tmp_path / "again"
    shutil.copytree(small_run.parents[1], folder, ignore=shutil.ignore_patterns("runs"))
    return folder


def play_stopped(folder: Path, moments: Sequence[int], stops: Sequence[Sequence[int]]) -> list[tuple[int, str]]:
    """Stopped again and again, each time further on; asserts that nothing finished is made again."""
    ends: list[tuple[int, str]] = []
    finished: dict[str, tuple[int, int]] = {}
    for files, stop in zip(moments, stops, strict=True):
        ends.append(play_until(folder, files, stop))
        now = committed(folder / "runs" / "small")
        assert finished.items() <= now.items(), "a finished file was made again"
        finished = now
    return ends


def test_killed_stopped_and_moved_it_ends_the_same(small_run: Path, tmp_path: Path):
    """Two kills, then a polite stop that is impatiently repeated, then another place without the recipe and what it names."""
    folder, total = copy_of(small_run, tmp_path), len(committed(small_run))
    moments = [Random(time.time_ns()).randint(2, total // 3), total // 2, total * 3 // 5]
    *killed, (code, words) = play_stopped(folder, moments, [[signal.SIGKILL], [signal.SIGKILL], [signal.SIGTERM, signal.SIGINT]])
    assert [status for status, _ in killed] == [-signal.SIGKILL] * 2
    assert code == 130
    assert "stopped; what is finished is kept. Go on with:\n  sparring resume runs/small\n" in words
    assert "Traceback" not in words

    moved = tmp_path / "elsewhere" / "under another name"
    shutil.copytree(folder / "runs" / "small", moved)
    shutil.rmtree(folder)
    command = [sys.executable, "-m", "sparring.cli", "resume", str(moved)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert contents(moved) == contents(small_run)


@pytest.mark.slow
def test_ten_kills_at_random_moments(small_run: Path, tmp_path: Path):
    folder, total = copy_of(small_run, tmp_path), len(committed(small_run))
    moments = sorted(Random(time.time_ns()).sample(range(1, total), 10))
    play_stopped(folder, moments, [[signal.SIGKILL]] * 10)
    code, words = play_until(folder, total + 1, [])
    assert code == 0, words
    assert contents(folder / "runs") == contents(small_run.parent)
