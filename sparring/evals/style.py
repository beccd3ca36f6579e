"""How an answer looks: its length and its markdown, which judges are swayed by whatever it says.

The features are those of Arena-Hard's style control (tokens, headers, lists, bold text, code left out), with two differences.
Tokens are words and punctuation marks, so that nothing has to be downloaded and no model's own tokenizer favours it. And a
feature is divided by its spread without taking its mean away: with one model against one baseline the mean difference in
style is just what has to be controlled for, and the strength would be that of the model in its own style.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

NAMES = ("length", "headers", "lists", "bold")
_CODE = re.compile(r"```.*?```", re.DOTALL)
_TOKEN = re.compile(r"\w+|[^\w\s]")
_MARKDOWN = (
    (re.compile(r"^#{1,6}\s", re.MULTILINE),),
    (re.compile(r"^[ \t]*\d+\.\s", re.MULTILINE), re.compile(r"^[ \t]*[-*+]\s", re.MULTILINE)),
    (re.compile(r"\*\*[^*\n]+\*\*"), re.compile(r"__[^_\n]+__")),
)


def token_length(text: str) -> int:
    """Words and punctuation marks."""
    return sum(1 for _ in _TOKEN.finditer(text))


def markdown_counts(text: str) -> tuple[int, ...]:
    """Headers, list items and bold passages outside of code blocks."""
    prose = _CODE.sub("", text)
    return tuple(sum(len(pattern.findall(prose)) for pattern in patterns) for patterns in _MARKDOWN)


def style_features(answers: Sequence[str], baselines: Sequence[str]) -> np.ndarray:
    """(questions, features): how the model's answer differs from the baseline's, in units of the spread.

    A feature that is the same for all questions says nothing and is 0.
    """
    features = np.array([_difference(*pair) for pair in zip(answers, baselines, strict=True)]).reshape(-1, len(NAMES))
    spread = features.std(axis=0)
    return np.divide(features, spread, out=np.zeros_like(features), where=spread > 1e-9)


def _difference(answer: str, baseline: str) -> list[float]:
    """Length: the difference over the sum. Markdown, per token of the answer: the difference over one more than the sum."""
    mine, other = token_length(answer), token_length(baseline)
    found = [(mine - other) / max(1, mine + other)]
    for count, against in zip(markdown_counts(answer), markdown_counts(baseline), strict=True):
        density, density_against = count / (mine + 1), against / (other + 1)
        found.append((density - density_against) / (density + density_against + 1))
    return found
