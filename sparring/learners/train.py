"""The learner: a policy folder and lessons in, a policy folder out. A step is in ``session.py``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from sparring import config
from sparring.errors import SparringError
from sparring.game import Lesson
from sparring.learners.batches import encode_lessons, plan_batches
from sparring.learners.checkpoint import fingerprint, load_policy, load_state, save_policy, save_state, state_path
from sparring.learners.crew import Crew
from sparring.learners.launch import launch
from sparring.learners.losses import CREDIT_LOSSES, RATIO
from sparring.learners.session import Session, add_adapters, learning_rate
from sparring.rundir import commit

if TYPE_CHECKING:
    from peft import LoraModel, PeftConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_learner(how: config.Learner, longest: int) -> None:
    """Raises SparringError for terms that the loss has no use for, and for what it lacks."""
    if how.dpop and how.loss != "dpo":
        raise SparringError(f"learner.dpop is a term of dpo, not of {how.loss}; set it to 0 (--learner.dpop=0)")
    if how.nll and how.loss in ("orpo", "sft"):
        raise SparringError(f"{how.loss} contains the answer's likelihood; set learner.nll to 0 (--learner.nll=0)")
    if how.nll and how.loss in CREDIT_LOSSES:
        raise SparringError(f"learner.nll imitates chosen answers and {how.loss} has none; set it to 0 (--learner.nll=0)")
    if how.kl and how.loss not in RATIO:
        raise SparringError(
            f"learner.kl is a term of {', '.join(sorted(RATIO))}, not of {how.loss}; set it to 0 (--learner.kl=0)"
        )
    if how.clip_low >= 1:
        raise SparringError(f"learner.clip_low {how.clip_low} clips nothing, since a ratio is above 0; set it below 1")
    if how.loss == "dr_grpo" and longest < 1:
        raise SparringError(f"dr_grpo divides by the tokens that an answer may have, not by {longest}; say how many those are")
    if how.save_adapter and not how.lora_rank:
        raise SparringError("learner.save_adapter needs an adapter; set learner.lora_rank (--learner.lora_rank=16)")


def open_policy(folder: Path, how: config.Learner, policy: config.Policy) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model to train, where it is to be trained."""
    torch.set_num_threads(policy.threads)
    # The backward pass of fused attention eats what bfloat16 gains on a CPU.
    return load_policy(folder, _pick_device(policy.device), attention="eager" if how.dtype == "bfloat16" else None)


def _pick_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a learner writes in the end."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    adapted: LoraModel | None

    def set(self, weights: Mapping[str, Tensor]) -> None:
        """Puts these weights in the place of what is trained."""
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                if value.requires_grad:
                    value.copy_(weights[name])

    def save(self, rows: Sequence[Mapping[str, Any]], out: Path, keep_adapter: bool) -> None:
        """The policy folder, an adapter merged into its weights; with ``keep_adapter`` also by itself, in ``adapter/``.

        The adapter changes the weights that learning began with: ``PeftModel.from_pretrained(base, out / "adapter")``.
        """

        def write(partial: Path) -> None:
            adapter = _adapter_of(self.adapted) if self.adapted and keep_adapter else None
            if self.adapted:
                self.adapted.merge_and_unload()  # into ``model``, in place
            save_policy(self.model, self.tokenizer, rows, partial)
            if adapter:
                _write_adapter(adapter, partial / "adapter")

        commit(out, write)


def _adapter_of(adapted: LoraModel) -> tuple[PeftConfig, dict[str, Tensor]]:
    """The adapter's configuration, and a copy of its tensors by the names that peft gives them in a file."""
    tensors = {
        f"base_model.{name.replace('.default.', '.')}": value.detach().cpu().clone()
        for name, value in adapted.named_parameters()
        if value.requires_grad
    }
    return adapted.peft_config["default"], tensors


def _write_adapter(adapter: tuple[PeftConfig, Mapping[str, Tensor]], folder: Path) -> None:
    settings, tensors = adapter
    folder.mkdir()
    save_file(dict(tensors), folder / "adapter_model.safetensors", {"format": "pt"})
    values = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.to_dict().items()}
    text = json.dumps(values | {"inference_mode": True}, indent=2, sort_keys=True) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class TorchLearner:
    """Learns in this process. ``progress`` is called with (optimiser steps done, total).

    ``reuse_logprobs``: the policy that is learned from has sampled the lessons, so where every sample carries log-probs and the
    sampler's dtype is the learner's they are the reference and a forward pass over all lessons is saved. Set it to False where
    lessons come from other policies (from earlier rounds, say). ``longest``: tokens that an answer may have had, for ``dr_grpo``.
    """

    how: config.Learner
    policy: config.Policy
    reuse_logprobs: bool = True
    progress: Callable[[int, int], None] | None = None
    longest: int = 0

    def __post_init__(self) -> None:
        check_learner(self.how, self.longest)

    def learn(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None:
        """Trains the checkpoint in ``policy`` on ``lessons`` and writes the result to ``out``, which appears whole.

        Every ``save_every`` steps the training state goes to ``out`` + ".state"; the same call after a crash goes on from it
        and, on a CPU, ends with the same bits. Raises SparringError for no lessons, a folder that is no checkpoint and a loss
        that is not finite.
        """
        if not lessons:
            raise SparringError("no lessons, so nothing to learn; lower teach.min_margin, or sample more answers (--solver.n=8)")
        if out.exists():
            raise SparringError(f"{out} exists already; a learner writes a new folder: remove it or name another")
        if self.how.accelerate:
            return self._launch(policy, lessons, out, seed)
        crew = Crew.join()
        policy_now = self._open(policy, seed)
        session = Session(policy_now.model, self.how, longest=self.longest, crew=crew)
        plan = plan_batches(len(lessons), self.how, seed)
        items = encode_lessons(lessons, self.how, policy_now.tokenizer)
        session.take(items, plan, self.reuse_logprobs and self.policy.dtype == self.how.dtype)
        run = fingerprint(policy, self.how, self.policy, self.reuse_logprobs, self.longest, seed, list(lessons))
        rows = self._train(session, len(plan), run, state_path(out))
        weights = session.weights() if crew.sharded else {}
        if crew.rank == 0:
            if crew.sharded:  # what is written is whole
                policy_now = self._open(policy, seed)
                policy_now.set(weights)
            policy_now.save(rows, out, self.how.save_adapter)
            state_path(out).unlink(missing_ok=True)
        crew.wait()

    def _launch(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None:
        """The same in other processes, which have no more to launch."""
        folder = out.with_name(f"{out.name}.job")
        job = {
            "how": self.how.model_copy(update={"accelerate": ""}).model_dump_json(),
            "policy": self.policy.model_dump_json(),
            "reuse_logprobs": self.reuse_logprobs,
            "longest": self.longest,
            "start": str(policy.resolve()),
            "out": str(out.resolve()),
            "seed": seed,
        }
        launch(job, lessons, folder, self.how.accelerate, self.progress)
        shutil.rmtree(folder)

    def _open(self, policy: Path, seed: int) -> Trained:
        model, tokenizer = open_policy(policy, self.how, self.policy)
        adapted = add_adapters(model, self.how, seed) if self.how.lora_rank else None
        return Trained(model=model, tokenizer=tokenizer, adapted=adapted)

    def _train(self, session: Session, total: int, run: str, path: Path) -> list[dict[str, Any]]:
        """All steps, from where the state at ``path`` stopped; returns their rows."""
        crew = session.crew
        rows: list[dict[str, Any]] = []
        if state := load_state(path, run):
            session.restore(state)
            rows = state.rows
        for number in range(len(rows), total):
            row = session.step(number, learning_rate(number, total, self.how), f"step {number + 1} of {total}")
            rows.append({"step": number + 1} | row)
            if len(rows) % self.how.save_every == 0 and len(rows) < total:
                state = session.snapshot(run, rows)
                if crew.rank == 0:
                    save_state(state, path)
            if self.progress and crew.rank == 0:
                self.progress(len(rows), total)
        return rows
