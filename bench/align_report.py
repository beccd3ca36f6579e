"""The page of bench/align_vs_trl.py: how long each arm took to each score."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from sparring.evals.intervals import bootstrap

Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Arm -> seed -> what its process wrote: ``setting``, and ``points`` with seconds, answers and scores."""


def time_to(points: Sequence[Mapping[str, Any]], target: float, unit: str, exam: str = "hard") -> float:
    """Seconds until the first checkpoint that has the score; infinite where none has."""
    return next((point[unit] for point in points if point[exam] >= target), math.inf)


def ratio_cell(theirs: Sequence[Mapping[str, Any]], ours: Sequence[Mapping[str, Any]], target: float, unit: str) -> str:
    """How many times as long they take, over seeds where we have the score: the median, with an interval of the geometric mean."""
    logs, bound = list[float](), False
    for other, own in zip(theirs, ours, strict=True):
        needed, spent = time_to(own["points"], target, unit), time_to(other["points"], target, unit)
        if not (math.isfinite(needed) and needed > 0 and spent > 0):
            continue
        bound |= math.isinf(spent)
        logs.append(math.log((spent if math.isfinite(spent) else other["points"][-1][unit]) / needed))
    if not logs:
        return ""
    found = bootstrap(logs, resamples=2000)
    median = math.exp(statistics.median(logs))
    return f"{'at least ' if bound else ''}{median:.2f} [{math.exp(found.low):.2f}, {math.exp(found.high):.2f}]"


def _median(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    return f"{middle:.1f}" if math.isfinite(middle) else "not reached"


def report(results: Runs, targets: Sequence[float], reference: str, chosen: str) -> str:
    """The Markdown page. ``chosen``: how TRL's settings were."""
    lines = [
        "# Time to a held-out score: sparring and TRL",
        "",
        "Made by `python -m bench.align_vs_trl`; what is compared, and how, is said there. Settings of TRL's trainers: "
        f"{chosen}. One thread, one process at a time. Seconds are medians over seeds; ratios are to *{reference}*: the median over seeds "
        "[95 % bootstrap interval of the geometric mean].",
    ]
    for target in targets:
        head = f"## {100 * target:.0f} % of world:hard"
        lines += ["", head, "", "| arm | seeds | reached | CPU s | wall s | CPU ratio | wall ratio | answers |", f"|{'---|' * 8}"]
        for arm, runs in results.items():
            ours = results.get(reference, runs)
            both = [(runs[seed], ours[seed]) for seed in sorted(runs.keys() & ours.keys())]
            times = {unit: [time_to(run["points"], target, unit) for run, _ in both] for unit in ("cpu_s", "wall_s", "answers")}
            ratios = [ratio_cell([a for a, _ in both], [b for _, b in both], target, unit) for unit in ("cpu_s", "wall_s")]
            cells = [arm, len(both), sum(map(math.isfinite, times["cpu_s"])), _median(times["cpu_s"]), _median(times["wall_s"])]
            lines.append(f"| {' | '.join(map(str, [*cells, *ratios, _median(times['answers'])]))} |")
    lines += [
        "",
        "## At the end of the budget",
        "",
        "| arm | hard % | easy % | CPU s | answers | updates | setting |",
        f"|{'---|' * 7}",
    ]
    for arm, runs in results.items():
        last = [run["points"][-1] for run in runs.values()]
        mean = {name: statistics.fmean(point[name] for point in last) for name in last[0]}
        setting = next(iter(runs.values()))["setting"]
        shown = ", ".join(f"{name} {value}" for name, value in setting.items()) or "the recipe's"
        lines.append(
            f"| {arm} | {100 * mean['hard']:.1f} | {100 * mean['easy']:.1f} | {mean['cpu_s']:.0f} | {mean['answers']:.0f} | "
            f"{mean['updates']:.0f} | {shown} |"
        )
    return "\n".join(lines) + "\n"
