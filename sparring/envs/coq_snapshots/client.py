"""One process of the snapshot server: which states it keeps, and what it says of the goals in them. Does what ``coqtop.Coqtop`` does.

A state is known by the sentences that lead to it. The states that are kept form a tree; a move goes down it as far as it is known and
runs the rest. The server is never asked about a state that it was told to forget: numbers are given out here.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sparring.envs.coq_share import shared
from sparring.envs.coqtop import EXHAUSTED, Failed, Try, View
from sparring.envs.process import AHEAD_BYTES, Child, Limits, ProcessDied

FLAGS = ("-q", "-native-compiler", "no", "-w", "none", "-topfile", "Searched.v")
MAX_STATES = 4096
"""Kept, of proofs and of contexts each: those that were not used for longest are forgotten."""
_END = b"\0\n"
_SEPARATOR = b"\2"
_ESCAPES = ((b"\x010", b"\0"), (b"\x012", b"\2"), (b"\x011", b"\1"))  # the escape sign last
_INTERRUPTED = "User interrupt."
_NAME = re.compile(r"[^\s:]+(?=:)")


@dataclass(slots=True, eq=False)
class _Node:
    """A state; ``number`` is what the server calls it, None where it does not keep it."""

    parent: _Node | None
    sentence: str
    number: int | None = None
    in_proof: bool = False
    children: dict[str, _Node] = field(default_factory=dict)


class _Sent(NamedTuple):
    """A try on its way: the state that it leads to will be ``number``. ``size``: of the request."""

    sentence: str
    number: int
    size: int


class _Asking(NamedTuple):
    """What all sentences of a ``try_each`` have in common."""

    node: _Node
    timeout_s: int
    limits: Limits


class _Answer(NamedTuple):
    """``fields``: what follows the sign. ``stray``: it was interrupted, but that was meant for another one."""

    good: bool
    fields: list[bytes]
    stray: bool = False

    @property
    def reason(self) -> str:
        return _text(self.fields[0]).strip()


class Snapshots:
    """``position``: the sentences that lead to where it stands. Any call may raise ProcessDied: the object is dead then."""

    def __init__(self, argv: Sequence[str], cwd: Path, limits: Limits, most: int = MAX_STATES) -> None:
        self.child = Child(argv, end=_END, cwd=cwd)
        self.position: list[str] = []
        self._nodes = [_Node(None, "", number=0)]
        """``_nodes[i]`` is the state after i sentences of the position."""
        self._most = most
        self._kept: tuple[dict[_Node, None], dict[_Node, None]] = ({}, {})
        """States of contexts, and of proofs; those that were used last are last."""
        self._forgotten: list[int] = []
        """The server has not been told yet."""
        self._last = 0
        """The last number that was given out."""
        self.child.ask(b"ready\n", 1, limits)

    @property
    def kept(self) -> int:
        """How many states the server keeps, besides the first."""
        return sum(map(len, self._kept))

    def move(self, sentences: Sequence[str], limits: Limits) -> Failed | None:
        """Makes them the position, with as little as possible run again. After a failure the position ends before that sentence.

        ``limits`` hold for all of it together.
        """
        depth = shared(self.position, sentences)
        del self.position[depth:], self._nodes[depth + 1 :]
        for sentence in sentences[depth:]:
            if (child := self._nodes[-1].children.get(sentence)) is None:
                break
            self._nodes.append(child)
        while self._nodes[-1].number is None:
            self._nodes.pop()
        self.position[depth:] = sentences[depth : len(self._nodes) - 1]
        del self.position[len(self._nodes) - 1 :]
        self._use(self._nodes[-1])
        rest = sentences[len(self.position) :]
        return self._walk(rest, limits) if rest else None

    def _walk(self, sentences: Sequence[str], limits: Limits) -> Failed | None:
        """From where it stands."""
        texts = [sentence.encode(errors="replace") for sentence in sentences]
        first, self._last = self._last + 1, self._last + len(texts)
        sizes = " ".join(str(len(text)) for text in texts)
        data = self._tidying() + f"walk {first} {self._nodes[-1].number} {sizes}\n".encode() + b"".join(texts)
        answer = _read(self.child.ask(data, 1, limits)[0])
        proofs = answer.fields[0 if answer.good else 1]
        for place, (sentence, digit) in enumerate(zip(sentences, proofs, strict=False)):
            self._stand(sentence, self._keep(self._nodes[-1], sentence, first + place, digit == ord("1")))
        return None if answer.good else _failed(answer, len(self.position))

    def try_each(self, depth: int, tries: Sequence[Try], timeout_s: int, limits: Limits) -> Iterator[View | Failed]:
        """What is open after each sentence by itself, run after the first ``depth`` sentences of the position, for ``timeout_s`` at
        most. If the last one is accepted it is a part of the position.

        As many are on their way at a time as a pipe takes. Who stops in the middle has to give up the process.
        """
        if (depth < len(self.position) or self._nodes[-1].number is None) and (
            failed := self.move(self.position[:depth], limits)
        ):
            raise ProcessDied(f"this state cannot be reached again: {failed.reason}", "crash")
        asking = _Asking(self._nodes[-1], timeout_s, limits)
        following, waiting, heard = 0, deque[_Sent](), deque[_Answer]()
        for place, trying in enumerate(tries):
            while following < len(tries) and not heard and self._fits(waiting, tries[following]):
                waiting.append(self._send(asking, tries[following].sentence))
                following += 1
            sent, answer = waiting.popleft(), heard.popleft() if heard else self._hear()
            if answer.stray:
                heard.extend(self._hear_early(len(waiting) - len(heard)))
                sent = self._send(asking, trying.sentence)
                answer = self._hear()  # once more, by itself
            if not answer.good:
                yield _failed(answer, depth)
                continue
            child = self._keep(asking.node, trying.sentence, sent.number, answer.fields[0] == b"1")
            if place == len(tries) - 1:
                self._stand(trying.sentence, child)
            yield _view(answer, trying.others)

    def in_proof(self, limits: Limits) -> bool:
        """Whether a proof is open. Known without asking."""
        del limits
        return self._nodes[-1].in_proof

    def names(self, command: str, limits: Limits) -> list[str] | None:
        """The names that a command (``Search``) prints at the present position, one at the beginning of a message; None if it is
        refused."""
        text = command.encode()
        [answer] = self.child.ask(self._tidying() + b"say %d %d\n%b" % (self._nodes[-1].number, len(text), text), 1, limits)
        heard = _read(answer)
        if not heard.good:
            return None
        found = (_NAME.match(_text(notice)) for notice in heard.fields)
        return [match[0] for match in found if match]

    def close(self) -> None:
        self.child.close()

    def _fits(self, waiting: Sequence[_Sent], trying: Try) -> bool:
        """Whether it may be sent before those that wait are answered."""
        return not waiting or sum(sent.size for sent in waiting) + _most_bytes(trying.sentence, self._forgotten) < AHEAD_BYTES

    def _send(self, asking: _Asking, sentence: str) -> _Sent:
        self._last += 1
        text = f"Timeout {asking.timeout_s} {sentence}".encode(errors="replace")
        data = self._tidying() + b"try %d %d %d\n%b" % (self._last, asking.node.number, len(text), text)
        self.child.send(data, asking.limits)
        return _Sent(sentence, self._last, len(data))

    def _hear(self) -> _Answer:
        answer = _read(self.child.receive(1)[0])
        stray = not answer.good and answer.reason == _INTERRUPTED and not self.child.interrupted
        return answer._replace(stray=stray)

    def _hear_early(self, count: int) -> list[_Answer]:
        """Answers to sentences whose turn has not come. If the process dies of one of these, it is not yet the time to say so."""
        try:
            return [self._hear() for _ in range(count)]
        except ProcessDied as died:
            raise ProcessDied(died.reason, "crash") from None

    def _stand(self, sentence: str, node: _Node) -> None:
        self.position.append(sentence)
        self._nodes.append(node)

    # -------------------------------------------------------------------------------------------- what is kept

    def _keep(self, parent: _Node, sentence: str, number: int, in_proof: bool) -> _Node:
        """The state is there now. Where it was there already, the new one takes its place."""
        node = parent.children.get(sentence)
        if node is None:
            node = parent.children[sentence] = _Node(parent, sentence)
        elif node.number is not None:
            self._drop(node)
        node.number, node.in_proof = number, in_proof
        self._use(parent)
        self._use(node)
        shelf = self._kept[in_proof]
        while len(shelf) > self._most:
            oldest = next(iter(shelf))
            self._drop(oldest)
            _prune(oldest)
        return node

    def _use(self, node: _Node) -> None:
        if node.parent is not None:
            shelf = self._kept[node.in_proof]
            shelf.pop(node, None)
            shelf[node] = None

    def _drop(self, node: _Node) -> None:
        assert node.number is not None
        self._forgotten.append(node.number)
        node.number = None
        del self._kept[node.in_proof][node]

    def _tidying(self) -> bytes:
        """Tells the server what to forget."""
        if not self._forgotten:
            return b""
        numbers = " ".join(map(str, self._forgotten))
        self._forgotten.clear()
        return f"forget {numbers}\n".encode()


def _prune(node: _Node) -> None:
    """Takes it out of the tree, and what leads to nothing else."""
    while node.parent is not None and node.number is None and not node.children:
        if node.parent.children.get(node.sentence) is node:
            del node.parent.children[node.sentence]
        node = node.parent


def _most_bytes(sentence: str, forgotten: Sequence[int]) -> int:
    """Of a request, at most."""
    return 4 * len(sentence) + 12 * len(forgotten) + 80


def _read(answer: bytes) -> _Answer:
    sign, *fields = answer.split(_SEPARATOR)
    return _Answer(sign == b"+", fields)


def _text(text: bytes) -> str:
    if b"\1" in text:
        for escaped, char in _ESCAPES:
            text = text.replace(escaped, char)
    return text.decode(errors="replace")


def _view(answer: _Answer, others: int) -> View:
    _, background, shelved, given_up, total, apart, *goals = answer.fields
    texts, is_apart = tuple(map(_text, goals)), apart == b"1" or int(total) - others < 2
    if background == b"1":
        return View(texts, 0, 0, background=True, apart=is_apart)
    return View(texts, int(shelved), int(given_up), background=False, apart=is_apart)


def _failed(answer: _Answer, place: int) -> Failed:
    return Failed(answer.reason, place, answer.reason in EXHAUSTED)
