"""The architecture of policies that are made here, with random weights: a Llama, of about a million parameters unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Sizes of a network; ``hidden`` is divided among ``heads``, an even number for each (rotary positions turn pairs)."""

    hidden: int = 128
    layers: int = 4
    heads: int = 4


TINY = Shape()


def save_tiny(folder: Path, tokenizer: PreTrainedTokenizerFast, *, positions: int, seed: int, shape: Shape = TINY) -> None:
    """Random weights for ``tokenizer``, and the tokenizer, as ordinary Hugging Face files.

    About (vocabulary + 13 x layers x hidden) x hidden parameters: a layer has four square matrices for attention and three of three
    times that size.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=3 * shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=positions,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.get_vocab()[str(tokenizer.eos_token)],
        pad_token_id=tokenizer.get_vocab()[str(tokenizer.pad_token)],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
