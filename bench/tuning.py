"""How the tiny recipe's hyperparameters were chosen: what the lessons of its human round teach under several settings.

    python -m bench.tuning [--seeds 3] [--online]

Accuracy of greedy answers on world:tune (500 tasks of the hard set's distribution, in no table of results), and how far the
log-probs of chosen and rejected answers moved by the end: where both fall, likelihood is displaced to answers nobody compared.
Writes bench/results/tuning.md and .json. With ``--online`` instead one online round from theta1 on, under ``ONLINE_SETTINGS``,
with one seed, printed alone: some minutes each.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from bench.eva_tables import ONLINE, RECIPE
from bench.playing import play_arm

SETTINGS: list[dict[str, Any]] = [
    {"loss": "dpo", "lr": 1e-4, "nll": 0.0},
    {"loss": "dpo", "lr": 2e-4, "nll": 0.0},
    {"loss": "dpo", "lr": 2e-4, "nll": 0.0, "dpop": 1.0},
    {"loss": "dpo", "lr": 2e-4, "nll": 0.0, "dpop": 10.0},
    {"loss": "dpo", "lr": 1e-4, "nll": 1.0},
    {"loss": "dpo", "lr": 2e-4, "nll": 1.0},
    {"loss": "dpo", "lr": 2e-4, "nll": 3.0},
    {"loss": "dpo", "lr": 4e-4, "nll": 1.0},
    {"loss": "sft", "lr": 2e-4, "nll": 0.0},
    {"loss": "sppo", "lr": 2e-4, "nll": 0.0},
    {"loss": "simpo", "lr": 2e-4, "nll": 0.0, "beta": 2.0},
    {"loss": "simpo", "lr": 2e-4, "nll": 3.0, "beta": 2.0},
    {"loss": "orpo", "lr": 2e-4, "nll": 0.0, "beta": 0.5},
]


ONLINE_SETTINGS = [
    {"learner.loss": loss, "learner.lr": lr, "online.batch": batch} | ({"learner.nll": 1.0} if loss == "dpo" else {})
    for loss, lr, batch in (
        ("rloo", 3e-5, 50),
        ("rloo", 1e-4, 50),
        ("rloo", 3e-4, 50),
        ("dpo", 1e-4, 50),
        ("rloo", 2e-4, 20),
        ("rloo", 3e-4, 20),
        ("rloo", 1e-3, 20),
        ("dr_grpo", 2e-4, 20),
        ("dpo", 2e-4, 20),
    )
]


def try_online(folder: Path, setting: dict[str, Any]) -> tuple[float, float]:
    """Share of world:tune that theta1 solves, and the policy after an online round."""
    from sparring.records import BOUTS
    from sparring.rundir import RunDir

    name = "online-" + "-".join(f"{value}" for value in setting.values())
    begun = [f"--policy.path={folder / 'human-0/round-001/policy'}", "--run.human_rounds=0", "--run.rounds=1"]
    words = [f"--{key}={value}" for key, value in setting.items()]
    play_arm(ONLINE, folder, name, [*begun, '--data.evals={tune="world:tune"}', *words])
    rounds = [RunDir(folder / name).read(f"round-00{number}/eval-tune", BOUTS) or [] for number in (0, 1)]
    before, after = (float(np.mean([bout.verdicts[0].solved for bout in bouts])) for bouts in rounds)
    return before, after


def try_setting(root: Path, setting: dict[str, Any], seed: int) -> dict[str, float | None]:
    """Learn from the human round of the run at ``root`` and look."""
    from sparring.game import Sampling
    from sparring.learners.train import TorchLearner
    from sparring.models.hf import HFModel
    from sparring.recipe import load_recipe
    from sparring.records import LESSONS
    from sparring.rundir import RunDir
    from sparring.worlds.splits import split
    from sparring.worlds.words import grade

    recipe = load_recipe(RECIPE)
    out = root.with_name("tuned")
    shutil.rmtree(out, ignore_errors=True)
    lessons = RunDir(root).read("round-001/lessons", LESSONS) or []
    TorchLearner(recipe.learner.model_copy(update=setting), recipe.policy).learn(root / "round-000/policy", lessons, out, seed)
    tasks, how = split("tune"), Sampling(n=1, temperature=0.0, top_p=1.0, max_new_tokens=64)
    answers = HFModel.load(out, recipe.policy).sample([task.text for task in tasks], how, role="solver", seed=0)
    solved = [grade(task, group[0].text)[1] for task, group in zip(tasks, answers, strict=True)]
    rows = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()][-5:]
    moved = {
        side: [row[f"{side}_logp_change"] for row in rows if row[f"{side}_logp_change"] is not None]
        for side in ("chosen", "rejected")
    }
    return {
        "tune": float(np.mean(solved)),
        **{side: float(np.mean(values)) if values else None for side, values in moved.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/tuning"))
    parser.add_argument("--online", action="store_true")
    given = parser.parse_args()
    if given.online:
        play_arm(RECIPE, given.folder, "human-0", ["--run.seed=0", "--run.rounds=1"])
        for setting in ONLINE_SETTINGS:
            before, after = try_online(given.folder, setting)
            print(f"{setting}: {100 * before:.1f} -> {100 * after:.1f} % of world:tune", flush=True)
        return
    for seed in range(given.seeds):
        play_arm(RECIPE, given.folder, f"human-{seed}", [f"--run.seed={seed}", "--run.rounds=1"])
    found = [[try_setting(given.folder / f"human-{seed}", setting, seed) for seed in range(given.seeds)] for setting in SETTINGS]
    lines = [
        "# Hyperparameters of the tiny recipe",
        "",
        f"Made by `python -m bench.tuning`; mean (lowest, highest) of {given.seeds} seeds.",
        "",
    ]
    lines += ["| setting | world:tune % | chosen logp | rejected logp |", "|---|---|---|---|"]
    for setting, seeds in zip(SETTINGS, found, strict=True):
        scores = [100 * (row["tune"] or 0.0) for row in seeds]
        moved = [[value for row in seeds if (value := row[side]) is not None] for side in ("chosen", "rejected")]
        cells = [f"{np.mean(values):+.2f}" if values else "" for values in moved]
        named = ", ".join(f"{key} {value:g}" if key != "loss" else str(value) for key, value in setting.items())
        lines.append(f"| {named} | {np.mean(scores):.1f} ({min(scores):.1f}, {max(scores):.1f}) | {cells[0]} | {cells[1]} |")
    page = "\n".join(lines) + "\n"
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".md").write_text(page)
    given.out.with_suffix(".json").write_text(
        json.dumps([{"setting": s, "seeds": f} for s, f in zip(SETTINGS, found, strict=True)])
    )
    print(page)


if __name__ == "__main__":
    main()
