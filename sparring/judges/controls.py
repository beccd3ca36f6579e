"""Answers known to be good and bad, by which a judge is judged before a run starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparring.data import load_function
from sparring.errors import SparringError
from sparring.game import make_task
from sparring.judges.program import Control

GENERAL = (
    (
        "What is the capital of France?",
        "The capital of France is Paris.",
        "The capital of France is a kind of cheese, probably blue.",
    ),
    (
        "A pen costs 2 euros and a notebook costs 3 euros. What do two pens and one notebook cost?",
        "Two pens cost 2 x 2 = 4 euros. With the notebook for 3 euros that makes 7 euros.",
        "They cost 51 euros, because pens are blue.",
    ),
    (
        "Write a polite e-mail of two or three sentences that asks a colleague to move tomorrow's meeting to Friday.",
        "Hi Anna,\n\nwould it be possible to move our meeting from tomorrow to Friday? Any time in the afternoon suits me. Thank you "
        "very much!\n\nBest regards,\nTom",
        "no",
    ),
    (
        "Explain to a ten-year-old why we see lightning before we hear thunder.",
        "Lightning and thunder happen at the same moment. But light is very, very fast and reaches your eyes at once, while sound is "
        "much slower and takes about three seconds for every kilometre. So you see the flash first and hear the rumble later.",
        "thunder thunder thunder thunder thunder thunder thunder thunder thunder",
    ),
    (
        "Name three things that I should pack for a day of hiking in the mountains.",
        "1. Water, at least one and a half litres.\n2. A rain jacket, because the weather in the mountains changes quickly.\n"
        "3. A map or a charged phone with the route saved on it.",
        "A piano, a second piano, and the colour green.",
    ),
    (
        "Translate into German: Where is the railway station?",
        "Wo ist der Bahnhof?",
        "I will not do that and you are silly for asking.",
    ),
    (
        "Write a Python function that returns the largest number of a list, or None if the list is empty.",
        "```python\ndef largest(numbers):\n    return max(numbers) if numbers else None\n```\n`max` finds the largest number; an empty "
        "list counts as false, so the function returns `None` for it.",
        "```python\nimport import def def\n```",
    ),
    (
        "I have had a headache since this morning. What can I do about it?",
        "I am sorry to hear that. Drink a glass of water, rest in a quiet, dark room and take a break from screens; a common painkiller "
        "can help if you tolerate it. If the pain is sudden and severe, or comes with fever, a stiff neck or trouble seeing, see a "
        "doctor right away.",
        "asdf jkl; asdf jkl; who cares",
    ),
)
"""(prompt, good answer, bad answer): everyday questions, and answers between which no sound judge wavers."""


def load_controls(spec: str, key: str = "judge.controls") -> list[Control]:
    """What a recipe names: ``package.module:function``, a .jsonl file with prompt, good and bad, ``builtin:general``, or "" (none).

    Raises SparringError, with the line of a file, for anything else.
    """
    if not spec:
        return []
    if spec == "builtin:general":
        return [(make_task(prompt), good, bad) for prompt, good, bad in GENERAL]
    if spec.startswith("builtin:"):
        raise SparringError(f"{key} = {spec!r}: there is no such list; there is builtin:general")
    if not spec.endswith(".jsonl"):
        return list(load_function(spec, key)())
    found = [_control(where, row) for where, row in _rows(Path(spec).expanduser(), key)]
    if not found:
        raise SparringError(f'{key} = {spec!r} has no rows; write objects with prompt, good and bad, or set it to ""')
    return found


def _rows(path: Path, key: str) -> Iterator[tuple[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SparringError(f"{key} = {str(path)!r} cannot be read: {error.strerror or error}; give a .jsonl file") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            yield where, json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise SparringError(f"{where}: not JSON in UTF-8 ({error}); write one object per line") from None


def _control(where: str, row: Any) -> Control:
    if not isinstance(row, dict):
        raise SparringError(f"{where}: {type(row).__name__}, not an object with prompt, good and bad")
    for name in ("prompt", "good", "bad"):
        if not isinstance(row.get(name), str):
            raise SparringError(f"{where}: {name} is {row.get(name)!r}; every line needs prompt, good and bad, which are strings")
    if not row["prompt"].strip() or row["good"] == row["bad"]:
        raise SparringError(f"{where}: the prompt is empty, or good and bad are the same; neither tells anything about a judge")
    meta = {name: value for name, value in row.items() if name not in ("prompt", "good", "bad", "context")}
    return make_task(row["prompt"], context=str(row.get("context") or ""), meta=meta), row["good"], row["bad"]
