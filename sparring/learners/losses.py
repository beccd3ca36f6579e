"""Preference losses as pure functions on log-probs: no model, no state.

Shapes: P lessons of a batch; S sides of a lesson, the chosen answer first, the rejected one second. Log-probs are natural logs
(nats) summed over an answer's tokens. A loss is per lesson, so that whoever averages decides over what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sparring.config import Learner, Loss


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What a loss may look at. ``sft`` is content with the chosen side alone (S = 1); all others need both (S = 2)."""

    logp_SP: Tensor
    """Log-prob of each answer under the policy, the only array that carries a gradient."""
    ref_logp_SP: Tensor
    """The same under the reference policy; anything where the loss is in ``REFERENCE_FREE``."""
    length_SP: Tensor
    """Tokens of each answer, the end-of-sequence token included."""
    margin_P: Tensor
    """Score of the chosen answer minus score of the rejected one; scores lie in [0, 1]."""


class Outcome(NamedTuple):
    loss_P: Tensor
    reward_margin_P: Tensor
    """Implicit reward of the chosen answer minus that of the rejected one, in the units of the loss; no gradient."""


LossFunction = Callable[[Scores, Learner], Outcome]


def _log_ratios(scores: Scores) -> tuple[Tensor, Tensor]:
    """log pi(y|x) - log pi_ref(y|x) of the chosen and of the rejected answers."""
    chosen_P, rejected_P = scores.logp_SP - scores.ref_logp_SP
    return chosen_P, rejected_P


def _mean_logps(scores: Scores) -> tuple[Tensor, Tensor]:
    """Log-prob per token of the chosen and of the rejected answers."""
    chosen_P, rejected_P = scores.logp_SP / scores.length_SP
    return chosen_P, rejected_P


def chosen_nll(scores: Scores) -> Tensor:
    """Mean negative log-likelihood per token of the chosen answers, the term of RPO (arXiv 2404.19733 eq. 1) and of ORPO."""
    return -scores.logp_SP[0] / scores.length_SP[0]


def dpo(scores: Scores, how: Learner) -> Outcome:
    """Direct preference optimisation, arXiv 2305.18290 eq. 7; with ``how.dpop`` DPO-Positive, arXiv 2402.13228 eq. 3.

    DPO is content when both answers get less likely as long as the rejected one falls faster; DPO-Positive's penalty, inside
    the sigmoid, charges the chosen answer for falling below its reference.
    """
    chosen_ratio_P, rejected_ratio_P = _log_ratios(scores)
    margin_P = how.beta * (chosen_ratio_P - rejected_ratio_P)
    penalty_P = how.beta * how.dpop * torch.relu(-chosen_ratio_P)
    return Outcome(-logsigmoid(margin_P - penalty_P), margin_P.detach())


def ipo(scores: Scores, how: Learner) -> Outcome:
    """Identity preference optimisation, arXiv 2310.12036 eq. 17, with log-ratios per token.

    The paper writes sums; per-token means are what its authors ran (TRL asked them), and they make beta independent of length.
    """
    chosen_ratio_P, rejected_ratio_P = _log_ratios(scores)
    gap_P = chosen_ratio_P / scores.length_SP[0] - rejected_ratio_P / scores.length_SP[1]
    return Outcome((gap_P - 1 / (2 * how.beta)) ** 2, how.beta * gap_P.detach())


def _sppo(scores: Scores, how: Learner, win_P: Tensor) -> Outcome:
    """Squared error of each log-ratio to (P(y beats the policy) - 1/2) / beta, arXiv 2405.00675 eq. 4.7 with eta = 1 / beta."""
    chosen_ratio_P, rejected_ratio_P = _log_ratios(scores)
    target_P = (win_P - 0.5) / how.beta
    loss_P = (chosen_ratio_P - target_P) ** 2 + (rejected_ratio_P + target_P) ** 2
    return Outcome(loss_P, how.beta * (chosen_ratio_P - rejected_ratio_P).detach())


def sppo(scores: Scores, how: Learner) -> Outcome:
    """Self-play preference optimisation with hard labels: the chosen answer always wins, the rejected one never."""
    return _sppo(scores, how, torch.ones_like(scores.margin_P))


def sppo_soft(scores: Scores, how: Learner) -> Outcome:
    """Self-play preference optimisation with the win probability that the scores imply.

    The paper asks a preference model for P(chosen beats rejected); we have scores s in [0, 1]. Read as the probability that
    an answer is right, judged independently and with ties split, P = s_w (1 - s_l) + (s_w s_l + (1 - s_w)(1 - s_l)) / 2
    = (1 + s_w - s_l) / 2. A full margin gives the hard labels, no margin gives no push.
    """
    return _sppo(scores, how, (1 + scores.margin_P.clamp(-1, 1)) / 2)


def simpo(scores: Scores, how: Learner) -> Outcome:
    """Simple preference optimisation, arXiv 2405.14734 eq. 6: length-normalised rewards, target margin, no reference."""
    chosen_P, rejected_P = _mean_logps(scores)
    margin_P = how.beta * (chosen_P - rejected_P)
    return Outcome(-logsigmoid(margin_P - how.simpo_gamma), margin_P.detach())


def orpo(scores: Scores, how: Learner) -> Outcome:
    """Odds-ratio preference optimisation, arXiv 2403.07691 eq. 6: NLL of the chosen answer plus beta times the odds-ratio term.

    ``beta`` is the paper's lambda. An answer's probability is the geometric mean of its tokens', as in the paper; it is kept
    1e-6 below one, where the odds have a pole.
    """
    chosen_P, rejected_P = (mean_P.clamp(max=-1e-6) for mean_P in _mean_logps(scores))
    chosen_log_odds_P = chosen_P - torch.log(-torch.expm1(chosen_P))
    rejected_log_odds_P = rejected_P - torch.log(-torch.expm1(rejected_P))
    margin_P = chosen_log_odds_P - rejected_log_odds_P
    return Outcome(chosen_nll(scores) - how.beta * logsigmoid(margin_P), how.beta * margin_P.detach())


def sft(scores: Scores, how: Learner) -> Outcome:
    """Imitate the chosen answer; there is nothing to prefer it to, so the reward margin is zero."""
    loss_P = chosen_nll(scores)
    return Outcome(loss_P, torch.zeros_like(loss_P))


LOSSES: Mapping[Loss, LossFunction] = {
    "dpo": dpo,
    "ipo": ipo,
    "sppo": sppo,
    "sppo_soft": sppo_soft,
    "simpo": simpo,
    "orpo": orpo,
    "sft": sft,
}

REFERENCE_FREE: frozenset[Loss] = frozenset({"simpo", "orpo", "sft"})


def lesson_losses(scores: Scores, how: Learner) -> Outcome:
    """The loss that ``how`` names, plus ``how.nll`` times the chosen answer's NLL where that is asked for."""
    loss_P, reward_margin_P = LOSSES[how.loss](scores, how)
    if how.nll:
        loss_P = loss_P + how.nll * chosen_nll(scores)
    return Outcome(loss_P, reward_margin_P)
