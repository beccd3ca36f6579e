"""The whole file with the proofs that were found, through ``coqc`` and ``coqchk``: those that it does not compile with are taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sparring.coq.compile import Compiled, compile_edited
from sparring.coq.flat import Hole, Unit, find_units, line_of
from sparring.coq.kernel import Doubt, doubts_about, stays_open, with_guards
from sparring.coq.patch import Block, Edit, apply_edits, edits_of
from sparring.coq.results import Result
from sparring.envs.coq_shop import AuditOptions


class Whole(NamedTuple):
    """A file. ``library``: the name that it has for itself, where it uses that. ``allow_admitted``: proofs may rest on lemmas that it
    admits."""

    text: str
    options: AuditOptions
    library: str
    allow_admitted: bool


class _Tried(NamedTuple):
    """What came of compiling with the proofs of ``kept``, numbers of results."""

    kept: Sequence[int]
    edits: list[Edit]
    compiled: Compiled
    units: Sequence[Unit]
    solved: dict[Hole, Block]


def checked(whole: Whole, results: Sequence[Result]) -> tuple[list[Edit], list[Result]]:
    """The edits with which the file compiles, and the results with what the proofs rest on, and which were taken back."""
    results = list(results)
    admitted = {unit.name for unit in find_units(whole.text).units if unit.name}
    sound = False  # whether the file compiles as it is: asked at the first error
    while kept := [number for number, result in enumerate(results) if result.status == "proved"]:
        tried = _compile(whole, results, kept)
        error = tried.compiled.error
        if error and not sound and (why := compile_edited(whole.text, [], whole.options, whole.library).error):
            return [], [_taken_back(result, f"the file does not compile as it is: {why}") for result in results]
        sound = True
        if bad := _bad(whole, results, tried, admitted):
            for number, why in bad.items():
                results[number] = _taken_back(results[number], why)
            continue
        doubts = doubts_about(whole.text, tried.units, tried.solved, whole.options, whole.library)
        if refused := _refused(results, kept, doubts):
            for number, why in refused.items():
                results[number] = _taken_back(results[number], why)
            continue
        return tried.edits, _told(results, tried, admitted, doubts)
    return [], results


def _compile(whole: Whole, results: Sequence[Result], kept: Sequence[int]) -> _Tried:
    units = list({id(results[number].unit): results[number].unit for number in kept}.values())
    solved = {results[number].hole: block for number in kept if (block := results[number].block)}
    edits = [edit for unit in units for edit in edits_of(whole.text, unit, solved)]
    guarded = with_guards(edits, [unit for unit in units if stays_open(unit, solved)])
    return _Tried(kept, edits, compile_edited(whole.text, guarded, whole.options, whole.library), units, solved)


def _bad(whole: Whole, results: Sequence[Result], tried: _Tried, admitted: set[str]) -> dict[int, str]:
    """Which results cannot stay, and why."""
    if tried.compiled.error:
        return {_suspect(whole.text, results, tried): f"with it the file does not compile: {tried.compiled.error}"}
    if whole.allow_admitted:
        return {}
    resting = {number: tried.compiled.rests_on.get(results[number].unit.statement, ()) for number in tried.kept}
    bad = {number: [name for name in names if _last(name) in admitted] for number, names in resting.items()}
    return {number: f"it rests on {', '.join(names)}, which is admitted" for number, names in bad.items() if names}


def _suspect(text: str, results: Sequence[Result], tried: _Tried) -> int:
    """The last result in the unit where the error is, whose line is that of the edited file; elsewhere the last one before it; or the
    last one of all."""
    new, line = apply_edits(text, tried.edits), tried.compiled.line
    inside, before = list[int](), list[int]()
    for number in tried.kept:
        unit = results[number].unit
        start, end = (
            line_of(new, place + sum(len(edit.new) - (edit.end - edit.start) for edit in tried.edits if edit.start < place))
            for place in (unit.sentences[unit.statement].start, unit.sentences[unit.end].end)
        )
        if line is not None and start <= line:
            (inside if line <= end else before).append(number)
    return [*tried.kept[-1:], *before[-1:], *inside[-1:]][-1]


def _refused(results: Sequence[Result], kept: Sequence[int], doubts: dict[int, Doubt]) -> dict[int, str]:
    """The last result of each unit that Coq would not take at Qed."""
    last = {results[number].unit.statement: number for number in kept}
    return {
        last[statement]: f"with it Coq would not take the whole proof at Qed: {doubt.why}"
        for statement, doubt in doubts.items()
        if doubt.refused
    }


def _told(results: Sequence[Result], tried: _Tried, admitted: set[str], doubts: dict[int, Doubt]) -> list[Result]:
    told = list(results)
    closed = {edit.closes.statement for edit in tried.edits if edit.closes}
    for number in tried.kept:
        statement = results[number].unit.statement
        names = tried.compiled.rests_on.get(statement, ())
        shown = tuple(f"admitted lemma {name}" if _last(name) in admitted else name for name in names)
        unseen = doubts[statement].why if statement in doubts else ""
        told[number] = replace(results[number], rests_on=shown, closes=statement in closed, unseen=unseen)
    return told


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _taken_back(result: Result, why: str) -> Result:
    return replace(result, status="taken back", reason=why) if result.status == "proved" else result
