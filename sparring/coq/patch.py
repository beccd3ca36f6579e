"""Proofs written into a Coq file: what replaces which characters, and nothing else; the patch; and the file written.

A script is laid out as people do: a tactic per line, indented like its hole, the goals that a tactic leaves under bullets that are
not in use around it. What stands beside other goals goes into braces, which fit everywhere.

Writing (``write_file``) keeps what was there in ``FILE.v.orig`` (``.orig2``, ... if that is taken: nothing is overwritten), and replaces
the file as a whole or not at all. A file that has changed since it was read stays as it is.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sparring.coq.flat import Hole, Unit
from sparring.envs.coq_sentence import Sentence, tokens
from sparring.errors import SparringError

Block = list["str | list[Block]"]
"""A proof of one goal: tactics, and at its end, where the last one leaves several goals, a list with a proof of each."""
UNPROVED: Block = ["admit"]
_BULLETS = ("-", "+", "*", "--", "++", "**")
_STEP = "  "
_MARK = "\ufeff"


class Edit(NamedTuple):
    """``text[start:end]`` becomes ``new``. ``closes``: the unit that this ends with ``Qed.``"""

    start: int
    end: int
    new: str
    closes: Unit | None = None


# ------------------------------------------------------------------------------------------------ proofs as text


def as_block(lines: Sequence[str], left: Sequence[int]) -> Block:
    """The proof of one goal, from tactics that work on the first open goal each; ``left[i]``: how many goals ``lines[i]`` makes of it."""
    rest = iter(zip(lines, left, strict=True))

    def proof() -> Block:
        done: Block = []
        for tactic, goals in rest:
            done.append(tactic)
            if goals > 1:
                done.append([proof() for _ in range(goals)])
            if goals != 1:
                break
        return done

    return proof()


def lay_out(block: Block, indent: str, used: Sequence[str] = ()) -> list[str]:
    """Lines without line breaks. ``used``: bullets that mean something there."""
    lines: list[str] = []
    for item in block:
        if isinstance(item, str):
            lines.append(f"{indent}{item}.")
            continue
        bullet = next((bullet for bullet in _BULLETS if bullet not in used), None)
        for part in item:
            if bullet is None:
                lines += _in_braces(part, indent)
            else:
                lines += _hang(f"{bullet} ", lay_out(part, indent + " " * (len(bullet) + 1), (*used, bullet)), indent)
    return lines


def _hang(mark: str, lines: list[str], indent: str) -> list[str]:
    """The mark in front of the first of lines that are indented behind it."""
    return [f"{indent}{mark}{lines[0][len(indent) + len(mark) :]}", *lines[1:]]


def _in_braces(block: Block, indent: str, mark: str = "{ ") -> list[str]:
    lines = _hang(mark, lay_out(block, indent + " " * len(mark)), indent)
    return [*lines[:-1], f"{lines[-1]} }}"]


# ------------------------------------------------------------------------------------------------ into the file


def edits_of(text: str, unit: Unit, solved: Mapping[Hole, Block]) -> list[Edit]:
    """What changes in a unit, in the order of the file: nothing, where none of its holes is solved."""
    holes = [hole for hole in unit.holes if hole in solved]
    if not holes:
        return []
    given_up: dict[Sentence, list[Hole]] = {}
    for hole in unit.holes:
        if hole.kind == "admit":
            given_up.setdefault(hole.place, []).append(hole)
    groups = [group for group in given_up.values() if any(hole in solved for hole in group)]
    edits = [_at_admit(text, unit, group, solved) for group in groups]
    closed = len(holes) == len(unit.holes) and not unit.skipped
    ending = [hole for hole in unit.holes if hole.kind != "admit"]
    if closed or any(hole in solved for hole in ending):
        edits.append(_at_end(text, unit, ending, solved, closed))
    return edits


def _at_admit(text: str, unit: Unit, group: Sequence[Hole], solved: Mapping[Hole, Block]) -> Edit:
    place = group[0].place
    indent = _indent(text, unit, place.start)
    lines: list[str] = []
    if group[0].crowd == 1:
        lines = lay_out(solved[group[0]], indent, group[0].bullets)
    elif len(group) == 1:
        mark = "{ " if group[0].number == 1 else f"{group[0].number}: {{ "
        lines = _in_braces(solved[group[0]], indent, mark)
    else:
        last = max(number for number, hole in enumerate(group) if hole in solved)
        for hole in group[: last + 1]:
            lines += _in_braces(solved.get(hole, UNPROVED), indent)
        if last + 1 < len(group):
            return _place_lines(text, place.start, place.end, [*lines, f"{indent}{place.text}"], indent)
    lines[-1] += "".join(f" {comment}" for comment in _comments(place.text))
    return _place_lines(text, place.start, place.end, lines, indent)


def _at_end(text: str, unit: Unit, holes: Sequence[Hole], solved: Mapping[Hole, Block], closed: bool) -> Edit:
    """The proofs of the goals that are open at the end, those with the focus first, and ``Qed.``"""
    end = unit.sentences[unit.end]
    margin = _margin(text, unit.sentences[unit.statement].start)
    lines: list[str] = []
    indent = margin + _STEP
    if unit.body and any(hole.kind == "open" for hole in holes):
        indent = _body_indent(text, unit)
    elif not unit.body:
        lines.append(f"{margin}Proof.")
    last = max((number for number, hole in enumerate(holes) if hole in solved), default=-1)
    opener, mark = None, ""
    for hole in holes[: last + 1]:
        if hole.opener != opener:
            opener = hole.opener
            assert opener is not None
            indent, mark = _margin_to(text, opener[1]), f"{opener[0]} "
            if opener[0] == "}":
                lines.append(f"{indent}}}")
                mark = ""
        block = solved.get(hole, UNPROVED)
        inner = indent + " " * len(mark)
        shown = lay_out(block, inner, hole.bullets) if hole.crowd == 1 else _in_braces(block, inner)
        lines += _hang(mark, shown, indent) if mark else shown
        indent, mark = inner, ""
    if closed:
        lines += [f"{_margin_to(text, place)}}}" for _, place in unit.closers]
    own_line = not text[_line_start(text, end.start) : end.start].strip(" \t")
    lines.append(f"{_margin(text, end.start) if own_line else margin}{as_qed(end.text) if closed else end.text}")
    if len(lines) == 1:
        return Edit(end.start, end.end, lines[0].strip(" \t"), unit if closed else None)
    return _place_lines(text, end.start, end.end, lines, indent)._replace(closes=unit if closed else None)


def _comments(sentence: str) -> list[str]:
    return [token.text for token in tokens(sentence) if token.kind == "comment"]


def as_qed(admitted: str) -> str:
    """The same sentence, with comments and prefixes, as the end of a proof."""
    return "".join("Qed" if token.text == "Admitted" else token.text for token in tokens(admitted))


def _place_lines(text: str, start: int, end: int, lines: Sequence[str], indent: str) -> Edit:
    """Lines in the place of a sentence. Where something is before it on its line, several lines begin on the next one.

    Blanks before the sentence are replaced with it, so that none is left at the end of a line."""
    newline = _newline(text, start)
    begin = _line_start(text, start)
    before = text[begin:start]
    if not before.strip(" \t"):
        return Edit(begin, end, newline.join(lines))
    structure = _STRUCTURE.fullmatch(before)
    if (structure and lines[0].startswith(indent) and len(indent) == len(before)) or len(lines) == 1:
        return Edit(start, end, newline.join([lines[0].lstrip(" \t"), *lines[1:]]))
    return Edit(begin + len(before.rstrip(" \t")), end, newline + newline.join(lines))


_STRUCTURE = re.compile(r"[ \t]*(?:(?:[-+*]+|(?:\d+\s*:\s*)?\{)[ \t]*)*")


def _line_start(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def _margin(text: str, place: int) -> str:
    """The blanks that the line begins with."""
    line = text[_line_start(text, place) :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _margin_to(text: str, place: int) -> str:
    """Blanks as wide as what is before a place on its line."""
    return re.sub(r"[^\t]", " ", text[_line_start(text, place) : place])


def _indent(text: str, unit: Unit, place: int) -> str:
    """Of the first tactic on the line, up to the place: behind bullets and braces, or under ``Proof.`` or the statement."""
    begin = _line_start(text, place)
    line = text[begin:place]
    if begin <= unit.sentences[unit.statement].start or re.match(r"[ \t]*Proof\b", line):
        return _margin(text, place) + _STEP
    structure = _STRUCTURE.match(line)
    assert structure is not None
    return re.sub(r"[^\t]", " ", structure[0])


def _body_indent(text: str, unit: Unit) -> str:
    """Of what follows the last sentence of a proof."""
    last = unit.body[-1]
    if _STRUCTURE.fullmatch(last.text):
        return _indent(text, unit, last.end) + " "
    return _indent(text, unit, last.end if last.text.startswith("Proof") else last.start)


def _newline(text: str, place: int) -> str:
    """As the line ends, or the one before it."""
    after = text.find("\n", place)
    found = after if after >= 0 else text.rfind("\n", 0, place)
    return "\r\n" if found > 0 and text[found - 1] == "\r" else "\n"


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.new + text[edit.end :]
    return text


# ------------------------------------------------------------------------------------------------ patch and file


def unified_diff(name: str, old: str, new: str) -> str:
    """As ``patch -p1`` and ``git apply`` read it; "" for no change."""
    return "".join(_terminated(difflib.unified_diff(_lines(old), _lines(new), f"a/{name}", f"b/{name}")))


def _lines(text: str) -> list[str]:
    """With their line breaks; other characters that Unicode calls breaks are none for patch."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _terminated(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def read_text(path: Path) -> str:
    """Character for character, line ends too."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise SparringError(f"{path} cannot be read ({error.strerror}); name a Coq file") from None
    except UnicodeDecodeError as error:
        raise SparringError(f"{path} is not UTF-8 (byte {error.start}); Coq files are: convert it first (iconv)") from None
    if text.startswith(_MARK):
        raise SparringError(
            f"{path} begins with a byte-order mark, behind which the first statement is not seen; take it out "
            f"(sed -i '1s/^\\xEF\\xBB\\xBF//' {path.name})"
        )
    return text


def write_file(path: Path, old: str, new: str) -> Path:
    """Replaces ``old`` by ``new``; where ``old`` is kept. Raises SparringError where the file is another one by now."""
    path = path.resolve()
    if path.read_bytes() != old.encode():
        raise SparringError(
            f"{path} has changed while proofs were searched; it stays as it is: apply the patch by hand, or search again"
        )
    kept = _keep(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(new.encode())
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copymode(path, name)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return kept


def _keep(path: Path) -> Path:
    """A copy of the file under a name that is free."""
    number = 1
    while True:
        kept = path.with_name(f"{path.name}.orig{number if number > 1 else ''}")
        try:
            with kept.open("xb") as stream:
                stream.write(path.read_bytes())
        except FileExistsError:
            number += 1
        else:
            shutil.copymode(path, kept)
            return kept
