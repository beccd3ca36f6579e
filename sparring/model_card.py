"""Cards of what a run made: for people, in Markdown, with the metadata on top that the hub reads. No folder of this machine, no address of
a server and no name of a variable with a key in it gets into them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import tomli_w
from huggingface_hub import DatasetCardData, ModelCardData

from sparring import __version__
from sparring.config import AlignRecipe, Member, gives_scores
from sparring.config_prove import ProveRecipe
from sparring.metrics import gains, round_metrics
from sparring.rundir import RunDir

_LICENCE = """## Licence

Not set: that is for whoever publishes this. Add a `license:` line to the block on top of this page. What this was trained from and
on (the base model, the prompts, the models that judged or wrote prompts) may bind you.
"""
_HIDDEN = ("key_env", "extra", "refresh_command", "hub_token")
"""Settings that may hold what is nobody's business."""
_PLACE = re.compile(r"^([a-z]+:)?(/|~|\.{1,2}/|[A-Za-z]:[\\/])|\.(jsonl?|parquet|toml|txt|ya?ml|jinja|gguf|safetensors)$")
"""Begins or ends as a file or folder does."""
_LOCAL = re.compile(rf"{_PLACE.pattern}|\\|/.*/")
"""Looks like one, and not like a hub's OWNER/NAME."""


def without_paths(value: Any) -> Any:
    """Settings with every path cut down to its last name, and server addresses and what is ``_HIDDEN`` left out."""
    if isinstance(value, Mapping):
        hidden = {name: _covered(value[name]) for name in _HIDDEN if name in value}
        return {name: hidden[name] if name in hidden else without_paths(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    return _public(value) if isinstance(value, str) else value


def _shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe as a reader wants it: nobody needs the settings of a server that is not there."""
    kept = {name: value for name, value in settings.items() if not (isinstance(value, Mapping) and value.get("url") == "")}
    return {name: _shown(value) if isinstance(value, Mapping) else value for name, value in kept.items()}


def _covered(value: Any) -> Any:
    return {} if isinstance(value, Mapping) else ""


def _public(text: str) -> str:
    if "://" in text:
        return "(a server)"
    if "\n" in text:  # a template, not a name
        return text
    looks = _PLACE if " " in text else _LOCAL  # a sentence may have slashes
    local = looks.search(text) or ("/" in text and os.path.exists(os.path.expanduser(text)))
    return re.split(r"[\\/]", text.rstrip("/\\"))[-1] if local else text


def base_model(recipe: AlignRecipe | ProveRecipe) -> tuple[str, bool]:
    """What the policy began as, and whether the hub knows it by that name."""
    name = _public(recipe.policy.path)
    return name, name == recipe.policy.path and re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None


def _results(run: RunDir, last: int, recipe: AlignRecipe | ProveRecipe) -> list[str]:
    """The table of rounds, and what the last policy solves more than the first."""
    level = f"{100 * recipe.evaluation.level:g} %"
    rows = [round_metrics(run, number, recipe.evaluation) for number in range(last + 1)]
    names = sorted({name for row in rows for name in row.get("evals", {})})
    if not names:
        return []
    scored = isinstance(recipe, AlignRecipe) and gives_scores(recipe.judge)
    what = "The judge's mean score of" if scored else "Share of held-out tasks solved by"
    lines = [
        "## Results",
        "",
        f"{what} one greedy answer (or one search), with a {level} bootstrap interval over tasks; in brackets the mean length of an "
        "answer in tokens.",
        "",
        f"| round | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
        *(f"| {row['round']} | {' | '.join(_cell(row.get('evals', {}).get(name), scored) for name in names)} |" for row in rows),
    ]
    found = gains(run, last, recipe.evaluation, scored)
    if last and found:
        times, form, unit = (1, "+.3f", "") if scored else (100, "+.1f", " points")
        lines += ["", f"Last round less round 0, paired by task ({level}):", ""]
        lines += [
            f"- {name}: {times * g.mean:{form}}{unit} [{times * g.low:{form}}, {times * g.high:{form}}]"
            for name, g in found.items()
        ]
    return [*lines, ""]


def _cell(found: Mapping[str, Any] | None, scored: bool) -> str:
    if found is None or found["accuracy"] is None:
        return ""
    length = "" if found["length"] is None else f" ({found['length']:.0f})"
    faults = f", {found['faults']} not judged" if found["faults"] else ""
    if scored:
        return f"{found['score']:.3f} [{found['score_low']:.3f}, {found['score_high']:.3f}]{length}{faults}"
    share, low, high = (100 * found[name] for name in ("accuracy", "low", "high"))
    return f"{share:.1f} % [{low:.1f}, {high:.1f}]{length}{faults}"


def _rounds(run: RunDir, last: int, recipe: AlignRecipe | ProveRecipe) -> list[str]:
    lines = [
        "## Rounds",
        "",
        "| round | tasks attempted | tasks created | lessons | of created tasks | optimiser steps |",
        "|---|---|---|---|---|---|",
    ]
    for number in range(1, last + 1):
        row = round_metrics(run, number, recipe.evaluation)
        lessons = row.get("lessons", {})
        cells = [
            row.get("probe", {}).get("tasks", 0),
            row.get("proposals", {}).get("accepted", 0),
            lessons.get("lessons", 0),
            lessons.get("created", 0),
            row.get("learning", {}).get("steps", 0),
        ]
        lines.append(f"| {number} | {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def _judge(member: Member) -> str:
    if member.kind == "program":
        return f"the program `{member.grade}`"
    if member.path:
        return f"{member.kind}: `{_public(member.path)}`"
    return f"{member.kind} by {f'`{_public(member.endpoint.model)}` on a server' if member.endpoint.url else 'a program'}"


def judges_of(recipe: AlignRecipe | ProveRecipe) -> str:
    if not isinstance(recipe, AlignRecipe):
        return "the proof assistant: a proof counts after a fresh check from its statement"
    judge = recipe.judge
    if not judge.members:
        return _judge(judge)
    return f"an ensemble ({judge.combine}) of " + "; ".join(map(_judge, judge.members))


def _data_lines(recipe: AlignRecipe | ProveRecipe, lessons: Mapping[str, int]) -> list[str]:
    source = [f"Prompts: `{_public(recipe.data.prompts)}`."] if isinstance(recipe, AlignRecipe) else []
    told = ", ".join(f"{count} {kind} lessons" for kind, count in lessons.items())
    here = [f"What it was taught is in `data/` ({told}), a split to a round, in TRL's formats."] if told else []
    return ["## Data", "", *source, *here, ""]


def _versions(run: RunDir) -> str:
    path = run.root / "provenance.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    packages = json.loads(lines[-1]).get("packages", {}) if lines else {}
    return ", ".join([f"sparring {__version__}", *(f"{name} {version}" for name, version in packages.items() if version)])


def model_card(recipe: AlignRecipe | ProveRecipe, run: RunDir, last: int, lessons: Mapping[str, int]) -> str:
    """The card of the policy of round ``last``. ``lessons``: how many of each kind lie in ``data/``."""
    name, on_hub = base_model(recipe)
    data = ModelCardData(
        base_model=name if on_hub else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["sparring", recipe.game],
    )
    loss = f" ({recipe.learner.loss})" if isinstance(recipe, AlignRecipe) else ""
    lines = [
        f"# {name.rpartition('/')[2].replace(':', '-')}, after {last} rounds of sparring",
        "",
        f"A causal language model{loss} that learned from tasks which were made for it as it learned: sparring's *{recipe.game}* game.",
        "",
        f"- Base model: `{name}`",
        f"- Judge: {judges_of(recipe)}",
        f"- Seed: {recipe.run.seed}",
        f"- Made with: {_versions(run)}",
        "",
        *_results(run, last, recipe),
        *_rounds(run, last, recipe),
        *_data_lines(recipe, lessons),
        "## Recipe",
        "",
        "```toml",
        tomli_w.dumps(without_paths(_shown(recipe.model_dump(mode="json")))).strip(),
        "```",
        "",
        _LICENCE,
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines)


def data_card(recipe: AlignRecipe | ProveRecipe, splits: Mapping[str, Mapping[str, int]]) -> str:
    """The card of the data set. ``splits``: kind of lesson -> round's name -> rows."""
    configs = [
        {
            "config_name": kind,
            "data_files": [{"split": split_name(name), "path": f"{kind}/{name}.parquet"} for name in rounds],
        }
        for kind, rounds in splits.items()
    ]
    data = DatasetCardData(tags=["sparring", "trl", recipe.game], configs=configs)
    table = [f"| {kind} | {name} | {count} |" for kind, rounds in splits.items() for name, count in rounds.items()]
    lines = [
        "# What a policy was taught",
        "",
        f"The lessons of a run of sparring's *{recipe.game}* game, in the formats that TRL's trainers read: `preference` (DPO), "
        "`demonstration` (SFT), `credit` (KTO; with `advantage` for the online methods). Prompts and answers are messages.",
        "",
        f"Scored by {judges_of(recipe)}. A score is null where the judge did not give one. `parent` is the `task` that a created task "
        "was made of, `operator` says how.",
        "",
        "| kind | round | lessons |",
        "|---|---|---|",
        *table,
        "",
        _LICENCE,
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines)


def split_name(round_folder: str) -> str:
    """A split's name has no dashes."""
    return round_folder.replace("-", "_")
