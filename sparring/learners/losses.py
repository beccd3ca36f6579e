"""Losses as pure functions on log-probs: no model, no state.

``LOSSES`` compare two answers (or imitate one), ``CREDIT_LOSSES`` take one answer and its advantage. Shapes: P lessons of a batch;
S sides of a pair, the chosen answer first, the rejected one second; C tokens of the answers, one answer after the other. Log-probs
are natural logs (nats), summed over an answer's tokens where they have no axis C. A loss is per lesson, so that whoever averages
decides over what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sparring.config import Learner, Loss
from sparring.errors import SparringError


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
    """Score of the chosen answer minus score of the rejected one."""
    win_SP: Tensor
    """How likely each answer beats another one of the policy; NaN where nobody knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credits:
    """What a loss of single answers may look at."""

    logp_C: Tensor
    """Log-prob of each token under the policy, the only array that carries a gradient."""
    old_logp_C: Tensor
    """The same under the policy that sampled the answers."""
    ref_logp_C: Tensor
    """The same under the policy that the round began with."""
    row_C: Tensor
    """Which of the P answers a token belongs to."""
    length_P: Tensor
    """Tokens of each answer, the end-of-sequence token included."""
    advantage_P: Tensor
    longest: int
    """Tokens that an answer may have had at most."""
    drift: Tensor
    """KTO's reference point: an estimate of KL(policy || reference) in nats per answer, not negative, no gradient."""

    def per_answer(self, values_C: Tensor) -> Tensor:
        """The sum of each answer's tokens."""
        return values_C.new_zeros(len(self.length_P)).index_add(0, self.row_C, values_C)


class Outcome(NamedTuple):
    loss_P: Tensor
    reward_margin_P: Tensor
    """Implicit reward of the chosen answer minus that of the rejected one, in the units of the loss; no gradient. 0 where a lesson
    is a single answer."""


LossFunction = Callable[[Scores, Learner], Outcome]
CreditLoss = Callable[[Credits, Learner], Tensor]
"""(credits, how) -> loss_P."""


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


def _sppo(scores: Scores, how: Learner, win_SP: Tensor) -> Outcome:
    """Squared error of each log-ratio to (P(y beats the policy) - 1/2) / beta, arXiv 2405.00675 eq. 4.7 with eta = 1 / beta.

    Where the win rates of a pair are known they are the targets; ``win_SP`` stands in for the others.
    """
    known_SP = torch.where(scores.win_SP.isnan(), win_SP, scores.win_SP)
    ratio_SP = scores.logp_SP - scores.ref_logp_SP
    loss_P = ((ratio_SP - (known_SP - 0.5) / how.beta) ** 2).sum(0)
    return Outcome(loss_P, how.beta * (ratio_SP[0] - ratio_SP[1]).detach())


def sppo(scores: Scores, how: Learner) -> Outcome:
    """Self-play preference optimisation; where nobody knows win rates, the chosen answer always wins and the rejected one never."""
    hard_P = torch.ones_like(scores.margin_P)
    return _sppo(scores, how, torch.stack([hard_P, 1 - hard_P]))


def sppo_soft(scores: Scores, how: Learner) -> Outcome:
    """Self-play preference optimisation; where nobody knows win rates, with the win probability that scores in [0, 1] imply.

    The paper asks a preference model for P(chosen beats rejected). A score s in [0, 1], read as the probability that an answer
    is right, judged independently and with ties split, gives P = s_w (1 - s_l) + (s_w s_l + (1 - s_w)(1 - s_l)) / 2
    = (1 + s_w - s_l) / 2. A full margin gives the hard labels, no margin gives no push. Raises SparringError for a margin above 1:
    scores without bounds are no probabilities, and cutting them off would make all clear pairs the same.
    """
    unknown_P = scores.win_SP.isnan().any(0)
    widest = scores.margin_P[unknown_P].abs().max().item() if unknown_P.any() else 0.0
    if widest > 1 + 1e-6:
        raise SparringError(
            f"sppo_soft reads scores as probabilities and a pair's scores differ by {widest:.3g}; let its pairs carry win rates "
            "(a reward model's and a pairwise judge's do), or set learner.loss to sppo or dpo"
        )
    win_P = (1 + scores.margin_P) / 2
    return _sppo(scores, how, torch.stack([win_P, 1 - win_P]))


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


# -- answers with an advantage ------------------------------------------------------------------------------------------


def kto(credits: Credits, how: Learner) -> Tensor:
    """Kahneman-Tversky optimisation, arXiv 2402.01306 eq. 8: good answers above the reference point, bad ones below it.

    The advantage's sign says which, its size is the paper's lambda.
    """
    ratio_P = credits.per_answer(credits.logp_C - credits.ref_logp_C)
    gain_P = how.beta * credits.advantage_P.sign() * (ratio_P - credits.drift)
    return credits.advantage_P.abs() * (1 - torch.sigmoid(gain_P))


_WIDEST = 20.0
"""Nats: a log-ratio is kept within this, where its exponential and the gradient of that are still finite."""


def _surrogate(log_ratio: Tensor, advantage: Tensor, how: Learner) -> Tensor:
    """The clipped objective of PPO (arXiv 1707.06347 eq. 7) as a loss, with DAPO's two bounds (arXiv 2503.14476 eq. 10)."""
    ratio = log_ratio.clamp(-_WIDEST, _WIDEST).exp()
    clipped = ratio.clamp(1 - how.clip_low, 1 + how.clip_high)
    return -torch.minimum(ratio * advantage, clipped * advantage)


def divergence(credits: Credits) -> Tensor:
    """KL(policy || reference) at each token, estimated from the token itself by k3 = r - log r - 1 with r = reference / policy, which is
    never negative (arXiv 2402.03300 eq. 4)."""
    log_ratio_C = (credits.ref_logp_C - credits.logp_C).clamp(-_WIDEST, _WIDEST)
    return log_ratio_C.exp() - log_ratio_C - 1


def _token_losses(credits: Credits, how: Learner) -> Tensor:
    """Loss of each token: its own ratio, the advantage of its answer."""
    advantage_C = credits.advantage_P[credits.row_C]
    loss_C = _surrogate(credits.logp_C - credits.old_logp_C, advantage_C, how)
    return loss_C + how.kl * divergence(credits) if how.kl else loss_C


def rloo(credits: Credits, how: Learner) -> Tensor:
    """REINFORCE leave-one-out, arXiv 2402.14740 sec. 3: an answer is one action, so there is one ratio to an answer.

    The paper samples anew after every step, where the ratio is 1; the clip is for further steps on the same answers. It takes the
    KL penalty off the reward; here it is a term of the loss, as in the other losses, so that ``how.kl`` means the same in all.
    """
    log_ratio_P = credits.per_answer(credits.logp_C - credits.old_logp_C)
    loss_P = _surrogate(log_ratio_P, credits.advantage_P, how)
    return loss_P + how.kl * credits.per_answer(divergence(credits)) if how.kl else loss_P


def grpo(credits: Credits, how: Learner) -> Tensor:
    """Group relative policy optimisation, arXiv 2402.03300 eq. 3: the mean over an answer's tokens."""
    return credits.per_answer(_token_losses(credits, how)) / credits.length_P


def dr_grpo(credits: Credits, how: Learner) -> Tensor:
    """GRPO done right, arXiv 2503.20783 sec. 3.2: the sum over an answer's tokens by a constant, so that a long wrong answer is not
    let off."""
    return credits.per_answer(_token_losses(credits, how)) / credits.longest


LOSSES: Mapping[Loss, LossFunction] = {
    "dpo": dpo,
    "ipo": ipo,
    "sppo": sppo,
    "sppo_soft": sppo_soft,
    "simpo": simpo,
    "orpo": orpo,
    "sft": sft,
}

CREDIT_LOSSES: Mapping[Loss, CreditLoss] = {
    "kto": kto,
    "rloo": rloo,
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    # DAPO's mean over the tokens of a batch (arXiv 2503.14476 eq. 8) is GRPO's loss with lessons that weigh as much as they are long.
    "dapo": grpo,
}

REFERENCE_FREE: frozenset[Loss] = frozenset({"simpo", "orpo", "sft"})
RATIO: frozenset[Loss] = frozenset(CREDIT_LOSSES) - {"kto"}
"""Losses that compare the policy with the one that sampled."""


def needs_reference(how: Learner) -> bool:
    """Whether the loss looks at the policy that learning began with."""
    return how.kl > 0 if how.loss in RATIO else how.loss not in REFERENCE_FREE


def lesson_losses(scores: Scores | Credits, how: Learner) -> Outcome:
    """The loss that ``how`` names, plus ``how.nll`` times the chosen answer's NLL where that is asked for."""
    if isinstance(scores, Credits):
        loss_P = CREDIT_LOSSES[how.loss](scores, how)
        return Outcome(loss_P, torch.zeros_like(loss_P))
    loss_P, reward_margin_P = LOSSES[how.loss](scores, how)
    if how.nll:
        loss_P = loss_P + how.nll * chosen_nll(scores)
    return Outcome(loss_P, reward_margin_P)
