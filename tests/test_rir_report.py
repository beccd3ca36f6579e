"""The report on searches: budgets, tables and sentences on rows whose numbers are worked out by hand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.rir_compare import Compared, compare, outcomes_of, share, verdict
from bench.rir_figures import proved_within, time_points
from bench.rir_report import Page, gather, ladder, matched_budget, one_digit, write_report
from sparring.evals.intervals import Interval, two_level_bootstrap

SEEDS, THEOREMS = 3, 40


def search(method: str, task: int, tokens: int, status: str = "proved", seed: int = 0, split: str = "test") -> dict[str, Any]:
    """One token in eight starts a call and a token takes a millisecond: half of it the actor's, a quarter the environment's."""
    seconds = tokens / 1000
    times = {"planner_s": 0.0 if "flat" in method else seconds / 8, "actor_s": seconds / 2, "env_s": seconds / 4}
    return {
        "seed": seed,
        "method": method,
        "split": split,
        "task": f"{split}-{task}",
        "proved": status == "proved",
        "status": status,
        "calls": tokens // 8,
        "tokens": tokens,
        "seconds": seconds,
        "total_s": seconds,
        "steps": 10,
        **times,
        "nodes": 5,
        "searched": 2,
        "proof_steps": 3 if status == "proved" else 0,
    }


def searches() -> list[dict[str, Any]]:
    """Flat proves the first 10 of 40 theorems at 80 tokens, the mixture the first 30 at 400; all else ends at 1000 tokens."""
    rows = []
    for seed in range(SEEDS):
        for task in range(THEOREMS):
            for method, proves, cost in (("flat best-first", 10, 80), ("mixture", 30, 400), ("mixture, K=2", 30, 400)):
                found = task < proves
                rows.append(search(method, task, cost if found else 1000, "proved" if found else "budget:tokens", seed))
    return rows


def game(arm: str, number: int, proves: int, tokens: int) -> list[dict[str, Any]]:
    common = {"arm": arm, "round": number, "split": "test", "calls": 1, "tokens": tokens}
    return [
        {"seed": seed, "task": f"t{task}", "proved": task < proves, **common} for seed in range(SEEDS) for task in range(THEOREMS)
    ]


def line_of(page: str, *starts: str) -> list[str]:
    """The cells of the one line of a table that begins with these."""
    found = [line for line in page.splitlines() if line.startswith("| " + " | ".join(starts) + " |")]
    assert len(found) == 1, found
    return [cell.strip() for cell in found[0].strip("|").split("|")]


# ---------------------------------------------------------------------------------------------- the interval


def test_one_seed_leaves_an_interval_over_tasks():
    values = [1.0] * 30 + [0.0] * 70
    found = two_level_bootstrap([values])
    half_width = 1.96 * (0.3 * 0.7 / 100) ** 0.5
    assert found.mean == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - half_width, 0.3 + half_width), abs=0.015)


def test_seeds_that_disagree_widen_the_interval():
    # Every task is proved under two seeds and under none of the other two: only the draw of seeds matters. Each bound
    # has probability 1/16 of four equal seeds, more than the 2.5 % that the interval leaves out.
    found = two_level_bootstrap([[1.0] * 50, [1.0] * 50, [0.0] * 50, [0.0] * 50])
    assert found == Interval(0.5, 0.0, 1.0)


def test_tables_with_nothing_or_with_holes():
    assert np.isnan(two_level_bootstrap([]).mean)
    with pytest.raises(ValueError, match="inhomogeneous"):
        two_level_bootstrap([[1.0, 0.0], [1.0]])


# ---------------------------------------------------------------------------------------------- outcomes and budgets


def test_a_comparison_by_hand():
    a = {0: {"p": True, "q": True, "r": False, "s": False}, 1: {"p": True, "q": False, "r": True, "s": False}}
    b = {0: {"p": True, "q": False, "r": False, "s": True}, 1: {"p": False, "q": False, "r": False, "s": False}, 2: {}}
    found = compare(a, b)
    assert found is not None
    assert (found.seeds, found.theorems, found.either, found.only_a, found.only_b) == (2, 4, 5, 3, 1)
    assert found.difference.mean == pytest.approx((3 - 1) / 8)
    assert found.p == pytest.approx(2 * (1 + 4) / 16)
    assert share(a).mean == pytest.approx(0.5)


def test_only_shared_searches_are_compared():
    found = compare({0: {"p": True, "q": True}, 1: {"p": True, "q": True}}, {1: {"q": False, "r": True}})
    assert found is not None
    assert (found.seeds, found.theorems, found.only_a, found.only_b) == (1, 1, 1, 0)
    assert compare({0: {"p": True}}, {1: {"p": True}}) is None
    assert compare({}, {1: {"p": True}}) is None


def test_rows_that_do_not_make_a_table_are_refused():
    twice = [search("mixture", 1, 80), search("mixture", 1, 96)]
    with pytest.raises(ValueError, match=r"two rows.*test-1 under seed 0"):
        outcomes_of(twice, lambda row: row["proved"])
    uneven = [search("mixture", 1, 80), search("mixture", 1, 80, seed=1), search("mixture", 2, 80, seed=1)]
    with pytest.raises(ValueError, match="different theorems"):
        outcomes_of(uneven, lambda row: row["proved"])
    with pytest.raises(ValueError, match="no searches"):
        gather([])


@pytest.mark.parametrize(("value", "below"), [(4130, 4000), (4000, 4000), (9, 9), (0.3, 0.3), (0.0987, 0.09), (1.999, 1)])
def test_round_numbers(value: float, below: float):
    assert one_digit(value) == below


def test_the_matched_budget_is_one_that_every_method_spent():
    rows = [search("flat best-first", task, 1000, "budget:tokens") for task in range(100)]
    rows += [search("mixture", task, 2500, "budget:tokens") for task in range(98)]
    # Two of a hundred may have spent less; searches that ended for another reason say nothing of what was spent.
    rows += [search("mixture", 98, 10, "budget:seconds"), search("mixture", 99, 10, "budget:steps")]
    ended = ("exhausted", "fault", "refused", "budget:script", "proved")
    rows += [search("mixture", 100 + place, 1, status) for place, status in enumerate(ended)]
    assert matched_budget(rows, "tokens") == 1000
    assert matched_budget(rows, "calls") == 100  # 125 of them
    rows.append(search("mixture", 200, 700, "budget:tokens"))
    assert matched_budget(rows, "tokens") == 700


def test_a_method_that_spends_nothing_of_a_kind_bounds_no_budget_of_it():
    rows = [search("mixture", task, 1000, "budget:seconds") for task in range(10)]
    unasked = {"calls": 0, "tokens": 0}
    rows += [search("moves, no model", task, 800, "budget:seconds") | unasked for task in range(10)]
    assert (matched_budget(rows, "tokens"), matched_budget(rows, "seconds")) == (1000, 0.8)
    # Most of its searches have to spend some: where only four of ten do, it is no method that spends tokens.
    four = [search("moves, no model", task, 50, "budget:seconds") for task in range(4)]
    assert matched_budget([*rows[:-4], *four], "tokens") == 1000
    assert matched_budget([*rows[:10], *four], "tokens") == 50
    assert matched_budget(rows[10:], "tokens") == 0


def test_without_bounds_everything_is_within_budget():
    assert matched_budget([search("mixture", 1, 80), search("mixture", 2, 310, "exhausted")], "tokens") == 400


def test_smaller_budgets():
    assert ladder(4000, "tokens") == [250, 1000, 4000]
    assert ladder(90, "calls") == [5, 22, 90]
    assert ladder(8, "calls") == [2, 8]
    assert ladder(0.8, "seconds") == [0.05, 0.2, 0.8]


def test_a_cut_counts_proofs_that_were_cheap_enough():
    found = gather(searches())
    assert found.budgets["tokens"] == [62, 250, 1000]
    at = {budget: share(found.outcomes("mixture", "test", "tokens", budget)).mean for budget in (399, 400, 1000)}
    assert at == {399: 0.0, 400: 0.75, 1000: 0.75}
    assert share(found.outcomes("flat best-first", "test", "calls", 10)).mean == 0.25


# ---------------------------------------------------------------------------------------------- words and pictures


def test_verdicts_are_those_of_the_interval():
    def pair(low: float, high: float) -> Compared:
        interval = Interval((low + high) / 2, low, high)
        return Compared(seeds=1, theorems=9, difference=interval, either=5, only_a=3, only_b=1)

    text = verdict(
        "new", "old", {"at 8 calls": pair(0.01, 0.05), "at 1 second": pair(-0.05, -0.01), "at 9 tokens": pair(-0.01, 0)}
    )
    assert text == (
        "new proves more than old, beyond the interval (+3.0 at 8 calls); "
        "new proves fewer than old, beyond the interval (-3.0 at 1 second); "
        "no difference between new and old beyond the interval (-0.5 at 9 tokens)"
    )


def test_curves_count_proofs_in_all_searches():
    rows = [search("mixture", 1, 10), search("mixture", 2, 40), search("mixture", 3, 20, "exhausted"), search("mixture", 4, 40)]
    assert proved_within(rows, "tokens", np.array([9, 10, 39, 40, 99])).tolist() == [0, 25, 25, 75, 75]


def test_times_are_means_over_seeds():
    rows = [search("mixture", 2, 800), search("mixture", 1, 1000), search("mixture", 1, 3000, seed=1)]
    assert time_points(rows, "env_s").tolist() == [[2.0, 0.5], [0.8, 0.2]]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("report")
    rounds = [("creator on", 0, 10, 0), ("creator on", 1, 20, 3000), ("creator on", 2, 30, 4000)]
    rounds += [("creator off", 0, 10, 0), ("creator off", 1, 10, 2000), ("creator off", 2, 10, 2000)]
    write_report(searches(), folder, {"machine": "a small one"}, [row for given in rounds for row in game(*given)])
    return folder


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    return (out / "rir_tables.md").read_text(encoding="utf-8")


def test_the_top_says_what_was_searched(page: str):
    assert "machine: a small one." in page
    assert "360 searches by 3 methods; seeds: 3; theorems: 40 of test." in page
    assert "refused: 0;" in page
    # 30 of flat and 10 of the mixture under each of three seeds; what an ablation spent matches nothing
    assert "120 searches were ended by a bound." in page
    assert "- generated tokens: 62, 250, 1000; the largest was spent by at least 100.0 %" in page


def test_the_tables_hold_the_numbers(page: str):
    proved = page[page.index("budget of generated tokens") : page.index("budget of environment steps")]
    flat = line_of(proved, "test", "flat best-first")
    assert [cell.split()[0] for cell in flat[2:]] == ["0.0", "25.0", "25.0"]
    pair = line_of(page, "test", "generated tokens, B = 1000")
    assert [cell.strip("*").split()[0] for cell in pair[2:5]] == ["+0.0", "-25.0", "+50.0"]
    # 20 theorems more under each of three seeds: 2 * 2**-60
    assert pair[5:] == ["30.0", "20.0", "0.0", "60 : 0", "1.7e-18", "3 x 40"]
    assert pair[3].startswith("**")
    assert "- test: mixture proves more than flat best-first, beyond the interval (+50.0 at 100 model calls, " in page
    assert "RiR" not in page  # what was not searched is not spoken of


def test_what_one_method_alone_proved(page: str):
    lines = page[page.index("## Proved by one method alone") : page.index("## Plots")]
    assert line_of(lines, "test", "flat best-first")[2:] == ["10.0", "0.0"]
    assert line_of(lines, "test", "mixture")[2:] == ["30.0", "20.0"]
    assert line_of(lines, "test", "one of them at least")[2:] == ["30.0", "–"]


def test_a_page_of_another_bench(tmp_path: Path):
    pytest.importorskip("matplotlib")
    own = Page(
        title="Another",
        command="python -m bench.other",
        file="other.md",
        plots="other",
        seconds="seconds on the wall",
        pairs=(("flat best-first", "mixture"),),
        parts=("## A part", "with a line"),
    )
    write_report(searches(), tmp_path, {}, page=own)
    text = (tmp_path / "other.md").read_text(encoding="utf-8")
    assert text.startswith("# Another\n\nMade by `python -m bench.other`.")
    assert "### flat best-first minus mixture" in text
    assert "mixture minus flat" not in text
    assert "1 seconds on the wall, %" in text
    assert "CPU" not in text
    assert "## A part\nwith a line" in text
    assert sorted(path.name for path in tmp_path.iterdir())[:2] == ["other.md", "other_proofs_calls.svg"]


def test_the_ablations_are_held_against_the_mixture(page: str):
    lines = page[page.index("## Ablations, within 1 CPU seconds") :]
    assert line_of(lines, "test", "mixture, K=2")[3:] == ["+0.0 [+0.0, +0.0]", "1", "3 x 40"]
    assert line_of(lines, "test", "mixture")[3] == "–"


def test_the_searches_are_described(page: str):
    ends, shapes = page[: page.index("## Ablations")].split("How they ended")[1].split("Means per search")
    assert line_of(ends, "test", "flat best-first")[2:] == ["25.0", "75.0"]
    # The mixture: 30 theorems at 400 tokens and 10 at 1000 are 550 in the mean; an eighth of the time is nobody's.
    assert line_of(shapes, "test", "mixture")[2:9] == ["68.8", "275.0", "137.5", "68.8", "550.0", "68.8", "550.0"]
    assert line_of(shapes, "test", "mixture")[-1] == "3.0"


def test_the_game_is_compared_by_round_and_by_arm(page: str):
    lines = page[page.index("## The game") :]
    assert [cell.split()[0] for cell in line_of(lines, "creator on", "2")[2:]] == ["75.0", "3", "7"]
    assert line_of(lines, "creator on, round 2 minus creator on, round 0")[1].startswith("**+50.0")
    assert line_of(lines, "creator off, round 2 minus creator off, round 0")[1:] == ["+0.0 [+0.0, +0.0]", "–"]
    assert [cell.split()[0] for cell in line_of(lines, "creator on, round 1 minus creator off, round 1")[1:]] == [
        "**+25.0",
        "1.50",
    ]
    assert "- creator on, round 2 proves more than creator off, round 2, beyond the interval (+50.0 on test)." in lines
    assert "no difference between creator off, round 2 and creator off, round 0 beyond the interval" in lines


def test_plots_are_linked_readable_and_the_same_again(out: Path, page: str, tmp_path: Path):
    plots = sorted(path.name for path in out.glob("*.svg"))
    assert plots == [
        *("rir_proofs_calls.svg", "rir_proofs_seconds.svg", "rir_proofs_steps.svg", "rir_proofs_tokens.svg", "rir_times.svg")
    ]
    write_report(searches(), tmp_path, {})
    for name in plots:
        assert f"]({name})" in page
        assert "mixture" in {node.text for node in ET.parse(out / name).iter()}
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()
    assert "## The game" not in (tmp_path / "rir_tables.md").read_text(encoding="utf-8")


def test_a_flat_method_alone_is_reported(tmp_path: Path):
    pytest.importorskip("matplotlib")
    write_report([search("flat MCTS", 1, 80), search("flat MCTS", 2, 80, "exhausted")], tmp_path, {})
    page = (tmp_path / "rir_tables.md").read_text(encoding="utf-8")
    assert "No search was ended by a bound" in page
    assert "With one seed they say nothing of another training run." in page
    assert "Paired comparisons" not in page
    assert "Ablations" not in page


def test_tokens_of_a_round_are_one_number(tmp_path: Path):
    rows = game("creator on", 1, 3, 100)
    rows[5]["tokens"] = 200
    with pytest.raises(ValueError, match="different tokens"):
        write_report(searches(), tmp_path, {}, rows)
