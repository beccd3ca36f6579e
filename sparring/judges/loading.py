"""Reward models from disk, strictly: a head that is missing would be drawn at random and judge by chance, silently.

Safetensors alone, no code from the checkpoint, and every weight accounted for in both directions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.checkpoints import check_files, download, find_folder
from sparring.config import JudgeKind, Member
from sparring.errors import SparringError

KINDS: dict[str, JudgeKind] = {"LlamaForRewardModelWithGating": "armorm", "DebertaV2PairRM": "pairrm"}
"""Architectures that are no plain classifiers, and the adapters that read them."""
_LOAD_FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys")
_REMOTE = (
    "code from a checkpoint is never run; take a model of an architecture that transformers has, or one that judge.kind names"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A folder whose configuration fits the judge's kind. ``name``: as the recipe calls it, for errors."""

    folder: Path
    name: str
    config: dict[str, Any]


def open_checkpoint(member: Member, key: str = "judge.path", online: bool = True) -> Checkpoint:
    """Everything that can be checked before the weights are read; loads no torch.

    Raises SparringError, naming the recipe's ``key``, for a path that leads nowhere, a folder without safetensors, a causal
    language model, and a model of another kind than ``member.kind``.
    """
    if not member.path:
        raise SparringError(f'{key} is empty; a judge of kind "{member.kind}" needs a checkpoint folder or a hub name')
    folder = find_folder(member.path, key, lambda name: download(name, key, online))
    name = f"{key} = {member.path!r}"
    config = _read_config(folder / "config.json", name) if (folder / "config.json").is_file() else {}
    _check_architecture(config, member.kind, name)
    check_files(folder, member.path, key, "a reward model")
    return Checkpoint(folder=folder, name=name, config=config)


def _read_config(path: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise SparringError(f"{name}: {path} is not JSON ({error}); save or download the model again") from None
    if not isinstance(config, dict):
        raise SparringError(f"{name}: {path} holds a {type(config).__name__}, not an object; save or download the model again")
    return config


def _check_architecture(config: dict[str, Any], kind: JudgeKind, name: str) -> None:
    if "ranker_type" in config:  # the form of the LLM-Blender package: no encoder configuration beside the weights
        raise SparringError(
            f"{name} is a ranker of the LLM-Blender package, which lacks the encoder's configuration; "
            "take llm-blender/PairRM-hf, which has the same weights"
        )
    for architecture in map(str, config.get("architectures") or []):
        if architecture.endswith(("ForCausalLM", "LMHeadModel")):
            raise SparringError(
                f"{name} is a causal language model ({architecture}) and has no reward head; give a reward model, or judge with "
                'the language model through a server (judge.kind = "rubric")'
            )
        if (found := KINDS.get(architecture, "reward_model")) != kind:
            raise SparringError(
                f'{name} is a {architecture}, which judge.kind = "{kind}" cannot read; set judge.kind = "{found}"'
            )


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever a broken file makes the library throw
        raise SparringError(f"{checkpoint.name}: the tokenizer cannot be loaded: {_first_line(error)}; {_REMOTE}") from error


def load_weights(model_class: Any, checkpoint: Checkpoint, member: Member) -> Any:
    """The model on its device, in evaluation mode. ``model_class`` has transformers' ``from_pretrained``.

    Raises SparringError for weights that are missing, superfluous or of another shape than config.json says.
    """
    import torch
    from transformers.utils.logging import disable_progress_bar

    device = member.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise SparringError('judge.device = "cuda", and PyTorch sees no such device; set "auto" or "cpu"')
    disable_progress_bar()
    try:
        model, report = model_class.from_pretrained(
            checkpoint.folder,
            dtype=getattr(torch, member.dtype),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # whatever a broken file makes the library throw
        repair = _REMOTE if checkpoint.config.get("auto_map") else "check that it is whole, or save or download it again"
        raise SparringError(f"{checkpoint.name} cannot be loaded as a {member.kind}: {_first_line(error)}; {repair}") from error
    if wrong := [f"{kind} {sorted(map(str, report[kind]))[:4]}" for kind in _LOAD_FAULTS if report[kind]]:
        raise SparringError(
            f"{checkpoint.name}: the weights do not fit a {member.kind} ({'; '.join(wrong)}); missing ones would be drawn at random. "
            "Give a model whose reward head was trained and saved with it"
        )
    return model.to(device).eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
