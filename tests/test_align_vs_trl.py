"""The arithmetic of the bench against TRL; the arms themselves are played by ``python -m bench.align_vs_trl --quick``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.align_report import ratio_cell, report, time_to
from bench.align_vs_trl import SWEEP, TRAINERS, Clock, Size, area, points_of_run


def run(*points: tuple[float, float]) -> dict[str, Any]:
    told = [{"cpu_s": cpu, "wall_s": 2 * cpu, "hard": hard, "easy": 1.0, "answers": 10, "updates": 1} for cpu, hard in points]
    return {"setting": {}, "points": told}


def test_the_time_to_a_score_is_that_of_the_first_checkpoint_with_it() -> None:
    points = run((0.0, 0.1), (4.0, 0.5), (6.0, 0.45), (8.0, 0.6))["points"]
    assert time_to(points, 0.5, "cpu_s") == 4.0
    assert time_to(points, 0.55, "wall_s") == 16.0
    assert time_to(points, 0.7, "cpu_s") == math.inf


def test_a_ratio_is_over_seeds_and_a_bound_where_the_other_never_gets_there() -> None:
    ours = [run((0.0, 0.1), (2.0, 0.5))] * 3
    theirs = [run((0.0, 0.1), (cpu, 0.5)) for cpu in (4.0, 6.0, 16.0)]
    assert ratio_cell(theirs, ours, 0.5, "cpu_s").startswith("3.00 [2.00, ")
    never = [run((0.0, 0.1), (10.0, 0.4))] * 3
    assert ratio_cell(never, ours, 0.5, "cpu_s") == "at least 5.00 [5.00, 5.00]"
    assert ratio_cell(ours, never, 0.5, "cpu_s") == ""


def test_the_page_has_every_arm_and_target() -> None:
    runs = {"sparring": {0: run((0.0, 0.1), (2.0, 0.6))}, "pipeline": {0: run((0.0, 0.1), (5.0, 0.45))}}
    page = report(runs, (0.4, 0.5), "sparring", "drawn")
    assert "Settings of TRL's trainers: drawn." in page
    assert page.count("| pipeline | 1 | 1 | 5.0 | 10.0 | 2.50") == 1
    assert page.count("| pipeline | 1 | 0 | not reached | not reached | at least 2.50") == 1


def test_a_setting_is_as_good_as_the_area_under_its_scores() -> None:
    points = [{"cpu_s": cpu, "tune": score} for cpu, score in ((0, 0.125), (8, 0.5), (24, 0.625))]
    assert area(points, 8) == 1.0
    assert area(points, 16) == 1.0 + 8 * 0.5
    assert area(points, 40) == 1.0 + 16 * 0.5 + 16 * 0.625


def test_the_clock_stands_still_in_a_pause() -> None:
    clock = Clock()
    with clock.pause():
        begun = clock._now()
        while clock._now()[1] < begun[1] + 0.05:
            pass
    assert clock.read()["cpu_s"] < 0.04


def test_examinations_are_not_on_the_clock(small_run: Path) -> None:
    rows = [json.loads(line) for line in (small_run / "timings.jsonl").read_text().splitlines()]
    last = points_of_run(small_run)[-1]
    spent = sum(row["seconds"] for row in rows if row["phase"].startswith("round-") and "/eval-" not in row["phase"])
    assert last["wall_s"] == pytest.approx(spent)
    assert last["updates"] == 10


@pytest.mark.parametrize("arm", TRAINERS)
def test_every_setting_of_the_sweep_samples_whole_groups(arm: str) -> None:
    pytest.importorskip("trl")
    for setting in SWEEP[arm]:
        assert setting["per_device_train_batch_size"] % (1 if arm == "OnlineDPOTrainer" else Size().n) == 0
