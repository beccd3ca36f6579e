"""The loop: what is played on what, what is taught, what is made again; with the hashing model of ``killed.py``."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
from collections.abc import Generator, Sequence
from pathlib import Path
from random import Random

import pytest

from sparring.errors import SparringError
from sparring.game import Bout, Game, Lesson, Model, Pair, Plan, Task, make_task, stable_hash
from sparring.loop import play
from sparring.metrics import round_metrics
from sparring.models.scripted import ScriptedModel
from sparring.records import BOUTS, LESSONS, TASKS
from sparring.rundir import RunDir
from tests import killed
from tests.silent import NoModel


class Recorder(killed.Learner):
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, list[Lesson]]] = []

    def learn(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None:
        self.given.append((policy.parent.name, list(lessons)))
        super().learn(policy, lessons, out, seed)


class NoEngine:
    """Nothing may be left to do."""

    @contextlib.contextmanager
    def serve(self, policy: Path) -> Generator[Model]:
        yield NoModel()


def with_learner(plan: Plan, learner: killed.Learner) -> Plan:
    def game(number: int, seen: Sequence[Task], traces: Sequence[Lesson]) -> Game:
        return dataclasses.replace(plan.game(number, seen, traces), learner=learner)

    return dataclasses.replace(plan, game=game)


def play_in(folder: Path, plan: Plan) -> RunDir:
    run = RunDir(folder)
    play(plan, killed.Engine(), run, lambda number: None)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return play_in(tmp_path_factory.mktemp("run"), dataclasses.replace(killed.plan(), rounds=3))


def test_every_arrow_is_a_phase_on_disk(run: RunDir):
    phases = {
        str(path.relative_to(run.root)) for path in run.root.rglob("*") if path.suffix == ".parquet" or path.name == "policy"
    }
    shards = {
        f"{round}/{phase}/{first:06d}.parquet" for round, phase, first in [("round-001", "probe", 0), ("round-001", "probe", 6)]
    }
    assert phases >= shards | {"evals/held-out.parquet", "prompts/human.parquet", "round-000/policy"}
    for number in (1, 2, 3):
        files = {"pool.parquet", "proposals.parquet", "lessons.parquet", "policy", "eval-held-out/000003.parquet"}
        assert phases >= {f"round-{number:03d}/{name}" for name in files}
    assert not list(run.root.rglob("*.partial"))
    assert not list(run.root.rglob("*.state"))


def test_what_is_accepted_is_played_and_then_the_next_pool(run: RunDir):
    proposals = run.read("round-001/proposals", TASKS)
    bouts = run.read("round-001/bouts", BOUTS)
    assert proposals
    assert bouts
    accepted = [task for task in proposals if task.rejected is None]
    assert [bout.task for bout in bouts] == accepted == run.read("round-002/pool", TASKS)
    assert all(task.parent for task in accepted)
    assert run.read("round-001/pool", TASKS) == run.read("prompts/human", TASKS)


def test_a_refused_draft_is_kept_and_never_played(tmp_path: Path):
    plan = killed.plan()
    refused = make_task("no", rejected="too easy")

    class Creator:
        def propose(self, probe: Sequence[Bout], model: Model, seed: int) -> list[Task]:
            return [refused, make_task("yes")]

    def game(number: int, seen: Sequence[Task], traces: Sequence[Lesson]) -> Game:
        return dataclasses.replace(plan.game(number, seen, traces), creator=Creator())

    run = play_in(tmp_path, dataclasses.replace(plan, game=game, rounds=1))
    assert refused in (run.read("round-001/proposals", TASKS) or [])
    assert [bout.task.text for bout in run.read("round-001/bouts", BOUTS) or []] == ["yes"]


def test_the_creator_knows_every_task_so_far_and_the_held_out_ones(tmp_path: Path):
    plan, known = killed.plan(), dict[int, list[str]]()

    def game(number: int, seen: Sequence[Task], traces: Sequence[Lesson]) -> Game:
        known[number] = [task.text for task in seen]
        return plan.game(number, seen, traces)

    run = play_in(tmp_path, dataclasses.replace(plan, game=game))
    held_out = [task.text for task in run.read("evals/held-out", TASKS) or []]
    human = [task.text for task in run.read("prompts/human", TASKS) or []]
    created = [task.text for task in run.read("round-002/pool", TASKS) or []]
    assert known[1] == [*held_out, *human]
    assert set(known[2]) == {*held_out, *human, *created}


def test_incremental_rounds_learn_from_the_last_policy(tmp_path: Path):
    learner = Recorder()
    run = play_in(tmp_path, with_learner(killed.plan(), learner))
    assert [policy for policy, _ in learner.given] == ["round-000", "round-001"]
    assert [lessons for _, lessons in learner.given] == [run.read(f"round-00{n}/lessons", LESSONS) for n in (1, 2)]


def test_from_scratch_means_the_first_policy_and_all_lessons(tmp_path: Path):
    learner = Recorder()
    play_in(tmp_path, dataclasses.replace(with_learner(killed.plan(), learner), scratch=True))
    (first, one), (second, both) = learner.given
    assert first == second == "round-000"
    assert len(both) > len(one)
    assert both[: len(one)] == one


def test_every_policy_is_evaluated_on_the_same_tasks(run: RunDir):
    tasks = run.read("evals/held-out", TASKS)
    answers: list[list[str]] = []
    for number in range(4):
        bouts = run.read(f"round-{number:03d}/eval-held-out", BOUTS) or []
        assert [bout.task for bout in bouts] == tasks
        answers.append([attempt.answer for bout in bouts for attempt in bout.attempts])
    assert len({tuple(found) for found in answers}) == 4, "each by its own policy"


def test_a_finished_run_is_only_read(run: RunDir):
    class Idle(killed.Learner):
        def learn(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None:
            raise AssertionError("learned again")

    before = {path: path.stat().st_mtime_ns for path in run.root.rglob("*")}
    plan = dataclasses.replace(with_learner(killed.plan(), Idle()), rounds=3)
    last = play(plan, NoEngine(), run, lambda number: None)
    assert last == run.root / "round-003" / "policy"
    assert {path: path.stat().st_mtime_ns for path in run.root.rglob("*")} == before


def test_more_rounds_go_on_where_fewer_ended(tmp_path: Path, run: RunDir):
    short = play_in(tmp_path, dataclasses.replace(killed.plan(), rounds=1))
    play(dataclasses.replace(killed.plan(), rounds=3), killed.Engine(), short, lambda number: None)
    assert killed.contents(short.root) == killed.contents(run.root)


def test_the_size_of_shards_changes_nothing(tmp_path: Path, run: RunDir):
    other = play_in(tmp_path, dataclasses.replace(killed.plan(), rounds=3, shard_tasks=100))
    for name, kind in [("probe", BOUTS), ("bouts", BOUTS), ("lessons", LESSONS)]:
        assert other.read(f"round-003/{name}", kind) == run.read(f"round-003/{name}", kind)


def test_faults_are_counted_and_never_taught(run: RunDir):
    """The grader of ``killed.py`` breaks for answers that begin with 7."""
    for number in (1, 2, 3):
        row = round_metrics(run, number, killed.RECIPE.evaluation)
        bouts = [bout for phase in ("probe", "bouts") for bout in run.read(f"round-{number:03d}/{phase}", BOUTS) or []]
        broken = [attempt for bout in bouts for attempt in bout.attempts if attempt.answer.startswith("7")]
        assert row["probe"]["faults"] + row["bouts"]["faults"] == len(broken)
        lessons = run.read(f"round-{number:03d}/lessons", LESSONS) or []
        assert lessons
        for pair in lessons:
            assert isinstance(pair, Pair)
            assert not pair.chosen.text.startswith("7")
            assert not pair.rejected.text.startswith("7")
            assert pair.margin > 0
    assert sum(verdict.fault is not None for bout in run.read("round-001/probe", BOUTS) or [] for verdict in bout.verdicts) > 0


def test_seeds_depend_on_everything_and_on_nothing_else(run: RunDir, tmp_path: Path):
    seeds: set[int] = set()
    for seed in (0, 1):
        for number in (1, 2):
            for phase in ("probe", "bouts"):
                seeds.add(stable_hash(seed, number, phase))
    assert len(seeds) == 8
    assert stable_hash(0, 1, "probe") == 2155501475619547057, "another number would change every run that is under way"
    other = play_in(tmp_path, dataclasses.replace(killed.plan(), seed=1, rounds=1))
    assert other.read("round-001/probe", BOUTS) != run.read("round-001/probe", BOUTS)


def test_a_model_that_fails_stops_the_run_and_loses_nothing(tmp_path: Path):
    def fail(prompt: str, role: str, rng: Random) -> str:
        if "number 7" in prompt:
            raise SparringError("the server is gone; start it again")
        return "1"

    class Engine:
        @contextlib.contextmanager
        def serve(self, policy: Path) -> Generator[Model]:
            yield ScriptedModel(fail)

    run = RunDir(tmp_path)
    with pytest.raises(SparringError, match="the server is gone"):
        play(killed.plan(), Engine(), run, lambda number: None)
    assert len(list((tmp_path / "round-001" / "probe.partial").iterdir())) == 2
    play(killed.plan(), killed.Engine(), run, lambda number: None)


def test_timings_tell_every_phase_once(run: RunDir):
    phases = [json.loads(line)["phase"] for line in (run.root / "timings.jsonl").read_text().splitlines()]
    assert len(phases) == len(set(phases))
    assert {"prompts/human", "round-001/probe", "round-003/policy", "round-003/eval-held-out"} <= set(phases)


def test_the_kill_script_does_kill(tmp_path: Path):
    assert os.WTERMSIG(killed.in_child(tmp_path, killed.die)) == signal.SIGKILL


def test_the_prove_game_that_is_killed_searches_in_every_way(tmp_path: Path):
    """Moves, generated tactics, and readings of where they led: what is resumed byte for byte has all of them."""
    run = RunDir(tmp_path)
    play(killed.prove_plan(), killed.Prover(), run, lambda number: None)
    attempts = [attempt for bout in run.read("round-001/probe", BOUTS) or [] for attempt in bout.attempts]
    attempts += [attempt for bout in run.read("round-002/probe", BOUTS) or [] for attempt in bout.attempts]
    assert {step.role for attempt in attempts for step in attempt.steps} > {"move"}
    assert any(attempt.stats["weighed"] for attempt in attempts)
    assert any(attempt.stats["status"] == "proved" for attempt in attempts)
