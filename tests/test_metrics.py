"""What a run shows, recomputed from its phases: numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from sparring.config import Evaluation
from sparring.console import Row, make_console, print_evolutions, print_rounds
from sparring.game import Attempt, Bout, Demo, Pair, Sample, Task, Verdict, make_task
from sparring.metrics import (
    Evolution,
    bout_metrics,
    complexity,
    eval_metrics,
    evolutions,
    lesson_metrics,
    proposal_metrics,
    round_metrics,
)
from sparring.records import BOUTS, LESSONS, TASKS
from sparring.rundir import RunDir

EXACT = Evaluation(bootstrap=50)
HUMAN = make_task("Sort it.", meta={"depth": 1})
CHILD = make_task("Sort it, then reverse it.", parent=HUMAN.id, meta={"depth": 2, "operator": "deepen"})
GRANDCHILD = make_task("Sort it, then reverse it twice.", parent=CHILD.id, meta={"depth": 3, "operator": "reason"})


def bout(task: Task, *scores: float | str, tokens: int = 4) -> Bout:
    """One attempt per score; a word in place of a score is a fault of the judge."""
    sample = Sample(role="solver", text="x", token_ids=tuple(range(tokens)))
    return Bout(
        task=task,
        attempts=tuple(Attempt(answer="x", samples=(sample,)) for _ in scores),
        verdicts=tuple(
            Verdict(score=0.0, solved=False, fault=score) if isinstance(score, str) else Verdict(score=score, solved=score == 1)
            for score in scores
        ),
    )


def test_a_column_of_ones_own_named_depth_is_no_depth():
    tasks = [make_task("one two three", meta={"depth": depth}) for depth in ("deep", None, True, [1])]
    assert complexity(tasks) == 3
    assert complexity([*tasks[:1], HUMAN]) == 2


def test_scores_faults_and_ties():
    found = bout_metrics([bout(HUMAN, 1.0, 0.0, "broke"), bout(CHILD, 0.5, "broke", 0.5, tokens=7), bout(GRANDCHILD, "broke")])
    assert found == {
        "tasks": 3,
        "answers": 7,
        "score": 0.5,  # of the four judged answers
        "solved": 0.25,
        "faults": 3,
        "ties": 1,  # a task with fewer than two judged answers is none
        "length": pytest.approx((3 * 4 + 3 * 7 + 4) / 7),
        "distinct": None,  # one word makes no pair
        "complexity": 2.0,
    }


def test_nothing_judged_is_no_zero():
    found = eval_metrics([bout(HUMAN, "broke"), bout(CHILD, "broke")], EXACT)
    assert [found[name] for name in ("score", "solved", "accuracy", "low", "high")] == [None] * 5
    assert found["faults"] == 2
    assert "NaN" not in json.dumps(found)


def test_accuracy_leaves_faults_out():
    found = eval_metrics([bout(HUMAN, 1.0), bout(CHILD, 0.0), bout(GRANDCHILD, "broke"), bout(GRANDCHILD, 1.0)], EXACT)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert 0 <= found["low"] < found["accuracy"] < found["high"] <= 1
    assert found["faults"] == 1


def test_words_stand_in_where_no_world_knows_the_depth():
    assert bout_metrics([bout(make_task("three words here"), 1.0)])["complexity"] == 3.0


def test_characters_stand_in_where_no_model_tells_tokens():
    attempt = Attempt(answer="12345", samples=(Sample(role="solver", text="12345"),))
    assert bout_metrics([Bout(task=HUMAN, attempts=(attempt,), verdicts=(Verdict(score=1.0, solved=True),))])["length"] == 5.0


def test_proposals_count_refusals_by_reason_and_operators():
    refused = [make_task(f"no {k}", rejected=reason) for k, reason in enumerate(["seen before", "too long", "seen before"])]
    assert proposal_metrics([CHILD, *refused, GRANDCHILD]) == {
        "accepted": 2,
        "rejected": {"seen before": 2, "too long": 1},
        "operators": {"deepen": 1, "reason": 1},
        "distinct": 5 / 9,  # of "sort it", "it then", "then reverse", "reverse it" twice, and "it twice"
        "complexity": 2.5,
    }


def test_lessons():
    sample = Sample(role="solver", text="x")
    pairs = [Pair(task="t", prompt="p", chosen=sample, rejected=sample, margin=m, created=m > 0.5) for m in (0.25, 0.75)]
    assert lesson_metrics([*pairs, Demo(prompt="p", completion="c")]) == {"lessons": 3, "pairs": 2, "created": 1, "margin": 0.5}
    assert lesson_metrics([])["margin"] is None


# ---------------------------------------------------------------------------------------------- a run


def phase(run: RunDir, name: str, bouts: Sequence[Bout]) -> None:
    run.shards(name, BOUTS, bouts, list, 2)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two rounds: HUMAN was evolved into CHILD and CHILD into GRANDCHILD, with a second child that no judge could judge."""
    run = RunDir(tmp_path)
    lost = dataclasses.replace(GRANDCHILD, id="lost", text="Lost.")
    orphan = make_task("Orphan.", parent="unjudged", meta={"operator": "expand"})
    unjudged = dataclasses.replace(HUMAN, id="unjudged", text="Unjudged.")
    run.file("round-001/pool", TASKS, lambda: [HUMAN, unjudged])
    phase(run, "round-001/probe", [bout(HUMAN, 0.5, 0.75), bout(unjudged, "broke", "broke")])
    phase(run, "round-001/bouts", [bout(CHILD, 0.0, 0.5), bout(orphan, 0.25, 0.5)])
    run.file("round-002/pool", TASKS, lambda: [CHILD])
    phase(run, "round-002/probe", [bout(CHILD, 0.0, 0.25)])
    phase(run, "round-002/bouts", [bout(GRANDCHILD, 0.0, 1.0, "broke"), bout(lost, "broke", "broke")])
    return run


def test_an_evolution_returns_what_its_child_can_teach_more(run: RunDir):
    child, orphan = evolutions(run, 1)
    assert (child.lineage, child.operators) == ((HUMAN.text, CHILD.text), ("deepen",))
    assert (child.info, child.gain, child.solved) == (0.5, 0.25, 0.0)
    assert (orphan.info, orphan.gain) == (0.25, None), "its parent's info is not known, which is not 0"


def test_lineage_reaches_back_over_rounds(run: RunDir):
    (found,) = evolutions(run, 2)  # the one without a judged answer is left out
    assert found.lineage == (HUMAN.text, CHILD.text, GRANDCHILD.text)
    assert found.operators == ("deepen", "reason")
    assert (found.info, found.gain, found.solved) == (1.0, 0.75, 0.5)


def test_a_lineage_that_bites_its_tail_ends(tmp_path: Path):
    run = RunDir(tmp_path)
    one = dataclasses.replace(CHILD, id="1", parent="2")
    two = dataclasses.replace(CHILD, id="2", parent="1")
    phase(run, "round-001/bouts", [bout(one, 0.0, 1.0), bout(two, 0.0, 1.0)])
    assert len(evolutions(run, 1)) == 2


def test_a_round_under_way_shows_what_is_finished(run: RunDir):
    assert round_metrics(run, 7, EXACT) == {"round": 7}
    (run.root / "round-002" / "eval-hard.partial").mkdir()
    row = round_metrics(run, 2, EXACT)
    assert set(row) == {"round", "probe", "bouts"}
    phase(run, "round-002/eval-hard", [bout(HUMAN, 1.0)])
    run.file("round-002/lessons", LESSONS, list)
    assert set(round_metrics(run, 2, EXACT)) == {"round", "probe", "bouts", "evals", "lessons"}


def test_learning_is_read_from_the_learners_log(run: RunDir):
    policy = run.root / "round-001" / "policy"
    policy.mkdir()
    assert "learning" not in round_metrics(run, 1, EXACT)
    steps = [{"step": k, "loss": 1.0 / k, "chosen_logp_change": -k, "reward_margin": None} for k in range(1, 21)]
    (policy / "training.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    found = round_metrics(run, 1, EXACT)["learning"]
    assert (found["steps"], found["first_loss"], found["chosen_logp_change"]) == (20, 1.0, -19.5)
    assert found["reward_margin"] is None


# ---------------------------------------------------------------------------------------------- what a person sees


def printed(rows: Sequence[Row], width: int) -> list[str]:
    console = Console(width=width, markup=False, highlight=False, no_color=True)
    with console.capture() as capture:
        print_rounds(console, rows, human_rounds=1, level=0.95)
    return capture.get().splitlines()


def full_rows() -> list[Row]:
    """Every column as wide as it gets."""
    found = {"accuracy": 1.0, "low": 1.0, "high": 1.0, "faults": 100, "length": 100.0}
    played = {"tasks": 1000, "complexity": 12.25, "solved": 1.0, "ties": 1000, "faults": 6000}
    rest = {
        "proposals": {"accepted": 1000, "rejected": {"seen before": 3000, "too long": 20}},
        "lessons": {"lessons": 1000},
        "learning": {"chosen_logp_change": -12.5},
    }
    evals = {"evals": {"easy": found, "hard": found}}
    return [
        {"round": 0, **evals},
        {"round": 1, **evals, "probe": played},
        {"round": 2, **evals, "probe": played, "bouts": played, **rest},
    ]


def test_a_judge_of_scores_is_shown_as_such():
    console = Console(width=100, markup=False, highlight=False, no_color=True)
    found = {"score": 1.25, "score_low": 1.0, "score_high": 1.5, "accuracy": 1.0, "faults": 0, "length": 3.0}
    with console.capture() as capture:
        print_rounds(console, [{"round": 0, "evals": {"held_out": found}}], human_rounds=1, level=0.95, scored=True)
    assert "the judge's score" in capture.get()
    assert "1.250 [1.000, 1.500]" in capture.get()


def test_the_tables_fit_into_eighty_columns():
    lines = printed(full_rows(), 80)
    assert max(len(line.rstrip()) for line in lines) <= 80
    text = "\n".join(lines)
    assert "…" not in text
    assert text.count("100.0 [100.0, 100.0]") == 6
    (last,) = [line.split() for line in lines if line.strip().startswith("2 ")]
    assert last == ["2", "1000", "1000", "12.25", "3020", "100.0", "2000", "12000", "1000", "-12.50"]
    assert "theta2 evolved" in text
    assert "drafts refused: seen before 3000, too long 20" in text


def test_what_is_not_there_is_left_blank():
    lines = printed([{"round": 0}, {"round": 1, "evals": {"easy": {"accuracy": None, "length": None, "faults": 9}}}], 80)
    assert any("nothing judged" in line and line.split()[-1] == "9" for line in lines)
    assert "drafts refused: none" in lines


def test_prompts_are_not_folded(run: RunDir):
    console = Console(width=30, markup=False, highlight=False, no_color=True)
    with console.capture() as capture:
        print_evolutions(console, [*evolutions(run, 1), *evolutions(run, 2)])
    lines = capture.get().splitlines()
    assert "        deepen -> Sort it, then reverse it." in [line.rstrip() for line in lines]
    assert any("info 0.25, return unknown, solved 0 %" in line for line in lines)


def test_a_model_cannot_write_to_the_terminal_as_it_likes():
    found = Evolution(lineage=("a\nb", "\x1b[2Jgone\x9b1m\r"), operators=("deepen",), info=1.0, gain=1.0, solved=1.0)
    console = Console(width=80, markup=False, highlight=False, no_color=True)
    with console.capture() as capture:
        print_evolutions(console, [found])
        print_rounds(console, [{"round": 1, "proposals": {"rejected": {"\x1b[2J": 1}}}], 1, 0.95)
    assert all(c.isprintable() or c == "\n" for c in capture.get())
    assert capture.get().splitlines()[:2] == ["  a b", "        deepen ->  [2Jgone 1m"]


def test_many_reasons_are_summed_up():
    rejected = {f"reason {k}": 50 - k for k in range(40)}
    (told,) = [line for line in printed([{"round": 1, "proposals": {"rejected": rejected}}], 80) if "drafts refused" in line]
    assert told.startswith("drafts refused: reason 0 50, reason 1 49, ")
    assert told.endswith(f", reason 9 41, other reasons {sum(50 - k for k in range(10, 40))}")


def test_without_a_terminal_the_width_is_fixed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert make_console().width == 160
