"""Arena-Hard (arXiv 2406.11939): a judge compares the model with a baseline in five levels, both answers in both places.

The first release (v0.1) reports the Bradley-Terry win rate against the baseline, the second one (v2) that at equal style, a
category at a time. Both are computed from the same judgements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparring.config import Evaluation
from sparring.evals.bradley_terry import WinRate, win_rate
from sparring.evals.pairwise import (
    Pair,
    answer_pairs,
    answers_of,
    judge_pairs,
    length_figures,
    order_figures,
    order_lines,
    read_verdict,
)
from sparring.evals.style import NAMES, style_features, token_length
from sparring.evals.suite import (
    Players,
    Question,
    Result,
    Row,
    Seat,
    fault_lines,
    greedy,
    no_verdict,
    sample_fault,
    seated,
    shown,
)
from sparring.evals.templates import compare_prompt
from sparring.game import Sample

STRONG_VOTES = 3
"""What [[A>>B]] counts for, in votes of [[A>B]]; the benchmark's own weight."""


@dataclass(frozen=True, kw_only=True)
class ArenaHard:
    """``by_category``: a line for each category too, as the second release reports, whose baselines differ by category."""

    name: str = "arena-hard"
    questions: Sequence[Question]
    max_new_tokens: int = 4096
    judge_tokens: int = 4096
    by_category: bool = False
    seats: tuple[Seat, ...] = ("model", "baseline", "judge")

    def play(self, players: Players) -> list[Row]:
        pairs = answer_pairs(self.questions, players, greedy(self.max_new_tokens))
        whole = [pair for pair in pairs if pair.fault is None]
        said = judge_pairs(whole, seated(players.judge, "judge"), compare_prompt, greedy(self.judge_tokens))
        judged = {pair.question.id: two for pair, two in zip(whole, said, strict=True)}
        return [_row(pair, judged.get(pair.question.id)) for pair in pairs]

    def report(self, rows: Sequence[Row], how: Evaluation) -> Result:
        judged = [row for row in rows if row.fault is None]
        figures = order_figures(rows) | length_figures(rows, token_length)
        lines: list[str] = []
        groups = {"": judged}
        if self.by_category:
            groups |= {name: [row for row in judged if row.category == name] for name in sorted({r.category for r in judged})}
        for category, group in groups.items():
            found = _win_rates(group, how)
            tag = f" {category}" if category else ""
            figures |= {f"{name}{tag}": rate.rate if rate else None for name, rate in found.items()}
            lines += [_line(f"{name.replace('_', ' ')}{tag}", rate, how) for name, rate in found.items()]
            if not category and (styled := found["win_rate_at_equal_style"]):
                told = ", ".join(f"{name} {value:+.2f}" for name, value in zip(NAMES, styled.style, strict=True))
                lines.append(f"  {'style':<26}{told} (what one spread more of it does to the log-odds)")
        lines += order_lines(figures)
        lines.append(
            f"  {'length':<26}{shown(figures['answer_length'])} tokens, the baseline's {shown(figures['baseline_length'])}"
        )
        return Result(rows=tuple(rows), figures=figures, lines=(*lines, *fault_lines(rows)))


def _row(pair: Pair, said: tuple[Sample, Sample] | None) -> Row:
    """One order alone would bring the judge's bias for a place back, so a fault in either is the question's."""
    fault, detail = pair.fault, answers_of(pair)
    question, category = pair.question.id, pair.question.category
    if said is None:
        return Row(question=question, category=category, score=None, fault=fault, detail=detail)
    texts = [sample.text for sample in said]
    shown_first, shown_last = (read_verdict(text) for text in texts)
    if shown_first is None or shown_last is None:
        blamed = said[0] if shown_first is None else said[1]
        fault = sample_fault(blamed) or no_verdict(blamed, "verdict [[A>>B]] ... [[B>>A]]")
        return Row(question=question, category=category, score=None, fault=fault, detail={**detail, "judgements": texts})
    levels = [-shown_first, shown_last]  # in the first order the baseline is A
    score, _ = votes(levels)
    return Row(question=question, category=category, score=score, detail={**detail, "judgements": texts, "levels": levels})


def votes(levels: Sequence[int]) -> tuple[float, int]:
    """(share of the votes for the model, number of votes) of a question's games, each from 2, far better, to -2."""
    games = [((level > 0) + 0.5 * (level == 0), STRONG_VOTES if abs(level) == 2 else 1) for level in levels]
    total = sum(count for _, count in games)
    return sum(won * count for won, count in games) / total, total


def _win_rates(rows: Sequence[Row], how: Evaluation) -> dict[str, WinRate | None]:
    if not rows:
        return {"win_rate": None, "win_rate_at_equal_style": None}
    outcomes, weights = (np.array(column, dtype=float) for column in zip(*(votes(r.detail["levels"]) for r in rows), strict=True))
    style = style_features([row.detail["answer"] for row in rows], [row.detail["baseline"] for row in rows])
    return {
        "win_rate": win_rate(outcomes, weights, style[:, :0], how),
        "win_rate_at_equal_style": win_rate(outcomes, weights, style, how),
    }


def _line(name: str, rate: WinRate | None, how: Evaluation) -> str:
    if rate is None:
        return f"  {name:<26}nothing judged"
    return f"  {name:<26}{rate.rate:6.2f} %  [{rate.low:.2f}, {rate.high:.2f}] ({100 * how.level:g} % interval over questions)"
