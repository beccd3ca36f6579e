"""What a run shows, recomputed from its phases: nothing here is remembered, everything is read."""

from __future__ import annotations

import itertools
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparring.config import Evaluation
from sparring.creators.evolve import rewards_of
from sparring.creators.select import estimate
from sparring.evals.intervals import Interval, bootstrap, paired_bootstrap
from sparring.game import Attempt, Bout, Demo, Lesson, Pair, Task
from sparring.proofs import search_metrics
from sparring.records import BOUTS, LESSONS, TASKS
from sparring.rundir import RunDir, round_name

Row = dict[str, Any]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def complexity(tasks: Sequence[Task]) -> float | None:
    """Mean depth of the tasks where their world knows it, otherwise mean number of words."""
    depths = (task.meta.get("depth") for task in tasks)  # or whatever a column of that name holds
    known = [depth if isinstance(depth, int | float) and not isinstance(depth, bool) else None for depth in depths]
    return _mean([len(task.text.split()) if depth is None else float(depth) for task, depth in zip(tasks, known, strict=True)])


def distinct_pairs(texts: Iterable[str]) -> float | None:
    """Distinct word pairs over all word pairs (distinct-2, arXiv 1510.03055 sec. 5.2); None where there are none."""
    pairs: list[tuple[str, str]] = []
    for text in texts:
        words = re.findall(r"\w+", text.casefold())
        pairs += itertools.pairwise(words)
    return len(set(pairs)) / len(pairs) if pairs else None


def bout_metrics(bouts: Sequence[Bout]) -> Row:
    """Scores of the judged answers, faults counted apart; a tie is a task whose judged answers all score the same."""
    judged = [v for bout in bouts for v in bout.verdicts if v.fault is None]
    groups = [[v.score for v in bout.verdicts if v.fault is None] for bout in bouts]
    return {
        "tasks": len(bouts),
        "answers": sum(len(bout.attempts) for bout in bouts),
        "score": _mean([v.score for v in judged]),
        "solved": _mean([float(v.solved) for v in judged]),
        "faults": sum(v.fault is not None for bout in bouts for v in bout.verdicts),
        "ties": sum(len(group) > 1 and min(group) == max(group) for group in groups),
        "length": _mean([float(answer_length(a)) for bout in bouts for a in bout.attempts if a.fault is None]),
        "distinct": distinct_pairs(a.answer for bout in bouts for a in bout.attempts if a.fault is None),
        "complexity": complexity([bout.task for bout in bouts]),
    }


def answer_length(attempt: Attempt) -> int:
    """Tokens where the model told them, otherwise characters."""
    tokens = sum(len(sample.token_ids) for sample in attempt.samples)
    return tokens or len(attempt.answer)


def eval_metrics(bouts: Sequence[Bout], how: Evaluation) -> Row:
    """Accuracy and mean score of the first attempt, each with a bootstrap interval over tasks; faults are left out, and counted."""
    verdicts = [bout.verdicts[0] for bout in bouts if bout.verdicts[0].fault is None]
    row = bout_metrics(bouts) | dict.fromkeys(("accuracy", "low", "high", "score_low", "score_high"))
    if verdicts:
        interval = bootstrap([float(verdict.solved) for verdict in verdicts], how.level, how.bootstrap)
        row |= {"accuracy": interval.mean, "low": interval.low, "high": interval.high}
        scores = bootstrap([verdict.score for verdict in verdicts], how.level, how.bootstrap)
        row |= {"score_low": scores.low, "score_high": scores.high}
    return row | _search(bouts)


def _search(bouts: Sequence[Bout]) -> Row:
    found = search_metrics(bouts)
    return {"search": found} if found else {}


def proposal_metrics(proposals: Sequence[Task]) -> Row:
    rejected = Counter(task.rejected for task in proposals if task.rejected is not None)
    accepted = [task for task in proposals if task.rejected is None]
    return {
        "accepted": len(accepted),
        "rejected": dict(sorted(rejected.items())),
        "operators": dict(sorted(Counter(str(task.meta.get("operator", "none")) for task in accepted).items())),
        "distinct": distinct_pairs(task.text for task in accepted),
        "complexity": complexity(accepted),
    }


def lesson_metrics(lessons: Sequence[Lesson]) -> Row:
    pairs = [lesson for lesson in lessons if isinstance(lesson, Pair)]
    return {
        "lessons": len(lessons),
        "pairs": len(pairs),
        "created": sum(lesson.created for lesson in lessons if not isinstance(lesson, Demo)),
        "margin": _mean([pair.margin for pair in pairs]),
    }


def learning_metrics(run: RunDir, number: int) -> Row | None:
    """First and last tenth of the optimiser steps: what the learner's own log says."""
    path = run.root / round_name(number) / "policy" / "training.jsonl"
    if not path.exists():
        return None
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if not rows:
        return None
    tail = rows[-max(1, len(rows) // 10) :]
    names = ("loss", "chosen_logp_change", "rejected_logp_change", "reward_margin", "reward_accuracy")
    last = {name: _mean([row[name] for row in tail if row.get(name) is not None]) for name in names}
    return {"steps": len(rows), "first_loss": rows[0]["loss"], **last}


def round_metrics(run: RunDir, number: int, how: Evaluation) -> Row:
    """One line of ``metrics.jsonl``: what is finished of one round."""
    name = round_name(number)
    row: Row = {"round": number}
    for path in sorted((run.root / name).glob("eval-*")):
        if path.suffix != ".partial":
            bouts = run.read(f"{name}/{path.name}", BOUTS) or []
            row.setdefault("evals", {})[path.name.removeprefix("eval-")] = eval_metrics(bouts, how)
    for phase in ("probe", "bouts"):
        bouts = run.read_round(number, phase, BOUTS)
        if bouts:
            row[phase] = bout_metrics(bouts) | _search(bouts)
    proposals, lessons = run.read_round(number, "proposals", TASKS), run.read_round(number, "lessons", LESSONS)
    if proposals:
        row["proposals"] = proposal_metrics(proposals)
    if lessons is not None:
        row["lessons"] = lesson_metrics(lessons)
    if learning := learning_metrics(run, number):
        row["learning"] = learning
    if second := second_scores(run, number):
        row["second"] = second
    if (path := run.root / name / "divergence.json").exists():
        row["divergence"] = json.loads(path.read_text(encoding="utf-8"))["nats"]
    return row


def second_scores(run: RunDir, number: int) -> dict[str, float]:
    """Mean score of each second judge over the evaluation's answers, by judge and set; faults are left out."""
    found: dict[str, float] = {}
    for path in sorted((run.root / round_name(number)).glob("second-*")):
        bouts = run.read(f"{round_name(number)}/{path.name}", BOUTS) if path.suffix != ".partial" else None
        mean = _mean([v.score for bout in bouts or [] for v in bout.verdicts if v.fault is None])
        if mean is not None:
            found[path.name.removeprefix("second-")] = mean
    return found


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """A created prompt, where it comes from, and what evolving it brought."""

    lineage: tuple[str, ...]
    """Texts from the human prompt to this one."""
    operators: tuple[str, ...]
    info: float
    gain: float | None
    """Return of the evolution: the child's A*_min minus its parent's; None where no answer to the parent was judged."""
    solved: float
    """Share of the judged answers."""


def evolutions(run: RunDir, number: int) -> list[Evolution]:
    """The created prompts of a round with a judged answer, the most informative first; ties go to the larger return."""
    probe, created = (run.read_round(number, phase, BOUTS) or [] for phase in ("probe", "bouts"))
    bouts = [*probe, *created]
    info_P = estimate("min", rewards_of(bouts)).tolist()
    info = {bout.task.id: info for bout, info in zip(bouts, info_P, strict=True) if math.isfinite(info)}
    tasks = {task.id: task for n in range(1, number + 1) for task in run.read(f"{round_name(n)}/pool", TASKS) or []}
    tasks |= {bout.task.id: bout.task for bout in bouts}
    found: list[Evolution] = []
    for bout in created:
        line = _lineage(bout.task, tasks)
        if len(line) < 2 or bout.task.id not in info:
            continue
        gain = info[bout.task.id] - info[line[-2].id] if line[-2].id in info else None
        found.append(
            Evolution(
                lineage=tuple(task.text for task in line),
                operators=tuple(str(task.meta.get("operator", "")) for task in line[1:]),
                info=info[bout.task.id],
                gain=gain,
                solved=_mean([float(v.solved) for v in bout.verdicts if v.fault is None]) or 0.0,
            )
        )
    return sorted(found, key=lambda e: (-e.info, -(e.gain or 0.0), e.lineage))


def _lineage(task: Task, tasks: Mapping[str, Task]) -> list[Task]:
    """From the oldest known ancestor to ``task``."""
    line = [task]
    while (parent := tasks.get(line[0].parent or "")) and len(line) <= len(tasks):
        line.insert(0, parent)
    return line


def gains(run: RunDir, last: int, how: Evaluation, scored: bool = False) -> dict[str, Interval]:
    """What the policy of round ``last`` solves more than the first one, paired by task, for every evaluation set; with ``scored``, by how
    much its score is higher.
    """
    found: dict[str, Interval] = {}
    for path in sorted((run.root / round_name(0)).glob("eval-*")):
        before, after = (run.read(f"{round_name(number)}/{path.name}", BOUTS) for number in (0, last))
        if before is None or after is None:
            continue
        pairs = [(b.verdicts[0], a.verdicts[0]) for b, a in zip(before, after, strict=True)]
        judged = [
            (b.score, a.score) if scored else (float(b.solved), float(a.solved))
            for b, a in pairs
            if b.fault is None and a.fault is None
        ]
        old, new = ([pair[side] for pair in judged] for side in (0, 1))
        found[path.name.removeprefix("eval-")] = paired_bootstrap(new, old, how.level, how.bootstrap)
    return found
