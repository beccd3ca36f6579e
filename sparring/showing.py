"""``sparring show``: what a run did and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from sparring.config import AlignRecipe, gives_scores
from sparring.config_prove import ProveRecipe
from sparring.console import (
    make_console,
    print_comparisons,
    print_evolutions,
    print_gains,
    print_proofs,
    print_rounds,
    print_searches,
)
from sparring.metrics import evolutions, gains, round_metrics
from sparring.proofs import comparisons, proofs_found
from sparring.rundir import RunDir
from sparring.session import read_recipe


def show_run(root: Path, prompts: int) -> None:
    """Prints tables, and so many created prompts with their lineage, or proofs with their targets."""
    recipe, run, console = read_recipe(root), RunDir(root), make_console()
    numbers = run.rounds()
    rows = [round_metrics(run, number, recipe.evaluation) for number in numbers]
    if isinstance(recipe, ProveRecipe):
        _show_searches(console, run, recipe, rows, prompts)
    else:
        _show_answers(console, run, recipe, rows, prompts)
    if rows and rows[-1].get("evals"):
        scored = isinstance(recipe, AlignRecipe) and gives_scores(recipe.judge)
        print_gains(console, gains(run, numbers[-1], recipe.evaluation, scored), numbers[-1], scored)


def _show_answers(console: Console, run: RunDir, recipe: AlignRecipe, rows: list[dict[str, Any]], prompts: int) -> None:
    print_rounds(console, rows, recipe.run.human_rounds, recipe.evaluation.level, gives_scores(recipe.judge))
    for row in rows:
        found = evolutions(run, row["round"])
        if found and prompts:
            console.print(f"\nround {row['round']}: the most informative of {len(found)} created prompts")
            print_evolutions(console, found[: prompts if row is rows[-1] else 1])


def _show_searches(console: Console, run: RunDir, recipe: ProveRecipe, rows: list[dict[str, Any]], proofs: int) -> None:
    print_searches(console, rows, recipe.evaluation.level)
    if rows:
        print_comparisons(console, comparisons(run, rows[-1]["round"], recipe.evaluation))
        print_proofs(console, proofs_found(run, rows[-1]["round"], proofs), recipe.roles.target)
