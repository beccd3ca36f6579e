"""Questions to a hostile server, for tests of who asks them."""

from __future__ import annotations

from typing import Any

from sparring.config import Endpoint
from sparring.game import Sampling
from sparring.models.openai import OpenAIModel
from tests import hostile
from tests.hostile import Play, honest, in_turn

HOW = Sampling(n=1, temperature=1.0, max_new_tokens=8)
KEY = "sk-very-secret-0123456789"


def endpoint(url: str, **changes: Any) -> Endpoint:
    return Endpoint(**{"url": url, "model": "tiny", "retries": 2, "timeout_s": 10.0, "concurrency": 4, **changes})


def ask(model: OpenAIModel, *prompts: str, how: Sampling = HOW, seed: int = 0) -> list[list[str]]:
    """The texts, or the faults."""
    groups = model.sample(prompts, how, role="solver", seed=seed)
    return [[sample.fault or sample.text for sample in group] for group in groups]


def fails(*plays: Play) -> hostile.Script:
    return in_turn(plays, honest)
