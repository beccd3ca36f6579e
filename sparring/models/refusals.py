"""What a server's words say about a field of the request that it does not take: each kind of server words it in its own way.

OpenAI quotes the field ("Unsupported parameter: 'top_p' is ..."), as transformers serve and the JSON of validation errors do; Groq and vLLM
write rules ("n must be ..."), llama.cpp names no field where it gives one choice only. "n" and "stop" are also a letter and a word of
anything else, so what is read here is a guess: who asks without the field finds out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

OPTIONAL = ("n", "seed", "stop", "logprobs", "return_token_ids", "top_p")
"""Fields that a server may refuse: what they ask for is done here instead, or is left out (``top_p`` only where it is 1)."""
_NAMED = (
    r"""["'`]{0}["'`]""",
    r"\b(?:param(?:eter)?|argument|field|property|option|name)s?\W{{1,3}}{0}\b",
    r"\b(?:un(?:known|supported|expected|recogni[sz]ed)|only)\W{{1,3}}{0}\b",
    r"\b{0}\s*[=<>]",
    r"\b{0}\W{{1,3}}(?:is|are|must|should|can|cannot|not|param(?:eter)?|argument|field|option|unsupported)\b",
)
_ONE_CHOICE = r"\bonly (?:one|1|a single)\b.*\bchoice"


def refused_field(body: Mapping[str, Any], fixed: Set[str], words: str, known: Set[str]) -> str | None:
    """What a refusal of ``body`` in those words may be about and can be dealt with; neither a ``fixed`` field nor a ``known`` habit.

    ``max_tokens``: it has to be called max_completion_tokens; ``ids``: the prompt has to be text; else a field of ``OPTIONAL``.
    """
    if "max_tokens" not in known and re.search(r"use\W+max_completion_tokens", words, re.IGNORECASE):
        return "max_tokens"
    if "ids" not in known and isinstance(body.get("prompt"), list) and re.search(r"\bprompt\b.*\bstr(?:ing)?\b", words):
        return "ids"
    able = [name for name in OPTIONAL if name in body and name not in known and name not in fixed]
    if "top_p" in able and body["top_p"] != 1:
        able.remove("top_p")
    if "n" in able and re.search(_ONE_CHOICE, words, re.IGNORECASE):
        return "n"
    return next((name for name in able if any(re.search(how.format(name), words, re.IGNORECASE) for how in _NAMED)), None)
