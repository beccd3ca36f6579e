"""Proofs as rows: what each tactic of a proof did to the goal that it worked on, in Parquet, under LeanDojo's names for columns.

Works with any environment; goals that depend on each other are one state, as ``Env.split`` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

from sparring.errors import SparringError
from sparring.game import NO_GOALS, Env, Goals, Proved, Rejected, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceRow:
    """One tactic of one proof. ``state_before`` is the goal that it worked on, ``state_after`` the goals that it made of that one,
    joined by a blank line (``no goals``: none). ``premises``: the names in the tactic that the environment's library knows.
    ``start`` and ``end``: where the tactic is in its file, in bytes; both 0 where there is no file."""

    full_name: str
    file_path: str
    theorem_statement: str
    step: int
    state_before: str
    tactic: str
    premises: tuple[str, ...]
    state_after: str
    start: int = 0
    end: int = 0


def trace(env: Env, proofs: Iterable[tuple[Task, str]], known: frozenset[str] = frozenset()) -> Iterator[TraceRow]:
    """A row per line of each script. ``known``: names of lemmas. Raises SparringError where a script proves nothing."""
    for task, script in proofs:
        state = env.start(task)
        lines = [line.strip() for line in script.splitlines() if line.strip()]
        if isinstance(state, Rejected):
            raise SparringError(f"theorem {task.id} cannot be started: {state.reason}")
        open_states = env.split(state)
        for number, line in enumerate(lines):
            if not open_states:
                raise SparringError(f"theorem {task.id}: nothing is left to prove at line {number + 1}, {line!r}")
            before = open_states.pop(0)
            after = _run(env, before, line, f"theorem {task.id}, line {number + 1}")
            open_states = after + open_states
            yield _row(task, number, before, line, after, known)
        if open_states:
            raise SparringError(f"theorem {task.id}: goals are left at the end of its proof: {open_states[0].text}")


def _run(env: Env, before: Goals, line: str, where: str) -> list[Goals]:
    (outcome,) = env.step([(before, line)])
    if isinstance(outcome, Rejected):
        raise SparringError(f"{where}, {line!r}: {outcome.reason}")
    return [] if isinstance(outcome, Proved) else env.split(outcome)


def _row(task: Task, number: int, before: Goals, line: str, after: list[Goals], known: frozenset[str]) -> TraceRow:
    return TraceRow(
        full_name=str(task.meta.get("full_name", task.id)),
        file_path=str(task.meta.get("file_path", "")),
        theorem_statement=task.text,
        step=number,
        state_before=before.text,
        tactic=line,
        premises=tuple(word for word in dict.fromkeys(re.findall(r"[A-Za-z_][A-Za-z0-9_'.]*", line)) if word in known),
        state_after="\n\n".join(goals.text for goals in after) or NO_GOALS,
    )


def write_trace(path: Path, rows: Iterable[TraceRow]) -> int:
    """Writes the rows as one Parquet file, whole or not at all; how many there were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    kinds = {"step": pa.int32(), "premises": pa.list_(text), "start": pa.int64(), "end": pa.int64()}
    schema = pa.schema([(field.name, kinds.get(field.name, text)) for field in fields(TraceRow)])
    table = pa.Table.from_pylist([{**asdict(row), "premises": list(row.premises)} for row in rows], schema=schema)
    unfinished = path.with_name(path.name + ".tmp")
    pq.write_table(table, unfinished)
    unfinished.replace(path)
    return table.num_rows


def read_trace(path: Path) -> list[TraceRow]:
    """The rows of a trace, this project's or one with the same columns (places may be missing); raises SparringError for another
    file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [field.name for field in fields(TraceRow)]
    try:
        with path.open("rb") as file:
            table = pq.ParquetFile(file).read()
    except (OSError, pa.ArrowException) as error:
        raise SparringError(f"{path} is not a trace: {error}") from None
    if missing := [field.name for field in fields(TraceRow) if field.name not in table.column_names and field.default is MISSING]:
        raise SparringError(f"{path} is not a trace: it has no column {', '.join(missing)}")
    rows = table.select([name for name in names if name in table.column_names]).to_pylist()
    return [TraceRow(**{**row, "premises": tuple(row["premises"] or ())}) for row in rows]
