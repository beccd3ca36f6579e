"""Losses against numbers worked out by hand, against what must hold for any numbers, and against TRL."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparring.config import Learner, Loss
from sparring.errors import SparringError
from sparring.learners.batches import Answer, Item, collate
from sparring.learners.checkpoint import load_policy
from sparring.learners.forward import answer_logps, make_logits
from sparring.learners.losses import CREDIT_LOSSES, LOSSES, REFERENCE_FREE, Credits, Scores, lesson_losses
from sparring.learners.session import Session
from tests.tiny import save_tiny

PREFERENCES: list[Loss] = sorted(set(LOSSES) - {"sft"})


def scores_of(
    logp: tuple[float, float],
    ref: tuple[float, float] = (0.0, 0.0),
    length: tuple[int, int] = (1, 1),
    margin: float = 1.0,
    wins: tuple[float, float] | None = None,
) -> Scores:
    """One lesson, in float64; each pair is (chosen, rejected)."""
    columns = [torch.tensor(pair, dtype=torch.float64)[:, None] for pair in (logp, ref, length)]
    return Scores(
        logp_SP=columns[0].requires_grad_(),
        ref_logp_SP=columns[1],
        length_SP=columns[2],
        margin_P=torch.tensor([margin], dtype=torch.float64),
        win_SP=torch.tensor([wins or (math.nan, math.nan)], dtype=torch.float64).T,
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


@pytest.mark.parametrize("name", ["sppo", "sppo_soft"])
def test_sppo_aims_at_the_win_rates_where_they_are_known(name: Loss) -> None:
    """Win rates 0.8 and 0.4, so targets of (0.8 - 0.5) / 0.25 and (0.4 - 0.5) / 0.25: (1 - 1.2)^2 + (-2 + 0.4)^2."""
    scores = scores_of((-4.0, -8.0), (-5.0, -6.0), margin=37.0, wins=(0.8, 0.4))
    assert lesson_losses(scores, Learner(loss=name, beta=0.25)).loss_P.item() == pytest.approx(0.04 + 2.56)


def test_sppo_soft_does_not_cut_off_scores_without_bounds() -> None:
    with pytest.raises(SparringError, match=r"a pair's scores differ by 37; let its pairs carry win rates"):
        lesson_losses(scores_of((-4.0, -8.0), margin=37.0), Learner(loss="sppo_soft"))


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
            Answer(prompt_ids=row["prompt_ids"], token_ids=row[side], logprobs=None) for side in ("chosen_ids", "rejected_ids")
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
        win_SP=micro.win_SP,
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


# ------------------------------------------------------------------------------------------------ answers with an advantage


def credits_of(
    logp: list[list[float]],
    old: list[list[float]],
    advantage: list[float],
    ref: list[list[float]] | None = None,
    longest: int = 8,
    drift: float = 0.0,
) -> Credits:
    """A list of tokens for each answer, in float64."""

    def flat(rows: list[list[float]]) -> Tensor:
        return torch.tensor([value for row in rows for value in row], dtype=torch.float64)

    lengths = torch.tensor([len(row) for row in logp])
    return Credits(
        logp_C=flat(logp).requires_grad_(),
        old_logp_C=flat(old),
        ref_logp_C=flat(ref or old),
        row_C=torch.repeat_interleave(torch.arange(len(logp)), lengths),
        length_P=lengths,
        advantage_P=torch.tensor(advantage, dtype=torch.float64),
        longest=longest,
        drift=torch.tensor(drift, dtype=torch.float64),
    )


LOG2 = math.log(2)
# Ratios 1 and 2 in the first answer, 1/2 in the second; the first is to become likelier, the second less likely.
CREDITED = credits_of([[-1.0, -1.0 + LOG2], [-1.0 - LOG2]], [[-1.0, -1.0], [-1.0]], [1.0, -3.0])


@pytest.mark.parametrize(
    ("how", "losses"),
    [
        # -(1 + 1.28) / 2, and 3 * 0.8: what is clipped has no gradient
        (Learner(loss="grpo", clip_high=0.28), [-1.14, 2.4]),
        (Learner(loss="dapo", clip_high=0.28), [-1.14, 2.4]),
        # by the 8 tokens that an answer may have
        (Learner(loss="dr_grpo", clip_high=0.28), [-2.28 / 8, 2.4 / 8]),
        # one ratio to an answer: 1 * 2, clipped at 1.2
        (Learner(loss="rloo"), [-1.2, 2.4]),
        # log-ratios of log 2 and -log 2 against a reference point of 0: 1 - 2/3, and 3 (1 - 2/3)
        (Learner(loss="kto", beta=1.0), [1 / 3, 1.0]),
        # k3 at ratios of 1, 2 and 1/2 to the reference: 0, 1/2 - 1 + log 2 and 2 - 1 - log 2
        (Learner(loss="grpo", kl=0.1), [-1.1 + 0.1 * (LOG2 - 0.5) / 2, 2.4 + 0.1 * (1 - LOG2)]),
        (Learner(loss="rloo", kl=0.1), [-1.2 + 0.1 * (LOG2 - 0.5), 2.4 + 0.1 * (1 - LOG2)]),
    ],
    ids=lambda value: value.loss if isinstance(value, Learner) else None,
)
def test_losses_of_single_answers_are_what_the_papers_say(how: Learner, losses: list[float]) -> None:
    assert lesson_losses(CREDITED, how).loss_P.tolist() == pytest.approx(losses)


def test_kto_measures_against_the_reference_point() -> None:
    """Log-ratio 1 and a reference point of 3: what got likelier by less than answers in general is a loss."""
    credits = credits_of([[-1.0]], [[-2.0]], [0.5], drift=3.0)
    assert lesson_losses(credits, Learner(loss="kto", beta=0.5)).loss_P.item() == pytest.approx(0.5 / (1 + math.exp(-1.0)))


@pytest.mark.parametrize("name", sorted(CREDIT_LOSSES))
@given(old=st.lists(logp, min_size=1, max_size=4), advantage=st.floats(0.1, 5.0))
@settings(max_examples=20, deadline=None)
def test_from_the_sampler_every_loss_follows_the_advantage(name: Loss, old: list[float], advantage: float) -> None:
    credits = credits_of([old, old], [old, old], [advantage, -advantage])
    lesson_losses(credits, Learner(loss=name)).loss_P.sum().backward()
    assert credits.logp_C.grad is not None
    good, bad = credits.logp_C.grad.view(2, -1)
    assert (good < 0).all()
    assert torch.allclose(bad, -good)


@pytest.mark.parametrize("name", sorted(CREDIT_LOSSES))
@given(now=st.lists(st.floats(-1e3, -1e-3), min_size=1, max_size=3), advantage=st.floats(-5.0, 5.0))
@settings(max_examples=20, deadline=None)
def test_losses_and_gradients_are_finite_however_far_the_policy_went(name: Loss, now: list[float], advantage: float) -> None:
    credits = credits_of([now], [[-500.0] * len(now)], [advantage])
    loss = lesson_losses(credits, Learner(loss=name, kl=0.1 if name != "kto" else 0.0)).loss_P.sum()
    loss.backward()
    assert credits.logp_C.grad is not None
    assert loss.isfinite()
    assert credits.logp_C.grad.isfinite().all()


LENGTHS = [3, 5, 1, 2]


def rows_of_trl() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random log-probs now, while sampling and under the reference, [B, T] with the padding at the right; mask; advantages."""
    generator = torch.Generator().manual_seed(3)
    now, noise, other = (torch.randn(len(LENGTHS), max(LENGTHS), generator=generator, dtype=torch.float64) for _ in range(3))
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).double()
    now = -now.abs()
    advantages = torch.tensor([1.3, -0.7, 0.4, -1.0], dtype=torch.float64)
    return now, now + 0.3 * noise, now + 0.2 * other, mask, advantages


class Accelerator:
    """What TRL asks of one process."""

    num_processes = 1

    def gather(self, value: Tensor) -> Tensor:
        return value

    def reduce(self, value: Tensor, reduction: str) -> Tensor:
        return value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kl", [0.0, 0.2])
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo", "rloo"])
def test_online_losses_and_gradients_agree_with_trl(name: Loss, kl: float) -> None:
    """TRL's RLOO takes the divergence off the reward instead of adding it to the loss, so it is compared without."""
    if name == "rloo" and kl:
        return
    trl = pytest.importorskip("trl")
    now, old, reference, mask, advantages = rows_of_trl()
    theirs = now.clone().requires_grad_()
    trainer = SimpleNamespace(
        loss_type=name, beta=kl, epsilon_low=0.2, epsilon_high=0.28, max_completion_length=8, importance_sampling_level="token",
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, use_vllm=False,
        _entropy_bonus_enabled=False, model=SimpleNamespace(training=False), accelerator=Accelerator(),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False), _metrics=defaultdict(lambda: defaultdict(list)),
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (theirs, torch.zeros_like(theirs), None),
    )  # fmt: skip
    ids = torch.zeros_like(mask, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1] + 1, "completion_ids": ids, "completion_mask": mask,
        "advantages": advantages, "old_per_token_logps": old, "ref_per_token_logps": reference,
        "old_logps": (old * mask).sum(1), "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    kind = trl.RLOOTrainer if name == "rloo" else trl.GRPOTrainer
    expected = kind._compute_loss(trainer, None, inputs)
    expected.backward()

    def lists(values: Tensor) -> list[list[float]]:
        return [row[:length].tolist() for row, length in zip(values, LENGTHS, strict=True)]

    credits = credits_of(lists(now), lists(old), advantages.tolist(), lists(reference), longest=8)
    weight_P = credits.length_P.double() if name == "dapo" else torch.ones(len(LENGTHS), dtype=torch.float64)
    loss_P = lesson_losses(credits, Learner(loss=name, kl=kl, clip_high=0.28)).loss_P
    loss = (loss_P * weight_P).sum() / weight_P.sum()
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert theirs.grad is not None
    assert credits.logp_C.grad is not None
    assert torch.allclose(credits.logp_C.grad, theirs.grad[mask.bool()], rtol=1e-5, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seeds", [(1, 2), (2, 1)], ids=["from 1", "from 2"])
def test_kto_agrees_with_trl(tmp_path: Path, seeds: tuple[int, int]) -> None:
    """The whole step: the reference point from mismatched answers, the loss, and the gradient's norm."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    policy, other = (save_tiny(tmp_path / str(seed), seed=seed) for seed in seeds)
    labels = [True, False, True]
    rows = [
        {"prompt": prompt + " ", "completion": text, "label": label}
        for (prompt, text, _), label in zip(TEXTS, labels, strict=True)
    ]
    arguments = trl.KTOConfig(
        output_dir=str(tmp_path), use_cpu=True, report_to="none", bf16=False, gradient_checkpointing=False, beta=0.02,
        per_device_train_batch_size=3, desirable_weight=0.75, undesirable_weight=1.5,
    )  # fmt: skip
    reference, _ = load_policy(other)
    trainer = trl.KTOTrainer(model=str(policy), ref_model=reference, args=arguments, train_dataset=Dataset.from_list(rows))
    examples = [trainer.train_dataset[row] for row in range(len(rows))]
    expected = trainer.compute_loss(trainer.model, trainer.data_collator(examples))
    expected.backward()
    items = [
        Item(
            answers=(Answer(prompt_ids=row["prompt_ids"], token_ids=row["completion_ids"], logprobs=None),),
            advantage=0.75 if row["label"] else -1.5,
        )
        for row in examples
    ]
    how = Learner(loss="kto", beta=0.02, clip=1e9)
    session = Session(load_policy(policy)[0], how, live=True, frozen=make_logits(reference))
    session.take(items, [range(3)], reuse=False)
    row = session.step(0, 1e-9, "a step")
    assert row["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert row["grad_norm"] == pytest.approx(gradients(trainer.model).norm().item(), rel=1e-5)
    drift = trainer._metrics["train" if trainer.model.training else "eval"]["kl"][-1]
    assert (drift > 0) == (seeds == (1, 2)), "both sides of the bound at 0 are compared"
