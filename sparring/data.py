"""Tasks from files, and prompts and answers as tokens: the one rendering that the sampler and the learner share.

A prompt is one user turn of the tokenizer's own chat template, opened for the assistant's answer; a completion is the
answer's tokens and the end-of-sequence token that closes the turn. Because both sides call these two functions, a
log-probability taken while sampling and one taken while learning speak of the same tokens.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparring.errors import SparringError
from sparring.game import Task, make_task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of ``prompt`` as one user turn, up to where the assistant's answer begins.

    Raises SparringError for a tokenizer without a chat template: guessing one would train a policy on a format that no
    one else uses for it.
    """
    if not tokenizer.chat_template:
        raise SparringError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no chat template, so a prompt has no rendering; "
            "use an instruction-tuned model, or put a chat_template.jinja beside the tokenizer"
        )
    if not any(token in prompt for token in tokenizer.all_special_tokens):
        # The template writes its own special tokens; the tokenizer must not put a second BOS before them.
        return tokenizer.encode(_turn(tokenizer, prompt), add_special_tokens=False)
    # A prompt that spells a special token (a model may have written it) must not end the turn: its text is encoded as text.
    before, found, after = _turn(tokenizer, _MARK).partition(_MARK)
    if not found:
        raise SparringError(
            f"the chat template does not show the prompt as it is, so {prompt[:60]!r} cannot be made harmless; drop it"
        )
    text = tokenizer.encode(prompt, add_special_tokens=False, split_special_tokens=True)
    around = [tokenizer.encode(part, add_special_tokens=False) for part in (before, after)]
    return [*around[0], *text, *around[1]]


_MARK = "\ue000"


def _turn(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    turn = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))


def encode_completion(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of an answer, ended by the end-of-sequence token."""
    end = tokenizer.eos_token_id
    if not isinstance(end, int):
        raise SparringError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no end-of-sequence token, so an answer has no end; "
            "set eos_token in its tokenizer_config.json"
        )
    return [*tokenizer.encode(text, add_special_tokens=False), end]


# -- tasks --------------------------------------------------------------------------------------------------------------


def load_function(spec: str, key: str) -> Callable[..., Any]:
    """The function that a recipe names as ``package.module:function``; ``key`` is the recipe's key, for the error."""
    module, colon, name = spec.partition(":")
    try:
        if not colon:
            raise AttributeError("there is no colon in it")
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SparringError(f"{key} = {spec!r} cannot be imported ({error}); write package.module:function") from None
    if not callable(found):
        raise SparringError(f"{key} = {spec!r} is a {type(found).__name__}, not a function")
    return found


Read = Callable[[str], Mapping[str, Any] | str]
"""A world's reader: a prompt's meta, or the reason why it cannot be judged."""


def read_tasks(source: str, read: Read | None, key: str) -> list[Task]:
    """The tasks of ``world:SPLIT`` or of a .jsonl or .parquet file whose rows have ``text`` (or ``prompt``).

    Other columns become the task's meta; ``read`` adds what the judge needs and refuses what cannot be judged.
    Raises SparringError with the file and the line for anything else. Repeated prompts are read once.
    """
    if source.startswith("world:"):
        from sparring.worlds.splits import split

        return list(split(source.removeprefix("world:")))
    tasks: dict[str, Task] = {}
    for where, row in _rows(Path(source).expanduser(), key):
        task = _task_of_row(row, read, where)
        tasks.setdefault(task.id, task)
    if not tasks:
        raise SparringError(f"{key} = {source!r} has no rows")
    return list(tasks.values())


def _rows(path: Path, key: str) -> Iterator[tuple[str, Any]]:
    """(where, row) of a file."""
    readers = {".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    if path.suffix not in readers:
        raise SparringError(
            f"{key} = {str(path)!r}: {path.suffix or 'no ending'} is not known; give .jsonl, .parquet or world:human"
        )
    try:
        yield from readers[path.suffix](path)
    except OSError as error:
        raise SparringError(
            f"{key} = {str(path)!r} cannot be read: {error.strerror or error}; give a .jsonl or .parquet file"
        ) from None


def _jsonl_rows(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield f"{path}, line {number}", json.loads(line.decode("utf-8-sig"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise SparringError(f"{path}, line {number}: not JSON in UTF-8 ({error}); write one object per line") from None


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        try:
            rows = pq.ParquetFile(file).read().to_pylist()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise SparringError(f"{path} is not a whole Parquet file: {error}") from None
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


def _task_of_row(row: Any, read: Read | None, where: str) -> Task:
    if not isinstance(row, dict):
        raise SparringError(f"{where}: {type(row).__name__}, not an object with a text")
    text = row.get("text", row.get("prompt"))
    if not isinstance(text, str) or not text.strip():
        raise SparringError(f"{where}: no text; every row needs a text (or prompt) that is a string, found columns {sorted(row)}")
    meta = {name: value for name, value in row.items() if name not in ("text", "prompt", "context")}
    try:
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:  # no JSON: a date, bytes, NaN, half a surrogate pair
        raise SparringError(f"{where}: {error}; columns hold text, numbers, lists and objects of these") from None
    found = read(text) if read else {}
    if isinstance(found, str):
        raise SparringError(f"{where}: {text!r} cannot be judged: {found}; mend it, or set data.read to another reader or to ''")
    return make_task(text, context=str(row.get("context") or ""), meta={**meta, **found})
