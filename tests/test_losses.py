"""Losses against numbers worked out by hand, against what must hold for any numbers, and against TRL."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparring.config import Learner, Loss
from sparring.learners.batches import Answer, Item, collate
from sparring.learners.checkpoint import load_policy
from sparring.learners.losses import LOSSES, REFERENCE_FREE, Scores, lesson_losses
from sparring.learners.train import answer_logps, make_logits
from tests.tiny import save_tiny

PREFERENCES: list[Loss] = sorted(set(LOSSES) - {"sft"})


def scores_of(
    logp: tuple[float, float], ref: tuple[float, float] = (0.0, 0.0), length: tuple[int, int] = (1, 1), margin: float = 1.0
) -> Scores:
    """One lesson, in float64; each pair is (chosen, rejected)."""
    columns = [torch.tensor(pair, dtype=torch.float64)[:, None] for pair in (logp, ref, length)]
    return Scores(
        logp_SP=columns[0].requires_grad_(),
        ref_logp_SP=columns[1],
        length_SP=columns[2],
        margin_P=torch.tensor([margin], dtype=torch.float64),
    )


# Chosen -4 against a reference of -5 (log-ratio +1), rejected -8 against -6 (log-ratio -2); 2 and 4 tokens.
WORKED = scores_of((-4.0, -8.0), (-5.0, -6.0), (2, 4), margin=0.5)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def log_odds(p: float) -> float:
    return math.log(p / (1 - p))


@pytest.mark.parametrize(
    ("how", "loss", "reward_margin"),
    [
        # -log sigmoid(0.5 (1 - -2))
        (Learner(loss="dpo", beta=0.5), softplus(-1.5), 1.5),
        # the chosen answer is above its reference: no penalty
        (Learner(loss="dpo", beta=0.5, dpop=3.0), softplus(-1.5), 1.5),
        # plus 0.2 * 4 / 2
        (Learner(loss="dpo", beta=0.5, nll=0.2), softplus(-1.5) + 0.4, 1.5),
        # gap of the per-token log-ratios 1/2 - -2/4 = 1, aimed at 1 / (2 * 0.25) = 2
        (Learner(loss="ipo", beta=0.25), 1.0, 0.25),
        # aimed at +2 and -2: (1 - 2)^2 + (-2 + 2)^2
        (Learner(loss="sppo", beta=0.25), 1.0, 0.75),
        # margin 0.5 wins with probability 0.75, aimed at +1 and -1: (1 - 1)^2 + (-2 + 1)^2
        (Learner(loss="sppo_soft", beta=0.25), 1.0, 0.75),
        # both -2 a token: -log sigmoid(0 - 0.5)
        (Learner(loss="simpo", beta=2.0, simpo_gamma=0.5), softplus(0.5), 0.0),
        # 2 nats a token, and equal odds: 2 + 0.5 log 2
        (Learner(loss="orpo", beta=0.5), 2.0 + 0.5 * math.log(2), 0.0),
        (Learner(loss="sft"), 2.0, 0.0),
    ],
    ids=lambda value: value.loss if isinstance(value, Learner) else None,
)
def test_losses_are_what_the_papers_say(how: Learner, loss: float, reward_margin: float) -> None:
    outcome = lesson_losses(WORKED, how)
    assert outcome.loss_P.tolist() == pytest.approx([loss])
    assert outcome.reward_margin_P.tolist() == pytest.approx([reward_margin])


def test_dpop_charges_a_chosen_answer_below_its_reference() -> None:
    """Log-ratios -1 and -3: the margin 0.5 * 2 loses 0.5 * 3 * 1, though the reward itself does not change."""
    outcome = lesson_losses(scores_of((-6.0, -9.0), (-5.0, -6.0)), Learner(loss="dpo", beta=0.5, dpop=3.0))
    assert outcome.loss_P.item() == pytest.approx(softplus(0.5))
    assert outcome.reward_margin_P.item() == pytest.approx(1.0)


def test_simpo_and_orpo_compare_answers_per_token() -> None:
    """Mean probabilities 0.8 (3 tokens) and 0.5 (2 tokens), so odds of 4 and 1."""
    scores = scores_of((3 * math.log(0.8), 2 * math.log(0.5)), length=(3, 2))
    simpo = lesson_losses(scores, Learner(loss="simpo", beta=2.0, simpo_gamma=0.3))
    assert simpo.loss_P.item() == pytest.approx(softplus(0.3 - 2 * math.log(1.6)))
    orpo = lesson_losses(scores, Learner(loss="orpo", beta=0.1))
    assert orpo.loss_P.item() == pytest.approx(-math.log(0.8) - 0.1 * math.log(4 / 5))
    assert orpo.reward_margin_P.item() == pytest.approx(0.1 * (log_odds(0.8) - log_odds(0.5)))


def test_sppo_soft_is_hard_at_a_full_margin_and_still_at_none() -> None:
    how = Learner(loss="sppo_soft", beta=0.1)
    full = scores_of((-4.0, -8.0), (-5.0, -6.0), margin=1.0)
    assert torch.equal(lesson_losses(full, how).loss_P, LOSSES["sppo"](full, how).loss_P)
    none = scores_of((-5.0, -6.0), (-5.0, -6.0), margin=0.0)
    assert lesson_losses(none, how).loss_P.item() == 0.0


def test_orpo_is_finite_at_certainty() -> None:
    scores = scores_of((0.0, -1e4))
    loss = lesson_losses(scores, Learner(loss="orpo")).loss_P.sum()
    loss.backward()
    assert loss.isfinite()
    assert scores.logp_SP.grad is not None
    assert scores.logp_SP.grad.isfinite().all()


logp = st.floats(-60.0, -0.5)
sides = st.tuples(logp, logp)
lengths = st.tuples(st.integers(1, 40), st.integers(1, 40))


@pytest.mark.parametrize("name", PREFERENCES)
@given(ref=sides, length=lengths)
@settings(max_examples=30, deadline=None)
def test_from_the_reference_every_loss_prefers_the_chosen_answer(
    name: Loss, ref: tuple[float, float], length: tuple[int, int]
) -> None:
    scores = scores_of(ref, ref, length)
    lesson_losses(scores, Learner(loss=name)).loss_P.sum().backward()
    assert scores.logp_SP.grad is not None
    chosen, rejected = scores.logp_SP.grad.flatten().tolist()
    assert chosen < 0 <= rejected


@pytest.mark.parametrize("name", PREFERENCES)
@given(policy=sides, ref=sides, length=lengths, shift=st.floats(-5.0, 5.0))
@settings(max_examples=30, deadline=None)
def test_losses_see_log_ratios_or_no_reference(
    name: Loss, policy: tuple[float, float], ref: tuple[float, float], length: tuple[int, int], shift: float
) -> None:
    """What needs a reference depends on log-ratios alone, what needs none does not look at it."""
    how = Learner(loss=name)
    moved_ref = (ref[0] + shift, ref[1] + shift)
    moved = policy if name in REFERENCE_FREE else (policy[0] + shift, policy[1] + shift)
    before = lesson_losses(scores_of(policy, ref, length), how)
    after = lesson_losses(scores_of(moved, moved_ref, length), how)
    assert torch.allclose(before.loss_P, after.loss_P, rtol=1e-9)
    assert torch.allclose(before.reward_margin_P, after.reward_margin_P, atol=1e-9)


@given(policy=sides, ref=sides, dpop=st.floats(0.0, 50.0))
@settings(max_examples=50, deadline=None)
def test_dpop_never_lowers_the_loss(policy: tuple[float, float], ref: tuple[float, float], dpop: float) -> None:
    scores = scores_of(policy, ref)
    plain, positive = (lesson_losses(scores, Learner(dpop=weight)).loss_P.item() for weight in (0.0, dpop))
    assert positive >= plain


TEXTS = [
    ("w1 w2 w3", "w4 w5", "w6"),
    ("w7", "w8 w9 w10 w11", "w3 w2 w1"),
    ("w20 w21 w22 w23 w24", "w30", "w31 w32 w33 w34 w35 w36"),
]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TRL's DPOTrainer with a random policy, and a reference that differs from it."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    root = tmp_path_factory.mktemp("oracle")
    folder = save_tiny(root / "policy", seed=1)
    reference, _ = load_policy(save_tiny(root / "reference", seed=2))
    rows = [{"prompt": prompt + " ", "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in TEXTS]
    arguments = trl.DPOConfig(output_dir=str(root), use_cpu=True, report_to="none", bf16=False, gradient_checkpointing=False)
    return trl.DPOTrainer(model=str(folder), ref_model=reference, args=arguments, train_dataset=Dataset.from_list(rows))


def gradients(model: torch.nn.Module) -> Tensor:
    return torch.cat([value.grad.flatten() for _, value in sorted(model.named_parameters()) if value.grad is not None])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("how", "loss_types", "weights", "rows"),
    [
        (Learner(loss="dpo", beta=0.3), ["sigmoid"], [1.0], (0, 1, 2)),
        (Learner(loss="ipo", beta=0.2), ["ipo"], [1.0], (0, 1, 2)),
        (Learner(loss="sppo", beta=0.05), ["sppo_hard"], [1.0], (0, 1, 2)),
        # TRL averages its likelihood term over the tokens of a batch, RPO's paper and we over lessons: one lesson at a time.
        (Learner(loss="dpo", beta=0.3, nll=0.7), ["sigmoid", "sft"], [1.0, 0.7], (1,)),
        (Learner(loss="sft"), ["sft"], [1.0], (2,)),
    ],
    ids=["dpo", "ipo", "sppo", "rpo", "sft"],
)
def test_loss_and_gradient_agree_with_trl(
    oracle: Any, how: Learner, loss_types: list[str], weights: list[float], rows: tuple[int, ...]
) -> None:
    oracle.loss_types, oracle.loss_weights, oracle.beta = loss_types, weights, how.beta
    examples = [oracle.train_dataset[row] for row in rows]
    oracle.model.zero_grad()
    expected = oracle.compute_loss(oracle.model, oracle.data_collator(examples))
    expected.backward()

    def item(row: dict[str, Any]) -> Item:
        answers = tuple(
            Answer(prompt_ids=row["prompt_ids"], token_ids=row[side], logp=None) for side in ("chosen_ids", "rejected_ids")
        )
        return Item(answers=answers, margin=1.0, weight=1.0)

    micro = collate([item(row) for row in examples], range(len(examples)), torch.device("cpu"))
    policy, reference = (load_policy(Path(model.name_or_path))[0] for model in (oracle.model, oracle.ref_model))
    with torch.no_grad():
        ref_logp_SP = answer_logps(make_logits(reference), micro)
    scores = Scores(
        logp_SP=answer_logps(make_logits(policy), micro),
        ref_logp_SP=ref_logp_SP,
        length_SP=micro.length_SP,
        margin_P=micro.margin_P,
    )
    loss = lesson_losses(scores, how).loss_P.mean()
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    ours, theirs = gradients(policy), gradients(oracle.model)
    assert theirs.norm() > 0
    assert (ours - theirs).norm() / theirs.norm() < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_simpo_agrees_with_trl() -> None:
    cpo = pytest.importorskip("trl.experimental.cpo")
    trainer = SimpleNamespace(
        loss_type="simpo", alpha=0.0, beta=2.0, simpo_gamma=0.7, label_smoothing=0.0, accelerator=SimpleNamespace(device="cpu")
    )
    scores = scores_of((-4.0, -8.0), length=(3, 7))
    theirs_SP = (scores.logp_SP / scores.length_SP).detach().requires_grad_()
    losses, *_ = cpo.CPOTrainer.cpo_loss(trainer, theirs_SP[0], theirs_SP[1])
    losses.sum().backward()
    check_parity(scores, Learner(loss="simpo", beta=2.0, simpo_gamma=0.7), losses, theirs_SP)


@pytest.mark.filterwarnings("ignore")
def test_orpo_agrees_with_trl() -> None:
    """TRL's odds-ratio term; its likelihood term covers the prompt too, which the paper's does not."""
    orpo = pytest.importorskip("trl.experimental.orpo")
    trainer = SimpleNamespace(beta=0.4, accelerator=SimpleNamespace(device="cpu"))
    scores = scores_of((-4.0, -8.0), length=(3, 7))
    theirs_SP = (scores.logp_SP / scores.length_SP).detach().requires_grad_()
    ratio_term, *_ = orpo.ORPOTrainer.odds_ratio_loss(trainer, theirs_SP[0], theirs_SP[1])
    losses = -theirs_SP[0] - ratio_term
    losses.sum().backward()
    check_parity(scores, Learner(loss="orpo", beta=0.4), losses, theirs_SP)


def check_parity(scores: Scores, how: Learner, losses: Tensor, mean_logp_SP: Tensor) -> None:
    """Our loss and gradient against TRL's, which takes log-probs per token."""
    ours = lesson_losses(scores, how).loss_P
    ours.sum().backward()
    assert mean_logp_SP.grad is not None
    assert scores.logp_SP.grad is not None
    assert torch.allclose(ours, losses, rtol=1e-6)  # TRL's ORPO computes in float32
    assert torch.allclose(scores.logp_SP.grad, mean_logp_SP.grad / scores.length_SP, rtol=1e-5)
