"""The plots of bench/rir_report.py, as SVG. Equal rows give equal files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]
Groups = Mapping[tuple[str, str], Sequence[Row]]
"""Searches by method and split."""
# Colours that the colour-blind tell apart (Okabe and Ito); dashes are flat searches.
STYLES = {
    "flat best-first": ("#0072B2", "--"),
    "flat MCTS": ("#56B4E9", "--"),
    "RiR best-first": ("#D55E00", "-"),
    "RiR MCTS": ("#E69F00", "-"),
    "moves, no model": ("#009E73", ":"),
    "mixture": ("#000000", "-"),
    "all automation": ("#CC79A7", ":"),
}
"""Colour and line of the main methods, in the order in which they are named everywhere."""
PARTS = {"planner_s": "planner", "actor_s": "actor", "env_s": "environment"}
SVG = {"svg.fonttype": "none", "svg.hashsalt": "sparring", "font.family": "DejaVu Sans", "font.size": 9}


@dataclass(frozen=True)
class Curves:
    """Proofs against one unit; a panel per split, a curve per method."""

    groups: Groups
    methods: Sequence[str]
    splits: Sequence[str]
    unit: str
    name: str
    """The unit in words."""
    budgets: Sequence[float]
    """The matched ones, ascending."""


def proved_within(rows: Sequence[Row], unit: str, budgets: np.ndarray) -> np.ndarray:
    """The percentage of the searches that had a proof within each budget."""
    costs = np.sort([row[unit] for row in rows if row["proved"]])
    return 100 * np.searchsorted(costs, budgets, side="right") / len(rows)


def time_points(rows: Sequence[Row], part: str) -> np.ndarray:
    """Per theorem, in the order of their ids: seconds of the whole search and of one part, means over the seeds."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        found.setdefault(row["task"], []).append((row["total_s"], row[part]))
    return np.array([np.mean(found[task], axis=0) for task in sorted(found)])


def draw_curves(what: Curves, out: Path) -> None:
    with _drawing(len(what.splits), out) as panels:
        panels[0].set_ylabel("proved, %")
        for panel, split in zip(panels, what.splits, strict=True):
            rows = {method: what.groups[method, split] for method in what.methods if (method, split) in what.groups}
            panel.set(xscale="log", title=split, xlabel=what.name)
            _draw_panel(panel, what, rows)


def _draw_panel(panel: Any, what: Curves, rows: Mapping[str, Sequence[Row]]) -> None:
    spent = [row[what.unit] for own in rows.values() for row in own if row[what.unit] > 0]
    if not spent:
        return
    least, most = min(spent), max(spent)
    # Enough points for the eye, whatever the number of searches: the file stays small.
    x = np.geomspace(least, most, 256)
    for method, own in rows.items():
        colour, line = STYLES[method]
        panel.plot(x, proved_within(own, what.unit, x), color=colour, linestyle=line, linewidth=1.4, label=method)
    for budget in what.budgets:
        panel.axvline(budget, color="0.5", linestyle=":", linewidth=1.0, zorder=1)
    if what.budgets and what.budgets[-1] < most:
        panel.axvspan(what.budgets[-1], most, color="0.93", zorder=0)
    panel.set(xlim=(least, 1.01 * most), ylim=(0, None))


def draw_times(groups: Groups, seconds: str, out: Path) -> None:
    """The planner's, actor's and environment's seconds against those of the whole search; a point per theorem and method. ``seconds``:
    which ones, in words."""
    with _drawing(len(PARTS), out) as panels:
        panels[0].set_ylabel(f"this part, {seconds}")
        for panel, (part, name) in zip(panels, PARTS.items(), strict=True):
            panel.set(xscale="log", yscale="log", title=name, xlabel=f"whole search, {seconds}")
            for method, (colour, _) in STYLES.items():
                rows = [time_points(own, part) for (other, _), own in groups.items() if other == method]
                points = np.concatenate(rows) if rows else np.zeros((0, 2))
                x, y = points[(points > 0).all(axis=1)].T
                # As a picture within the plot: thousands of points would make a large file.
                panel.scatter(x, y, s=5, color=colour, alpha=0.4, linewidths=0, label=method if rows else None, rasterized=True)
            limits = panel.get_xlim()
            panel.plot(limits, limits, color="0.5", linewidth=0.8, zorder=0)
            panel.set_xlim(limits)


@contextmanager
def _drawing(count: int, out: Path) -> Iterator[list[Any]]:
    """Panels side by side, saved with one legend below; ImportError, with the repair, where matplotlib is missing."""
    try:
        matplotlib, figures = import_module("matplotlib"), import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError("matplotlib, which draws the plots, is not installed; pip install 'sparring[dev]'") from error
    with matplotlib.rc_context(SVG):
        figure = figures.Figure(figsize=(3.4 * count + 0.4, 3.4), layout="constrained")
        panels = list(figure.subplots(1, count, squeeze=False)[0])
        yield panels
        entries = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        for panel in panels:
            panel.grid(color="0.9", linewidth=0.6)
            panel.set_axisbelow(True)
        columns = min(len(entries), 2 * count)
        legend = figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False)
        for handle in legend.legend_handles:
            handle.set_alpha(1.0)
        figure.savefig(out, format="svg", dpi=200, metadata={"Date": None})
