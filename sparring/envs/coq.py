"""Coq 8.16 as an environment: processes of it that are moved to where a tactic is to be tried.

A state is what led to it: the context's sentences, the statement, and the tactics with the numbers of the goals that they worked on.
Tactics are tried where a process is already, or nearest (``coq_pool``).

Goals that share no existential variable are proved apart. Each of them is still a goal of the state that it came up in, and is worked
on by its number (``2: ( tactic ).``) while the others stay as they are.

A search stands in a context without the proofs that it does not need (``coq_context``). What it is told is not believed: ``check`` hands
the script, and the context as it is, to ``coq_audit``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Semaphore
from typing import NamedTuple

from sparring.envs.coq_audit import audit
from sparring.envs.coq_context import read_context
from sparring.envs.coq_moves import interleaved, structural
from sparring.envs.coq_pool import CoqOptions, Worker, backend_command, brief, cores
from sparring.envs.coq_sentence import LexError, check_statement, check_tactic, tidy, tokens
from sparring.envs.coq_share import Group, Handle, Root, nearest, share
from sparring.envs.coq_shop import library_of, refers_to
from sparring.game import Goals, Outcome, Rejected, Task, Verdict

NEEDS = {"lia": "Lia", "nia": "Lia", "lra": "Lra", "nra": "Lra"}
"""Tactic -> the word in a context that brings it."""
_MAX_ALIKE = 50
"""Names that are looked at; a statement that is a part of more than that says little."""


class CoqEnv:
    """Proves statements of Coq. Raises SparringError where there is no Coq or no sandbox.

    ``Task.context`` is what the statement stands in, as Coq text: the operator's, trusted. Statements and tactics are not.
    """

    def __init__(self, options: CoqOptions | None = None, hints: Callable[[str, str], str] | None = None) -> None:
        """``hints``: lemmas that may serve, as ``hints`` below has them, for the full name of a theorem and a goal of it."""
        self.options = options or CoqOptions()
        self._hints = hints
        backend_command(self.options, Path.cwd())  # says now what would be missing later
        self._at_once = min(self.options.processes, cores())
        turns = Semaphore(self._at_once)
        self._workers = [Worker(self.options, turns) for _ in range(self.options.processes)]

    def start(self, task: Task) -> Goals | Rejected:
        """The statement (a proposition, or a sentence like ``Lemma f (n : nat) : n = n.``) as one goal, after its context."""
        statement = read_statement(task.text)
        context = _context(task.context or self.options.header)
        for part in (statement, context):
            if isinstance(part, Rejected):
                return part
        assert isinstance(statement, Statement)
        assert isinstance(context, tuple)
        moves = _moves(self.options.moves, task.context or self.options.header)
        root = Root((*context, statement.sentence), moves, str(task.meta.get("full_name", "")), _library(task))
        worker = self._workers[nearest(root, [worker.position for worker in self._workers])]
        return worker.thread.submit(worker.start, root).result()

    def step(self, tries: Sequence[tuple[Goals, str]]) -> list[Outcome]:
        """Each tactic on the first of its goals. The processes share the work."""
        outcomes: dict[int, Outcome] = {}
        groups: dict[tuple[int, tuple[str, ...]], Group] = {}
        for number, (goals, tactic) in enumerate(tries):
            handle = goals.handle
            if not isinstance(handle, Handle) or not handle.count:
                outcomes[number] = Rejected(reason="this state was not made by this environment", kind="fault")
            elif why := _refused(tactic):
                outcomes[number] = Rejected(reason=brief(why))
            else:
                key = (id(handle.root), handle.path)
                group = groups.get(key) or groups.setdefault(key, Group(handle.root, handle.path, []))
                group.tries.append((number, handle, _tidy(tactic)))
        shares = share(groups.values(), [worker.position for worker in self._workers], self._at_once)
        running = [worker.thread.submit(worker.run, part) for worker, part in zip(self._workers, shares, strict=True) if part]
        for done in running:
            outcomes |= done.result()
        return [outcomes[number] for number in range(len(tries))]

    def moves(self, goals: Goals) -> Sequence[str]:
        """Coq's own automation, tactics that suit the form of the first goal, and tactics with premises that may serve."""
        if not isinstance(goals.handle, Handle):
            return ()
        root, find = goals.handle.root, self.options.premises
        premises = find(root.theorem, goals.texts[0]) if find and root.theorem else ()
        return interleaved(root.moves, structural(goals.text), premises)

    def hints(self, goals: Goals) -> str:
        """Retrieved premises; none for a theorem that has no name."""
        if not (isinstance(goals.handle, Handle) and goals.handle.root.theorem and self._hints):
            return ""
        return self._hints(goals.handle.root.theorem, goals.texts[0])

    def split(self, goals: Goals) -> list[Goals]:
        """Each goal by itself, unless some existential variable is open: then they stay together."""
        handle: Handle = goals.handle
        if handle.count == 1 or not handle.apart:
            return [goals]
        return [
            Goals(texts=(text,), handle=replace(handle, first=handle.first + number, count=1))
            for number, text in enumerate(goals.texts)
        ]

    def check(self, task: Task, script: str) -> Verdict:
        """A fresh file through coqc and coqchk."""
        statement = read_statement(task.text)
        if isinstance(statement, Rejected):
            return Verdict(score=0.0, solved=False, note=statement.reason)
        context, lines = task.context or self.options.header, statement.intros + script
        return audit(context, statement.closed, lines, self.options.audit, _library(task))

    def known(self, task: Task) -> tuple[str, ...] | Rejected:
        """What of the task's context says the same already, as far as names and ``Search`` tell: the theorem by its own name
        (``meta["full_name"]``), and others that have its statement for their type. Empty where the theorem is still to be proved.

        A file's theorem cannot be known by what it requires, as long as libraries do not require each other; this finds out.
        """
        begun, statement = self.start(task), read_statement(task.text)
        if isinstance(begun, Rejected) or isinstance(statement, Rejected):
            return begun if isinstance(begun, Rejected) else Rejected(reason="this is no statement")
        root: Root = begun.handle.root
        worker = self._workers[nearest(root, [worker.position for worker in self._workers])]

        def ask(commands: Sequence[str]) -> list[list[str] | None]:
            return worker.thread.submit(worker.names, root, commands).result()

        name = str(task.meta.get("full_name", ""))
        names = [name] if name and ask([f"Check {name}."]) != [None] else []
        [found] = ask([f"Search (\n{statement.closed}\n)."])
        alike = (found or [])[:_MAX_ALIKE]
        same = ask([f"Check (@{other} :\n{statement.closed})." for other in alike])
        return (*names, *(other for other, said in zip(alike, same, strict=True) if said is not None))

    def memory_mb(self) -> list[float]:
        """Resident memory of each process; 0 where none is running."""
        return [worker.memory_mb for worker in self._workers]

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


# ------------------------------------------------------------------------------------------------ statements and contexts


class Statement(NamedTuple):
    """``sentence`` states it; ``closed`` is the same without binders, and ``intros`` is the line that leads from it to the same goal."""

    sentence: str
    closed: str
    intros: str


_ASSERTION = re.compile(
    r"(?:Local\s+|Global\s+)?(?:Theorem|Lemma|Fact|Remark|Corollary|Proposition|Property|Example)\s+[\w']+(?=[\W])"
)
_GOAL = re.compile(r"Goal\s")
_NAME = "sparring_goal"


def read_statement(text: str) -> Statement | Rejected:
    """A proposition or a whole assertion. Names of assertions are dropped: nothing may depend on them."""
    text = text.replace("\t", " ").strip()
    binders = ""
    if head := _ASSERTION.match(text):
        colon = _colon(text[head.end() :])
        if colon is None:
            return Rejected(reason="this assertion says nothing: a colon is missing")
        binders, text = text[head.end() :][:colon].strip(), text[head.end() + colon + 1 :]
    elif head := _GOAL.match(text):
        text = text[head.end() :]
    text = text.strip().removesuffix(".")
    closed = f"forall {binders},\n{text}" if binders else text
    if why := check_statement(closed):
        return Rejected(reason=brief(why))
    names = _bound_names(binders)
    if names is None:
        return Rejected(reason=f"binders like {binders:.80} are not understood: write forall")
    intros = f"intros {' '.join(names)}\n" if names else ""
    return Statement(f"Theorem {_NAME} {binders} :\n( {text} ).", closed, intros)


def _colon(text: str) -> int | None:
    """Where the type begins: the first colon outside brackets."""
    depth = 0
    try:
        for token in tokens(text):
            depth += (token.text in ("(", "{", "[")) - (token.text in (")", "}", "]"))
            if token.text == ":" and not depth:
                return token.start
    except LexError:
        pass
    return None


def _bound_names(binders: str) -> list[str] | None:
    """n and m of ``(n m : nat)``; None for binders that name nothing, or that Coq would name."""
    names: list[str] = []
    depth, naming = 0, True
    for token in tokens(binders):
        depth += (token.text in ("(", "{", "[")) - (token.text in (")", "}", "]"))
        if token.text in ("`", "'", "_", "@"):
            return None
        if token.kind == "name" and (naming or not depth):
            names.append(token.text)
        naming = depth == 1 and (token.text in ("(", "{", "[") or (naming and token.text != ":"))
    return names


def _context(text: str) -> tuple[str, ...] | Rejected:
    try:
        return read_context(text)
    except LexError as error:
        return Rejected(reason=f"the context: {error}")


_EARLY = "Coq.Classes."
"""Files of that name may rewrite with relations before Coq has the library for it."""


def _library(task: Task) -> str:
    """The name of the text where that makes a difference (``meta["library"]`` says so, or the theorem's name and file): it does in few,
    and a process has one name."""
    if "library" in task.meta:
        return str(task.meta["library"])
    library = library_of(str(task.meta.get("full_name", "")), str(task.meta.get("file_path", "")))
    uses = library.startswith(_EARLY) or refers_to(library, task.context) or refers_to(library, task.text)
    return library if uses else ""


# A search tries the same few tactics everywhere.
_refused = lru_cache(maxsize=4096)(check_tactic)
_tidy = lru_cache(maxsize=4096)(tidy)


def _moves(moves: Sequence[str], context: str) -> tuple[str, ...]:
    return tuple(move for move in moves if move not in NEEDS or re.search(rf"\b{NEEDS[move]}\b", context))
