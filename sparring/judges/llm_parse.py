"""What a judging model said, read from the last line of its reply and nowhere else.

A reply that was cut off has no last line. ``None`` stands for a reply without a verdict, which is asked for again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sparring.game import Sample
from sparring.judges.llm_prompts import MAX_QUESTION_CHARS, MAX_QUESTIONS

_MAX_LINE = 400
_DECORATION = " \t*_`#>.[]()"
_VERDICT = re.compile(r"(?:final\s+)?verdict[\s*_`]*(?:[\[(]?([0-9a-f]{8})[\])]?)?[\s*_`]*[:=](.*)", re.IGNORECASE)
_SCORE = re.compile(r"(\d{1,2}(?:\.\d{1,3})?)(?:\s*/\s*10)?", re.ASCII)
_CHOICES = {"a": 1.0, "b": 0.0, "tie": 0.5}
_CHECK = re.compile(r"(\d{1,2})\s*[=:.)]?\s*(yes|no)\b", re.IGNORECASE | re.ASCII)
_QUESTION = re.compile(r"\s*[*_]*(\d{1,2})\s*[.):][\s*_]*(.+\?)[\s*_]*")


def verdict_line(reply: Sample, tag: str, material: Sequence[str]) -> str | None:
    """What follows "Verdict TAG:" on the last line.

    A judge that leaves out the number is believed only where the material does not speak of a verdict: else it may have been repeated.
    """
    lines = reply.text.strip().splitlines()
    if reply.finish != "stop" or not lines or len(lines[-1]) > _MAX_LINE:
        return None
    found = _VERDICT.fullmatch(lines[-1].strip(_DECORATION))
    if found is None:
        return None
    if found[1] is None and any("verdict" in text.casefold() for text in material):
        return None
    if found[1] is not None and found[1].lower() != tag:
        return None
    return found[2].strip(_DECORATION)


def read_score(said: str | None) -> float | None:
    """A grade from 1 to 10, as a number in [0, 1]."""
    found = _SCORE.fullmatch(said or "")
    grade = float(found[1]) if found else 0.0
    return (grade - 1) / 9 if 1 <= grade <= 10 else None


def read_choice(said: str | None) -> float | None:
    """What the first answer won: 1, 0, or a half for a tie."""
    return _CHOICES.get((said or "").casefold().removeprefix("answer").strip())


def read_checks(said: str | None, count: int) -> float | None:
    """The share of yes among the answers to ``count`` questions, each of which has one answer."""
    found = _CHECK.findall(said or "")
    if [int(number) for number, _ in found] != list(range(1, count + 1)):
        return None
    return sum(word.lower() == "yes" for _, word in found) / count


def read_questions(reply: Sample) -> tuple[str, ...] | None:
    """The numbered questions of a checklist: the first ``MAX_QUESTIONS``; what is no question, or too long for one, is left out."""
    if reply.finish != "stop":
        return None
    found = [_QUESTION.fullmatch(line) for line in reply.text.splitlines() if len(line) <= MAX_QUESTION_CHARS]
    questions = dict.fromkeys(match[2].strip() for match in found if match is not None)
    return tuple(questions)[:MAX_QUESTIONS] or None
