"""Training, validation and test theorems without leaks, from the rows of a trace.

By what a prover is asked to carry over:

- ``split_by_folder``: to other folders of the library. FSets and MSets are the same development twice and stay together.
- ``split_at_random``: to other theorems.
- ``split_by_premise``: to lemmas that it never saw in use (LeanDojo's split, arXiv 2306.15626 sec. 4.1): each theorem of the test set uses
  a premise that no theorem of the training set uses, and so for validation.

In all of them no theorem is in two sets, and no theorem has a copy in another set: copies are theorems with the same statement, whatever
their names, or the same first goal. At random, copies go together; elsewhere those in the less demanding set are dropped (training before
validation before test), so that a split may have fewer theorems than the trace. Near copies, which differ in what is before the colon
(``a (n : nat) : n = n`` and ``b : forall m : nat, m = m``), are dropped everywhere.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from random import Random

from sparring.errors import SparringError
from sparring.game import stable_hash
from sparring.trace import TraceRow

SETS = ("train", "validation", "test")
Split = dict[str, list[str]]
"""Set -> full names, in the order of the trace."""
TWINS = ("FSets", "MSets")
"""Folders that are the same development."""
_CLOSED = "closed"
_BINDERS = re.compile(r"forall ((?:\([^():]+ : [^(),]+\) ?)+|[^():,]+ : [^(),]+), ")
"""Those that are easily read; where a type has brackets or commas, the statement stays as it is."""
_GROUP = re.compile(r"\(([^():]+) : ([^()]+)\)")
_NAME = re.compile(r"[^\W\d][\w']*")
_NAMED = re.compile(
    r"(?:#\[[^\]]*\]\s*|(?:Local|Global|Program|Polymorphic)\s+)*"
    r"(?:Theorem|Lemma|Fact|Remark|Corollary|Proposition|Property|Example|Definition|Let|Instance|Goal)\b\s*([\w']*)"
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a split knows of a theorem. ``marks``: two theorems that share one are copies, near ones if it is of the kind "closed"."""

    name: str
    file_path: str
    marks: frozenset[tuple[str, str]]
    premises: frozenset[str]


def entries_of(rows: Iterable[TraceRow]) -> list[Entry]:
    """The theorems of a trace, by full name, in order."""
    by_name: dict[str, list[TraceRow]] = defaultdict(list)
    for row in rows:
        by_name[row.full_name].append(row)
    return [
        Entry(
            name=name,
            file_path=steps[0].file_path,
            marks=frozenset(_marks(steps)),
            premises=frozenset(premise for step in steps for premise in step.premises),
        )
        for name, steps in by_name.items()
    ]


def split_at_random(entries: Sequence[Entry], seed: int, held_out: float = 0.1) -> Split:
    """``held_out``: the share of the validation set, and that of the test set."""
    groups = _copies(entries)
    return _without_copies(entries, _by_group(entries, groups, seed, _checked(held_out), "theorems without copies"))


def split_by_folder(entries: Sequence[Entry], seed: int, held_out: float = 0.1) -> Split:
    """Whole folders; the shares are as near as they allow, and each set gets one where there are three."""
    groups = [_folder(entry.file_path) for entry in entries]
    return _without_copies(entries, _by_group(entries, groups, seed, _checked(held_out), "folders"))


def split_by_premise(entries: Sequence[Entry], seed: int, held_out: float = 0.1) -> Split:
    """Premises are drawn until the theorems that use one of them are many enough; they all leave the training set."""
    users: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        for premise in entry.premises:
            users[premise].append(place)
    want = _checked(held_out) * len(entries)
    left = set(range(len(entries)))
    chosen: dict[str, set[int]] = {"test": set(), "validation": set()}
    for premise in _shuffled(users, seed, "premise"):
        short = [name for name, places in chosen.items() if len(places) < want]
        if not short:
            break
        # As many as fit, and none that another set has already: then the premise is this set's alone.
        if len(users[premise]) <= want and left.issuperset(users[premise]):
            chosen[short[0]].update(users[premise])
            left.difference_update(users[premise])
    sets = {"train": left, **chosen}
    return _without_copies(entries, {name: [entries[place].name for place in sorted(sets[name])] for name in SETS})


def _marks(steps: Sequence[TraceRow]) -> Iterable[tuple[str, str]]:
    """The first goal, the same with its hypotheses in the statement, and the text after the name of a theorem that has one in its text."""
    first = min(steps, key=lambda row: row.step)
    yield "goal", first.state_before
    yield _CLOSED, _closed(first.state_before)
    if found := _NAMED.match(first.theorem_statement):
        yield "text", " ".join(first.theorem_statement[found.end() :].split())


def _closed(goal: str) -> str:
    """A goal with what ``forall`` binds at its beginning among the hypotheses, all of them called by their numbers: whoever writes
    binders before the colon has the same goal as who writes them after it."""
    if "\n\n" in goal:  # several goals
        return goal
    above, _, statement = goal.rpartition("⊢ ")
    hypotheses = above.splitlines()
    while found := _BINDERS.match(statement):
        for names, kind in _GROUP.findall(found[1]) or [found[1].split(" : ", 1)]:
            hypotheses += [f"{name} : {kind}" for name in names.split()]
        statement = statement[found.end() :]
    text = "\n".join([*hypotheses, statement])
    for number, hypothesis in enumerate(hypotheses):
        if found := _NAME.match(hypothesis):
            text = re.sub(rf"(?<![\w'.]){re.escape(found[0])}(?![\w'])", f"#{number}", text)
    return " ".join(text.split())


def _folder(file_path: str) -> str:
    path = PurePosixPath(file_path)
    folder = str(path.parent)
    for name in TWINS:
        if name in path.parts:
            folder = folder.replace(name, TWINS[0])
    return folder


def _copies(entries: Sequence[Entry]) -> list[str]:
    """For each theorem the name of the first one that it is a copy of, through others where need be."""
    first: dict[tuple[str, str], int] = {}
    leader = list(range(len(entries)))

    def find(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    for place, entry in enumerate(entries):
        for mark in (mark for mark in entry.marks if mark[0] != _CLOSED):
            one, other = sorted((find(first.setdefault(mark, place)), find(place)))
            leader[other] = one
    return [entries[find(place)].name for place in range(len(entries))]


def _by_group(entries: Sequence[Entry], groups: Sequence[str], seed: int, held_out: float, what: str) -> Split:
    """Groups in a random order: into test, then validation, as long as that brings the set nearer to its share; the smallest one where
    none does. The training set has one as well. Raises SparringError where there are too few, by the name of ``what``."""
    sizes: dict[str, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    if 0 < len(sizes) < len(SETS):
        raise SparringError(
            f"{len(sizes)} {what} are too few for the sets {', '.join(SETS)}; trace more, or split in another way"
        )
    left, want = _shuffled(sizes, seed, "group"), held_out * len(entries)
    place: dict[str, str] = {}
    for name, spare in (("test", 2), ("validation", 1)):
        taken: list[str] = []
        for group in left:
            missing = want - sum(sizes[other] for other in taken)
            if len(left) - len(taken) > spare and sizes[group] <= 2 * missing:
                taken.append(group)
        if not taken and len(left) > spare:
            taken.append(min(left, key=lambda group: sizes[group]))
        place |= dict.fromkeys(taken, name)
        left = [group for group in left if group not in place]
    return {
        name: [entry.name for entry, group in zip(entries, groups, strict=True) if place.get(group, "train") == name]
        for name in SETS
    }


def _without_copies(entries: Sequence[Entry], split: Split) -> Split:
    known = {entry.name: entry for entry in entries}
    seen: set[tuple[str, str]] = set()
    kept: Split = {}
    for name in reversed(SETS):
        kept[name] = [theorem for theorem in split[name] if not seen & known[theorem].marks]
        seen |= {mark for theorem in kept[name] for mark in known[theorem].marks}
    return {name: kept[name] for name in SETS}


def _shuffled(names: Mapping[str, object], seed: int, what: str) -> list[str]:
    """The same order whatever order they came in."""
    order = sorted(names)
    Random(stable_hash(seed, "split", what)).shuffle(order)
    return order


def _checked(held_out: float) -> float:
    if not 0 < held_out < 0.5:
        raise SparringError(f"held_out is {held_out}; validation and test have that share each: set it between 0 and 0.5")
    return held_out


SPLITS: Mapping[str, Callable[[Sequence[Entry], int, float], Split]] = {
    "random": split_at_random,
    "folder": split_by_folder,
    "premise": split_by_premise,
}
