"""How a model is asked to evolve a prompt: one template per operator. How its answer is read is in ``answers.py``.

``instruct`` (own wording after EvolInstruct, arXiv 2304.12244) and ``self_instruct`` (after arXiv 2212.10560) are for models that
follow instructions; ``short`` is what the embedded tiny network was taught to understand. A user's own are read from a TOML file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparring.errors import SparringError

OPERATORS = ("constrain", "deepen", "concretise", "reason", "expand", "breadth")
EXAMPLES = 8
"""Items of the list that a self-instruct template shows, the parent included (arXiv 2212.10560 sec. 2.2 shows as many)."""
EXAMPLE_CHARACTERS = 2000
"""Of all items but the parent together: some five hundred tokens."""

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
_SELF_INSTRUCT = (
    "Here is a numbered list of tasks that people gave to an assistant. Continue it by one item: a task that none of them "
    "already asks for, of the kind that belongs in such a list, complete in itself, and one that a capable person can do and "
    "check. Write item {next} alone: no preface, no solution, no further items.\n\n{examples}"
)

TEMPLATES: dict[str, dict[str, str]] = {
    "short": {name: f"{name.capitalize()}: {{prompt}}" for name in OPERATORS},
    "instruct": {name: _DEPTH.replace("{how}", how) for name, how in _HOW.items()} | {"breadth": _BREADTH},
    "self_instruct": {"self_instruct": _SELF_INSTRUCT},
}
_PLACE = re.compile(r"\{(prompt|examples|next)\}")
_OPERATOR = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Templates:
    """A set of templates by operator. ``bare``: answers are the new prompt and nothing else, and are taken as they are.

    A template has ``{prompt}``, or ``{examples}``: a numbered list of prompts whose last item is the one to evolve, or both; and, if it
    likes, ``{next}``, the number after the list's last.
    """

    name: str
    texts: Mapping[str, str]
    bare: bool = False

    def request(self, operator: str, prompt: str, examples: Sequence[str] = ()) -> str:
        """The text that asks a model to evolve ``prompt``. Prompts are put in verbatim, whatever braces they have."""
        items = [*examples, prompt]
        filled = {
            "prompt": prompt,
            "examples": "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1)),
            "next": str(len(items) + 1),
        }
        return _PLACE.sub(lambda place: filled[place[1]], self.texts[operator])

    def shows_examples(self, operator: str) -> bool:
        return "{examples}" in self.texts[operator]

    def chosen(self, operators: Sequence[str]) -> tuple[str, ...]:
        """The operators that a recipe's ``creator.operators`` mean here: all there are, where it was left as it comes."""
        if tuple(operators) == OPERATORS:
            return tuple(self.texts)
        if unknown := [name for name in operators if name not in self.texts]:
            raise SparringError(
                f"creator.operators has {', '.join(map(repr, unknown))}, for which {self.name} has no template; "
                f"it has {', '.join(self.texts)}"
            )
        return tuple(operators)


def load_templates(source: str) -> Templates:
    """The set that ``creator.templates`` names, or that of a TOML file with a line ``operator = "text"`` for each operator.

    Raises SparringError for a file that cannot be read, that has no template, or one that would not show the model the prompt.
    """
    if source in TEMPLATES:
        return Templates(source, TEMPLATES[source], bare=source == "short")
    if not source.endswith(".toml"):
        raise SparringError(f"creator.templates = {source!r} is no set of templates; give {', '.join(TEMPLATES)} or a .toml file")
    try:
        found = tomllib.loads(Path(source).expanduser().read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SparringError(f"creator.templates = {source!r} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise SparringError(f"creator.templates = {source!r} is not TOML in UTF-8: {error}") from None
    if not found:
        raise SparringError(f'creator.templates = {source!r} has no template; write lines like constrain = "... {{prompt}}"')
    return Templates(source, {operator: _checked(text, operator, source) for operator, text in found.items()})


def _checked(text: object, operator: str, source: str) -> str:
    where = f"creator.templates = {source!r}, {operator!r}"
    if not _OPERATOR.fullmatch(operator):
        raise SparringError(f"{where}: an operator's name has letters, digits, _ and - only; rename it")
    if not isinstance(text, str) or not text.strip():
        raise SparringError(f'{where}: a template is a text that is not empty; write {operator} = "... {{prompt}}"')
    if "{prompt}" not in text and "{examples}" not in text:
        raise SparringError(
            f"{where}: neither {{prompt}} nor {{examples}} is in it, so the model would not see what to evolve; add one"
        )
    return text


def request(templates: str, operator: str, prompt: str) -> str:
    """The text by which a template of a built-in set asks a model to evolve ``prompt``."""
    return load_templates(templates).request(operator, prompt)
