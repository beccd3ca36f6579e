"""What goes in front of TRL's trainers: rows in tokens, our order and schedule, and no word to anybody.

Shapes: R rows of a micro-batch (chosen and rejected answers count apart), T tokens of the longest prompt or answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import Trainer

from sparring.config import Learner
from sparring.errors import SparringError
from sparring.learners.session import REUSE_TOLERANCE, learning_rate
from sparring.learners.trl_feed import Feed, MicroBatches


class Fed:
    """The first base of a class whose second one is a trainer of TRL's. That class has ``feed`` and ``how``."""

    feed: Feed
    how: Learner

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # in tokens already

    def _send_telemetry(self) -> None: ...

    def create_model_card(self, *_: Any, **__: Any) -> None: ...

    def get_train_dataloader(self: Any) -> Any:
        rows = DataLoader(self.train_dataset, collate_fn=self.data_collator, batch_sampler=MicroBatches(self.feed))
        return self.accelerator.prepare(rows)

    def create_scheduler(self: Any, num_training_steps: int, optimizer: Any = None) -> Any:
        """The torch learner's schedule: its warm-up starts above zero."""
        if self.lr_scheduler is None:
            rate = partial(learning_rate, total=num_training_steps, how=self.how)
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda step: rate(step) / self.how.lr)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(self: Any, model: Any, inputs: Any, **options: Any) -> Any:
        """The micro-batch's share of the step's mean over lessons: the trainer weighs all micro-batches alike."""
        loss = super().compute_loss(model, inputs, **options)  # pyright: ignore[reportAttributeAccessIssue]
        if self.how.loss in ("sft", "dapo"):  # means over the tokens of the step
            return loss
        lessons = len(inputs["completion_mask"]) / self.feed.sides
        return loss * (lessons / len(self.feed.steps[self.state.global_step]) * self.current_gradient_accumulation_steps)


class FedOnline(Fed):
    """For the trainers that sample for themselves: the answers are there, with their advantages and the sampler's log-probs."""

    def _prepare_inputs(self: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
        answers = self.feed.columns["completion_ids"]
        tokens = sum(len(answers[index]) for index in self.feed.steps[self.state.global_step])
        inputs = collate_credits(rows, self.processing_class.pad_token_id)
        # TRL divides this by the micro-batches of a full step and multiplies it by those of the present one.
        share = self.args.steps_per_generation / self.current_gradient_accumulation_steps
        inputs["num_items_in_batch"] = torch.tensor(tokens * share)
        prepared = Trainer._prepare_inputs(self, inputs)
        if self.state.global_step == 0:
            self._check_sampler(prepared)
        return prepared

    @torch.no_grad()
    def _check_sampler(self: Any, inputs: Mapping[str, Tensor]) -> None:
        """Before the first update the policy is the one that sampled: the lessons' log-probs must agree with it."""
        tokens_RT = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        seen_RT = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        answers = slice(inputs["prompt_ids"].shape[1] - 1, -1)
        logits_RTV = self.model(input_ids=tokens_RT, attention_mask=seen_RT, use_cache=False).logits[:, answers].float()
        logps_RT = -cross_entropy(logits_RTV.transpose(1, 2), inputs["completion_ids"], reduction="none")
        gap_RT = (logps_RT - inputs["old_per_token_logps"]).abs() * inputs["completion_mask"]
        gap, tolerance = (gap_RT.sum() / inputs["completion_mask"].sum()).item(), REUSE_TOLERANCE[self.how.dtype]
        if gap > tolerance:
            raise SparringError(
                f"the lessons' log-probs are {gap:.2g} nats per token away from the policy's own (at most {tolerance}): another policy "
                "sampled them, or this architecture counts positions from the left, where TRL pads; set learner.backend to torch"
            )


def collate_credits(rows: Sequence[Mapping[str, Any]], pad: int) -> dict[str, Tensor]:
    """Prompts padded on the left, answers on the right, as GRPO's and RLOO's losses want them."""

    def padded(values: Sequence[Sequence[float]], kind: torch.dtype, fill: float, side: str) -> Tensor:
        parts = [torch.tensor(value, dtype=kind) for value in values]
        return pad_sequence(parts, batch_first=True, padding_value=fill, padding_side=side)

    prompts, answers = [row["prompt_ids"] for row in rows], [row["completion_ids"] for row in rows]
    logps_RT = padded([row["logprobs"] for row in rows], torch.float32, 0.0, "right")
    return {
        "prompt_ids": padded(prompts, torch.int64, pad, "left"),
        "prompt_mask": padded([[1] * len(prompt) for prompt in prompts], torch.int64, 0, "left"),
        "completion_ids": padded(answers, torch.int64, pad, "right"),
        "completion_mask": padded([[1] * len(answer) for answer in answers], torch.int64, 0, "right"),
        "advantages": torch.tensor([row["advantage"] for row in rows], dtype=torch.float32),
        "old_per_token_logps": logps_RT,
        "ref_per_token_logps": logps_RT,
        "old_logps": logps_RT.sum(1),
    }
