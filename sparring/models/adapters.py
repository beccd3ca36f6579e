"""Adapter folders, as PEFT saves them: a low-rank change of another checkpoint, merged into it before anything else is done."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparring.errors import SparringError
from sparring.models.facts import INDEX, SINGLE, read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter and no model."""
    return (folder / SETTINGS).is_file() and not any((folder / name).is_file() for name in (SINGLE, INDEX))


def base_of(folder: Path) -> str:
    """The checkpoint that the adapter in ``folder`` was trained on, as it was named then: a folder or a hub name.

    Raises SparringError for an adapter that cannot be merged.
    """
    if not (folder / WEIGHTS).is_file():
        raise SparringError(f"{folder} is an adapter without {WEIGHTS}; save it as safetensors (save_pretrained does)")
    settings = read_json(folder / SETTINGS)
    if (kind := settings.get("peft_type")) != "LORA":
        raise SparringError(
            f"{folder} is an adapter of type {kind}; only LORA ones can be merged here: merge it yourself and save all"
        )
    base = settings.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise SparringError(
            f"{folder / SETTINGS} names no base_model_name_or_path; write there the checkpoint that it belongs to"
        )
    return base


def merge(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """``model`` with the adapter in ``folder`` merged into it; raises SparringError unless every weight of it found its place."""
    from peft import PeftConfig, PeftModel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it asks transformers by names that are going out of use
            wrapped = PeftModel(model, PeftConfig.from_pretrained(str(folder)))
        report = wrapped.load_adapter(str(folder), "default", torch_device=str(model.device))
        lost = [*report.missing_keys, *report.unexpected_keys]
        merged: Any = None if lost else wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:  # whatever the library makes of a folder that somebody else wrote
        raise SparringError(f"the adapter in {folder} cannot be merged into {model.name_or_path}: {error}") from error
    if lost:
        raise SparringError(
            f"the adapter in {folder} does not fit {model.name_or_path}: {', '.join(sorted(lost)[:4])} have no counterpart; "
            f"write the right base_model_name_or_path into its {SETTINGS}"
        )
    return merged
