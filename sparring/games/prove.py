"""The prove game (RiR, OpenReview H5hePMXKht; conjectures as in STP, arXiv 2502.00212): every part of it by name, from a recipe."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sparring.config_prove import UNTRAINED, ProveRecipe
from sparring.config_prove import Search as Settings
from sparring.creators.conjecture import Alternating, Conjecturer, ModelConjecturer, Symbolic, Writer, conjecture_lessons
from sparring.creators.evolve import Repeater
from sparring.data import read_tasks
from sparring.errors import SparringError
from sparring.game import (
    Bout,
    Creator,
    Demo,
    Env,
    Game,
    Learner,
    Lesson,
    Plan,
    Rejected,
    Sampling,
    Step,
    Task,
    Teach,
    make_task,
    stable_hash,
)
from sparring.games.theories import Theory, steps_of, theory_of
from sparring.judges.program import check_judge
from sparring.judges.proof import ProofJudge
from sparring.learners.roles import ranking_pairs, search_lessons, trace_lessons, with_replay
from sparring.learners.turns import InTurn
from sparring.models.folders import fetch_policy
from sparring.prompts import fitting
from sparring.rundir import Watch, commit
from sparring.solvers.budget import Budget
from sparring.solvers.choose import BestFirst, Mcts
from sparring.solvers.hierarchy import Flat, Hierarchical, Joint, Mixture, Policy, Prover
from sparring.solvers.rank import Ranker
from sparring.solvers.search import Rules
from sparring.trace import read_trace
from sparring.worlds.conjectures import OPERATORS, mutate_with, read
from sparring.worlds.keys import statement_key
from sparring.worlds.lemmas import LIBRARY, RESERVED
from sparring.worlds.theorem_splits import held_out

LEMMAS = {lemma.name: lemma.statement for lemma in LIBRARY if lemma.name not in RESERVED}
"""What is conjectured and taught with: theorems that need one of the others stay a test of premises that were never seen used."""


def prove(recipe: ProveRecipe, watch: Watch | None = None) -> Plan:
    """The recipe's game; raises SparringError for what can be known to be wrong before anything is searched. Loads torch."""
    from sparring.learners.train import TorchLearner

    theory = theory_of(recipe, watch)
    env = theory.env
    judge = ProofJudge(env)
    check_judge(judge, theory.controls())
    progress = watch.update if watch else None
    prover = prover_of(recipe, env)
    teacher = TorchLearner(recipe.start, recipe.policy, reuse_logprobs=False, progress=progress)
    learner = InTurn(*(TorchLearner(how, recipe.policy, False, progress) for how in (recipe.learner, recipe.ranking)))

    def game(number: int, seen: Sequence[Task], traces: Sequence[Lesson]) -> Game:
        creator = creator_of(recipe, seen)
        return Game(creator=creator, solver=prover, judge=judge, teach=teach_of(recipe, theory, traces), learner=learner)

    return Plan(
        seed=recipe.run.seed,
        rounds=recipe.run.rounds,
        shard_tasks=recipe.run.shard_tasks,
        start=lambda out, traces: start_policy(recipe, theory, teacher, out, traces),
        prompts={"theorems": lambda: enough(theorems(recipe.data.pool, theory, "data.pool"), recipe)},
        pool=lambda number, prompts, created: pool_of(recipe, number, prompts["theorems"]),
        game=game,
        examiner=prover,
        judge=judge,
        evals={
            name: lambda source=source, key=f"data.evals.{name}": theorems(source, theory, key, recipe.data.eval_tasks)
            for name, source in recipe.data.evals.items()
        },
        rivals={"flat": prover_of(flat_rival(recipe), env)} if recipe.search.policy != "flat" else {},
        traces=(lambda: taught(recipe, theory)) if recipe.data.traces else None,
        scratch=recipe.run.start == "scratch",
        close=theory.close,
    )


# ---------------------------------------------------------------------------------------------- search


def prover_of(recipe: ProveRecipe, env: Env) -> Prover:
    how = recipe.search
    budget = Budget(seconds=how.seconds or None, calls=how.calls or None, tokens=how.tokens or None, steps=how.steps or None)
    rules = Rules(
        budget=budget,
        algorithm=BestFirst if how.algorithm == "best_first" else lambda: Mcts(c=how.puct),
        width=how.width,
        live=how.live,
        retries=how.retries if how.policy != "moves" else 0,
        moves=how.moves if how.policy in ("mixture", "moves") else 0,
        hints=recipe.env.hints > 0,
        max_bytes=recipe.policy.max_prompt_tokens,  # no text has more tokens than bytes
        dedup=how.dedup,
    )
    ranker = Ranker(target=recipe.roles.target, flat_weight=how.flat_weight, length_norm=how.length_norm)
    return Prover(env=env, rules=rules, policy=candidates_of(how), ranker=ranker if how.policy == "mixture" else None)


def candidates_of(how: Settings) -> Policy:
    def sampling(n: int, tokens: int, beam: bool) -> Sampling:
        return Sampling(n=n, beam=beam, temperature=how.temperature, top_p=1.0, max_new_tokens=tokens)

    flat = Flat(actor=sampling(how.flat, how.max_tactic_tokens, how.beam), length_norm=how.length_norm)
    goals = Hierarchical(
        planner=sampling(how.targets, how.max_target_tokens, how.target_beam),
        actor=sampling(how.tactics, how.max_tactic_tokens, how.beam),
        length_norm=how.length_norm,
    )
    if how.policy == "joint":
        tokens = how.max_target_tokens + how.max_tactic_tokens
        return Joint(actor=sampling(how.targets, tokens, how.target_beam), length_norm=how.length_norm)
    mixture = Mixture(flat=flat, goals=goals, flat_from=how.flat_from, goals_from=how.goals_from)
    no_model = replace(mixture, flat_from=1, goals_from=1)  # and no state is expanded twice
    policies: Mapping[str, Policy] = {"flat": flat, "rir": goals, "mixture": mixture, "moves": no_model}
    return policies[how.policy]


def flat_rival(recipe: ProveRecipe) -> ProveRecipe:
    """The same search by tactics of the flat prover alone: where the mixture would ask for goals, it samples tactics anew."""
    return recipe.model_copy(update={"search": recipe.search.model_copy(update={"policy": "flat"})})


# ---------------------------------------------------------------------------------------------- theorems


def theorems(source: str, theory: Theory, key: str, most: int = 0) -> list[Task]:
    """The statements of ``world:SPLIT`` or of a file, at most so many (0: all); one that the environment refuses is an error."""
    if source.startswith("world:"):
        return theory.tasks(source.removeprefix("world:"), most)

    def read(text: str) -> Mapping[str, object] | str:
        begun = theory.env.start(make_task(text))
        return begun.reason if isinstance(begun, Rejected) else {}

    return read_tasks(source, read, key)[: most or None]


def enough(tasks: list[Task], recipe: ProveRecipe) -> list[Task]:
    needed = recipe.data.per_round
    if len(tasks) < needed:
        raise SparringError(
            f"data.pool has {len(tasks)} different statements and a round searches {needed}; add some, or lower data.per_round"
        )
    return tasks


def pool_of(recipe: ProveRecipe, number: int, found: Sequence[Task]) -> list[Task]:
    """The next statements of the pool, which is gone through again and again."""
    size = recipe.data.per_round
    start = (number - 1) * size
    return [found[place % len(found)] for place in range(start, start + size)]


def read_traces(source: str, theory: Theory, most: int = 0) -> list[Step]:
    """The steps of at most so many proofs (0: all) of ``world:SPLIT``, or all of a .parquet file that ``sparring trace`` wrote."""
    if source.startswith("world:"):
        return theory.steps(source.removeprefix("world:"), most)
    return steps_of(read_trace(Path(source).expanduser()), theory.hints)


# ---------------------------------------------------------------------------------------------- learning


def taught(recipe: ProveRecipe, theory: Theory) -> list[Lesson]:
    """The traces of the recipe, with as many hints as a search would have shown."""
    room = recipe.policy.max_prompt_tokens
    steps = read_traces(recipe.data.traces, theory, recipe.data.trace_theorems)
    return trace_lessons((replace(step, hints=fitting(step.hints, step.state, room)) for step in steps), recipe.roles)


def start_policy(recipe: ProveRecipe, theory: Theory, teacher: Learner, out: Path, traces: Sequence[Lesson]) -> None:
    """The policy of the recipe, taught the traces."""
    source = out.with_name("untaught")
    if not source.exists() and recipe.policy.path == UNTRAINED:
        commit(source, lambda folder: theory.save_blank(folder, recipe, traces))
    elif not source.exists():
        fetch_policy(recipe.policy.path, source)
    if traces:
        teacher.learn(source, traces, out, stable_hash(recipe.run.seed, "start"))
        shutil.rmtree(source)
    elif recipe.policy.path == UNTRAINED:
        raise SparringError(f"{UNTRAINED} has random weights, so it needs proofs to learn from: --data.traces=world:train")
    else:
        source.rename(out)


def teach_of(recipe: ProveRecipe, theory: Theory, traces: Sequence[Lesson]) -> Teach:
    """Expert iteration with roles, and conjecturing; a share of the first lessons again keeps what is known."""

    def teach(probe: Sequence[Bout], bouts: Sequence[Bout], seed: int) -> list[Lesson]:
        found: list[Demo] = search_lessons([*probe, *bouts], recipe.roles, recipe.teach, seed)
        if recipe.creator.kind in ("model", "both"):
            found += conjecture_lessons(probe, bouts, LEMMAS, recipe.search.calls)
        allowed = [lesson for lesson in found if not theory.reserved & set(re.findall(r"\w+", lesson.completion))]
        ranks = recipe.search.policy == "mixture"
        pairs = ranking_pairs([*probe, *bouts], recipe.roles, recipe.teach.siblings, seed) if ranks else []
        return [*with_replay(allowed, traces, recipe.teach.replay, seed), *pairs]

    return teach


def creator_of(recipe: ProveRecipe, seen: Sequence[Task]) -> Creator:
    settings = recipe.creator
    if settings.kind == "none":
        return Repeater()
    symbolic = Symbolic(mutate_with, OPERATORS, settings.tries)
    model = ModelConjecturer(settings, LEMMAS)
    writers: Mapping[str, Writer] = {"symbolic": symbolic, "model": model, "both": Alternating(symbolic, model)}
    return Conjecturer(
        settings=settings,
        budget=recipe.search.calls,
        writer=writers[settings.kind],
        read=lambda text: read(text, settings.max_size),
        key=statement_key,
        seen=seen,
        held_out=held_out(),
    )
