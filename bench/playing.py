"""Playing a recipe in a bench, with phases taken over from another run of it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Base:
    """A finished run, and those of its phases that another run takes over."""

    root: Path
    phases: Sequence[str]


def play_arm(recipe_path: Path, folder: Path, name: str, overrides: Sequence[str], base: Base | None = None) -> float:
    """Play one recipe to its end in ``folder``/``name``, or go on where it was; returns the CPU-seconds spent."""
    from sparring.engines import Local
    from sparring.games.plans import plan_of
    from sparring.loop import play
    from sparring.recipe import load_recipe
    from sparring.rundir import RunDir, Watch
    from sparring.session import open_run

    recipe = load_recipe(recipe_path, [f"--run.folder={folder}", f"--run.name={name}", *overrides])
    root = folder / name
    if base is not None and not root.exists():
        take_over(base, root)
    begun = time.process_time()
    with RunDir(root).lock(), closing(plan_of(recipe)) as plan:
        play(plan, Local(recipe.policy), open_run(recipe, Watch(), accept_changes=True), lambda number: None)
    return time.process_time() - begun


def take_over(base: Base, root: Path) -> None:
    """``root`` with the phases of ``base``, as hard links; it appears whole."""
    partial = root.with_name(root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for phase in base.phases:
        source, target = base.root / phase, partial / phase
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, copy_function=os.link) if source.is_dir() else os.link(source, target)
    shutil.copy(base.root / "run.toml", partial / "run.toml")
    partial.rename(root)
