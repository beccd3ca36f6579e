"""Provers on real Coq theorems: a small model against Coq's automation and against its own flat search, at matched budgets.

    python -m bench.rir_coq [--libraries Bool,Arith,Lists] [--split random] [--theorems 150] [--seconds 5] [--jobs 2]
                            [--only trace,policy,baselines,search,report]

The libraries are traced, a policy is trained on the training set as recipes/rir-coq.toml says, and theorems that were held out (drawn
uniformly from the validation and the test set) are searched where they stand in their files, one at a time. ``--seconds`` are on the wall,
of the model and of Coq together, for each theorem; loading its context is not counted for anybody. A search by moves takes Coq's automation
at every goal and no model; *all automation* is one tactic after another on the statement alone, 10 s each. Every proof is audited.

Writes bench/results/rir_coq.md and plots. What is finished lies in ``--folder``, theorem by theorem, so a killed bench goes on where
it was.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.coq_baselines import UNION, baseline_rows, missing
from bench.rir_compare import cell as shown
from bench.rir_compare import compare, difference_cell, outcomes_of, share, table
from bench.rir_report import MIXTURE, Page, write_report
from bench.rir_tables import Method, flat, rir, rows_of
from sparring.coq.world import HELD_OUT, CoqWorld, SplitKind
from sparring.errors import SparringError
from sparring.rundir import commit_text

if TYPE_CHECKING:
    from sparring.config_prove import ProveRecipe
    from sparring.game import Env, Lesson, Model, Task
    from sparring.games.theories import CoqTheory
    from sparring.solvers.hierarchy import Prover

MOVES = "moves, no model"
ON = (("retries", 100),)
"""A search that asks a model goes on to its budget: where all is tried, more is sampled."""
METHODS = (
    Method("flat best-first", (*flat(8), *ON)),
    Method("RiR best-first", (*rir(2, 6), *ON)),
    Method(MOVES, (("policy", "moves"),)),
    Method(MIXTURE, ON),
)
PAIRS = (
    (MIXTURE, UNION),
    (MIXTURE, MOVES),
    (MIXTURE, "flat best-first"),
    ("RiR best-first", "flat best-first"),
    (MOVES, UNION),
)
PARTS = ("trace", "policy", "baselines", "search", "report")
LIMIT_S = 10
"""For each tactic of the baselines."""
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the rows of a folder depend on. ``recipe``: a file. ``device``: where the policy is trained and asked."""

    recipe: str
    libraries: tuple[str, ...]
    split: SplitKind
    theorems: int
    seconds: float
    device: str

    def load(self, folder: Path, seed: int = 0, processes: int = 1) -> ProveRecipe:
        """The recipe of a seed on these libraries, traced in the folder."""
        from sparring.config_prove import ProveRecipe
        from sparring.recipe import load_recipe

        settings = {
            "library": json.dumps(self.libraries),
            "split": self.split,
            "trace": folder / "trace.parquet",
            "processes": processes,
        }
        overrides = [f"--env.{key}={value}" for key, value in settings.items()]
        recipe = load_recipe(Path(self.recipe), [*overrides, f"--run.seed={seed}", f"--policy.device={self.device}"])
        assert isinstance(recipe, ProveRecipe)
        return recipe


def theory(recipe: ProveRecipe) -> CoqTheory:
    from sparring.games.theories import CoqTheory

    return CoqTheory(recipe.env, recipe.run.seed)


# ------------------------------------------------------------------------------------------------ the policy


def train_policy(folder: Path, setting: Setting, seed: int) -> None:
    """The policy of a seed, taught the steps of the training set and nothing else."""
    from sparring.games.plans import plan_of

    out = folder / "policies" / f"seed-{seed}"
    if out.exists():
        return
    work = folder / "policies" / f"work-{seed}" / "policy"
    work.parent.mkdir(parents=True, exist_ok=True)
    begun, recipe = time.monotonic(), setting.load(folder, seed)
    plan = plan_of(recipe)
    assert plan.traces is not None, "the recipe teaches traces"
    if not work.exists():
        lessons = plan.traces()
        refuse_leaks(lessons, theory(recipe).world, recipe)
        plan.start(work, lessons)
        commit_text(out.with_suffix(".json"), json.dumps({"lessons": len(lessons), "seconds": time.monotonic() - begun}))
    work.rename(out)
    work.parent.rmdir()


def refuse_leaks(lessons: Sequence[Lesson], world: CoqWorld, recipe: ProveRecipe) -> None:
    """SparringError where a lesson begins at the statement of a theorem that is held out."""
    from sparring.learners.roles import trace_lessons

    statements = world.statements(HELD_OUT)
    asked = [step for step in world.steps(HELD_OUT) if step.state in statements]
    prompts = {lesson.prompt for lesson in trace_lessons(asked, recipe.roles)}
    if leaked := sum(lesson.prompt in prompts for lesson in lessons):
        raise SparringError(
            f"{leaked} lessons are about theorems that are held out; split the recipe's traces as this bench does"
        )


# ------------------------------------------------------------------------------------------------ searches


def baselines(folder: Path, setting: Setting) -> None:
    """Rows of each tactic, kept after each theorem."""
    world = theory(setting.load(folder)).world
    append(folder / "baselines.jsonl", held_out(world, setting), UNION, lambda left: baseline_rows(left, LIMIT_S, world.options))


def search(folder: Path, setting: Setting, seed: int, method: Method) -> None:
    """The theorems searched by one method with one seed's policy, kept after each."""
    from sparring.engines import Local
    from sparring.game import Sampling
    from sparring.games.prove import prover_of

    recipe = setting.load(folder, seed)
    about = theory(recipe)
    bounds = {"calls": 0, "tokens": 0, "steps": 0, "seconds": setting.seconds}
    how = recipe.search.model_copy(update={**bounds, **dict(method.changes)})
    tasks = held_out(about.world, setting)
    with ExitStack() as stack:
        env = about.env
        stack.callback(env.close)
        prover = prover_of(recipe.model_copy(update={"search": how}), env)
        model = None
        if method.name != MOVES:
            model = stack.enter_context(Local(recipe.policy).serve(folder / "policies" / f"seed-{seed}"))
            model.sample(
                ["nothing"], Sampling(beam=True, max_new_tokens=2), role="flat", seed=0
            )  # loads it: in no theorem's time
        out = folder / "search" / f"{seed} {method.name}.jsonl"
        append(out, tasks, method.name, lambda left: search_rows(left, prover, env, model, method.name))


def search_rows(tasks: Sequence[Task], prover: Prover, env: Env, model: Model | None, method: str) -> Iterator[Row]:
    """One theorem after the other; its context is loaded before its time begins. ``model``: None where the search asks none."""
    from sparring.game import Bout
    from sparring.judges.proof import ProofJudge

    judge = ProofJudge(env)
    for task in tasks:
        begun = time.monotonic()
        env.start(task)
        loaded_s = time.monotonic() - begun
        attempts = prover.attempt([task], model or _Nobody(), 0)
        begun = time.monotonic()
        verdicts = judge.judge([task], attempts)
        [row] = rows_of([Bout(task=task, attempts=attempts[0], verdicts=verdicts[0])])
        times = {"loaded_s": round(loaded_s, 6), "audit_s": round(time.monotonic() - begun, 6)}
        yield {"method": method, **row, **times, "answer": attempts[0][0].answer}


class _Nobody:
    """The model of a search that asks none."""

    def sample(self, prompts: object, how: object, *, role: str, seed: int) -> Any:
        raise AssertionError("this search has no model")

    def score(self, pairs: object, *, role: str) -> Any:
        raise AssertionError("this search has no model")


def held_out(world: CoqWorld, setting: Setting) -> list[Task]:
    return world.sample(HELD_OUT, setting.theorems, 0)


def append(out: Path, tasks: Sequence[Task], last: str, rows: Callable[[Sequence[Task]], Iterable[Row]]) -> None:
    """Adds the rows of the theorems that ``out`` does not have yet. A theorem is finished with its row by the method ``last``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    kept = read_rows(out)
    done = {row["task"] for row in kept if row["method"] == last}
    commit_text(out, "".join(json.dumps(row) + "\n" for row in kept if row["task"] in done))  # half a theorem is done anew
    with out.open("a", encoding="utf-8") as file:
        for row in rows([task for task in tasks if task.id not in done]):
            file.write(json.dumps(row) + "\n")
            file.flush()


def read_rows(path: Path) -> list[Row]:
    """Whole lines; a program that was killed may have left half of one."""
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


# ------------------------------------------------------------------------------------------------ the report


def automation_lines(rows: Sequence[Row], mixture: Sequence[Row]) -> list[str]:
    """Each tactic by itself, whatever it took, and the mixture's whole searches against it."""
    own = outcomes_of(mixture, lambda row: row["proved"]) if mixture else {}
    body: list[list[object]] = []
    for method in dict.fromkeys(row["method"] for row in rows):
        every = [row for row in rows if row["method"] == method]
        each = [row for row in every if row["status"] != "present" or method == UNION]
        if not each:
            continue
        found = outcomes_of(each, lambda row: row["proved"])
        pair = compare(own, found)
        claimed = sum(row["status"] == "proved" and not row["proved"] for row in each)
        ended = [sum(row["status"] == status for row in each) for status in ("timeout", "refused")]
        tested = [difference_cell(pair), f"{pair.only_a} : {pair.only_b}", f"{pair.p:.2g}"] if pair else ["–"] * 3
        seconds = f"{fmean(row['seconds'] for row in each):.2f}"
        body.append(
            [method, len(each), sum(row["proved"] for row in each), shown(share(found)), seconds, *ended, claimed, *tested]
        )
    head = ["tactic", "tried at", "proved", "%", "mean seconds", "timeouts", "not to be loaded", "refused by the audit"]
    gone = f" Not installed here: {', '.join(missing())}." if missing() else ""
    return [
        *("", "## Coq's automation: one tactic after `intros` on the statement", ""),
        f"At most {LIMIT_S} s each. *{UNION}*: one after the other, in this order, until one proves it. The mixture's searches are those "
        f"of seed 0 to their end. Not tried: a tactic that looks for lemmas where what it loads has the theorem itself.{gone}",
        *("", *table([*head, "mixture minus it", "only one", "p"], body)),
    ]


def report(folder: Path, setting: Setting, seeds: int, out: Path) -> None:
    """What does not depend on a policy (moves, automation) was searched once and is the same under every seed."""
    base = [{"seed": 0, **row} for row in read_rows(folder / "baselines.jsonl")]
    found = [
        {"seed": seed, **row}
        for seed in range(seeds)
        for method in METHODS
        for row in read_rows(folder / "search" / f"{0 if method.name == MOVES else seed} {method.name}.jsonl")
    ]
    mixture = [row for row in found if row["method"] == MIXTURE and row["seed"] == 0]
    union = [{**row, "seed": seed} for seed in range(seeds) for row in base if row["method"] == UNION]
    rows = [{"split": HELD_OUT, **row} for row in (*found, *union)]
    page = Page(
        title="Provers on held-out theorems of Coq's library",
        command="python -m bench.rir_coq",
        file="rir_coq.md",
        plots="rir_coq",
        seconds="seconds",
        pairs=PAIRS,
        parts=automation_lines(base, mixture) if base else [],
    )
    write_report(rows, out, facts_of(folder, setting, seeds), page=page)


def facts_of(folder: Path, setting: Setting, seeds: int) -> dict[str, object]:
    trained = [json.loads(path.read_text("utf-8")) for path in sorted((folder / "policies").glob("seed-*.json"))[:seeds]]
    world = [*theory(setting.load(folder)).world.lines()]
    return {
        "Libraries": world[0],
        "Sets": "; ".join(line.strip() for line in world[1:]),
        "Seconds a theorem": f"{setting.seconds:g}, on the wall, without loading its context",
        "Training of a policy": ", ".join(f"{fact['lessons']} lessons in {fact['seconds']:.0f} s" for fact in trained) or "none",
        "Device": f"{setting.device}, {os.cpu_count()} CPU cores",
    }


# ------------------------------------------------------------------------------------------------ all of it


def run_job(job: tuple[str, Path, Setting, int, Method | None]) -> str:
    """One job in a process of its own."""
    part, folder, setting, seed, method = job
    if part == "policy":
        train_policy(folder, setting, seed)
    elif part == "baselines":
        baselines(folder, setting)
    elif method is not None:
        search(folder, setting, seed, method)
    return f"{part} {seed} {method.name if method else ''}"


def run_all(jobs: Sequence[tuple[str, Path, Setting, int, Method | None]], processes: int) -> None:
    begun = time.monotonic()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(run_job, job) for job in jobs]
        for count, done in enumerate(as_completed(running), 1):
            print(f"{time.monotonic() - begun:7.0f} s  {count} of {len(jobs)}  {done.result()}", flush=True)


def keep_setting(folder: Path, setting: Setting) -> None:
    """SparringError for a folder whose parts were made otherwise."""
    path, text = folder / "setting.json", json.dumps(asdict(setting))
    if path.exists() and path.read_text("utf-8") != text:
        raise SparringError(f"{folder} was made with {path.read_text('utf-8')}; use the same options, or another --folder")
    commit_text(path, text)


def options_of() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/rir-coq.toml"), help="how the policy learns and searches")
    parser.add_argument("--libraries", default="Bool,Arith,Lists", help="with commas: libraries, and paths of projects")
    parser.add_argument("--split", default="random", choices=("random", "folder", "premise"))
    parser.add_argument("--theorems", type=int, default=150, help="held-out ones that are searched")
    parser.add_argument("--seconds", type=float, default=5.0, help="on the wall, for a theorem and a method")
    parser.add_argument("--seeds", type=int, default=1, help="policies that are trained")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--folder", type=Path, default=Path("runs/rir-coq"))
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    parser.add_argument("--only", default=",".join(PARTS))
    return parser


def main() -> None:
    parser = options_of()
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    setting = Setting(
        recipe=str(options.recipe),
        libraries=tuple(options.libraries.split(",")),
        split=options.split,
        theorems=options.theorems,
        seconds=options.seconds,
        device=options.device,
    )
    folder, parts = options.folder, options.only.split(",")
    try:
        keep_setting(folder, setting)
    except SparringError as error:
        parser.error(str(error))
    if "trace" in parts:
        print("\n".join(theory(setting.load(folder, processes=options.jobs)).world.lines()), flush=True)
    seeds = range(options.seeds)
    if "policy" in parts:
        run_all([("policy", folder, setting, seed, None) for seed in seeds], options.jobs)
    jobs: list[tuple[str, Path, Setting, int, Method | None]] = []
    if "search" in parts:  # what takes longest comes first
        jobs += [
            ("search", folder, setting, seed, method) for seed in seeds for method in METHODS if method.name != MOVES or not seed
        ]
    if "baselines" in parts:
        jobs.append(("baselines", folder, setting, 0, None))
    run_all(jobs, options.jobs)
    if "report" in parts:
        report(folder, setting, options.seeds, options.out)


if __name__ == "__main__":
    main()
