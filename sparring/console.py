"""What a person sees: progress while a run works, tables when it shows itself."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sparring.config_prove import TargetForm
from sparring.evals.intervals import Interval
from sparring.metrics import Evolution
from sparring.prompts import one_line, target_of
from sparring.proofs import TIMES, Comparison, Found
from sparring.rundir import Watch
from sparring.solvers.search import MOVE

Row = dict[str, Any]
WIDTH = 160
"""Columns where no terminal says how many it has: enough that no table is folded."""


def make_console() -> Console:
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=WIDTH)


@dataclass
class _Phase:
    bar: TaskID
    begun: float
    total: int | None


class ConsoleWatch(Watch):
    """A progress bar with an ETA on a terminal, and one line per finished phase anywhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        ]
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._open: list[_Phase] = []

    def begin(self, phase: str, total: int | None) -> None:
        self._progress.start()
        self._open.append(_Phase(self._progress.add_task(phase, total=total), time.monotonic(), total))

    def update(self, done: int, total: int) -> None:
        if self._open:
            self._open[-1].total = total
            self._progress.update(self._open[-1].bar, completed=done, total=total)

    def end(self, phase: str, finished: bool) -> None:
        """Of a phase within a phase (the turns of an online round) nothing stays on the screen."""
        if not self._open:
            return
        ended = self._open.pop()
        self._progress.remove_task(ended.bar)
        if self._open:
            return
        self._progress.stop()
        if finished:
            count = f"{ended.total:>6}" if ended.total else " " * 6
            self._console.print(f"  {phase:<28}{count}  {time.monotonic() - ended.begun:7.1f} s")

    def note(self, text: str) -> None:
        self._console.print(f"  {text}", soft_wrap=True)


def _number(value: float | None, form: str = ".2f") -> str:
    return "" if value is None else format(value, form)


def _accuracy(row: Row, name: str, scored: bool = False) -> str:
    """Of an evaluation set, with its interval; ``scored``: the mean score in place of the accuracy in %."""
    found = row.get("evals", {}).get(name)
    if found is None:
        return ""
    names = ("score", "score_low", "score_high") if scored else ("accuracy", "low", "high")
    if found[names[0]] is None:
        return "nothing judged"
    value, low, high = (found[name] for name in names)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if scored else f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _policy(row: Row, human_rounds: int) -> str:
    """theta0 is the policy that the run began with, theta1 the one after round 1, and so on."""
    number = row["round"]
    if number == 0:
        return "theta0"
    return f"theta{number} " + ("human" if number <= human_rounds else "evolved" if row.get("bouts") else "pool")


def _table(first: str, others: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _accuracy_table(rows: Sequence[Row], human_rounds: int, scored: bool) -> Table:
    """One line per policy: its accuracy (or its score) on every evaluation set, and what its round taught from."""
    names = list(dict.fromkeys(name for row in rows for name in row.get("evals", {})))
    table = _table("policy", [*names, "length", "faults"])
    for row in rows:
        evals = list(row.get("evals", {}).values())
        accuracies = [_accuracy(row, name, scored) for name in names]
        faults = str(sum(found["faults"] for found in evals)) if evals else ""
        table.add_row(_policy(row, human_rounds), *accuracies, _number(evals[-1]["length"] if evals else None, ".1f"), faults)
    return table


def _play_table(rows: Sequence[Row]) -> Table:
    """One line per round: what was played and taught."""
    table = _table("round", ["pool", "created", "depth", "refused", "solved", "ties", "faults", "lessons", "logp"])
    for row in rows:
        parts = [row[name] for name in ("probe", "bouts") if name in row]
        if not parts:
            continue
        last, proposals = parts[-1], row.get("proposals") or {"accepted": 0, "rejected": {}}
        table.add_row(
            str(row["round"]),
            str(row.get("probe", {}).get("tasks", "")),
            str(proposals["accepted"]),
            _number(last["complexity"]),
            str(sum(proposals["rejected"].values())),
            _number(None if last["solved"] is None else 100 * last["solved"], ".1f"),
            str(sum(part["ties"] for part in parts)),
            str(sum(part["faults"] for part in parts)),
            str(row.get("lessons", {}).get("lessons", "")),
            _number(row.get("learning", {}).get("chosen_logp_change"), "+.2f"),
        )
    return table


def print_rounds(console: Console, rows: Sequence[Row], human_rounds: int, level: float, scored: bool = False) -> None:
    """Two tables, each under a line that says its units; with two evaluation sets they fit into 80 columns.

    ``scored``: the judge gives scores that are no shares of anything.
    """
    what = "the judge's score" if scored else "accuracy in %"
    console.print(f"{what} [{100 * level:g} % interval] of greedy answers, their length in tokens", style="bold")
    console.print(_accuracy_table(rows, human_rounds, scored))
    console.print("what was played; solved in %, logp: change of the chosen answers' (nats)", style="bold")
    console.print(_play_table(rows))
    console.print(f"drafts refused: {_refusals(rows)}", soft_wrap=True)


# ---------------------------------------------------------------------------------------------- the prove game


def print_searches(console: Console, rows: Sequence[Row], level: float) -> None:
    """Proved statements by policy and set, what was searched and taught, and where the time went."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row.get("evals", {})) if "@" not in name]
    proved = _table("policy", [*names, "faults"])
    for row in rows:
        evals = row.get("evals", {})
        faults = str(sum(evals[name]["faults"] for name in names if name in evals)) if evals else ""
        proved.add_row(f"theta{row['round']}", *(_accuracy(row, name) for name in names), faults)
    console.print(f"proved in % [{100 * level:g} % interval]", style="bold")
    console.print(proved)
    console.print("what was searched and taught", style="bold")
    console.print(_search_table(rows))
    console.print(f"conjectures refused: {_refusals(rows)}", soft_wrap=True)
    console.print("where the time of the evaluations went, in seconds", style="bold")
    console.print(_time_table(rows, names))


def _search_table(rows: Sequence[Row]) -> Table:
    table = _table("round", ["pool", "proved", "conjectures", "proved", "lessons", "calls", "steps"])
    for row in rows:
        probe, bouts = row.get("probe"), row.get("bouts")
        if probe is None:
            continue
        parts = [part["search"] for part in (probe, bouts) if part and "search" in part]
        table.add_row(
            str(row["round"]),
            str(probe["tasks"]),
            _percent(probe["solved"]),
            str(bouts["tasks"] if bouts else 0),
            _percent(bouts["solved"] if bouts else None),
            str(row.get("lessons", {}).get("lessons", "")),
            *(str(sum(part[name] for part in parts)) for name in ("calls", "steps")),
        )
    return table


def _time_table(rows: Sequence[Row], names: Sequence[str]) -> Table:
    table = _table("policy", ["planner", "actor", "environment", "other", "total", "nodes", "searched", "proof steps"])
    for row in rows:
        parts = [found["search"] for name in names if (found := row.get("evals", {}).get(name)) and "search" in found]
        if not parts:
            continue
        times = (sum(part[name] for part in parts) for name in TIMES)
        lengths = [part["proof_steps"] for part in parts if part["proof_steps"] is not None]
        table.add_row(
            f"theta{row['round']}",
            *(f"{seconds:.1f}" for seconds in times),
            *(str(sum(part[name] for part in parts)) for name in ("nodes", "searched")),
            _number(sum(lengths) / len(lengths) if lengths else None, ".1f"),
        )
    return table


def _percent(share: float | None) -> str:
    return _number(None if share is None else 100 * share, ".1f")


def print_comparisons(console: Console, found: Sequence[Comparison]) -> None:
    """The search against its rivals with the same weights and budget."""
    for one in found:
        gap = one.difference
        console.print(
            f"{one.name}: {100 * one.proved:.1f} %, the {one.rival} search with the same budget {100 * one.rival_proved:.1f} %: "
            f"{100 * gap.mean:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]; "
            f"{one.only} proved by the first alone, {one.only_rival} by {one.rival} alone",
            soft_wrap=True,
        )


def print_proofs(console: Console, found: Sequence[Found], form: TargetForm) -> None:
    """Proofs, a tactic per line, under it the planner's target where there was one: asked for, or recognised among what was reached."""
    for proof in found:
        console.print(f"\n{_harmless(proof.statement)}", style="bold", soft_wrap=True)
        for step in proof.steps:
            console.print(f"  {_harmless(step.tactic)}", soft_wrap=True)
            if step.target is not None:
                reached = one_line(step.target) == one_line(target_of(step.state, step.result, form))
                how = f"ranked {100 * math.exp(step.logprob):.0f} %" if step.role == MOVE else "reached" if reached else "missed"
                console.print(f"      target {how}: {_harmless(step.target)}", style="dim", soft_wrap=True)


def print_gains(console: Console, found: dict[str, Interval], last: int, scored: bool = False) -> None:
    times, form = (1, "+.3f") if scored else (100, "+.1f")

    def say(value: float) -> str:
        return format(times * value, form)

    told = [f"{name} {say(gain.mean)} [{say(gain.low)}, {say(gain.high)}]" for name, gain in found.items()]
    if told and last:
        console.print(f"theta{last} against theta0, paired by task: {', '.join(told)}", soft_wrap=True)


def _refusals(rows: Sequence[Row], most: int = 10) -> str:
    """Why drafts were refused, over all rounds; near and exact duplicates are among the reasons."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.get("proposals", {}).get("rejected", {}))
    told = [f"{_harmless(reason)} {count}" for reason, count in total.most_common(most)]
    rest = total.total() - sum(count for _, count in total.most_common(most))
    return ", ".join([*told, *([f"other reasons {rest}"] if rest else [])]) or "none"


def _harmless(text: str) -> str:
    """On one line, and without the control characters by which a model could write to a terminal as it likes."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def print_evolutions(console: Console, found: Sequence[Evolution]) -> None:
    """Created prompts: lineage with operators, info = best minus worst score, return of the evolution."""
    for evolution in found:
        console.print(f"  {_harmless(evolution.lineage[0])}", soft_wrap=True)
        for operator, text in zip(evolution.operators, evolution.lineage[1:], strict=True):
            console.print(f"    {operator:>10} -> {_harmless(text)}", soft_wrap=True)
        gain = "unknown" if evolution.gain is None else f"{evolution.gain:+.2f}"
        figures = f"info {evolution.info:.2f}, return {gain}, solved {100 * evolution.solved:.0f} %"
        console.print(f"{'':15}{figures}", style="dim", soft_wrap=True)
