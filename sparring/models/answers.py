"""What an OpenAI-compatible server's response says, checked: anything may be missing, of another type, or a lie.

Token ids come from servers that offer them (vLLM and SGLang: ``return_token_ids``), log-probs from all that have the field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeGuard

from sparring.models.transport import Trouble

Api = Literal["chat", "completions"]

_STOPS = ("stop", "eos", "eos_token", "stop_sequence", "end_turn")
_LENGTHS = ("length", "max_tokens")
_FILTERED = "the server's content filter withheld the answer (finish_reason content_filter)"
_THOUGHTS = "all tokens went into thoughts that are not shown; raise max_new_tokens"
MOST_FIRST = 20
"""Likeliest first tokens that may be asked for: what OpenAI's API and vLLM allow."""
_LARGEST = 10**9
_UNLIKELY = -1e4
"""vLLM writes -9999 where it has no number; nothing that was drawn is as unlikely as that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One answer. ``token_ids`` and, one for each of them, ``logprobs`` (nats) are empty where the server does not tell.

    ``withheld``: why there is no text, where other answers of the same response have one.
    """

    text: str
    finish: Literal["stop", "length"]
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    withheld: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A whole response. ``model``, ``fingerprint`` and ``weights`` are what the server says that it answered with; ``echoed`` are the
    log-probs (nats) of the prompt's tokens that were asked for, ``first`` the likeliest first tokens of a chat's answer with theirs;
    both are empty where the server tells none."""

    choices: tuple[Choice, ...]
    prompt_ids: tuple[int, ...] = ()
    echoed: tuple[float, ...] = ()
    first: tuple[tuple[str, float], ...] = ()
    model: str = ""
    fingerprint: str = ""
    weights: str = ""

    def dump(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def load(cls, text: str) -> Answer:
        found = json.loads(text)
        choices = tuple(
            Choice(**{**choice, "token_ids": tuple(choice["token_ids"]), "logprobs": tuple(choice["logprobs"])})
            for choice in found.pop("choices")
        )
        arrays = {name: tuple(found[name]) for name in ("prompt_ids", "echoed")}
        first = tuple((str(token), float(logprob)) for token, logprob in found.get("first", ()))
        return cls(**{**found, **arrays, "choices": choices, "first": first})


def usage_of(found: Mapping[str, Any]) -> tuple[int, int] | None:
    """(prompt tokens, completion tokens) that a response says it cost; None where it does not say it, or nonsense."""
    usage = found.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not _is_int(prompt) or not _is_int(completion) or not 0 <= min(prompt, completion) <= max(prompt, completion) <= _LARGEST:
        return None
    return prompt, completion


def read_answer(found: Mapping[str, Any], api: Api, max_tokens: int, echo: tuple[int, int] | None = None) -> Answer:
    """The answer in a response, with the log-probs of ``echo`` = (first, count) prompt tokens where these were asked for.

    Raises ``Trouble`` where it is none, or half a one, or where every choice is withheld.
    """
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise Trouble("bad", f"the response has no choices{_error_of(found)}")
    places = [choice.get("index") for choice in choices]
    if all(_is_int(place) for place in places):
        choices = sorted(choices, key=lambda choice: choice["index"])
    read = tuple(_choice(choice, api, max_tokens) for choice in choices)
    if all(choice.withheld for choice in read):
        filtered = any(choice.withheld == _FILTERED for choice in read)
        raise Trouble("filtered" if filtered else "refused", read[0].withheld)
    metadata = found.get("metadata")
    prompt_ids = found.get("prompt_token_ids", choices[0].get("prompt_token_ids"))
    return Answer(
        choices=read,
        prompt_ids=_ids(prompt_ids, _LARGEST),
        echoed=_echoed(choices[0].get("logprobs"), *echo) if echo else (),
        first=_first_tokens(choices[0].get("logprobs")) if api == "chat" else (),
        model=_text_or_empty(found.get("model")),
        fingerprint=_text_or_empty(found.get("system_fingerprint")),
        weights=_text_or_empty(metadata.get("weight_version")) if isinstance(metadata, dict) else "",
    )


def _choice(choice: Mapping[str, Any], api: Api, max_tokens: int) -> Choice:
    finish = choice.get("finish_reason")
    if finish == "content_filter":
        return Choice(text="", finish="stop", withheld=_FILTERED)
    if finish not in (*_STOPS, *_LENGTHS):
        raise Trouble("bad", f"finish_reason is {str(finish)[:40]!r}, not stop or length")
    text = _chat_text(choice) if api == "chat" else choice.get("text")
    if api == "chat" and finish in _LENGTHS and (text is None or (text == "" and not choice.get("token_ids"))):
        return Choice(text="", finish="length", withheld=_THOUGHTS)
    if not isinstance(text, str):
        raise Trouble("bad", f"the text is {type(text).__name__}, not a string")
    ids = _ids(choice.get("token_ids"), max_tokens)
    values = _logprobs(choice.get("logprobs"), api)
    return Choice(
        text=_whole(text),
        finish="stop" if finish in _STOPS else "length",
        token_ids=ids,
        logprobs=values if len(values) == len(ids) else (),
    )


def _chat_text(choice: Mapping[str, Any]) -> Any:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Trouble("bad", "a choice has no message")
    content = message.get("content")
    if content is None and isinstance(message.get("refusal"), str):
        return message["refusal"]  # a model that declines has answered
    return content


def _first_tokens(logprobs: Any) -> tuple[tuple[str, float], ...]:
    """``top_logprobs`` of a chat's first token, without those that are none."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = content[0].get("top_logprobs") if isinstance(content, list) and content and isinstance(content[0], dict) else None
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    pairs = [(item.get("token"), item.get("logprob")) for item in items[:MOST_FIRST]]
    return tuple(
        (_whole(token)[:100], min(float(value), 0.0)) for token, value in pairs if isinstance(token, str) and _is_logprob(value)
    )


def _echoed(logprobs: Any, first: int, count: int) -> tuple[float, ...]:
    """Of an echoing response, whose ``token_logprobs`` begin with the prompt's (the very first token has none)."""
    values = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
    if not isinstance(values, list) or len(values) < first + count:
        return ()
    return _numbers(values[first : first + count])


def _logprobs(found: Any, api: Api) -> tuple[float, ...]:
    """One per token: chat has ``content[].logprob``, completions ``token_logprobs[]``; () where a single one is missing."""
    if not isinstance(found, dict):
        return ()
    values = found.get("token_logprobs")
    if api == "chat":
        content = found.get("content")
        values = (
            [item.get("logprob") if isinstance(item, dict) else None for item in content] if isinstance(content, list) else None
        )
    return _numbers(values) if isinstance(values, list) else ()


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    """() if a single one is no log-prob."""
    kept = [min(float(value), 0.0) for value in values if _is_logprob(value)]
    return tuple(kept) if len(kept) == len(values) else ()


def _is_logprob(value: Any) -> TypeGuard[float]:
    # Rounding takes a probability of 1 slightly above it.
    return isinstance(value, int | float) and not isinstance(value, bool) and _UNLIKELY < value < 1e-3 and value != -9999.0


def _ids(found: Any, most: int) -> tuple[int, ...]:
    if not isinstance(found, list) or len(found) > most or not all(_is_int(value) and 0 <= value < 2**31 for value in found):
        return ()
    return tuple(found)


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _text_or_empty(value: Any) -> str:
    return _whole(value)[:500] if isinstance(value, str) else ""


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, which no file could hold."""
    return text.encode("utf-8", "replace").decode() if any("\ud800" <= char <= "\udfff" for char in text) else text


def _error_of(found: Mapping[str, Any]) -> str:
    """Some servers report errors with status 200."""
    error = found.get("error")
    return f": {json.dumps(error)[:200]}" if error else ""


def guessed_tokens(texts: Sequence[str]) -> int:
    """Tokens of texts where a server does not count them: a token is some four bytes of English, so three err upwards."""
    return math.ceil(sum(len(text.encode("utf-8", "replace")) for text in texts) / 3)
