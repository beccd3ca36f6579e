"""What the prove game shows of its searches, recomputed from the phases of a run."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparring.config import Evaluation
from sparring.evals.intervals import Interval, paired_bootstrap
from sparring.game import Bout, Step
from sparring.records import BOUTS
from sparring.rundir import RunDir, round_name

TIMES = ("planner_s", "actor_s", "env_s", "other_s", "total_s")
COUNTS = ("calls", "tokens", "steps", "nodes", "searched", "rejected", "duplicates", "timeouts", "faults")


def search_metrics(bouts: Sequence[Bout]) -> dict[str, Any] | None:
    """Sums over all searches, and how they ended; None where nothing was searched."""
    stats = [attempt.stats for bout in bouts for attempt in bout.attempts if attempt.stats]
    if not stats:
        return None
    sums = {name: sum(row.get(name, 0) for row in stats) for name in (*TIMES, *COUNTS)}
    lengths = [row["proof_steps"] for row in stats if row["status"] == "proved"]
    return {
        **sums,
        "status": dict(sorted(Counter(str(row["status"]) for row in stats).items())),
        "proof_steps": statistics.fmean(lengths) if lengths else None,
    }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The last policy's search against a rival's on the same statements under the same budget."""

    name: str
    rival: str
    proved: float
    rival_proved: float
    difference: Interval
    only: int
    """Proved by the search alone."""
    only_rival: int


def comparisons(run: RunDir, number: int, how: Evaluation) -> list[Comparison]:
    """Every evaluation set on which rivals were examined in a round."""
    found: list[Comparison] = []
    for path in sorted((run.root / round_name(number)).glob("eval-*@*")):
        name, _, rival = path.name.removeprefix("eval-").partition("@")
        own, other = (run.read(f"{round_name(number)}/eval-{part}", BOUTS) for part in (name, f"{name}@{rival}"))
        if own is None or other is None:
            continue
        pairs = [(a.verdicts[0], b.verdicts[0]) for a, b in zip(own, other, strict=True)]
        judged = [(float(a.solved), float(b.solved)) for a, b in pairs if a.fault is None and b.fault is None]
        if not judged:
            continue
        mine, theirs = ([pair[side] for pair in judged] for side in (0, 1))
        found.append(
            Comparison(
                name=name,
                rival=rival,
                proved=statistics.fmean(mine),
                rival_proved=statistics.fmean(theirs),
                difference=paired_bootstrap(mine, theirs, how.level, how.bootstrap),
                only=sum(a > b for a, b in judged),
                only_rival=sum(a < b for a, b in judged),
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Found:
    """A proof with the steps that it is made of, each with the target that the planner had set where it had."""

    statement: str
    steps: tuple[Step, ...]
    stats: Mapping[str, Any]

    @property
    def aimed(self) -> int:
        """Steps that had a target."""
        return sum(step.target is not None for step in self.steps)


def in_order(steps: Sequence[Step]) -> list[Step]:
    """The steps of a proof in the order of its script: depth first, goals from left to right. A goal that came up twice comes twice."""
    made = {step.state: step for step in steps}
    parts = {step.state: [step.result] if step.result in made else step.result.split("\n\n") for step in steps}
    inner = {part for found in parts.values() for part in found}
    pending = [step.state for step in steps if step.state not in inner][:1]
    script: list[Step] = []
    while pending:
        state = pending.pop(0)
        if state in made:
            script.append(made[state])
            pending = parts[state] + pending
    return script


def proofs_found(run: RunDir, number: int, count: int) -> list[Found]:
    """Checked proofs of a round, of different lengths: those in which most steps had a target of the planner's, then the longest."""
    found: list[Found] = []
    for path in sorted((run.root / round_name(number)).iterdir()):
        if path.name not in ("probe", "bouts") and not (path.name.startswith("eval-") and "@" not in path.name):
            continue
        for bout in run.read(f"{round_name(number)}/{path.name}", BOUTS) or []:
            for attempt, verdict in zip(bout.attempts, bout.verdicts, strict=True):
                if verdict.solved:
                    used = tuple(in_order([step for step in attempt.steps if step.used]))
                    found.append(Found(statement=bout.task.text, steps=used, stats=attempt.stats))
    ranked = sorted(found, key=lambda proof: (-proof.aimed, -len(proof.steps), proof.statement))
    return list({len(proof.steps): proof for proof in reversed(ranked)}.values())[::-1][:count]
