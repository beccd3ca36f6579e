"""AlpacaEval 2: how often a judge prefers the model's answer to the baseline's, and how often it would at equal length.

The preference is the judge's choice, or (``weighted``, as the benchmark does it) how likely it finds each of the two letters.
The benchmark shows each question in one order drawn by chance; here it is shown in both, and the preference is their mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sparring.config import Evaluation
from sparring.errors import SparringError
from sparring.evals.length_control import FOLDS, Gamed, length_controlled
from sparring.evals.pairwise import Pair, answer_pairs, answers_of, both_orders, length_figures, order_figures, order_lines
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
from sparring.evals.templates import prefer_prompt
from sparring.game import Model

_LETTERS = ("m", "M")
_CHOICE = re.compile(r"^[\W_]*([mM])(?![a-zA-Z])")

Said = tuple[float | None, str, str]
"""(how much the judge prefers the answer shown last, in [0, 1], or None; what it wrote; its fault or "")."""


@dataclass(frozen=True, kw_only=True)
class AlpacaEval:
    """``gamed``: the published table for the benchmark's own questions; without it only the length is controlled for."""

    name: str = "alpaca-eval"
    questions: Sequence[Question]
    max_new_tokens: int = 2048
    weighted: bool = False
    gamed: Gamed | None = None
    seats: tuple[Seat, ...] = ("model", "baseline", "judge")

    def play(self, players: Players) -> list[Row]:
        pairs = answer_pairs(self.questions, players, greedy(self.max_new_tokens))
        whole = [pair for pair in pairs if pair.fault is None]
        prompts, judge = both_orders(whole, prefer_prompt), seated(players.judge, "judge")
        said = _likelihoods(judge, prompts) if self.weighted else _choices(judge, prompts)
        judged = {pair.question.id: two for pair, two in zip(whole, zip(said[::2], said[1::2], strict=True), strict=True)}
        return [_row(pair, judged.get(pair.question.id)) for pair in pairs]

    def report(self, rows: Sequence[Row], how: Evaluation) -> Result:
        scores = [row.score for row in rows if row.score is not None]
        rate = mean(scores)
        figures = {"win_rate": None if rate is None else 100 * rate} | order_figures(rows) | length_figures(rows, len)
        figures["length_controlled_win_rate"] = figures["standard_error"] = None
        if len(scores) < FOLDS:
            controlled = f"  {'at equal length':<26}fewer than {FOLDS} questions judged"
        else:
            places = {question.id: place for place, question in enumerate(self.questions)}
            found = length_controlled(
                [row.score for row in rows],
                [(len(row.detail["baseline"]), len(row.detail["answer"])) for row in rows],
                how,
                self.gamed,
                [places[row.question] for row in rows],
            )
            figures |= {"length_controlled_win_rate": found.win_rate, "standard_error": found.standard_error}
            controlled = (
                f"  {'at equal length':<26}{found.win_rate:6.2f} %  [{found.low:.2f}, {found.high:.2f}] (standard error over "
                f"instructions {found.standard_error:.2f})" + ("" if self.gamed else "; without the table of gamed baselines")
            )
        length = f"  {'length':<26}{shown(figures['answer_length'], 0)} characters, the baseline's "
        lines = [
            interval_line("win rate", scores, how, 100, " %"),
            controlled,
            *order_lines(figures),
            length + shown(figures["baseline_length"], 0),
            *fault_lines(rows),
        ]
        return Result(rows=tuple(rows), figures=figures, lines=tuple(lines))


def _choices(judge: Model, prompts: Sequence[str]) -> list[Said]:
    """By the letter that the judge writes."""
    found: list[Said] = []
    for sample in ask(judge, prompts, greedy(8), "judge"):
        letter = _CHOICE.search(sample.text)
        fault = sample_fault(sample) or ("" if letter else no_verdict(sample, "letter m or M"))
        found.append((None if fault or not letter else float(letter[1] == "M"), sample.text, fault))
    return found


def _likelihoods(judge: Model, prompts: Sequence[str]) -> list[Said]:
    """By the log-probs of the two letters as the answer's beginning."""
    scored = judge.score([(prompt, letter) for prompt in prompts for letter in _LETTERS], role="judge")
    found: list[Said] = []
    for first, last in zip(scored[::2], scored[1::2], strict=True):
        gap = last.logprob - first.logprob
        told = f"log-prob of m {first.logprob:.4f}, of M {last.logprob:.4f}"
        # Two infinities have no difference: the judge can write neither letter.
        unasked = math.isnan(first.logprob) or math.isnan(last.logprob)
        fault = "no answer from the judge" if unasked else "the judge finds m and M impossible" if math.isnan(gap) else ""
        found.append((None if fault else _logistic(gap), told, fault))
    return found


def check_likelihoods(judge: Model) -> None:
    """Asks for one judgement; raises SparringError for a judge that cannot say how likely it finds the letters."""
    prompt = prefer_prompt("What is 2 + 2?", "4", "I do not know.")
    ((weight, told, fault),) = _likelihoods(judge, [prompt])
    if weight is None:
        raise SparringError(
            f"--weighted: {fault} ({told}); name a judge whose answers begin with a letter, or leave --weighted out"
        )


def _logistic(gap: float) -> float:
    return 1 / (1 + math.exp(-gap)) if gap > 0 else (small := math.exp(gap)) / (1 + small)


def _row(pair: Pair, said: tuple[Said, Said] | None) -> Row:
    question, category, detail = pair.question.id, pair.question.category, answers_of(pair)
    if said is None:
        return Row(question=question, category=category, score=None, fault=pair.fault, detail=detail)
    (last, _, fault_last), (first, _, fault_first) = said
    detail |= {"judgements": [text for _, text, _ in said]}
    if last is None or first is None:
        return Row(question=question, category=category, score=None, fault=fault_last or fault_first, detail=detail)
    chances = [last, 1 - first]  # in the first order the model is shown last
    levels = [2 * chance - 1 for chance in chances]
    return Row(question=question, category=category, score=sum(chances) / 2, detail={**detail, "levels": levels})
