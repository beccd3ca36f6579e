"""The judge's check of a Coq proof: nothing that a search, a model or an interactive session says is believed.

A fresh file goes through ``coqc`` from its first line, in the sandbox:

    the context                                  the operator's, trusted
    Theorem N : ( statement ).  Proof.
    1: ( tactic ).                               each line of the script, after check_tactic; Coq's parser takes only a tactic here
    Qed.
    Definition N_same : ( statement ) := @N.     what was proved is what was asked
    Locate Term N.  Print Assumptions N.         the report, read from the line on that names N
    End ...                                      of the sections and modules that the context leaves open

Then ``coqchk -norec`` checks the compiled file, without the libraries. N holds a hash of what goes into the file, so no statement or
script can print a report about it. The statement is compared in the file itself, where its sections, notations and functor parameters
are: from another file they cannot be written down again. That is no weaker as long as no line of the script can be a command.

A module that the context leaves open is opened without the signature that it announces (``Module Nat <: Sig`` as ``Module Nat``): it
is not complete, so its End would fail; what is inside does not depend on it.

Assumptions. Section variables, and the parameters of functors and module types that the context leaves open, belong to the statement.
Anything else must be on the list of allowed axioms, the context's own axioms too. Whatever relies on a check that was switched off
(guards, positivity, universes) is refused.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sparring.envs.coq_blocks import Opened, unsigned
from sparring.envs.coq_sentence import LexError, check_statement, check_tactic, tactic_sentence, theorem_sentence
from sparring.envs.coq_shop import AuditOptions, Ran, Shop, ShopFault
from sparring.envs.embedded import lines_of
from sparring.errors import SparringError
from sparring.game import Verdict, stable_hash

MAX_LINES = 1_000
_LIBRARY = "audited"
_NOTE = 400
"""Characters of a note."""


class _Refused(Exception):
    """The proof is not one, in the prover's words."""


def audit(context: str, statement: str, script: str, options: AuditOptions | None = None, library: str = "") -> Verdict:
    """Whether the script, a tactic per line, each on the first open goal, proves the statement after the context, which is compiled
    under the name of ``library``.

    Solved, or not with a note that says why, or a fault where the audit could not be done: no coqc, no sandbox, a context that does
    not compile, limits of time, memory or disk, a checker that disagrees. Never raises for what it is given; safe to run in parallel.
    """
    try:
        _audit(context, statement, lines_of(script), options or AuditOptions(), library or _LIBRARY)
    except _Refused as refused:
        return Verdict(score=0.0, solved=False, note=_brief(str(refused)))
    except (ShopFault, SparringError, OSError, UnicodeError) as broken:
        return Verdict(score=0.0, solved=False, fault=f"audit: {_brief(str(broken))}")
    return Verdict(score=1.0, solved=True)


def _audit(context: str, statement: str, lines: Sequence[str], options: AuditOptions, library: str) -> None:
    if why := check_statement(statement):
        raise _Refused(f"the statement: {why}")
    if len(lines) > MAX_LINES:
        raise _Refused(f"{len(lines)} lines are too many: at most {MAX_LINES}")
    for number, line in enumerate(lines, start=1):
        if why := check_tactic(line):
            raise _Refused(f"line {number}, {line.strip():.60}: {why}")
    deadline = time.monotonic() + options.timeout_s
    written = _write(context, statement, lines)
    folder = Path(tempfile.mkdtemp(prefix="sparring-audit-"))
    try:
        _examine(written, Shop(folder, options, deadline, library))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _examine(written: _Written, shop: Shop) -> None:
    report = _compile(written, "", shop)
    try:
        found = read_assumptions(report)
    except ValueError as error:
        raise ShopFault(f"coqc's report is not understood: {error}") from None
    _judge_assumptions(found, written, shop)
    checked = shop.check()
    if checked.code:
        raise ShopFault(f"coqc accepts the proof and coqchk does not: {checked.said}")


# ------------------------------------------------------------------------------------------------ the file


class _Written(NamedTuple):
    """The parts of the file, each ending with a line break, and what the context leaves open."""

    name: str
    context: str
    theorem: str
    proof: tuple[str, ...]
    qed: str
    same: str
    report: str
    ends: str
    opened: tuple[Opened, ...]


def _write(context: str, statement: str, lines: Sequence[str]) -> _Written:
    try:
        start, opened = unsigned(context)
    except LexError as error:
        raise ShopFault(f"the context: {error}") from None
    name = f"sparring_{stable_hash(context, statement, *lines):x}"
    return _Written(
        name=name,
        context=f"{start}\nSection {name}_begin.\nEnd {name}_begin.\n",  # an error where the context leaves a proof open
        theorem=f"{theorem_sentence(name, statement)}\nProof.\n",
        proof=tuple(f"{tactic_sentence(line)}\n" for line in lines),
        qed="Qed.\n",
        same=f"Definition {name}_same :\n( {statement.strip()} ) := @{name}.\n",  # @: implicit arguments stay in the type
        report=f"Set Printing Width 100000.\nLocate Term {name}.\nPrint Assumptions {name}.\n",
        ends="".join(f"End {block.name}.\n" for block in reversed(opened)),
        opened=tuple(opened),
    )


# ------------------------------------------------------------------------------------------------ running it


def _compile(written: _Written, more: str, shop: Shop) -> list[str]:
    """What is printed about the theorem's assumptions, and what ``more`` prints after that."""
    tail = f"{written.report}{more}{written.ends}"
    text = "".join((written.context, written.theorem, *written.proof, written.qed, written.same, tail))
    ran = shop.compile(text)
    if ran.code:
        _blame(written, ran, shop.stem)
    lines = ran.out.splitlines()
    marks = [number for number, line in enumerate(lines, start=1) if written.name in line]
    if not marks:
        raise ShopFault(f"coqc does not report on the theorem: {ran.out[-200:]}")
    return lines[marks[0] :]


def _blame(written: _Written, ran: Ran, stem: str) -> None:
    """Whose error it is, from the line it is in: the context's and the audit's own are faults."""
    kinds = "Error|Syntax error|Anomaly|Timeout|User interrupt"
    found = re.search(rf'File "[^"\n]*{stem}\.v", line (\d+), characters [^\n]*:\s*((?:{kinds})[^\0]*)', ran.said)
    if found is None:
        raise ShopFault(f"coqc ended with status {ran.code}: {ran.said or ran.out}")
    place, message = int(found[1]), found[2].replace(f"(in proof {written.name}): ", "")
    places = [("the statement", written.theorem)]
    places += [(f"line {number}", line) for number, line in enumerate(written.proof, start=1)]
    places += [("Qed", written.qed), ("the statement that was proved is another one", written.same)]
    end = written.context.count("\n")
    if place <= end:
        raise ShopFault(f"the context does not compile, line {place}: {message}")
    for title, text in places:
        end += text.count("\n")
        if place <= end:
            raise _Refused(f"{title}: {message}")
    raise ShopFault(f"after the proof: {message}")


# ------------------------------------------------------------------------------------------------ assumptions


class Assumptions(NamedTuple):
    axioms: tuple[str, ...]  # as Coq calls them there: the shortest name that is understood
    flaws: tuple[str, ...]  # what relies on a check that was switched off


_CLOSED = "Closed under the global context"
_HEADERS = ("Section Variables:", "Axioms:", "Theory:", _CLOSED)


def read_assumptions(lines: Sequence[str]) -> Assumptions:
    """What ``Print Assumptions`` prints, without the section variables; raises ValueError for what it would not print.

    An entry begins in the first column; its type goes on after it, behind a colon or a blank.
    """
    axioms: list[str] = []
    flaws: list[str] = []
    header = ""
    for line in lines:
        if line in _HEADERS:
            header = line
        elif not line or line[0] in " :":
            continue
        elif not header or header == _CLOSED:
            raise ValueError(f"{line:.100} is no assumption")
        elif header == "Theory:" or " is assumed to be " in line or " relies on " in line:
            flaws.append(line)
        elif header == "Axioms:":
            axioms.append(line.split()[0])
    if not header:
        raise ValueError("there is no report of assumptions")
    return Assumptions(tuple(axioms), tuple(flaws))


def _judge_assumptions(found: Assumptions, written: _Written, shop: Shop) -> None:
    """Full names need a second run: until the report is there, nobody knows which names to ask about."""
    if found.flaws:
        raise _Refused(f"the proof relies on checks that were switched off: {'; '.join(found.flaws)}")
    own, allowed = _own_prefixes(written.opened, shop.library), shop.options.axioms
    full = dict.fromkeys(found.axioms, "")
    if own or allowed:
        full |= _full_names(found.axioms, [*own, *allowed], written, shop)
    if alien := [short for short, name in full.items() if name not in allowed and not (own and name.startswith(own))]:
        raise _Refused(f"the proof uses axioms that are not allowed: {', '.join(sorted(alien))}")


def _own_prefixes(opened: Sequence[Opened], library: str) -> tuple[str, ...]:
    """How the full names of what is a parameter there begin: X. in a functor of X, the path of an open module type in it."""
    prefixes = [f"{parameter}." for block in opened for parameter in block.parameters]
    path = [library]
    for block in opened:
        path += [block.name] if block.kind != "Section" else []
        prefixes += [f"{'.'.join(path)}."] if block.kind == "Module Type" else []
    return tuple(prefixes)


def _full_names(axioms: Sequence[str], known: Sequence[str], written: _Written, shop: Shop) -> dict[str, str]:
    """Short name -> full name. Asked for by the names ``known`` to begin or to be full ones, then, for what is left, by the short
    name. (In a context where ``rem`` is a notation, ``Locate Term rem`` is a syntax error and ``Locate Term X.rem`` is not.)"""
    found: dict[str, str] = {}
    long = [
        (short, f"{start}{short}" if start.endswith(".") else start) for short in axioms for start in known if "." not in short
    ]
    long += [(short, short) for short in axioms if "." in short]
    for asked in (long, [(short, short) for short in axioms]):
        asked = [(short, name) for short, name in asked if short not in found]
        if asked:
            separator = f"Locate Term {written.name}_same.\n"
            questions = "".join(f"{separator}Locate Term {name}.\n" for _, name in asked)
            found |= _answers(asked, _compile(written, questions, shop), written.name)
    return found


_LOCATED = re.compile(r"Constant (\S+)(?: \(shorter name to refer to it in current context is (\S+)\))?$")


def _answers(asked: Sequence[tuple[str, str]], lines: Sequence[str], name: str) -> dict[str, str]:
    """The constants that the short names mean, for questions (short name, name that was asked for) in order."""
    found: dict[str, str] = {}
    question = -1
    for line in lines:
        question += f"{name}_same" in line
        located = _LOCATED.match(line)
        if question >= 0 and located is not None and (located[2] or asked[question][1]) == asked[question][0]:
            found[asked[question][0]] = located[1]
    return found


def _brief(text: str) -> str:
    return " ".join(text.split())[:_NOTE]
