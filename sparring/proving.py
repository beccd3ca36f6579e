"""``sparring prove``: one statement, searched with a trained policy, checked afresh, and printed for people and provers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sparring.config_prove import ProveRecipe
from sparring.coq.filling import Filling, describe_report, prove_file
from sparring.engines import Local
from sparring.errors import SparringError
from sparring.evaluate import last_policy
from sparring.game import Attempt, Model, Task, Verdict, make_task, stable_hash
from sparring.games.prove import prover_of, theorems
from sparring.games.theories import KernelTheory, Theory, coq_options, proofs_of, theory_of
from sparring.judges.proof import ProofJudge
from sparring.models.folders import resolve_policy
from sparring.models.scripted import ScriptedModel
from sparring.recipe import apply_overrides, parse_recipe
from sparring.rundir import Watch, watched
from sparring.session import read_recipe
from sparring.solvers.render import render
from sparring.trace import trace, write_trace


@dataclass(frozen=True, kw_only=True)
class Answer:
    statement: str
    """In canonical form."""
    counterexample: str | None
    attempt: Attempt | None
    """None where there is a counterexample: nothing was searched."""
    verdict: Verdict | None
    scripts: tuple[str, ...] = ()
    """The proof as files of provers."""


def prove_statement(text: str, model: str, overrides: Sequence[str]) -> Answer:
    """Raises SparringError for a statement that is none, and for a model that is no run of the prove game and no checkpoint."""
    policy, recipe = policy_of(model, overrides)
    with closing(theory_of(recipe)) as theory:
        return _answer(text, policy, recipe, theory)


def _answer(text: str, policy: Path, recipe: ProveRecipe, theory: Theory) -> Answer:
    canonical = theory.read(text)
    if counterexample := theory.refute(canonical):
        return Answer(statement=canonical, counterexample=counterexample, attempt=None, verdict=None)
    task = make_task(canonical)
    with Local(recipe.policy).serve(policy) as served:
        prover = prover_of(recipe, theory.env)
        attempts = prover.attempt([task], served, stable_hash(recipe.run.seed, "prove"))
    verdicts = ProofJudge(theory.env).judge([task], attempts)
    scripts = tuple(theory.scripts(canonical, attempts[0][0].answer)) if verdicts[0][0].solved else ()
    return Answer(statement=canonical, counterexample=None, attempt=attempts[0][0], verdict=verdicts[0][0], scripts=scripts)


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
    for script in answer.scripts:
        yield ""
        yield script
    yield ""


def fill_file(
    path: Path, model: str | None, theorem: str | None, write: bool, overrides: Sequence[str], allow_unsandboxed: bool = False
) -> bool:
    """Proves what can be proved of a Coq file's holes and prints what came of each; whether all of them were. See ``coq.filling``.

    ``allow_unsandboxed``: as in ``sandbox.wrap``; the recipe may say so, too. Without a model Coq's automation is searched alone: at most
    200 tactics a hole, unless ``overrides`` say otherwise.
    """
    if model is None:
        alone = ["--search.policy=moves", "--search.steps=200", "--search.calls=0"]
        recipe = parse_recipe(apply_overrides({"game": "prove"}, [*alone, *overrides]), "sparring prove")
        assert isinstance(recipe, ProveRecipe)
        return _filled(path, recipe, ScriptedModel(lambda *_: ""), theorem, write, allow_unsandboxed)
    policy, recipe = policy_of(model, overrides)
    with Local(recipe.policy).serve(policy) as served:
        return _filled(path, recipe, served, theorem, write, allow_unsandboxed)


def _filled(path: Path, recipe: ProveRecipe, model: Model, theorem: str | None, write: bool, allow_unsandboxed: bool) -> bool:
    allowed = allow_unsandboxed or recipe.env.allow_unsandboxed
    how = Filling(
        solver=lambda env: prover_of(recipe, env),
        model=model,
        options=coq_options(recipe.env.model_copy(update={"allow_unsandboxed": allowed})),
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
    theory = KernelTheory()
    proofs = proofs_of(theorems(source, theory, "--theorems"), source)

    def watched_proofs() -> Iterator[tuple[Task, str]]:
        for number, proof in enumerate(proofs):
            watch.update(number, len(proofs))
            yield proof

    with watched(watch, "trace", len(proofs)):
        return write_trace(out, trace(theory.env, watched_proofs(), frozenset(theory.env.lemmas)))


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
