"""The loop. A round is: probe the pool, propose tasks, attempt and judge them, teach, learn. Every arrow is a phase on disk.

pool --attempt, judge--> probe --propose--> tasks --attempt, judge--> bouts --teach--> lessons --learn--> next policy

Online a round is a row of turns that are played just so, on a mini-batch each and with the weights as the turn before left them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sparring.errors import SparringError
from sparring.game import (
    Bout,
    Engine,
    Game,
    Judge,
    Lesson,
    Live,
    Model,
    Online,
    Plan,
    Sample,
    Sampling,
    Scored,
    Solver,
    Task,
    stable_hash,
)
from sparring.records import BOUTS, LESSONS, TASKS
from sparring.rundir import RunDir, round_name, turn_name


@dataclass(frozen=True)
class Round:
    """One round's (or turn's) place on disk and its seeds."""

    run: RunDir
    plan: Plan
    number: int
    turn: str = ""

    def seed(self, phase: str) -> int:
        return stable_hash(self.plan.seed, self.number, *([self.turn] if self.turn else []), phase)

    @property
    def is_last(self) -> bool:
        return self.number == self.plan.rounds

    def path(self, phase: str) -> str:
        return "/".join([round_name(self.number), *([self.turn] if self.turn else []), phase])

    def contest(self, phase: str, tasks: Sequence[Task], solver: Solver, judge: Judge, model: Model) -> list[Bout]:
        """Attempt and judge tasks, a shard at a time."""

        def bouts(part: Sequence[Task]) -> list[Bout]:
            attempts = solver.attempt(part, model, self.seed(phase))
            verdicts = judge.judge(part, attempts)
            return [Bout(task=t, attempts=a, verdicts=v) for t, a, v in zip(part, attempts, verdicts, strict=True)]

        return self.run.shards(self.path(phase), BOUTS, tasks, bouts, self.plan.shard_tasks)

    def judge_again(self, name: str, bouts: Sequence[Bout]) -> None:
        """The answers to the evaluation set ``name``, as each of the second judges sees them."""
        for who, judge in self.plan.second.items():

            def verdicts(part: Sequence[Bout], judge: Judge = judge) -> list[Bout]:
                again = judge.judge([bout.task for bout in part], [bout.attempts for bout in part])
                return [replace(bout, verdicts=given) for bout, given in zip(part, again, strict=True)]

            self.run.shards(self.path(f"second-{who}-{name}"), BOUTS, bouts, verdicts, self.plan.shard_tasks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """What came of a round before anything is learned from it."""

    probe: list[Bout]
    bouts: list[Bout]
    lessons: list[Lesson]

    @property
    def created(self) -> list[Task]:
        return [bout.task for bout in self.bouts]


def play_round(here: Round, game: Game, serving: AbstractContextManager[Model], pool: Sequence[Task]) -> Played:
    """Everything but the learning."""
    run = here.run
    with serving as model:
        probe = here.contest("probe", pool, game.solver, game.judge, model)
        proposals = run.file(here.path("proposals"), TASKS, lambda: game.creator.propose(probe, model, here.seed("propose")))
        tasks = [task for task in proposals if task.rejected is None]
        bouts = here.contest("bouts", tasks, game.solver, game.judge, model)
    lessons = run.file(here.path("lessons"), LESSONS, lambda: game.teach(probe, bouts, here.seed("teach")))
    return Played(probe=probe, bouts=bouts, lessons=lessons)


def evaluate(here: Round, engine: Engine, policy: Path, evals: Mapping[str, Sequence[Task]]) -> None:
    """The same attempt and judge on held-out tasks, without teaching; judged by the second judges, after the last round by rivals too."""
    plan = here.plan
    examiners = {"": plan.examiner} | ({f"@{name}": rival for name, rival in plan.rivals.items()} if here.is_last else {})
    with engine.serve(policy) as model:
        for name, tasks in evals.items():
            for suffix, examiner in examiners.items():
                bouts = here.contest(f"eval-{name}{suffix}", tasks, examiner, plan.judge, model)
                if not suffix:
                    here.judge_again(name, bouts)


def learn(here: Round, game: Game, policy: Path, lessons: Sequence[Lesson]) -> Path:
    """The round's new policy."""
    return here.run.folder(here.path("policy"), lambda out: game.learner.learn(policy, lessons, out, here.seed("learn")))


def play_turns(here: Round, online: Online, policy: Path, pool: Sequence[Task], game: Callable[[Sequence[Task]], Game]) -> Played:
    """A round in turns, and its new policy. ``game``: its players, given what was created in the turns before.

    After a kill the turns that the last saved weights lack are learned again from the lessons on disk; nothing is sampled again.
    """
    played = Played(probe=[], bouts=[], lessons=[])
    history: list[list[Bout]] = []

    def play_turn(number: int, model: Model) -> list[Lesson]:
        turn = replace(here, turn=turn_name(number))
        tasks = here.run.file(turn.path("pool"), TASKS, lambda: online.draw(number, pool, history, turn.seed("pool")))
        new = play_round(turn, game(played.created), nullcontext(model), tasks)
        history.append([*new.probe, *new.bouts])
        played.probe.extend(new.probe)
        played.bouts.extend(new.bouts)
        played.lessons.extend(new.lessons)
        return new.lessons

    def learn_turns(live: Live) -> None:
        for number in range(online.turns):
            lessons = play_turn(number, _At(live, number))
            if number == live.done:
                live.learn(lessons)
        live.finish()

    def make(out: Path) -> None:
        with online.live(policy, out, online.turns, here.seed("learn")) as live:
            learn_turns(live)

    here.run.folder(here.path("policy"), make)
    if not played.probe:  # the policy was there already: only what it was taught is missing here
        for number in range(online.turns):
            play_turn(number, _At(None, number))
    return played


@dataclass(frozen=True)
class _At:
    """The live model, for questions of one turn: with the weights of another it must not answer."""

    live: Live | None
    turn: int

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        return self._model().sample(prompts, how, role=role, seed=seed)

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        return self._model().score(pairs, role=role)

    def _model(self) -> Model:
        if self.live is None or self.live.done != self.turn:
            raise SparringError(
                f"a phase of {turn_name(self.turn)} is missing, and the weights have learned from later turns; delete the round's "
                "folder `policy` (and `policy.state`) and the turns from this one on, and run `sparring resume` again"
            )
        return self.live.model


def draw_pool(here: Round, prompts: Mapping[str, Sequence[Task]], created: Sequence[Task]) -> list[Task]:
    return here.run.file(here.path("pool"), TASKS, lambda: here.plan.pool(here.number, prompts, created))


def _players(plan: Plan, number: int, known: Sequence[Task], traces: Sequence[Lesson], new: Sequence[Task]) -> Game:
    return plan.game(number, (*known, *new), traces)


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
        players = partial(_players, plan, number, (*seen, *pool), traces)
        if plan.online:
            played = play_turns(here, plan.online, policy, pool, players)
            policy = run.root / here.path("policy")
        else:
            game = players(())
            played = play_round(here, game, engine.serve(policy), pool)
            taught += played.lessons
            policy = learn(here, game, first, taught) if plan.scratch else learn(here, game, policy, played.lessons)
        created = played.created
        evaluate(here, engine, policy, evals)
        after_round(number)
        seen += [*pool, *created]
    return policy
