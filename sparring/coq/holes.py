"""The holes of a Coq file: where a proof is missing, which goals stand there, and how a search gets to them.

A proof that ends in ``Admitted.`` has holes: each goal that an ``admit.`` gives up, and each goal that is open at its end (the whole
statement, where there are no tactics). The file is run once, sentence by sentence, in ``coqidetop``: that finds the goals, and says
where a file breaks that does not compile. A hole that cannot be reached (see ``flat``) is skipped, and the caller told.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sparring.coq.flat import Flat, Hole, Mark, Place, Unit, bullets_of, line_of, read_said
from sparring.envs.coq_pool import CoqOptions, brief, command
from sparring.envs.coq_sentence import split_sentences
from sparring.envs.coqtop import Coqtop, Try, View
from sparring.envs.process import ProcessDied
from sparring.errors import SparringError

_ABOUT_PROPOSITION = "{}: (match goal with |- ?g => match type of g with Prop => idtac end end)."
_NOTHING = "Check Prop."
"""A command that changes nothing."""
_CLASSIC = "all: (idtac)."
"""A tactic that changes nothing, in the language that tactics are searched in."""


def scan(text: str, path: Path, chosen: Sequence[Unit], options: CoqOptions, library: str = "") -> list[Unit]:
    """The chosen units with their holes. Runs the whole file, as ``library``; raises SparringError with the line where Coq refuses it."""
    with tempfile.TemporaryDirectory(prefix="sparring-scan-") as folder:
        coq = None
        try:
            argv = command(options, Path(folder), library)
            coq = Coqtop(argv, Path(folder), options.limits(options.context_timeout_s))
            scanner = _Scanner(text, path, coq, options)
            found = [scanner.unit(unit) for unit in chosen]
            scanner.run(len(scanner.sentences))
        except ProcessDied as died:
            raise SparringError(f"{path} cannot be read: {died.reason}; raise context_timeout_s or memory_mb") from None
        finally:
            if coq:
                coq.close()
    return found


class _Scanner:
    """Where a ``coqidetop`` goes through the file."""

    def __init__(self, text: str, path: Path, coq: Coqtop, options: CoqOptions) -> None:
        self.sentences = split_sentences(text)
        self._texts = tuple(sentence.text for sentence in self.sentences)
        self._text, self._path, self._coq, self._options = text, path, coq, options
        self._limits = options.limits(options.context_timeout_s)

    def run(self, count: int) -> None:
        """The first sentences of the file."""
        if failed := self._coq.move(self._texts[:count], self._limits):
            sentence = self.sentences[failed.place]
            hint = (
                "; build what it requires first (make)"
                if re.search(r"(load|physical|logical) ?path|library", failed.reason, re.I)
                else ""
            )
            raise SparringError(
                f"{self._path}, line {line_of(self._text, sentence.start)}: Coq does not accept {brief(sentence.text):.80} "
                f"({brief(failed.reason)}); proofs are searched in a file that compiles: mend this first{hint}. Nothing was changed"
            )

    def unit(self, unit: Unit) -> Unit:
        """With its holes."""
        if unit.skipped:
            return unit
        self.run(unit.statement + 1)
        if not self._takes(unit.statement + 1, _CLASSIC):
            return replace(unit, skipped=("files in Ltac2 are not supported: idtac is no tactic there; it is not looked at",))
        goals: dict[int, tuple[str, ...]] = {}
        for number in range(unit.statement, unit.end):
            self.run(number + 1)
            goals[number] = self._look(number + 1).goals
        flat = Flat(self._text, unit, goals)
        places = flat.lay()
        lead = self._texts[: unit.statement + 1 + flat.led]
        holes: list[Hole] = []
        skipped = [*flat.skipped]
        for place in places:
            shown = self._shown(lead, place)
            if isinstance(shown, str):
                skipped.append(f"line {line_of(self._text, place.sentence.start)}: {shown}")
            else:
                holes += shown
        stages, closers = self._stages(unit, lead, flat)
        if stages is None:
            skipped.append(
                f"line {line_of(self._text, unit.sentences[unit.end].start)}: the goals that are left cannot be told apart"
            )
        return replace(unit, holes=(*holes, *(stages or ())), closers=closers, skipped=tuple(skipped))

    def _look(self, depth: int) -> View:
        """What is open after that many sentences of the position."""
        [seen] = self._coq.try_each(depth, [Try(_NOTHING)], self._options.tactic_timeout_s, self._limits)
        if not isinstance(seen, View):
            raise ProcessDied(f"the goals cannot be shown: {seen.reason}", "crash")
        return seen

    def _shown(self, lead: tuple[str, ...], place: Place) -> list[Hole] | str:
        """The holes at a place; or why the flat way does not lead there."""
        sentences = (*lead, *place.path)
        if failed := self._coq.move(sentences, self._limits):
            return f"the proof before it cannot be laid flat: {brief(failed.reason)}"
        seen = self._look(len(sentences))
        if seen.given_up:
            return "an admit within a larger tactic is before it"
        first = place.first
        if seen.background or seen.goals[first : first + len(place.goals)] != place.goals:
            return "the proof before it cannot be laid flat: it leads to other goals"
        hole = Hole(
            kind=place.kind,
            place=place.sentence,
            line=line_of(self._text, place.sentence.start),
            goal="",
            lead=lead,
            path=place.path,
            number=0,
            total=len(seen.goals),
            apart=seen.apart,
            crowd=len(place.goals),
            bullets=place.bullets,
            opener=place.opener,
        )
        targets = place.targets or range(1, len(place.goals) + 1)
        return [
            replace(
                hole,
                goal=place.goals[number - 1],
                number=first + number,
                data=not self._takes(len(sentences), _ABOUT_PROPOSITION.format(first + number)),
            )
            for number in targets
        ]

    def _takes(self, depth: int, tactic: str) -> bool:
        """Whether a tactic works after that many sentences of the position."""
        [seen] = self._coq.try_each(depth, [Try(tactic)], self._options.tactic_timeout_s, self._limits)
        return isinstance(seen, View)

    def _stages(self, unit: Unit, lead: tuple[str, ...], flat: Flat) -> tuple[list[Hole] | None, tuple[Mark, ...]]:
        """The goals that are open at the end, and what has to be written to get to those without the focus; None: that is not known."""
        sentences = (*lead, *flat.path)
        if self._coq.move(sentences, self._limits):
            return None, ()
        left = len(self._look(len(sentences)).goals) - flat.parked
        position, stack, opener, first = self._texts[: unit.end], [*flat.stack], None, 0
        whole = not any(read_said(sentence.text).kind not in ("command",) for sentence in unit.body)
        holes: list[Hole] = []
        while True:
            self._coq.move(position, self._limits)
            goals = self._look(len(position)).goals
            if goals:
                bullets = bullets_of(stack)
                place = Place(
                    "statement" if whole else "open",
                    unit.sentences[unit.end],
                    tuple(flat.path),
                    goals,
                    first,
                    (),
                    bullets,
                    opener,
                )
                shown = self._shown(lead, place)
                if isinstance(shown, str):
                    return None, ()
                holes += shown
                position, first = (*position, "all: admit."), first + len(goals)
            if first >= left:
                return holes, tuple(mark for mark in reversed(stack) if mark[0] == "{")
            opener = self._next(position, stack)
            if opener is None:
                return None, ()
            position = (*position, opener[0])

    def _next(self, position: tuple[str, ...], stack: list[Mark]) -> Mark | None:
        """The bullet or closing brace that Coq takes next; the stack goes back to where it leads."""
        while stack:
            token, start = stack[-1]
            said = "}" if token == "{" else token
            if not self._coq.move((*position, said), self._limits):
                if token == "{":
                    stack.pop()
                return said, start
            if token == "{":
                return None
            stack.pop()
        return None
