"""ArmoRM: many objectives, weighted by what the prompt is about (arXiv 2406.12845), read without the checkpoint's own code.

Keys and configuration are those of RLHFlow/ArmoRM-Llama3-8B-v0.1. A linear layer reads every objective at the last token; a
matrix takes out of each what it owes to another (to length, above all); and a small network, which reads the last token of the
user's turn and so knows the prompt alone, says how much each objective counts.

Shape legend: R rows of a batch, T their longest, H hidden size, K objectives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel

from sparring.config import Member
from sparring.errors import SparringError
from sparring.game import Attempt, Task, Verdict
from sparring.judges.chat import Exchange
from sparring.judges.loading import load_tokenizer, load_weights, open_checkpoint
from sparring.judges.reward_model import positions
from sparring.judges.rows import Rated, Tokens, judge_each, padded, rate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TURN = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
"""Where the prompt ends; the gate reads the first of these tokens."""


class Gate(nn.Module):
    """How much each objective counts for a prompt: a softmax, tempered and scaled."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        widths = [config.hidden_size, *[setting(config, "gating_hidden_dim")] * setting(config, "gating_n_hidden")]
        self.temperature = setting(config, "gating_temperature")
        self.layers = nn.ModuleList(
            nn.Linear(before, after)
            for before, after in zip(widths, [*widths[1:], setting(config, "num_objectives")], strict=True)
        )
        self.logit_scale = nn.Parameter(torch.ones(1))

    def forward(self, prompt_RH: Tensor) -> Tensor:
        hidden = prompt_RH
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return torch.softmax(self.layers[-1](hidden) / self.temperature, dim=-1) * self.logit_scale


class ArmoRM(LlamaPreTrainedModel):
    """The published model's parameters under their published names."""

    # A bfloat16 score would tie answers that the float32 heads tell apart; they are published in float32.
    _keep_in_fp32_modules_strict = {"regression_layer", "gating", "reward_transform_matrix"}  # noqa: RUF012  (as its base has it)

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        objectives = setting(config, "num_objectives")
        self.model = LlamaModel(config)
        self.regression_layer = nn.Linear(config.hidden_size, objectives, bias=False)
        self.reward_transform_matrix = nn.Parameter(torch.eye(objectives))
        self.gating = Gate(config)
        self.post_init()

    def forward(self, ids_RT: Tensor, mask_RT: Tensor, turn_R: Tensor) -> Tensor:
        """The score of each row, of which ``turn_R`` is the place where its prompt ends."""
        hidden_RTH = self.model(input_ids=ids_RT, attention_mask=mask_RT, use_cache=False).last_hidden_state.float()
        rows_R = torch.arange(len(ids_RT), device=ids_RT.device)
        rewards_RK = self.regression_layer(hidden_RTH[rows_R, mask_RT.sum(1) - 1])
        weights_RK = self.gating(hidden_RTH[rows_R, turn_R])
        return (weights_RK * (rewards_RK @ self.reward_transform_matrix)).sum(-1)


_DEFAULTS = {"num_objectives": 19, "gating_temperature": 10, "gating_hidden_dim": 1024, "gating_n_hidden": 3}
"""The published model's, for a configuration that leaves them out as the published code allows."""


def setting(config: Any, name: str) -> Any:
    return getattr(config, name, _DEFAULTS[name])


class ArmoRMJudge:
    """The gated sum of the objectives; satisfies ``sparring.game.Judge``."""

    def __init__(self, model: ArmoRM, tokenizer: PreTrainedTokenizerBase, member: Member, name: str = "judge") -> None:
        self.model: Any = model
        self.member = member
        self._exchange = Exchange(
            tokenizer, name, min(member.max_tokens, positions(model.config)), self.model.get_input_embeddings().num_embeddings
        )
        self._turn = tuple(tokenizer.encode(TURN, add_special_tokens=False))
        probe = self._exchange.ids("prompt", "answer")
        if isinstance(probe, str) or place(self._turn, probe) is None:
            raise SparringError(
                f"{name}: the chat template opens the assistant's turn by something else than {TURN}, by which the gate finds the end "
                "of the prompt; use the tokenizer that came with the model"
            )

    @classmethod
    def load(cls, member: Member, key: str = "judge.path") -> ArmoRMJudge:
        """The judge that ``member`` describes; ``key``: where its path stands in the recipe, for errors."""
        checkpoint = open_checkpoint(member, key)
        return cls(load_weights(ArmoRM, checkpoint, member), load_tokenizer(checkpoint), member, checkpoint.name)

    def judge(self, tasks: Sequence[Task], attempts: Sequence[tuple[Attempt, ...]]) -> list[tuple[Verdict, ...]]:
        return judge_each(tasks, attempts, self._ids, self._score, self.member)

    def _ids(self, prompt: str, answer: str) -> Tokens | str:
        ids = self._exchange.ids(prompt, answer)
        if not isinstance(ids, str) and place(self._turn, ids) is None:
            return "the end of the prompt is not found"
        return ids

    def _score(self, rows: Iterable[Tokens]) -> dict[Tokens, Rated]:
        return rate(rows, self._forward, len, self.member.batch_tokens)

    def _forward(self, rows: Sequence[Tokens]) -> list[float]:
        ids_RT, mask_RT = padded(rows, 0, self.model.device)
        turn_R = torch.tensor([place(self._turn, row) for row in rows], device=self.model.device)
        return self.model(ids_RT, mask_RT, turn_R).tolist()


def place(wanted: Tokens, row: Tokens) -> int | None:
    """Where ``wanted`` last begins in ``row``."""
    starts = range(len(row) - len(wanted), -1, -1)
    return next((start for start in starts if row[start : start + len(wanted)] == wanted), None)
