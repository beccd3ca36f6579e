"""Checkpoint folders in the formats of real families: fetched, merged, refused."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparring import config
from sparring.config import Policy
from sparring.errors import SparringError
from sparring.game import Demo
from sparring.learners.checkpoint import load_policy
from sparring.learners.train import TorchLearner
from sparring.models.facts import policy_facts, weight_files
from sparring.models.folders import check_policy, fetch_policy, resolve_policy
from sparring.models.hf import HFModel
from tests.families import (
    BASES,
    FAMILIES,
    HOW,
    PLAIN,
    POLICY,
    PROMPTS,
    check_result,
    first_policy,
    logps,
    samples_of,
    save_family,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``first_policy`` of a family, made once."""
    return cache(lambda name: first_policy(tmp_path_factory.mktemp(name), name))


# ---------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize("name", ["llama3", "qwen2"])
def test_a_checkpoint_in_parts(name: str, tmp_path: Path):
    source = save_family(tmp_path / "source", name, shard="30KB")
    parts = weight_files(source)
    assert len(parts) > 2
    (source / "consolidated.safetensors").write_bytes(b"the same weights in another layout")
    (source / "optimizer.bin").write_bytes(b"a pickle")
    fetch_policy(str(source), tmp_path / "policy")
    copied = {path.name for path in (tmp_path / "policy").iterdir()}
    assert {path.name for path in parts} | {"model.safetensors.index.json"} <= copied
    assert not copied & {"consolidated.safetensors", "optimizer.bin"}
    whole = save_family(tmp_path / "whole", name)
    first, second = (samples_of(HFModel.load(each, POLICY)) for each in (tmp_path / "policy", whole))
    assert first == second
    load_policy(tmp_path / "policy")
    facts, other = policy_facts(source), policy_facts(whole)
    assert (facts.parameters, facts.weight_bytes) == (other.parameters, other.weight_bytes)
    parts[1].unlink()
    with pytest.raises(SparringError, match=rf"lacks {parts[1].name}, which model\.safetensors\.index\.json names; fetch"):
        fetch_policy(str(source), tmp_path / "again")


@pytest.mark.parametrize("name", ["qwen2", "gemma2", "opt"])
def test_a_tied_head_stays_tied(name: str, made: Callable[[str], Path], tmp_path: Path):
    demos = [Demo(prompt=prompt, completion="Yes!") for prompt in PROMPTS]
    TorchLearner(config.Learner(loss="sft", lr=1e-2), POLICY).learn(made(name), demos, tmp_path / "out", seed=0)
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert policy_facts(tmp_path / "out").tied
    assert policy_facts(tmp_path / "out").parameters == sum(value.numel() for value in model.parameters())


def test_other_templates_come_along(tmp_path: Path):
    source = save_family(tmp_path / "source", "llama3")
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.chat_template = {"default": tokenizer.chat_template, "tool_use": PLAIN}
    tokenizer.save_pretrained(source)
    fetch_policy(str(source), tmp_path / "policy")
    assert AutoTokenizer.from_pretrained(tmp_path / "policy").chat_template == tokenizer.chat_template


def test_a_template_in_the_tokenizers_settings(tmp_path: Path):
    """Where it was before it had a file of its own."""
    source = save_family(tmp_path / "source", "qwen2")
    (source / "chat_template.jinja").unlink()
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": FAMILIES["qwen2"].template}))
    fetch_policy(str(source), tmp_path / "policy")
    assert samples_of(HFModel.load(tmp_path / "policy", POLICY))
    (tmp_path / "own.jinja").write_text(PLAIN)
    fetch_policy(str(source), tmp_path / "other", str(tmp_path / "own.jinja"))
    assert AutoTokenizer.from_pretrained(tmp_path / "other").chat_template == PLAIN
    assert "chat_template" not in json.loads((tmp_path / "other" / "tokenizer_config.json").read_text())


@pytest.mark.parametrize("name", BASES)
def test_a_model_without_a_template(name: str, tmp_path: Path):
    source = save_family(tmp_path / "source", name)
    with pytest.raises(
        SparringError, match=r"policy\.path = .*has no chat template.*--policy\.chat_template=chat_template\.jinja"
    ):
        fetch_policy(str(source), tmp_path / "policy")
    assert not (tmp_path / "policy").exists()
    with pytest.raises(SparringError, match="has no chat template"):
        check_policy(str(source))
    with pytest.raises(SparringError, match="has no chat template"):
        HFModel.load(source, POLICY)
    (tmp_path / "plain.jinja").write_text(PLAIN)
    given = Policy(device="cpu", chat_template=str(tmp_path / "plain.jinja"))
    fetch_policy(str(source), tmp_path / "policy", given.chat_template)
    assert samples_of(HFModel.load(source, given)) == samples_of(HFModel.load(tmp_path / "policy", POLICY))


def test_a_given_template_teaches_everyone_its_end(tmp_path: Path):
    source = save_family(tmp_path / "source", "qwen2")
    generation = json.loads((source / "generation_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(source)
    outer = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    (source / "generation_config.json").write_text(json.dumps({**generation, "eos_token_id": outer}))  # a base model
    (source / "chat_template.jinja").unlink()
    (tmp_path / "chatml.jinja").write_text(str(FAMILIES["qwen2"].template))
    fetch_policy(str(source), tmp_path / "policy", str(tmp_path / "chatml.jinja"))
    ends = json.loads((tmp_path / "policy" / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [outer, tokenizer.convert_tokens_to_ids("<|im_end|>")]


@pytest.mark.parametrize(("text", "told"), [(None, "cannot be read"), (b"\xff", "cannot be read"), (b" \n", "is empty")])
def test_a_template_file_that_is_none(text: bytes | None, told: str, tmp_path: Path, made: Callable[[str], Path]):
    if text is not None:
        (tmp_path / "a.jinja").write_bytes(text)
    with pytest.raises(SparringError, match=rf"policy\.chat_template = .*a\.jinja' {told}"):
        fetch_policy(str(made("llama3")), tmp_path / "policy", str(tmp_path / "a.jinja"))


def test_a_given_template_that_cannot_be_used_begins_nothing(tmp_path: Path, made: Callable[[str], Path]):
    (tmp_path / "a.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(SparringError, match="cannot render a single user turn"):
        fetch_policy(str(made("llama3")), tmp_path / "policy", str(tmp_path / "a.jinja"))
    assert not (tmp_path / "policy").exists()


# ---------------------------------------------------------------------------------------------- adapters


def save_adapter(base: Path, folder: Path, named: str | None = None, **settings: Any) -> Path:
    torch.manual_seed(1)
    how = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name
        model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base), how)
    for key, value in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(value, std=0.1)
    model.save_pretrained(folder)
    change(folder / "adapter_config.json", base_model_name_or_path=str(base) if named is None else named)
    return folder


@pytest.mark.parametrize("name", ["llama3", "qwen2", "gpt_neox"])
def test_an_adapter_is_merged_into_its_model(name: str, made: Callable[[str], Path], tmp_path: Path):
    base = made(name)
    adapter = save_adapter(base, tmp_path / "adapter")
    assert not (adapter / "config.json").exists()
    assert resolve_policy(str(adapter)) == adapter
    assert check_policy(str(adapter)) == (adapter, base)
    fetch_policy(str(adapter), tmp_path / "policy")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "policy").eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        wrapped = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).eval()
    plain = AutoModelForCausalLM.from_pretrained(base).eval()
    prompt, answer = (7, 8, 9, 10), (11, 12, 13)
    assert logps(merged, prompt, answer) == pytest.approx(logps(wrapped, prompt, answer), abs=1e-4)
    assert logps(merged, prompt, answer) != pytest.approx(logps(plain, prompt, answer), abs=1e-2)
    check_result(base, tmp_path / "policy", name)
    direct = HFModel.load(adapter, POLICY)
    assert [s.token_ids for s in samples_of(direct)] == [
        s.token_ids for s in samples_of(HFModel.load(tmp_path / "policy", POLICY))
    ]
    assert HFModel.load(adapter, Policy(device="cpu", dtype="bfloat16")).decoder.model.dtype == torch.bfloat16


def test_an_adapter_may_lie_beside_its_model(made: Callable[[str], Path], tmp_path: Path):
    shutil.copytree(made("qwen2"), tmp_path / "adapter" / "base")
    save_adapter(made("qwen2"), tmp_path / "adapter", named="base")
    fetch_policy(str(tmp_path / "adapter"), tmp_path / "policy")
    assert samples_of(HFModel.load(tmp_path / "policy", POLICY))


def test_an_adapter_that_cannot_be_merged(made: Callable[[str], Path], tmp_path: Path):
    base = made("llama3")
    adapter = save_adapter(base, tmp_path / "adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text())

    def refused(**changes: Any) -> str:
        (adapter / "adapter_config.json").write_text(json.dumps({**settings, **changes}))
        with pytest.raises(SparringError) as raised:
            fetch_policy(str(adapter), tmp_path / "policy")
        assert not (tmp_path / "policy").exists()
        return str(raised.value)

    assert "there is no such folder" in refused(base_model_name_or_path="/no/where")
    assert "names no base_model_name_or_path" in refused(base_model_name_or_path=None)
    assert "an adapter of type PREFIX_TUNING" in refused(peft_type="PREFIX_TUNING")
    assert "is an adapter itself" in refused(base_model_name_or_path=str(save_adapter(base, tmp_path / "other")))
    assert "cannot be merged" in refused(r=8)
    assert "have no counterpart" in refused(target_modules=["q_proj"])
    assert "cannot be merged" in refused(base_model_name_or_path=str(made("gpt_neox")))
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    assert "without adapter_model.safetensors" in refused()


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.fixture
def broken(made: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made("llama3"), tmp_path / "broken"))


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"model_type": "own", "auto_map": {"AutoConfig": "a.B"}},
            r"brings code of its own \(auto_map\), which is never run.*vLLM",
        ),
        ({"model_type": "zzz"}, r"type zzz cannot be used: .*newer transformers"),
        (
            {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
            "holds a T5ForConditionalGeneration, which is no",
        ),
        ({"architectures": ["LlamaForSequenceClassification"]}, "holds a LlamaForSequenceClassification, which is no"),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            r"is quantised \(gptq\).*the checkpoint that it was made from",
        ),
        ({"hidden_size": "large"}, r"config\.json of type llama cannot be used"),
    ],
)
def test_a_model_that_is_none_of_ours(broken: Path, tmp_path: Path, changes: dict[str, Any], told: str):
    (broken / "a.py").write_text("raise SystemExit('run')")
    change(broken / "config.json", **changes)
    with pytest.raises(SparringError, match=f"(?s){told}"):
        fetch_policy(str(broken), tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_code_beside_a_model_that_transformers_has_is_left_alone(broken: Path, tmp_path: Path):
    (broken / "a.py").write_text("raise SystemExit('run')")
    change(broken / "config.json", auto_map={"AutoConfig": "a.B", "AutoModelForCausalLM": "a.C"})
    fetch_policy(str(broken), tmp_path / "policy")
    assert samples_of(HFModel.load(tmp_path / "policy", POLICY))
    assert not (tmp_path / "policy" / "a.py").exists()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", "{"),
        ("config.json", "[]"),
        ("tokenizer.json", "{"),
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "["),
        ("generation_config.json", "{"),
        ("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
    ],
)
def test_a_damaged_file_is_an_error_that_says_where(broken: Path, file: str, text: str):
    (broken / file).write_text(text)
    with pytest.raises(SparringError, match=str(broken)):
        HFModel.load(broken, POLICY)


def test_a_tokenizer_with_more_tokens_than_the_model(broken: Path):
    tokenizer = AutoTokenizer.from_pretrained(broken)
    tokenizer.add_tokens([f"<{number}>" for number in range(9)])
    tokenizer.save_pretrained(broken)
    model = HFModel.load(broken, POLICY)
    assert samples_of(model)
    with pytest.raises(SparringError, match=r"the prompt 'Say <8>' has the token \d+ \('<8>'\).*resize_token_embeddings"):
        model.sample(["Say <8>"], HOW, role="solver", seed=0)


def test_a_tokenizer_that_cuts_and_pads_on_its_own(broken: Path):
    """Settings in tokenizer.json that other tools leave there."""
    before = samples_of(HFModel.load(broken, POLICY))
    cut = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    pad = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 381, "pad_type_id": 0}
    change(broken / "tokenizer.json", truncation=cut, padding={**pad, "pad_token": "<|end_of_text|>"})
    change(broken / "tokenizer_config.json", model_max_length=4)
    assert samples_of(HFModel.load(broken, POLICY)) == before


def test_ends_that_are_no_tokens(broken: Path):
    change(broken / "generation_config.json", eos_token_id=[-1, 10**6])
    model = HFModel.load(broken, POLICY)
    named = set(model.tokenizer.convert_ids_to_tokens(model.decoder.ends_V.nonzero().flatten().tolist()))
    assert named == {"<|end_of_text|>", "<|eot_id|>"}
