"""The other side of bench/align_vs_trl.py: TRL's online trainers, and the pipeline of scripts around ``generate`` and DPOTrainer.

Written as their documentation has it, with what costs time for nothing turned off: no activation checkpointing, no reports, no
model cards, float32 on a CPU with one thread, prompts sorted by length where that saves padding.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.align_vs_trl import prompts_of
from sparring.config import AlignRecipe
from sparring.game import Attempt, Bout, Sample, Task
from sparring.judges.program import ProgramJudge
from sparring.learners.lessons import pairs_of
from sparring.recipe import load_recipe
from sparring.worlds.words import grade

if TYPE_CHECKING:
    from bench.align_vs_trl import Clock, Job

Mark = Callable[[Path, int, int], None]
"""(checkpoint folder, answers sampled so far, optimiser steps so far)."""

QUIET: dict[str, Any] = {
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "bf16": False,
    "activation_checkpointing": False,
    "save_strategy": "no",
    "logging_strategy": "no",
    "dataloader_pin_memory": False,
    "max_grad_norm": 1.0,
}
MAX_NEW_TOKENS = 64


def import_all() -> None:
    """What the arms import lazily, before the clock runs."""
    from trl.experimental import online_dpo
    from trl.trainer import dpo_trainer, grpo_trainer, rloo_trainer

    assert all((online_dpo.OnlineDPOTrainer, dpo_trainer, grpo_trainer, rloo_trainer))


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(folder, padding_side="left")


def _save(model: Any, tokenizer: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _recipe() -> AlignRecipe:
    recipe = load_recipe(Path("recipes/eva-tiny.toml"), [])
    assert isinstance(recipe, AlignRecipe)
    return recipe


# -- TRL's online trainers ----------------------------------------------------------------------------------------------


def train(job: Job, start: Path, clock: Clock, mark: Mark) -> None:
    """OnlineDPOTrainer, RLOOTrainer or GRPOTrainer, for as many answers as the offline arms may sample."""
    import trl
    from datasets import Dataset
    from transformers import TrainerCallback

    os.environ["TQDM_DISABLE"] = "1"
    solver, tasks = _recipe().solver, prompts_of(job.size)
    known = {task.text: task for task in tasks}
    online_dpo = job.arm == "OnlineDPOTrainer"
    rows = job.setting["per_device_train_batch_size"]
    per_step = rows * 2 if online_dpo else rows
    steps = max(1, job.size.answers // per_step)
    every = max(1, steps // job.size.checkpoints)
    shared = QUIET | {
        "output_dir": str(job.place / "trainer"),
        "max_steps": steps,
        "seed": job.seed,
        "temperature": solver.temperature,
        "top_p": solver.top_p,
        "lr_scheduler_type": "linear",
        "warmup_steps": max(1, steps // 10),
        "disable_dropout": True,
    }
    model, tokenizer = _load(start)

    def reward(prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float | None]:
        pairs = zip(prompts, completions, strict=True)
        return [grade(known[prompt[-1]["content"]], answer[0]["content"])[0] for prompt, answer in pairs]

    class Marker(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % every == 0 or state.global_step == steps:
                with clock.pause():
                    folder = _save(model, tokenizer, job.place / "checkpoint")
                mark(folder, state.global_step * per_step, state.global_step)

    if online_dpo:
        from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

        kind, settings = OnlineDPOTrainer, OnlineDPOConfig(**shared, **job.setting, max_new_tokens=MAX_NEW_TOKENS)
    else:
        name = job.arm.removesuffix("Trainer")
        lengths = {"num_generations": job.size.n, "max_completion_length": MAX_NEW_TOKENS}
        kind, settings = getattr(trl, job.arm), getattr(trl, f"{name}Config")(**shared, **job.setting, **lengths)
    data = Dataset.from_list([{"prompt": [{"role": "user", "content": task.text}]} for task in tasks])
    trainer = kind(
        model=model, reward_funcs=reward, args=settings, train_dataset=data, processing_class=tokenizer, callbacks=[Marker()]
    )
    trainer.train()


# -- generate, score, a fresh DPOTrainer per round ------------------------------------------------------------------------


def pipeline(job: Job, start: Path, clock: Clock, mark: Mark) -> None:
    """Rounds of the recipe's DPO on the prompts as they are, as scripts around transformers and TRL do it."""
    recipe, tasks, folder = _recipe(), prompts_of(job.size), start
    answers = updates = 0
    for number in range(1, job.size.rounds + 1):
        pool = tasks[(number - 1) * job.size.prompts : number * job.size.prompts]
        torch.manual_seed(job.seed * 100 + number)
        model, tokenizer = _load(folder)
        attempts = _generate(model, tokenizer, pool, job.size.n, recipe)
        verdicts = ProgramJudge(grade).judge(pool, attempts)
        bouts = [Bout(task=t, attempts=a, verdicts=v) for t, a, v in zip(pool, attempts, verdicts, strict=True)]
        answers += len(pool) * job.size.n
        folder, steps = _dpo(job, folder, bouts, recipe, number)
        updates += steps
        mark(folder, answers, updates)


def _generate(model: Any, tokenizer: Any, tasks: Sequence[Task], n: int, recipe: AlignRecipe) -> list[tuple[Attempt, ...]]:
    """``n`` answers to each task by ``generate``, the longest prompts first."""
    shown = [
        tokenizer.apply_chat_template([{"role": "user", "content": t.text}], add_generation_prompt=True, tokenize=False)
        for t in tasks
    ]
    order = sorted(range(len(tasks)), key=lambda index: -len(shown[index]))
    found: dict[int, tuple[Attempt, ...]] = {}
    batch = 64  # the fastest of 16, 32, 64 and 128 prompts
    for begin in range(0, len(order), batch):
        part = order[begin : begin + batch]
        inputs = tokenizer([shown[index] for index in part], return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.no_grad():
            output = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                do_sample=True,
                temperature=recipe.solver.temperature,
                top_p=recipe.solver.top_p,
                top_k=0,
                num_return_sequences=n,
                max_new_tokens=MAX_NEW_TOKENS,
                pad_token_id=tokenizer.pad_token_id,
            )
        texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for place, index in enumerate(part):
            own = texts[place * n : place * n + n]
            found[index] = tuple(Attempt(answer=text, samples=(Sample(role="solver", text=text),)) for text in own)
    return [found[index] for index in range(len(tasks))]


def _dpo(job: Job, folder: Path, bouts: Sequence[Bout], recipe: AlignRecipe, number: int) -> tuple[Path, int]:
    """Best against worst, by a DPOTrainer that is made for this round; the new checkpoint, and its optimiser steps."""
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    disable_progress_bar()
    os.environ["TQDM_DISABLE"] = "1"
    how = recipe.learner
    pairs = pairs_of(bouts)
    pairs = random.Random(job.seed).sample(pairs, min(len(pairs), recipe.teach.pairs))
    data = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": pair.prompt}],
                "chosen": [{"role": "assistant", "content": pair.chosen.text}],
                "rejected": [{"role": "assistant", "content": pair.rejected.text}],
            }
            for pair in pairs
        ]
    )
    settings = DPOConfig(
        **QUIET,
        output_dir=str(job.place / "trainer"),
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, how.nll],
        beta=how.beta,
        learning_rate=how.lr,
        lr_scheduler_type=how.schedule,
        warmup_steps=how.warmup,
        num_train_epochs=how.epochs,
        per_device_train_batch_size=how.batch,
        precompute_ref_log_probs=True,
        seed=job.seed,
    )
    model, tokenizer = _load(folder)
    trainer = DPOTrainer(model=model, args=settings, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    return _save(model, tokenizer, job.place / f"round-{number}"), trainer.state.global_step
