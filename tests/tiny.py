"""Tiny random checkpoints with a word tokenizer and a chat template, for tests of anything that loads a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<eos>", "<unk>", "<user>", "<assistant>")
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<assistant>{{ m.content }}<eos>"
    "{% else %}<user>{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_SHARED = {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None}
_KINDS: dict[str, dict[str, Any]] = {
    "llama": {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512},
    "qwen2": {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512},
    "mistral": {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512, "sliding_window": 8},
    "gpt2": {"n_positions": 512},
}


def tiny_tokenizer(vocab: int = 64) -> PreTrainedTokenizerFast:
    """Words w0, w1, ... and single spaces, each one token; ``decode`` joins tokens as they are."""
    words = [*SPECIAL, " ", *(f"w{index}" for index in range(vocab - len(SPECIAL) - 1))]
    core = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = Split(Regex(r" |[^ ]+"), "isolated")
    core.decoder = Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<assistant>"],
        padding_side="left",
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def save_tiny(folder: Path, kind: str = "llama", vocab: int = 64, seed: int = 0, **changes: Any) -> Path:
    """A two-layer random model of architecture ``kind`` saved in ``folder``; its distribution is far from uniform."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.3}
    config = AutoConfig.for_model(kind, vocab_size=vocab, **{**_SHARED, **sizes, **_KINDS.get(kind, {}), **changes})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tiny_tokenizer(vocab).save_pretrained(folder)
    return folder
