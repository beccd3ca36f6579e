"""Small games without torch whose process is killed at every commit. A script: ``python tests/killed.py FOLDER align`` (or ``online``,
``prove``) prints JSON.

One process forks a child for every kill, so that hundreds of them take seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random

import pyarrow as pa

from sparring import session
from sparring.config import AlignRecipe, AlignRun, Creator, Evaluation
from sparring.config import Online as OnlineSettings
from sparring.config_prove import Conjectures, ProveRecipe, ProveRun
from sparring.creators.buffer import Buffer
from sparring.creators.conjecture import Conjecturer, Symbolic
from sparring.creators.evolve import Evolver, SymbolicRewriter
from sparring.envs.embedded import KernelEnv
from sparring.game import NO_GOALS, Bout, Game, Lesson, Model, Online, Plan, Sampling, Step, Task, make_task, stable_hash
from sparring.judges.program import ProgramJudge
from sparring.judges.proof import ProofJudge
from sparring.learners.lessons import mix, pairs_of
from sparring.learners.roles import search_lessons, trace_lessons
from sparring.loop import play
from sparring.metrics import round_metrics
from sparring.models.scripted import ScriptedModel
from sparring.rundir import UNREPEATABLE, RunDir, Watch, commit, commit_text
from sparring.session import open_run, run_path, write_metrics
from sparring.solvers.budget import Budget
from sparring.solvers.hierarchy import Flat, Hierarchical, Mixture
from sparring.solvers.hierarchy import Prover as SearchProver
from sparring.solvers.rank import Ranker
from sparring.solvers.respond import Responder
from sparring.solvers.search import Rules
from sparring.trace import trace
from sparring.worlds.conjectures import OPERATORS, mutate_with, read
from sparring.worlds.keys import statement_key
from sparring.worlds.lemmas import LIBRARY

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
        write_weights(out, f"{stable_hash(weights, lessons, seed)}")
        state.unlink(missing_ok=True)


class Pupil:
    """Learns in turns; every second turn its weights and their number are saved beside ``out``."""

    def __init__(self, policy: Path, out: Path, seed: int) -> None:
        self.out, self.seed = out, seed
        self.state = out.with_name(out.name + ".state")
        found = json.loads(self.state.read_text()) if self.state.exists() else [0, (policy / "weights.txt").read_text()]
        self.done, self.weights = int(found[0]), str(found[1])

    @property
    def model(self) -> Model:
        weights = self.weights
        return ScriptedModel(lambda prompt, role, rng: f"{stable_hash(weights, rng.random()):016x}"[::-1])

    def learn(self, lessons: Sequence[Lesson]) -> None:
        self.weights = str(stable_hash(self.weights, lessons, self.seed))
        self.done += 1
        if self.done % 2 == 0:
            commit_text(self.state, json.dumps([self.done, self.weights]))

    def finish(self) -> None:
        write_weights(self.out, self.weights)


def write_weights(out: Path, weights: str) -> None:
    def write(partial: Path) -> None:
        partial.mkdir()
        (partial / "weights.txt").write_text(weights)
        (partial / "config.json").write_text("{}")

    commit(out, write)


def grade(task: Task, answer: str) -> tuple[float, bool, str]:
    if answer[0] == "7":
        raise ValueError("the grader broke")
    return int(answer[0], 16) / 16, answer[0] in "ef", ""


def mutate(text: str, operator: str, seed: int) -> str:
    return f"{text} {operator} {stable_hash(text, operator, seed) % 50}"


def start(out: Path, traces: Sequence[Lesson]) -> None:
    write_weights(out, "first")


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


ONLINE = OnlineSettings(batch=2, warm_up=1)


@contextlib.contextmanager
def pupil(policy: Path, out: Path, turns: int, seed: int) -> Generator[Pupil]:
    yield Pupil(policy, out, seed)


def online_plan() -> Plan:
    return replace(plan(), rounds=1, online=Online(turns=4, draw=Buffer(ONLINE, Creator()).draw, live=pupil))


# ------------------------------------------------------------------------------------------------------------ the prove game

PROVE_RECIPE = ProveRecipe(run=ProveRun(name="killed", rounds=2, shard_tasks=3), evaluation=Evaluation(bootstrap=10))
TACTICS = (
    "intro",
    "assumption",
    "rfl",
    "simpl",
    "split",
    "left",
    "right",
    "cases h",
    "rewrite add_0_r",
    "rewrite h",
    "induction x",
    "exfalso",
    "rewrite <- add_0_r",
    "sorry",
)


class Prover:
    """Plays tactics at random, and plans that everything is proved; how depends on the policy's weights."""

    @contextlib.contextmanager
    def serve(self, policy: Path) -> Generator[Model]:
        weights = (policy / "weights.txt").read_text()

        def script(prompt: str, role: str, rng: Random) -> str:
            return NO_GOALS if role == "planner" else TACTICS[stable_hash(weights, rng.random()) % len(TACTICS)]

        yield ScriptedModel(script)


def prove_plan() -> Plan:
    env = KernelEnv(LIBRARY[:12])
    judge = ProofJudge(env)
    rules = Rules(budget=Budget(calls=60), retries=2, moves=2, clock=lambda: 0.0)
    sampling = Sampling(n=3, temperature=1.0, top_p=1.0)
    prover = SearchProver(
        env=env,
        rules=rules,
        policy=Mixture(
            flat=Flat(actor=sampling), goals=Hierarchical(planner=sampling, actor=sampling), flat_from=0, goals_from=1
        ),
        ranker=Ranker(target=PROVE_RECIPE.roles.target),
    )

    def teach(probe: Sequence[Bout], bouts: Sequence[Bout], seed: int) -> list[Lesson]:
        return [*search_lessons([*probe, *bouts], PROVE_RECIPE.roles, PROVE_RECIPE.teach, seed)]

    def game(number: int, seen: Sequence[Task], traces: Sequence[Lesson]) -> Game:
        creator = Conjecturer(
            settings=Conjectures(), budget=60, writer=Symbolic(mutate_with, OPERATORS, 4), read=read, key=statement_key, seen=seen
        )
        return Game(creator=creator, solver=prover, judge=judge, teach=teach, learner=Learner())

    def traces() -> list[Lesson]:
        steps = trace(env, [(make_task(lemma.statement), lemma.script) for lemma in LIBRARY[:4]])
        return trace_lessons(
            [Step(state=s.state_before, tactic=s.tactic, result=s.state_after, role="trace") for s in steps], PROVE_RECIPE.roles
        )

    def tasks(*statements: str) -> list[Task]:
        return [make_task(text) for text in statements]

    return Plan(
        seed=0,
        rounds=PROVE_RECIPE.run.rounds,
        shard_tasks=PROVE_RECIPE.run.shard_tasks,
        start=start,
        prompts={
            "theorems": lambda: tasks(
                "forall p, p -> p",
                "forall n, 0 + n = n",
                "forall p q, p /\\ q -> p",
                "forall n, n + 0 = n + 0 + 0",
                "forall p, p",
            )
        },
        pool=lambda number, prompts, created: list(prompts["theorems"]),
        game=game,
        examiner=prover,
        judge=judge,
        evals={"held-out": lambda: tasks("forall p q, p -> q -> p", "1 + 1 = 2")},
        rivals={"flat": SearchProver(env=env, rules=replace(rules, moves=0), policy=Flat(actor=sampling))},
        traces=traces,
    )


GAMES: dict[str, tuple[AlignRecipe | ProveRecipe, Callable[[], Plan], type[Engine] | type[Prover]]] = {
    "align": (RECIPE, plan, Engine),
    "online": (RECIPE, online_plan, Engine),
    "prove": (PROVE_RECIPE, prove_plan, Prover),
}


def play_here(game: str = "align") -> None:
    """What ``sparring play`` does, in the current folder."""
    recipe, make_plan, engine = GAMES[game]
    rows: list[dict[str, object]] = []
    with RunDir(run_path(recipe)).lock():
        run = open_run(recipe, Watch())

        def after_round(number: int) -> None:
            rows.append(round_metrics(run, number, recipe.evaluation))
            write_metrics(run, rows)

        play(make_plan(), engine(), run, after_round)


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


def play_counted(game: str) -> None:
    numbers: list[int] = []
    at_commits(numbers.append, lambda number: None)
    play_here(game)
    Path("commits").write_text(str(len(numbers)))


def play_until(game: str, commit: int) -> None:
    """Killed when everything but the rename of this commit is done."""
    at_commits(lambda number: die() if number == commit else None, lambda number: None)
    play_here(game)


def play_one_commit(game: str) -> None:
    """Killed as soon as anything is committed."""
    at_commits(lambda number: None, lambda number: die())
    play_here(game)


def tear(folder: Path) -> None:
    """As if the power had failed too: of what was not committed only a half is there."""
    for path in folder.rglob("*.tmp"):
        for file in [path] if path.is_file() else path.rglob("*"):
            os.truncate(file, file.stat().st_size // 2)


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    return {name: path.read_bytes() if path.is_file() else b"" for name, path in files.items() if path.name not in UNREPEATABLE}


def main(root: Path, game: str) -> None:
    os.fsync = lambda descriptor: None  # slow, and a killed process loses nothing that the system has
    session.provenance = lambda: {}  # asks git and the packages, which is not what is tested hundreds of times
    pa.Table.from_pylist([{"a": 1}])  # imports what it likes to import once, before any fork
    assert in_child(root / "whole", lambda: play_counted(game)) == 0
    commits = int((root / "whole" / "commits").read_text())
    wanted = contents(root / "whole" / "runs")
    wrong: list[int] = []
    for number in range(commits):
        folder = root / f"{number}"
        killed = in_child(folder, lambda n=number: play_until(game, n))
        tear(folder)
        resumed = in_child(folder, lambda: play_here(game))
        if not os.WIFSIGNALED(killed) or resumed or contents(folder / "runs") != wanted:
            wrong.append(number)
    processes = 1
    while processes <= commits + 1 and os.WIFSIGNALED(in_child(root / "again", lambda: play_one_commit(game))):
        processes += 1
    again = contents(root / "again" / "runs") == wanted
    print(
        json.dumps({"commits": commits, "wrong": wrong, "processes": processes, "again": again, "torch": "torch" in sys.modules})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
