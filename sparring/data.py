"""Tasks from files, and prompts and answers as tokens: the one rendering that the sampler and the learner share.

A prompt is one user turn of the tokenizer's own chat template, opened for the assistant's answer; a completion is the
answer's tokens and the token with which the template closes the assistant's turn. Because both sides call these functions, a
log-probability taken while sampling and one taken while learning speak of the same tokens.
"""

from __future__ import annotations

import datetime
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sparring.conversation import Conversation
from sparring.errors import SparringError
from sparring.game import Task, make_task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sparring.config import Policy

_MARK, _ANSWER = "\ue000", "\ue001"
"""Stand for a prompt and an answer where a template is looked at; private characters, which no template writes itself."""

_TODAY = datetime.datetime(2025, 1, 1)
"""The date for templates that write one (Llama 3's do): with the real one a resumed run would ask other questions."""


@cache
def _date_macro() -> str:
    """A template's ``strftime_now`` for ``_TODAY``, in its own language: it is handed data, and no functions."""
    parts = {f"%{letter}": _TODAY.strftime(f"%{letter}") for letter in "aAbBcdHIjmMpSUwWxXyY"}
    parts |= {f"%-{letter}": parts[f"%{letter}"].lstrip("0") or "0" for letter in "dHIjmMS"}
    told = "".join(f" | replace({directive!r}, {value!r})" for directive, value in parts.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{told} }}}}{{% endmacro +%}}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chat:
    """What a tokenizer's chat template puts around a prompt, and what closes an answer."""

    before: str
    after: str
    """From the end of the prompt to where the answer begins."""
    after_ids: tuple[int, ...]
    lead: str
    """Space that the template puts before an answer, and not where it opens one."""
    closing: int
    controls: Mapping[int, str]
    """Tokens that a prompt must not contain: all special ones, and the others with which the template writes its turns."""
    written: int
    """How many of them the template writes around a prompt."""

    def count(self, ids: Sequence[int]) -> int:
        """How many of ``ids`` are control tokens."""
        return sum(token in self.controls for token in ids)


_CHATS: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[Any, _Chat]] = WeakKeyDictionary()
"""By tokenizer, with the template and the end token that it was made of."""


def _chat_of(tokenizer: PreTrainedTokenizerBase) -> _Chat:
    made_of = (tokenizer.chat_template, tokenizer.eos_token)
    known = _CHATS.get(tokenizer)
    if known is None or known[0] != made_of:
        known = _CHATS[tokenizer] = (made_of, _read_template(tokenizer))
    return known[1]


def _read_template(tokenizer: PreTrainedTokenizerBase) -> _Chat:
    name = tokenizer.name_or_path or "this model"
    if not tokenizer.chat_template:
        raise SparringError(
            f"the tokenizer of {name} has no chat template, so a prompt has no rendering; use an instruction-tuned model, or give "
            "a template in a file (--policy.chat_template=chat_template.jinja)"
        )
    try:
        turn = _show(tokenizer, (_MARK,))
    except Exception as error:  # a template is a program
        raise SparringError(
            f"the chat template of {name} cannot render a single user turn: {type(error).__name__}: {error}; mend it, or give another "
            "(--policy.chat_template=chat_template.jinja)"
        ) from error
    if _MARK not in turn:
        raise SparringError(
            f"the chat template of {name} does not show the user's text; mend it, or give another "
            "(--policy.chat_template=chat_template.jinja)"
        )
    before, after = turn.partition(_MARK)[0], turn.rpartition(_MARK)[2]
    added = {token: str(what) for token, what in tokenizer.added_tokens_decoder.items() if not str(what).isspace()}
    lead, tail_text = _around_answer(tokenizer, turn)
    tail = _encode(tokenizer, tail_text)
    shell = {*_encode(tokenizer, before), *_encode(tokenizer, after), *tail}
    controls = {
        token: what
        for token, what in added.items()
        if token != tokenizer.unk_token_id and (tokenizer.added_tokens_decoder[token].special or token in shell)
    }
    # Not always the tokenizer's end of sequence: Llama 3 closes with <|eot_id|>, Gemma with <end_of_turn>, Phi 3 with <|end|>.
    closing = [token for token in tail if token in added or token == tokenizer.eos_token_id] or [_end_of(tokenizer)]
    return _Chat(
        before=before,
        after=after,
        after_ids=tuple(_encode(tokenizer, after)),
        lead=lead,
        closing=closing[0],
        controls=controls,
        written=sum(token in controls for token in _encode(tokenizer, turn)),
    )


def _around_answer(tokenizer: PreTrainedTokenizerBase, opened: str) -> tuple[str, str]:
    """The space that the template writes between an ``opened`` turn and an assistant's answer, and what it writes after one; nothing
    where it cannot render an answer.
    """
    try:
        before, found, tail = _show(tokenizer, (_MARK, _ANSWER)).rpartition(_ANSWER)
    except Exception:  # it was made for questions alone: answers are closed by the end of sequence
        return "", ""
    lead = before.removeprefix(opened)
    return (lead if lead.isspace() else ""), (tail if found else "")


def _end_of(tokenizer: PreTrainedTokenizerBase) -> int:
    if not isinstance(tokenizer.eos_token_id, int):
        raise SparringError(
            f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no end-of-sequence token, and its chat template closes an "
            "answer with no token of its own, so an answer has no end; set eos_token in its tokenizer_config.json"
        )
    return tokenizer.eos_token_id


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    # The template writes its own special tokens; the tokenizer must not put a second BOS before them.
    return tokenizer.encode(text, add_special_tokens=False)


def _turns_of(prompt: str) -> tuple[str, ...]:
    return prompt.turns if isinstance(prompt, Conversation) else (prompt,)


def _show(tokenizer: PreTrainedTokenizerBase, turns: Sequence[str]) -> str:
    """The user's and the assistant's ``turns`` by the template, opened for the next answer where the last is the user's."""
    told = [{"role": ("user", "assistant")[number % 2], "content": turn} for number, turn in enumerate(turns)]
    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = _date_macro() + template
    opened = len(turns) % 2 == 1
    return str(tokenizer.apply_chat_template(told, chat_template=template, add_generation_prompt=opened, tokenize=False))


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of ``prompt`` as one user turn (or of all turns of a ``Conversation``), up to where the assistant's answer begins.

    A prompt that spells a special token (a model may have written it) gets it as text, so it cannot end its turn.
    Raises SparringError for a tokenizer without a chat template: guessing one would train a policy on a format that no
    one else uses for it.
    """
    chat, turns = _chat_of(tokenizer), _turns_of(prompt)
    try:
        shown = _show(tokenizer, turns)
    except Exception:  # a template that stumbles over this very text
        shown = chat.before + prompt + chat.after
    ids = _encode(tokenizer, shown)
    written = chat.written if len(turns) == 1 else chat.count(_encode(tokenizer, _show(tokenizer, (_MARK,) * len(turns))))
    return ids if chat.count(ids) == written else _encode_as_text(tokenizer, prompt, written)


def _encode_as_text(tokenizer: PreTrainedTokenizerBase, prompt: str, written: int) -> list[int]:
    """``encode_prompt`` for a prompt that spells control tokens; ``written``: how many there would be without those."""
    chat = _chat_of(tokenizer)
    spelled = re.compile("|".join(re.escape(what) for what in sorted(chat.controls.values(), key=len, reverse=True)))
    turns = [turn.replace(_MARK, "") for turn in _turns_of(prompt)]
    found = [token for turn in turns for token in spelled.findall(turn)]
    try:
        parts = _show(tokenizer, [spelled.sub(_MARK, turn) for turn in turns]).split(_MARK)
    except Exception:  # as above
        parts = []
    if len(parts) == len(found) + 1:
        ids = _encode(tokenizer, parts[0])
        for token, part in zip(found, parts[1:], strict=True):
            ids += [*_letters(tokenizer, chat, token), *_encode(tokenizer, part)]
        if chat.count(ids) == written:
            return ids
    # Only the tokenizer sees the token (it ignores case, say), or the template takes its prompts apart.
    return [*_encode(tokenizer, chat.before), *_letters(tokenizer, chat, prompt), *chat.after_ids]


def _letters(tokenizer: PreTrainedTokenizerBase, chat: _Chat, text: str) -> list[int]:
    return [token for letter in text for token in _encode(tokenizer, letter) if token not in chat.controls]


def encode_completion(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of an answer and of the one token that closes it."""
    chat = _chat_of(tokenizer)
    # In its place: some tokenizers write the first word of a text in another way than one that follows something.
    text = text if not text or text[0].isspace() else chat.lead + text
    placed = _encode(tokenizer, chat.after + text)
    start = len(chat.after_ids)
    # Where the answer's first letters would melt into the template's last token the answer is encoded by itself: that is what a
    # model that goes on from the template writes.
    alone = tuple(placed[:start]) != chat.after_ids
    return [*(_encode(tokenizer, text) if alone else placed[start:]), chat.closing]


def closing_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token with which the chat template closes an assistant's turn."""
    return _chat_of(tokenizer).closing


# -- prompts of the right length ------------------------------------------------------------------------------------------


def prompt_of(task: Task) -> str:
    """What a model is shown of a task."""
    return f"{task.context}\n\n{task.text}" if task.context else task.text


def too_long(tokenizer: PreTrainedTokenizerBase, policy: Policy) -> Callable[[str], str]:
    """A gate: from a prompt to the reason why it is refused, "" if it is not."""

    def gate(prompt: str) -> str:
        over = len(encode_prompt(tokenizer, prompt)) > policy.max_prompt_tokens
        return "longer than policy.max_prompt_tokens" if over else ""

    return gate


def fit_prompts(
    tasks: Sequence[Task], tokenizer: PreTrainedTokenizerBase, policy: Policy, key: str = "data.prompts"
) -> tuple[list[Task], dict[str, int]]:
    """The tasks whose prompts are within ``policy.max_prompt_tokens``, and how many were ``long``, ``cut`` and ``dropped``.

    What becomes of a longer one says ``policy.long_prompts``: a SparringError that names ``key``, a task whose text ends earlier, at
    the end of a token (its meta says how many it lost, as ``cut``), or nothing. Tasks that are the same once cut are one.
    """
    limit = policy.max_prompt_tokens
    tokens = [len(encode_prompt(tokenizer, prompt_of(task))) for task in tasks]
    long = sum(count > limit for count in tokens)
    if long and policy.long_prompts == "refuse":
        most = max(tokens)
        raise SparringError(
            f"{key}: {long} of {len(tasks)} prompts have more tokens than policy.max_prompt_tokens {limit}, the longest {most}: "
            f"{tasks[tokens.index(most)].text[:60]!r}; raise it (--policy.max_prompt_tokens={most}), or cut or leave out what is longer "
            "(--policy.long_prompts=cut, --policy.long_prompts=drop)"
        )
    kept: dict[str, Task] = {}
    cut = 0
    for task, count in zip(tasks, tokens, strict=True):
        fitting = task
        if count > limit:
            fitting = _cut(task, tokenizer, limit, count - limit) if policy.long_prompts == "cut" else None
            cut += fitting is not None and fitting.id not in kept
        if fitting is not None:
            kept.setdefault(fitting.id, fitting)
    return list(kept.values()), {"long": long, "cut": cut, "dropped": long - cut}


def _cut(task: Task, tokenizer: PreTrainedTokenizerBase, limit: int, over: int) -> Task | None:
    """The task with its text cut by no more than it takes to fit (or by some letters more, where a tokenizer tells no places); None
    where nothing is left. ``over``: tokens that are too many.
    """
    ends = list(range(1, len(task.text) + 1))  # a tokenizer that tells no places is cut at any letter
    if tokenizer.is_fast:
        found = tokenizer(task.text, add_special_tokens=False, return_offsets_mapping=True)
        ends = [end for _, end in found["offset_mapping"]]
    keep = len(ends) - over
    while keep > 0:
        text = task.text[: ends[keep - 1]]
        shorter = make_task(text, context=task.context, meta={**task.meta, "cut": len(ends) - keep})
        over = len(encode_prompt(tokenizer, prompt_of(shorter))) - limit
        if over <= 0:
            return shorter if text.strip() else None
        keep -= over
    return None


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
        task = task_of_row(row, read, where)
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


def task_of_row(row: Any, read: Read | None, where: str) -> Task:
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
