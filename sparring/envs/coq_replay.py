"""One Coq file run sentence by sentence: the goals before and after each tactic of each of its proofs.

Bullets and braces move the focus and are no steps. The goals that a sentence worked on are those that it took away, by Coq's own numbers of
goals, or the first one if it took none; what it made of them are the goals that are new.

A proof that does not go through is given up (``Admitted``) and named in the report; the rest of the file goes on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from sparring.envs.coq_sentence import check_tactic, tidy, tokens
from sparring.envs.coq_theorems import PROVED, Part, Theorem, name_of, prefix_of
from sparring.envs.coqtop import (
    GOAL_CALL,
    STATUS_CALL,
    Coqtop,
    Failed,
    add_call,
    goal_text,
    is_good,
    list_end,
    value_at,
)
from sparring.envs.process import Limits, ProcessDied
from sparring.game import NO_GOALS

_ID = re.compile(rb"<goal><string>(\d+)</string>")
_NAME = re.compile(rb'<option val="some"><string>([^<]*)</string></option><list>')
_UNDOES = ("Undo", "Restart", "Back", "BackTo", "Reset")
_AFTER_S = 5.0
"""How long a process that was interrupted may take to say so."""


class Shown(NamedTuple):
    """Whether a proof is open, and the focused goals by Coq's numbers, as Coq wrote them."""

    open: bool
    goals: Mapping[bytes, bytes]


class Step(NamedTuple):
    """``start``, ``end``: characters of the file."""

    before: str
    tactic: str
    after: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """A proof that went through from its statement to its Qed."""

    full_name: str
    statement: str
    steps: tuple[Step, ...]


class Failure(NamedTuple):
    """``theorem``: its full name, or the beginning of a sentence outside proofs."""

    theorem: str
    reason: str


@dataclass(kw_only=True)
class Replayed:
    """``stopped``: why the file was not run to its end, empty if it was. ``unfinished``: proofs that end with Admitted or Abort.
    ``other``: sentences outside proofs that failed."""

    proofs: list[Proof] = field(default_factory=list[Proof])
    failures: list[Failure] = field(default_factory=list[Failure])
    other: list[Failure] = field(default_factory=list[Failure])
    unfinished: int = 0
    stopped: str = ""


def replayable(tactic: str) -> bool:
    """Whether a step's tactic is one that the environment lets a player try: one sentence on the first goal, nothing denied in it."""
    return not tactic.endswith("...") and check_tactic(tactic) is None


class FileTop(Coqtop):
    """A process that runs a file, one sentence after the other."""

    def run(self, sentence: str, limits: Limits) -> Shown | Failed:
        """After a failure all is as it was before the sentence."""
        back = self._back(len(self.position))
        added, shown = self._ask(back + add_call(sentence, self._states[-1]) + GOAL_CALL, 3 if back else 2, limits)[-2:]
        if is_good(added) and is_good(shown):
            self.position.append(sentence)
            self._states.append(self._new_state(added))
            return _shown(shown)
        self._failed = True
        return self._failure(shown if is_good(added) else added, len(self.position))

    def name(self, limits: Limits) -> str:
        """What Coq calls the open proof."""
        [status] = self._ask(STATUS_CALL, 1, limits)
        found = _NAME.search(status, value_at(status))
        return found[1].decode() if found else ""


def _shown(answer: bytes) -> Shown:
    begin = answer.find(b"<goals>", value_at(answer))
    if begin < 0:
        return Shown(False, {})
    begin += len(b"<goals>")
    goals = answer[begin : list_end(answer, begin)].split(b"</goal>")[:-1]
    return Shown(True, {found[1]: goal for goal in goals if (found := _ID.search(goal))})


_text = lru_cache(maxsize=1024)(goal_text)


@dataclass
class _Open:
    """A proof under way. ``failed``: it is not going to be one."""

    part: Part
    full_name: str
    steps: list[Step] = field(default_factory=list[Step])
    failed: bool = False


class Replay:
    """``deadline`` (time.monotonic) is for the file, ``sentence_s`` for one sentence."""

    def __init__(self, coq: FileTop, library: str, deadline: float, sentence_s: float, memory_mb: int) -> None:
        self._coq = coq
        self._library = library
        self._deadline = deadline
        self._sentence_s = sentence_s
        self._memory_mb = memory_mb
        self._open: list[_Open] = []
        self._seen = Shown(False, {})
        self.done = Replayed()

    def run(self, parts: Sequence[Part], theorems: Sequence[Theorem]) -> Replayed:
        """Never raises for what Coq does; the theorems are those that reading the file found."""
        found = {theorem.place: theorem for theorem in theorems}
        number = 0
        try:
            while number < len(parts) and not self.done.stopped:
                number = self._next(number, parts[number], found)
        except ProcessDied as died:
            self.done.stopped = died.reason
        if self.done.stopped:
            self._not_reached(theorems)
        return self.done

    def _next(self, number: int, part: Part, found: Mapping[int, Theorem]) -> int:
        """Runs a sentence; the number of the one to go on with."""
        before, after = self._seen, self._coq.run(part.sentence.text, self._limits())
        if isinstance(after, Failed):
            return self._failure(number, part, after, found)
        self._seen = after
        if after.open and (not before.open or part.role == "assertion"):
            name = name_of(part) or self._coq.name(self._limits())
            self._open.append(_Open(part, f"{prefix_of(part, self._library)}.{name}"))
        elif before.open and self._open:
            self._in_proof(part, before, after)
        return number + 1

    def _in_proof(self, part: Part, before: Shown, after: Shown) -> None:
        if part.role in ("tactic", "term"):
            self._open[-1].steps.append(_step(part, before, after))
        if part.words[0] in _UNDOES:
            self._give_up("the proof goes back on its steps")
        if part.role in ("end", "term"):
            self._close(self._open.pop(), part.words[0])

    def _close(self, proof: _Open, ending: str) -> None:
        if ending not in PROVED:
            self.done.unfinished += not proof.failed
        elif not proof.failed:
            self.done.proofs.append(
                Proof(full_name=proof.full_name, statement=proof.part.sentence.text, steps=tuple(proof.steps))
            )

    def _failure(self, number: int, part: Part, failed: Failed, found: Mapping[int, Theorem]) -> int:
        """A proof is given up, with what is left of its text; a sentence outside is left out."""
        if self._open:
            self._give_up(f"{part.sentence.text:.80}: {failed.reason}")
            first = self._open.pop()
            for way_out in ("Admitted.", "Abort."):
                seen = self._coq.run(way_out, self._limits())
                if isinstance(seen, Shown):
                    self._seen = seen
                    break
            ends = [theorem.last for place, theorem in found.items() if place < number <= theorem.last]
            if not ends:
                self.done.stopped = f"no end of the proof of {first.full_name} is found"
            return min(ends, default=number) + 1
        if number in found:
            self.done.failures.append(Failure(found[number].full_name, failed.reason))
            return found[number].last + 1
        self.done.other.append(Failure(f"{part.sentence.text:.80}", failed.reason))
        if part.words[0] in ("Require", "From"):
            self.done.stopped = failed.reason
        return number + 1

    def _give_up(self, reason: str) -> None:
        proof = self._open[-1]
        if not proof.failed:
            proof.failed = True
            self.done.failures.append(Failure(proof.full_name, reason))

    def _not_reached(self, theorems: Sequence[Theorem]) -> None:
        told = len(self.done.proofs) + len(self.done.failures) + self.done.unfinished
        self.done.failures += [
            Failure(theorem.full_name, f"not reached: {self.done.stopped}") for theorem in theorems[told:] if theorem.proved
        ]

    def _limits(self) -> Limits:
        left = max(self._deadline - time.monotonic(), 0.0)
        return Limits(min(self._sentence_s, left), min(self._sentence_s + _AFTER_S, left), self._memory_mb)


def _step(part: Part, before: Shown, after: Shown) -> Step:
    taken = [key for key in before.goals if key not in after.goals] or [*before.goals][:1]
    made = [key for key in after.goals if key not in before.goals or key in taken]
    sentence = part.sentence
    text = f"exact ({_plain(sentence.text).removeprefix('Proof').strip()})" if part.role == "term" else _plain(sentence.text)
    return Step(
        before=_joined(before, taken),
        tactic=text,
        after=_joined(after, made),
        start=sentence.start,
        end=sentence.end,
    )


def _joined(shown: Shown, keys: Sequence[bytes]) -> str:
    return "\n\n".join(_text(shown.goals[key]) for key in keys) or NO_GOALS


def _plain(text: str) -> str:
    """On one line, without comments and without its dot; the dots of ``tac...`` stay, they mean something."""
    spoken = "".join(" " if token.kind in ("blank", "comment") else token.text for token in tokens(text))
    return re.sub(" +", " ", tidy(spoken)) if '"' not in spoken else tidy(spoken)
