"""A small recipe whose every part is here: for tests of whole runs with a real model (a random one)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from sparring.game import Task, make_task, stable_hash

PROMPTS = 48
RECIPE = """
game = "align"

[run]
rounds = 2
shard_tasks = 8

[policy]
path = "model"

[data]
prompts = "prompts.jsonl"
per_round = 40
evals = { held-out = "held-out.jsonl" }
read = "tests.small:read"

[solver]
n = 3
max_new_tokens = 8

[judge]
grade = "tests.small:grade"
controls = "tests.small:controls"

[creator]
kind = "symbolic"
mutate = "tests.small:mutate"
chain = 2

[learner]
batch = 8
save_every = 2

[evaluation]
max_new_tokens = 8
bootstrap = 20
"""


def read(text: str) -> Mapping[str, Any] | str:
    words = text.split()
    return {"length": len(words)} if all(word.startswith("w") for word in words) else "a word without a w"


def grade(task: Task, answer: str) -> tuple[float, bool, str]:
    """As good as random, and breaks for every ninth answer: whatever a random model says, there is something to teach."""
    ninths = stable_hash(answer) % 9
    if ninths == 7:
        raise ValueError("a seven")
    return ninths / 8, ninths == 8, f"{ninths} of 8"


def constant_grade(task: Task, answer: str) -> tuple[float, bool, str]:
    return 0.5, True, "whatever"


def controls() -> list[tuple[Task, str, str]]:
    graded = {stable_hash(word) % 9: word for word in map(str, range(100))}
    return [(make_task("w1 w2"), graded[8], graded[0])]


def mutate(text: str, operator: str, seed: int) -> str:
    return f"{text} w{(seed + len(operator)) % 50}"


def write_tasks(path: Path, name: str, count: int) -> None:
    texts = [f"{name} w{index % 11} w{index}" for index in range(count)]
    path.write_text("".join(json.dumps({"text": text, "source": "small"}) + "\n" for text in texts))


def write_recipe(folder: Path, **changes: Any) -> Path:
    """``small.toml``, its model and its tasks, in ``folder``; ``changes`` are sections that replace keys of the recipe's."""
    from tests.tiny import save_tiny

    save_tiny(folder / "model")
    write_tasks(folder / "prompts.jsonl", "w1", PROMPTS)
    write_tasks(folder / "held-out.jsonl", "w2", 10)
    values = tomllib.loads(RECIPE)
    for section, keys in changes.items():
        values[section] = values.get(section, {}) | keys
    path = folder / "small.toml"
    path.write_text(tomli_w.dumps(values))
    return path
