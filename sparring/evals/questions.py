"""Question files in the formats that their projects publish, from disk or from the hub.

A row is read by what it has, so that a file of either release of a benchmark can be read:

    Arena-Hard       .jsonl   uid, category, prompt                      (first release: question_id, turns[].content)
    MT-Bench         .jsonl   question_id, category, turns, reference    (reference: an answer a turn, where there is one)
    AlpacaEval       .json    [instruction, output, generator, dataset]  (output: the baseline's answer)
    plain prompts    .jsonl   prompt or text or instruction
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from sparring.errors import SparringError
from sparring.evals.suite import Question

HUB = "hub:"


def find_file(source: str, key: str) -> Path:
    """A local file, or ``hub:KIND/OWNER/NAME/PATH`` (KIND: datasets, spaces or models), downloaded or from the cache.

    Raises SparringError, naming the option ``key``.
    """
    if source.startswith(HUB):
        return _download(source, key)
    path = Path(source).expanduser()
    if not path.is_file():
        raise SparringError(f"{key} = {source!r}: there is no such file; give one, or hub:datasets/OWNER/NAME/PATH")
    return path


def _download(source: str, key: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    kinds = {"datasets": "dataset", "spaces": "space", "models": "model"}
    kind, *parts = source.removeprefix(HUB).split("/", 3)
    if kind not in kinds or len(parts) != 3 or not all(parts):
        raise SparringError(f"{key} = {source!r}: write hub:datasets/OWNER/NAME/PATH (or spaces, or models)")
    try:
        return Path(hf_hub_download("/".join(parts[:2]), parts[2], repo_type=kinds[kind]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise SparringError(
            f"{key} = {source!r} could not be fetched ({str(error).strip().splitlines()[0]}); check the network, HF_TOKEN and "
            "HF_HUB_OFFLINE, or download the file and give its path"
        ) from None


def json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of a .jsonl file, or of a .json file that is a list. SparringError names the file and the line."""
    try:
        data = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SparringError(f"{path} cannot be read as UTF-8 ({error}); give a .jsonl or .json file") from None
    listed = _json_list(path, data) if data.lstrip().startswith("[") else _json_lines(path, data)
    for where, row in listed:
        if not isinstance(row, dict):
            raise SparringError(f"{where}: {type(row).__name__} where an object with named fields has to be")
        yield where, row


def _json_list(path: Path, data: str) -> Iterator[tuple[str, Any]]:
    try:
        rows = json.loads(data)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SparringError(f"{path} is no JSON list ({error}); write [{{...}}, {{...}}]") from None
    yield from ((f"{path}, item {number}", row) for number, row in enumerate(rows, 1))


def _json_lines(path: Path, data: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(data.split("\n"), 1):
        if line.strip():
            try:
                yield f"{path}, line {number}", json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise SparringError(f"{path}, line {number}: not JSON ({error}); write one object per line") from None


def read_questions(path: Path) -> list[Question]:
    """Every question of a file, in order; SparringError for a row that is none, for an id twice and for an empty file."""
    found: dict[str, Question] = {}
    for number, (where, row) in enumerate(json_rows(path)):
        question = _question(row, number, where)
        if question.id in found:
            raise SparringError(f"{where}: the id {question.id!r} is there twice; every question needs its own")
        found[question.id] = question
    if not found:
        raise SparringError(f"{path} has no questions; write one object per line")
    return list(found.values())


def _question(row: dict[str, Any], number: int, where: str) -> Question:
    turns = _turns(row, where)
    references = row.get("reference") or []
    if not is_texts(references) or len(references) > len(turns):
        raise SparringError(f"{where}: reference must be a list of at most {len(turns)} texts, one a turn")
    ready = row.get("output")
    if not isinstance(ready, str | None):
        raise SparringError(f"{where}: output is {type(ready).__name__}, not a text")
    return Question(
        id=row_id(row, number),
        turns=tuple(turns),
        category=str(row.get("category") or row.get("dataset") or ""),
        references=tuple(map(whole, references)),
        ready=None if ready is None else whole(ready),
        by=str(row.get("generator") or ""),
    )


def row_id(row: dict[str, Any], number: int) -> str:
    """A question's own id; AlpacaEval knows its instructions by their place in the file, counted from 0."""
    return str(row.get("uid", row.get("question_id", number)))


def _turns(row: dict[str, Any], where: str) -> list[str]:
    given = row.get("turns")
    if given is None:
        given = [next((row[name] for name in ("prompt", "instruction", "text") if name in row), None)]
    if isinstance(given, list):
        given = [turn.get("content") if isinstance(turn, dict) else turn for turn in given]
    if not is_texts(given) or not given or not all(turn.strip() for turn in given):
        raise SparringError(
            f"{where}: no question; a row needs turns (a list of texts), prompt, instruction or text, found {sorted(row)[:8]}"
        )
    return list(map(whole, given))


def whole(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def is_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def with_references(questions: Sequence[Question], path: Path) -> list[Question]:
    """The questions with the answers of a file as their references, in MT-Bench's format of answers; the others keep their own."""
    rows = {row_id(row, number): (where, row) for number, (where, row) in enumerate(json_rows(path))}
    return [_with_reference(question, *rows[question.id]) if question.id in rows else question for question in questions]


def _with_reference(question: Question, where: str, row: dict[str, Any]) -> Question:
    match row:
        case {"choices": [{"turns": [*turns]}, *_]} if is_texts(turns) and len(turns) <= len(question.turns):
            return replace(question, references=tuple(map(whole, turns)))
    raise SparringError(f"{where}: no reference answers; a row needs choices, whose first has turns: a text for each turn")
