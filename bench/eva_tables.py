"""The paper's comparison at equal budgets on the embedded world: arXiv 2411.00062, tables 1-4 and figure 5 in small.

    python -m bench.eva_tables [--seeds 5] [--processes 2] [--per-round 1000] [--only main,metrics,losses,continual,online]

An arm is a recipe; arms of one seed share theta0, the human round (theta1) and the probe of the round after it, whose seeds are
the same in all of them. An arm teaches at most as many pairs as the recipe says; pairs, steps and sampled tokens are reported,
for some arms cannot fill that budget: fresh human prompts give fewer pairs the better the solver is. Accuracy is that of
greedy answers on held-out tasks; differences are paired by task and seed, intervals are two-level bootstraps (seeds, then
tasks). Writes bench/results/eva_tables.md and .json; finished runs are kept, so a killed bench goes on where it was.

``--only online`` compares the online version (recipes/eva-online.toml, from theta1 on) with the offline one at equal samples:
python -m bench.eva_tables --only online --folder runs/eva-online-tables --out bench/results/eva_online
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bench.playing import Base, play_arm
from sparring.evals.intervals import Interval, two_level_bootstrap

RECIPE = Path("recipes/eva-tiny.toml")
ONLINE = Path("recipes/eva-online.toml")
# The learning rate and the NLL term are the recipe's, where the loss has room for it.
LOSSES = {
    "dpo": [],
    "sppo": ["--learner.loss=sppo"],
    "simpo": ["--learner.loss=simpo", "--learner.beta=2.0"],
    "orpo": ["--learner.loss=orpo", "--learner.beta=0.5", "--learner.nll=0.0"],
}


FRESH = ("--creator.kind=fresh",)


@dataclass(frozen=True)
class Arm:
    """``base`` is the run whose first round it goes on from; ``rounds`` counts the human round."""

    name: str
    base: str = "dpo"
    rounds: int = 2
    overrides: tuple[str, ...] = field(default=())
    online: bool = False
    """One round of the online recipe from the base's policy on, in place of a round of the tiny one."""


def arms_of(tables: Iterable[str]) -> list[Arm]:
    tables = set(tables)
    none = ("--creator.kind=none", "--teach.evolved=1.0", "--learner.epochs=4")
    arms = [Arm("eva")]
    if "main" in tables:
        arms += [
            Arm("fresh human", overrides=FRESH),
            # 2,500 prompts give as many pairs as the recipe teaches, for 0.7 of the tokens that eva samples.
            Arm("fresh human, 2500 prompts", overrides=(*FRESH, "--data.per_round=2500")),
            Arm("uniform evolve", overrides=("--creator.metric=uniform",)),
            Arm("symbolic creator", overrides=("--creator.kind=symbolic",)),
            Arm("eva greedy", overrides=("--creator.draw=greedy",)),
            Arm("no evolve, greedy", overrides=(*none, "--creator.draw=greedy")),
            Arm("no evolve, sample", overrides=none),
        ]
    if "metrics" in tables:
        arms += [
            Arm(f"metric {m}", overrides=(f"--creator.metric={m}",))
            for m in ("avg", "dts", "var", "mean", "inv_mean", "inv_min", "pass")
        ]
    if "losses" in tables:
        for loss in LOSSES:
            if loss != "dpo":
                arms += [
                    Arm(f"{loss} eva", base=loss),
                    Arm(f"{loss} fresh human", base=loss, overrides=FRESH),
                ]
    if "online" in tables:
        dpo = ("--learner.loss=dpo", "--learner.nll=1.0", "--learner.lr=1e-4")
        # 1,800 prompts have as many answers as 1,000 and what is created from them.
        many = (*FRESH, "--data.per_round=1800")
        arms += [
            Arm("fresh human, 1800 prompts", overrides=many),
            Arm("online eva, RLOO", online=True),
            Arm("online fresh human, 1800 prompts, RLOO", online=True, overrides=many),
            Arm("online eva, DPO", online=True, overrides=dpo),
        ]
    if "continual" in tables:
        arms += [
            Arm("eva, 3 rounds", rounds=4),
            Arm("fresh human, 3 rounds", rounds=4, overrides=FRESH),
            Arm("fresh human, 2000 prompts, 3 rounds", rounds=4, overrides=(*FRESH, "--data.per_round=2000")),
        ]
    return arms


# -- what came out ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Result:
    """One arm under one seed, after one of its rounds."""

    arm: str
    seed: int
    round: int
    solved: dict[str, list[bool]]
    """Per evaluation set, one entry per task, in the order of the set."""
    length: float
    depth: float | None
    pairs: int
    steps: int
    twin: str | None = None
    """The arm that drew the same prompts and so is the same run."""
    tokens: int
    """Sampled tokens of the arm's rounds after theta1: probe, drafts and answers."""


def read_result(root: Path, arm: str, seed: int, number: int, first: int) -> Result:
    from sparring.config import Evaluation
    from sparring.metrics import round_metrics
    from sparring.records import BOUTS, TASKS
    from sparring.rundir import RunDir, round_name

    run = RunDir(root)
    row = round_metrics(run, number, Evaluation())
    evals = {name: run.read(f"{round_name(number)}/eval-{name}", BOUTS) or [] for name in ("easy", "hard")}
    tokens = 0
    for earlier in range(first, number + 1):
        for phase in ("probe", "bouts"):
            bouts = run.read_round(earlier, phase, BOUTS) or []
            tokens += sum(len(s.token_ids) for bout in bouts for a in bout.attempts for s in a.samples)
        tokens += sum(len(t.draft.token_ids) for t in run.read_round(earlier, "proposals", TASKS) or [] if t.draft)
    played = row.get("bouts") or row.get("probe") or {}
    return Result(
        arm=arm,
        seed=seed,
        round=number,
        solved={name: [bout.verdicts[0].solved for bout in bouts] for name, bouts in evals.items()},
        length=row["evals"]["hard"]["length"],
        depth=played.get("complexity"),
        pairs=row.get("lessons", {}).get("lessons", 0),
        steps=row.get("learning", {}).get("steps", 0),
        tokens=tokens,
    )


def same_draw(place: Path, arm: Arm, arms: Sequence[Arm], seed: int) -> str | None:
    """The finished arm that differs from this one in its metric or draw alone and drew the same prompts: all else follows.

    That happens where fewer prompts are informative than are drawn.
    """
    from sparring.config import AlignRecipe
    from sparring.creators.evolve import draw_tasks
    from sparring.game import stable_hash
    from sparring.recipe import load_recipe
    from sparring.records import BOUTS
    from sparring.rundir import RunDir

    choice = ("--creator.metric=", "--creator.draw=")
    rest = [text for text in arm.overrides if not text.startswith(choice)]
    for other in arms[: list(arms).index(arm)]:
        if arm.rounds != 2 or rest != [text for text in other.overrides if not text.startswith(choice)] or FRESH[0] in rest:
            continue
        root = place / other.name.replace(" ", "-").replace(",", "")
        probe = RunDir(root).read("round-002/probe", BOUTS) if (root / "round-002/eval-hard").exists() else None
        if probe:
            recipes = [load_recipe(RECIPE, one.overrides) for one in (arm, other)]
            creators = [recipe.creator for recipe in recipes if isinstance(recipe, AlignRecipe)]
            drawn = [draw_tasks(probe, creator, stable_hash(seed, 2, "propose")) for creator in creators]
            if [task.id for task in drawn[0]] == [task.id for task in drawn[1]]:
                return root.name
    return None


def play_seed_part(folder: Path, seed: int, base: str, arms: Sequence[Arm], common: Sequence[str]) -> list[Result]:
    """The base run of one loss under one seed, then every arm that goes on from it."""
    place, own = folder / f"seed-{seed}", [*common, f"--run.seed={seed}", *LOSSES[base]]
    play_arm(RECIPE, place, f"base-{base}", [*own, "--run.rounds=1"])
    root = place / f"base-{base}"
    results = [read_result(root, "theta0", seed, 0, 1)] if base == "dpo" else []
    results.append(read_result(root, f"{base} human (theta1)", seed, 1, 1))
    first_round = ["round-000", "round-001", "evals", "prompts/human.parquet"]
    probed: Path | None = None
    for arm in arms:
        name = arm.name.replace(" ", "-").replace(",", "")
        twin = None if arm.online else same_draw(place, arm, arms, seed)
        if twin is not None:
            results.append(replace(read_result(place / twin, arm.name, seed, 2, 2), twin=twin))
            continue
        if arm.online:
            begun = [f"--policy.path={root / 'round-001/policy'}", "--run.human_rounds=0", "--run.rounds=1"]
            play_arm(ONLINE, place, name, [*common, f"--run.seed={seed}", *begun, *arm.overrides])
            results.append(replace(read_result(place / name, arm.name, seed, 1, 1), round=2))
            continue
        same_probe = probed is not None and not any("creator.kind=fresh" in text for text in arm.overrides)
        shared = [*first_round, *(["round-002/pool.parquet", "round-002/probe"] if same_probe else [])]
        begin = Base(probed if same_probe and probed else root, shared)
        play_arm(RECIPE, place, name, [*own, f"--run.rounds={arm.rounds}", *arm.overrides], begin)
        if probed is None and not any("creator.kind=fresh" in text for text in arm.overrides):
            probed = place / name
        results += [read_result(place / name, arm.name, seed, number, 2) for number in range(2, arm.rounds + 1)]
    return results


def _cell(found: Interval, sign: bool = False) -> str:
    mean, low, high = (100 * value for value in (found.mean, found.low, found.high))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]" if sign else f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def table(results: Sequence[Result], rows: Sequence[tuple[str, int]], reference: tuple[str, int]) -> list[str]:
    """One line per (arm, round): accuracies, the paired difference to the reference on hard, and what it cost."""
    found = {(r.arm, r.round, r.seed): r for r in results}
    seeds = sorted({r.seed for r in results})
    lines = [
        f"| arm | seeds | easy % | hard % | hard, minus {reference[0]} | length | depth | lessons | steps | k tokens sampled |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm, number in rows:
        own = [found[arm, number, seed] for seed in seeds if (arm, number, seed) in found]
        if not own:
            continue
        other = [found[(*reference, r.seed)] for r in own]
        gaps = [np.subtract(a.solved["hard"], b.solved["hard"], dtype=float).tolist() for a, b in zip(own, other, strict=True)]
        easy, hard = (two_level_bootstrap([r.solved[name] for r in own]) for name in ("easy", "hard"))
        difference = "" if (arm, number) == reference else _cell(two_level_bootstrap(gaps), sign=True)
        means = [float(np.mean([getattr(r, key) or 0 for r in own])) for key in ("length", "depth", "pairs", "steps", "tokens")]
        twins = [r.twin for r in own if r.twin is not None]
        label = arm if number <= 2 else f"{arm} (after round {number - 1})"
        label += f" (the very draw of {twins[0]} under {len(twins)} seeds)" if twins else ""
        lines.append(
            f"| {label} | {len(own)} | {_cell(easy)} | {_cell(hard)} | {difference} | {means[0]:.1f} | {means[1]:.2f} | "
            f"{means[2]:.0f} | {means[3]:.0f} | {means[4] / 1000:.0f} |"
        )
    return lines


def report(results: Sequence[Result], settings: dict[str, Any]) -> str:
    """The Markdown page."""
    arms = list(dict.fromkeys((r.arm, r.round) for r in results))
    chosen = {
        "Main comparison": [
            a for a in arms if not a[0].startswith(("metric", "sppo", "simpo", "orpo")) and a[1] <= 2 and "rounds" not in a[0]
        ],
        "Metric": [("eva", 2), ("uniform evolve", 2), *(a for a in arms if a[0].startswith("metric"))],
        "Losses": [
            ("dpo human (theta1)", 1),
            ("eva", 2),
            ("fresh human", 2),
            *(a for a in arms if a[0].split()[0] in ("sppo", "simpo", "orpo")),
        ],
        "Continual": [("dpo human (theta1)", 1), *(a for a in arms if "3 rounds" in a[0])],
    }
    lines = ["# eva against its comparators on the embedded world", "", "Made by `python -m bench.eva_tables`.", ""]
    lines += [f"{key}: {value}. " for key, value in settings.items()]
    lines += [
        "",
        "Accuracy of greedy answers on 500 held-out tasks each, [95 % two-level bootstrap interval over seeds and tasks]; the "
        "difference is paired by task and seed. *length*: tokens per greedy answer on hard; *depth*: of the prompts trained on; "
        "*k tokens sampled*: by the rounds after theta1, probe, drafts and answers together.",
    ]
    references = {("dpo human (theta1)", 1), ("eva", 2), ("uniform evolve", 2), ("fresh human", 2)}
    for title, rows in chosen.items():
        if any(row in arms for row in rows if title == "Main comparison" or row not in references):
            lines += ["", f"## {title}", "", *table(results, rows, ("eva", 2))]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--per-round", type=int, default=1000)
    parser.add_argument("--only", default="main,metrics,losses,continual")
    parser.add_argument("--folder", type=Path, default=Path("runs/eva-tables"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/eva_tables"))
    parser.add_argument("overrides", nargs="*", help="passed to every arm, as in -- --learner.lr=1e-4")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    arms = arms_of(given.only.split(","))
    common = [f"--data.per_round={given.per_round}", *given.overrides]
    bases = list(dict.fromkeys(arm.base for arm in arms))
    jobs = [(seed, base) for seed in range(given.seeds) for base in bases]
    begun, results = time.monotonic(), list[Result]()
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        parts = {
            pool.submit(play_seed_part, given.folder, seed, base, [arm for arm in arms if arm.base == base], common): (seed, base)
            for seed, base in jobs
        }
        for done in as_completed(parts):
            results += done.result()
            print(f"{time.monotonic() - begun:7.0f} s  seed {parts[done][0]}, {parts[done][1]}", flush=True)
    results.sort(key=lambda r: (r.seed, r.arm, r.round))
    order = {name: i for i, name in enumerate(["theta0", "dpo human (theta1)", *(arm.name for arm in arms)])}
    results.sort(key=lambda r: order.get(r.arm, 99))
    settings = {
        "Seeds": given.seeds,
        "Prompts per round": given.per_round,
        "Changed from the recipe": " ".join(given.overrides) or "nothing",
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".json").write_text(json.dumps({"settings": settings, "results": [asdict(r) for r in results]}))
    page = report(results, settings)
    given.out.with_suffix(".md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
