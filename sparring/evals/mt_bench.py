"""MT-Bench (arXiv 2306.05685): questions with a follow-up, each answer rated by itself from 1 to 10."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparring.config import Evaluation
from sparring.evals.answers import prompt_of
from sparring.evals.style import token_length
from sparring.evals.suite import (
    Players,
    Question,
    Result,
    Row,
    Seat,
    ask,
    fault_lines,
    greedy,
    interval_line,
    mean,
    no_verdict,
    sample_fault,
    seated,
    shown,
)
from sparring.evals.templates import rate_prompt
from sparring.game import Model, Sample, Sampling

TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
"""The benchmark's own, by category; it answers the others greedily."""
REFERENCED = ("math", "reasoning", "coding")
"""Categories in which the judge is shown a reference answer, where there is one."""
_RATING = re.compile(r"\[\[\s*(\d{1,3}(?:\.\d{1,6})?)\s*\]\]")


@dataclass(frozen=True, kw_only=True)
class MTBench:
    name: str = "mt-bench"
    questions: Sequence[Question]
    max_new_tokens: int = 1024
    judge_tokens: int = 2048
    seats: tuple[Seat, ...] = ("model", "judge")

    def play(self, players: Players) -> list[Row]:
        answers = self._answer(seated(players.model, "model"))
        prompts: dict[tuple[str, int], str] = {}
        for question in self.questions:
            given = answers[question.id]
            known = question.references if question.category in REFERENCED else ()
            for turn in range(1, len(given) + 1):
                if sample_fault(given[turn - 1]) is None:
                    told = [*prompt_of(question, [sample.text for sample in given[: turn - 1]]).turns, given[turn - 1].text]
                    prompts[question.id, turn] = rate_prompt(told, known[:turn])
        said = ask(seated(players.judge, "judge"), list(prompts.values()), greedy(self.judge_tokens), "judge")
        judged = dict(zip(prompts, said, strict=True))
        return [
            _row(question, turn, answers[question.id], judged.get((question.id, turn)))
            for question in self.questions
            for turn in range(1, len(question.turns) + 1)
        ]

    def _answer(self, model: Model) -> dict[str, list[Sample]]:
        """Every question's answers, a turn at a time; one that failed ends its dialogue."""
        answers: dict[str, list[Sample]] = {question.id: [] for question in self.questions}
        for turn in range(max(len(question.turns) for question in self.questions)):
            open_now = [
                question
                for question in self.questions
                if turn < len(question.turns) and not any(map(sample_fault, answers[question.id]))
            ]
            for heat in sorted({TEMPERATURES.get(question.category, 0.0) for question in open_now}):
                asked = [question for question in open_now if TEMPERATURES.get(question.category, 0.0) == heat]
                how = Sampling(n=1, temperature=heat, top_p=1.0, max_new_tokens=self.max_new_tokens)
                prompts = [prompt_of(question, [sample.text for sample in answers[question.id]]) for question in asked]
                for question, sample in zip(asked, ask(model, prompts, how, "model"), strict=True):
                    answers[question.id].append(sample)
        return answers

    def report(self, rows: Sequence[Row], how: Evaluation) -> Result:
        """The mean is over all rated answers, as the benchmark has it."""
        turns = sorted({row.detail["turn"] for row in rows})
        scores = {turn: [row.score for row in rows if row.score is not None and row.detail["turn"] == turn] for turn in turns}
        every = [score for turn in turns for score in scores[turn]]
        figures = {"mean": mean(every)} | {f"turn_{turn}": mean(scores[turn]) for turn in turns}
        figures["answer_length"] = mean([token_length(row.detail["answer"]) for row in rows if row.fault is None])
        lines = [interval_line(f"turn {turn}", scores[turn], how) for turn in turns]
        by_question = [mean([r.score for r in rows if r.question == name and r.score is not None]) for name in _names(rows)]
        lines.append(interval_line("mean of questions", [score for score in by_question if score is not None], how))
        lines.append(f"  {'mean of answers':<26}{shown(figures['mean'], 2)}")
        for category in sorted({row.category for row in rows}):
            figures[f"mean {category}"] = mean([r.score for r in rows if r.category == category and r.score is not None])
            lines.append(f"    {category or 'no category':<24}{shown(figures[f'mean {category}'], 2)}")
        lines.append(f"  {'length':<26}{shown(figures['answer_length'])} tokens")
        return Result(rows=tuple(rows), figures=figures, lines=(*lines, *fault_lines(rows, "answers")))


def read_rating(text: str) -> float | None:
    """The last [[number]] from 1 to 10; None for no number and for one outside."""
    found = _RATING.findall(text)
    rating = float(found[-1]) if found else 0.0
    return rating if 1 <= rating <= 10 else None


def _row(question: Question, turn: int, answers: Sequence[Sample], said: Sample | None) -> Row:
    detail: dict[str, Any] = {"turn": turn}
    if said is None:
        fault = next((fault for sample in answers if (fault := sample_fault(sample))), None)
        return Row(question=question.id, category=question.category, score=None, fault=fault, detail=detail)
    detail |= {"answer": answers[turn - 1].text, "judgement": said.text}
    rating = None if sample_fault(said) else read_rating(said.text)
    fault = None if rating is not None else sample_fault(said) or no_verdict(said, "rating [[1]] to [[10]]")
    return Row(question=question.id, category=question.category, score=rating, fault=fault, detail=detail)


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.question for row in rows))
