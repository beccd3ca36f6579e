"""The processes of the Coq environment, and what becomes of a try when one hangs, swells or dies. Who works on what: ``coq_share``.

A state is what led to it, so it outlives the process that it came up in: a process that was lost, or that has gone elsewhere, is brought
there again, from the last sentence that it shares with the state.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore
from typing import Literal

from sparring.envs.coq_share import Group, Handle, Root
from sparring.envs.coq_shop import AuditOptions
from sparring.envs.coq_snapshots.build import server
from sparring.envs.coq_snapshots.client import FLAGS, Snapshots
from sparring.envs.coqtop import ARGV, STATUS_CALL, Coqtop, Failed, Try, View, add_call, is_good
from sparring.envs.process import WATCH_S, Limits, ProcessDied
from sparring.envs.sandbox import Limits as SandboxLimits
from sparring.envs.sandbox import wrap
from sparring.game import Goals, Outcome, Proved, Rejected

MAX_GOALS = 64
MAX_GOAL_CHARS = 50_000
"""Of all goals of a state together: a tactic that leaves more than this has blown up a term."""
MAX_REASON_CHARS = 500
INTERRUPT_AFTER_S, KILL_AFTER_S = 1, 3
"""After Coq's own time limit, which it may miss: SIGINT, SIGKILL."""
Backend = Literal["coqidetop", "snapshots"]
_LONG_S = 10**7
_SPARE_MB = 4000
"""Address space that Coq asks for without using it."""
_FOUND = re.compile(
    rb'<message_level val="notice"/><option val="none"/><ppdoc val="box">'
    rb'(?:(?!</?message>).)*?<string>([^<]+)</string></ppdoc><ppdoc val="string"><string>:<'
)
"""The names in what ``Search`` prints."""


@dataclass(frozen=True, kw_only=True)
class CoqOptions:
    """``header``: the context of tasks that have none. ``processes``: at most so many are alive, and each stays with its file as long as
    there are enough of them; as many as this machine has cores work at a time.

    ``tactic_timeout_s``, ``context_timeout_s``: seconds for a tactic, and for a context, once read; reading any sentence of it may take
    as long.
    ``memory_mb``: a process that takes more is ended and started anew, and so is one in which ``recycle_after`` tactics were aborted:
    Coq keeps some of what they had built. ``moves``: tactics that take no thought; those that the context does not bring are left out.
    ``premises``: tactics with lemmas that may serve, best first, for the full name of a theorem and a goal of it.
    ``backend``: what the search asks: Coq's own ``coqidetop``, or a server that keeps Coq's states (see ``coq_snapshots``).
    ``audit``: how proofs are checked; its load path, its readable folders and ``allow_unsandboxed`` hold for the search as well.
    """

    header: str = ""
    processes: int = 1
    tactic_timeout_s: int = 5
    context_timeout_s: int = 120
    memory_mb: int = 4000
    recycle_after: int = 100
    moves: tuple[str, ...] = (
        *("assumption", "reflexivity", "trivial", "auto", "easy", "congruence", "intuition", "firstorder", "lia"),
    )
    premises: Callable[[str, str], Sequence[str]] | None = None
    backend: Backend = "coqidetop"
    audit: AuditOptions = field(default_factory=AuditOptions)

    def limits(self, timeout_s: float) -> Limits:
        return Limits(timeout_s + INTERRUPT_AFTER_S, timeout_s + KILL_AFTER_S, self.memory_mb)


def cores() -> int:
    """Of this machine, as far as this process may use them."""
    return len(os.sched_getaffinity(0))


def command(options: CoqOptions, folder: Path, library: str = "") -> list[str]:
    """How coqidetop is started, shut in, to run the text of ``library``. The memory is watched from outside; the limit inside is for
    what grows faster than that."""
    return _shut_in(ARGV, options, folder, library)


def backend_command(options: CoqOptions, folder: Path, library: str = "") -> list[str]:
    """The same for what the options name. Raises SparringError for what is not there and cannot be built."""
    return _shut_in(ARGV if options.backend == "coqidetop" else (str(server()), *FLAGS), options, folder, library)


def _shut_in(program: Sequence[str], options: CoqOptions, folder: Path, library: str) -> list[str]:
    limits = SandboxLimits(cpu_s=_LONG_S, memory_mb=2 * options.memory_mb + _SPARE_MB)
    own = options.audit
    argv = [*program, *own.flags, *own.compiler_flags, *(("-top", library) if library else ())]
    return wrap(argv, folder, limits, readable=own.readable, allow_unsandboxed=own.allow_unsandboxed)


class _Asked(Coqtop):
    """Answers commands as well."""

    def names(self, command: str, limits: Limits) -> list[str] | None:
        """The names that a command (``Search``) prints at the present position; None if it is refused."""
        back = self._back(len(self.position))
        answers = self._ask(back + add_call(command, self._states[-1]) + STATUS_CALL, 3 if back else 2, limits)[-2:]
        self._failed = True  # to be edited away
        return [name.decode() for name in _FOUND.findall(b"".join(answers))] if all(map(is_good, answers)) else None


Session = _Asked | Snapshots
"""A process and what is known of where it stands."""


def session(options: CoqOptions, folder: Path, library: str = "", parting: set[str] | None = None) -> Session:
    """A new process with ``folder`` for its own; ``parting``: see ``Coqtop``. Raises ProcessDied, and what ``backend_command`` does."""
    argv, limits = backend_command(options, folder, library), options.limits(options.context_timeout_s)
    return Snapshots(argv, folder, limits) if options.backend == "snapshots" else _Asked(argv, folder, limits, parting)


class Worker:
    """A process and the thread that it lives in (see ``process.Child``); it is started when there is work, and again when it is lost."""

    def __init__(self, options: CoqOptions, cores: Semaphore) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="coq")
        self._options = options
        self._cores = cores
        """Held while it works: a tactic's time is not to be spent waiting for others."""
        self._coq: Session | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._library = ""
        self._aborted = 0
        self._parting: set[str] = set()
        self._state: tuple[Root, tuple[str, ...]] | None = None
        """The theorem and the path that the process stands at, or right after."""
        self._weighed = 0.0
        """When its memory was looked at."""
        self._open = True
        """Nobody has closed it."""

    @property
    def position(self) -> Sequence[str]:
        return self._coq.position if self._coq else ()

    @property
    def memory_mb(self) -> float:
        return self._coq.child.rss_mb() if self._coq else 0.0

    def start(self, root: Root) -> Goals | Rejected:
        for last in (False, True):
            try:
                with self._cores:
                    return self._begin(root, self._ready(root.library))
            except ProcessDied as died:
                if last or died.cause == "time" or not self._open:
                    return _dead(died)
        raise AssertionError("the second death was the last")

    def names(self, root: Root, commands: Sequence[str]) -> list[list[str] | None]:
        """The names that each of the commands prints in the context of a theorem that was started; None if it is refused. Raises
        ProcessDied."""
        with self._cores:
            coq, limits, self._state = self._ready(root.library), self._options.limits(self._options.context_timeout_s), None
            if failed := coq.move(root.context, limits):
                raise ProcessDied(f"the context cannot be reached again: {failed.reason}", "crash")
            return [coq.names(command, limits) for command in commands]

    def run(self, groups: Sequence[Group]) -> dict[int, Outcome]:
        """The outcomes by their numbers."""
        with self._cores:
            return self._run(groups)

    def _run(self, groups: Sequence[Group]) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        for group in groups:
            for (number, _, _), outcome in zip(group.tries, self._outcomes(group), strict=True):
                outcomes[number] = outcome
            if self._aborted >= self._options.recycle_after or self._is_swollen():
                self._drop()
        return outcomes

    def _is_swollen(self) -> bool:
        """Looked at as often as a working process is: the system takes as long for it as Coq for some tactics."""
        now = time.monotonic()
        if now < self._weighed + WATCH_S:
            return False
        self._weighed = now
        return self.memory_mb > self._options.memory_mb

    def close(self) -> None:
        """Whatever is under way ends at once, as a fault. Harmless the second time."""
        if self._open:
            self._open = False
            if coq := self._coq:
                coq.child.kill()
            self.thread.submit(self._drop).result()
            self.thread.shutdown()

    def _outcomes(self, group: Group) -> Iterator[Outcome]:
        """In order. A try that the process dies of gets a second chance with a new one: the first may have been ill before."""
        done, blamed = 0, -1
        while done < len(group.tries):
            if not self._open:
                yield Rejected(reason="the environment was closed", kind="fault")
                done += 1
                continue
            try:
                for outcome in self._try(group, group.tries[done:]):
                    done += 1
                    yield outcome
            except ProcessDied as died:
                if blamed == done or died.cause == "time":
                    done += 1
                    yield _dead(died)
                else:
                    blamed = done

    def _ready(self, library: str) -> Session:
        """A process that runs the text of that library: what a text is called cannot be changed later."""
        if self._coq is None or not self._coq.child.ready or self._library != library:
            self._drop()
            self._library = library
            self._folder = tempfile.TemporaryDirectory(prefix="sparring-coq-")
            self._coq = session(self._options, Path(self._folder.name), library, self._parting)
        return self._coq

    def _drop(self) -> None:
        self._state, self._aborted = None, 0
        if self._coq:
            self._coq.close()
            self._coq = None
        if self._folder:
            self._folder.cleanup()
            self._folder = None

    def _begin(self, root: Root, coq: Session) -> Goals | Rejected:
        *context, theorem = root.sentences
        limits, self._state = self._options.limits(self._options.context_timeout_s), None
        if failed := coq.move(context, limits):
            return _rejected(failed, f"the context, {context[failed.place]:.80}: ")
        if coq.in_proof(limits):
            return Rejected(reason="the context ends within a proof")
        timeout_s = self._options.tactic_timeout_s
        [seen] = coq.try_each(len(context), [Try(theorem)], timeout_s, self._options.limits(timeout_s))
        if isinstance(seen, Failed):
            return _rejected(seen)
        if len(seen.goals) != 1 or seen.shelved or seen.given_up:
            return Rejected(reason=f"a statement is one goal; this one is {len(seen.goals) + seen.shelved + seen.given_up}")
        return Goals(texts=seen.goals, handle=Handle(root=root, path=(), first=1, count=1, total=1, apart=True))

    def _try(self, group: Group, tries: Sequence[tuple[int, Handle, str]]) -> Iterator[Outcome]:
        root, path, _ = group
        coq, timeout_s = self._ready(root.library), self._options.tactic_timeout_s
        sentences = [Try(f"{handle.first}: ( {tactic} ).", handle.total - handle.count) for _, handle, tactic in tries]
        if self._state != (root, path):
            replay_s = self._options.context_timeout_s + timeout_s * len(path)
            if failed := coq.move(root.sentences + path, self._options.limits(replay_s)):
                coq.close()
                raise ProcessDied(f"this state cannot be reached again: {failed.reason}", "crash")
            self._state = (root, path)
        found = coq.try_each(len(root.sentences) + len(path), sentences, timeout_s, self._options.limits(timeout_s))
        for (_, handle, _), (sentence, _), seen in zip(tries, sentences, found, strict=True):
            if isinstance(seen, Failed):
                self._aborted += seen.exhausted
                yield _rejected(seen)
            else:
                yield _outcome(handle, sentence, seen)


def _outcome(handle: Handle, sentence: str, seen: View) -> Outcome:
    """What became of the goals of ``handle``; those of others are as they were."""
    left = handle.count + len(seen.goals) - handle.total
    mine = seen.goals[handle.first - 1 : handle.first - 1 + left]
    if why := _unfit(seen, left, mine):
        return Rejected(reason=why)
    if not left:
        return Proved()
    path, total = (*handle.path, sentence), len(seen.goals)
    return Goals(
        texts=mine, handle=Handle(root=handle.root, path=path, first=handle.first, count=left, total=total, apart=seen.apart)
    )


def _unfit(seen: View, left: int, mine: Sequence[str]) -> str | None:
    """Why a search cannot go on from here, though Coq can."""
    if seen.given_up:
        return "the tactic gives goals up"
    if seen.background:
        return "the tactic hides other goals"
    if left < 0:
        return "the tactic works on other goals than the first one"
    if not left and seen.shelved:
        return f"{seen.shelved} shelved goals are left"
    if left > MAX_GOALS or sum(map(len, mine)) > MAX_GOAL_CHARS:
        return f"too much is left: more than {MAX_GOALS} goals or {MAX_GOAL_CHARS} characters"
    return None


def _dead(died: ProcessDied) -> Rejected:
    return Rejected(reason=brief(died.reason), kind="fault" if died.cause == "crash" else "timeout")


def _rejected(failed: Failed, where: str = "") -> Rejected:
    return Rejected(reason=brief(where + failed.reason), kind="timeout" if failed.exhausted else "refused")


def brief(reason: str) -> str:
    return " ".join(reason.split())[:MAX_REASON_CHARS]
