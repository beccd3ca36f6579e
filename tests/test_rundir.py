"""The run directory: phases are there whole or not at all, whatever the disk does, and only one process writes."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparring import records, rundir
from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Demo, Lesson, Pair, Sample, Step, Task, Verdict, make_task
from sparring.records import BOUTS, LESSONS, TASKS, read_parquet, write_parquet
from sparring.rundir import RunDir, commit, commit_text

ROOT = Path(__file__).parents[1]
SAMPLE = Sample(role="solver", prompt_ids=(1, 2), token_ids=(3, 4, 5), logprobs=(-0.5, -0.25, -1.0), text="yes", finish="stop")
BOUT = Bout(
    task=make_task("why?", context="once", parent="p", draft=SAMPLE, meta={"depth": 2, "steps": ["a", "b"]}),
    attempts=(Attempt(answer="yes", samples=(SAMPLE,)), Attempt(answer="", fault="the server went away")),
    verdicts=(Verdict(score=0.5, solved=True, note="close"), Verdict(score=0.0, solved=False, fault="no answer")),
)


def tasks_named(*texts: str) -> list[Task]:
    return [make_task(text) for text in texts]


def never() -> list[Task]:
    raise AssertionError("a finished phase was made again")


def upper(part: Sequence[str]) -> list[Task]:
    return [make_task(item.upper()) for item in part]


class Counted:
    """``upper`` that remembers what it was asked for."""

    def __init__(self, stop_at: str = "nowhere") -> None:
        self.parts: list[str] = []
        self.stop_at = stop_at

    def __call__(self, part: Sequence[str]) -> list[Task]:
        if self.stop_at in part:
            raise KeyboardInterrupt
        self.parts.append("".join(part))
        return upper(part)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------------------------------- whole or not at all


def test_a_committed_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "deep" / "er" / "a.txt"
    commit_text(path, "old")
    commit_text(path, "new")
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    commit_text(path, "old")

    def write(partial: Path) -> None:
        partial.write_text("ne")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        commit(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_leftover_of_a_killed_process_is_no_obstacle(tmp_path: Path, kind: str):
    leftover = tmp_path / "policy.tmp"
    if kind == "file":
        leftover.write_text("half")
    else:
        (leftover / "inner").mkdir(parents=True)

    def write(partial: Path) -> None:
        partial.mkdir()
        (partial / "weights").write_text("all")

    commit(tmp_path / "policy", write)
    assert names(tmp_path) == ["policy"]
    assert (tmp_path / "policy" / "weights").read_text() == "all"


def test_everything_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events: list[str] = []
    rename, fsync = os.rename, os.fsync

    def note_fsync(descriptor: int) -> None:
        events.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        events.append(f"rename {Path(source).name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)

    def write(partial: Path) -> None:
        partial.mkdir()
        (partial / "weights").write_text("all")

    commit(tmp_path / "policy", write)
    assert events == ["sync weights", "sync policy.tmp", "rename policy.tmp", f"sync {tmp_path.name}"]


# ---------------------------------------------------------------------------------------------- phases


def test_a_finished_file_is_read_and_not_made_again(tmp_path: Path):
    run = RunDir(tmp_path)
    made = run.file("round-001/pool", TASKS, lambda: tasks_named("a", "b"))
    assert made == tasks_named("a", "b")
    assert run.file("round-001/pool", TASKS, never) == made
    assert run.read("round-001/pool", TASKS) == made
    assert run.read("round-001/other", TASKS) is None


def test_shards_are_named_by_their_first_item(tmp_path: Path):
    run, make = RunDir(tmp_path), Counted()
    made = run.shards("probe", TASKS, "abcdefg", make, 3)
    assert make.parts == ["abc", "def", "g"]
    assert names(tmp_path / "probe") == ["000000.parquet", "000003.parquet", "000006.parquet"]
    assert made == upper("abcdefg") == run.read("probe", TASKS)
    assert run.shards("probe", TASKS, "abcdefg", lambda part: never(), 3) == made


def test_only_the_shard_under_way_is_lost(tmp_path: Path):
    run, first, second = RunDir(tmp_path), Counted(stop_at="e"), Counted()
    with pytest.raises(KeyboardInterrupt):
        run.shards("probe", TASKS, "abcdefg", first, 3)
    assert run.read("probe", TASKS) is None, "half a phase is no phase"
    assert names(tmp_path) == ["probe.partial"]
    assert run.shards("probe", TASKS, "abcdefg", second, 3) == upper("abcdefg")
    assert (first.parts, second.parts) == (["abc"], ["def", "g"])
    assert names(tmp_path) == ["probe", "timings.jsonl"]


@pytest.mark.parametrize(("size", "parts"), [(2, ["de", "fg"]), (5, ["defg"])])
def test_shards_may_change_their_size_between_two_processes(tmp_path: Path, size: int, parts: list[str]):
    run, make = RunDir(tmp_path), Counted()
    with pytest.raises(KeyboardInterrupt):
        run.shards("probe", TASKS, "abcdefg", Counted(stop_at="e"), 3)
    assert run.shards("probe", TASKS, "abcdefg", make, size) == upper("abcdefg")
    assert make.parts == parts
    assert run.shards("probe", TASKS, "abcdefg", lambda part: never(), 1) == upper("abcdefg") == run.read("probe", TASKS)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_a_deleted_shard_is_made_again_and_no_other(tmp_path: Path, size: int):
    run, make = RunDir(tmp_path), Counted()
    run.shards("probe", TASKS, "abcdefg", upper, 3)
    (tmp_path / "probe" / "000003.parquet").unlink()
    assert run.shards("probe", TASKS, "abcdefg", make, size) == upper("abcdefg") == run.read("probe", TASKS)
    assert "".join(make.parts) == "def"


def test_a_phase_of_nothing_is_finished_too(tmp_path: Path):
    run = RunDir(tmp_path)
    assert run.shards("bouts", TASKS, "", lambda part: never(), 3) == []
    assert run.read("bouts", TASKS) == []
    assert run.file("lessons", LESSONS, list) == []
    assert run.read("lessons", LESSONS) == []


def test_shards_of_another_run_are_refused(tmp_path: Path):
    run = RunDir(tmp_path)
    run.shards("probe", TASKS, "abcdefg", upper, 7)
    with pytest.raises(SparringError, match=r"000000.parquet has 7 tasks where there are 4 tasks left.*delete it"):
        run.shards("probe", TASKS, "abcd", upper, 7)


def test_a_folder_is_made_once_and_what_lay_beside_it_goes(tmp_path: Path):
    run = RunDir(tmp_path)

    def make(out: Path) -> None:
        out.mkdir()
        out.with_name("policy.state").write_text("of use until the folder is there")

    assert run.folder("round-001/policy", make) == tmp_path / "round-001" / "policy"
    assert names(tmp_path / "round-001") == ["policy"]
    (tmp_path / "round-001" / "policy.state").write_text("its process was killed before it could remove this")
    run.folder("round-001/policy", lambda out: pytest.fail("made again"))
    assert names(tmp_path / "round-001") == ["policy"]


def test_rounds_are_found_by_number(tmp_path: Path):
    for name in ("round-1000", "round-002", "round-999", "round-000", "round-002 (copy)", "rounds", "evals"):
        (tmp_path / name).mkdir()
    assert RunDir(tmp_path).rounds() == [0, 2, 999, 1000]


# ---------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_truncated_shard_is_named_and_its_repair_works(tmp_path: Path, keep: int):
    run = RunDir(tmp_path)
    run.shards("probe", TASKS, "abcdefg", upper, 3)
    shard = tmp_path / "probe" / "000003.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:keep])
    with pytest.raises(SparringError, match=r"000003.parquet is not a whole tasks file.*delete this one file.*sparring resume"):
        run.shards("probe", TASKS, "abcdefg", upper, 3)
    shard.unlink()
    run.shards("probe", TASKS, "abcdefg", upper, 3)
    assert shard.read_bytes() == whole


def test_a_flipped_bit_does_not_go_unnoticed(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_parquet(path, [BOUT] * 50, BOUTS)
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with contextlib.suppress(SparringError):
            assert read_parquet(path, BOUTS) == [BOUT] * 50  # some bytes mean nothing


def test_a_foreign_file_is_refused(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"question": ["why?"]}), path)
    with pytest.raises(SparringError, match=r"not a whole tasks file \(its columns are question"):
        read_parquet(path, TASKS)


# ---------------------------------------------------------------------------------------------- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("file systems can only be mounted by root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def big_tasks(count: int) -> list[Task]:
    return [make_task("".join(os.urandom(20_000).hex())) for _ in range(count)]


def test_a_full_disk_is_an_error_that_loses_nothing(small_disk: Path):
    run = RunDir(small_disk / "runs")
    small = run.file("a", TASKS, lambda: big_tasks(2))
    with pytest.raises(SparringError, match=r"b.parquet: the disk is full; free some space, then run the same command again"):
        run.file("b", TASKS, lambda: big_tasks(20))
    assert names(small_disk / "runs") == ["a.parquet", "timings.jsonl"]
    assert run.file("a", TASKS, never) == small
    assert len(run.file("b", TASKS, lambda: big_tasks(2))) == 2, "the same command again"


def test_a_full_disk_while_weights_are_saved(small_disk: Path):
    safetensors = pytest.importorskip("safetensors.numpy")
    numpy = pytest.importorskip("numpy")
    with pytest.raises(SparringError, match="the disk is full"):
        commit(small_disk / "weights", lambda path: safetensors.save_file({"a": numpy.zeros(200_000)}, path))
    assert names(small_disk) == []


def test_a_read_only_disk(small_disk: Path):
    run = RunDir(small_disk / "runs")
    run.file("a", TASKS, lambda: tasks_named("a"))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert run.file("a", TASKS, never) == tasks_named("a"), "reading is fine"
    with pytest.raises(SparringError, match=r"cannot write .*b.parquet: the file system is read-only"):
        run.file("b", TASKS, lambda: tasks_named("b"))
    with pytest.raises(SparringError, match="the file system is read-only"), run.lock():
        pass
    with pytest.raises(SparringError, match="the file system is read-only"), RunDir(small_disk / "new").lock():
        pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "no space"), "the disk is full"),
        (OSError(errno.EDQUOT, "quota"), "quota is used up"),
        (OSError(errno.EROFS, "read-only"), "is read-only"),
        (PermissionError(errno.EACCES, "denied"), "permission denied"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
    ],
)
def test_what_a_writer_may_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str):
    def fail(table: object, path: Path, **options: object) -> None:
        path.write_bytes(b"PAR1 and then")
        raise error

    run = RunDir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(records.pq, "write_table", fail)
        with pytest.raises(SparringError, match=words):
            run.shards("probe", TASKS, "abc", upper, 2)
    assert names(tmp_path / "probe.partial") == []
    assert run.shards("probe", TASKS, "abc", upper, 2) == upper("abc")


def test_a_bug_is_not_called_a_full_disk(tmp_path: Path):
    def write(partial: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such file")

    with pytest.raises(FileNotFoundError):
        commit(tmp_path / "a", write)


def test_a_file_where_a_folder_has_to_be(tmp_path: Path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(SparringError, match="there is a file where a folder has to be"), RunDir(tmp_path / "runs" / "a").lock():
        pass


# ---------------------------------------------------------------------------------------------- one process at a time

HOLDER = """
import sys, time
from pathlib import Path
from sparring.rundir import RunDir
with RunDir(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_second_process_is_told_who_the_first_is(tmp_path: Path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "locked\n"
        told = rf"is being played by process {first.pid} on .*--run.name=NAME"
        with pytest.raises(SparringError, match=told), RunDir(tmp_path).lock():
            pass
        with pytest.raises(SparringError, match=told), RunDir(tmp_path).lock():
            pass  # asking does not take it away
        first.send_signal(signal.SIGKILL)
        first.wait()
        with RunDir(tmp_path).lock():  # a killed process leaves no lock
            assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")


def test_the_lock_is_free_after_an_error(tmp_path: Path):
    run = RunDir(tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError), run.lock():
            raise RuntimeError


# ---------------------------------------------------------------------------------------------- records

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FLOATS32 = st.floats(width=32, allow_nan=False)
NUMBERS = st.floats(allow_nan=False)
JSON = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | NUMBERS | TEXT | st.lists(TEXT, max_size=2), max_size=2)
IDS = st.lists(st.integers(0, 2**31 - 1), max_size=3).map(tuple)
SAMPLES = st.builds(
    Sample, role=TEXT, prompt_ids=IDS, token_ids=IDS, logprobs=st.lists(FLOATS32, max_size=3).map(tuple), text=TEXT, finish=TEXT
)
TASK = st.builds(
    Task,
    id=TEXT,
    text=TEXT,
    context=TEXT,
    parent=st.none() | TEXT,
    draft=st.none() | SAMPLES,
    rejected=st.none() | TEXT,
    meta=JSON,
)
ATTEMPTS = st.builds(Attempt, answer=TEXT, samples=st.lists(SAMPLES, max_size=2).map(tuple), fault=st.none() | TEXT)
VERDICTS = st.builds(Verdict, score=NUMBERS, solved=st.booleans(), fault=st.none() | TEXT, note=TEXT)
BOUT_RECORDS = st.builds(
    Bout, task=TASK, attempts=st.lists(ATTEMPTS, max_size=2).map(tuple), verdicts=st.lists(VERDICTS, max_size=2).map(tuple)
)
PAIRS = st.builds(Pair, task=TEXT, prompt=TEXT, chosen=SAMPLES, rejected=SAMPLES, margin=NUMBERS, created=st.booleans())
DEMOS = st.builds(Demo, prompt=TEXT, completion=TEXT, weight=NUMBERS)
TO_DISK = hypothesis.settings(
    max_examples=30, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)


@TO_DISK
@hypothesis.given(found=st.lists(BOUT_RECORDS, max_size=3))
def test_bouts_come_back_as_they_were(tmp_path: Path, found: list[Bout]):
    path = tmp_path / "a.parquet"
    write_parquet(path, found, BOUTS)
    assert read_parquet(path, BOUTS) == found


@TO_DISK
@hypothesis.given(found=st.lists(PAIRS | DEMOS, max_size=3))
def test_lessons_come_back_as_they_were(tmp_path: Path, found: list[Lesson]):
    path = tmp_path / "a.parquet"
    write_parquet(path, found, LESSONS)
    assert read_parquet(path, LESSONS) == found


def test_a_score_that_is_no_number_comes_back(tmp_path: Path):
    path = tmp_path / "a.parquet"
    verdict = Verdict(score=math.nan, solved=False, fault="score is nan")
    write_parquet(path, [Bout(task=make_task("a"), attempts=(), verdicts=(verdict,))], BOUTS)
    assert math.isnan(read_parquet(path, BOUTS)[0].verdicts[0].score)


def test_bouts_of_before_steps_had_hints_are_read(tmp_path: Path):
    step = Step(state="s", tactic="t", result="no goals", role="flat", logprob=-0.5, used=True)
    bout = replace(BOUT, attempts=(Attempt(answer="t", steps=(step,)), Attempt(answer="")))
    write_parquet(tmp_path / "new", [bout], BOUTS)
    rows = pq.read_table(tmp_path / "new").to_pylist()
    for attempt in rows[0]["attempts"]:
        for row in attempt["steps"]:
            del row["hints"]
    (older,) = BOUTS.older
    assert "hints" not in str(older)
    pq.write_table(pa.Table.from_pylist(rows, schema=older), tmp_path / "old", write_page_checksum=True)
    assert read_parquet(tmp_path / "old", BOUTS) == [bout]


def test_equal_records_are_equal_bytes(tmp_path: Path):
    for name in ("a", "b"):
        write_parquet(tmp_path / name, [BOUT] * 3, BOUTS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_any_reader_of_parquet_sees_the_nested_fields(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    RunDir(tmp_path / "run").shards("probe", BOUTS, [BOUT] * 5, list, 2)
    pattern = str(tmp_path / "run" / "probe" / "*.parquet")
    found = datasets.load_dataset("parquet", data_files=pattern, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(found) == 5
    row = found[4]
    assert row["task"]["text"] == "why?"
    assert row["task"]["draft"]["token_ids"] == [3, 4, 5]
    assert row["attempts"][0]["samples"][0]["logprobs"] == [-0.5, -0.25, -1.0]
    assert row["verdicts"][1]["fault"] == "no answer"


def test_the_list_of_what_is_not_repeatable_is_what_is_written(tmp_path: Path):
    run = RunDir(tmp_path)
    with run.lock():
        run.file("a", TASKS, lambda: tasks_named("a"))
    assert set(names(tmp_path)) - {"a.parquet"} <= set(rundir.UNREPEATABLE)
