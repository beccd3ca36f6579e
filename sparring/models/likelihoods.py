"""How likely a server finds a text: by the echo of its tokens, or, for one letter, by the likeliest first tokens of an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparring.config import Endpoint
from sparring.data import encode_completion, encode_prompt
from sparring.errors import SparringError
from sparring.game import Scored
from sparring.models.answers import MOST_FIRST
from sparring.models.asking import Call, Prompt, Request, Serving
from sparring.models.transport import Trouble

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

First = tuple[tuple[str, float], ...]
"""(token, log-prob in nats) of the likeliest first tokens of an answer."""


def echo_request(endpoint: Endpoint, serving: Serving, tokenizer: PreTrainedTokenizerBase, prompt: str, text: str) -> Request:
    head, tail = encode_prompt(tokenizer, prompt), encode_completion(tokenizer, text)[:-1]
    # One token more is generated: not every server takes 0.
    body = {
        "model": serving.model,
        "prompt": [*head, *tail],
        "max_tokens": 1,
        "temperature": 1.0,
        "echo": True,
        "logprobs": 1,
        **endpoint.extra,
    }
    return Request(
        api="completions",
        body=body,
        prompt_tokens=len(head) + len(tail),
        max_tokens=1,
        serving=serving,
        fixed=frozenset(body),
        echo=(len(head), len(tail)),
    )


async def echoed(call: Call, request: Request) -> Scored:
    """Of the tokens that ``request.echo`` says. Raises SparringError for a server that does not echo."""
    url = call.asker.endpoint.url
    repair = "score with a server that echoes token ids with their log-probs (vLLM, SGLang), or in this process"
    try:
        answer = await call.ask(Prompt(), request)
    except Trouble as trouble:
        raise SparringError(f"{url} gives no scores: {trouble.reason}; {repair}") from None
    if not answer.echoed:
        raise SparringError(f"{url} gives no scores: it does not echo the log-probs of a prompt; {repair}")
    return Scored(logprob=sum(answer.echoed), tokens=len(answer.echoed))


def first_request(endpoint: Endpoint, serving: Serving, prompt: Mapping[str, Any], prompt_tokens: int) -> Request:
    """``prompt``: its part of a chat's body. At temperature 1 the log-probs are the model's own with every server."""
    body = {
        "model": serving.model,
        **prompt,
        "max_tokens": 1,
        "temperature": 1.0,
        "stream": False,
        "logprobs": True,
        "top_logprobs": MOST_FIRST,
        **endpoint.extra,
    }
    return Request(
        api="chat",
        body=body,
        prompt_tokens=prompt_tokens,
        max_tokens=1,
        serving=serving,
        fixed=frozenset(body),
    )


async def first_tokens(call: Call, request: Request) -> First | None:
    """None for a prompt that brings no answer. Raises SparringError for a server that does not say what it found likely."""
    try:
        answer = await call.ask(Prompt(), request)
    except Trouble:
        return None
    if not answer.first:
        raise SparringError(
            f"{call.asker.endpoint.url} gives no scores: its answer has no top_logprobs; ask a server that offers them for chat "
            "(OpenAI, vLLM, SGLang, llama.cpp), or score in this process"
        )
    return answer.first


def letter_score(first: First | None, letter: str) -> Scored:
    """Of the tokens that are this letter, with or without a space around it."""
    if first is None:
        return Scored(logprob=math.nan, tokens=1)
    found = [math.exp(logprob) for token, logprob in first if token.strip() == letter]
    return Scored(logprob=math.log(sum(found)) if sum(found) > 0 else -math.inf, tokens=1)
