"""Coq's own automation as a prover: one tactic after ``intros`` on the statement of a theorem, where it stands in its file.

A tactic that the file does not bring is brought by a line after the context. That changes no statement: ``lia`` is loaded and not
imported (``Require Lia.``, said as ``Lia.lia``), and of whatever is loaded the first goal has to be the same text as without it. Where a
line cannot stand there, in a module type for instance, the tactic has not proved the theorem (``refused``). What is loaded may have the
theorem itself compiled: a tactic that looks for lemmas is then not tried (``present``).

``hammer`` runs other programs, which the environment lets no tactic do: coqc runs it, shut in, and what it says to write instead is
tried by the environment. Every proof goes through the audit; proving and auditing are timed apart.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparring.envs.coq import CoqEnv, read_statement
from sparring.envs.coq_audit import AuditOptions
from sparring.envs.coq_blocks import unsigned
from sparring.envs.coq_files import coq_folder
from sparring.envs.coq_pool import CoqOptions
from sparring.envs.sandbox import wrap
from sparring.game import Goals, Proved, Rejected, Task

Row = dict[str, Any]
UNION = "all automation"
"""The tactics one after the other until one proves it."""


@dataclass(frozen=True, kw_only=True)
class Automation:
    """``text``: what is said after ``intros``. ``loads``: the line that brings it. ``library``: the compiled file that has to be
    installed for it. ``lemmas``: it looks for lemmas in all that is loaded."""

    name: str
    text: str
    loads: str = ""
    library: str = ""
    lemmas: bool = False

    @property
    def installed(self) -> bool:
        return not self.library or (coq_folder() / "user-contrib" / self.library).is_file()


TACTICS = (
    *(Automation(name=name, text=name) for name in ("easy", "auto", "congruence", "eauto", "intuition", "firstorder")),
    Automation(name="lia", text="Lia.lia", loads="Require Lia."),
    Automation(
        name="sauto", text="sauto", loads="From Hammer Require Import Tactics.", library="Hammer/Tactics/Tactics.vo", lemmas=True
    ),
    Automation(
        name="hammer", text="hammer", loads="From Hammer Require Import Hammer.", library="Hammer/Plugin/Hammer.vo", lemmas=True
    ),
)
"""What takes least comes first."""


def missing() -> list[str]:
    """Tactics that are not installed here."""
    return [tactic.name for tactic in TACTICS if not tactic.installed]


def baseline_rows(
    tasks: Sequence[Task], limit_s: int = 10, paths: Callable[[CoqOptions], CoqOptions] = lambda options: options
) -> Iterator[Row]:
    """A row for each theorem and each tactic that is installed, and one for all of them, which ends the theorem. ``limit_s``: for each
    tactic. ``paths``: adds the load path of a project (``CoqWorld.options``).

    One process, so tasks of a file should follow one another.
    """
    env = CoqEnv(paths(CoqOptions(tactic_timeout_s=limit_s)))
    try:
        for task in tasks:
            plain = env.start(task)
            rows = [tried(env, task, plain, tactic, limit_s) for tactic in TACTICS if tactic.installed]
            yield from rows
            yield union_of(rows)
    finally:
        env.close()


def union_of(rows: Sequence[Row]) -> Row:
    """The tactics one after the other, in the order of the rows, until one proves the theorem."""
    first = next((number for number, row in enumerate(rows) if row["proved"]), len(rows) - 1)
    tried = rows[: first + 1]
    sums = {name: sum(row[name] for row in tried) for name in ("seconds", "env_s", "total_s", "steps", "audit_s")}
    return {**tried[-1], "method": UNION, "by": tried[-1]["method"] if tried[-1]["proved"] else "", **sums}


def tried(env: CoqEnv, task: Task, plain: Goals | Rejected, tactic: Automation, limit_s: int) -> Row:
    """What the tactic did. Loading the context is nobody's time; bringing the tactic is not counted either."""
    placed = replace(task, context=f"{task.context}\n{tactic.loads}\n") if tactic.loads else task
    goals = env.start(placed) if tactic.loads and isinstance(plain, Goals) else plain
    status, script, seconds = _why_not(env, task, plain, goals, tactic), "", 0.0
    if not status:
        assert isinstance(goals, Goals)
        status, script, seconds = _try(env, placed, goals, tactic, limit_s)
    begun = time.monotonic()
    verdict = env.check(placed, script) if script else None
    return {
        "method": tactic.name,
        "task": task.id,
        "proved": verdict is not None and verdict.solved,
        "status": status,
        "reason": (verdict.note or verdict.fault or "") if verdict else "",
        **dict.fromkeys(("seconds", "env_s", "total_s"), round(seconds, 6)),
        **dict.fromkeys(("calls", "tokens", "planner_s", "actor_s"), 0),
        **dict.fromkeys(("steps", "nodes", "searched", "proof_steps"), 1),
        "audit_s": round(time.monotonic() - begun, 6) if verdict else 0.0,
    }


def _why_not(env: CoqEnv, task: Task, plain: Goals | Rejected, goals: Goals | Rejected, tactic: Automation) -> str:
    """Why the tactic is not tried; empty if it is. ``plain``: the statement without what the tactic needs."""
    if isinstance(goals, Rejected) or isinstance(plain, Rejected):
        return "fault" if isinstance(goals, Rejected) and goals.kind == "fault" else "refused"
    if goals.texts != plain.texts:
        return "refused"
    return "present" if tactic.lemmas and present(env, goals, str(task.meta.get("full_name", ""))) else ""


def _try(env: CoqEnv, task: Task, goals: Goals, tactic: Automation, limit_s: int) -> tuple[str, str, float]:
    """How it ended, the script that the environment took for a proof, if any, and seconds."""
    env.step([(goals, "idtac")])  # the process stands there now: getting there is no part of the tactic's time
    begun = time.monotonic()
    text = reconstructed(env, task, limit_s) if tactic.name == "hammer" else tactic.text
    script = f"intros; {text}"
    [outcome] = env.step([(goals, script)]) if text else [Rejected(reason="hammer finds nothing")]
    seconds = time.monotonic() - begun
    if isinstance(outcome, Proved):
        return "proved", script, seconds
    timed_out = isinstance(outcome, Rejected) and outcome.kind == "timeout"
    return ("timeout" if timed_out else "exhausted"), "", seconds


def present(env: CoqEnv, goals: Goals, full_name: str) -> bool:
    """Whether the environment has a theorem of this name, the one that is to be proved."""
    [outcome] = env.step([(goals, f"pose proof (@{full_name})")]) if full_name else [Rejected(reason="it has no name")]
    return not isinstance(outcome, Rejected)


# ------------------------------------------------------------------------------------------------ hammer

_SAID = re.compile(r"Replace the hammer tactic with:\s*(\S[^\n]*?)\.?\s*$", re.MULTILINE)


def reconstructed(env: CoqEnv, task: Task, limit_s: int) -> str:
    """What ``hammer`` says to write in its place; empty where it finds nothing in ``limit_s`` for the provers and as much again for
    a proof of Coq's own."""
    statement = read_statement(task.text)
    assert not isinstance(statement, Rejected), "the environment has taken it"
    context, _ = unsigned(task.context)
    settings = f"Set Hammer ATPLimit {limit_s}.\nSet Hammer ReconstrLimit {limit_s}.\n"
    text = f"{context}\n{settings}{statement.sentence}\nProof.\nintros.\nhammer.\nAbort.\n"
    with _coqc(text, env.options.audit) as process, suppress(subprocess.TimeoutExpired):
        said, _ = process.communicate(timeout=3 * limit_s + 120)  # the context is compiled as well
        return read_hammer(said)
    return ""


def read_hammer(said: str) -> str:
    found = _SAID.search(said)
    return " ".join(found[1].split()) if found else ""


@contextmanager
def _coqc(text: str, options: AuditOptions) -> Iterator[subprocess.Popen[str]]:
    """coqc at work on the text, shut in; ended with all that it started when the block is left."""
    with tempfile.TemporaryDirectory(prefix="sparring-hammer-") as name:
        folder = Path(name)
        (folder / "hammered.v").write_text(text, encoding="utf-8")
        argv = ["coqc", "-q", "-w", "none", *options.flags, "hammered.v"]
        command = wrap(argv, folder, readable=options.readable, allow_unsandboxed=options.allow_unsandboxed)
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                yield process
            finally:
                process.kill()  # bubblewrap takes with it whatever runs inside
