"""The command line. Thin: every command reads its arguments, calls one thing and prints what came of it."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparring import __version__
from sparring.errors import SparringError

if TYPE_CHECKING:
    from sparring.config import Recipe

UNSANDBOXED = typer.Option("--allow-unsandboxed", help="Where there is no bubblewrap, run Coq with your own rights.")
OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Learning as an infinite game: models that make their own tasks.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sparring {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@app.command(context_settings=OVERRIDES)
def play(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="A TOML file, as in recipes/. Override with --section.key=value.")],
    model: Annotated[str, typer.Option(help="Short for --policy.path: a checkpoint folder or a hub name.")] = "",
    prompts: Annotated[str, typer.Option(help="Short for --data.prompts: a .jsonl or .parquet file.")] = "",
    judge: Annotated[
        str, typer.Option(help="Short for --judge.path (a reward model) or, http://..., for --judge.endpoint.url.")
    ] = "",
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Check everything, say what it would take, and play nothing.")
    ] = False,
    accept_changes: Annotated[bool, typer.Option(help="Go on with a run that was begun under another recipe.")] = False,
) -> None:
    """Play a recipe's game: train in rounds. Finished phases are never done again."""
    from sparring.recipe import load_recipe

    given = {"policy.path": model, "data.prompts": prompts, "judge.path": judge}
    if judge.startswith(("http://", "https://")):
        given |= {"judge.path": "", "judge.kind": "rubric", "judge.endpoint.url": judge}
    short = [f"--{key}={value}" for key, value in given.items() if value or (judge and key == "judge.path")]
    checked = load_recipe(recipe, [*short, *context.args])  # what is said at length holds
    if not checked.run.name:
        checked = checked.model_copy(update={"run": checked.run.model_copy(update={"name": recipe.stem})})
    if only_plan:
        _plan(checked)
    else:
        _play(checked, accept_changes)


def _plan(recipe: Recipe) -> None:
    from sparring.config import AlignRecipe
    from sparring.planning import plan_run

    if not isinstance(recipe, AlignRecipe):
        raise SparringError("--plan estimates the align game; for a recipe of the prove game, ask: sparring doctor RECIPE")
    for line in plan_run(recipe):
        typer.echo(line)


@app.command(context_settings=OVERRIDES)
def resume(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="A run directory, wherever it lies now.")],
    accept_changes: Annotated[bool, typer.Option(help="Needed with overrides: go on under the changed recipe.")] = False,
) -> None:
    """Go on with a run that was stopped, killed or copied here."""
    from sparring.recipe import apply_overrides, parse_recipe
    from sparring.session import read_recipe

    recipe = read_recipe(run)
    _play(parse_recipe(apply_overrides(recipe.model_dump(mode="json"), context.args), "sparring resume"), accept_changes)


def _play(recipe: Recipe, accept_changes: bool) -> None:
    from sparring.config import AlignRecipe
    from sparring.config_prove import ProveRecipe
    from sparring.console import ConsoleWatch, make_console
    from sparring.engines import engine_of
    from sparring.games.plans import plan_of
    from sparring.loop import play as play_game
    from sparring.metrics import round_metrics
    from sparring.oversight import oversee, prepare
    from sparring.rundir import RunDir
    from sparring.session import open_run, run_path, write_metrics
    from sparring.showing import show_run

    console, root = make_console(), run_path(recipe)
    watch = ConsoleWatch(console)
    plan = plan_of(recipe, watch)
    rows: list[dict[str, Any]] = []
    try:
        engine = engine_of(recipe)
        with closing(plan), RunDir(root).lock():
            run = open_run(recipe, watch, accept_changes)

            def after_round(number: int) -> None:
                prepare(recipe, run, number, engine)
                rows.append(round_metrics(run, number, recipe.evaluation))
                write_metrics(run, rows)
                oversee(recipe, rows, watch)

            play_game(plan, engine, run, after_round)
    except KeyboardInterrupt:
        _set_handlers(signal.SIG_IGN)  # nothing is left to stop
        console.print(f"\nstopped; what is finished is kept. Go on with:\n  sparring resume {root}", soft_wrap=True)
        raise typer.Exit(130) from None
    show_run(root, prompts=2 if isinstance(recipe, ProveRecipe) else 3)
    use = f"sparring export {root} --out=my-model"
    if isinstance(recipe, AlignRecipe) and recipe.data.prompts.startswith("world:"):
        use = f"sparring eval {root} --tasks=world:hard --n=6"
    if isinstance(recipe, ProveRecipe):
        what = "FILE.v" if recipe.env.kind == "coq" else "'forall p q, p \\/ q -> q \\/ p'"
        use = f"sparring prove {what} --run {root}"
    console.print(
        f"\nThe run lies in {root}; its last policy is an ordinary checkpoint folder. Next:\n"
        f"  sparring show {root} --prompts=20\n"
        f"  {use}\n"
        f"  sparring resume {root} --run.rounds={recipe.run.rounds + 1} --accept-changes",
        soft_wrap=True,
    )


def _set_handlers(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _stopper() -> Callable[[int, FrameType | None], None]:
    """Handles Ctrl-C, and SIGTERM alike. Another one within a second is the same wish: it must not disturb the stopping."""
    last = -math.inf

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if time.monotonic() > last + 1.0:
            last = time.monotonic()
            raise KeyboardInterrupt

    return stop


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    prompts: Annotated[int, typer.Option(help="How many created prompts, or proofs, to show.")] = 5,
) -> None:
    """What a run did and what came of it: tables, and created prompts with their lineage or proofs with their targets."""
    from sparring.showing import show_run

    show_run(run, prompts)


@app.command("eval", context_settings=OVERRIDES)
def evaluate(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    policy: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A run directory (its last policy), a checkpoint folder or builtin:words-tiny."),
    ] = "",
    tasks: Annotated[str, typer.Option(help="world:SPLIT or a .jsonl/.parquet file.")] = "",
    n: Annotated[int, typer.Option(min=1, help="Answers per task; more than 1 samples as the recipe's solver does.")] = 1,
    suite: Annotated[
        str, typer.Option(help="arena-hard, arena-hard-v2, alpaca-eval, mt-bench, prompts, world:easy or world:hard.")
    ] = "",
    model: Annotated[str, typer.Option(help="Of a suite: as MODEL, a server (http://HOST/v1#NAME) or a file of answers.")] = "",
    baseline: Annotated[str, typer.Option(help="The same; who the model is compared with.")] = "",
    judge: Annotated[str, typer.Option(help="The same; who compares or rates.")] = "",
    questions: Annotated[str, typer.Option(help="A file, or of prompts a run, in place of the published questions.")] = "",
    reference: Annotated[str, typer.Option(help="mt-bench: reference answers; alpaca-eval: df_gamed.csv.")] = "",
    weighted: Annotated[bool, typer.Option(help="alpaca-eval: by the log-probs of the judge's letters.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of kept answers; by default runs/evals.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the bouts (.parquet), or a suite's rows (.jsonl).")] = None,
) -> None:
    """Score a policy on tasks (MODEL --tasks=...), or any model on a suite (--suite=... --model=... --judge=...)."""
    from sparring.console import ConsoleWatch, make_console
    from sparring.evaluate import Asked, evaluate_policy, evaluate_suite, report, write_bouts

    overrides, watch = list(context.args), ConsoleWatch(make_console())
    if policy.startswith("--"):  # an override, where no MODEL is given
        policy, overrides = "", [policy, *overrides]
    if suite:
        asked = Asked(
            suite=suite, model=model or policy, baseline=baseline, judge=judge, questions=questions, reference=reference,
            weighted=weighted, cache=cache, out=out, overrides=tuple(overrides),
        )  # fmt: skip
        evaluate_suite(asked, watch, typer.echo)
        return
    if not tasks or not (policy or model):
        raise SparringError("say what to evaluate: MODEL --tasks=world:hard, or --suite=arena-hard --model=... --judge=...")
    folder, recipe, bouts = evaluate_policy(policy or model, tasks, n, overrides, watch)
    if out is not None:
        write_bouts(out, bouts)
    how = "greedy" if n == 1 else f"{n} samples at temperature {recipe.solver.temperature}"
    typer.echo(f"{folder} on {tasks}, {how}")
    for line in report(bouts, n, recipe.evaluation):
        typer.echo(line)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run directory of either game.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
) -> None:
    """Write a run's last policy with a model card, and what it was taught as a data set in TRL's format."""
    from sparring.export import export_run

    export_run(run, out)
    typer.echo(f"written to {out}: a checkpoint for from_pretrained, README.md and data/")


@app.command(context_settings=OVERRIDES)
def prove(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    statement: Annotated[
        str, typer.Argument(help="As in 'forall p q, p \\/ q -> q \\/ p' or 'forall n, n + 0 = n'; or a Coq file, FILE.v.")
    ],
    run: Annotated[
        str | None,
        typer.Option(help="A run of the prove game (its last policy) or a checkpoint folder; for a Coq file it may be left out."),
    ] = None,
    tree: Annotated[bool, typer.Option(help="Also print what was searched (of a statement).")] = False,
    theorem: Annotated[str | None, typer.Option(help="Of a Coq file only the holes of this theorem, not all.")] = None,
    write: Annotated[
        bool, typer.Option(help="Put what is proved into the Coq file; without it only a patch is printed.")
    ] = False,
    allow_unsandboxed: Annotated[bool, UNSANDBOXED] = False,
) -> None:
    """Prove one statement of the embedded logic, or the holes (Admitted, admit) of a Coq file.

    A statement: prints the proof, and a Coq and a Lean 4 script of it. A file: says of each hole what came of it, and prints a patch that
    compiles. Without a run Coq's own automation is all that is tried.
    """
    if statement.endswith(".v"):
        from sparring.proving import fill_file

        filled = fill_file(Path(statement), run, theorem, write, context.args, allow_unsandboxed)
        raise typer.Exit(0 if filled else 1)
    from sparring.proving import describe, prove_statement

    if run is None:
        raise SparringError("a statement is searched with a trained policy; name one: --run=runs/rir-tiny")
    answer = prove_statement(statement, run, context.args)
    for line in describe(answer, tree):
        typer.echo(line)
    raise typer.Exit(0 if answer.verdict and answer.verdict.solved else 1)


trace = typer.Typer(no_args_is_help=True)
app.add_typer(
    trace,
    name="trace",
    help="Write the steps of known proofs: state, tactic, next state and premises, in LeanDojo's field names.",
)
OUT = typer.Option(help="The .parquet file to write.")


@trace.command()
def kernel(
    theorems: Annotated[
        str, typer.Option(help="world:SPLIT with proofs, or a .jsonl/.parquet file with text and script.")
    ] = "world:train",
    out: Annotated[Path, OUT] = Path("kernel.parquet"),
) -> None:
    """Proofs of the embedded logic."""
    from sparring.console import ConsoleWatch, make_console
    from sparring.proving import trace_theorems

    steps = trace_theorems(theorems, out, ConsoleWatch(make_console()))
    typer.echo(f"{steps} steps written to {out}")


@trace.command()
def coq(
    library: Annotated[
        str,
        typer.Option(
            help="Separated by commas: folders or files of the standard library (Arith,Lists.List or stdlib), installed ones "
            "(mathcomp.ssreflect), project folders and .v files."
        ),
    ],
    out: Annotated[Path, OUT] = Path("coq.parquet"),
    jobs: Annotated[int, typer.Option(min=1, help="Files at a time.")] = 2,
    premises: Annotated[bool, typer.Option(help="Also which lemmas each tactic uses; takes half as long again.")] = True,
    allow_unsandboxed: Annotated[bool, UNSANDBOXED] = False,
) -> None:
    """Proofs of Coq files, replayed by Coq. Killed, the same command goes on."""
    from sparring.console import ConsoleWatch, make_console
    from sparring.coq.trace import CoqTraceOptions, trace_coq

    names = [name.strip() for name in library.split(",") if name.strip()]
    options = CoqTraceOptions(jobs=jobs, premises=premises, allow_unsandboxed=allow_unsandboxed)
    summary = trace_coq(names, out, ConsoleWatch(make_console()), options)
    for line in summary.lines():
        typer.echo(line)
    typer.echo(f"written to {out}")


@app.command(context_settings=OVERRIDES)
def doctor(
    context: typer.Context,
    recipe: Annotated[Path | None, typer.Argument(help="Also say what is missing for this recipe.")] = None,
) -> None:
    """Versions, device, memory, disk, extras, and what is missing for a recipe."""
    from sparring.doctor import describe_machine, missing_for
    from sparring.recipe import load_recipe

    for name, value in describe_machine():
        typer.echo(f"{name:<22}{value}")
    if recipe is not None:
        problems = missing_for(load_recipe(recipe, context.args))
        typer.echo(f"\n{recipe}: " + ("nothing is missing" if not problems else "\n  - " + "\n  - ".join(problems)))
        raise typer.Exit(1 if problems else 0)


@app.command()
def pretrain(
    out: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the full training, for a quick look.")] = 1.0,
) -> None:
    """Train the embedded world's starting policy from scratch (what builtin:words-tiny is)."""
    from sparring.games.pretrain import pretrain_words

    pretrain_words(out, share, typer.echo)


def main() -> None:
    """Errors that a user can mend are one message and exit status 2; anything else is a bug and keeps its traceback."""
    _set_handlers(_stopper())
    sys.path.append("")  # a recipe may name functions of a module that lies where the command is run
    try:
        app()
    except SparringError as error:
        print(f"sparring: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
