"""Proofs of some of a statement's holes, where others keep it admitted: what Coq looks at only at ``Qed``.

``Admitted`` takes any term: one with recursive calls that never end, one at odds with ``Proof using`` or with its universes. So

- in the copy that is compiled ``Guarded.`` stands before ``Admitted.``: recursive calls are checked, whatever else is in the proof;
- in another copy the holes that are left are filled from an axiom that proves everything, and ``Succeed Qed.`` has the kernel check the
  whole proof; then it is admitted, as before. An axiom is not ``admit``: where a proof gives a value to what another hole stands for, it
  does not fit, and then nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sparring.coq.compile import Compiled, compile_edited
from sparring.coq.flat import Hole, Unit
from sparring.coq.patch import Block, Edit, apply_edits, as_qed, edits_of
from sparring.envs.coq_shop import AuditOptions
from sparring.game import stable_hash

_COPY = re.compile(r'incomplete proof|unresolved|existential|given up|[Uu]nbound|The term "sparring_')
"""In what Qed says of the copy, and not of the proof."""


class Doubt(NamedTuple):
    """``refused``: Coq does not take the proof, and says why; otherwise ``why`` is why that is not known."""

    refused: bool
    why: str


def stays_open(unit: Unit, solved: Mapping[Hole, Block]) -> bool:
    """Whether some of it is proved, and some not."""
    count = sum(hole in solved for hole in unit.holes)
    return count > 0 and (count < len(unit.holes) or bool(unit.skipped))


def with_guards(edits: Sequence[Edit], units: Sequence[Unit]) -> list[Edit]:
    """The edits, with ``Guarded.`` before the end of each of the units, on the same line."""
    guarded = list(edits)
    for unit in units:
        end = unit.sentences[unit.end]
        inside = next((number for number, edit in enumerate(guarded) if edit.start < end.end <= edit.end), None)
        if inside is None:
            guarded.append(Edit(end.start, end.start, "Guarded. "))
        else:
            old = guarded[inside]
            guarded[inside] = old._replace(new=f"{old.new.removesuffix(end.text)}Guarded. {end.text}")
    return guarded


def doubts_about(
    text: str, units: Sequence[Unit], solved: Mapping[Hole, Block], options: AuditOptions, library: str
) -> dict[int, Doubt]:
    """About units that stay open, by the numbers of their statements; ``units``: all that change."""
    opened = [unit for unit in units if stays_open(unit, solved)]
    doubts = {unit.statement: Doubt(False, "part of its statement is no hole") for unit in opened if unit.skipped}
    waiting = [unit for unit in opened if not unit.skipped]
    name = f"sparring_{stable_hash(text):x}"
    while waiting:
        edits = [Edit(0, 0, f"Polymorphic Axiom {name}@{{u}} : forall A : Type@{{u}}, A. Axiom {name}_p : forall A : Prop, A. ")]
        for unit in units:
            edits += _finished(text, unit, solved, name) if unit in waiting else edits_of(text, unit, solved)
        copy = apply_edits(text, edits)
        compiled = compile_edited(copy, [], options, library, check=False)
        if compiled.error is None:
            break
        blamed, refused = _blamed(copy, waiting, compiled, name)
        doubts |= dict.fromkeys((unit.statement for unit in blamed), Doubt(refused, compiled.error))
        waiting = [unit for unit in waiting if unit not in blamed]
    return doubts


def _finished(text: str, unit: Unit, solved: Mapping[Hole, Block], name: str) -> list[Edit]:
    """The edits of a unit whose other holes are filled from the axioms; Qed is tried, on a line of its own."""
    filler = f"first [ exact ({name}_p _) | exact ({name} _) ]"
    *before, last = edits_of(text, unit, {hole: solved.get(hole, [filler]) for hole in unit.holes})
    end = unit.sentences[unit.end].text
    tail = f"\nUnshelve. all: {filler}.\n{_mark(name, unit)} Succeed Qed.\n{end}"
    return [*before, last._replace(new=last.new.removesuffix(as_qed(end)) + tail, closes=None)]


def _mark(name: str, unit: Unit) -> str:
    return f"(* {name} {unit.statement} *)"


def _blamed(copy: str, waiting: Sequence[Unit], compiled: Compiled, name: str) -> tuple[Sequence[Unit], bool]:
    """The unit that an error comes from (all, where that is not known), and whether it was its Qed that failed."""
    lines = copy.split("\n")
    for unit in waiting:
        place = next(number for number, line in enumerate(lines, start=1) if line.startswith(_mark(name, unit)))
        if compiled.line is not None and compiled.line <= place:
            return [unit], compiled.line == place and not _COPY.search(str(compiled.error))
    return waiting, False
