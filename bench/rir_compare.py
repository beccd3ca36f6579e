"""Paired comparisons of provers under several seeds, and how they are written down; for bench/rir_report.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparring.evals.intervals import Interval, two_level_bootstrap
from sparring.evals.paired import mcnemar

Row = Mapping[str, Any]
Outcomes = Mapping[int, Mapping[str, bool]]
"""Proved or not, per seed and theorem."""
NONE = "–"


def outcomes_of(rows: Sequence[Row], proved: Callable[[Row], bool]) -> Outcomes:
    """ValueError where a search is there twice, or where seeds were given different theorems."""
    found: dict[int, dict[str, bool]] = {}
    for row in rows:
        own = found.setdefault(row["seed"], {})
        if row["task"] in own:
            raise ValueError(f"two rows for one search, task {row['task']} under seed {row['seed']}; give each search once")
        own[row["task"]] = proved(row)
    if len({frozenset(own) for own in found.values()}) > 1:
        sizes = {seed: len(own) for seed, own in found.items()}
        raise ValueError(f"seeds with different theorems ({sizes} of each); search the same theorems under every seed")
    return found


def share(outcomes: Outcomes) -> Interval:
    tasks = sorted(next(iter(outcomes.values())))
    return two_level_bootstrap([[float(own[task]) for task in tasks] for own in outcomes.values()])


@dataclass(frozen=True, kw_only=True)
class Compared:
    """a against b under the seeds and on the theorems that both have; counts are sums over the seeds."""

    seeds: int
    theorems: int
    difference: Interval
    either: int
    only_a: int
    only_b: int

    @property
    def p(self) -> float:
        return mcnemar(self.only_a, self.only_b)

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes zero, 0 where it does not."""
        return int(self.difference.low > 0) - int(self.difference.high < 0)


def compare(a: Outcomes, b: Outcomes) -> Compared | None:
    """None where they share no search."""
    seeds = sorted(a.keys() & b.keys())
    tasks = sorted(a[seeds[0]].keys() & b[seeds[0]].keys()) if seeds else []
    if not tasks:
        return None
    pairs = [[(a[seed][task], b[seed][task]) for task in tasks] for seed in seeds]
    counts = Counter(pair for row in pairs for pair in row)
    return Compared(
        seeds=len(seeds),
        theorems=len(tasks),
        difference=two_level_bootstrap([[float(x) - float(y) for x, y in row] for row in pairs]),
        either=counts.total() - counts[False, False],
        only_a=counts[True, False],
        only_b=counts[False, True],
    )


# ------------------------------------------------------------------------------------------------ in words


def cell(value: Interval, sign: bool = False) -> str:
    mean, low, high = (100 * number for number in (value.mean, value.low, value.high))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]" if sign else f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def difference_cell(found: Compared | None) -> str:
    """Bold where the interval excludes zero."""
    if found is None:
        return NONE
    text = cell(found.difference, sign=True)
    return f"**{text}**" if found.sign else text


def table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> list[str]:
    return ["| " + " | ".join(map(str, line)) + " |" for line in (head, ["---"] * len(head), *lines)]


def verdict(a: str, b: str, found: Mapping[str, Compared]) -> str:
    """What is to be said of a and b; ``found`` says by what, or on what, they were compared."""
    words = {
        1: f"{a} proves more than {b}, beyond the interval",
        -1: f"{a} proves fewer than {b}, beyond the interval",
        0: f"no difference between {a} and {b} beyond the interval",
    }
    parts: list[str] = []
    for sign, claim in words.items():
        named = [f"{100 * pair.difference.mean:+.1f} {name}" for name, pair in found.items() if pair.sign == sign]
        parts += [f"{claim} ({', '.join(named)})"] if named else []
    return "; ".join(parts)
