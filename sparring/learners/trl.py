"""TRL's trainers as a learner: the same lessons in, the same checkpoint folder out, with what transformers' Trainer brings along
(DeepSpeed, quantisation, kernels, other optimisers).

The trainers keep their losses and their loop. What they are fed with is ours (``trl_feed.py``), and so are the schedule of the
learning rate and the files. Nothing is sent anywhere: no telemetry, no reports, no upload.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import statistics
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, TrainerCallback

from sparring import config
from sparring.errors import SparringError
from sparring.game import Lesson
from sparring.learners.checkpoint import fingerprint, load_policy
from sparring.learners.losses import RATIO
from sparring.learners.session import add_adapters
from sparring.learners.train import Trained, check_learner
from sparring.learners.trl_feed import Feed, feed_of
from sparring.learners.trl_settings import METHODS, adapters, arguments, check_settings, quantisation, trl_part
from sparring.learners.trl_trainers import Fed, FedOnline
from sparring.rundir import commit_text


def state_folder(out: Path) -> Path:
    """Where TRL keeps its checkpoints while ``out`` is not there."""
    return out.with_name(out.name + ".trl")


# ------------------------------------------------------------------------------------------------ learning


class _Progress(TrainerCallback):
    """Tells how far it is, and stops where nothing can come of it."""

    def __init__(self, report: Callable[[int, int], None] | None, rate: float) -> None:
        self._report, self._rate = report, rate

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        found = {name: logs[name] for name in ("loss", "grad_norm") if logs and name in logs}
        if not all(math.isfinite(value) for value in found.values()):
            raise SparringError(
                f"step {state.global_step} of {state.max_steps}: {found}, at learning rate {self._rate:.3g}; "
                f"lower it (--learner.lr={self._rate / 10:.3g}) and check that the policy's log-probs are finite"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._report:
            self._report(state.global_step, state.max_steps)


@contextlib.contextmanager
def undisturbed() -> Generator[None]:
    """The Trainer seeds every global generator, the data library draws bars, and TRL uses names that transformers is about to give up:
    nothing of that is to be noticed outside."""
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    states, bars, quiet = (random.getstate(), np.random.get_state()), is_progress_bar_enabled(), os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    disable_progress_bar()
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if bars:
            enable_progress_bar()
        if quiet is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = quiet


def make_trainer(learner: TrlLearner, policy: Path, lessons: Sequence[Lesson], folder: Path, seed: int) -> Any:
    """TRL's trainer for the lessons, ready to train ``policy``."""
    from datasets import Dataset

    how = learner.how
    model, tokenizer = load_policy(policy)  # which refuses weights that do not fit; TRL would train them without a word
    begun = add_adapters(model, how, seed).state_dict() if how.lora_rank else {}
    del model
    feed = feed_of(lessons, how, tokenizer, seed)
    method = METHODS[how.loss]
    given = arguments(how, learner.policy.device, feed, folder, seed)
    extra: dict[str, Any] = {"quantization_config": quantisation(how), "peft_config": adapters(how)}
    if how.loss in RATIO:
        given["max_completion_length"] = max(1, learner.longest)
    extra |= {"reward_funcs": _no_reward} if how.loss in RATIO else {}
    base = FedOnline if how.loss in RATIO else Fed
    kind = type(f"Fed{method.name}Trainer", (base, trl_part(f"{method.name}Trainer")), {"feed": feed, "how": how})
    try:
        settings = trl_part(f"{method.name}Config")(**given)
        trainer = kind(
            model=str(policy), args=settings, train_dataset=Dataset.from_dict(feed.columns), processing_class=tokenizer, **extra
        )
    # All of these come of a user's own arguments: a package that one needs, a file that is not there, a value that is none.
    except (ImportError, NotImplementedError, OSError, TypeError, ValueError) as error:
        raise SparringError(f"TRL's {method.name} trainer refuses learner.trl = {how.trl}: {error}") from error
    if how.loss in RATIO:
        trainer.beta = how.kl
    if begun:
        _begin_adapter(trainer.model, begun)
    _no_dropout(trainer.model)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Progress(learner.progress, how.lr))
    return trainer


def _begin_adapter(model: Any, begun: Mapping[str, torch.Tensor]) -> None:
    """The adapter's first weights are the torch learner's; not where several devices share them."""
    with torch.no_grad():
        for name, value in model.base_model.named_parameters():
            if value.requires_grad and value.shape == begun[name].shape:
                value.copy_(begun[name])


def _no_dropout(model: torch.nn.Module) -> None:
    """Dropout off, also where attention keeps its rate as a number: a preference loss compares log-probs with those of a reference
    that had none, and both back ends are to learn the same."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(vars(module).get("attention_dropout"), float):
            vars(module)["attention_dropout"] = 0.0


def _no_reward(**_: Any) -> list[float]:
    raise AssertionError("the lessons have their advantages already")


@dataclass(frozen=True)
class TrlLearner:
    """Learns with TRL's trainers, in this process. ``progress`` is called with (optimiser steps done, total). ``longest``: tokens that
    an answer may have had, for ``dr_grpo``."""

    how: config.Learner
    policy: config.Policy
    progress: Callable[[int, int], None] | None = None
    longest: int = 0

    def __post_init__(self) -> None:
        check_learner(self.how, self.longest)
        check_settings(self.how)

    def learn(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None:
        """Trains the checkpoint in ``policy`` on ``lessons`` and writes the result to ``out``, which appears whole.

        TRL's own checkpoints go to ``out`` + ".trl" every ``save_every`` steps; the same call after a crash goes on from the
        last whole one. Raises SparringError for no lessons, a folder that is no checkpoint and a loss that is not finite.
        """
        if not lessons:
            raise SparringError("no lessons, so nothing to learn; lower teach.min_margin, or sample more answers (--solver.n=8)")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise SparringError("learner.backend trl learns in one process; for several of them set learner.backend to torch")
        if out.exists():
            raise SparringError(f"{out} exists already; a learner writes a new folder: remove it or name another")
        torch.set_num_threads(self.policy.threads)
        folder = state_folder(out)
        run = fingerprint(policy, self.how, self.policy, seed, list(lessons))
        with undisturbed():
            trainer = make_trainer(self, policy, lessons, folder, seed)
            trainer.train(resume_from_checkpoint=_last_checkpoint(folder, run))
            learned = _learned(trainer, policy)
        learned.save(_rows(trainer.state.log_history, trainer.feed, self.how), out, self.how.save_adapter)
        shutil.rmtree(folder, ignore_errors=True)


def _last_checkpoint(folder: Path, run: str) -> str | None:
    """TRL's last whole checkpoint of this training run; what another run or a crash left behind is removed."""
    name = folder / "fingerprint"
    if not name.is_file() or name.read_text(encoding="utf-8") != run:
        shutil.rmtree(folder, ignore_errors=True)
        commit_text(name, run)
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        try:
            # Written last, so a folder that has it is whole.
            found[int(json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))["global_step"])] = path
        except (OSError, ValueError, KeyError, TypeError):
            shutil.rmtree(path, ignore_errors=True)
    return str(found[max(found)]) if found else None


def _learned(trainer: Any, policy: Path) -> Trained:
    """``policy`` with the trained weights: its own configuration, float32, an adapter on weights that nobody quantised."""
    model, tokenizer = load_policy(policy)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not trainer.how.lora_rank:
        model.load_state_dict(weights)
        return Trained(model=model, tokenizer=tokenizer, adapted=None)
    adapted = add_adapters(model, trainer.how, 0)
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if value.requires_grad:
                value.copy_(weights[f"base_model.{name}"])
    return Trained(model=model, tokenizer=tokenizer, adapted=adapted)


_ONLINE_NAMES = {"clipped": "clip_ratio/region_mean", "kl": "kl"}
_NAMES = {
    "chosen_logp": "logps/chosen",
    "rejected_logp": "logps/rejected",
    "reward_margin": "rewards/margins",
    "reward_accuracy": "rewards/accuracies",
}


def _rows(history: Sequence[Mapping[str, Any]], feed: Feed, how: config.Learner) -> list[dict[str, Any]]:
    """The rows of ``training.jsonl``: TRL's log under the torch learner's names; what it does not tell is None."""
    rows: list[dict[str, Any]] = []
    for logs in history:
        if "loss" not in logs:  # the summary at the end
            continue
        lengths = [feed.lengths[index] for index in feed.steps[len(rows)]]
        row = {"step": len(rows) + 1, "loss": logs["loss"], "lr": logs["learning_rate"], "grad_norm": logs["grad_norm"]}
        names = _NAMES | (_ONLINE_NAMES if how.loss in RATIO else {})
        row |= {name: logs.get(theirs) for name, theirs in names.items()}
        if how.loss == "ipo":  # TRL's margin is of sums, the loss's of means over tokens
            row["reward_margin"] = None
        for number, side in enumerate(("chosen", "rejected")):
            reward = logs.get(f"rewards/{side}")
            row[f"{side}_logp_change"] = None if reward is None else reward / how.beta
            tokens = [told for sides in lengths if (told := sides[number]) is not None]
            row[f"{side}_length"] = statistics.fmean(tokens) if tokens else None
        rows.append(row)
    return rows
