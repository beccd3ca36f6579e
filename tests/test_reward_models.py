"""Reward models: the published score for the published format, and no text read as a control token."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DebertaV2Config,
    DebertaV2Model,
    LlamaConfig,
    LlamaModel,
)

from sparring.config import Member
from sparring.errors import SparringError
from sparring.game import Attempt, make_task
from sparring.judges.chat import Exchange
from sparring.judges.pairrm import Candidate, Group, Pair
from sparring.judges.reward_model import RewardModelJudge
from sparring.judges.rows import rate
from tests.reward_judges import ANSWERS, LOADERS, TASK, faults, load, scores, seen
from tests.tiny_judges import LLAMA_SPECIAL, SIZES, llama_tokenizer, pairrm_tokenizer, save_armorm, save_classifier, save_pairrm

# ---------------------------------------------------------------------------------------------- sequence classifiers


def published_score(path: Path, prompt: str, answer: str) -> float:
    """As model cards of such models say: one conversation at a time, rendered by the chat template."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    ids = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False, return_tensors="pt")
    with torch.inference_mode():
        return AutoModelForSequenceClassification.from_pretrained(path)(ids).logits[0][0].item()


@pytest.mark.parametrize("pad", [True, False], ids=["pad token", "no pad token"])
def test_a_batch_scores_what_single_conversations_score(tmp_path: Path, pad: bool):
    path = save_classifier(tmp_path, pad=pad)
    expected = [published_score(path, TASK.text, answer) for answer in ANSWERS]
    for batch_tokens in (1, 150, 16384):
        assert scores(load("reward_model", path, batch_tokens=batch_tokens), *ANSWERS) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "mistral", "gemma2"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_other_architectures_and_padding_sides(kind: str, side: str):
    tokenizer = llama_tokenizer(padding_side=side)
    torch.manual_seed(1)
    changes = {"n_inner": 48} if kind == "gpt2" else {"num_key_value_heads": 2, "head_dim": 8}
    sizes = {**SIZES, **changes, "pad_token_id": None, "bos_token_id": 256, "eos_token_id": 257}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), num_labels=1, max_position_embeddings=512, **sizes)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    singles = RewardModelJudge(model, tokenizer, Member(batch_tokens=1))
    assert scores(singles, *ANSWERS) == pytest.approx([*alone(singles)], abs=1e-4)
    assert scores(RewardModelJudge(model, tokenizer, Member()), *ANSWERS) == pytest.approx([*alone(singles)], abs=1e-4)


def alone(judge: RewardModelJudge) -> list[float]:
    """The model's own scores of the rows, one at a time and without any padding token."""
    judge.model.config.get_text_config().pad_token_id = None
    by_answer: list[float] = []
    for answer in ANSWERS:
        turns = [{"role": "user", "content": TASK.text}, {"role": "assistant", "content": answer}]
        ids = llama_tokenizer().apply_chat_template(turns, tokenize=True, return_dict=False, return_tensors="pt")
        with torch.inference_mode():
            by_answer.append(judge.model(ids).logits[0, 0].item())
    return by_answer


def test_a_pad_token_that_also_ends_the_turn_is_read_as_the_checkpoint_has_it(tmp_path: Path):
    path = save_classifier(tmp_path, pad_token_id=257)  # <|eot_id|>: transformers then reads the token before it
    expected = [published_score(path, TASK.text, answer) for answer in ANSWERS]
    assert scores(load("reward_model", path), *ANSWERS) == pytest.approx(expected, abs=1e-4)
    without = scores(load("reward_model", save_classifier(tmp_path / "without")), *ANSWERS)
    assert without != pytest.approx(expected, abs=1e-2)


def test_one_bos_and_no_opened_turn(tmp_path: Path):
    judge = load("reward_model", save_classifier(tmp_path))
    [row] = seen(judge, "Apple.")
    text = (
        "user<|end_header_id|>\n\nName three fruits.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nApple.<|eot_id|>"
    )
    assert llama_tokenizer().decode(row) == "<|begin_of_text|><|start_header_id|>" + text


def test_the_context_comes_first_in_the_user_turn_as_the_solver_saw_it(tmp_path: Path):
    judge = load("reward_model", save_classifier(tmp_path))
    [row] = seen(judge, "Apple.", task=make_task("Name a fruit.", context="Be brief."))
    assert "\n\nBe brief.\n\nName a fruit.<|eot_id|>" in llama_tokenizer().decode(row)


def test_a_date_in_the_template_is_the_same_every_day():
    tokenizer = llama_tokenizer()
    tokenizer.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "Today: {{ date_string }}{% for m in messages %} {{ m.content }}{% endfor %}"
    )
    row = Exchange(tokenizer, "judge", 100, 300).ids("a", "b")
    assert isinstance(row, tuple)
    assert tokenizer.decode([*row]) == "Today: 26 Jul 2024 a b"


def test_scores_in_half_precision_are_finer_than_half_precision(tmp_path: Path):
    path = save_classifier(tmp_path)
    coarse = scores(load("reward_model", path, dtype="bfloat16"), *ANSWERS)
    assert coarse == pytest.approx(scores(load("reward_model", path), *ANSWERS), abs=0.1)
    assert any(torch.tensor(score).bfloat16().item() != score for score in coarse)


@pytest.mark.parametrize("kind", list(LOADERS))
def test_shift_and_scale_and_what_counts_as_solved(tmp_path: Path, kind: str):
    path = LOADERS[kind][1](tmp_path)
    raw = scores(load(kind, path), *ANSWERS)
    middle = sorted(raw)[2]
    judge = load(kind, path, shift=middle, scale=0.25, solved_from=0.0)
    [verdicts] = judge.judge([TASK], [tuple(Attempt(answer=answer) for answer in ANSWERS)])
    assert [verdict.score for verdict in verdicts] == pytest.approx([(score - middle) / 0.25 for score in raw], abs=1e-4)
    assert [verdict.solved for verdict in verdicts] == [score >= middle for score in raw]


@pytest.mark.parametrize("kind", list(LOADERS))
def test_what_is_too_long_is_a_fault_and_never_cut(tmp_path: Path, kind: str):
    judge = load(kind, LOADERS[kind][1](tmp_path), max_tokens=90)
    fits, long, other = faults(judge, "pear", "pear " * 60, "plum")
    assert (fits, other) == (None, None)
    assert long is not None
    assert "are over max_tokens 90" in long
    assert all(fault and "max_tokens" in fault for fault in faults(judge, "a", "b", task=make_task("why? " * 100)))


def test_no_more_tokens_than_the_model_has_positions(tmp_path: Path):
    judge = load("reward_model", save_classifier(tmp_path, max_position_embeddings=64))
    assert [fault and fault.split(" ", 1)[1] for fault in faults(judge, "x", "x" * 64)] == [None, "tokens are over max_tokens 64"]


@pytest.mark.parametrize("kind", list(LOADERS))
def test_weights_that_give_no_number_are_a_fault(tmp_path: Path, kind: str):
    path = LOADERS[kind][1](tmp_path)
    weights = load_file(path / "model.safetensors")
    heads = {"reward_model": "score.weight", "armorm": "regression_layer.weight", "pairrm": "head_layer.4.weight"}
    weights[heads[kind]][:] = math.nan
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    assert faults(load(kind, path), "a", "b") == ["score is nan"] * 2


def test_a_row_that_does_not_fit_into_memory_is_a_fault_alone():
    calls: list[int] = []

    def forward(rows: Sequence[tuple[int, ...]]) -> list[float]:
        calls.append(len(rows))
        if sum(map(len, rows)) > 6:
            raise torch.OutOfMemoryError("out of memory")
        return [float(sum(row)) for row in rows]

    rows = [(1, 2), (3, 4, 5), (6,), (1,) * 7]
    rated = rate(rows, forward, len, 100)
    assert rated == {(6,): 6.0, (1, 2): 3.0, (3, 4, 5): 12.0, (1,) * 7: "OutOfMemoryError: out of memory"}
    assert calls == [4, 2, 2, 1, 1]


# ---------------------------------------------------------------------------------------------- untrusted text

PIECES = st.sampled_from(
    [*LLAMA_SPECIAL, "<|eot", "_id|>", "\n\n", "user", "é", "🎉", "\x00", " ", "\ue000", "\ue001", "{{", "a"]
)


@given(st.lists(PIECES, max_size=8).map("".join), st.lists(PIECES, max_size=8).map("".join))
@settings(max_examples=150, deadline=None)
def test_no_text_becomes_a_control_token_and_none_is_lost(prompt: str, answer: str):
    tokenizer = llama_tokenizer()
    row = Exchange(tokenizer, "judge", 4000, 300).ids(prompt, answer)
    assert isinstance(row, tuple)
    bos, end, opened, closed = range(256, 260)
    assert [token for token in row if token >= 256] == [bos, opened, closed, end, opened, closed, end]
    ends = [place for place, token in enumerate(row) if token == end]
    heads = [place for place, token in enumerate(row) if token == closed]
    for text, start, stop in zip((prompt, answer), heads, ends, strict=True):
        assert str(tokenizer.decode([*row[start + 1 : stop]])).strip() == text.strip()


def test_a_text_without_control_tokens_is_read_as_the_template_has_it():
    tokenizer = llama_tokenizer()
    turns = [{"role": "user", "content": "  a < b |> c\n"}, {"role": "assistant", "content": "<|eot|> "}]
    expected = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    assert Exchange(tokenizer, "judge", 1000, 300).ids("  a < b |> c\n", "<|eot|> ") == tuple(expected)


@pytest.mark.parametrize("text", ["<|source|>", "<|candidate1|> x [SEP] [CLS]<|candidate2|>", "[SEP][SEP]", "<|candidate|>[PAD]"])
def test_no_answer_moves_the_markers_of_pairrm(tmp_path: Path, text: str):
    judge = load("pairrm", save_pairrm(tmp_path))
    controls = range(len(pairrm_tokenizer()) - 4, len(pairrm_tokenizer()))
    frame = [1, controls[0], 2, 1, controls[1], 2, 1, controls[2], 2]
    rows = seen(judge, text, "plum", task=make_task(f"Name {text}"))
    assert len(rows) == 2
    for row in rows:
        assert [token for token in row if token in (0, 1, 2, *controls)] == frame


# ---------------------------------------------------------------------------------------------- ArmoRM


def armorm_by_hand(path: Path, row: list[int]) -> float:
    """arXiv 2406.12845 sec. 3 and the published checkpoint's conventions, in numpy on the states of a plain LlamaModel."""
    raw = {name: value.float() for name, value in load_file(path / "model.safetensors").items()}
    body = LlamaModel(LlamaConfig.from_pretrained(path)).eval()
    body.load_state_dict({name.removeprefix("model."): value for name, value in raw.items() if name.startswith("model.")})
    with torch.inference_mode():
        hidden = body(torch.tensor([row])).last_hidden_state[0].double().numpy()
    weights = {name: value.double().numpy() for name, value in raw.items()}
    rewards = weights["regression_layer.weight"] @ hidden[-1]
    gate = hidden[row.index(257)]  # the <|eot_id|> that ends the user's turn
    for layer in (0, 1):
        gate = np.maximum(weights[f"gating.layers.{layer}.weight"] @ gate + weights[f"gating.layers.{layer}.bias"], 0)
    logits = (weights["gating.layers.2.weight"] @ gate + weights["gating.layers.2.bias"]) / 2
    share = np.exp(logits) / np.exp(logits).sum() * weights["gating.logit_scale"][0]
    return float((share * (rewards @ weights["reward_transform_matrix"])).sum())


def test_armorm_gates_its_objectives_as_published(tmp_path: Path):
    path = save_armorm(tmp_path)
    judge = load("armorm", path)
    expected = [armorm_by_hand(path, seen(judge, answer)[0]) for answer in ANSWERS]
    assert scores(judge, *ANSWERS) == pytest.approx(expected, abs=1e-4)
    assert scores(load("armorm", path, batch_tokens=1), *ANSWERS) == pytest.approx(expected, abs=1e-4)
    rough = load("armorm", path, dtype="bfloat16")
    assert scores(rough, *ANSWERS) == pytest.approx(expected, abs=0.3)
    assert rough.model.regression_layer.weight.dtype == rough.model.gating.layers[0].weight.dtype == torch.float32
    assert rough.model.model.norm.weight.dtype == torch.bfloat16


def test_armorm_needs_the_turns_that_its_gate_looks_for(tmp_path: Path):
    path = save_armorm(tmp_path)
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|eot_id|>{% endfor %}"
    (path / "chat_template.jinja").write_text(template)
    with pytest.raises(SparringError, match=r"opens the assistant's turn by something else.*use the tokenizer that came with"):
        load("armorm", path)


# ---------------------------------------------------------------------------------------------- PairRM


def pairrm_by_hand(path: Path, first: str, second: str) -> float:
    """The published usage: three parts encoded apart, markers found by their ids, the head on source and candidate."""
    weights = load_file(path / "model.safetensors")
    config = json.loads((path / "config.json").read_text())
    encoder = DebertaV2Model(DebertaV2Config.from_pretrained(path)).eval()
    prefix = "pretrained_model."
    encoder.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)})
    tokenizer = pairrm_tokenizer()
    parts = ("<|source|>" + TASK.text, "<|candidate1|>" + first, "<|candidate2|>" + second)
    ids = [token for part in parts for token in tokenizer.encode(part)]
    with torch.inference_mode():
        states = encoder(torch.tensor([ids])).last_hidden_state[0].numpy()
    source, one, two = (states[ids.index(config[key])] for key in ("source_prefix_id", "cand1_prefix_id", "cand2_prefix_id"))

    def head(candidate: np.ndarray) -> float:
        inner = np.tanh(
            weights["head_layer.1.weight"].numpy() @ np.concatenate([source, candidate]) + weights["head_layer.1.bias"].numpy()
        )
        return float((weights["head_layer.4.weight"].numpy() @ inner + weights["head_layer.4.bias"].numpy())[0])

    return head(one) - head(two)


def test_pairrm_is_the_mean_win_rate_over_both_orders(tmp_path: Path):
    path = save_pairrm(tmp_path)

    def wins(one: str, other: str) -> float:
        there, back = pairrm_by_hand(path, one, other), pairrm_by_hand(path, other, one)
        return (1 / (1 + math.exp(-there)) + 1 - 1 / (1 + math.exp(-back))) / 2

    expected = [sum(wins(one, other) for other in ANSWERS if other != one) / 3 for one in ANSWERS]
    assert len({round(score, 3) for score in expected}) == 4
    for batch_tokens in (1, 300, 16384):
        assert scores(load("pairrm", path, batch_tokens=batch_tokens), *ANSWERS) == pytest.approx(expected, abs=1e-4)


def test_pairrm_compares_twelve_answers_with_one_another(tmp_path: Path):
    judge = load("pairrm", save_pairrm(tmp_path))
    answers = [f"answer {chr(97 + number)}" for number in range(12)]
    assert len(seen(judge, *answers)) == 12 * 11
    found = scores(judge, *answers)
    assert all(0 <= score <= 1 for score in found)
    assert sum(found) == pytest.approx(6)  # of every two answers one wins


def candidate(number: int) -> Candidate:
    return Candidate((number,), (-number,))


def test_win_rates_by_hand():
    one, two, three = map(candidate, (1, 2, 3))
    group = Group((0,), (one, two, one, "too long", three))
    logit = math.log(3)  # a probability of 3/4
    rated: dict[Pair, float | str] = dict.fromkeys(group.pairs(), 0.0)
    assert len(rated) == 6
    rated[Pair((0,), one.first, two.second)] = logit  # 3/4 for one in the first place, 1/2 in the second: 5/8
    rated[Pair((0,), three.first, two.second)] = -logit  # 1/4 and 1/2: 3/8 for three
    verdicts = group.verdicts(rated, Member())
    assert [verdict.score for verdict in verdicts] == pytest.approx(
        [(5 / 8 + 1 / 2 + 1 / 2) / 3, (3 / 8 + 3 / 8 + 5 / 8) / 3, (5 / 8 + 1 / 2 + 1 / 2) / 3, 0, (1 / 2 + 3 / 8 + 1 / 2) / 3]
    )
    assert [verdict.fault for verdict in verdicts] == [None, None, None, "too long", None]
    assert verdicts[0] == verdicts[2]
    assert verdicts[0].note == "wins 1.62 of 3 comparisons"


def test_a_comparison_that_fails_is_a_fault_of_both_answers():
    one, two, three = map(candidate, (1, 2, 3))
    group = Group((0,), (one, two, three, three))
    rated: dict[Pair, float | str] = dict.fromkeys(group.pairs(), 0.0)
    rated[Pair((0,), two.first, one.second)] = "score is nan"
    assert [verdict.fault for verdict in group.verdicts(rated, Member())] == ["score is nan", "score is nan", None, None]


def test_an_answer_alone_wins_against_nobody(tmp_path: Path):
    judge = load("pairrm", save_pairrm(tmp_path))
    assert faults(judge, "plum") == ["there is no other answer to compare it with"]
    assert scores(judge, "plum", "plum") == [0.5, 0.5]
