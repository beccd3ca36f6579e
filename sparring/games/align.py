"""The align game (eva, arXiv 2411.00062): every part of it by name, from a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from sparring.config import AlignRecipe
from sparring.creators.answerable import unanswerable
from sparring.creators.buffer import Buffer
from sparring.data import load_function
from sparring.game import Bout, Game, Learner, Lesson, Live, Online, Plan, Sampling, Task, Teach
from sparring.games.checks import check_recipe
from sparring.games.creating import creators
from sparring.games.judging import WINNING, compares, make_judge, make_member, watching, wins_of
from sparring.games.sources import enough, eval_readers, prompt_readers
from sparring.learners.credits import ADVANTAGES, balanced, credit_group
from sparring.learners.lessons import mix, pairs_of
from sparring.models.folders import fetch_policy
from sparring.rundir import Watch
from sparring.session import calls_path
from sparring.solvers.respond import Responder


def align(recipe: AlignRecipe, watch: Watch | None = None) -> Plan:
    """The recipe's game; raises SparringError for what can be known to be wrong before anything is sampled. Loads torch."""
    check_recipe(recipe)
    watch = watch or Watch()
    calls, seed = calls_path(recipe), recipe.run.seed
    judge = make_judge(recipe.judge, calls, seed)
    learner = make_learner(recipe, watch)
    solver = Responder(
        Sampling(
            n=recipe.solver.n,
            temperature=recipe.solver.temperature,
            top_p=recipe.solver.top_p,
            max_new_tokens=recipe.solver.max_new_tokens,
        )
    )
    read = load_function(recipe.data.read, "data.read") if recipe.data.read else None
    creator, teach = creators(recipe, read), teach_of(recipe)
    second = {
        f"{member.kind}-{place}": make_member(member, calls, seed, key)
        for place, (key, member) in enumerate(watching(recipe).items())
    }

    def game(number: int, seen: Sequence[Task], traces: Sequence[Lesson]) -> Game:
        return Game(creator=creator(number, seen), solver=solver, judge=judge, teach=teach, learner=learner)

    return Plan(
        seed=seed,
        rounds=recipe.run.rounds,
        shard_tasks=recipe.run.shard_tasks,
        start=lambda out, traces: fetch_policy(recipe.policy.path, out, recipe.policy.chat_template),
        prompts=prompt_readers(recipe, read, watch),
        pool=lambda number, prompts, created: pool_of(recipe, number, prompts, created),
        game=game,
        examiner=Responder(Sampling(n=1, temperature=0.0, top_p=1.0, max_new_tokens=recipe.evaluation.max_new_tokens)),
        judge=next(iter(second.values())) if compares(recipe.judge) and second else judge,
        evals=eval_readers(recipe, read, watch),
        second=second,
        scratch=recipe.run.start == "scratch",
        online=online_of(recipe, watch),
    )


def make_learner(recipe: AlignRecipe, watch: Watch) -> Learner:
    longest = recipe.solver.max_new_tokens
    reuse = recipe.run.start == "incremental" and not recipe.policy.server.url  # a server's log-probs have its own precision
    if recipe.learner.backend == "trl":
        from sparring.learners.trl import TrlLearner

        return TrlLearner(recipe.learner, recipe.policy, progress=watch.update, longest=longest)
    from sparring.learners.train import TorchLearner

    return TorchLearner(recipe.learner, recipe.policy, reuse_logprobs=reuse, longest=longest, progress=watch.update)


def online_of(recipe: AlignRecipe, watch: Watch) -> Online | None:
    """Mini-batches from the pool and a buffer of created prompts, and the policy that learns from each (the paper's online version)."""
    if not recipe.online.batch:
        return None
    from sparring.learners.live import LiveLearner
    from sparring.models.hf import HFModel

    learner = LiveLearner(
        how=recipe.learner,
        policy=recipe.policy,
        serve=lambda model, tokenizer: HFModel(model, tokenizer, recipe.policy),
        save_every=recipe.online.save_every,
        longest=recipe.solver.max_new_tokens,
        progress=watch.update,
    )

    def live(policy: Path, out: Path, turns: int, seed: int) -> AbstractContextManager[Live]:
        return learner.open(policy, out, turns, seed)

    return Online(turns=recipe.data.per_round // recipe.online.batch, draw=Buffer(recipe.online, recipe.creator).draw, live=live)


def pool_of(recipe: AlignRecipe, number: int, prompts: Mapping[str, Sequence[Task]], created: Sequence[Task]) -> list[Task]:
    """The prompts of a round: human ones, the next fresh ones, or what the round before created (alg. 1, line 11)."""
    size, human, kind = recipe.data.per_round, recipe.run.human_rounds, recipe.creator.kind
    if number > human and kind == "fresh":
        stop = size * (number - human)
        return enough(prompts["fresh"], stop, "data.fresh")[stop - size : stop]
    stop = size * min(number, max(human, 1))  # the first round with a creator starts from the prompts of the last human round
    pool = enough(prompts["human"], stop, "data.prompts")[stop - size : stop]
    if number > human + 1 and kind in ("model", "symbolic"):
        # Chains lose links to the gates; human prompts fill up, so that every round has the same budget.
        return [*created, *pool][:size]
    return pool


def teach_of(recipe: AlignRecipe) -> Teach:
    """What is taught of a round; with created tasks, ``teach.evolved`` of it comes from them (alg. 1, lines 9 and 10).

    Pairs of the best answer and the worst, or, for losses that weigh single answers, groups of answers with their advantages.
    """
    how, loss = recipe.teach, recipe.learner.loss
    wins = wins_of(recipe.judge) if loss in WINNING else None
    total = how.pairs or recipe.data.per_round
    if recipe.online.batch:  # a turn teaches its part of what a round does
        total = max(1, round(total * recipe.online.batch / recipe.data.per_round))

    def teach(probe: Sequence[Bout], bouts: Sequence[Bout], seed: int) -> list[Lesson]:
        if recipe.creator.answerable == "reward":
            without = unanswerable(bouts, probe)
            bouts = [bout for bout in bouts if bout.task.id not in without]
        share = how.evolved if bouts else 0.0
        if advantages := ADVANTAGES.get(loss):
            created, original = (
                [group for bout in part if (group := credit_group(bout, advantages, how.min_margin, is_created))]
                for part, is_created in ((bouts, True), (probe, False))
            )
            credits = [credit for group in mix(created, original, share, total, seed) for credit in group]
            return [*(balanced(credits) if loss == "kto" else credits)]
        original = pairs_of(probe, how.min_margin, wins=wins)
        created = pairs_of(bouts, how.min_margin, created=True, wins=wins)
        return [*mix(created, original, share, total, seed)]

    return teach
