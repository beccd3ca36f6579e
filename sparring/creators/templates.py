"""How a model is asked to evolve a prompt: one template per operator (own wording after EvolInstruct, arXiv 2304.12244).

``instruct`` is for models that follow instructions; ``short`` is what the embedded tiny network was taught to understand.
"""

from __future__ import annotations

OPERATORS = ("constrain", "deepen", "concretise", "reason", "expand", "breadth")

_DEPTH = (
    "Below is a task that somebody gave to an assistant. Rewrite it into one new task that is harder to do well but that a "
    "capable person can still do and check. {how} Change only what that needs, keep the language of the original, and add at "
    "most twenty words. Answer with the new task alone: no preface, no solution.\n\nTask:\n{prompt}"
)
_HOW = {
    "constrain": "Add one requirement that the answer has to meet.",
    "deepen": "Ask one question more about the same subject, so that a shallow answer no longer does.",
    "concretise": "Replace something general in it by something particular.",
    "reason": "Make it need at least one more step of thought before the answer can be given.",
    "expand": "Enlarge the material or the scope that it has to deal with.",
}
_BREADTH = (
    "Below is a task that somebody gave to an assistant. Write a different task from the same field, about as long and about as "
    "hard, on something that people ask about more rarely. It must be one that a capable person can do and check. Answer with "
    "the new task alone: no preface, no solution.\n\nTask:\n{prompt}"
)

TEMPLATES: dict[str, dict[str, str]] = {
    "short": {name: f"{name.capitalize()}: {{prompt}}" for name in OPERATORS},
    "instruct": {name: _DEPTH.replace("{how}", how) for name, how in _HOW.items()} | {"breadth": _BREADTH},
}


def request(templates: str, operator: str, prompt: str) -> str:
    """The text that asks a model to evolve ``prompt``. The prompt is put in verbatim, whatever braces it has."""
    return TEMPLATES[templates][operator].replace("{prompt}", prompt)
