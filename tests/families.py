"""Tiny checkpoints in the formats of real families: their configurations, their kinds of tokenizer, their ways of chatting."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from sparring.config import Policy
from sparring.data import encode_completion, encode_prompt
from sparring.game import Sample, Sampling
from sparring.models.folders import fetch_policy
from sparring.models.hf import HFModel

CORPUS = [
    "What is the capital of France? Paris is the capital of France, a country in the west of Europe.",
    "Write a haiku about the sea in autumn. Grey waves fold slowly, the gulls have gone.",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))",
    "1 2 3 4 5 6 7 8 9 0, and so on; isn't it? Yes! No: never.",
    "[INST] <|user|> </s> [/INST] Q: A: <start_of_turn> {} #",
    "Ça va? Größe, naïve, 東京, 🙂.",
] * 3


def byte_level(special: Sequence[str]) -> Tokenizer:
    """As GPT-2, Llama 3 and Qwen have it: bytes as letters, merged within words."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=380, special_tokens=[], initial_alphabet=alphabet))  # pyright: ignore[reportCallIssue]
    core.add_special_tokens(list(special))
    return core


def pieces(special: Sequence[str]) -> Tokenizer:
    """As Gemma has it: spaces are letters, rare letters are bytes, and nothing is put before a text."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    first = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    core.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=520, special_tokens=first, max_token_length=12))  # pyright: ignore[reportCallIssue]
    # The trainer calls all of them special; to the real tokenizer bytes are tokens like any other.
    plain = json.loads(core.to_str())
    plain["added_tokens"] = [token for token in plain["added_tokens"] if not token["content"].startswith("<0x")]
    core = Tokenizer.from_str(json.dumps(plain))
    core.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>", *special])
    return core


def unigram(special: Sequence[str]) -> Tokenizer:
    """As sentencepiece's unigram models are, with a space put before the first word of a text."""
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    core.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="first")
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>")  # pyright: ignore[reportCallIssue]
    core.train_from_iterator(CORPUS, trainer)
    core.add_special_tokens(list(special))
    return core


@dataclass(frozen=True, kw_only=True)
class Family:
    kind: str
    """The model type."""
    core: Callable[[Sequence[str]], Tokenizer]
    special: tuple[str, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    """The tokenizer's named special tokens."""
    template: str | None = None
    closing: str = ""
    """What ends an assistant's turn."""
    ends: tuple[str, ...] = ()
    """What the generation config ends answers with."""
    rest: str = ""
    """What the template writes after ``closing`` when nothing is asked for."""
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    bos_first: bool = False
    """Whether the tokenizer itself puts a BOS before every text, as do the template's own."""
    turns: tuple[str, ...] = ()
    """Added tokens that are not special."""


_HEADER = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
LLAMA3 = (
    "{{ bos_token }}{% set day = strftime_now('%d %b %Y') %}"
    + _HEADER.replace("m.role", "'system'")
    + "Today: {{ day }}\n\n<|eot_id|>{% for m in messages %}"
    + _HEADER
    + "{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    + _HEADER.replace("m.role", "'assistant'")
    + "{% endif %}"
)
CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = CHATML.replace(
    "{{ m.content }}", "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}"
    "{% endif %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
PHI3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ 'Q: ' if m.role == 'user' else 'A: ' }}{{ m.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
)
"""For models without a template of their own."""

_SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.3}
_GATED: dict[str, Any] = {**_SIZES, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 512}
_CHATML_TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
_GEMMA_TOKENS = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
_GEMMA_TURNS = ("<start_of_turn>", "<end_of_turn>")

FAMILIES: dict[str, Family] = {
    "llama3": Family(
        kind="llama",
        core=byte_level,
        special=("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        tokens={"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},  # and no padding token
        template=LLAMA3,
        closing="<|eot_id|>",
        ends=("<|end_of_text|>", "<|eot_id|>"),
        config={**_GATED, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
        bos_first=True,
    ),
    "qwen2": Family(
        kind="qwen2",
        core=byte_level,
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        tokens=_CHATML_TOKENS,
        template=CHATML,
        closing="<|im_end|>",
        ends=("<|im_end|>", "<|endoftext|>"),
        rest="\n",
        config={**_GATED, "tie_word_embeddings": True},
    ),
    "qwen3": Family(
        kind="qwen3",
        core=byte_level,
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        tokens=_CHATML_TOKENS,
        template=THINKING,
        closing="<|im_end|>",
        ends=("<|im_end|>", "<|endoftext|>"),
        rest="\n",
        config={**_GATED, "head_dim": 16, "tie_word_embeddings": True},
        turns=("<think>", "</think>"),
    ),
    "gemma2": Family(
        kind="gemma2",
        core=pieces,
        special=_GEMMA_TURNS,
        tokens=_GEMMA_TOKENS,
        template=GEMMA,
        closing="<end_of_turn>",
        ends=("<eos>",),  # as in the first releases, whose answers went on
        rest="\n",
        config={**_GATED, "head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16, "final_logit_softcapping": 5.0},
        bos_first=True,
    ),
    "gemma3": Family(
        kind="gemma3_text",
        core=pieces,
        special=_GEMMA_TURNS,
        tokens=_GEMMA_TOKENS,
        template=GEMMA,
        closing="<end_of_turn>",
        ends=("<eos>", "<end_of_turn>"),
        rest="\n",
        config={**_GATED, "head_dim": 16, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
        bos_first=True,
    ),
    "mistral": Family(
        kind="mistral",
        core=unigram,
        tokens={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
        template=INST,
        closing="</s>",
        ends=("</s>",),
        config={**_GATED, "sliding_window": 8},
        bos_first=True,
    ),
    "phi3": Family(
        kind="phi3",
        core=unigram,
        special=("<|endoftext|>", "<|assistant|>", "<|user|>", "<|end|>"),
        tokens={"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<unk>"},
        template=PHI3,
        closing="<|end|>",
        ends=("<|endoftext|>", "<|assistant|>", "<|end|>"),
        rest="\n<|endoftext|>",
        config={**_GATED, "num_key_value_heads": 4, "pad_token_id": 0},
    ),
    "gpt_neox": Family(
        kind="gpt_neox",
        core=byte_level,
        special=("<|endoftext|>",),
        tokens={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
        closing="<|endoftext|>",
        ends=("<|endoftext|>",),
        config={**_SIZES, "intermediate_size": 48, "max_position_embeddings": 512},
    ),
    "opt": Family(
        kind="opt",
        core=byte_level,
        special=("</s>",),
        tokens={"bos_token": "</s>", "eos_token": "</s>"},
        closing="</s>",
        ends=("</s>",),
        config={**_SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 512, "init_std": 0.3},
        bos_first=True,
    ),
    "bloom": Family(
        kind="bloom",
        core=byte_level,
        special=("</s>",),
        tokens={"eos_token": "</s>"},
        closing="</s>",
        ends=("</s>",),
        config={**_SIZES, "n_layer": 2, "n_head": 4},
    ),
}
"""``closing`` is with the template ``PLAIN`` where a family has none."""


def family_tokenizer(family: Family) -> PreTrainedTokenizerFast:
    core = family.core(family.special)
    core.add_tokens(list(family.turns))
    if family.bos_first:
        bos = family.tokens["bos_token"]
        core.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **family.tokens)
    tokenizer.chat_template = family.template
    return tokenizer


def save_family(folder: Path, name: str, shard: str = "5GB", seed: int = 0, **changes: Any) -> Path:
    """A random two-layer checkpoint of family ``name`` in ``folder``."""
    family = FAMILIES[name]
    tokenizer = family_tokenizer(family)
    torch.manual_seed(seed)
    ends = [tokenizer.convert_tokens_to_ids(end) for end in family.ends]
    # Real embeddings are padded to a round number; the tokens at the end stand for nothing.
    values = {
        "vocab_size": len(tokenizer) + 5,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": ends[0],
        "pad_token_id": None,
    }
    config = AutoConfig.for_model(family.kind, **{**values, **family.config, **changes})
    model = AutoModelForCausalLM.from_config(config)
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    model.save_pretrained(folder, max_shard_size=shard)
    tokenizer.save_pretrained(folder)
    return folder


OTHERS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48},
    "falcon": {"multi_query": True, "new_decoder_architecture": False},
    "deepseek_v3": {
        "q_lora_rank": 16, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6,
        "intermediate_size": 48, "moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
        "topk_group": 1, "first_k_dense_replace": 1,
    },
    "cohere": {"intermediate_size": 48, "num_key_value_heads": 2},
    "gpt_oss": {
        "intermediate_size": 32, "num_local_experts": 2, "num_experts_per_tok": 1, "num_key_value_heads": 2, "head_dim": 8,
        "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"],
    },
    "mixtral": {"intermediate_size": 48, "num_local_experts": 2, "num_key_value_heads": 2},
}  # fmt: skip
"""More architectures, by model type, for ``save_tiny``."""


# -- what is done with them ---------------------------------------------------------------------------------------------

POLICY = Policy(device="cpu")
PROMPTS = ["What is the capital of France?", "Why?", "1 2 3 4 5 6 7 8 9 0, and so on; isn't it?", "東京 🙂"]
HOW = Sampling(n=2, temperature=1.0, top_p=0.95, max_new_tokens=16)
BASES = [name for name, family in FAMILIES.items() if family.template is None]


def first_policy(root: Path, name: str) -> Path:
    """The first policy of a run that began with a family's checkpoint, with the explicit template where it needs one."""
    (root / "plain.jinja").write_text(PLAIN)
    source = save_family(root / "source", name)
    fetch_policy(str(source), root / "policy", str(root / "plain.jinja") if name in BASES else "")
    return root / "policy"


def logps(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> list[float]:
    """By one forward pass of transformers over one row without padding."""
    with torch.inference_mode():
        logp = model(torch.tensor([prompt + answer])).logits[0].float().log_softmax(-1)
    return [logp[len(prompt) - 1 + place, token].item() for place, token in enumerate(answer)]


def samples_of(model: HFModel) -> list[Sample]:
    return [sample for group in model.sample(PROMPTS, HOW, role="solver", seed=0) for sample in group]


def check_result(before: Path, after: Path, name: str) -> None:
    """The folder loads as any checkpoint does, and but for the weights it is the one that was learned from."""
    loaded: Any = AutoModelForCausalLM.from_pretrained(after, output_loading_info=True)
    model, report = loaded
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(model).__name__ == type(AutoModelForCausalLM.from_pretrained(before)).__name__
    assert not [path.name for path in after.iterdir() if path.suffix in (".bin", ".pt", ".py", ".pkl")]
    old, new = (json.loads((folder / "generation_config.json").read_text()) for folder in (before, after))
    assert {**old, "transformers_version": ""} == {**new, "transformers_version": ""}
    assert (before / "chat_template.jinja").read_text() == (after / "chat_template.jinja").read_text()
    theirs, ours = AutoTokenizer.from_pretrained(before), AutoTokenizer.from_pretrained(after)
    assert theirs.special_tokens_map == ours.special_tokens_map
    assert theirs.get_vocab() == ours.get_vocab()
    for text in (*PROMPTS, FAMILIES[name].closing):
        assert encode_prompt(theirs, text) == encode_prompt(ours, text)
        assert encode_completion(theirs, text) == encode_completion(ours, text)
        assert theirs(text)["input_ids"] == ours(text)["input_ids"]  # as other programs ask, with or without BOS
