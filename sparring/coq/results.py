"""What became of the holes of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparring.coq.flat import Hole, Unit
from sparring.coq.patch import Block

Status = Literal["proved", "partial", "gave up", "refused", "taken back", "not tried"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a hole. ``block``: its proof; of a partial one ``admit`` stands where ``rest``, the goals that remain, stand."""

    unit: Unit
    hole: Hole
    status: Status
    reason: str = ""
    block: Block | None = None
    rest: tuple[str, ...] = ()
    seconds: float = 0.0
    tries: int = 0
    rests_on: tuple[str, ...] = ()
    closes: bool = False
    """With it the statement is proved; otherwise that stays admitted."""
    unseen: str = ""
    """Where it stays admitted: why it is not known whether Coq takes the proof at ``Qed``."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """``diff``: the patch; "" if nothing was proved. ``kept``: where the file is kept as it was, if it was written."""

    path: Path
    results: tuple[Result, ...]
    diff: str
    new: str
    notes: tuple[str, ...] = ()
    stopped: bool = False
    kept: Path | None = None
