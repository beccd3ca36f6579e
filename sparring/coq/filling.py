"""``sparring prove FILE.v``: the holes of a user's own file, searched in their places, checked with the whole file, and a patch.

Nobody's word is taken for a proof: each line of a script has to be a single harmless tactic, is run again from the hole, and the
whole file with the proofs in it goes through ``coqc`` and ``coqchk`` in the sandbox before anything is shown. If it does not pass,
proofs are taken back, the last one first, until it does. Nothing outside the replaced sentences changes.

What a proof rests on is reported with it: the file's own axioms and admitted lemmas are allowed, unless ``allow_admitted`` is off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from sparring.coq.compile import in_project, project_of
from sparring.coq.flat import Hole, Unit, find_units
from sparring.coq.holes import scan
from sparring.coq.partial import best_part
from sparring.coq.patch import (
    Block,
    apply_edits,
    as_block,
    lay_out,
    read_text,
    unified_diff,
    write_file,
)
from sparring.coq.results import Report, Result
from sparring.coq.whole import Whole, checked
from sparring.envs.coq import CoqEnv
from sparring.envs.coq_context import abridged
from sparring.envs.coq_pool import CoqOptions, brief
from sparring.envs.coq_sentence import check_tactic, tidy
from sparring.envs.coq_shop import refers_to
from sparring.envs.embedded import lines_of
from sparring.errors import SparringError
from sparring.game import (
    Attempt,
    Env,
    Goals,
    Model,
    Outcome,
    Rejected,
    Solver,
    Task,
    Verdict,
    make_task,
    stable_hash,
)

MAX_LINES = 1_000
"""Of a script."""


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How to fill holes. ``solver``: makes one that searches in an environment (``lambda env: prover_of(recipe, env)``).

    ``said``: told of each result when it is there; proofs are not checked with the whole file by then.
    ``allow_admitted``: proofs may rest on lemmas that the file admits.
    """

    solver: Callable[[Env], Solver]
    model: Model
    options: CoqOptions = field(default_factory=CoqOptions)
    theorem: str | None = None
    write: bool = False
    allow_admitted: bool = True
    seed: int = 0
    said: Callable[[Result], None] = lambda result: None


class _File(NamedTuple):
    """``library``: the name that the text has for itself, where it uses that."""

    path: Path
    text: str
    options: CoqOptions
    library: str


def prove_file(path: Path, how: Filling) -> Report:
    """Searches each hole. Ctrl-C ends the searches, and what was found until then is checked, reported and written.

    Raises SparringError for a file that does not compile as it is, for a name that no hole has, and where there is no Coq.
    """
    text = read_text(path)
    found = find_units(text)
    chosen = _choose(path, found.units, how.theorem)
    project = project_of(path)
    notes = [f"not used of _CoqProject: {', '.join(project.ignored)}"] if project.ignored else []
    options = in_project(how.options, project)
    library = project.library if refers_to(project.library, text) else ""
    file = _File(path, text, options, library)
    units = scan(text, path, chosen, options, library) if chosen else []
    notes += [f"{unit.title}: {why}" for unit in units for why in unit.skipped]
    notes += found.others
    notes += [f"{unit.title}: no goal is left: Qed may do" for unit in units if not unit.holes and not unit.skipped]
    results, stopped = _search(file, units, how)
    edits, results = checked(Whole(text, options.audit, library, how.allow_admitted), results)
    new = apply_edits(text, edits)
    # patch takes no path that leads out of the folder that it is applied in
    diff = unified_diff(path.name if path.is_absolute() or ".." in path.parts else path.as_posix(), text, new)
    kept = write_file(path, text, new) if how.write and diff else None
    return Report(path=path, results=tuple(results), diff=diff, new=new, notes=tuple(notes), stopped=stopped, kept=kept)


def _choose(path: Path, units: Sequence[Unit], theorem: str | None) -> list[Unit]:
    if theorem is None:
        return list(units)
    found = [unit for unit in units if unit.name == theorem]
    if not found:
        names = ", ".join(unit.title for unit in units) or "none: no proof in it ends in Admitted"
        raise SparringError(
            f"{theorem!r} is not among the admitted statements of {path}; name one of them ({names}), or leave it out"
        )
    return found


# ------------------------------------------------------------------------------------------------ searching


@dataclass(frozen=True)
class From:
    """An environment whose tasks begin at goals that were reached before, whatever their statement."""

    env: Env
    goals: Goals

    def start(self, task: Task) -> Goals | Rejected:
        return self.goals

    def step(self, tries: Sequence[tuple[Goals, str]]) -> list[Outcome]:
        return self.env.step(tries)

    def moves(self, goals: Goals) -> Sequence[str]:
        return self.env.moves(goals)

    def hints(self, goals: Goals) -> str:
        return self.env.hints(goals)

    def split(self, goals: Goals) -> list[Goals]:
        return self.env.split(goals)

    def check(self, task: Task, script: str) -> Verdict:
        """Runs the script again from the goals; the whole file is checked later."""
        block = replay(self.env, self.goals, script)
        return Verdict(score=0.0, solved=False, note=block) if isinstance(block, str) else Verdict(score=1.0, solved=True)

    def close(self) -> None:
        self.env.close()


def goals_of(env: Env, hole: Hole, before: str, library: str = "") -> Goals | Rejected:
    """The hole's goal in an environment. ``before``: the file up to the statement; ``library``: its name.

    The way there is without the proofs that the start left out, so that a process goes through the file once. Where these
    made a difference after all, a proof that is found does not pass the check of the whole file.
    """
    begun = env.start(make_task("True", context=before, meta={"library": library}))
    if isinstance(begun, Rejected):
        return begun
    root = replace(begun.handle.root, sentences=abridged(hole.lead))
    handle = replace(begun.handle, root=root, path=hole.path, first=hole.number, count=1, total=hole.total, apart=hole.apart)
    return Goals(texts=(hole.goal,), handle=handle)


def replay(env: Env, goals: Goals, script: str) -> Block | str:
    """The script as a tree, if each line is a harmless tactic and no goal is left; else why it is no proof."""
    lines = [tidy(line) for line in lines_of(script)]
    left: list[int] = []
    state: Goals | None = goals
    if len(lines) > MAX_LINES:
        return f"{len(lines)} lines are too many: at most {MAX_LINES}"
    for number, line in enumerate(lines, start=1):
        if state is None:
            return f"line {number}, {line:.60}: no goal is left"
        [outcome] = env.step([(state, line)]) if not (why := check_tactic(line)) else [Rejected(reason=why)]
        if isinstance(outcome, Rejected):
            return f"line {number}, {line:.60}: {brief(outcome.reason)}"
        after = outcome.texts if isinstance(outcome, Goals) else ()
        left.append(len(after) - len(state.texts) + 1)
        state = outcome if isinstance(outcome, Goals) else None
    if state is not None:
        return f"{len(state.texts)} goals are left"
    return as_block(lines, left) if min(left) >= 0 else [*lines]  # a tactic that closes other goals too: no tree shows that


def _search(file: _File, units: Sequence[Unit], how: Filling) -> tuple[list[Result], bool]:
    """A result for each hole, and whether somebody stopped it."""
    holes = [(unit, hole) for unit in units for hole in unit.holes]
    results: list[Result] = []
    stopped = False
    env: CoqEnv | None = None
    try:
        env = CoqEnv(file.options) if holes else None
        for number, (unit, hole) in enumerate(holes):
            assert env is not None
            seed = stable_hash(how.seed, file.path.name, number)
            results.append(_attempt(env, file, unit, hole, how, seed))
            how.said(results[-1])
    except KeyboardInterrupt:
        stopped = True
    finally:
        if env:
            env.close()
    results += [Result(unit=unit, hole=hole, status="not tried", reason="stopped") for unit, hole in holes[len(results) :]]
    return results, stopped


def _attempt(env: CoqEnv, file: _File, unit: Unit, hole: Hole, how: Filling, seed: int) -> Result:
    if hole.data and (why := _left_to_people(unit, hole, how)):
        return Result(unit=unit, hole=hole, status="not tried", reason=why)
    begun = time.monotonic()
    statement = unit.sentences[unit.statement]
    before = file.text[: statement.start]
    goals = goals_of(env, hole, before, file.library)
    if isinstance(goals, Rejected):
        return Result(unit=unit, hole=hole, status="gave up", reason=f"it cannot be searched: {goals.reason}")
    task = make_task(statement.text, context=before, meta={"hole": hole.line, "goal": hole.goal})
    try:
        [(attempt, *_)] = how.solver(From(env, goals)).attempt([task], how.model, seed)
    except Exception as broken:  # the holes before it must not be lost
        return Result(unit=unit, hole=hole, status="gave up", reason=f"the search broke: {broken!r:.300}")
    found = _judged(env, goals, unit, hole, attempt)
    return replace(found, seconds=time.monotonic() - begun, tries=int(attempt.stats.get("steps", 0)))


def _left_to_people(unit: Unit, hole: Hole, how: Filling) -> str:
    """Why no value is searched for a hole that is data; "" if one is."""
    if unit.asserts:
        return (
            ""
            if hole.apart
            else "it is data that other goals depend on, and Coq would take any value; write the one that is meant"
        )
    if how.theorem is None:
        return "it is data that is defined here, and Coq would take any value; name it (--theorem) to have one found"
    return ""


def _judged(env: CoqEnv, goals: Goals, unit: Unit, hole: Hole, attempt: Attempt) -> Result:
    if attempt.answer:
        block = replay(env, goals, attempt.answer)
        if isinstance(block, str):
            return Result(unit=unit, hole=hole, status="refused", reason=block)
        return Result(unit=unit, hole=hole, status="proved", block=block)
    why = attempt.fault or _ending(attempt.stats)
    part = best_part(hole.goal, attempt.steps)
    if part.closed:
        return Result(unit=unit, hole=hole, status="partial", reason=why, block=part.block, rest=part.rest)
    return Result(unit=unit, hole=hole, status="gave up", reason=why)


def _ending(stats: Mapping[str, Any]) -> str:
    """Why a search ended without a proof."""
    kind, _, bound = str(stats.get("status", "no proof was found")).partition(":")
    words = {"budget": f"the budget of {bound} is spent", "exhausted": "everything was tried"}.get(kind, kind)
    more = [str(stats["reason"])] if stats.get("reason") else []
    more += [f"{stats['timeouts']} tactics ran out of time"] if stats.get("timeouts") else []
    return ", ".join([words, *more])


# ------------------------------------------------------------------------------------------------ for a person


def describe(result: Result) -> Iterator[str]:
    """Lines about one hole."""
    hole = result.hole
    what = {"statement": "", "open": ", a goal that is left at the end", "admit": ", admit"}[hole.kind]
    spent = f" ({result.seconds:.1f} s, {result.tries} tactics tried)" if result.status != "not tried" else ""
    yield f"line {hole.line}, {result.unit.title}{what}: {result.status}{f': {result.reason}' if result.reason else ''}{spent}"
    if result.block and result.status in ("proved", "partial", "taken back"):
        yield from lay_out(result.block, "    ")
    if result.status == "proved" and hole.data:
        yield "  this is data, not a proposition: any value of the type would do for Coq, so read it"
    if result.status == "proved" and not result.closes:
        yield "  (the statement stays admitted: something else in it is not proved)"
    if result.unseen:
        yield f"  (whether Coq takes this proof at Qed is not known: {result.unseen})"
    if result.rests_on:
        yield f"  it rests on: {', '.join(result.rests_on)}"
    for goal in result.rest:
        yield "  left:"
        yield from (f"    {line}" for line in goal.splitlines())


def describe_report(report: Report) -> Iterator[str]:
    """Lines about every hole, then the whole: what was skipped, how many holes are filled, the patch."""
    for result in report.results:
        yield from describe(result)
    yield from (f"note: {note}" for note in report.notes)
    proved = sum(result.status == "proved" for result in report.results)
    yield f"{report.path}: {proved} of {len(report.results)} holes proved{', stopped' if report.stopped else ''}"
    if report.kept:
        yield f"written; the file as it was is {report.kept}"
    elif report.diff:
        yield "the file with these proofs compiles; nothing is written without --write:"
    if report.diff:
        yield from report.diff.split("\n")[:-1]
