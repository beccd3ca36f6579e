"""Nouns to Parquet rows and back. The columns are the fields of ``game.py``, nested, so that any Parquet reader can use them.

``Task.meta`` and ``Attempt.stats`` are JSON strings in the file: different games would otherwise not share a schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Credit, Demo, Lesson, Pair, Sample, Step, Task, Verdict

T = TypeVar("T")
Row = dict[str, Any]

_SAMPLE = pa.struct(
    [
        ("role", pa.string()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("token_ids", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
        ("text", pa.string()),
        ("finish", pa.string()),
    ]
)
_TASK = pa.struct(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("context", pa.string()),
        ("parent", pa.string()),
        ("draft", _SAMPLE),
        ("rejected", pa.string()),
        ("meta", pa.string()),
    ]
)
_STEP_BEFORE_HINTS = pa.struct(
    [
        ("state", pa.string()),
        ("tactic", pa.string()),
        ("result", pa.string()),
        ("role", pa.string()),
        ("target", pa.string()),
        ("logprob", pa.float32()),
        ("used", pa.bool_()),
    ]
)
_STEP = pa.struct([*_STEP_BEFORE_HINTS, ("hints", pa.string())])


def _attempt_type(step: pa.DataType) -> pa.DataType:
    return pa.struct(
        [
            ("answer", pa.string()),
            ("samples", pa.list_(_SAMPLE)),
            ("fault", pa.string()),
            ("steps", pa.list_(step)),
            ("stats", pa.string()),
        ]
    )


_VERDICT = pa.struct([("score", pa.float64()), ("solved", pa.bool_()), ("fault", pa.string()), ("note", pa.string())])


def _bouts_schema(step: pa.DataType) -> pa.Schema:
    return pa.schema([("task", _TASK), ("attempts", pa.list_(_attempt_type(step))), ("verdicts", pa.list_(_VERDICT))])


_LESSON_BEFORE_CREDITS = [
    ("kind", pa.string()),
    ("task", pa.string()),
    ("prompt", pa.string()),
    ("chosen", _SAMPLE),
    ("rejected", _SAMPLE),
    ("margin", pa.float64()),
    ("created", pa.bool_()),
    ("completion", pa.string()),
    ("weight", pa.float64()),
]
# A credit's completion lies in ``chosen``: ``completion`` is the text of a demonstration.
_LESSON = [*_LESSON_BEFORE_CREDITS, ("wins", pa.list_(pa.float64())), ("advantage", pa.float64())]


def _fields(record: Any) -> Row:
    return {name: getattr(record, name) for name in record.__slots__}


def _sample(row: Mapping[str, Any] | None) -> Sample | None:
    if row is None:
        return None
    arrays = {name: tuple(row[name]) for name in ("prompt_ids", "token_ids", "logprobs")}
    return Sample(role=row["role"], text=row["text"], finish=row["finish"], **arrays)


def _sample_row(sample: Sample | None) -> Row | None:
    return None if sample is None else _fields(sample)


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True)


def _task_row(task: Task) -> Row:
    return _fields(task) | {"draft": _sample_row(task.draft), "meta": _json(task.meta)}


def _task(row: Mapping[str, Any]) -> Task:
    return Task(**{**row, "draft": _sample(row["draft"]), "meta": json.loads(row["meta"])})


def _attempt(row: Mapping[str, Any]) -> Attempt:
    samples = tuple(sample for sample in map(_sample, row["samples"]) if sample is not None)
    steps = tuple(Step(**step) for step in row["steps"])
    return Attempt(answer=row["answer"], samples=samples, fault=row["fault"], steps=steps, stats=json.loads(row["stats"]))


def _attempt_row(attempt: Attempt) -> Row:
    return _fields(attempt) | {
        "samples": [_sample_row(sample) for sample in attempt.samples],
        "steps": [_fields(step) for step in attempt.steps],
        "stats": _json(attempt.stats),
    }


def _bout_row(bout: Bout) -> Row:
    return {
        "task": _task_row(bout.task),
        "attempts": [_attempt_row(attempt) for attempt in bout.attempts],
        "verdicts": [_fields(verdict) for verdict in bout.verdicts],
    }


def _bout(row: Mapping[str, Any]) -> Bout:
    verdicts = tuple(Verdict(**verdict) for verdict in row["verdicts"])
    return Bout(task=_task(row["task"]), attempts=tuple(map(_attempt, row["attempts"])), verdicts=verdicts)


def _lesson_row(lesson: Lesson) -> Row:
    row: Row = {name: None for name, _ in _LESSON} | _fields(lesson)
    if isinstance(lesson, Demo):
        return row | {"kind": "demo"}
    if isinstance(lesson, Credit):
        return row | {"kind": "credit", "chosen": _sample_row(lesson.completion), "completion": None}
    return row | {"kind": "pair", "chosen": _sample_row(lesson.chosen), "rejected": _sample_row(lesson.rejected)}


def _lesson(row: Mapping[str, Any]) -> Lesson:
    if row["kind"] == "demo":
        return Demo(prompt=row["prompt"], completion=row["completion"], weight=row["weight"])
    shared = {name: row[name] for name in ("task", "prompt", "created")}
    chosen, rejected = _sample(row["chosen"]), _sample(row["rejected"])
    assert chosen is not None
    if row["kind"] == "credit":
        return Credit(**shared, completion=chosen, advantage=row["advantage"])
    assert rejected is not None
    wins = row.get("wins")  # older files know none
    return Pair(**shared, chosen=chosen, rejected=rejected, margin=row["margin"], wins=wins and (wins[0], wins[1]))


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[T]):
    """How one kind of record lies in a Parquet file."""

    name: str
    schema: pa.Schema
    to_row: Callable[[T], Row]
    from_row: Callable[[Mapping[str, Any]], T]
    older: tuple[pa.Schema, ...] = ()
    """Schemas of files that earlier versions wrote; what they lack has its default."""


TASKS: Kind[Task] = Kind(name="tasks", schema=pa.schema(list(_TASK)), to_row=_task_row, from_row=_task)
BOUTS: Kind[Bout] = Kind(
    name="bouts",
    schema=_bouts_schema(_STEP),
    to_row=_bout_row,
    from_row=_bout,
    older=(_bouts_schema(_STEP_BEFORE_HINTS),),
)
LESSONS: Kind[Lesson] = Kind(
    name="lessons",
    schema=pa.schema(_LESSON),
    to_row=_lesson_row,
    from_row=_lesson,
    older=(pa.schema(_LESSON_BEFORE_CREDITS),),
)


def write_parquet(path: Path, records: Sequence[T], kind: Kind[T]) -> None:
    """One file; equal records give equal bytes under the same pyarrow."""
    pq.write_table(
        pa.Table.from_pylist([kind.to_row(record) for record in records], schema=kind.schema), path, write_page_checksum=True
    )


def read_parquet(path: Path, kind: Kind[T]) -> list[T]:
    """The records of one file; a damaged or foreign file is a SparringError that says which and what to do."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(use_threads=False)  # a shard is small
        if not any(table.schema.equals(schema) for schema in (kind.schema, *kind.older)):
            raise pa.ArrowInvalid(f"its columns are {', '.join(table.schema.names)}")
    except (FileNotFoundError, PermissionError) as error:
        raise SparringError(f"{path} cannot be read: {error.strerror}; make it readable (chmod -R u+r)") from None
    except (pa.ArrowException, OSError) as error:
        raise SparringError(
            f"{path} is not a whole {kind.name} file ({str(error).splitlines()[0]}); "
            f"delete this one file and run `sparring resume` again: only it is made anew"
        ) from None
    return [kind.from_row(row) for row in table.to_pylist()]
