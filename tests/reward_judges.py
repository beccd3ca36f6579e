"""Judges of tiny reward models, and what they say and read, for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from sparring.config import Member
from sparring.game import Attempt, Task, make_task
from sparring.judges.armorm import ArmoRMJudge
from sparring.judges.pairrm import PairRMJudge
from sparring.judges.reward_model import RewardModelJudge
from tests.tiny_judges import save_armorm, save_classifier, save_pairrm

TASK = make_task("Name three fruits.")
ANSWERS = ("Apple, pear and plum.", "no", "I could name many, but would not know where to begin and so had better not.", "Apple.")
LOADERS: dict[str, tuple[Any, Callable[[Path], Path]]] = {
    "reward_model": (RewardModelJudge, save_classifier),
    "armorm": (ArmoRMJudge, save_armorm),
    "pairrm": (PairRMJudge, save_pairrm),
}


def load(kind: Any, path: Path, **changes: Any) -> Any:
    return LOADERS[kind][0].load(Member(kind=kind, path=str(path), device="cpu", **changes))


def scores(judge: Any, *answers: str, task: Task = TASK) -> list[float]:
    [verdicts] = judge.judge([task], [tuple(Attempt(answer=answer) for answer in answers)])
    assert [verdict.fault for verdict in verdicts] == [None] * len(answers)
    return [verdict.score for verdict in verdicts]


def faults(judge: Any, *answers: str, task: Task = TASK) -> list[str | None]:
    [verdicts] = judge.judge([task], [tuple(Attempt(answer=answer) for answer in answers)])
    assert not any(verdict.solved for verdict in verdicts if verdict.fault)
    return [verdict.fault for verdict in verdicts]


def seen(judge: Any, *answers: str, task: Task = TASK) -> list[list[int]]:
    """The rows that the model reads for the answers, without their padding; the shortest first."""
    rows: list[list[int]] = []

    def look(_: Any, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        ids, mask = inputs[:2] if inputs else (named["input_ids"], named["attention_mask"])
        rows.extend(row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True))

    handle = judge.model.register_forward_pre_hook(look, with_kwargs=True)
    judge.judge([task], [tuple(Attempt(answer=answer) for answer in answers)])
    handle.remove()
    return rows
