"""The loop. A round is: probe the pool, propose tasks, attempt and judge them, teach, learn. Every arrow is a phase on disk.

pool --attempt, judge--> probe --propose--> tasks --attempt, judge--> bouts --teach--> lessons --learn--> next policy
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparring.game import Bout, Engine, Game, Judge, Lesson, Model, Plan, Solver, Task, stable_hash
from sparring.records import BOUTS, LESSONS, TASKS
from sparring.rundir import RunDir, round_name


@dataclass(frozen=True)
class Round:
    """One round's place on disk and its seeds."""

    run: RunDir
    plan: Plan
    number: int

    def seed(self, phase: str) -> int:
        return stable_hash(self.plan.seed, self.number, phase)

    @property
    def is_last(self) -> bool:
        return self.number == self.plan.rounds

    def path(self, phase: str) -> str:
        return f"{round_name(self.number)}/{phase}"

    def contest(self, phase: str, tasks: Sequence[Task], solver: Solver, judge: Judge, model: Model) -> list[Bout]:
        """Attempt and judge tasks, a shard at a time."""

        def bouts(part: Sequence[Task]) -> list[Bout]:
            attempts = solver.attempt(part, model, self.seed(phase))
            verdicts = judge.judge(part, attempts)
            return [Bout(task=t, attempts=a, verdicts=v) for t, a, v in zip(part, attempts, verdicts, strict=True)]

        return self.run.shards(self.path(phase), BOUTS, tasks, bouts, self.plan.shard_tasks)


def play_round(here: Round, game: Game, engine: Engine, policy: Path, pool: Sequence[Task]) -> tuple[list[Task], list[Lesson]]:
    """Everything but the learning: the round's new tasks and its lessons."""
    run = here.run
    with engine.serve(policy) as model:
        probe = here.contest("probe", pool, game.solver, game.judge, model)
        proposals = run.file(here.path("proposals"), TASKS, lambda: game.creator.propose(probe, model, here.seed("propose")))
        tasks = [task for task in proposals if task.rejected is None]
        bouts = here.contest("bouts", tasks, game.solver, game.judge, model)
    lessons = run.file(here.path("lessons"), LESSONS, lambda: game.teach(probe, bouts, here.seed("teach")))
    return tasks, lessons


def evaluate(here: Round, engine: Engine, policy: Path, evals: Mapping[str, Sequence[Task]]) -> None:
    """The same attempt and judge on held-out tasks, without teaching; after the last round by the rivals too."""
    plan = here.plan
    examiners = {"": plan.examiner} | ({f"@{name}": rival for name, rival in plan.rivals.items()} if here.is_last else {})
    with engine.serve(policy) as model:
        for name, tasks in evals.items():
            for suffix, examiner in examiners.items():
                here.contest(f"eval-{name}{suffix}", tasks, examiner, plan.judge, model)


def learn(here: Round, game: Game, policy: Path, lessons: Sequence[Lesson]) -> Path:
    """The round's new policy."""
    return here.run.folder(here.path("policy"), lambda out: game.learner.learn(policy, lessons, out, here.seed("learn")))


def draw_pool(here: Round, prompts: Mapping[str, Sequence[Task]], created: Sequence[Task]) -> list[Task]:
    return here.run.file(here.path("pool"), TASKS, lambda: here.plan.pool(here.number, prompts, created))


def play(plan: Plan, engine: Engine, run: RunDir, after_round: Callable[[int], None]) -> Path:
    """All rounds; finished phases are reused. Returns the last policy's folder."""
    prompts = {name: run.file(f"prompts/{name}", TASKS, read) for name, read in plan.prompts.items()}
    evals = {name: run.file(f"evals/{name}", TASKS, read) for name, read in plan.evals.items()}
    start = Round(run, plan, 0)
    traces = run.file(start.path("lessons"), LESSONS, plan.traces) if plan.traces else []
    first = policy = run.folder(start.path("policy"), lambda out: plan.start(out, traces))
    evaluate(start, engine, policy, evals)
    after_round(0)
    seen: list[Task] = [task for tasks in evals.values() for task in tasks]
    created: list[Task] = []
    taught: list[Lesson] = []
    for number in range(1, plan.rounds + 1):
        here = Round(run, plan, number)
        pool = draw_pool(here, prompts, created)
        game = plan.game(number, (*seen, *pool), traces)
        created, lessons = play_round(here, game, engine, policy, pool)
        taught += lessons
        policy = learn(here, game, first, taught) if plan.scratch else learn(here, game, policy, lessons)
        evaluate(here, engine, policy, evals)
        after_round(number)
        seen += [*pool, *created]
    return policy
