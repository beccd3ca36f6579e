"""The align game (eva, arXiv 2411.00062): every part of it by name, from a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sparring.config import AlignRecipe
from sparring.creators.evolve import Evolver, ModelRewriter, Read, Repeater, Resampler, Rewriter, SymbolicRewriter
from sparring.data import load_function, read_tasks
from sparring.errors import SparringError
from sparring.game import Bout, Creator, Game, Lesson, Plan, Sampling, Task, Teach
from sparring.judges.program import ProgramJudge, check_judge
from sparring.learners.lessons import mix, pairs_of
from sparring.models.folders import fetch_policy
from sparring.solvers.respond import Responder


def align(recipe: AlignRecipe, progress: Callable[[int, int], None] | None = None) -> Plan:
    """The recipe's game; raises SparringError for what can be known to be wrong before anything is sampled. Loads torch."""
    from sparring.learners.train import TorchLearner

    judge = ProgramJudge(load_function(recipe.judge.grade, "judge.grade"))
    if recipe.judge.controls:
        check_judge(judge, load_function(recipe.judge.controls, "judge.controls")())
    learner = TorchLearner(recipe.learner, recipe.policy, reuse_logprobs=recipe.run.start == "incremental", progress=progress)
    solver = Responder(
        Sampling(
            n=recipe.solver.n,
            temperature=recipe.solver.temperature,
            top_p=recipe.solver.top_p,
            max_new_tokens=recipe.solver.max_new_tokens,
        )
    )
    read = load_function(recipe.data.read, "data.read") if recipe.data.read else None
    creator = creators(recipe, read)

    def game(number: int, seen: Sequence[Task], traces: Sequence[Lesson]) -> Game:
        return Game(creator=creator(number, seen), solver=solver, judge=judge, teach=teach_of(recipe), learner=learner)

    return Plan(
        seed=recipe.run.seed,
        rounds=recipe.run.rounds,
        shard_tasks=recipe.run.shard_tasks,
        start=lambda out, traces: fetch_policy(recipe.policy.path, out),
        prompts=prompt_readers(recipe, read),
        pool=lambda number, prompts, created: pool_of(recipe, number, prompts, created),
        game=game,
        examiner=Responder(Sampling(n=1, temperature=0.0, top_p=1.0, max_new_tokens=recipe.evaluation.max_new_tokens)),
        judge=judge,
        evals={
            name: lambda source=source, key=f"data.evals.{name}": read_tasks(source, read, key)
            for name, source in recipe.data.evals.items()
        },
        scratch=recipe.run.start == "scratch",
    )


def creators(recipe: AlignRecipe, read: Read | None) -> Callable[[int, Sequence[Task]], Creator]:
    """(round, tasks seen so far) -> creator. Human rounds, and fresh human prompts, are taught as they are."""
    settings = recipe.creator
    mutate = load_function(settings.mutate, "creator.mutate") if settings.kind == "symbolic" else None
    rewriter: Rewriter = SymbolicRewriter(mutate, settings.tries) if mutate else ModelRewriter(settings)

    def creator(number: int, seen: Sequence[Task]) -> Creator:
        if number <= recipe.run.human_rounds or settings.kind == "fresh":
            return Repeater()
        if settings.kind == "none":
            return Resampler(settings)
        return Evolver(settings, rewriter, read or (lambda text: {}), seen)

    return creator


def prompt_readers(recipe: AlignRecipe, read: Read | None) -> dict[str, Callable[[], list[Task]]]:
    """What pools are drawn from; each refuses to be too short for all the rounds that draw from it."""
    human, fresh = recipe.run.human_rounds, recipe.creator.kind == "fresh"

    def reader(source: str, key: str, rounds: int) -> Callable[[], list[Task]]:
        return lambda: _enough(read_tasks(source, read, key), recipe.data.per_round * rounds, key)

    readers = {"human": reader(recipe.data.prompts, "data.prompts", human if fresh else max(human, 1))}
    return readers | ({"fresh": reader(recipe.data.fresh, "data.fresh", recipe.run.rounds - human)} if fresh else {})


def pool_of(recipe: AlignRecipe, number: int, prompts: Mapping[str, Sequence[Task]], created: Sequence[Task]) -> list[Task]:
    """The prompts of a round: human ones, the next fresh ones, or what the round before created (alg. 1, line 11)."""
    size, human, kind = recipe.data.per_round, recipe.run.human_rounds, recipe.creator.kind
    if number > human and kind == "fresh":
        stop = size * (number - human)
        return _enough(prompts["fresh"], stop, "data.fresh")[stop - size : stop]
    stop = size * min(number, max(human, 1))  # the first round with a creator starts from the prompts of the last human round
    pool = _enough(prompts["human"], stop, "data.prompts")[stop - size : stop]
    if number > human + 1 and kind in ("model", "symbolic"):
        # Chains lose links to the gates; human prompts fill up, so that every round has the same budget.
        return [*created, *pool][:size]
    return pool


def _enough(tasks: Sequence[Task], needed: int, key: str) -> list[Task]:
    if len(tasks) < needed:
        raise SparringError(
            f"{key} has {len(tasks)} different prompts and the rounds up to now need {needed}; "
            "add prompts, or lower data.per_round or the number of rounds"
        )
    return list(tasks)


def teach_of(recipe: AlignRecipe) -> Teach:
    """Best against worst; with created tasks, ``teach.evolved`` of the pairs come from them (alg. 1, lines 9 and 10)."""

    def teach(probe: Sequence[Bout], bouts: Sequence[Bout], seed: int) -> list[Lesson]:
        total = recipe.teach.pairs or recipe.data.per_round
        original = pairs_of(probe, recipe.teach.min_margin)
        created = pairs_of(bouts, recipe.teach.min_margin, created=True)
        share = recipe.teach.evolved if bouts else 0.0
        return [*mix(created, original, share, total, seed)]

    return teach
