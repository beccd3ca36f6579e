"""``sparring prove``: one statement, searched with a trained policy, checked afresh, and printed for people and provers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparring.config import ProveRecipe
from sparring.coq.filling import Filling, describe_report, prove_file
from sparring.engines import Local
from sparring.envs.coq_printer import coq_script
from sparring.envs.embedded import KernelEnv
from sparring.envs.lean_printer import lean_script
from sparring.envs.printing import format_statement
from sparring.envs.reader import Malformed, read_statement
from sparring.envs.refute import refute
from sparring.errors import SparringError
from sparring.evaluate import last_policy
from sparring.game import Attempt, Model, Task, Verdict, make_task, stable_hash
from sparring.games.prove import proofs_of, prover_of, theorems
from sparring.judges.proof import ProofJudge
from sparring.models.folders import resolve_policy
from sparring.models.scripted import ScriptedModel
from sparring.recipe import apply_overrides, parse_recipe
from sparring.rundir import Watch, watched
from sparring.session import read_recipe
from sparring.solvers.render import render
from sparring.trace import trace, write_trace
from sparring.worlds.lemmas import LIBRARY


@dataclass(frozen=True, kw_only=True)
class Answer:
    statement: str
    """In canonical form."""
    counterexample: str | None
    attempt: Attempt | None
    """None where there is a counterexample: nothing was searched."""
    verdict: Verdict | None


def prove_statement(text: str, model: str, overrides: Sequence[str]) -> Answer:
    """Raises SparringError for a statement that is none, and for a model that is no run of the prove game and no checkpoint."""
    try:
        statement = read_statement(text)
    except Malformed as error:
        raise SparringError(
            f"{text!r} is no statement: {error}; write it as in 'forall p q, p \\/ q -> q \\/ p' or 'forall n, n + 0 = n'"
        ) from None
    policy, recipe = policy_of(model, overrides)
    env = KernelEnv(LIBRARY)
    canonical = format_statement(statement)
    if counterexample := refute(statement):
        return Answer(statement=canonical, counterexample=counterexample, attempt=None, verdict=None)
    task = make_task(canonical)
    with Local(recipe.policy).serve(policy) as served:
        prover = prover_of(recipe, env)
        attempts = prover.attempt([task], served, stable_hash(recipe.run.seed, "prove"))
    verdicts = ProofJudge(env).judge([task], attempts)
    return Answer(statement=canonical, counterexample=None, attempt=attempts[0][0], verdict=verdicts[0][0])


def describe(answer: Answer, tree: bool) -> Iterator[str]:
    """Lines for a person."""
    yield answer.statement
    if answer.counterexample is not None:
        yield f"  false: {answer.counterexample}"
        return
    assert answer.attempt is not None
    assert answer.verdict is not None
    stats = answer.attempt.stats
    if tree:
        yield ""
        yield render(answer.attempt)
    if answer.verdict.fault:
        yield f"  the search broke: {answer.verdict.fault}"
    elif answer.verdict.solved:
        yield from _proof(answer, answer.attempt)
    else:
        yield f"  no proof found ({_ending(str(stats['status']))}); that says nothing about its truth"
        yield "  a larger budget may help: --search.calls=2000 --search.width=8"
    yield f"  {stats['calls']} model calls, {stats['steps']} tactics run, {stats['nodes']} states, {stats['total_s']:.2f} s"


def _ending(status: str) -> str:
    kind, _, what = status.partition(":")
    return (
        f"the budget of {what} is spent" if kind == "budget" else "every candidate was tried" if kind == "exhausted" else status
    )


def _proof(answer: Answer, attempt: Attempt) -> Iterator[str]:
    yield "  proved, and checked by the kernel:"
    yield from (f"    {line}" for line in attempt.answer.splitlines())
    for script in (coq_script, lean_script):
        yield ""
        yield script("proved_here", answer.statement, attempt.answer, LIBRARY)
    yield ""


def fill_file(path: Path, model: str | None, theorem: str | None, write: bool, overrides: Sequence[str]) -> bool:
    """Proves what can be proved of a Coq file's holes and prints what came of each; whether all of them were. See ``coq.filling``.

    Without a model Coq's automation is searched alone: at most 200 tactics a hole, unless ``overrides`` say otherwise.
    """
    if model is None:
        alone = ["--search.policy=moves", "--search.steps=200", "--search.calls=0"]
        recipe = parse_recipe(apply_overrides({"game": "prove"}, [*alone, *overrides]), "sparring prove")
        assert isinstance(recipe, ProveRecipe)
        return _filled(path, recipe, ScriptedModel(lambda *_: ""), theorem, write)
    policy, recipe = policy_of(model, overrides)
    with Local(recipe.policy).serve(policy) as served:
        return _filled(path, recipe, served, theorem, write)


def _filled(path: Path, recipe: ProveRecipe, model: Model, theorem: str | None, write: bool) -> bool:
    how = Filling(
        solver=lambda env: prover_of(recipe, env),
        model=model,
        theorem=theorem,
        write=write,
        seed=recipe.run.seed,
        said=lambda result: print(f"line {result.hole.line}, {result.unit.title}: {result.status}", file=sys.stderr, flush=True),
    )
    report = prove_file(path, how)
    for line in describe_report(report):
        print(line)
    return all(result.status == "proved" for result in report.results)


def trace_theorems(source: str, out: Path, watch: Watch) -> int:
    """Writes the steps of all proofs of ``source`` to ``out``; the number of steps."""
    env = KernelEnv(LIBRARY)
    proofs = proofs_of(theorems(source, env, "--theorems"), source)

    def watched_proofs() -> Iterator[tuple[Task, str]]:
        for number, proof in enumerate(proofs):
            watch.update(number, len(proofs))
            yield proof

    with watched(watch, "trace", len(proofs)):
        return write_trace(out, trace(env, watched_proofs(), frozenset(env.lemmas)))


def policy_of(model: str, overrides: Sequence[str]) -> tuple[Path, ProveRecipe]:
    """The last policy of a run with its recipe, or a checkpoint with the default one; overrides applied."""
    root = Path(model).expanduser()
    is_run = (root / "run.toml").is_file()
    values = read_recipe(root).model_dump(mode="json") if is_run else {"game": "prove"}
    recipe = parse_recipe(apply_overrides(values, overrides), "sparring prove")
    if not isinstance(recipe, ProveRecipe):
        raise SparringError(
            f"{root} is a run of the {recipe.game} game; give one of the prove game (sparring play recipes/rir-tiny.toml)"
        )
    return (last_policy(root) if is_run else resolve_policy(model, "--run")), recipe
