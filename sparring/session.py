"""Opening a run directory: new, to be continued, or refused, with a record of who worked on it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparring import __version__
from sparring.config import AlignRecipe, Recipe
from sparring.config_prove import ProveRecipe
from sparring.errors import SparringError
from sparring.recipe import Difference, dump_recipe, parse_recipe, recipe_difference
from sparring.rundir import FORMAT, RunDir, Watch, commit_text

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "numpy", "pyarrow")
CALLS = "calls"
COPIES = {
    "policy.path": "round-000/policy",
    "policy.chat_template": "round-000/policy",
    "data.prompts": "prompts/human.parquet",
    "data.fresh": "prompts/fresh.parquet",
}
"""What a run copies when it begins, by key: once it is there another value would change nothing."""


FILES = ("creator.templates", "judge.rubric", "learner.accelerate")
"""Keys that may name a file which every session of a run reads anew: its digest is kept in the run."""


def run_path(recipe: Recipe) -> Path:
    return Path(recipe.run.folder).expanduser() / recipe.run.name


def calls_path(recipe: Recipe) -> Path:
    """Where a run keeps what servers have answered, and what that cost."""
    return run_path(recipe) / CALLS


def open_run(recipe: Recipe, watch: Watch, accept_changes: bool = False) -> RunDir:
    """The run of a recipe, created if it is not there; refuses a run of another recipe. Call under ``RunDir.lock``."""
    run = RunDir(run_path(recipe), watch)
    changed = True
    if (run.root / "run.toml").exists():
        changed = _check_changes(run.root, recipe_difference(read_recipe(run.root), recipe), accept_changes)
    elif strangers := sorted(item.name for item in run.root.iterdir() if item.name not in (".lock", CALLS, "run.toml.tmp")):
        raise SparringError(
            f"{run.root} holds {strangers[0]!r} and no run.toml, so it is no run; choose another folder with --run.name=NAME"
        )
    if changed:
        commit_text(run.root / "run.toml", f"format = {FORMAT}\n" + dump_recipe(recipe))
    _check_files(run.root, recipe, accept_changes)
    run.append("provenance.jsonl", provenance())
    return run


def _check_changes(root: Path, changes: Difference, accepted: bool) -> bool:
    """Whether the recipe changed, in a way that the run can go on with and that somebody has accepted."""
    changes = {key: values for key, values in changes.items() if key not in ("run.folder", "run.name")}  # a run may be moved
    lines = "\n".join(f"  {key}: {old!r} -> {new!r}" for key, (old, new) in changes.items())
    if any(_is_copied(root, key) and values[1] is not None for key, values in changes.items()):
        raise SparringError(
            f"{root} was begun with another policy or other tasks, and has copied them:\n{lines}\n"
            "give the run another name with --run.name=NAME"
        )
    begun = any(root.glob("round-*/*"))
    if changes and begun and not accepted:
        raise SparringError(
            f"{root} was begun with another recipe:\n{lines}\n"
            "give the run another name with --run.name=NAME, or go on under the changed recipe with --accept-changes "
            "(finished phases stay as they are)"
        )
    return bool(changes)


def _check_files(root: Path, recipe: Recipe, accepted: bool) -> None:
    """That the files which the recipe names have the text that they had when the run was begun."""
    values = recipe.model_dump()
    digests: dict[str, str] = {}
    for key in FILES:
        section, _, leaf = key.partition(".")
        named = values.get(section, {}).get(leaf)
        if named and (path := Path(named).expanduser()).is_file():
            digests[key] = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    place = root / "files.json"
    known: dict[str, str] = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    changed = [key for key, digest in digests.items() if known.get(key, digest) != digest]
    if changed and not accepted:
        raise SparringError(
            f"{root} was begun when the file that {changed[0]} names had another text; put it back, give the run another name with "
            "--run.name=NAME, or go on with --accept-changes (finished phases stay as they are)"
        )
    if digests and digests != known:
        commit_text(place, json.dumps(digests, indent=2, sort_keys=True) + "\n")


def _is_copied(root: Path, key: str) -> bool:
    name = key.removeprefix("data.evals.")
    place = COPIES.get(key) if name == key else f"evals/{name}.parquet"
    return place is not None and (root / place).exists()


def read_recipe(root: Path) -> AlignRecipe | ProveRecipe:
    """The recipe of a run directory, wherever it lies now."""
    path = root / "run.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        known = sorted(str(found.parent) for found in Path("runs").glob("*/run.toml"))
        there = f"; there are {', '.join(known)}" if known else "; `sparring play recipes/eva-tiny.toml` begins one"
        raise SparringError(f"{root} is no run (there is no run.toml){there}") from None
    except OSError as error:
        raise SparringError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SparringError(f"{path} is damaged: {error}; restore it from a copy, or write the recipe there again") from None
    version = values.pop("format", None)
    if not isinstance(version, int):
        raise SparringError(f"{path} says no format; write `format = {FORMAT}` on its first line")
    if version > FORMAT:
        raise SparringError(f"{path} has format {version}, this sparring {__version__} reads {FORMAT}; install a newer sparring")
    if version < FORMAT:
        raise SparringError(
            f"{path} has format {version}, this sparring {__version__} reads {FORMAT}; play it anew, or use the sparring that began it"
        )
    return _placed(parse_recipe(values, str(path)), root)


def _placed(recipe: AlignRecipe | ProveRecipe, root: Path) -> AlignRecipe | ProveRecipe:
    """A run that was moved is where it is, not where its recipe says it was."""
    place = recipe.run.model_copy(update={"folder": str(root.parent), "name": root.name})
    return recipe.model_copy(update={"run": place})


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The commit of the code that runs, where it runs from a checkout of its own."""
    checkout = Path(__file__).parents[1]
    if not (checkout / ".git").exists():  # installed: a repository around that place says nothing about this code
        return None
    # Without locks: looking must not stand in the way of somebody's commit.
    command = ["git", "--no-optional-locks", "-C", str(checkout), "describe", "--always", "--dirty"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None


def provenance() -> dict[str, Any]:
    """Who works on a run: versions, revision, machine, time. For people; nothing is computed from it."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "sparring": __version__,
        "revision": _revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.node(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def write_metrics(run: RunDir, rows: Sequence[Mapping[str, Any]]) -> None:
    """``metrics.jsonl`` with these rows, unless it has them already: a resumed run looks again at rounds that are finished."""
    path = run.root / "metrics.jsonl"
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if not path.exists() or not path.read_text(encoding="utf-8").startswith(text):
        commit_text(path, text)
