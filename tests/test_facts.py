"""What is known of a checkpoint that nobody has loaded, against the checkpoint when it is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.cache_utils import DynamicCache

from sparring.errors import SparringError
from sparring.models.facts import INDEX, policy_facts, weight_files
from tests.families import FAMILIES, OTHERS, save_family
from tests.tiny import save_tiny


@pytest.mark.parametrize("name", [*FAMILIES, *OTHERS])
def test_the_facts_are_those_of_the_loaded_model(name: str, tmp_path: Path):
    folder = save_family(tmp_path, name) if name in FAMILIES else save_tiny(tmp_path, name, **OTHERS[name])
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    saved = {id(value) for value in model.state_dict(keep_vars=True).values()}
    facts = policy_facts(folder)
    cache: Any = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(torch.tensor([[7, 8, 9]]), past_key_values=cache, use_cache=True)
    kept = sum(states.numel() for layer in cache.layers for states in (layer.keys, layer.values) if states is not None)
    assert facts.key_values == kept // 3
    assert facts.cache_bytes(100, "bfloat16") == 200 * facts.key_values
    assert facts.parameters == sum(value.numel() for value in {*model.parameters(), *model.buffers()} if id(value) in saved)
    assert facts.bytes_in("float32") == facts.weight_bytes == 4 * facts.parameters
    assert facts.disk_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert facts.family == model.config.model_type
    assert (facts.layers, facts.hidden) == (model.config.num_hidden_layers, model.config.hidden_size)
    assert facts.vocabulary == model.config.vocab_size
    assert facts.positions == (None if name == "bloom" else model.config.max_position_embeddings)
    assert facts.tied == (model.get_output_embeddings().weight is model.get_input_embeddings().weight)
    assert facts.has_template == (name in OTHERS or FAMILIES[name].template is not None)
    assert facts.quantised == ""


def test_half_precision_is_half_the_bytes(tmp_path: Path):
    folder = save_family(tmp_path, "llama3")
    whole = policy_facts(folder)
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    half = policy_facts(folder)
    assert (half.parameters, half.weight_bytes) == (whole.parameters, whole.weight_bytes // 2)


def test_a_model_that_also_sees_is_counted_by_its_language_part(tmp_path: Path):
    folder = save_family(tmp_path, "llama3")
    facts = policy_facts(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({"model_type": "two", "text_config": config, "vision_config": {"hidden_size": 7}})
    )
    assert policy_facts(folder).key_values == facts.key_values
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "awq"}}))
    assert policy_facts(folder).quantised == "awq"


def test_neither_torch_nor_transformers_is_loaded():
    program = (
        "import sys; from pathlib import Path; from sparring.models.facts import policy_facts; import sparring.models.folders;"
        "policy_facts(Path('sparring/worlds/words_tiny')); assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(tmp_path_factory.mktemp("whole"), "llama3", shard="30KB")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_a_download_that_stopped_is_noticed(folder: Path):
    part = weight_files(folder)[0]
    content = part.read_bytes()
    part.write_bytes(content[:-7])
    with pytest.raises(
        SparringError, match=rf"{part.name} is no whole safetensors file: it has {len(content) - 7} bytes and should have"
    ):
        policy_facts(folder)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it has 0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "should come first; .*git lfs pull"),
        (b"\x02" + bytes(7) + b"[]", "its header is no object"),
        (b"\x02" + bytes(7) + b"{,", "its header cannot be read"),
        (b"\x07" + bytes(7) + b'{"a":1}', "its header names no places"),
        (b"\x25" + bytes(7) + b'{"a":{"data_offsets":[0,0],"shape":1}}'[:37], "its header cannot be read"),
    ],
)
def test_a_file_that_holds_no_tensors(folder: Path, content: bytes, told: str):
    part = weight_files(folder)[0]
    part.write_bytes(content)
    with pytest.raises(SparringError, match=told):
        policy_facts(folder)


def test_a_header_that_lies_is_noticed(folder: Path):
    part = weight_files(folder)[0]
    save_file({"a": torch.ones(6)}, part)
    content = part.read_bytes()
    part.write_bytes(content.replace(b"[6]", b"[7]"))
    with pytest.raises(SparringError, match="'a' has 24 bytes for 7 numbers of F32"):
        policy_facts(folder)
    part.write_bytes(content.replace(b"[6]", b'"6'))
    with pytest.raises(SparringError, match=r"cannot be read|has no shape"):
        policy_facts(folder)


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none(folder: Path, index: str):
    (folder / INDEX).write_text(index)
    with pytest.raises(SparringError, match=rf"{INDEX} is damaged: .*fetch the checkpoint again"):
        policy_facts(folder)


@pytest.mark.parametrize("name", ["../stolen.safetensors", "/etc/passwd", "sub/a.safetensors", ".."])
def test_an_index_stays_in_its_folder(folder: Path, name: str):
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(SparringError, match="which is not beside it"):
        weight_files(folder)


def test_a_config_that_says_too_little(folder: Path):
    (folder / "config.json").write_text('{"hidden_size": 8, "num_hidden_layers": true}')
    with pytest.raises(SparringError, match="says no num_hidden_layers"):
        policy_facts(folder)
    (folder / "config.json").unlink()
    with pytest.raises(SparringError, match=r"config\.json cannot be read: No such file"):
        policy_facts(folder)


def test_no_weights_at_all(folder: Path):
    (folder / INDEX).unlink()
    with pytest.raises(SparringError, match=rf"has neither model\.safetensors nor {INDEX}"):
        weight_files(folder)
