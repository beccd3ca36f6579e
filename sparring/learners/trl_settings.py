"""A recipe's settings as the arguments of TRL's configurations: what is mapped, what is refused, what may be added."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from sparring import config
from sparring.errors import SparringError
from sparring.game import stable_hash
from sparring.learners.losses import RATIO
from sparring.learners.trl_feed import Feed


@dataclass(frozen=True)
class Method:
    """The trainer of a loss, by the prefix of its names in TRL, and what has to be set for that loss."""

    name: str
    fixed: Mapping[str, Any]


METHODS: Mapping[str, Method] = {
    "sft": Method("SFT", {"completion_only_loss": False}),  # the labels say what is imitated
    "dpo": Method("DPO", {}),
    "ipo": Method("DPO", {"loss_type": ["ipo"]}),
    "sppo": Method("DPO", {"loss_type": ["sppo_hard"]}),
    "kto": Method("KTO", {}),
    "rloo": Method("RLOO", {}),
    "grpo": Method("GRPO", {"loss_type": "grpo"}),
    "dr_grpo": Method("GRPO", {"loss_type": "dr_grpo"}),
    "dapo": Method("GRPO", {"loss_type": "dapo"}),
}

_RENDERED = "sparring renders prompts itself"
OWNED: Mapping[str, str] = {
    "learning_rate": "learner.lr",
    "lr_scheduler_type": "learner.schedule",
    "lr_scheduler_kwargs": "learner.schedule",
    "warmup_steps": "learner.warmup",
    "warmup_ratio": "learner.warmup",
    "weight_decay": "learner.weight_decay",
    "max_grad_norm": "learner.clip",
    "num_train_epochs": "learner.epochs",
    "max_steps": "learner.epochs",
    "beta": "learner.beta (learner.kl where the loss takes credits)",
    "epsilon": "learner.clip_low",
    "epsilon_high": "learner.clip_high",
    "per_device_train_batch_size": "learner.micro_tokens",
    "gradient_accumulation_steps": "learner.batch",
    "gradient_checkpointing": "learner.checkpointing",
    "activation_checkpointing": "learner.checkpointing",
    "bf16": "learner.dtype",
    "fp16": "learner.dtype",
    "use_cpu": "policy.device",
    "seed": "run.seed",
    "data_seed": "run.seed",
    "output_dir": "run.folder",
    "save_steps": "learner.save_every",
    "save_strategy": "learner.save_every",
    "save_total_limit": "learner.save_every",
    "logging_steps": "training.jsonl, which has every step",
    "logging_strategy": "training.jsonl, which has every step",
    "desirable_weight": "the lessons",
    "undesirable_weight": "the lessons",
    "push_to_hub": "`sparring export`",
    "trust_remote_code": "nothing: remote code stays off",
    **dict.fromkeys(("dataset_kwargs", "dataset_text_field", "chat_template_path", "eos_token", "packing"), _RENDERED),
    **dict.fromkeys(("completion_only_loss", "assistant_only_loss", "remove_unused_columns"), _RENDERED),
    **dict.fromkeys(("train_sampling_strategy", "shuffle_dataset", "dataloader_drop_last"), "run.seed"),
    **dict.fromkeys(("num_generations", "generation_batch_size", "steps_per_generation", "use_vllm", "temperature"), "[solver]"),
    "max_completion_length": "solver.max_new_tokens",
}
"""Arguments that the recipe settles elsewhere, and where."""

QUANTISATION = ("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage")
"""TRL's own names for how a base model is quantised under its adapter; they are arguments of its ModelConfig."""


def trl_part(name: str) -> Any:
    """Something of TRL's by name."""
    try:
        import trl

        return getattr(trl, name)
    except ImportError as error:
        raise SparringError(f'learner.backend = "trl" needs TRL ({error}); pip install "sparring[trl]"') from None


def check_settings(how: config.Learner) -> None:
    """Raises SparringError for a recipe that TRL's trainers cannot do, or an argument that they do not have."""
    method = METHODS.get(how.loss)
    if method is None:
        raise SparringError(f"learner.loss {how.loss} is not among TRL's stable trainers; set learner.backend to torch")
    absent = {"nll": how.nll, "dpop": how.dpop, "kl": how.kl if how.loss not in RATIO - {"rloo"} else 0.0}
    if wrong := [name for name, value in absent.items() if value]:
        hint = ' (or --learner.trl=\'{loss_type = ["sigmoid", "sft"], loss_weights = [1.0, 1.0]}\')' if "nll" in wrong else ""
        raise SparringError(
            f"learner.{wrong[0]} is no term of TRL's {method.name} trainer; set it to 0, or learner.backend to torch{hint}"
        )
    known = {field.name for field in fields(trl_part(f"{method.name}Config")) if field.init} | set(QUANTISATION)
    for name in how.trl:
        if name in OWNED or name in method.fixed:
            raise SparringError(f"learner.trl.{name} is settled by {OWNED.get(name, 'learner.loss')}; leave it out")
        if name not in known:
            near = difflib.get_close_matches(name, known - set(OWNED), n=3)
            raise SparringError(
                f"learner.trl.{name} is no argument of TRL's {method.name}Config"
                + (f"; did you mean {', '.join(near)}?" if near else "")
            )
    if any(how.trl.get(name) for name in QUANTISATION[:2]) and not how.lora_rank:
        raise SparringError("quantised weights cannot be trained themselves; add an adapter with --learner.lora_rank=16")


def arguments(how: config.Learner, device: str, feed: Feed, folder: Path, seed: int) -> dict[str, Any]:
    """The arguments of TRL's configuration, all but the tokens that an answer may have had."""
    cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    shared = {
        "output_dir": str(folder),
        "learning_rate": how.lr,
        "weight_decay": how.weight_decay,
        "max_grad_norm": how.clip,
        "num_train_epochs": how.epochs,
        "per_device_train_batch_size": feed.widest,
        "gradient_accumulation_steps": feed.accumulate,
        _checkpointing(METHODS[how.loss]): how.checkpointing,
        "bf16": how.dtype == "bfloat16",
        "use_cpu": cpu,
        "seed": stable_hash(seed, "trl") % 2**31,
        "optim": "rmsprop" if how.optimizer == "rmsprop" else "adamw_torch_fused",
        "save_strategy": "steps",
        "save_steps": how.save_every,
        "save_total_limit": 1,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": not cpu,
    }
    safely = {"dtype": "float32", "use_safetensors": True, "local_files_only": True}
    own = {name: value for name, value in how.trl.items() if name not in QUANTISATION}
    loading = {"model_init_kwargs": safely | own.pop("model_init_kwargs", {})}
    return {**shared, **_of_method(how, feed), **METHODS[how.loss].fixed, **own, **loading}


def _checkpointing(method: Method) -> str:
    """What the argument is called: transformers renames it on the way to its version 6."""
    name = "activation_checkpointing"
    return name if name in {field.name for field in fields(trl_part(f"{method.name}Config"))} else "gradient_checkpointing"


def _of_method(how: config.Learner, feed: Feed) -> dict[str, Any]:
    if how.loss in RATIO:
        # With a beta TRL would load a second model; the reference log-probs are those of the sampler.
        clip = {"epsilon": how.clip_low, "epsilon_high": how.clip_high}
        # The divergence is a penalty of its own, not weighted by the ratio (GRPO as published, and as the torch learner has it).
        plain = {"use_bias_correction_kl": False} if METHODS[how.loss].name == "GRPO" else {}
        return (
            clip
            | plain
            | {
                "disable_dropout": True,
                "beta": 0.0,
                "temperature": 1.0,
                "num_generations": 2,
            }
        )
    if how.loss == "sft":
        return {"max_length": None}
    compared = {"max_length": None, "beta": how.beta, "precompute_ref_log_probs": True}
    if how.loss == "kto":
        return {**compared, **feed.weights, "per_device_train_batch_size": max(2, feed.widest)}  # TRL wants two at least
    return compared


def quantisation(how: config.Learner) -> Any:
    """The bitsandbytes configuration, or None."""
    chosen = {name: how.trl[name] for name in QUANTISATION if name in how.trl}
    if not chosen:
        return None
    try:
        return trl_part("get_quantization_config")(trl_part("ModelConfig")(**chosen, dtype="bfloat16"))
    except (ImportError, TypeError, ValueError) as error:
        raise SparringError(f"learner.trl: {error}") from None


def adapters(how: config.Learner) -> Any:
    if not how.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=how.lora_rank,
        lora_alpha=how.lora_alpha,  # pyright: ignore[reportArgumentType]  (any number will do)
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
