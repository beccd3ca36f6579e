"""What the searches of a bench (rir_tables.py, rir_coq.py) and the rounds of its game show: tables, paired tests and plots from rows.

A row is one search: seed, method, split, task, whether its proof was checked, how it ended and what it had spent by then. Searches
are anytime, so one generous budget holds all smaller ones: *proved within B calls* means proved with at most B calls spent.
A row of the game is one search of a round's evaluation; its ``tokens`` are those sampled to play that round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from statistics import fmean, median

from bench.rir_compare import NONE, Compared, Outcomes, Row, cell, compare, difference_cell, outcomes_of, share, table, verdict
from bench.rir_figures import STYLES, Curves, draw_curves, draw_times

UNITS = {"calls": "model calls", "tokens": "generated tokens", "steps": "environment steps", "seconds": "CPU seconds"}
MIXTURE = "mixture"
PAIRS = (
    (MIXTURE, "flat best-first"),
    (MIXTURE, "moves, no model"),
    ("RiR best-first", "flat best-first"),
    ("RiR MCTS", "flat MCTS"),
)
ARM_PAIRS = (("creator on", "creator off"), ("creator on", "no hindsight"), ("hindsight on", "hindsight off"))


@dataclass(frozen=True, kw_only=True)
class Page:
    """What one bench's report has of its own: title, the command that makes it, file names, what its seconds are, the methods that are
    compared, and parts that stand after the comparisons."""

    title: str = "Provers at equal budgets on the embedded theorems"
    command: str = "python -m bench.rir_tables"
    file: str = "rir_tables.md"
    plots: str = "rir"
    """How the names of its plots begin."""
    seconds: str = UNITS["seconds"]
    pairs: Sequence[tuple[str, str]] = PAIRS
    parts: Sequence[str] = ()
    """Lines of Markdown."""

    @property
    def units(self) -> Mapping[str, str]:
        return UNITS | {"seconds": self.seconds}


REACHED = 0.98
"""The share of the searches ended by a bound, of every method, that must have spent a matched budget."""


# ------------------------------------------------------------------------------------------------ matched budgets


def by_bound(row: Row) -> bool:
    """Whether the search would have gone on with a larger budget. A script that is too long would not get shorter."""
    return not row["proved"] and row["status"].startswith("budget:") and row["status"] != "budget:script"


def one_digit(value: float, rounding: str = ROUND_FLOOR) -> float:
    """The nearest number below with one significant digit: 4130 -> 4000, 0.3 -> 0.3; ROUND_CEILING: above."""
    exact = Decimal(str(value))
    return float(exact.scaleb(-exact.adjusted()).to_integral_value(rounding).scaleb(exact.adjusted()))


def matched_budget(searches: Sequence[Row], unit: str) -> float:
    """The largest round budget that ``REACHED`` of the searches ended by a bound had spent, for every method of which they spend any.

    Where no search was ended by a bound: what every search stayed within.
    """
    ended: dict[str, list[float]] = {}
    for row in filter(by_bound, searches):
        ended.setdefault(row["method"], []).append(row[unit])
    ended = {method: spent for method, spent in ended.items() if spends(spent)}
    if not ended:
        return one_digit(max(row[unit] for row in searches), ROUND_CEILING)
    return one_digit(min(sorted(spent)[int((1 - REACHED) * len(spent) + 1e-9)] for spent in ended.values()))


def spends(spent: Sequence[float]) -> bool:
    """Whether this is what searches by a method spent of something that the method spends at all."""
    return bool(spent) and median(spent) > 0


def ladder(largest: float, unit: str) -> list[float]:
    """B/16, B/4 and B; calls and tokens are whole, and budgets below one are left out."""
    steps = [largest / 16, largest / 4, largest]
    return steps if unit == "seconds" else [float(int(step)) for step in steps if step >= 1]


@dataclass(frozen=True)
class Searches:
    """All of them, by method and split; main methods come first, the others in the order of the rows."""

    rows: Sequence[Row]
    groups: Mapping[tuple[str, str], Sequence[Row]]
    methods: Sequence[str]
    splits: Sequence[str]
    budgets: Mapping[str, Sequence[float]]
    """Per unit, ascending; none for a unit of which some method spent nothing."""
    page: Page = Page()

    @property
    def main(self) -> list[str]:
        return [method for method in self.methods if method in STYLES]

    def outcomes(self, method: str, split: str, unit: str, budget: float) -> Outcomes:
        return outcomes_of(self.groups.get((method, split), ()), lambda row: row["proved"] and row[unit] <= budget)

    def cells(self, methods: Sequence[str]) -> Iterator[tuple[str, str, Sequence[Row]]]:
        """(split, method, rows) of all that were searched."""
        for split in self.splits:
            for method in methods:
                if (method, split) in self.groups:
                    yield split, method, self.groups[method, split]


def gather(rows: Sequence[Row], page: Page | None = None) -> Searches:
    """ValueError where there are none."""
    page = page or Page()
    if not rows:
        raise ValueError(f"no searches to report; run {page.command} with --only policies,search first")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["split"]), []).append(row)
    methods = dict.fromkeys(method for method, _ in groups)
    methods = [*(name for name in STYLES if name in methods), *(name for name in methods if name not in STYLES)]
    # An ablation may spend little of something; that must not shrink what the main methods are compared at.
    compared = [row for row in rows if row["method"] in STYLES] or rows
    largest = {unit: matched_budget(compared, unit) for unit in UNITS}
    budgets = {unit: ladder(budget, unit) if budget else [] for unit, budget in largest.items()}
    return Searches(rows, groups, methods, list(dict.fromkeys(split for _, split in groups)), budgets, page)


# ------------------------------------------------------------------------------------------------ the page


def opening(found: Searches, facts: Mapping[str, object]) -> list[str]:
    seeds = len({row["seed"] for row in found.rows})
    sizes = {split: len({row["task"] for row in found.rows if row["split"] == split}) for split in found.splits}
    theorems = ", ".join(f"{count} of {split}" for split, count in sizes.items())
    claimed = sum(row["status"] == "proved" and not row["proved"] for row in found.rows)
    return [
        f"# {found.page.title}",
        "",
        f"Made by `{found.page.command}`.",
        "",
        *(f"{key}: {value}. " for key, value in facts.items()),
        "",
        f"{len(found.rows)} searches by {len(found.methods)} methods; seeds: {seeds}; theorems: {theorems}. "
        f"Searches that claimed a proof which the check from the root refused: {claimed}; they count as not proved.",
        "",
        "Figures are percentages of the theorems with [95 % two-level bootstrap intervals]: seeds are resampled, then theorems. "
        + ("With one seed they say nothing of another training run. " if seeds == 1 else "With few seeds they are too narrow. ")
        + "Differences are in points, paired by seed and theorem, and bold where the interval excludes zero. Nothing is corrected "
        "for the number of comparisons.",
    ]


def budget_lines(found: Searches) -> list[str]:
    compared = [row for row in found.rows if row["method"] in found.main] or found.rows
    ended = [row for row in compared if by_bound(row)]
    lines = [
        "",
        "## Matched budgets",
        "",
        f"{len(ended)} searches were ended by a bound. The matched budget of a unit is the largest number with one significant "
        f"digit that at least {100 * REACHED:.0f} % of these had spent, in every method but the ablations; a quarter and a sixteenth of "
        "it are shown too. "
        "A search that ended earlier for another reason is not proved at any larger budget."
        if ended
        else "No search was ended by a bound; the matched budgets are the round numbers within which all of them stayed.",
        "",
    ]
    for unit, name in found.page.units.items():
        budgets = found.budgets[unit]
        shown = ", ".join(f"{budget:g}" for budget in budgets) or "none that every method spent"
        spent = [[row[unit] for row in ended if row["method"] == method] for method in sorted({row["method"] for row in ended})]
        least = [fmean(one >= budgets[-1] for one in each) for each in spent if spends(each)] if budgets else []
        reached = (
            f"; the largest was spent by at least {100 * min(least):.1f} % of them in every method that spends any"
            if least
            else ""
        )
        lines.append(f"- {name}: {shown}{reached}")
    return lines


def proved_lines(found: Searches) -> list[str]:
    lines = ["", "## Proved"]
    for unit, name in found.page.units.items():
        if budgets := found.budgets[unit]:
            body = [
                [split, method, *(cell(share(found.outcomes(method, split, unit, budget))) for budget in budgets)]
                for split, method, _ in found.cells(found.main)
            ]
            head = ["split", "method", *(f"{budget:g} {name}, %" for budget in budgets)]
            lines += ["", f"### Within a budget of {name}", "", *table(head, body)]
    return lines


def pair_lines(found: Searches, a: str, b: str) -> list[str]:
    """One table and one sentence per split; nothing where one of the two was not searched."""
    body: list[list[object]] = []
    sentences: list[str] = []
    for split in found.splits:
        at_largest: dict[str, Compared] = {}
        for unit, budgets in found.budgets.items():
            steps = [compare(found.outcomes(a, split, unit, B), found.outcomes(b, split, unit, B)) for B in budgets]
            if not steps or not (last := steps[-1]):
                continue
            at_largest[f"at {budgets[-1]:g} {found.page.units[unit]}"] = last
            shown = [NONE] * (3 - len(steps)) + [difference_cell(step) for step in steps]
            per_seed = [f"{count / last.seeds:.1f}" for count in (last.either, last.only_a, last.only_b)]
            tested = [f"{last.only_a} : {last.only_b}", f"{last.p:.2g}", f"{last.seeds} x {last.theorems}"]
            body.append([split, f"{found.page.units[unit]}, B = {budgets[-1]:g}", *shown, *per_seed, *tested])
        if at_largest:
            sentences.append(f"- {split}: {verdict(a, b, at_largest)}.")
    if not body:
        return []
    head = ["split", "unit", "at B/16", "at B/4", "at B", "either", f"only {a}", f"only {b}", "sums", "p", "seeds x theorems"]
    return ["", f"### {a} minus {b}", "", *table(head, body), "", *sentences]


def comparison_lines(found: Searches) -> list[str]:
    tables = [line for a, b in found.page.pairs for line in pair_lines(found, a, b)]
    note = (
        "*either* (the union) and *only*: theorems proved at B by one of the two at least, or by one alone, under the same seed; "
        "means over the seeds. *sums*: the latter two summed over the seeds. *p*: McNemar's exact two-sided test on these sums; "
        "it takes the searches of different seeds as independent, which searches for the same theorem are not, so it may be too small."
    )
    return ["", "## Paired comparisons", "", note, *tables] if tables else []


def alone_lines(found: Searches) -> list[str]:
    """What no other of the main methods proved, whatever it spent."""
    body: list[list[object]] = []
    for split in found.splits:
        searched = {method: rows for own, method, rows in found.cells(found.main) if own == split}
        proved = {method: {(row["seed"], row["task"]) for row in rows if row["proved"]} for method, rows in searched.items()}
        seeds = len({row["seed"] for row in found.rows if row["split"] == split})
        for method, own in proved.items():
            others = set[tuple[int, str]]().union(*(theirs for name, theirs in proved.items() if name != method))
            body.append([split, method, f"{len(own) / seeds:.1f}", f"{len(own - others) / seeds:.1f}"])
        every = set[tuple[int, str]]().union(*proved.values())
        body.append([split, "one of them at least", f"{len(every) / seeds:.1f}", NONE])
    note = "Theorems proved to the end of each search, and those that no other method of this table proved; means over the seeds."
    return ["", "## Proved by one method alone", "", note, "", *table(["split", "method", "proved", "only by it"], body)]


def search_lines(found: Searches) -> list[str]:
    """How the searches ended, and what they consisted of."""
    seen = sorted({row["status"] for row in found.rows}, key=lambda name: (name != "proved", name != "exhausted", name))
    ends: list[list[object]] = []
    shapes: list[list[object]] = []
    for split, method, rows in found.cells(found.methods):
        count = Counter(row["status"] for row in rows)
        ends.append([split, method, *(f"{100 * count[name] / len(rows):.1f}" for name in seen)])
        times = [1000 * fmean(row[key] for row in rows) for key in ("planner_s", "actor_s", "env_s", "total_s")]
        other = times[-1] - sum(times[:-1])
        sizes = [fmean(row[key] for row in rows) for key in ("calls", "tokens", "steps", "nodes", "searched")]
        lengths = [row["proof_steps"] for row in rows if row["proved"]]
        proof = f"{fmean(lengths):.1f}" if lengths else NONE
        shapes.append([split, method, *(f"{x:.1f}" for x in (*times[:-1], other, times[-1], *sizes)), proof])
    parts = ["planner ms", "actor ms", "environment ms", "other ms", "total ms"]
    head = ["split", "method", *parts, "calls", "tokens", "steps", "nodes", "searched", "proof steps"]
    return [
        *("", "## The searches", "", "How they ended, % of the searches:", "", *table(["split", "method", *seen], ends)),
        *("", "Means per search, to its end; the length of a proof is a mean over those found:", "", *table(head, shapes)),
    ]


def ablation_lines(found: Searches) -> list[str]:
    others = [method for method in found.methods if method not in STYLES]
    if MIXTURE not in found.methods or not others or not found.budgets["seconds"]:
        return []
    budget = found.budgets["seconds"][-1]
    body: list[list[object]] = []
    for split, method, _ in found.cells([MIXTURE, *others]):
        own = found.outcomes(method, split, "seconds", budget)
        pair = compare(own, found.outcomes(MIXTURE, split, "seconds", budget)) if method != MIXTURE else None
        tested = [f"{pair.p:.2g}", f"{pair.seeds} x {pair.theorems}"] if pair else [NONE, NONE]
        body.append([split, method, cell(share(own)), difference_cell(pair), *tested])
    head = ["split", "method", "proved, %", f"minus {MIXTURE}", "p", "seeds x theorems"]
    return ["", f"## Ablations, within {budget:g} {found.page.seconds}", "", *table(head, body)]


# ------------------------------------------------------------------------------------------------ the game


def sampled(rows: Sequence[Row]) -> dict[tuple[str, int], float]:
    """Tokens sampled by an arm up to a round, mean over the seeds; ValueError where rows of one round differ."""
    rounds: dict[tuple[str, int, int], float] = {}
    for row in rows:
        key = (row["arm"], row["seed"], row["round"])
        if rounds.setdefault(key, row["tokens"]) != row["tokens"]:
            raise ValueError(f"{key} has rows with different tokens; tokens are those of playing the round")
    sums: dict[tuple[str, int], list[float]] = {}
    for arm, seed, number in rounds:
        spent = sum(value for (a, s, n), value in rounds.items() if (a, s) == (arm, seed) and n <= number)
        sums.setdefault((arm, number), []).append(spent)
    return {key: fmean(values) for key, values in sums.items()}


def game_pairs(arms: Sequence[str], rounds: Sequence[int]) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """What is compared with what: an arm's last round with its first, then arm with arm after each round that was played."""
    for arm in arms if len(rounds) > 1 else ():
        yield (arm, rounds[-1]), (arm, rounds[0])
    for a, b in ARM_PAIRS:
        for number in rounds[1:]:
            yield (a, number), (b, number)


def game_lines(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    splits, arms = (list(dict.fromkeys(row[key] for row in rows)) for key in ("split", "arm"))
    rounds, tokens = sorted({row["round"] for row in rows}), sampled(rows)
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["arm"], row["round"], row["split"]), []).append(row)
    proved = {key: outcomes_of(group, lambda row: row["proved"]) for key, group in groups.items()}
    shares: list[list[object]] = []
    for arm, number in ((arm, number) for arm in arms for number in rounds if (arm, number) in tokens):
        cells = [cell(share(own)) if (own := proved.get((arm, number, split))) else NONE for split in splits]
        seeds = len({row["seed"] for row in rows if (row["arm"], row["round"]) == (arm, number)})
        shares.append([arm, number, *cells, seeds, f"{tokens[arm, number] / 1000:.0f}"])
    differences: list[list[object]] = []
    sentences: list[str] = []
    for a, b in game_pairs(arms, rounds):
        every = {split: compare(proved.get((*a, split), {}), proved.get((*b, split), {})) for split in splits}
        if found := {f"on {split}": pair for split, pair in every.items() if pair}:
            first, second = (f"{arm}, round {number}" for arm, number in (a, b))
            ratio = f"{tokens[a] / tokens[b]:.2f}" if tokens[b] and a[0] != b[0] else NONE
            differences.append([f"{first} minus {second}", *(difference_cell(pair) for pair in every.values()), ratio])
            sentences += [f"- {verdict(first, second, found)}."] if a[1] == rounds[-1] else []
    return [
        *("", "## The game", "", "Proved in the evaluation after a round, %; *k tokens*: sampled to play the rounds up to it."),
        *("", *table(["arm", "round", *splits, "seeds", "k tokens"], shares)),
        *("", "*tokens*: those of the first arm in ratio to those of the second.", ""),
        *(*table(["difference", *splits, "tokens"], differences), "", *sentences),
    ]


# ------------------------------------------------------------------------------------------------ all of it


def write_report(
    rows: Sequence[Row], out_dir: Path, title_facts: Mapping[str, object], game_rows: Sequence[Row] = (), page: Page | None = None
) -> None:
    """Write the page and its plots into ``out_dir``; ``title_facts`` are printed at the top as they are."""
    page = page or Page()
    found = gather(rows, page)
    plots = {f"proofs against {name}": f"{page.plots}_proofs_{unit}.svg" for unit, name in page.units.items()}
    times = f"{page.plots}_times.svg"
    text = [
        *(*opening(found, title_facts), *budget_lines(found), *proved_lines(found), *comparison_lines(found)),
        *(*alone_lines(found), *page.parts),
        *(
            "",
            "## Plots",
            "",
            "Theorems proved within a budget, mean over the seeds. Dotted: the matched budgets; where it is grey,",
        ),
        *("not every method searched that far.", "", *(f"![{name}]({file})" for name, file in plots.items())),
        *("", "Seconds per theorem that the parts took of a search, mean over the seeds; the line is all of the time. A search"),
        *("without a planner has no point in the planner's panel.", "", f"![time of the parts]({times})"),
        *(*search_lines(found), *ablation_lines(found), *game_lines(game_rows)),
    ]
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / page.file).write_text("\n".join(text) + "\n", encoding="utf-8")
    groups = {(method, split): own for (method, split), own in found.groups.items() if method in STYLES}
    for (unit, name), file in zip(page.units.items(), plots.values(), strict=True):
        draw_curves(Curves(groups, found.main, found.splits, unit, name, found.budgets[unit]), out_dir / file)
    draw_times(groups, page.seconds, out_dir / times)
