"""Policies and training states on disk: safetensors in, safetensors out, each there whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sparring.errors import SparringError
from sparring.rundir import commit

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


CPU = torch.device("cpu")
_LOAD_FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys")


def check_policy(folder: Path) -> None:
    """Raises SparringError unless ``folder`` holds what a checkpoint needs, weights as safetensors."""
    needed = {"config.json": "the model's configuration", "*.safetensors": "weights", "tokenizer*": "a tokenizer"}
    missing = [f"{pattern} ({what})" for pattern, what in needed.items() if not any(folder.glob(pattern))]
    if missing:
        raise SparringError(
            f"{folder} is no checkpoint folder: it lacks {', '.join(missing)}; "
            "save_pretrained of a causal language model and of its tokenizer write all of it"
        )


def load_policy(
    folder: Path, device: torch.device = CPU, attention: Literal["eager"] | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The causal language model of ``folder`` with float32 weights, and its tokenizer; no remote code, no pickles.

    ``attention`` None is transformers' own choice: fused where the architecture allows it, as Gemma 2 does not.
    The model is in evaluation mode for good: dropout stays off, because a preference loss compares the policy's log-probs with
    those of a reference that had none.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    check_policy(folder)
    disable_progress_bar()  # the learner shows its own, in steps
    safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=attention, use_safetensors=True, output_loading_info=True, **safely
        )
    except Exception as error:  # a damaged or foreign folder fails in as many ways as there are readers of it
        raise SparringError(f"{folder} cannot be loaded as a causal language model: {error}") from error
    model, report = loaded
    if wrong := [f"{kind} {sorted(map(str, report[kind]))[:4]}" for kind in _LOAD_FAULTS if report[kind]]:
        raise SparringError(f"{folder}: the weights do not fit config.json ({'; '.join(wrong)}); save the whole model again")
    return model.to(device).eval(), tokenizer


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Writes the checkpoint folder ``out`` with ``training.jsonl``, one line for each of ``rows``; ``out`` appears whole.

    Weights stay float32: an update of a cautious learning rate would be lost in rounding to bfloat16.
    """

    def write(partial: Path) -> None:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    commit(out, write)


def fingerprint(policy: Path, *parts: object) -> str:
    """Names a training run: a digest of the policy's configuration and weights and of ``parts``."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16)
    for path in sorted([policy / "config.json", *policy.glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """Everything that the next optimiser step depends on."""

    fingerprint: str
    rows: list[dict[str, Any]]
    """One per optimiser step done."""
    weights: dict[str, Tensor]
    """The trained parameters by name."""
    moments: dict[int, dict[str, Tensor]]
    """The optimiser's state: parameter number -> name -> value."""


def state_path(out: Path) -> Path:
    return out.with_name(out.name + ".state")


def save_state(state: TrainingState, path: Path) -> None:
    """One safetensors file with the rows as JSON in its header, so that one rename makes all of it appear."""
    tensors = {f"weights/{name}": value.detach().contiguous() for name, value in state.weights.items()}
    for number, values in state.moments.items():
        tensors |= {f"moments/{number}/{name}": value.contiguous() for name, value in values.items()}
    header = {"fingerprint": state.fingerprint, "rows": json.dumps(state.rows)}
    commit(path, lambda partial: save_file(tensors, partial, header))


def load_state(path: Path, wanted: str) -> TrainingState | None:
    """The state at ``path``; None where there is none or it belongs to another training run than ``wanted``."""
    if not path.is_file():
        return None
    with safe_open(path, "pt") as file:
        header = file.metadata()
        if header["fingerprint"] != wanted:
            return None
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    state = TrainingState(fingerprint=wanted, rows=json.loads(header["rows"]), weights={}, moments={})
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        if kind == "weights":
            state.weights[name] = value
        else:
            number, part = name.split("/")
            state.moments.setdefault(int(number), {})[part] = value
    return state
