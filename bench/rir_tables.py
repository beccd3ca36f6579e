"""Provers at equal budgets on the embedded theorems: flat, RiR and their mixture, best-first and MCTS; and rounds of the game.

    python -m bench.rir_tables [--seeds 5] [--game-seeds 3] [--jobs 2] [--seconds 0.5] [--only policies,search,game]

Every seed trains one policy from scratch on the traces (as recipes/rir-tiny.toml does); all methods search with it. A search ends
with its proof, or when it has taken ``--seconds`` of CPU, the largest budget of all; comparisons at smaller budgets of tokens, calls
or seconds are cuts of the same searches (see bench/rir_report.py). The arms of the game share seed, first policy and
number of searches: without a creator the pool is larger by as many statements as the creator would conjecture.
Writes bench/results/rir_tables.md and plots; finished parts lie in runs/rir-tables, so a killed bench goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.playing import Base, play_arm

if TYPE_CHECKING:
    from sparring.game import Bout

RECIPE = Path("recipes/rir-tiny.toml")
SPLITS = ("test", "novel", "hard")
GAME_SPLITS = ("hard",)
GAME = (
    "--search.calls=48",
    "--data.per_round=200",
    "--data.eval_tasks=150",
    "--learner.lr=1e-3",
    "--learner.epochs=2",
    "--teach.replay=0.5",
)
"""A longer game than the recipe's, which has to fit into minutes: more statements, twice through the lessons, half of them new."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A search by the recipe's ``search`` section and these keys of it."""

    name: str
    changes: tuple[tuple[str, Any], ...] = ()


def flat(n: int, retries: int = 2) -> tuple[tuple[str, Any], ...]:
    """``n`` tactics by beam; sampled anew, so often, once all have been tried."""
    return (("policy", "flat"), ("flat", n), ("retries", retries))


def rir(targets: int, tactics: int) -> tuple[tuple[str, Any], ...]:
    """The paper's rule: scores are sums of log-probs."""
    return (("policy", "rir"), ("targets", targets), ("tactics", tactics), ("length_norm", 0.0), ("retries", 2))


MCTS = (("algorithm", "mcts"),)

METHODS = (
    Method("flat best-first", flat(8)),
    Method("flat MCTS", (*flat(8), *MCTS)),
    Method("RiR best-first", rir(2, 6)),
    Method("RiR MCTS", (*rir(2, 6), *MCTS)),
    Method("moves, no model", (("policy", "moves"),)),
    Method("mixture"),
)
ABLATIONS = (
    Method("mixture, MCTS", MCTS),
    Method("mixture, flat weight 0.25", (("flat_weight", 0.25),)),
    Method("mixture, flat weight 0.5", (("flat_weight", 0.5),)),
    Method("mixture, flat prover ranks alone", (("flat_weight", 1.0),)),
    Method("mixture, flat tactics at once", (("flat_from", 0),)),
    Method("mixture, no moves: generated tactics ranked", (("moves", 0), ("flat_from", 0), ("goals_from", 1))),
    Method("mixture, summed log-probs", (("length_norm", 0.0),)),
    Method("mixture, no dedup", (("dedup", False),)),
    Method("flat best-first, 16 tactics", flat(16)),
    Method("flat best-first, never again", flat(8, 0)),
    Method("RiR best-first, K=1", rir(1, 12)),
    Method("RiR best-first, K=4", rir(4, 3)),
)
ARMS = {
    "creator on": (),
    "creator off": ("--creator.kind=none", "--data.per_round={searches}"),
    "no hindsight": ("--teach.hindsight=false",),
}


# ------------------------------------------------------------------------------------------------ the parts


def policy_of(folder: Path, seed: int) -> Path:
    """The policy of a seed, trained on the traces alone."""
    from sparring.games.plans import plan_of
    from sparring.recipe import load_recipe

    out = folder / "policies" / f"seed-{seed}"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        work = folder / "policies" / f"work-{seed}" / "policy"
        work.parent.mkdir(exist_ok=True)
        plan = plan_of(load_recipe(RECIPE, [f"--run.seed={seed}", "--data.trace_theorems=0"]))
        assert plan.traces is not None
        if not work.exists():
            plan.start(work, plan.traces())
        work.rename(out)
        work.parent.rmdir()
    return out


def search(folder: Path, seed: int, method: Method, seconds: float, theorems: int) -> None:
    """All splits searched by one method with one seed's policy; a file of rows."""
    from sparring.config_prove import ProveRecipe
    from sparring.engines import Local
    from sparring.envs.embedded import KernelEnv
    from sparring.game import Bout
    from sparring.games.prove import prover_of
    from sparring.judges.proof import ProofJudge
    from sparring.recipe import load_recipe
    from sparring.rundir import commit_text
    from sparring.worlds.lemmas import LIBRARY
    from sparring.worlds.theorem_splits import split

    out = folder / "search" / f"{seed} {method.name}.jsonl"
    if out.exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(RECIPE)
    assert isinstance(recipe, ProveRecipe)
    env, budget = KernelEnv(LIBRARY), {"calls": 0, "tokens": 0, "steps": 0, "seconds": seconds}
    how = recipe.search.model_copy(update={**budget, **dict(method.changes)})
    prover = prover_of(recipe.model_copy(update={"search": how}), env)
    prover = replace(prover, rules=replace(prover.rules, clock=time.process_time))
    rows: list[Row] = []
    with Local(recipe.policy).serve(policy_of(folder, seed)) as model:
        for name in SPLITS:
            tasks = list(split(name))[:theorems]
            attempts = prover.attempt(tasks, model, seed)
            verdicts = ProofJudge(env).judge(tasks, attempts)
            bouts = [Bout(task=t, attempts=a, verdicts=v) for t, a, v in zip(tasks, attempts, verdicts, strict=True)]
            rows += [{"seed": seed, "method": method.name, "split": name, **row} for row in rows_of(bouts)]
    commit_text(out, "".join(json.dumps(row) + "\n" for row in rows))


def rows_of(bouts: Sequence[Bout]) -> Iterator[Row]:
    for bout in bouts:
        stats = bout.attempts[0].stats
        yield {
            "task": bout.task.id,
            "family": bout.task.meta.get("family"),
            "proved": bout.verdicts[0].solved,
            "seconds": stats["total_s"],
            **{name: value for name, value in stats.items() if name not in ("reason",)},
        }


def play_game(folder: Path, seed: int, rounds: int) -> None:
    """The arms of one seed, from its policy; they share the first evaluation."""
    from sparring.config_prove import ProveRecipe
    from sparring.recipe import load_recipe

    recipe = load_recipe(RECIPE, GAME)
    assert isinstance(recipe, ProveRecipe)
    searches = round(recipe.data.per_round * (1 + recipe.creator.fraction))
    place = folder / "game" / f"seed-{seed}"
    evals = "{" + ", ".join(f'{name} = "world:{name}"' for name in GAME_SPLITS) + "}"
    shared = [f"--run.seed={seed}", f"--run.rounds={rounds}", "--data.trace_theorems=0", f"--data.evals={evals}", *GAME]
    first = Base(begin(place / "start", policy_of(folder, seed), shared), ["round-000"])
    for name, overrides in ARMS.items():
        root = place / name.replace(" ", "-")
        play_arm(RECIPE, place, root.name, [*shared, *(text.format(searches=searches) for text in overrides)], first)
        first = Base(root, ["round-000", "evals", "prompts"]) if name == "creator on" else first


def begin(root: Path, policy: Path, overrides: Sequence[str]) -> Path:
    """A run that has its first policy and nothing else."""
    from sparring.recipe import dump_recipe, load_recipe
    from sparring.rundir import FORMAT, commit_text

    if not root.exists():
        partial = root.with_name(root.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(policy, partial / "round-000" / "policy")
        commit_text(partial / "run.toml", f"format = {FORMAT}\n" + dump_recipe(load_recipe(RECIPE, overrides)))
        partial.rename(root)
    return root


def game_rows(folder: Path) -> Iterator[Row]:
    from sparring.records import BOUTS, TASKS
    from sparring.rundir import RunDir, round_name

    for root in sorted((folder / "game").glob("seed-*/*")):
        if root.name == "start":
            continue
        run = RunDir(root)
        for number in run.rounds():
            name = round_name(number)
            played = [bout for phase in ("probe", "bouts") for bout in run.read(f"{name}/{phase}", BOUTS) or []]
            drafts = [task.draft for task in run.read(f"{name}/proposals", TASKS) or [] if task.draft]
            spent = sum(attempt.stats.get("tokens", 0) for bout in played for attempt in bout.attempts)
            spent += sum(len(draft.token_ids) for draft in drafts)
            for split in GAME_SPLITS:
                for row in rows_of(run.read(f"{name}/eval-{split}", BOUTS) or []):
                    own = {"seed": int(root.parent.name[5:]), "arm": root.name.replace("-", " "), "round": number, "split": split}
                    yield {**own, "task": row["task"], "proved": row["proved"], "calls": row["calls"], "tokens": spent}


# ------------------------------------------------------------------------------------------------ all of it


def run_job(job: tuple[str, Path, int, Any]) -> str:
    """One job in a process of its own."""
    kind, folder, seed, what = job
    if kind == "policies":
        policy_of(folder, seed)
    elif kind == "search":
        search(folder, seed, *what)
    else:
        play_game(folder, seed, what)
    return f"{kind} {seed} {what[0].name if kind == 'search' else ''}"


def run_all(jobs: Sequence[tuple[str, Path, int, Any]], processes: int) -> None:
    begun = time.monotonic()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(run_job, job) for job in jobs]
        for count, done in enumerate(as_completed(running), 1):
            print(f"{time.monotonic() - begun:7.0f} s  {count} of {len(jobs)}  {done.result()}", flush=True)


def main() -> None:
    from bench.rir_report import write_report

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--game-seeds", type=int, default=3)
    parser.add_argument("--ablation-seeds", type=int, default=1)
    parser.add_argument("--theorems", type=int, default=80, help="of each split")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.5, help="of CPU for a theorem")
    parser.add_argument("--only", default="policies,search,game")
    parser.add_argument("--folder", type=Path, default=Path("runs/rir-tables"))
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    folder, parts = options.folder, options.only.split(",")
    jobs: dict[str, list[tuple[str, Path, int, Any]]] = {
        "policies": [("policies", folder, seed, None) for seed in range(options.seeds)],
        "search": [
            ("search", folder, seed, (method, options.seconds, options.theorems))
            for seed in range(options.seeds)
            for method in (*METHODS, *(ABLATIONS if seed < options.ablation_seeds else ()))
        ],
        "game": [("game", folder, seed, options.rounds) for seed in range(options.game_seeds)],
    }
    for part in parts:
        run_all(jobs[part], options.jobs)
    rows = [json.loads(line) for path in sorted((folder / "search").glob("*.jsonl")) for line in path.read_text().splitlines()]
    facts = {
        "seeds": options.seeds,
        "CPU seconds a theorem": options.seconds,
        "theorems of each split": options.theorems,
    }
    write_report(rows, Path("bench/results"), facts, list(game_rows(folder)))


if __name__ == "__main__":
    main()
