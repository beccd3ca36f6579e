"""Two answers before a judge, in both orders: what a judge owes to the place of an answer cancels out, and can be seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparring.evals.answers import prompt_of
from sparring.evals.suite import Players, Question, Row, ask, mean, sample_fault, seated, shown
from sparring.game import Model, Sample, Sampling

_VERDICT = re.compile(r"\[\[\s*(A>>B|A>B|A=B|B=A|B>A|B>>A|A<<B|A<B|B<A|B<<A)\s*\]\]", re.IGNORECASE)
_LEVELS = {"A>>B": 2, "A>B": 1, "A=B": 0, "B>A": -1, "B>>A": -2}
_LEVELS |= {"B<<A": 2, "B<A": 1, "B=A": 0, "A<B": -1, "A<<B": -2}


def read_verdict(text: str) -> int | None:
    """How much better A is, from 2 (far) to -2, by the last verdict in the text; None where there is none."""
    found = _VERDICT.findall(text)
    return _LEVELS[found[-1].upper()] if found else None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What is compared: the answers of the model and of the baseline to one question."""

    question: Question
    model: Sample
    baseline: Sample

    @property
    def fault(self) -> str | None:
        return sample_fault(self.model) or sample_fault(self.baseline)


def answer_pairs(questions: Sequence[Question], players: Players, how: Sampling) -> list[Pair]:
    """The first turn of every question, answered by the model and by the baseline."""
    prompts = [prompt_of(question, ()) for question in questions]
    mine = ask(seated(players.model, "model"), prompts, how, "model")
    other = ask(seated(players.baseline, "baseline"), prompts, how, "baseline")
    return [Pair(question=q, model=a, baseline=b) for q, a, b in zip(questions, mine, other, strict=True)]


Show = Callable[[str, str, str], str]
"""(request, answer shown first, answer shown second) -> the judge's prompt."""


def both_orders(pairs: Sequence[Pair], show: Show) -> list[str]:
    """Two prompts for each pair: the baseline first, then the model first."""
    prompts: list[str] = []
    for pair in pairs:
        request, mine, other = pair.question.turns[0], pair.model.text, pair.baseline.text
        prompts += [show(request, other, mine), show(request, mine, other)]
    return prompts


def judge_pairs(pairs: Sequence[Pair], judge: Model, show: Show, how: Sampling) -> list[tuple[Sample, Sample]]:
    """The two judgements of each pair, in the orders of ``both_orders``."""
    said = ask(judge, both_orders(pairs, show), how, "judge")
    return list(zip(said[::2], said[1::2], strict=True))


def answers_of(pair: Pair) -> dict[str, str]:
    return {"answer": pair.model.text, "baseline": pair.baseline.text}


def order_figures(rows: Sequence[Row]) -> dict[str, float | None]:
    """Of rows with ``detail["levels"]``, how much better the model is in each order: position consistency and bias.

    Consistent: both orders name the same winner, or both a tie. Bias: how often the answer that is shown first wins, a tie
    being half; 50 % is none.
    """
    levels = [row.detail["levels"] for row in rows if row.fault is None]
    same = [float(_sign(first) == _sign(second)) for first, second in levels]
    # In the first order the baseline is shown first, in the second one the model is.
    first_wins = [(1 + sign) / 2 for first, second in levels for sign in (-_sign(first), _sign(second))]
    return {"consistency": _percent(mean(same)), "first_wins": _percent(mean(first_wins))}


def length_figures(rows: Sequence[Row], measure: Callable[[str], float]) -> dict[str, float | None]:
    judged = [row for row in rows if row.fault is None]
    return {f"{name}_length": mean([measure(row.detail[name]) for row in judged]) for name in ("answer", "baseline")}


def order_lines(figures: dict[str, float | None]) -> list[str]:
    return [
        f"  {'position':<26}{shown(figures['consistency'])} % of the questions have the same winner in both orders; the answer "
        f"shown first wins {shown(figures['first_wins'])} % (50: no bias)",
    ]


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
