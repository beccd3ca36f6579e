"""The sections and modules that a piece of a Coq file leaves open, and how to close them before they are complete."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from sparring.envs.coq_sentence import Token, split_sentences, tokens


class Opened(NamedTuple):
    """A section or module that is open: its kind, and the names of its parameters if it is a functor."""

    kind: str  # "Section" | "Module" | "Module Type"
    name: str
    parameters: tuple[str, ...]


def unsigned(context: str) -> tuple[str, list[Opened]]:
    """The context with its open modules opened without signatures, and what it leaves open, the outermost first; raises LexError."""
    opened: list[tuple[Opened, int, int]] = []  # with where the signature is
    for sentence in split_sentences(context):
        parts = [token for token in tokens(sentence.text) if token.kind not in ("blank", "comment")]
        if parts[0].text == "End" and opened:
            opened.pop()
        elif (block := opens_block(parts)) is not None:
            opened.append((block, sentence.start + _signature(parts), sentence.end - 1))
    for _, start, end in reversed(opened):
        context = context[:start] + "\n" * context.count("\n", start, end) + context[end:]
    return context, [block for block, _, _ in opened]


def opens_block(parts: Sequence[Token]) -> Opened | None:
    """What a sentence opens: nothing if it defines a module (``:=`` that is not part of ``with Definition t := nat``)."""
    words = [token.text for token in _outer(parts)]
    if words[:1] == ["Section"]:
        return Opened("Section", words[1], ())
    if words[:1] != ["Module"]:
        return None
    name = next(word for word in words[1:] if word not in ("Type", "Import", "Export"))
    changes = 0
    for word, after in pairwise(words):
        changes += word == "with" and after in ("Definition", "Module")
        changes -= (word, after) == (":", "=")
    if changes < 0:
        return None
    return Opened("Module Type" if words[1] == "Type" else "Module", name, _parameters(parts))


def _outer(parts: Sequence[Token]) -> list[Token]:
    """The tokens outside all brackets; attributes (``#[local]``) are brackets."""
    outer: list[Token] = []
    depth = 0
    for token in parts:
        depth -= token.text in (")", "]", "}")
        if depth == 0 and token.text not in ("#", ")", "]", "}", "(", "[", "{"):
            outer.append(token)
        depth += token.text in ("(", "[", "{")
    return outer


def _parameters(parts: Sequence[Token]) -> tuple[str, ...]:
    """X, Y and Z of ``Module F (X Y : T) (Import Z : U X).``"""
    names: list[str] = []
    depth, naming = 0, False
    for token in parts:
        depth += (token.text == "(") - (token.text == ")")
        naming = (naming or token.text == "(") and depth == 1 and token.text != ":"
        if naming and token.kind == "name" and token.text not in ("Import", "Export"):
            names.append(token.text)
    return tuple(names)


def _signature(parts: Sequence[Token]) -> int:
    """Where the signature of an opened module begins, in characters; its dot if it has none."""
    outer = _outer(parts)
    for token, after in pairwise(outer):
        if token.text == ":" or (token.text == "<" and after.text == ":"):
            return token.start
    return outer[-1].start
