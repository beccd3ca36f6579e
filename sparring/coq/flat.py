"""An admitted proof laid flat: its sentences without bullets and braces, that lead to its holes in an environment. Without Coq.

A goal under bullets and braces hides the others, and an ``admit`` before it leaves a mark on the proof; an environment takes neither.
So the way to a hole is the proof before it without bullets and braces, with every tactic on the goals that had the focus, by their
numbers, and with ``all: cycle 1`` for ``admit``: the goal waits at the end instead. Coq is asked whether that leads to the same goal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sparring.envs.coq_sentence import Sentence, tokens
from sparring.envs.coq_theorems import ASSERTIONS, Part, name_of, read_parts

_ASSERTIONS = ASSERTIONS | {"Example", "Goal"}
_BEGINNING = ("begin", "term", "end", "structure", "tactic")
_SELECTOR = re.compile(r"(all|par|!|\d+(?:\s*-\s*\d+)?(?:\s*,\s*\d+(?:\s*-\s*\d+)?)*|\[\s*[^\W\d][\w']*\s*\])\s*:(?!=)\s*")
_BULLET = re.compile(r"[-+*]+")

Mark = tuple[str, int]
"""A bullet or a brace, and where it stands."""


@dataclass(frozen=True, kw_only=True)
class Hole:
    """``place``: the sentence ``admit.`` or ``Admitted.``. ``lead``, ``path``: the sentences that lead to the state in which the goal is
    number ``number`` of ``total``. ``apart``: none of these depends on another."""

    kind: Literal["statement", "open", "admit"]
    place: Sentence
    line: int
    goal: str
    lead: tuple[str, ...]
    path: tuple[str, ...]
    number: int
    total: int
    apart: bool
    crowd: int
    """Goals that have the focus there."""
    bullets: tuple[str, ...]
    """In use there since the last open brace."""
    opener: Mark | None = None
    """At the end of a proof: what has to be written before it to get the focus, and where its like stands."""
    data: bool = False
    """No proposition: Coq takes any value of the type."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A proof that ends in ``Admitted.``: ``sentences[statement]`` says what is proved, ``sentences[end]`` is the end."""

    name: str | None
    asserts: bool
    """It is called a theorem, and not a definition, an instance or an obligation."""
    line: int
    sentences: tuple[Sentence, ...]
    statement: int
    end: int
    holes: tuple[Hole, ...] = ()
    closers: tuple[Mark, ...] = ()
    """Braces that are open at the end, the innermost first."""
    skipped: tuple[str, ...] = ()
    """Why parts of it are not holes that can be filled; the proof stays admitted then."""

    @property
    def title(self) -> str:
        return self.name or f"the statement in line {self.line}"

    @property
    def body(self) -> tuple[Sentence, ...]:
        return self.sentences[self.statement + 1 : self.end]


# ------------------------------------------------------------------------------------------------ without Coq


def line_of(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


class Found(NamedTuple):
    """``units``: the admitted proofs of a file, in the order in which they end, without their holes. ``others``: what is admitted
    besides, and is not looked at."""

    units: tuple[Unit, ...]
    others: tuple[str, ...]


def find_units(text: str) -> Found:
    """Raises SparringError for text that does not end a comment."""
    parts = read_parts(text)
    sentences = tuple(part.sentence for part in parts)
    units: list[Unit] = []
    others: list[str] = []
    waiting: list[int] = []  # numbers of the sentences whose proofs are open
    nesting: set[int] = set()
    for number, part in enumerate(parts):
        place = part.sentence.start
        if _opens(part, parts[number + 1 : number + 2], bool(waiting)):
            nesting.update(waiting[-1:])
            waiting.append(number)
        elif part.words[:2] == ("Admit", "Obligations"):
            others.append(
                f"line {line_of(text, place)}: Admit Obligations is not looked at; write Next Obligation. Admitted. for each"
            )
        elif part.role in ("end", "term"):
            first = waiting.pop() if waiting else None
            if part.words[0] == "Admitted" and first is None:
                others.append(f"line {line_of(text, place)}: what this Admitted ends is not understood, and not looked at")
            elif part.words[0] == "Admitted" and first is not None:
                units.append(_unit(text, parts[first], sentences, (first, number), first in nesting))
    return Found(tuple(units), tuple(others))


def _opens(part: Part, following: Sequence[Part], nested: bool) -> bool:
    """Whether a sentence opens a proof. Within another one tactics follow in any case: there a term says that it does not."""
    if part.role != "opener":
        return part.role == "assertion"
    begins = any(after.role in _BEGINNING for after in following)
    return begins and not (nested and ": =" in plain(part.sentence.text))


def _unit(text: str, stated: Part, sentences: tuple[Sentence, ...], span: tuple[int, int], nests: bool) -> Unit:
    return Unit(
        name=name_of(stated) or None,
        asserts=stated.words[0] in _ASSERTIONS,
        line=line_of(text, stated.sentence.start),
        sentences=sentences,
        statement=span[0],
        end=span[1],
        skipped=("another statement is proved within its proof: it is not looked at",) if nests else (),
    )


def plain(sentence: str) -> str:
    """On one line, without comments."""
    return " ".join(token.text for token in tokens(sentence) if token.kind not in ("blank", "comment"))


class Said(NamedTuple):
    """A sentence of a proof. ``selector``: as written, "" where there is none; ``rest``: what follows it."""

    kind: Literal["mark", "open", "close", "command", "admit", "tactic"]
    selector: str
    rest: str


def read_said(sentence: str) -> Said:
    said = plain(sentence)
    if _BULLET.fullmatch(said):
        return Said("mark", "", said)
    if said == "}":
        return Said("close", "", said)
    selector = _SELECTOR.match(sentence)
    rest = sentence[selector.end() :] if selector else sentence
    chosen = selector[1] if selector else ""
    if rest == "{":
        return Said("open", chosen, rest)
    if re.fullmatch(r"(?:admit|give_up) \.", plain(rest)):
        return Said("admit", chosen, rest)
    head = next(token for token in tokens(sentence) if token.kind not in ("blank", "comment"))
    is_command = head.text == "#" or (head.kind == "name" and head.text[0].isupper() and "." not in head.text)
    return Said("command" if is_command else "tactic", chosen, rest)


def _gives_up(sentence: str) -> bool:
    return any(token.kind == "name" and token.text in ("admit", "give_up") for token in tokens(sentence))


# ------------------------------------------------------------------------------------------------ laying a proof flat


class Place(NamedTuple):
    """Where goals are missing their proofs: ``goals`` have the focus, ``targets`` are the numbers of those that are meant (all: ())."""

    kind: Literal["statement", "open", "admit"]
    sentence: Sentence
    path: tuple[str, ...]
    goals: tuple[str, ...]
    first: int
    """How many other goals are before them in the flat proof."""
    targets: tuple[int, ...]
    bullets: tuple[str, ...]
    opener: Mark | None = None


def bullets_of(stack: Sequence[Mark]) -> tuple[str, ...]:
    tokens_ = [token for token, _ in stack]
    return tuple(tokens_[len(tokens_) - tokens_[::-1].index("{") :] if "{" in tokens_ else tokens_)


class Flat:
    """A proof without bullets and braces. ``goals``: those with the focus after each sentence of the proof as it is."""

    def __init__(self, text: str, unit: Unit, goals: Mapping[int, tuple[str, ...]]) -> None:
        self._text, self._unit, self._goals = text, unit, goals
        self.led = int(bool(unit.body) and plain(unit.body[0].text).startswith("Proof"))
        """Whether a sentence ``Proof.`` comes first."""
        self.path: list[str] = []
        self.stack: list[Mark] = []
        self.parked = 0
        """Goals that wait at the end: those given up."""
        self.skipped: list[str] = []

    def lay(self) -> list[Place]:
        """The places of ``admit.``; afterwards ``path`` is the way to the end."""
        places: list[Place] = []
        first = self._unit.statement + 1 + self.led
        for number in range(first, self._unit.end):
            sentence = self._unit.sentences[number]
            said, goals = read_said(sentence.text), self._goals[number - 1]
            if said.kind == "admit":
                places += self._park(sentence, said, goals)
            elif said.kind == "command":
                self.path.append(sentence.text)
            elif said.kind == "tactic" and (goals or said.selector != "all"):  # nothing happens to no goals
                self.path.append(_flat_tactic(said, len(goals)))
                if _gives_up(sentence.text):
                    self._skip(sentence, "an admit within a larger tactic is no hole: write it as a sentence of its own")
            elif said.kind != "tactic":
                self._mark(sentence, said)
        return places

    def _skip(self, sentence: Sentence, why: str) -> None:
        self.skipped.append(f"line {line_of(self._text, sentence.start)}: {why}")

    def _mark(self, sentence: Sentence, said: Said) -> None:
        tokens_ = [token for token, _ in self.stack]
        if said.kind == "open":
            self._front(said.selector)
            self.stack.append(("{", sentence.start))
        elif said.kind == "close" and "{" in tokens_:
            del self.stack[len(tokens_) - 1 - tokens_[::-1].index("{") :]
        elif said.kind == "mark":
            inner = bullets_of(self.stack)
            if said.rest in inner:
                del self.stack[len(self.stack) - len(inner) + inner.index(said.rest) :]
            self.stack.append((said.rest, sentence.start))

    def _front(self, selector: str) -> None:
        """Goal ``selector`` comes first; the others keep their order."""
        if selector.isdigit() and int(selector) > 1:
            self.path.append(f"1-{selector}: cycle -1.")

    def _park(self, sentence: Sentence, said: Said, goals: tuple[str, ...]) -> list[Place]:
        every = said.selector in ("all", "par")
        if not (every or said.selector in ("", "!") or said.selector.isdigit()):
            self._skip(sentence, f"admit with the selector {said.selector}: is not understood: give up one goal, or all:")
            self.path.append(sentence.text)
            return []
        target = int(said.selector) if said.selector.isdigit() else 1
        targets = () if every else (target,)
        place = Place("admit", sentence, tuple(self.path), goals, 0, targets, bullets_of(self.stack))
        count = len(goals) if every else 1
        if not every:
            self._front(str(target))
        self.path.append(f"all: cycle {count}.")
        self.parked += count
        return [place]


def _flat_tactic(said: Said, focused: int) -> str:
    """On the same goals, when others follow them. (With a default selector of the file's own, an explicit one says what was meant.)"""
    if said.selector in ("all", "par"):
        return f"{'1' if focused < 2 else f'1-{focused}'}: {said.rest}"
    return f"{'1' if said.selector in ('', '!') else said.selector}: {said.rest}"
