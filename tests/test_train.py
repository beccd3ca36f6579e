"""The torch learner: what it learns, from what, and that it ends with the same bits however often it is interrupted."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparring import config
from sparring.errors import SparringError
from sparring.game import Credit, Demo, Lesson, Pair, Sample
from sparring.learners.batches import Answer, Item, collate, encode_lessons, plan_batches, split_batch, strangers
from sparring.learners.checkpoint import load_policy, state_path
from sparring.learners.forward import allow_recomputing, answer_logps, make_logits, recomputing
from sparring.learners.losses import CREDIT_LOSSES, LOSSES
from sparring.learners.session import learning_rate
from sparring.learners.train import TorchLearner
from tests.tiny import save_tiny

POLICY = config.Policy(device="cpu")


def how(**changes: Any) -> config.Learner:
    return config.Learner(**{"lr": 1e-3, "schedule": "constant", "warmup": 0.0, "batch": 4, **changes})


def pair_of(number: int, chosen: str, rejected: str) -> Pair:
    def sample(text: str) -> Sample:
        return Sample(role="solver", text=text)

    return Pair(task=f"t{number}", prompt=f"w{number} w2", chosen=sample(chosen), rejected=sample(rejected), margin=0.5)


PAIRS = [pair_of(n, " ".join(["w5"] * (n % 4 + 1)), " ".join(["w9"] * (n * 3 % 5 + 1))) for n in range(10)]
DEMOS = [Demo(prompt=pair.prompt, completion=pair.chosen.text) for pair in PAIRS]
CREDITS = [
    Credit(task=pair.task, prompt=pair.prompt, completion=sample, advantage=advantage)
    for pair in PAIRS[:5]
    for sample, advantage in ((pair.chosen, 1.0), (pair.rejected, -0.5))
]


GEMMA = {"head_dim": 8, "num_key_value_heads": 2, "final_logit_softcapping": 2.0}
"""Logits that are more than a head on the decoder's states."""


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "policy")


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]


def assert_close(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Equal but for rounding; on which side of zero a margin of zero is rounded, and so the accuracy, means nothing."""
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        for key in row.keys() - {"reward_accuracy"}:
            assert row[key] == (other[key] if other[key] is None else pytest.approx(other[key], rel=1e-4, abs=1e-4)), key


def learn(policy: Path, lessons: Sequence[Lesson], out: Path, settings: config.Learner, **options: Any) -> list[dict[str, Any]]:
    TorchLearner(settings, POLICY, **options).learn(policy, lessons, out, seed=7)
    return rows_of(out)


def answer_logp(folder: Path, pair: Pair, text: str) -> float:
    """Log-prob of ``text`` as the answer, by transformers' own forward, one row, no padding."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.encode(f"<user>{pair.prompt}<assistant>")
    ids = torch.tensor([[*prompt, *tokenizer.encode(text), tokenizer.eos_token_id]])
    with torch.no_grad():
        logp = model(ids).logits.log_softmax(-1)
    return sum(logp[0, at - 1, ids[0, at]].item() for at in range(len(prompt), ids.shape[1]))


# ------------------------------------------------------------------------------------------------ what is learned


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"sft"}))
def test_a_memorised_pair_is_preferred(policy: Path, tmp_path: Path, loss: str) -> None:
    pair = pair_of(3, "w5 w6", "w7 w8 w9")
    rows = learn(policy, [pair], tmp_path / "out", how(loss=loss, epochs=12, beta=0.2))
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["reward_margin"] > rows[0]["reward_margin"]
    assert rows[-1]["reward_accuracy"] == 1.0

    def gap(folder: Path) -> float:
        return answer_logp(folder, pair, "w5 w6") - answer_logp(folder, pair, "w7 w8 w9")

    assert gap(tmp_path / "out") > gap(policy) + 0.5


@pytest.mark.parametrize("loss", sorted(CREDIT_LOSSES))
def test_answers_follow_their_advantages(policy: Path, tmp_path: Path, loss: str) -> None:
    """The reference point of KTO, the ratios and the divergence come from the policy before the first step."""
    kl = 0.0 if loss == "kto" else 0.01
    settings = how(loss=loss, epochs=8, batch=10, beta=0.2, kl=kl, clip_high=0.3)
    rows = learn(policy, CREDITS, tmp_path / "out", settings, longest=10)
    first, last = rows[0], rows[-1]
    assert last["loss"] < first["loss"]
    assert last["chosen_logp_change"] > 0 > last["rejected_logp_change"]
    assert (first["kl"], first["chosen_logp_change"]) == (pytest.approx(0.0, abs=1e-6), pytest.approx(0.0, abs=1e-4))
    assert last["kl"] > 0
    assert first["clipped"] == (None if loss == "kto" else 0.0)
    assert last["reward_margin"] is None


@pytest.mark.parametrize("lessons", [PAIRS[:1], DEMOS[:1]], ids=["chosen side", "demo"])
def test_sft_learns_an_answer_by_heart(policy: Path, tmp_path: Path, lessons: list[Lesson]) -> None:
    rows = learn(policy, lessons, tmp_path / "out", how(loss="sft", epochs=40, lr=1e-2))
    assert rows[-1]["loss"] < 0.05
    assert rows[-1]["rejected_logp"] is None
    model, tokenizer = load_policy(tmp_path / "out")
    prompt = tokenizer("<user>w0 w2<assistant>", return_tensors="pt")
    output = model.generate(**prompt, max_new_tokens=4, do_sample=False)  # pyright: ignore[reportCallIssue]
    assert output[0, prompt["input_ids"].shape[1] :].tolist() == tokenizer.encode("w5<eos>")


def test_a_weight_counts_like_repetition(policy: Path, tmp_path: Path) -> None:
    first, second = DEMOS[1], DEMOS[2]
    heavy = Demo(prompt=first.prompt, completion=first.completion, weight=2.0)
    weighted = learn(policy, [heavy, second], tmp_path / "weighted", how(loss="sft"))
    repeated = learn(policy, [first, first, second], tmp_path / "repeated", how(loss="sft"))
    assert weighted[0]["loss"] == pytest.approx(repeated[0]["loss"], rel=1e-6)
    assert weighted[0]["grad_norm"] == pytest.approx(repeated[0]["grad_norm"], rel=1e-5)


def test_the_rows_say_what_happened(policy: Path, tmp_path: Path) -> None:
    pair = PAIRS[3]
    first, second = learn(policy, [pair], tmp_path / "out", how(epochs=2, beta=0.3))
    assert first["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert (first["step"], first["lr"]) == (1, 1e-3)
    assert first["chosen_logp"] == pytest.approx(answer_logp(policy, pair, pair.chosen.text), abs=1e-4)
    assert first["rejected_logp"] == pytest.approx(answer_logp(policy, pair, pair.rejected.text), abs=1e-4)
    # "w5 w5 w5 w5" and "w9 w9 w9 w9 w9": words, the spaces between them, and the end
    assert (first["chosen_length"], first["rejected_length"]) == (8, 10)
    assert second["chosen_logp_change"] == pytest.approx(second["chosen_logp"] - first["chosen_logp"], abs=1e-4)
    change = second["chosen_logp_change"] - second["rejected_logp_change"]
    assert second["reward_margin"] == pytest.approx(0.3 * change, abs=1e-4)


# ------------------------------------------------------------------------------------------------ from which tokens


def sampled(policy: Path, pair: Pair, error: float = 0.0) -> Pair:
    """The pair as a sampler would give it: tokens and log-probs (off by ``error`` a token), and a text that is not theirs."""
    tokenizer = AutoTokenizer.from_pretrained(policy)

    def sample(text: str) -> Sample:
        ids = (*tokenizer.encode(text), tokenizer.eos_token_id)
        mean = answer_logp(policy, pair, text) / len(ids) + error
        prompt_ids = tuple(tokenizer.encode(f"<user>{pair.prompt}<assistant>"))
        return Sample(role="solver", prompt_ids=prompt_ids, token_ids=ids, logprobs=(mean,) * len(ids), text="w1")

    chosen, rejected = sample(pair.chosen.text), sample(pair.rejected.text)
    return Pair(task=pair.task, prompt="another", chosen=chosen, rejected=rejected, margin=pair.margin)


@pytest.mark.parametrize("reuse", [True, False])
def test_sampled_tokens_are_learned_as_they_are(policy: Path, tmp_path: Path, reuse: bool) -> None:
    """And a reference from the sampler's log-probs is the one that a forward pass gives."""
    settings = how(epochs=3, loss="ipo")
    from_text = learn(policy, PAIRS[:4], tmp_path / "text", settings)
    from_ids = learn(policy, [sampled(policy, pair) for pair in PAIRS[:4]], tmp_path / "ids", settings, reuse_logprobs=reuse)
    assert_close(from_ids, from_text)


def test_log_probs_of_another_policy_are_refused(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(SparringError, match=r"0\.3 nats per token.*reuse_logprobs=False"):
        learn(policy, [sampled(policy, PAIRS[3], error=0.3)], tmp_path / "out", how())
    assert not (tmp_path / "out").exists()


def test_log_probs_of_another_precision_are_not_reused(policy: Path, tmp_path: Path) -> None:
    lesson = sampled(policy, PAIRS[3], error=0.3)
    TorchLearner(how(), config.Policy(device="cpu", dtype="bfloat16")).learn(policy, [lesson], tmp_path / "out", seed=7)
    assert rows_of(tmp_path / "out")[0]["chosen_logp_change"] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"tie_word_embeddings": True}),
        ("qwen2", {}),
        ("mistral", {}),  # looks back 8 tokens
        ("gpt2", {}),  # learned positions
        ("gemma2", GEMMA),
    ],
)
def test_log_probs_of_padded_rows_are_those_of_single_rows(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    folder = save_tiny(tmp_path / kind, kind, **changes)
    model, tokenizer = load_policy(folder)
    micro = collate(encode_lessons(PAIRS[:4], how(), tokenizer), range(4), torch.device("cpu"))
    with torch.no_grad():
        logp_SP = answer_logps(make_logits(model), micro)
    sides = [[pair.chosen.text for pair in PAIRS[:4]], [pair.rejected.text for pair in PAIRS[:4]]]
    expected = [[answer_logp(folder, pair, text) for pair, text in zip(PAIRS, texts, strict=False)] for texts in sides]
    assert torch.allclose(logp_SP, torch.tensor(expected), atol=1e-4)


@pytest.mark.parametrize(("kind", "positions"), [("llama", "answers"), ("gemma2", "all")])
def test_the_head_sees_answers_alone_where_a_model_allows_it(tmp_path: Path, kind: str, positions: str) -> None:
    model, tokenizer = load_policy(save_tiny(tmp_path, kind, **({} if kind == "llama" else GEMMA)))
    micro = collate(encode_lessons(PAIRS[:4], how(), tokenizer), range(4), torch.device("cpu"))
    logits = make_logits(model)
    seen: list[int] = []
    head = model.get_output_embeddings()
    assert head is not None
    head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[:-1].numel()))
    logits(micro.tokens_RT, micro.predictor_C)
    assert seen == [len(micro.target_C) if positions == "answers" else micro.tokens_RT.numel()]


# ------------------------------------------------------------------------------------------------ how batches are cut


@pytest.mark.parametrize(
    "settings",
    [how(), how(loss="sft"), how(nll=0.5, beta=0.3), how(loss="dapo", epochs=2), how(loss="kto", epochs=2)],
    ids=["dpo", "sft", "rpo", "dapo", "kto"],
)
def test_the_split_into_micro_batches_changes_nothing(policy: Path, tmp_path: Path, settings: config.Learner) -> None:
    lessons = [Demo(prompt=d.prompt, completion=d.completion, weight=1 + n) for n, d in enumerate(DEMOS)]
    lessons = {"sft": lessons, "dapo": CREDITS, "kto": CREDITS}.get(settings.loss, PAIRS)
    whole = learn(policy, lessons, tmp_path / "whole", settings)
    single = learn(policy, lessons, tmp_path / "single", settings.model_copy(update={"micro_tokens": 1}))
    assert_close(single, whole)
    weights = [AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "single")]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-4) for name in weights[0])


@pytest.mark.parametrize(
    ("settings", "lessons"), [(how(), PAIRS), (how(loss="grpo", lora_rank=2), CREDITS), (how(dtype="bfloat16"), PAIRS)]
)
def test_recomputing_activations_changes_nothing(
    policy: Path, tmp_path: Path, settings: config.Learner, lessons: list[Lesson]
) -> None:
    kept = learn(policy, lessons, tmp_path / "kept", settings)
    recomputed = learn(policy, lessons, tmp_path / "recomputed", settings.model_copy(update={"checkpointing": True}))
    assert recomputed == kept
    assert files_of(tmp_path / "recomputed") == files_of(tmp_path / "kept")


def test_recomputing_runs_the_layers_a_second_time(policy: Path) -> None:
    model, _ = load_policy(policy)
    allow_recomputing(model)
    runs: list[bool] = []
    layers: Any = model.get_decoder().layers
    layers[0].mlp.register_forward_pre_hook(lambda module, inputs: runs.append(module.training))
    with recomputing(model):
        model(torch.arange(8)[None], use_cache=False).logits.sum().backward()
    assert runs == [False, False]  # and no dropout
    assert not any(module.training for module in model.modules())


def test_answers_to_other_prompts() -> None:
    """The answer before, in a circle, unless it has the same prompt; the tokens say whose it is."""
    items = [
        Item(answers=(Answer(prompt_ids=(prompt,), token_ids=(number,), logprobs=None),))
        for number, prompt in enumerate([7, 7, 8, 9])
    ]
    found = [(item.answers[0].prompt_ids, item.answers[0].token_ids) for item in strangers(items, [0, 1, 2, 3])]
    assert found == [((7,), (3,)), ((7,), (3,)), ((8,), (1,)), ((9,), (2,))]
    assert strangers(items, [0, 1]) == []


def item_of(length: int, sides: int) -> Item:
    answers = [Answer(prompt_ids=[1] * (length - side), token_ids=[2], logprobs=None) for side in range(sides)]
    return Item(answers=tuple(answers), margin=1.0, weight=1.0)


@hypothesis.given(
    lengths=st.lists(st.integers(2, 50), min_size=1, max_size=40), sides=st.integers(1, 2), micro_tokens=st.integers(1, 300)
)
@hypothesis.settings(max_examples=100, deadline=None)
def test_micro_batches_hold_every_lesson_once_and_keep_the_bound(lengths: list[int], sides: int, micro_tokens: int) -> None:
    items = [item_of(length, sides) for length in lengths]
    parts = split_batch(items, range(len(items)), micro_tokens)
    assert sorted(index for part in parts for index in part) == list(range(len(items)))
    for part in parts:
        tokens = sides * len(part) * max(items[index].length for index in part)
        assert tokens <= micro_tokens or len(part) == 1


def test_every_epoch_is_another_permutation() -> None:
    plan = plan_batches(10, how(epochs=2), seed=1)
    assert [len(batch) for batch in plan] == [4, 4, 2, 4, 4, 2]
    first, second = ([index for batch in epoch for index in batch] for epoch in (plan[:3], plan[3:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert plan_batches(10, how(epochs=2), seed=1) == plan
    assert plan_batches(10, how(epochs=2), seed=2) != plan


def test_learning_rates() -> None:
    """Ten steps, two of them warm-up; the schedule falls over the other eight and would be zero at an eleventh."""
    rates = {
        name: [learning_rate(step, 10, how(schedule=name, warmup=0.2, lr=8.0)) for step in range(10)]
        for name in ("constant", "linear", "cosine")
    }
    assert rates["constant"] == [4.0] + [8.0] * 9
    assert rates["linear"] == [4.0, 8.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert rates["cosine"][6] == pytest.approx(4.0)
    assert rates["cosine"][8] == pytest.approx(8.0 * (1 - 0.5**0.5) / 2)
    assert learning_rate(0, 1, how(warmup=1.0)) == 1e-3


# ------------------------------------------------------------------------------------------------ resume


class Killed(Exception):
    """What a test throws into a running learner."""


def kill_after(steps: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == steps:
            raise Killed

    return progress


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "settings",
    [
        how(epochs=2, save_every=2, schedule="cosine", warmup=0.3, weight_decay=0.1),
        how(epochs=2, save_every=2, optimizer="rmsprop", loss="sppo"),
        how(epochs=2, save_every=2, lora_rank=2, nll=0.1),
        how(epochs=2, save_every=2, loss="sft", dtype="bfloat16"),
        how(epochs=2, save_every=2, loss="kto"),
        how(epochs=2, save_every=2, loss="grpo", kl=0.1),
    ],
    ids=["adamw", "rmsprop", "lora", "bfloat16", "kto", "grpo"],
)
def test_an_interrupted_run_ends_with_the_same_bits(policy: Path, tmp_path: Path, settings: config.Learner) -> None:
    lessons = CREDITS if settings.loss in CREDIT_LOSSES else PAIRS
    learn(policy, lessons, tmp_path / "whole", settings)
    out, state = tmp_path / "out", state_path(tmp_path / "out")
    with pytest.raises(Killed):
        learn(policy, lessons, out, settings, progress=kill_after(3))
    assert state.is_file()
    assert not out.exists()
    done: list[int] = []
    learn(policy, lessons, out, settings, progress=lambda step, _: done.append(step))
    assert done == [3, 4, 5, 6]
    assert files_of(out) == files_of(tmp_path / "whole")
    assert not state.exists()


def test_a_state_of_another_run_is_ignored(policy: Path, tmp_path: Path) -> None:
    settings, out = how(save_every=1), tmp_path / "out"
    with pytest.raises(Killed):
        learn(policy, PAIRS, out, settings, progress=kill_after(2))
    for lessons, changed in ((PAIRS[:9], settings), (PAIRS, how(save_every=1, lr=2e-3))):
        with pytest.raises(Killed):  # at the first step: a resumed run would begin with the third
            learn(policy, lessons, out, changed, progress=kill_after(1))


def test_nothing_is_drawn_from_the_global_generator(policy: Path, tmp_path: Path) -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        learn(policy, PAIRS, tmp_path / f"{seed}", how(lora_rank=2, lr=1e-2))
        assert torch.equal(torch.get_rng_state(), before)
        states.append(files_of(tmp_path / f"{seed}"))
    assert states[0] == states[1]


# ------------------------------------------------------------------------------------------------ forms of the policy


def test_lora_is_merged_into_an_ordinary_checkpoint(policy: Path, tmp_path: Path) -> None:
    rows = learn(policy, PAIRS, tmp_path / "out", how(lora_rank=2, epochs=4, lr=1e-2))
    assert rows[-1]["loss"] < rows[0]["loss"]
    before, model = (AutoModelForCausalLM.from_pretrained(folder) for folder in (policy, tmp_path / "out"))
    old, new = before.state_dict(), model.state_dict()
    assert old.keys() == new.keys()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {name for name in old if "proj" in name}
    pair = PAIRS[3]
    assert answer_logp(tmp_path / "out", pair, pair.chosen.text) > answer_logp(policy, pair, pair.chosen.text)


def test_the_adapter_alone_makes_the_policy_of_its_base(policy: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    for name in ("out", "again"):
        learn(policy, PAIRS, tmp_path / name, how(lora_rank=2, epochs=4, lr=1e-2, save_adapter=True))
    tokens = torch.arange(10)[None]
    with torch.no_grad():
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out")(tokens).logits
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an old way
            adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(policy), tmp_path / "out" / "adapter")
        assert torch.allclose(adapted(tokens).logits, merged, atol=1e-4)
        assert not torch.allclose(AutoModelForCausalLM.from_pretrained(policy)(tokens).logits, merged, atol=1e-2)
    assert files_of(tmp_path / "out" / "adapter") == files_of(tmp_path / "again" / "adapter")
    assert str(tmp_path) not in (tmp_path / "out" / "adapter" / "adapter_config.json").read_text()


def test_bfloat16_learns_the_same_and_keeps_float32_weights(policy: Path, tmp_path: Path) -> None:
    exact = learn(policy, PAIRS, tmp_path / "exact", how(loss="simpo"))
    rough = learn(policy, PAIRS, tmp_path / "rough", how(loss="simpo", dtype="bfloat16"))
    assert [row["loss"] for row in rough] == pytest.approx([row["loss"] for row in exact], rel=0.05)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "rough").dtype == torch.float32


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("lessons", "settings", "message"),
    [
        ([], how(), "no lessons"),
        (DEMOS, how(), "dpo compares two answers and a Demo has one; set learner.loss to sft"),
        ([Demo(prompt="w1", completion="w2", weight=0.0)], how(loss="sft"), "weight 0.0"),
        (PAIRS, how(loss="grpo"), "grpo learns from answers with an advantage and a Pair has none; teach credits"),
        (CREDITS, how(), "dpo cannot learn from an answer with an advantage; set it to one of dapo, dr_grpo, grpo, kto, rloo"),
        ([replace(CREDITS[0], advantage=float("nan"))], how(loss="rloo"), "a Credit has advantage nan"),
        (PAIRS, how(lr=1e30), r"step 2 of 3: .*at learning rate 1e\+30.*--learner.lr=1e\+29"),
    ],
    ids=["no lessons", "demo for dpo", "weight", "pair for grpo", "credit for dpo", "advantage", "not finite"],
)
def test_bad_lessons_and_rates_are_named(
    policy: Path, tmp_path: Path, lessons: list[Lesson], settings: config.Learner, message: str
) -> None:
    with pytest.raises(SparringError, match=message):
        learn(policy, lessons, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "settings",
    [
        how(loss="ipo", dpop=1.0),
        how(loss="sft", nll=1.0),
        how(loss="orpo", nll=1.0),
        how(loss="grpo", nll=1.0),
        how(loss="dpo", kl=0.1),
        how(loss="kto", kl=0.1),
    ],
)
def test_terms_that_a_loss_has_no_use_for_are_refused(settings: config.Learner) -> None:
    with pytest.raises(SparringError, match=r"--learner\.(dpop|nll|kl)=0"):
        TorchLearner(settings, POLICY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (how(loss="dr_grpo"), "dr_grpo divides by the tokens that an answer may have, not by 0"),
        (how(loss="grpo", clip_low=1.0), "clip_low 1.0 clips nothing"),
        (how(save_adapter=True), "save_adapter needs an adapter"),
    ],
)
def test_what_a_learner_lacks_is_named(settings: config.Learner, message: str) -> None:
    with pytest.raises(SparringError, match=message):
        TorchLearner(settings, POLICY)


def test_what_is_no_checkpoint_is_named(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(SparringError, match=r"is no checkpoint folder: it lacks config\.json"):
        learn(tmp_path / "nothing", PAIRS, tmp_path / "out", how())
    broken = save_tiny(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(SparringError, match="cannot be loaded"):
        learn(broken, PAIRS, tmp_path / "out", how())
    changed = save_tiny(tmp_path / "changed")
    settings = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": 3}))
    with pytest.raises(SparringError, match=r"do not fit config\.json"):
        learn(changed, PAIRS, tmp_path / "out", how())
    with pytest.raises(SparringError, match="exists already"):
        learn(policy, PAIRS, policy, how())


def test_an_answer_that_was_cut_off_does_not_end(policy: Path):
    _, tokenizer = load_policy(policy, torch.device("cpu"))
    whole, cut = (
        replace(PAIRS[0], chosen=Sample(role="solver", text="w5 w6", finish=finish), rejected=PAIRS[0].rejected)
        for finish in ("stop", "length")
    )
    items = encode_lessons([whole, cut], how(), tokenizer)
    (ended, _), (open_ended, _) = (item.answers for item in items)
    assert [*open_ended.token_ids, tokenizer.eos_token_id] == [*ended.token_ids]
