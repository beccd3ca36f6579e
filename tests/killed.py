"""A small game without torch whose process is killed at every commit. A script: ``python tests/killed.py FOLDER`` prints JSON.

One process forks a child for every kill, so that hundreds of them take seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from itertools import count
from pathlib import Path

import pyarrow as pa

from sparring import session
from sparring.config import AlignRecipe, AlignRun, Creator, Evaluation
from sparring.creators.evolve import Evolver, SymbolicRewriter
from sparring.game import Bout, Game, Lesson, Model, Plan, Sampling, Task, make_task, stable_hash
from sparring.judges.program import ProgramJudge
from sparring.learners.lessons import mix, pairs_of
from sparring.loop import play
from sparring.metrics import round_metrics
from sparring.models.scripted import ScriptedModel
from sparring.rundir import UNREPEATABLE, RunDir, Watch, commit, commit_text
from sparring.session import open_run, run_path, write_metrics
from sparring.solvers.respond import Responder

RECIPE = AlignRecipe(run=AlignRun(name="killed", rounds=2, shard_tasks=3), evaluation=Evaluation(bootstrap=10))


def scripted(policy: Path) -> ScriptedModel:
    """Sixteen random digits, which depend on the policy's weights too."""
    weights = (policy / "weights.txt").read_text()
    return ScriptedModel(lambda prompt, role, rng: f"{stable_hash(weights, rng.random()):016x}"[::-1])


class Engine:
    @contextlib.contextmanager
    def serve(self, policy: Path) -> Generator[Model]:
        yield scripted(policy)


class Learner:
    """The new weights are a hash of the old ones and the lessons; a state lies beside them while they are learned."""

    def learn(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None:
        state = out.with_name(out.name + ".state")
        if not state.exists():
            commit_text(state, "half way")
        weights = (policy / "weights.txt").read_text()

        def write(partial: Path) -> None:
            partial.mkdir()
            (partial / "weights.txt").write_text(f"{stable_hash(weights, lessons, seed)}")
            (partial / "config.json").write_text("{}")

        commit(out, write)
        state.unlink(missing_ok=True)


def grade(task: Task, answer: str) -> tuple[float, bool, str]:
    if answer[0] == "7":
        raise ValueError("the grader broke")
    return int(answer[0], 16) / 16, answer[0] in "ef", ""


def mutate(text: str, operator: str, seed: int) -> str:
    return f"{text} {operator} {stable_hash(text, operator, seed) % 50}"


def start(out: Path, traces: Sequence[Lesson]) -> None:
    def write(partial: Path) -> None:
        partial.mkdir()
        (partial / "weights.txt").write_text("first")

    commit(out, write)


def plan() -> Plan:
    settings = Creator(fraction=0.5, chain=2)
    judge = ProgramJudge(grade)
    solver = Responder(Sampling(n=3))

    def teach(probe: Sequence[Bout], bouts: Sequence[Bout], seed: int) -> list[Lesson]:
        return [*mix(pairs_of(bouts, created=True), pairs_of(probe), 0.5, 6, seed)]

    def game(number: int, seen: Sequence[Task], traces: Sequence[Lesson]) -> Game:
        creator = Evolver(settings, SymbolicRewriter(mutate), lambda text: {}, seen)
        return Game(creator=creator, solver=solver, judge=judge, teach=teach, learner=Learner())

    def tasks(name: str, count: int) -> list[Task]:
        return [make_task(f"{name} number {index}") for index in range(count)]

    return Plan(
        seed=RECIPE.run.seed,
        rounds=RECIPE.run.rounds,
        shard_tasks=RECIPE.run.shard_tasks,
        start=start,
        prompts={"human": lambda: tasks("human", 8)},
        pool=lambda number, prompts, created: list(created) or list(prompts["human"]),
        game=game,
        examiner=Responder(Sampling(n=1, temperature=0.0)),
        judge=judge,
        evals={"held-out": lambda: tasks("held out", 4)},
    )


def play_here() -> None:
    """What ``sparring play`` does, in the current folder."""
    rows: list[dict[str, object]] = []
    with RunDir(run_path(RECIPE)).lock():
        run = open_run(RECIPE, Watch())

        def after_round(number: int) -> None:
            rows.append(round_metrics(run, number, RECIPE.evaluation))
            write_metrics(run, rows)

        play(plan(), Engine(), run, after_round)


# ------------------------------------------------------------------------------------------------------------ killing


def in_child(folder: Path, work: Callable[[], None]) -> int:
    """The wait status of a child that works in ``folder``."""
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.chdir(folder)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def at_commits(before: Callable[[int], None], after: Callable[[int], None]) -> None:
    """Calls these around every rename of this process, with its number; renaming is how everything is committed."""
    rename, numbers = os.rename, count()

    def watched(source: Path, target: Path) -> None:
        number = next(numbers)
        before(number)
        rename(source, target)
        after(number)

    os.rename = watched


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def play_counted() -> None:
    numbers: list[int] = []
    at_commits(numbers.append, lambda number: None)
    play_here()
    Path("commits").write_text(str(len(numbers)))


def play_until(commit: int) -> None:
    """Killed when everything but the rename of this commit is done."""
    at_commits(lambda number: die() if number == commit else None, lambda number: None)
    play_here()


def play_one_commit() -> None:
    """Killed as soon as anything is committed."""
    at_commits(lambda number: None, lambda number: die())
    play_here()


def tear(folder: Path) -> None:
    """As if the power had failed too: of what was not committed only a half is there."""
    for path in folder.rglob("*.tmp"):
        for file in [path] if path.is_file() else path.rglob("*"):
            os.truncate(file, file.stat().st_size // 2)


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    return {name: path.read_bytes() if path.is_file() else b"" for name, path in files.items() if path.name not in UNREPEATABLE}


def main(root: Path) -> None:
    os.fsync = lambda descriptor: None  # slow, and a killed process loses nothing that the system has
    session.provenance = lambda: {}  # asks git and the packages, which is not what is tested hundreds of times
    pa.Table.from_pylist([{"a": 1}])  # imports what it likes to import once, before any fork
    assert in_child(root / "whole", play_counted) == 0
    commits = int((root / "whole" / "commits").read_text())
    wanted = contents(root / "whole" / "runs")
    wrong: list[int] = []
    for number in range(commits):
        folder = root / f"{number}"
        killed = in_child(folder, lambda n=number: play_until(n))
        tear(folder)
        resumed = in_child(folder, play_here)
        if not os.WIFSIGNALED(killed) or resumed or contents(folder / "runs") != wanted:
            wrong.append(number)
    processes = 1
    while processes <= commits + 1 and os.WIFSIGNALED(in_child(root / "again", play_one_commit)):
        processes += 1
    again = contents(root / "again" / "runs") == wanted
    print(
        json.dumps({"commits": commits, "wrong": wrong, "processes": processes, "again": again, "torch": "torch" in sys.modules})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
