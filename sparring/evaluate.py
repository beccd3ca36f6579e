"""``sparring eval``: score a run's last policy, or any checkpoint folder, on tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sparring.config import AlignRecipe, Evaluation
from sparring.data import load_function, read_tasks
from sparring.engines import Local
from sparring.errors import SparringError
from sparring.evals.intervals import bootstrap
from sparring.game import Bout, Sampling, stable_hash
from sparring.judges.program import ProgramJudge
from sparring.metrics import bout_metrics
from sparring.models.folders import resolve_policy
from sparring.recipe import apply_overrides, parse_recipe
from sparring.records import BOUTS, write_parquet
from sparring.rundir import RunDir, Watch, commit, round_name, watched
from sparring.session import read_recipe
from sparring.solvers.respond import Responder


def last_policy(root: Path) -> Path:
    found = [path for number in RunDir(root).rounds() if (path := root / round_name(number) / "policy").is_dir()]
    if not found:
        raise SparringError(f"{root} has no finished policy yet; play it further with: sparring resume {root}")
    return found[-1]


def evaluate_policy(
    model: str, tasks: str, n: int, overrides: Sequence[str], watch: Watch
) -> tuple[Path, AlignRecipe, list[Bout]]:
    """The policy that was meant, how it was judged, and its bouts: by a run's own recipe, or the default one."""
    root = Path(model).expanduser()
    is_run = (root / "run.toml").is_file()
    recipe = read_recipe(root) if is_run else AlignRecipe()
    recipe = parse_recipe(apply_overrides(recipe.model_dump(mode="json"), overrides), "sparring eval")
    if not isinstance(recipe, AlignRecipe):
        raise SparringError(f"{root} is a run of the {recipe.game} game; `sparring eval` scores answers to prompts")
    policy = last_policy(root) if is_run else resolve_policy(model, "MODEL")
    read = load_function(recipe.data.read, "data.read") if recipe.data.read else None
    asked = read_tasks(tasks, read, "--tasks")
    judge = ProgramJudge(load_function(recipe.judge.grade, "judge.grade"))
    responder = Responder(
        Sampling(
            n=n,
            temperature=0.0 if n == 1 else recipe.solver.temperature,
            top_p=1.0 if n == 1 else recipe.solver.top_p,
            max_new_tokens=recipe.evaluation.max_new_tokens,
        )
    )
    bouts: list[Bout] = []
    with watched(watch, "eval", len(asked)), Local(recipe.policy).serve(policy) as served:
        for start in range(0, len(asked), recipe.run.shard_tasks):
            part = asked[start : start + recipe.run.shard_tasks]
            attempts = responder.attempt(part, served, stable_hash(recipe.run.seed, "eval"))
            verdicts = judge.judge(part, attempts)
            bouts += [Bout(task=t, attempts=a, verdicts=v) for t, a, v in zip(part, attempts, verdicts, strict=True)]
            watch.update(len(bouts), len(asked))
    return policy, recipe, bouts


def write_bouts(path: Path, bouts: Sequence[Bout]) -> None:
    commit(path, lambda partial: write_parquet(partial, bouts, BOUTS))


def report(bouts: Sequence[Bout], n: int, how: Evaluation) -> Iterator[str]:
    """Lines that say how ``n`` answers per task did. Faults are counted and are no wrong answers."""
    metrics = bout_metrics(bouts)
    judged = [[v.solved for v in bout.verdicts if v.fault is None] for bout in bouts]
    judged = [group for group in judged if group]
    unjudged = len(bouts) - len(judged)
    yield f"  tasks     {len(bouts):5}" + (f"     {unjudged} of them without a judged answer" if unjudged else "")
    yield "  accuracy  " + _interval([sum(group) / len(group) for group in judged], how)
    if n > 1:
        yield f"  {f'pass@{n}':<10}" + _interval([float(any(group)) for group in judged], how)
    score, length = metrics["score"], metrics["length"]
    yield f"  score     {'none' if score is None else f'{score:5.3f}'}     faults {metrics['faults']} of {metrics['answers']} answers"
    yield f"  length    {'none' if length is None else f'{length:5.1f}'}     tokens"


def _interval(values: Sequence[float], how: Evaluation) -> str:
    if not values:
        return "nothing judged"
    found = bootstrap(values, how.level, how.bootstrap)
    return f"{100 * found.mean:5.1f} %   [{100 * found.low:.1f}, {100 * found.high:.1f}] ({100 * how.level:g} % interval)"
