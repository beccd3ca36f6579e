"""The splits of the theorem world, which are shipped as a file: ``theorems.py`` makes it.

``train`` has demonstrations. ``pool`` has theorems like those of ``train`` and longer ones, without: what a prover may work on by
itself. ``validation`` and ``test`` are like ``train``; ``novel`` needs lemmas that no demonstration uses; in ``hard`` the expert's
proofs are longer than any demonstration. No two theorems of all splits share a ``statement_key``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sparring.errors import SparringError
from sparring.game import Task, make_task

FILE = Path(__file__).parent / "theorem_data" / "theorems.jsonl"
SPLITS = ("train", "pool", "validation", "test", "novel", "hard")
HELD_OUT = ("validation", "test", "novel", "hard")


@cache
def _rows() -> Mapping[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows[row.pop("split")].append(row)
    return rows


@cache
def split(name: str) -> tuple[Task, ...]:
    """The theorems of a split, each with its ``family``, ``difficulty``, ``steps``, ``branches``, ``premises`` and ``key``; those of
    ``train`` with a proof (``script``). ``difficulty`` is ``steps`` (of the expert's proof) plus ``branches`` (goals that were opened
    beyond the one at work)."""
    if name not in SPLITS:
        raise SparringError(f"the theorem world has no split {name!r}; it has {', '.join(SPLITS)}")
    return tuple(
        make_task(row["text"], meta={key: value for key, value in row.items() if key != "text"}) for row in _rows()[name]
    )


@cache
def held_out() -> frozenset[int]:
    """Keys of all evaluation splits: no statement with such a key may be proposed, proved in training or taught."""
    return frozenset(row["key"] for name in HELD_OUT for row in _rows()[name])
