"""Checkpoints in the formats of real families: sampled and learned from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparring import config
from sparring.config import Policy
from sparring.errors import SparringError
from sparring.game import Demo, Pair, Sampling
from sparring.learners.train import TorchLearner
from sparring.models.hf import HFModel
from tests.families import FAMILIES, HOW, OTHERS, POLICY, PROMPTS, check_result, first_policy, logps, samples_of
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``first_policy`` of a family, made once."""
    return cache(lambda name: first_policy(tmp_path_factory.mktemp(name), name))


@pytest.fixture(scope="module", params=list(FAMILIES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(name: str, made: Callable[[str], Path]) -> Path:
    return made(name)


# ---------------------------------------------------------------------------------------------- sampled and learned from


def test_the_sampler_says_what_the_model_says(folder: Path):
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    for sample in samples_of(HFModel.load(folder, POLICY)):
        assert sample.logprobs == pytest.approx(logps(plain, sample.prompt_ids, sample.token_ids), abs=2e-5)


@pytest.mark.parametrize("kind", list(OTHERS))
def test_other_architectures_are_sampled_right(kind: str, tmp_path: Path):
    folder = save_tiny(tmp_path, kind, **OTHERS[kind])
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    groups = HFModel.load(folder, POLICY).sample(["w1", "w2 w3 w4 w5 w6 w7", "w8"], HOW, role="solver", seed=0)
    for sample in (sample for group in groups for sample in group):
        assert sample.logprobs == pytest.approx(logps(plain, sample.prompt_ids, sample.token_ids), abs=1e-4)


def test_greedy_is_generate_whatever_the_padding(folder: Path, tmp_path: Path):
    plain: Any = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    greedy = Sampling(temperature=0, max_new_tokens=12)
    found: list[Any] = []
    for side in ("left", "right"):
        tokenizer.padding_side = side
        tokenizer.save_pretrained(tmp_path / side)
        for file in ("config.json", "generation_config.json", "model.safetensors"):
            shutil.copy(folder / file, tmp_path / side)
        found.append(HFModel.load(tmp_path / side, POLICY).sample(PROMPTS, greedy, role="solver", seed=0))
    assert found[0] == found[1]
    ends = HFModel.load(folder, POLICY).decoder.ends_V.nonzero().flatten().tolist()
    for (sample,) in found[0]:
        ids = torch.tensor([sample.prompt_ids])
        out = plain.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, eos_token_id=ends, pad_token_id=0
        )
        assert sample.token_ids == tuple(out[0, ids.shape[1] :].tolist())


def test_an_answer_ends_where_the_template_closes_it(folder: Path, name: str):
    model = HFModel.load(folder, POLICY)
    ends = {FAMILIES[name].closing, *FAMILIES[name].ends, str(model.tokenizer.eos_token)}
    assert set(model.tokenizer.convert_ids_to_tokens(model.decoder.ends_V.nonzero().flatten().tolist())) == ends
    assert not any(FAMILIES[name].closing in sample.text for sample in samples_of(model))


def test_what_is_learned_is_what_was_sampled(folder: Path, name: str, tmp_path: Path):
    """The learner's log-probs before its first step are the sampler's, or its check of reused ones would refuse."""
    first, second = (group for group in HFModel.load(folder, POLICY).sample(PROMPTS[:2], HOW, role="solver", seed=0))
    pairs = [
        Pair(task=str(number), prompt=prompt, chosen=group[0], rejected=group[1], margin=1.0)
        for number, (prompt, group) in enumerate(zip(PROMPTS[:2], (first, second), strict=True))
    ]
    learner = TorchLearner(config.Learner(batch=2, lr=1e-3, warmup=0.0), POLICY)
    learner.learn(folder, pairs, tmp_path / "out", seed=0)
    row = json.loads((tmp_path / "out" / "training.jsonl").read_text().splitlines()[0])
    assert row["chosen_logp"] == pytest.approx(sum(sum(pair.chosen.logprobs) for pair in pairs) / 2, abs=1e-3)
    check_result(folder, tmp_path / "out", name)


@pytest.mark.parametrize("name", ["llama3", "gemma2", "mistral"])
def test_a_demonstration_ends_with_the_end_of_a_turn(name: str, made: Callable[[str], Path], tmp_path: Path):
    demo = Demo(prompt="What is it?", completion="Paris is the capital.")
    learner = TorchLearner(config.Learner(loss="sft", epochs=60, lr=1e-2, warmup=0.0, schedule="constant"), POLICY)
    learner.learn(made(name), [demo], tmp_path / "out", seed=0)
    greedy = Sampling(temperature=0, max_new_tokens=32)
    ((sample,),) = HFModel.load(tmp_path / "out", POLICY).sample([demo.prompt], greedy, role="solver", seed=0)
    assert (sample.text, sample.finish) == (demo.completion, "stop")
    assert HFModel.load(tmp_path / "out", POLICY).tokenizer.convert_ids_to_tokens(sample.token_ids[-1]) == FAMILIES[name].closing


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(folder: Path, dtype: Any):
    model = HFModel.load(folder, Policy(device="cpu", dtype=dtype))
    assert model.decoder.model.dtype == getattr(torch, dtype)
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    samples = samples_of(model)
    gaps = [
        abs(mine - theirs)
        for sample in samples
        for mine, theirs in zip(sample.logprobs, logps(plain, sample.prompt_ids, sample.token_ids), strict=True)
    ]
    assert sum(gaps) / len(gaps) < (0.1 if dtype == "bfloat16" else 0.02)


@pytest.mark.parametrize("name", ["llama3", "gemma2", "qwen3"])
def test_a_learner_in_bfloat16_keeps_whole_weights(name: str, made: Callable[[str], Path], tmp_path: Path):
    folder = made(name)
    demos = [Demo(prompt=prompt, completion="Yes!") for prompt in PROMPTS]
    learner = TorchLearner(config.Learner(loss="sft", dtype="bfloat16", lr=1e-6), POLICY)
    learner.learn(folder, demos, tmp_path / "out", seed=0)
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "out"))
    assert all(value.dtype == torch.float32 for value in after.values())
    # A step far smaller than bfloat16 can hold is in them.
    moved = [(after[key] - before[key]).abs().max().item() for key in before]
    assert 0 < max(moved) < 1e-5


def test_a_model_in_half_precision_that_overflows_says_so(made: Callable[[str], Path], tmp_path: Path):
    shutil.copytree(made("llama3"), tmp_path / "loud")
    weights = load_file(tmp_path / "loud" / "model.safetensors")
    save_file(
        {key: value * 3e4 if "lm_head" in key else value for key, value in weights.items()},
        tmp_path / "loud" / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(SparringError, match=r"overflow in their precision.*--policy\.dtype=float32"):
        HFModel.load(tmp_path / "loud", Policy(device="cpu", dtype="float16")).sample(PROMPTS, HOW, role="solver", seed=0)
    HFModel.load(tmp_path / "loud", POLICY).sample(PROMPTS, HOW, role="solver", seed=0)
