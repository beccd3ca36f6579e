"""Pointwise reward models: sequence classifiers with one label, as Skywork-Reward and most models of RewardBench are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from sparring.config import Member
from sparring.errors import SparringError
from sparring.game import Attempt, Task, Verdict
from sparring.judges.chat import Exchange
from sparring.judges.loading import load_tokenizer, load_weights, open_checkpoint
from sparring.judges.rows import Rated, Tokens, judge_each, padded, rate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class RewardModelJudge:
    """The classifier's logit for a user turn and the answer to it; satisfies ``sparring.game.Judge``."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, member: Member, name: str = "judge") -> None:
        if (labels := model.config.num_labels) != 1:
            raise SparringError(f"{name} is a classifier of {labels} labels; a reward model has one (num_labels 1)")
        self.model: Any = model
        self.member = member
        self._text = model.config.get_text_config()
        self._text.use_cache = False  # one pass and no token after it
        self._vocabulary = int(self.model.get_input_embeddings().num_embeddings)
        limit = min(member.max_tokens, positions(self._text))
        self._exchange = Exchange(tokenizer, name, limit, self._vocabulary)
        given = self._text.pad_token_id
        self._pad = given if isinstance(given, int) and 0 <= given < self._vocabulary else None
        for head in model.children():
            # In bfloat16 the numbers around 10 are 1/16 apart: a head of that precision ties answers that the model tells apart.
            if isinstance(head, torch.nn.Linear):
                head.float().register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))

    @classmethod
    def load(cls, member: Member, key: str = "judge.path") -> RewardModelJudge:
        """The judge that ``member`` describes; ``key``: where its path stands in the recipe, for errors."""
        checkpoint = open_checkpoint(member, key)
        tokenizer = load_tokenizer(checkpoint)
        return cls(load_weights(AutoModelForSequenceClassification, checkpoint, member), tokenizer, member, checkpoint.name)

    def judge(self, tasks: Sequence[Task], attempts: Sequence[tuple[Attempt, ...]]) -> list[tuple[Verdict, ...]]:
        return judge_each(tasks, attempts, self._exchange.ids, self._score, self.member)

    def _score(self, rows: Iterable[Tokens]) -> dict[Tokens, Rated]:
        return rate(rows, self._forward, len, self.member.batch_tokens)

    def _forward(self, rows: Sequence[Tokens]) -> list[float]:
        # transformers reads the head at the last token that is not the pad token. Where the checkpoint names one, that is the
        # score as it was trained, batch or not; where it names none, a token that no row has makes it the last real token.
        pad = self._pad if self._pad is not None else _unused(rows)
        self._text.pad_token_id = pad
        ids_RT, mask_RT = padded(rows, pad, self.model.device)
        return self.model(input_ids=ids_RT, attention_mask=mask_RT).logits[:, 0].float().tolist()


def positions(config: Any) -> int:
    """How many tokens a model numbers; no bound where it says none (a negative or absent number)."""
    found = getattr(config, "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else 1 << 31


def _unused(rows: Sequence[Tokens]) -> int:
    used = set().union(*rows)
    return next(number for number in range(len(used) + 1) if number not in used)
