"""Bradley-Terry strengths as a logistic regression, with the style of the answers as further features.

Legend: N comparisons, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparring.config import Evaluation
from sparring.game import stable_hash

STYLE_RIDGE = 1.0
"""Half of this times the square of a coefficient is its price where style is controlled for, that of the strength too, as in the
public code. Without it a judge that decides by style alone would have coefficients that are not finite and a strength that means
nothing."""
_RIDGE = 1e-6
"""The same without style: keeps the strength finite where one side wins everything, and changes no digit that is shown."""


def fit_logistic(features_NF: np.ndarray, outcomes_N: np.ndarray, weights_N: np.ndarray, ridge_F: np.ndarray) -> np.ndarray:
    """Coefficients (F,) of the logistic regression without intercept of outcomes in [0, 1]: damped Newton steps."""
    coef_F = np.zeros(features_NF.shape[1])
    loss, gradient_F, hessian_FF = _derivatives(coef_F, features_NF, outcomes_N, weights_N, ridge_F)
    for _ in range(100):
        step_F = np.linalg.solve(hessian_FF, gradient_F)
        scale = 1.0
        while True:
            tried = _derivatives(coef_F - scale * step_F, features_NF, outcomes_N, weights_N, ridge_F)
            if tried[0] <= loss or scale < 1e-6:
                break
            scale /= 2
        coef_F = coef_F - scale * step_F
        loss, gradient_F, hessian_FF = tried
        if np.abs(scale * step_F).max() < 1e-9:
            break
    return coef_F


def _derivatives(
    coef_F: np.ndarray, features_NF: np.ndarray, outcomes_N: np.ndarray, weights_N: np.ndarray, ridge_F: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Negative log-likelihood with the ridge, its gradient and its Hessian."""
    logits_N = features_NF @ coef_F
    chances_N = 1 / (1 + np.exp(-np.clip(logits_N, -500, 500)))
    loss = float(weights_N @ (np.logaddexp(0, logits_N) - outcomes_N * logits_N) + ridge_F @ coef_F**2 / 2)
    gradient_F = features_NF.T @ (weights_N * (chances_N - outcomes_N)) + ridge_F * coef_F
    spread_N = weights_N * chances_N * (1 - chances_N)
    return loss, gradient_F, (features_NF.T * spread_N) @ features_NF + np.diag(ridge_F)


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """Of the model against the baseline, in percent, with its interval; ``style`` are the coefficients of the features."""

    rate: float
    low: float
    high: float
    style: tuple[float, ...] = ()


def win_rate(outcomes_N: np.ndarray, weights_N: np.ndarray, style_NF: np.ndarray, how: Evaluation) -> WinRate:
    """The chance that the model beats the baseline at equal style; a row is a question, ``style_NF`` may have no columns.

    With two players the strengths differ by one number, the coefficient of a column of ones; without style its logistic is
    the weighted mean of the outcomes. The interval is a bootstrap over questions: the public code resamples games, as
    if the two games of a question knew nothing of each other, which makes it too narrow.
    """
    features_NF = np.column_stack([np.ones(len(outcomes_N)), style_NF])
    ridge_F = np.full(features_NF.shape[1], STYLE_RIDGE if style_NF.shape[1] else _RIDGE)
    coef_F = fit_logistic(features_NF, outcomes_N, weights_N, ridge_F)
    rng = np.random.default_rng(stable_hash(0, "win rate"))
    rates: list[float] = []
    for _ in range(how.bootstrap):
        drawn_N = np.bincount(rng.integers(0, len(outcomes_N), len(outcomes_N)), minlength=len(outcomes_N))
        rates.append(_rate(fit_logistic(features_NF, outcomes_N, weights_N * drawn_N, ridge_F)[0]))
    low, high = np.quantile(rates, [(1 - how.level) / 2, (1 + how.level) / 2])
    return WinRate(rate=_rate(coef_F[0]), low=float(low), high=float(high), style=tuple(map(float, coef_F[1:])))


def _rate(strength: float) -> float:
    return 100 / (1 + math.exp(-strength))
