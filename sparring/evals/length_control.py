"""AlpacaEval's length-controlled win rate (arXiv 2404.04475): what the judge would prefer if both answers were of one length.

A logistic regression of the preferences on the model, on the difference in length and on how hard each instruction is, from
which the length is then taken away. As in the public code it is fitted with an L1 penalty whose weight is chosen by
five-fold cross-validation, to the preferences of the model together with those of the baseline told to be verbose or terse
(``Gamed``), which hold the effect of length in place.

Legend: N instructions, M rows of the fit, F features.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparring.config import Evaluation
from sparring.errors import SparringError
from sparring.game import stable_hash

GAMED_WEIGHT = 0.2 / 2  # of a gamed row; two gamed baselines together weigh 0.2
FOLDS = 5
PENALTIES = np.logspace(-4, 4, 10)
"""Weights of the likelihood against the penalty, those that cross-validation tries."""


@dataclass(frozen=True, kw_only=True)
class Gamed:
    """The published table ``df_gamed.csv``: a row for each (instruction, gamed baseline), and how hard an instruction is."""

    delta: np.ndarray
    """Length of the baseline's answer less that of the gamed one, in units of the spread."""
    difficulty: np.ndarray
    preference: np.ndarray
    """In [0, 1], for the gamed baseline."""
    difficulty_of: dict[int, float]
    """By the instruction's place in the question file."""


def read_gamed(path: Path) -> Gamed:
    """SparringError with the line for a table that is not of that form."""
    columns: dict[str, list[float]] = {"index": [], "std_delta_len": [], "instruction_difficulty": [], "preference": []}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                for name, values in columns.items():
                    values.append(_number(row.get(name), f"{path}, line {number}", name))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SparringError(f"{path} cannot be read as a table ({error}); give AlpacaEval's df_gamed.csv") from None
    if not columns["index"]:
        raise SparringError(f"{path} has no rows; give AlpacaEval's df_gamed.csv")
    by_index: dict[int, float] = {}
    for index, difficulty in zip(columns["index"], columns["instruction_difficulty"], strict=True):
        by_index.setdefault(int(index), difficulty)
    return Gamed(
        delta=np.array(columns["std_delta_len"]),
        difficulty=np.array(columns["instruction_difficulty"]),
        preference=np.array(columns["preference"]),
        difficulty_of=by_index,
    )


def _number(value: str | None, where: str, name: str) -> float:
    try:
        number = float(value or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (name == "preference" and not 0 <= number <= 1):
        raise SparringError(f"{where}: {name} is {value!r}; it has to be a number" + (" in [0, 1]" * (name == "preference")))
    return number


@dataclass(frozen=True, kw_only=True)
class Controlled:
    """In percent. ``length``: what one spread of length does to the log-odds of the baseline's answer.

    ``standard_error`` is the public code's, over the instructions' predicted preferences; it knows nothing of how sure the fit
    itself is. ``low`` and ``high`` do: they are of a bootstrap over the questions, at the penalty that was chosen.
    """

    win_rate: float
    standard_error: float
    low: float
    high: float
    length: float


def length_controlled(
    preferences_N: Sequence[float | None],
    lengths_N2: Sequence[tuple[int, int]],
    how: Evaluation,
    gamed: Gamed | None = None,
    places: Sequence[int] = (),
) -> Controlled:
    """The win rate of the model at equal length.

    ``preferences_N``: the judge's in [0, 1] for the model's answer, None where it broke (predicted, not learned from);
    ``lengths_N2``: characters of the baseline's and of the model's answer; ``places``: the instructions' in the question file,
    for ``gamed``. Without ``gamed`` only the model and the length are fitted, as the public code's minimal formula has it.
    SparringError for fewer than ``FOLDS`` preferences and for an instruction that the table does not have.
    """
    chances_N = np.array([math.nan if value is None else value for value in preferences_N], dtype=float)
    known_N = ~np.isnan(chances_N)
    if known_N.sum() < FOLDS:
        raise SparringError(f"{known_N.sum()} judged questions are too few to control for length; it takes {FOLDS}")
    features_NF = _features(lengths_N2, gamed, places)
    train, outcomes, weights = _training(features_NF[known_N], chances_N[known_N], gamed)
    penalty = best_penalty(train, outcomes, weights)
    coef_F = fit_lasso(train, outcomes, weights * penalty)
    equal_NF = np.column_stack([np.zeros(len(features_NF)), features_NF[:, 1:]])
    predicted_N = _percent(equal_NF @ coef_F)
    rng, rates, before = np.random.default_rng(stable_hash(0, "length control")), [], len(outcomes) - known_N.sum()
    for _ in range(how.bootstrap):
        drawn_N = np.bincount(rng.integers(0, len(known_N), len(known_N)), minlength=len(known_N))
        times = np.concatenate([np.ones(before), drawn_N[known_N]])
        again_F = fit_lasso(train, outcomes, weights * times * penalty, coef_F)
        rates.append(_percent(equal_NF @ again_F) @ drawn_N / len(known_N))
    low, high = np.quantile(rates, [(1 - how.level) / 2, (1 + how.level) / 2])
    return Controlled(
        win_rate=float(predicted_N.mean()),
        standard_error=float(predicted_N.std(ddof=1) / math.sqrt(len(predicted_N))),
        low=float(low),
        high=float(high),
        length=float(coef_F[0]),
    )


def _training(features_NF: np.ndarray, chances_N: np.ndarray, gamed: Gamed | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, outcomes and weights of the fit: the gamed baselines' rows, where there are any, and then the model's."""
    if gamed is None:
        return features_NF, chances_N, np.ones_like(chances_N)
    played = np.column_stack([np.tanh(gamed.delta), gamed.difficulty, np.zeros_like(gamed.delta)])
    weights = np.concatenate([np.full(len(played), GAMED_WEIGHT), np.ones_like(chances_N)])
    return np.vstack([played, features_NF]), np.concatenate([gamed.preference, chances_N]), weights


def _features(lengths_N2: Sequence[tuple[int, int]], gamed: Gamed | None, places: Sequence[int]) -> np.ndarray:
    """(N, F): the baseline's length less the model's, the instruction's difficulty where it is known, a one for the model."""
    delta_N = np.array([baseline - model for baseline, model in lengths_N2], dtype=float)
    spread = delta_N.std(ddof=1)
    columns = [np.tanh(delta_N / spread) if spread > 0 else np.zeros_like(delta_N)]
    if gamed is not None:
        missing = [place for place in places if place not in gamed.difficulty_of]
        if missing:
            raise SparringError(f"the table of gamed baselines has no instruction {missing[0]}; it is of another question file")
        columns.append(np.array([gamed.difficulty_of[place] for place in places]))
    return np.column_stack([*columns, np.ones_like(delta_N)])


def _percent(logits: np.ndarray) -> np.ndarray:
    return 100 / (1 + np.exp(-np.clip(logits, -500, 500)))


def best_penalty(features_MF: np.ndarray, outcomes_M: np.ndarray, weights_M: np.ndarray) -> float:
    """The one of ``PENALTIES`` with the least mean loss on held-out rows; of equal ones the strongest penalty.

    A row lies in one fold whole. Rows are dealt to the folds from the last to the first, as scikit-learn's GroupKFold does
    with groups of one size.
    """
    folds_M = (len(outcomes_M) - 1 - np.arange(len(outcomes_M))) % FOLDS
    losses: list[float] = []
    for penalty in PENALTIES:
        held_out: list[float] = []
        for fold in range(FOLDS):
            inside, outside = folds_M != fold, folds_M == fold
            coef = fit_lasso(features_MF[inside], outcomes_M[inside], weights_M[inside] * penalty)
            held_out.append(_loss(features_MF[outside] @ coef, outcomes_M[outside], weights_M[outside]) / outside.sum())
        losses.append(float(np.mean(held_out)))
    return float(PENALTIES[int(np.argmin(losses))])


def fit_lasso(
    features_MF: np.ndarray, outcomes_M: np.ndarray, weights_M: np.ndarray, start_F: np.ndarray | None = None
) -> np.ndarray:
    """Minimises the weighted logistic loss plus the sum of |coefficients|: damped Newton steps."""
    coef = np.zeros(features_MF.shape[1]) if start_F is None else start_F
    value = _penalised(coef, features_MF, outcomes_M, weights_M)
    for _ in range(200):
        step = _newton_step(coef, features_MF, outcomes_M, weights_M)
        scale = 1.0
        while (tried := _penalised(coef + scale * step, features_MF, outcomes_M, weights_M)) > value and scale > 1e-9:
            scale /= 2
        coef, value = coef + scale * step, min(value, tried)
        if np.abs(scale * step).max() < 1e-9:
            break
    return coef


def _newton_step(coef: np.ndarray, features_MF: np.ndarray, outcomes_M: np.ndarray, weights_M: np.ndarray) -> np.ndarray:
    """To the minimum of the quadratic model of the loss plus the penalty: the best of the minima by signs of the coefficients.

    Two or three coefficients have 9 or 27 patterns of signs. Descent by coordinates would take thousands of rounds where the
    length tells almost nothing apart, as with answers of two lengths.
    """
    chances = 1 / (1 + np.exp(-np.clip(features_MF @ coef, -500, 500)))
    hessian = (features_MF.T * (weights_M * chances * (1 - chances))) @ features_MF + 1e-9 * np.eye(len(coef))
    slope = features_MF.T @ (weights_M * (chances - outcomes_M)) - hessian @ coef
    signs_PF = _SIGNS[len(coef)]
    active_PF = np.abs(signs_PF)
    systems = hessian * active_PF[:, :, None] * active_PF[:, None, :] + np.eye(len(coef)) * (1 - active_PF)[:, None, :]
    minima_PF = np.linalg.solve(systems, -((slope + signs_PF) * active_PF)[:, :, None])[:, :, 0]
    values_P = minima_PF @ slope + ((minima_PF @ hessian) * minima_PF).sum(axis=1) / 2 + np.abs(minima_PF).sum(axis=1)
    values_P[(minima_PF * signs_PF < 0).any(axis=1)] = np.inf
    return minima_PF[int(np.argmin(values_P))] - coef


_SIGNS = {count: np.array(list(itertools.product((0.0, 1.0, -1.0), repeat=count))) for count in (1, 2, 3)}


def _loss(logits: np.ndarray, outcomes: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ (np.logaddexp(0, logits) - outcomes * logits))


def _penalised(coef: np.ndarray, features: np.ndarray, outcomes: np.ndarray, weights: np.ndarray) -> float:
    return _loss(features @ coef, outcomes, weights) + float(np.abs(coef).sum())
