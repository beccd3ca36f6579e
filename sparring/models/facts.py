"""What a checkpoint folder says of itself without being loaded: for plans, and for refusing what could never be loaded.

Only config.json and the headers of the safetensors files are read; neither torch nor transformers is imported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.checkpoints import FILES
from sparring.errors import SparringError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
OTHER_TEMPLATES = "additional_chat_templates"
_HEADER_LIMIT = 100_000_000
"""Bytes of a header; the format allows no more."""

_BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

# One thing has many names in the configurations of the families.
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KEY_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads")
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyFacts:
    """A policy's figures."""

    family: str
    """The model type of its configuration."""
    parameters: int
    weight_bytes: int
    """Of the weights on disk, in the precision that they were saved in."""
    disk_bytes: int
    """Of all files that a run copies."""
    layers: int
    hidden: int
    key_values: int
    """Numbers that the key-value cache holds for one token, all layers together (an upper bound where layers have windows)."""
    vocabulary: int
    positions: int | None
    """Tokens that it can tell apart by place; None where it does not number them."""
    tied: bool
    """Whether its head is its embedding, which is in the files once."""
    quantised: str
    """The method by which its weights were made smaller, "" where they are whole."""
    has_template: bool
    """Whether it brings a chat template."""

    def cache_bytes(self, tokens: int, dtype: str) -> int:
        """Of the keys and values of ``tokens`` tokens in a policy's ``dtype``."""
        return tokens * self.key_values * _ITEM_BYTES[dtype]

    def bytes_in(self, dtype: str) -> int:
        """Of the weights when they are loaded as ``dtype``."""
        return self.parameters * _ITEM_BYTES[dtype]


def policy_facts(folder: Path) -> PolicyFacts:
    """The facts of a whole checkpoint folder. Raises SparringError for one that is incomplete or damaged."""
    config = read_config(folder)
    text = config.get("text_config")
    text = {**config, **text} if isinstance(text, dict) else config  # the language part of a model that also sees
    where = folder / "config.json"
    layers, hidden = _number(text, _LAYERS, where), _number(text, _HIDDEN, where)
    files = weight_files(folder)
    shapes = [shape for file in files for shape in _tensors(file)]
    quantised = config.get("quantization_config")
    return PolicyFacts(
        family=str(config.get("model_type", "")),
        parameters=sum(count for count, _ in shapes),
        weight_bytes=sum(size for _, size in shapes),
        disk_bytes=sum(path.stat().st_size for path in policy_files(folder)),
        layers=layers,
        hidden=hidden,
        key_values=_key_values(text, layers, hidden, where),
        vocabulary=_number(text, ("vocab_size",), where),
        positions=next((text[name] for name in _POSITIONS if isinstance(text.get(name), int)), None),
        tied=_is_tied(files),
        quantised=str(quantised.get("quant_method", "unknown")) if isinstance(quantised, dict) else "",
        has_template=has_template(folder),
    )


def read_json(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file of a checkpoint."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SparringError(f"{path} cannot be read: {error.strerror or error}; fetch the checkpoint again") from None
    except (ValueError, RecursionError) as error:
        raise SparringError(f"{path} is damaged: {error}; fetch the checkpoint again") from None
    if not isinstance(found, dict):
        raise SparringError(f"{path} is damaged: it holds a {type(found).__name__}, not an object; fetch the checkpoint again")
    return found


def read_config(folder: Path) -> Mapping[str, Any]:
    return read_json(folder / "config.json")


def weight_files(folder: Path) -> list[Path]:
    """The files with the model's weights: one, or the parts that the index names, each of which must be there.

    Other safetensors files (another layout of the same weights, adapters) are none of the model.
    """
    if not (folder / INDEX).is_file():
        if (folder / SINGLE).is_file():
            return [folder / SINGLE]
        raise SparringError(
            f"{folder} has neither {SINGLE} nor {INDEX}; save_pretrained of a causal language model writes one of them"
        )
    names = read_json(folder / INDEX).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise SparringError(f"{folder / INDEX} is damaged: it has no weight_map; fetch the checkpoint again")
    files = [folder / name for name in sorted(set(names.values()))]
    for file in files:
        if file.parent != folder or file.name in ("", ".."):
            raise SparringError(f"{folder / INDEX} names {str(file)!r}, which is not beside it; fetch the checkpoint again")
        if not file.is_file():
            raise SparringError(f"{folder} lacks {file.name}, which {INDEX} names; fetch the checkpoint again, it is not whole")
    return files


def policy_files(folder: Path) -> Iterator[Path]:
    """The files of a checkpoint that a run copies, and none of another layout that lies beside them."""
    yield from weight_files(folder)
    for pattern in (*(pattern for pattern in FILES if pattern != "*.safetensors"), f"{OTHER_TEMPLATES}/*.jinja"):
        yield from sorted(folder.glob(pattern))


def has_template(folder: Path) -> bool:
    """Whether the folder's tokenizer brings a chat template."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and bool(read_json(settings).get("chat_template"))


def _number(config: Mapping[str, Any], names: tuple[str, ...], where: Path) -> int:
    for name in names:
        if isinstance(found := config.get(name), int) and not isinstance(found, bool):
            return found
    raise SparringError(f"{where} says no {names[0]}, so it describes no language model that is known here; check the folder")


def _key_values(config: Mapping[str, Any], layers: int, hidden: int, where: Path) -> int:
    heads = _number(config, _HEADS, where)
    if "kv_lora_rank" in config:  # DeepSeek's latent attention: the latent is kept, and the part of the keys that tells places
        return layers * sum(_number(config, (name,), where) for name in ("kv_lora_rank", "qk_rope_head_dim"))
    many = bool(config.get("new_decoder_architecture"))  # Falcon, which has multi_query in both of its forms
    alone = config.get("multi_query") and not many
    key_heads = next((config[name] for name in _KEY_HEADS if isinstance(config.get(name), int)), heads)
    size = config.get("head_dim")
    size = size if isinstance(size, int) else hidden // max(1, heads)
    return 2 * layers * (1 if alone else key_heads) * size


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file, which must be as long as it says."""

    def damaged(why: str) -> SparringError:
        return SparringError(f"{path} is no whole safetensors file: {why}; fetch the checkpoint again (with Git: git lfs pull)")

    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER_LIMIT):
            raise damaged(f"it has {size} bytes, and a header of {length} should come first")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise damaged(f"its header cannot be read ({error})") from None
    if not isinstance(header, dict):
        raise damaged("its header is no object")
    header.pop("__metadata__", None)
    try:
        end = max((int(each["data_offsets"][1]) for each in header.values()), default=0)
    except (TypeError, KeyError, IndexError, ValueError):
        raise damaged("its header names no places") from None
    if size != 8 + length + end:
        raise damaged(f"it has {size} bytes and should have {8 + length + end}")
    return header


def _tensors(path: Path) -> Iterator[tuple[int, int]]:
    """(numbers, bytes) of each tensor in a file."""
    for name, each in _header(path).items():
        shape, kind = each.get("shape"), each.get("dtype")
        if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
            raise SparringError(f"{path}: {name!r} has no shape; fetch the checkpoint again")
        start, end = each["data_offsets"]
        count = math.prod(shape)
        if kind in _BYTES and end - start != count * _BYTES[kind]:
            raise SparringError(
                f"{path}: {name!r} has {end - start} bytes for {count} numbers of {kind}; fetch the checkpoint again"
            )
        yield count, end - start


def _is_tied(files: list[Path]) -> bool:
    """Whether the files hold no output head of their own."""
    heads = {"lm_head.weight", "embed_out.weight", "output.weight"}
    return not any(name in heads or name.endswith(".lm_head.weight") for file in files for name in _header(file))
