"""Bradley-Terry, style and length control: hand-worked numbers, scikit-learn and the public package as oracles."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparring.config import Evaluation
from sparring.errors import SparringError
from sparring.evals.bradley_terry import fit_logistic, win_rate
from sparring.evals.length_control import best_penalty, fit_lasso, length_controlled, read_gamed
from sparring.evals.style import markdown_counts, style_features, token_length

HOW = Evaluation(bootstrap=50)

# ---------------------------------------------------------------------------------------------- Bradley-Terry


def test_two_players_by_hand():
    # 3 votes won, 1 lost, 2 tied: (3 + 1) / 6 of the votes.
    outcomes, weights = np.array([1.0, 0.0, 0.5]), np.array([3.0, 1.0, 2.0])
    found = win_rate(outcomes, weights, np.zeros((3, 0)), HOW)
    assert found.rate == pytest.approx(100 * 4 / 6, abs=1e-4)
    coef = fit_logistic(np.ones((3, 1)), outcomes, weights, np.zeros(1))
    assert coef[0] == pytest.approx(math.log(4 / 2))  # the odds 4 : 2


@pytest.mark.parametrize("winner", [0.0, 1.0])
def test_who_wins_everything_has_a_finite_strength(winner: float):
    found = win_rate(np.full(20, winner), np.full(20, 6.0), np.zeros((20, 0)), HOW)
    assert found.rate == pytest.approx(100 * winner, abs=0.01)
    assert math.isfinite(found.low)
    assert found.high - found.low < 0.01


def test_the_fit_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(3)
    features, weights = rng.normal(size=(200, 3)), rng.integers(1, 4, size=200).astype(float)
    outcomes = (rng.random(200) < 1 / (1 + np.exp(-features @ [0.5, -1.0, 2.0]))).astype(float)
    for ridge in (1.0, 0.01):
        model = linear_model.LogisticRegression(fit_intercept=False, C=1 / ridge, tol=1e-10, max_iter=10_000)
        model.fit(features, outcomes, sample_weight=weights)
        assert fit_logistic(features, outcomes, weights, np.full(3, ridge)) == pytest.approx(model.coef_[0], abs=1e-4)


def test_intervals_narrow_with_questions_and_hold_the_rate():
    rng = np.random.default_rng(0)
    widths: list[float] = []
    for count in (50, 800):
        outcomes = (rng.random(count) < 0.7).astype(float)
        found = win_rate(outcomes, np.ones(count), np.zeros((count, 0)), Evaluation(bootstrap=300))
        assert found.low < 100 * outcomes.mean() < found.high
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.3)


def test_style_is_taken_out_of_the_strength():
    rng = np.random.default_rng(1)
    style = rng.normal(0.8, 1.0, size=(1000, 1)) / 1.0  # the model has more of it, and the judge likes it
    outcomes = (rng.random(1000) < 1 / (1 + np.exp(-(-0.5 + 1.5 * style[:, 0])))).astype(float)
    raw, controlled = win_rate(outcomes, np.ones(1000), style[:, :0], HOW), win_rate(outcomes, np.ones(1000), style, HOW)
    assert raw.rate > 55
    assert controlled.rate == pytest.approx(100 / (1 + math.exp(0.5)), abs=4)
    assert controlled.style[0] == pytest.approx(1.5, abs=0.25)


# ---------------------------------------------------------------------------------------------- style


def test_what_is_counted():
    text = "# Title\n\n- one **two**\n* three\n1. four __five__\n```\n# no header\n- no item\n```\n#no header\n"
    assert markdown_counts(text) == (1, 3, 2)
    assert token_length("It's 3, no: three!") == 9  # It ' s 3 , no : three !


def test_features_by_hand():
    # Lengths 3 and 1: (3 - 1) / 4; 1 and 3: -1/2; the spread of (1/2, -1/2) is 1/2.
    features = style_features(["a b c", "a"], ["a", "a b c"])
    assert features[:, 0].tolist() == pytest.approx([1.0, -1.0])
    assert not features[:, 1:].any()
    assert not style_features(["", "a"], ["", "a"]).any()


def test_a_constant_difference_cannot_be_told_from_strength():
    assert not style_features(["a b"] * 3, ["a"] * 3).any()


# ---------------------------------------------------------------------------------------------- length


def annotated(seed: int, count: int, skill: float) -> dict[str, Any]:
    """Preferences of a judge who likes length, and the table of two gamed baselines."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=count)
    gamed: list[tuple[Any, ...]] = []
    for name, shift in (("verbose", -1.0), ("concise", 1.0)):
        deltas = rng.normal(size=count) + shift
        liked = 1 / (1 + np.exp(1.2 * np.tanh(deltas) - 0.3 * difficulty + rng.normal(size=count)))
        columns = (round(float(value), 6) for row in zip(deltas, difficulty, liked, strict=True) for value in row)
        gamed += [(index, *row, name) for index, row in enumerate(zip(columns, columns, columns, strict=True))]
    baseline = rng.integers(20, 3000, size=count)
    model = (baseline * rng.lognormal(0.3, 0.6, size=count)).astype(int)
    delta = (baseline - model) / (baseline - model).std(ddof=1)
    preferences = 1 / (1 + np.exp(-(skill - 1.2 * np.tanh(delta) + 0.5 * difficulty + rng.normal(size=count))))
    return {
        "gamed": gamed,
        "lengths": list(zip(baseline.tolist(), model.tolist(), strict=True)),
        "preferences": preferences.tolist(),
    }


def write_gamed(path: Path, rows: list[tuple[Any, ...]]) -> Path:
    header = "index,std_delta_len,instruction_difficulty,preference,model,not_gamed_baseline\n"
    path.write_text(header + "".join(",".join(map(str, row)) + ",False\n" for row in rows), encoding="utf-8")
    return path


@contextlib.contextmanager
def public_package(gamed: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """alpaca_eval's own code, which finds ``gamed`` where it looks for the table on the hub."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("alpaca_eval.metrics.glm_winrate")
        logging.disable(logging.WARNING)
        monkeypatch.setattr(module, "hf_hub_download", lambda **where: str(gamed))
        try:
            yield module.get_length_controlled_winrate
        finally:
            logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("seed", "count", "skill", "broken"), [(0, 805, -0.8, 0), (1, 805, 1.3, 0), (2, 120, 0.0, 7)])
def test_the_length_controlled_win_rate_is_that_of_the_public_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, count: int, skill: float, broken: int
):
    made = annotated(seed, count, skill)
    preferences: list[float | None] = [None if place < broken else value for place, value in enumerate(made["preferences"])]
    path = write_gamed(tmp_path / "df_gamed.csv", made["gamed"])
    rows = [
        {"preference": math.nan if value is None else 1 + value, "output_1": "x" * one, "output_2": "x" * two, "index": place}
        | {"generator_1": "baseline", "generator_2": "model", "annotator": "judge"}
        for place, (value, (one, two)) in enumerate(zip(preferences, made["lengths"], strict=True))
    ]
    with public_package(path, monkeypatch) as oracle:
        import pandas

        for name in ("length_controlled_v1", "length_controlled_minimal"):
            theirs = oracle(pandas.DataFrame(rows), glm_name=name, save_weights_dir=None)
            gamed = read_gamed(path) if name.endswith("v1") else None
            ours = length_controlled(preferences, made["lengths"], Evaluation(bootstrap=5), gamed, range(count))
            assert ours.win_rate == pytest.approx(theirs["length_controlled_winrate"], abs=0.1)
            assert ours.standard_error == pytest.approx(theirs["lc_standard_error"], abs=0.01)
            assert abs(ours.win_rate - theirs["win_rate"]) > 0.2  # there was something to control for


def test_a_judge_of_length_alone_is_seen_through():
    rng = np.random.default_rng(5)
    lengths = [(1000, 1000 + int(rng.normal(400, 500))) for _ in range(600)]
    longer = [float((model > baseline) == (rng.random() < 0.95)) for baseline, model in lengths]
    found = length_controlled(longer, lengths, HOW)
    assert np.mean(longer) > 0.7
    assert found.win_rate == pytest.approx(50, abs=8)
    assert found.low < 50 < found.high
    assert found.length < -1


def test_a_better_model_stays_better_at_equal_length():
    rng = np.random.default_rng(6)
    lengths = [tuple(rng.integers(500, 1500, size=2).tolist()) for _ in range(500)]
    found = length_controlled([float(rng.random() < 0.8) for _ in lengths], lengths, HOW)
    assert found.low < 80 < found.high
    assert found.win_rate == pytest.approx(80, abs=4)


def test_equal_lengths_leave_the_win_rate():
    # One coefficient, the penalty 1 against 40 rows: sum w (q - p) = sign at the optimum of the strongest that pays.
    found = length_controlled([1.0] * 30 + [0.0] * 10, [(7, 7)] * 40, HOW)
    assert found.win_rate == pytest.approx(75, abs=0.1)
    assert found.length == 0


def test_the_lasso_by_hand():
    # Loss 10 log(1 + e^-c) with 8 of 10 won, slope 10 q - 8 at c; the penalty's slope is 1: q = 7/10.
    coef = fit_lasso(np.ones((10, 1)), np.array([1.0] * 8 + [0.0] * 2), np.ones(10))
    assert coef[0] == pytest.approx(math.log(7 / 3), abs=1e-6)
    # At 5 of 10 the slope at 0 is 0, within the penalty: nothing is worth a coefficient.
    assert fit_lasso(np.ones((10, 1)), np.array([1.0] * 5 + [0.0] * 5), np.ones(10))[0] == 0


def test_the_penalty_is_one_of_ten():
    rng = np.random.default_rng(0)
    assert best_penalty(rng.normal(size=(50, 2)), rng.random(50), np.ones(50)) in np.logspace(-4, 4, 10)


def test_too_few_to_control():
    with pytest.raises(SparringError, match="4 judged questions are too few"):
        length_controlled([0.5] * 4 + [None] * 9, [(1, 2)] * 13, HOW)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "index,std_delta_len,instruction_difficulty,preference\n0,1,2,1.5\n",
            "line 2: preference is '1.5'; it has to be a number in",
        ),
        ("index,std_delta_len,preference\n0,1,0.5\n", "line 2: instruction_difficulty is None"),
        ("index,std_delta_len,instruction_difficulty,preference\n0,nan,2,0.5\n", "line 2: std_delta_len is 'nan'"),
        ("index,std_delta_len,instruction_difficulty,preference\n", "has no rows"),
    ],
)
def test_what_is_no_table_of_gamed_baselines(tmp_path: Path, text: str, told: str):
    path = tmp_path / "df_gamed.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SparringError, match=told):
        read_gamed(path)


def test_a_table_of_other_questions(tmp_path: Path):
    gamed = read_gamed(write_gamed(tmp_path / "df_gamed.csv", [(0, 0.1, 0.2, 0.3, "verbose")]))
    with pytest.raises(SparringError, match="has no instruction 1; it is of another question file"):
        length_controlled([0.5] * 6, [(1, 2)] * 6, HOW, gamed, [0, 1, 0, 0, 0, 0])
