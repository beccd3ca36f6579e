"""Time to a fixed held-out score on the embedded world: sparring against TRL's online trainers and against a script pipeline.

    python -m bench.align_vs_trl [--seeds 5] [--quick] [--only ARM,ARM] [--sweep] [--folder runs/align-vs-trl]

Every arm begins with the same weights (builtin:words-tiny), samples answers to the same prompts (world:human, then world:fresh; but
for those that sparring's creator makes itself) with the same temperature, top-p and length, and is rewarded by the same program.
The clock runs while an arm samples, scores and learns; it stands still while it imports, while a checkpoint is written for the
examination, and during the examination, which is the same for all: greedy answers to world:hard and world:easy. An arm's time to a
score is that of its first checkpoint that has it, with nothing interpolated; an offline arm has a checkpoint per round, TRL's
trainers have one every few steps, which is to their good. One that never has the score counts with all its time, and its ratio
is marked as a lower bound.

Arms: ``sparring`` (recipes/eva-tiny.toml), ``sparring human`` (the same without a creator: the pipeline's very method), ``sparring
online`` (recipes/eva-online.toml); ``pipeline`` (generate, score, a fresh DPOTrainer per round, in one process, so that it does
not pay for imports); ``OnlineDPOTrainer``, ``RLOOTrainer``, ``GRPOTrainer`` of TRL. ``--sweep`` plays TRL's trainers under every
setting of ``SWEEP`` with a seed that is not used otherwise and examines them on world:tune; what has the largest area under the
curve of score over CPU time, for as long as the shortest of that trainer's runs takes, is what the bench plays (``sweep.json`` in
the folder; without one, the first). Each arm runs in a process of its own, one at a time and with one thread. Finished ones are
kept, so a killed bench goes on where it was. Writes bench/results/align_vs_trl.md and .json; with ``--quick`` a small one, in the
folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.align_report import report

OURS = {
    "sparring": (Path("recipes/eva-tiny.toml"), ()),
    "sparring human": (Path("recipes/eva-tiny.toml"), ("--creator.kind=fresh",)),
    "sparring online": (Path("recipes/eva-online.toml"), ()),
}
TRAINERS = ("OnlineDPOTrainer", "RLOOTrainer", "GRPOTrainer")
ARMS = (*OURS, "pipeline", *TRAINERS)

SWEEP: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "OnlineDPOTrainer": [
        {"learning_rate": rate, "beta": beta, "per_device_train_batch_size": rows}
        for rate in (1e-4, 3e-4)
        for beta in (0.1, 0.03)
        for rows in (16, 48)
    ],
    "RLOOTrainer": [
        {"learning_rate": rate, "beta": 0.0, "per_device_train_batch_size": rows, "normalize_advantages": normal}
        for rate in (1e-4, 3e-4)
        for rows in (48, 96)
        for normal in (False, True)
    ],
    "GRPOTrainer": [
        {"learning_rate": rate, "beta": 0.0, "per_device_train_batch_size": rows, "loss_type": loss}
        for rate in (1e-4, 3e-4)
        for rows in (48, 96)
        for loss in ("dapo", "dr_grpo")
    ],
}
"""``per_device_train_batch_size`` counts prompts for OnlineDPOTrainer and answers, six to a prompt, for the others. No KL term: it
costs a pass of a second model, and the other arms have none but DPO's."""
SWEEP_SEED = 1000


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much every arm may do: ``rounds`` x ``prompts`` x ``n`` answers at most to prompts as they are."""

    rounds: int = 4
    prompts: int = 1000
    n: int = 6
    turn: int = 50
    """Prompts of a mini-batch of the online arm."""
    tasks: int = 500
    """Held-out tasks of each set."""
    checkpoints: int = 24
    """Of one run of a TRL trainer."""
    targets: tuple[float, ...] = (0.40, 0.47, 0.52)
    """Scores on world:hard: theta0 has 0.14, a round of DPO on human prompts leads to 0.47."""

    @property
    def answers(self) -> int:
        return self.rounds * self.prompts * self.n


QUICK = Size(rounds=2, prompts=60, turn=20, tasks=60, checkpoints=2, targets=(0.25, 0.35))


def start_of(job: Job) -> Path:
    """The folder of the first weights."""
    from sparring.models.folders import fetch_policy

    start = job.place / "start"
    if not start.exists():
        fetch_policy("builtin:words-tiny", start)
    return start


class Clock:
    """Seconds of work: wall and CPU, less the pauses."""

    def __init__(self) -> None:
        self._begun = self._now()
        self._paused = (0.0, 0.0)

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        wall, cpu = (now - begun - paused for now, begun, paused in zip(self._now(), self._begun, self._paused, strict=True))
        return {"wall_s": wall, "cpu_s": cpu}

    @contextmanager
    def pause(self) -> Generator[None]:
        begun = self._now()
        yield
        spent = [now - then for now, then in zip(self._now(), begun, strict=True)]
        self._paused = (self._paused[0] + spent[0], self._paused[1] + spent[1])


# -- the arms -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Job:
    arm: str
    seed: int
    size: Size
    place: Path
    setting: Mapping[str, Any]
    exam: str = "hard"


def play_ours(job: Job) -> list[dict[str, Any]]:
    """A point per round: the time of all its phases but the examinations."""
    from bench.playing import play_arm

    Examiner(replace(job.size, tasks=1), ("easy",)).examine(start_of(job))  # what is imported late is imported now
    recipe, changes = OURS[job.arm]
    evals = {name: write_tasks(job.place / f"{name}.jsonl", name, job.size.tasks) for name in ("hard", "easy")}
    common = [
        f"--run.seed={job.seed}",
        f"--run.rounds={job.size.rounds}",
        f"--data.per_round={job.size.prompts}",
        f"--data.evals.easy={evals['easy']}",
        f"--data.evals.hard={evals['hard']}",
        f"--solver.n={job.size.n}",
    ]
    turns = [f"--online.batch={job.size.turn}"] if job.arm == "sparring online" else []
    play_arm(recipe, job.place, "run", [*common, *turns, *changes])
    return points_of_run(job.place / "run")


def points_of_run(root: Path) -> list[dict[str, Any]]:
    from sparring.config import Evaluation
    from sparring.metrics import round_metrics
    from sparring.rundir import RunDir

    spent: dict[int, list[tuple[float, float]]] = {}
    for line in (root / "timings.jsonl").read_text().splitlines():
        row = json.loads(line)
        number, _, phase = row["phase"].partition("/")
        # A phase of a turn is within its round's policy phase; prompts and evals were made once, outside the rounds.
        if number.startswith("round-") and not phase.startswith(("eval-", "turn-")):
            spent.setdefault(int(number.removeprefix("round-")), []).append((row["seconds"], row["cpu_seconds"]))
    points: list[dict[str, Any]] = []
    wall = cpu = answers = updates = 0.0
    run = RunDir(root)
    for number in run.rounds():
        row = round_metrics(run, number, Evaluation())
        wall += sum(seconds for seconds, _ in spent.get(number, []))
        cpu += sum(seconds for _, seconds in spent.get(number, []))
        answers += sum(row.get(phase, {}).get("answers", 0) for phase in ("probe", "bouts"))
        updates += row.get("learning", {}).get("steps", 0)
        scores = {name: found["accuracy"] for name, found in row["evals"].items()}
        points.append({"wall_s": wall, "cpu_s": cpu, "answers": answers, "updates": updates, **scores})
    return points


def write_tasks(path: Path, name: str, count: int) -> Path:
    """The first ``count`` tasks of a split of the world as a file."""
    path.write_text("".join(json.dumps({"text": task.text, **task.meta}) + "\n" for task in tasks_of(name)[:count]))
    return path


def tasks_of(name: str) -> list[Any]:
    from sparring.data import read_tasks

    return read_tasks(f"world:{name}", None, "bench")


def prompts_of(size: Size) -> list[Any]:
    """The prompts of all rounds, as the arm without a creator draws them."""
    return tasks_of("human")[: size.prompts] + tasks_of("fresh")[: size.prompts * (size.rounds - 1)]


class Examiner:
    """Greedy answers to held-out tasks, by sparring's sampler whoever trained the policy."""

    def __init__(self, size: Size, names: Sequence[str]) -> None:
        self._tasks = {name: tasks_of(name)[: size.tasks] for name in names}

    def examine(self, folder: Path) -> dict[str, float]:
        from sparring.config import Policy
        from sparring.game import Sampling
        from sparring.judges.program import ProgramJudge
        from sparring.models.hf import HFModel
        from sparring.solvers.respond import Responder
        from sparring.worlds.words import grade

        model, solver = HFModel.load(folder, Policy()), Responder(Sampling(n=1, temperature=0.0, top_p=1.0))
        found: dict[str, float] = {}
        for name, tasks in self._tasks.items():
            verdicts = ProgramJudge(grade).judge(tasks, solver.attempt(tasks, model, 0))
            found[name] = statistics.fmean(group[0].solved for group in verdicts)
        return found


def play_theirs(job: Job) -> list[dict[str, Any]]:
    """A point at the beginning and at every checkpoint."""
    from bench import align_theirs

    start = start_of(job)
    examiner = Examiner(job.size, ("hard", "easy") if job.exam == "hard" else (job.exam,))
    points = [{"wall_s": 0.0, "cpu_s": 0.0, "answers": 0, "updates": 0, **examiner.examine(start)}]
    align_theirs.import_all()
    arm = align_theirs.pipeline if job.arm == "pipeline" else align_theirs.train
    clock = Clock()

    def mark(folder: Path, answers: int, updates: int) -> None:
        now = clock.read()
        with clock.pause():
            points.append({**now, "answers": answers, "updates": updates, **examiner.examine(folder)})

    arm(job, start, clock, mark)
    return points


def run_job(job: Job) -> None:
    import torch

    torch.set_num_threads(1)
    points = play_ours(job) if job.arm in OURS else play_theirs(job)
    done = job.place / "points.json"
    done.with_suffix(".tmp").write_text(json.dumps({"setting": dict(job.setting), "points": points}))
    done.with_suffix(".tmp").rename(done)


# -- running ------------------------------------------------------------------------------------------------------------


QUIET = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}


def launch(job: Job, quick: bool) -> Mapping[str, Any]:
    """What the job's process wrote, now or in an earlier bench."""
    done = job.place / "points.json"
    if done.exists() and (found := json.loads(done.read_text()))["setting"] == job.setting:
        return found
    job.place.mkdir(parents=True, exist_ok=True)
    told = {"arm": job.arm, "seed": job.seed, "place": str(job.place), "setting": dict(job.setting), "exam": job.exam}
    command = [sys.executable, "-m", "bench.align_vs_trl", "--job", json.dumps(told), *(["--quick"] if quick else [])]
    print(f"{job.arm}, seed {job.seed}", flush=True)
    subprocess.run(command, check=True, env=os.environ | QUIET)
    return json.loads(done.read_text())


def best_settings(folder: Path, size: Size, quick: bool, sweep: bool) -> dict[str, Mapping[str, Any]]:
    """By arm: the setting with the largest area under its curve of world:tune over CPU time; the first one where nobody asked."""
    path = folder / "sweep.json"
    if path.exists() and not sweep:
        return json.loads(path.read_text())
    if not sweep:
        return {arm: settings[0] for arm, settings in SWEEP.items()}
    best: dict[str, Mapping[str, Any]] = {}
    for arm, settings in SWEEP.items():
        found: list[Mapping[str, Any]] = []
        for number, setting in enumerate(settings[:2] if quick else settings):
            place = folder / "sweep" / f"{arm}-{number}"
            found.append(launch(Job(arm=arm, seed=SWEEP_SEED, size=size, place=place, setting=setting, exam="tune"), quick))
        until = min(run["points"][-1]["cpu_s"] for run in found)
        best[arm] = max(found, key=lambda run: area(run["points"], until))["setting"]
    path.write_text(json.dumps(best))
    return best


def area(points: Sequence[Mapping[str, Any]], until: float) -> float:
    """Of the last checkpoint's score on world:tune over CPU seconds: who is sooner as high is better, and who is higher as soon."""
    ends = [min(point["cpu_s"], until) for point in points[1:]] + [until]
    return sum(point["tune"] * (end - min(point["cpu_s"], until)) for point, end in zip(points, ends, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--only", default=",".join(ARMS))
    parser.add_argument("--reference", choices=ARMS, default="sparring", help="the arm that ratios are to")
    parser.add_argument("--folder", type=Path, default=Path("runs/align-vs-trl"))
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = QUICK if given.quick else Size()
    if given.job:
        told = json.loads(given.job)
        return run_job(Job(**{**told, "place": Path(told["place"]), "size": size}))
    folder = given.folder.with_name(given.folder.name + "-quick") if given.quick else given.folder
    folder.mkdir(parents=True, exist_ok=True)
    settings = best_settings(folder, size, given.quick, given.sweep)
    results: dict[str, dict[int, Mapping[str, Any]]] = {}
    for seed in range(1 if given.quick else given.seeds):
        for arm in given.only.split(","):
            place = folder / f"seed-{seed}" / arm.replace(" ", "-")
            job = Job(arm=arm, seed=seed, size=size, place=place, setting=settings.get(arm, {}))
            results.setdefault(arm, {})[seed] = launch(job, given.quick)
    chosen = "the best of each sweep" if (folder / "sweep.json").exists() else "the first of each sweep, which was not made"
    page = report(results, size.targets, given.reference, chosen)
    out = (folder if given.quick else Path("bench/results")) / "align_vs_trl"
    out.with_suffix(".md").write_text(page)
    out.with_suffix(".json").write_text(json.dumps({"size": asdict(size), "results": results}))
    print(page)


if __name__ == "__main__":
    main()
