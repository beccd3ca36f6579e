"""No reward model is loaded by halves, from pickles, or with code of its own; what is refused says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from sparring.config import Member
from sparring.errors import SparringError
from sparring.judges.loading import open_checkpoint
from tests.reward_judges import LOADERS, faults, load
from tests.tiny import save_tiny
from tests.tiny_judges import save_classifier, save_pairrm


def refusal(kind: Any, path: Path | str, **changes: Any) -> str:
    with pytest.raises(SparringError) as raised:
        LOADERS[kind][0].load(Member(kind=kind, path=str(path), **changes), "judge.members[1].path")
    return str(raised.value)


HEADS = {
    "reward_model": ["score.weight"],
    "armorm": ["regression_layer.weight", "gating.logit_scale", "gating.layers.1.bias", "reward_transform_matrix"],
    "pairrm": ["head_layer.1.weight", "head_layer.4.bias"],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in HEADS.items() for name in names])
def test_a_head_that_is_missing_is_never_drawn_at_random(tmp_path: Path, kind: str, name: str):
    path = LOADERS[kind][1](tmp_path)
    weights = load_file(path / "model.safetensors")
    del weights[name]
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    told = refusal(kind, path)
    assert told.startswith(f"judge.members[1].path = '{path}': the weights do not fit a {kind} (missing_keys ['{name}'])")
    assert "would be drawn at random" in told


@pytest.mark.parametrize("kind", list(LOADERS))
def test_weights_that_belong_nowhere_or_have_another_shape(tmp_path: Path, kind: str):
    path = LOADERS[kind][1](tmp_path)
    weights = load_file(path / "model.safetensors")
    save_file({**weights, "v_head.summary.weight": torch.zeros(1)}, path / "model.safetensors", {"format": "pt"})
    assert "unexpected_keys ['v_head.summary.weight']" in refusal(kind, path)
    save_file({**weights, HEADS[kind][0]: torch.zeros(3, 7)}, path / "model.safetensors", {"format": "pt"})
    assert HEADS[kind][0] in refusal(kind, path) or "mismatch" in refusal(kind, path)


def edit(path: Path, **changes: Any) -> Path:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))
    return path


def test_a_causal_language_model_is_no_reward_model(tmp_path: Path):
    path = save_tiny(tmp_path)
    assert "is a causal language model (LlamaForCausalLM) and has no reward head; give a reward model" in refusal(
        "reward_model", path
    )
    assert "missing_keys ['score.weight']" in refusal("reward_model", edit(path, architectures=None, num_labels=1))


def test_a_classifier_of_several_labels(tmp_path: Path):
    path = save_classifier(tmp_path, num_labels=3)
    assert "is a classifier of 3 labels; a reward model has one (num_labels 1)" in refusal("reward_model", path)


@pytest.mark.parametrize("given", list(LOADERS))
def test_a_model_of_another_kind_names_its_kind(tmp_path: Path, given: str):
    path = LOADERS[given][1](tmp_path)
    for kind in LOADERS.keys() - {given}:
        assert f'which judge.kind = "{kind}" cannot read; set judge.kind = "{given}"' in refusal(kind, path)


def test_a_model_that_needs_its_own_code(tmp_path: Path):
    path = save_classifier(tmp_path)
    (path / "modeling_own.py").write_text("raise SystemExit('this code ran')")
    auto_map = {"AutoConfig": "modeling_own.Own", "AutoModelForSequenceClassification": "modeling_own.Own"}
    edit(path, model_type="own", architectures=["OwnRewardModel"], auto_map=auto_map)
    assert "code from a checkpoint is never run" in refusal("reward_model", path)


def test_pickled_weights_are_not_read(tmp_path: Path):
    path = save_classifier(tmp_path)
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    assert "is no checkpoint with safetensors" in refusal("reward_model", path)
    assert "save_pretrained of a reward model and of its tokenizer write all of it" in refusal("reward_model", path)


def test_a_ranker_of_the_other_package_names_its_twin(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"ranker_type": "pairranker", "model_type": "deberta"}))
    assert "take llm-blender/PairRM-hf, which has the same weights" in refusal("pairrm", tmp_path)


def test_paths_that_lead_nowhere(tmp_path: Path):
    assert "judge.members[1].path is empty" in refusal("reward_model", "")
    assert "there is no such folder; give a checkpoint folder or a hub name" in refusal("armorm", tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    assert "is not JSON" in refusal("reward_model", tmp_path)
    (tmp_path / "config.json").write_text("[]")
    assert "holds a list, not an object" in refusal("reward_model", tmp_path)


def test_a_name_on_the_hub_is_downloaded_without_pickles_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    asked: dict[str, Any] = {}
    path = save_classifier(tmp_path / "cache")

    def download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    assert open_checkpoint(Member(kind="reward_model", path="somebody/model"), online=False).folder == path
    assert (asked["name"], asked["local_files_only"]) == ("somebody/model", True)
    assert not {"*", "*.bin", "*.py", "*.pt"} & set(asked["allow_patterns"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(tmp_path: Path):
    path = save_classifier(tmp_path)
    assert 'judge.device = "cuda", and PyTorch sees no such device' in refusal("reward_model", path, device="cuda")


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (None, "has no chat template"),
        ("{{ raise_exception('no') }}", "the chat template fails"),
        ("{{ messages[0].content }}", "does not show a user turn and then the answer"),
        ("{{ messages[1].content }}{{ messages[0].content }}", "does not show a user turn and then the answer"),
    ],
)
def test_a_template_that_does_not_serve(tmp_path: Path, template: str | None, told: str):
    path = save_classifier(tmp_path)
    (path / "chat_template.jinja").unlink()
    if template is not None:
        (path / "chat_template.jinja").write_text(template)
    assert told in refusal("reward_model", path)


def test_a_tokenizer_of_another_model(tmp_path: Path):
    path = save_classifier(tmp_path, vocab_size=257)
    assert "the chat template uses token 258 and the model has 257 tokens" in refusal("reward_model", path)
    pairrm = edit(save_pairrm(tmp_path / "pairrm"), cand2_prefix_id=5)
    assert "the tokenizer reads <|candidate2|> as" in refusal("pairrm", pairrm)
    (path / "tokenizer.json").write_text("{}")
    assert "the tokenizer cannot be loaded" in refusal("reward_model", path)


def test_a_token_that_the_model_lacks_is_a_fault_of_the_answer(tmp_path: Path):
    path = save_classifier(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(path)
    told = "the tokenizer's token 260 is not among the model's 260"
    assert faults(load("reward_model", path), "a zebra", "a horse") == [told, None]
