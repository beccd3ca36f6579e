"""Tasks and scores of the library reasoning-gym (extra ``gym``): a hundred families of puzzles that a program makes and grades.

A task keeps in ``meta["gym"]`` all that its grade needs (family, settings, entry), so a run that goes on elsewhere generates nothing anew.
No model is called. Several of the library's graders evaluate the answer as Python, so they work in a locked process (``isolated``).
"""

from __future__ import annotations

import atexit
import difflib
import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any
from urllib.parse import parse_qsl

from sparring.errors import SparringError
from sparring.game import Task, make_task
from sparring.judges.isolated import Isolated
from sparring.judges.program import Control

MAX_CHARS = 20_000
"""Of an answer; a longer one is not graded."""
SUFFIX = "\n\nWrite the final answer, and nothing but it, between <answer> and </answer>."

_OPEN, _CLOSE = "<answer>", "</answer>"


def read_gym(source: str) -> list[Task]:
    """The tasks of ``gym:NAME?size=100&seed=1``; further parameters are settings of the family, their values JSON or plain text."""
    name, _, query = source.removeprefix("gym:").partition("?")
    config: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        try:
            config[key] = json.loads(text)
        except json.JSONDecodeError:
            config[key] = text
    size, seed = config.pop("size", 100), config.pop("seed", 0)
    for key, value in (("size", size), ("seed", seed)):
        if type(value) is not int or value < (key == "size"):
            raise SparringError(f"{source}: {key} = {value!r} should be a whole number, as in gym:{name}?size=100&seed=1")
    return gym_tasks(name, size, seed, **config)


def gym_tasks(name: str, size: int, seed: int, **config: Any) -> list[Task]:
    """``size`` tasks of a family. Raises SparringError for an unknown family or setting, and for what cannot be kept as JSON."""
    dataset = _dataset(name, {**config, "size": size, "seed": seed})
    tasks: dict[str, Task] = {}
    for place in range(size):
        entry = dataset[place]
        kept = {"answer": entry["answer"], "metadata": entry["metadata"]}
        try:
            meta = {"gym": {"name": name, "config": config, "entry": pack(kept)}, "topic": name}
            json.dumps(meta, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SparringError(f"gym:{name} makes entries that a run cannot keep ({error}); choose another family") from None
        task = make_task(entry["question"] + SUFFIX, meta=meta)
        tasks.setdefault(task.id, task)
    return list(tasks.values())


def grade(task: Task, answer: str) -> tuple[float, bool, str]:
    """The family's own score in [0, 1] of the answer between the last tags, or of the whole text where there are none.

    Solved is a score of 1. For ``judge.grade``; raises where the judge itself cannot say.
    """
    gym = task.meta.get("gym")
    if not isinstance(gym, Mapping):
        raise SparringError(f"task {task.text[:60]!r} is none of reasoning-gym's; read tasks from gym:NAME?size=100&seed=1")
    given = tagged_answer(answer)
    if len(given) > MAX_CHARS:
        raise ValueError(f"the answer has {len(given)} characters, more than {MAX_CHARS}")
    _require()
    score = float(_scorer()(gym["name"], json.dumps(gym["config"], sort_keys=True), gym["entry"], given))
    if not (math.isfinite(score) and -1e-9 <= score <= 1 + 1e-9):
        raise ValueError(f"score is {score}")
    return score, score >= 1 - 1e-9, f"answer {given[:80]}"


def controls() -> list[Control]:
    """Gold answers and corrupted ones of three families, for ``judge.controls``. Raises SparringError where the extra is missing."""
    return [pair for name in ("chain_sum", "spell_backward", "countdown") for pair in controls_of(gym_tasks(name, 2, 0))]


def controls_of(tasks: Sequence[Task]) -> list[Control]:
    """The gold answer of each task that has one, against a corrupted one and none."""
    known = [(task, unpack(task.meta["gym"]["entry"])["answer"]) for task in tasks]
    gold = [(task, f"{_OPEN}{answer}{_CLOSE}") for task, answer in known if isinstance(answer, str)]
    return [(task, good, bad) for task, good in gold for bad in (f"{_OPEN}no such answer{_CLOSE}", "")]


def tagged_answer(text: str) -> str:
    """What stands between the last pair of answer tags, or all of the text."""
    end = text.rfind(_CLOSE)
    start = text.rfind(_OPEN, 0, end) if end >= 0 else -1
    return (text[start + len(_OPEN) : end] if start >= 0 else text).strip()


def pack(value: Any) -> Any:
    """JSON from which ``unpack`` makes the same again: tuples stay tuples and numbers that are keys stay numbers.

    Raises TypeError for anything else that JSON does not know.
    """
    if isinstance(value, tuple):
        return {"()": [pack(item) for item in value]}
    if isinstance(value, list):
        return [pack(item) for item in value]
    if isinstance(value, Mapping):
        return {"{}": [[pack(key), pack(item)] for key, item in value.items()]}
    if isinstance(value, str):
        return str.__str__(value)  # numpy has strings of its own
    if value is None or isinstance(value, bool | int | float):
        return value
    raise TypeError(f"a {type(value).__name__} is no JSON")


def unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if isinstance(value, Mapping):
        if "()" in value:
            return tuple(unpack(item) for item in value["()"])
        return {unpack(key): unpack(item) for key, item in value["{}"]}
    return value


def score(name: str, config: str, entry: Any, answer: str) -> float:
    """The family's score. For a locked process alone: it may hang, and it may evaluate the answer."""
    return float(_graded(name, config).score_answer(answer, unpack(entry)))


@lru_cache(maxsize=64)
def _graded(name: str, config: str) -> Any:
    return _dataset(name, json.loads(config))


@cache
def _scorer() -> Isolated:
    warm = ("chain_sum", "{}", pack({"answer": "1", "metadata": {}}), "1")
    scorer = Isolated("sparring.judges.gym:score", warm)
    atexit.register(scorer.close)
    return scorer


def _dataset(name: str, config: Mapping[str, Any]) -> Any:
    _require()
    from reasoning_gym.factory import DATASETS, create_dataset

    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=3, cutoff=0.4) or sorted(DATASETS)
        raise SparringError(f"gym:{name}: reasoning-gym has no family {name!r}; did you mean {', '.join(near)}?")
    known = DATASETS[name][1].__dataclass_fields__
    if strange := sorted(set(config) - set(known)):
        raise SparringError(f"gym:{name} has no setting {strange[0]!r}; there are {', '.join(known)}")
    try:
        return create_dataset(name, **config)
    except (AssertionError, TypeError, ValueError) as error:
        raise SparringError(f"gym:{name} refuses {dict(config)}: {error or 'a setting is out of range'}") from None


def _require() -> None:
    if importlib.util.find_spec("reasoning_gym") is None:
        raise SparringError('reasoning-gym is not installed: pip install "sparring[gym]"')
