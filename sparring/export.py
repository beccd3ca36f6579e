"""A run as something to publish: its last policy with a model card, and what it was taught as a data set in TRL's formats.

    OUT/                               what AutoModelForCausalLM.from_pretrained and AutoTokenizer.from_pretrained load
    OUT/README.md                      the model card
    OUT/data/README.md                 the data set's card, which names the kinds of lessons and their splits
    OUT/data/preference/round-001.parquet     prompt, chosen, rejected as messages, scores, task, parent, operator
    OUT/data/demonstration/round-000.parquet  prompt, completion as messages, weight
    OUT/data/credit/round-001.parquet         prompt, completion as messages, label, advantage, score, task, parent, operator

``datasets.load_dataset("OUT/data", "preference")`` reads one kind, a split to a round. Nothing here says where on this machine
anything lay.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sparring.errors import SparringError
from sparring.game import Bout, Credit, Demo, Lesson, Pair, Sample, Task
from sparring.model_card import data_card, model_card
from sparring.records import BOUTS, LESSONS
from sparring.rundir import RunDir, commit, round_name
from sparring.session import read_recipe

Row = dict[str, Any]

_PARTS = (".json", ".safetensors", ".jinja", ".txt", ".model")
"""Endings of what a checkpoint and a tokenizer consist of; no pickles, and no logs."""

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_ORIGIN = [
    ("round", pa.int32()),
    ("task", pa.string()),
    ("parent", pa.string()),
    ("operator", pa.string()),
    ("created", pa.bool_()),
]
SCHEMAS: Mapping[str, pa.Schema] = {
    "preference": pa.schema(
        [
            *((name, _MESSAGES) for name in ("prompt", "chosen", "rejected")),
            *((name, pa.float64()) for name in ("score_chosen", "score_rejected", "margin")),
            *_ORIGIN,
        ]
    ),
    "demonstration": pa.schema(
        [("prompt", _MESSAGES), ("completion", _MESSAGES), ("weight", pa.float64()), ("round", pa.int32())]
    ),
    "credit": pa.schema(
        [
            ("prompt", _MESSAGES),
            ("completion", _MESSAGES),
            ("label", pa.bool_()),
            ("advantage", pa.float64()),
            ("score", pa.float64()),
            *_ORIGIN,
        ]
    ),
}


def export_run(root: Path, out: Path) -> None:
    """Writes the folder ``out`` for the run at ``root``; it appears whole. SparringError where there is no policy, or ``out`` is there."""
    recipe, run = read_recipe(root), RunDir(root)
    rounds = [number for number in run.rounds() if (root / round_name(number) / "policy").is_dir()]
    if not rounds:
        raise SparringError(f"{root} has no policy yet; play on with: sparring resume {root}")
    if out.exists():
        raise SparringError(f"{out} exists already; name another folder, or remove it")

    def write(partial: Path) -> None:
        partial.mkdir()
        _copy_policy(root / round_name(rounds[-1]) / "policy", partial)
        splits = _write_data(run, rounds[-1], partial / "data")
        if splits:
            (partial / "data" / "README.md").write_text(data_card(recipe, splits), encoding="utf-8")
        card = model_card(recipe, run, rounds[-1], {kind: sum(counts.values()) for kind, counts in splits.items()})
        (partial / "README.md").write_text(card, encoding="utf-8")

    commit(out, write)


def _copy_policy(policy: Path, out: Path) -> None:
    """The checkpoint's files; those that hold settings without the names of this machine's folders."""
    for path in sorted(path for path in policy.iterdir() if path.is_file() and path.suffix in _PARTS):
        shutil.copyfile(path, out / path.name)
    for path in out.glob("*config.json"):
        settings = json.loads(path.read_text(encoding="utf-8"))
        clean = _without_names(settings)
        if clean != settings:
            path.write_text(json.dumps(clean, indent=2) + "\n", encoding="utf-8")


def _without_names(settings: Any) -> Any:
    """Settings, and those within them (of a model that also sees, say), without where they were read from."""
    if isinstance(settings, list):
        return [_without_names(item) for item in settings]
    if not isinstance(settings, dict):
        return settings
    return {name: _without_names(value) for name, value in settings.items() if not name.endswith("name_or_path")}


# ------------------------------------------------------------------------------------------------ the data set


@dataclass(frozen=True)
class Taught:
    """A round's tasks, and its judged answers by (task, text)."""

    number: int
    tasks: Mapping[str, Task]
    scores: Mapping[tuple[str, str], float]

    def origin(self, lesson: Pair | Credit) -> Row:
        task = self.tasks.get(lesson.task)
        operator = task.meta.get("operator") if task else None
        return {
            "round": self.number,
            "task": lesson.task,
            "parent": task.parent if task else None,
            "operator": None if operator is None else str(operator),
            "created": lesson.created,
        }


def _taught(run: RunDir, number: int) -> Taught:
    bouts: list[Bout] = [bout for phase in ("probe", "bouts") for bout in run.read_round(number, phase, BOUTS) or []]
    judged = [
        ((bout.task.id, attempt.samples[-1].text), verdict.score)
        for bout in bouts
        for attempt, verdict in zip(bout.attempts, bout.verdicts, strict=True)
        if attempt.samples and verdict.fault is None
    ]
    return Taught(number=number, tasks={bout.task.id: bout.task for bout in bouts}, scores=dict(judged))


def _turn(role: str, content: str) -> list[Row]:
    return [{"role": role, "content": content}]


def _answer(sample: Sample) -> list[Row]:
    return _turn("assistant", sample.text)


def lesson_row(lesson: Lesson, here: Taught) -> tuple[str, Row]:
    """(kind, row) of a lesson."""
    prompt = {"prompt": _turn("user", lesson.prompt)}
    if isinstance(lesson, Demo):
        completion = _turn("assistant", lesson.completion)
        return "demonstration", prompt | {"completion": completion, "weight": lesson.weight, "round": here.number}
    if isinstance(lesson, Credit):
        row = {"completion": _answer(lesson.completion), "label": lesson.advantage > 0, "advantage": lesson.advantage}
        score = here.scores.get((lesson.task, lesson.completion.text))
        return "credit", prompt | row | {"score": score} | here.origin(lesson)
    row = {"chosen": _answer(lesson.chosen), "rejected": _answer(lesson.rejected), "margin": lesson.margin}
    sides = {"score_chosen": lesson.chosen, "score_rejected": lesson.rejected}
    scores = {name: here.scores.get((lesson.task, sample.text)) for name, sample in sides.items()}
    return "preference", prompt | row | scores | here.origin(lesson)


def _write_data(run: RunDir, last: int, folder: Path) -> dict[str, dict[str, int]]:
    """Kind of lesson -> round's name -> how many were written."""
    splits: dict[str, dict[str, int]] = {}
    for number in range(last + 1):
        lessons = run.read_round(number, "lessons", LESSONS)
        for kind, rows in _by_kind(lessons or [], _taught(run, number)).items():
            path = folder / kind / f"{round_name(number)}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[kind]), path)
            splits.setdefault(kind, {})[round_name(number)] = len(rows)
    return splits


def _by_kind(lessons: Iterable[Lesson], here: Taught) -> dict[str, Sequence[Row]]:
    found: dict[str, list[Row]] = {}
    for lesson in lessons:
        kind, row = lesson_row(lesson, here)
        found.setdefault(kind, []).append(row)
    return {kind: found[kind] for kind in sorted(found)}
