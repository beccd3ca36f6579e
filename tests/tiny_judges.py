"""Tiny random reward models in the formats that the real ones are published in.

Their tokenizers know every byte (or, for PairRM, the letters of a unigram vocabulary), so that any text can be put to them.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    DebertaV2Model,
    DebertaV2Tokenizer,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
)

LLAMA_SPECIAL = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")
LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}


def llama_tokenizer(pad: bool = False, padding_side: str = "right") -> PreTrainedTokenizerFast:
    """Bytes and Llama 3's control tokens; as there, the tokenizer adds a BOS by itself and no pad token is named."""
    alphabet = sorted(ByteLevel.alphabet())
    core = Tokenizer(BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer = ByteLevel(add_prefix_space=False)
    core.decoder = ByteLevelDecoder()
    core.add_special_tokens([AddedToken(token, special=True) for token in (*LLAMA_SPECIAL, *(("<|pad|>",) if pad else ()))])
    bos = LLAMA_SPECIAL[0]
    core.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))])
    names: dict[str, Any] = {"pad_token": "<|pad|>"} if pad else {}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=bos, eos_token="<|eot_id|>", padding_side=padding_side, **names
    )
    tokenizer.chat_template = LLAMA_TEMPLATE
    return tokenizer


def save_classifier(folder: Path, kind: str = "llama", seed: int = 0, pad: bool = False, **changes: Any) -> Path:
    """A sequence classifier with one label and its tokenizer, as a Skywork-Reward model is saved."""
    torch.manual_seed(seed)
    tokenizer = llama_tokenizer(pad)
    ends = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": tokenizer.pad_token_id}
    settings = {**SIZES, **ends, "vocab_size": len(tokenizer), "num_labels": 1, "max_position_embeddings": 2048, **changes}
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **settings))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_writer(folder: Path, positions: int = 8192) -> Path:
    """A causal language model that reads any text, a token to a byte."""
    torch.manual_seed(0)
    tokenizer = llama_tokenizer(pad=True)
    ends = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 260}
    config = AutoConfig.for_model("llama", **SIZES, **ends, vocab_size=len(tokenizer), max_position_embeddings=positions)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_armorm(folder: Path, seed: int = 0, objectives: int = 5) -> Path:
    """A checkpoint with the keys and configuration of RLHFlow/ArmoRM-Llama3-8B-v0.1, heads in float32 and the rest in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    tokenizer = llama_tokenizer(pad=True)
    settings = {**SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 2048, "num_labels": 1}
    config = LlamaConfig(**settings, bos_token_id=256, eos_token_id=257, pad_token_id=260)
    weights = {f"model.{name}": value.bfloat16() for name, value in LlamaModel(config).state_dict().items()}
    size, hidden = config.hidden_size, 16

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.5

    weights["regression_layer.weight"] = normal(objectives, size)
    weights["reward_transform_matrix"] = torch.eye(objectives) + 0.1 * normal(objectives, objectives)
    weights["gating.logit_scale"] = torch.tensor([1.5])
    for number, (before, after) in enumerate([(size, hidden), (hidden, hidden), (hidden, objectives)]):
        weights[f"gating.layers.{number}.weight"] = normal(after, before)
        weights[f"gating.layers.{number}.bias"] = normal(after)
    own = {
        "architectures": ["LlamaForRewardModelWithGating"],
        "auto_map": {"AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"},
        "num_objectives": objectives,
        "gating_temperature": 2,
        "gating_hidden_dim": hidden,
        "gating_n_hidden": 2,
    }
    write(folder, {**config.to_dict(), **own}, weights, tokenizer)
    return folder


def pairrm_tokenizer() -> DebertaV2Tokenizer:
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "▁", *string.ascii_letters, *string.digits, *string.punctuation]
    tokenizer = DebertaV2Tokenizer(vocab=[(piece, 0.0 if piece[0] == "[" else -5.0) for piece in dict.fromkeys(pieces)], unk_id=3)
    tokenizer.add_tokens(["<|source|>", "<|candidate1|>", "<|candidate2|>", "<|candidate|>"])
    return tokenizer


def save_pairrm(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A checkpoint with the keys and configuration of llm-blender/PairRM-hf."""
    torch.manual_seed(seed)
    tokenizer = pairrm_tokenizer()
    version3: dict[str, Any] = {
        "relative_attention": True,
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
    }
    config = DebertaV2Config(**SIZES, **version3, vocab_size=len(tokenizer), max_position_embeddings=64, pad_token_id=0)
    weights = {f"pretrained_model.{name}": value for name, value in DebertaV2Model(config).state_dict().items()}
    size = config.hidden_size
    weights |= {"head_layer.1.weight": torch.randn(size, 2 * size) * 0.3, "head_layer.1.bias": torch.randn(size) * 0.3}
    weights |= {"head_layer.4.weight": torch.randn(1, size), "head_layer.4.bias": torch.randn(1)}
    own = {
        "architectures": ["DebertaV2PairRM"],
        "n_tasks": 1,
        "drop_out": 0.05,
        "source_prefix_id": tokenizer.convert_tokens_to_ids("<|source|>"),
        "cand1_prefix_id": tokenizer.convert_tokens_to_ids("<|candidate1|>"),
        "cand2_prefix_id": tokenizer.convert_tokens_to_ids("<|candidate2|>"),
        "cand_prefix_id": tokenizer.convert_tokens_to_ids("<|candidate|>"),
    }
    write(folder, {**config.to_dict(), **own, **changes}, weights, tokenizer)
    return folder


def write(folder: Path, config: dict[str, Any], weights: dict[str, torch.Tensor], tokenizer: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save_pretrained(folder)
