"""How complex and how good prompts are, 1 to 5 by a judge: the curriculum table (arXiv 2411.00062, complexity and quality by round).

A question's category is the round that its prompt was created in, or any other group.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sparring.config import Evaluation
from sparring.evals.intervals import bootstrap
from sparring.evals.suite import (
    Players,
    Question,
    Result,
    Row,
    Seat,
    ask,
    fault_lines,
    greedy,
    no_verdict,
    sample_fault,
    seated,
)
from sparring.evals.templates import rate_request_prompt
from sparring.game import Sample

SCALES = ("complexity", "quality")
_SCORE = {scale: re.compile(rf"\[\[\s*{scale}\s*:\s*([1-5])\s*\]\]", re.IGNORECASE) for scale in SCALES}


@dataclass(frozen=True, kw_only=True)
class PromptScores:
    name: str = "prompts"
    questions: Sequence[Question]
    judge_tokens: int = 512
    seats: tuple[Seat, ...] = ("judge",)

    def play(self, players: Players) -> list[Row]:
        prompts = [rate_request_prompt(question.turns[0]) for question in self.questions]
        said = ask(seated(players.judge, "judge"), prompts, greedy(self.judge_tokens), "judge")
        return [_row(question, sample) for question, sample in zip(self.questions, said, strict=True)]

    def report(self, rows: Sequence[Row], how: Evaluation) -> Result:
        groups = {name: [row for row in rows if row.category == name] for name in dict.fromkeys(row.category for row in rows)}
        figures: dict[str, float | None] = {}
        lines = [f"  {'':<26}{'prompts':>8}{'complexity':>24}{'quality':>24}"]
        for name, group in (groups if len(groups) > 1 else {"all": list(rows)}).items():
            judged = [row for row in group if row.fault is None]
            cells: list[str] = []
            for scale in SCALES:
                values = [float(row.detail[scale]) for row in judged]
                found = bootstrap(values, how.level, how.bootstrap)
                figures[f"{scale} {name}"] = found.mean if values else None
                cells.append(f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]" if values else "nothing judged")
            lines.append(f"  {name:<26}{len(judged):>8}" + "".join(f"{cell:>24}" for cell in cells))
        return Result(rows=tuple(rows), figures=figures, lines=(*lines, *fault_lines(rows)))


def _row(question: Question, said: Sample) -> Row:
    """``score`` is the mean of the two scales."""
    found = {scale: numbers[-1] for scale in SCALES if (numbers := _SCORE[scale].findall(said.text))}
    fault = sample_fault(said)
    if fault is None and len(found) < len(SCALES):
        fault = no_verdict(said, "[[complexity: 1-5]] and [[quality: 1-5]]")
    detail = {"prompt": question.turns[0], "judgement": said.text}
    if fault:
        return Row(question=question.id, category=question.category, score=None, fault=fault, detail=detail)
    marks = {scale: int(number) for scale, number in found.items()}
    score = sum(marks.values()) / len(marks)
    return Row(question=question.id, category=question.category, score=score, detail={**detail, **marks})
