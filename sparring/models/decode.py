"""Token ids in, token ids out: batches of samples with a key-value cache.

A prompt is read once for all of its samples, and a sample that has ended leaves its batch at once.

Shape legend: P prompts of a batch, R its live rows (a row is one sample), T prompt columns (left-padded), N new tokens at
most, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sparring.errors import SparringError
from sparring.game import Sampling
from sparring.models.cache import PlainCache, PrefixCache, cache_type
from sparring.models.draw import draw

Tokens = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The tokens of one sample with their log-probs (nats); ``ended``: the last token is one that ends an answer."""

    ids: Tokens
    logprobs: tuple[float, ...]
    ended: bool


class Decoder:
    """Continues prompts with a causal language model; ``end_ids`` are the tokens that end an answer."""

    def __init__(self, model: PreTrainedModel, end_ids: Sequence[int]) -> None:
        self.model = model.eval()
        vocabulary = model.config.get_text_config(decoder=True).vocab_size
        self._ends_V = torch.zeros(vocabulary, dtype=torch.bool, device=model.device)
        self._ends_V[list(end_ids)] = True
        parameters = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in parameters
        self._options: dict[str, Any] = {"use_cache": True}
        if "logits_to_keep" in parameters:
            self._options["logits_to_keep"] = 1
        self._cache_type = cache_type(model)

    @torch.inference_mode()
    def decode(self, prompts: Sequence[Tokens], noise_RN2: Tensor, how: Sampling) -> list[Answer]:
        """One answer for each of ``prompts`` (equal ones are read once), drawn with its row of ``noise_RN2``.

        Raises SparringError where the model's logits are not finite.
        """
        row_R = torch.arange(len(prompts), device=self.model.device)  # which of ``prompts`` each live row answers
        noise_RN2 = noise_RN2.to(row_R.device)
        batch = _Batch(self, prompts, how.max_new_tokens)
        drawn: list[tuple[Tensor, Tensor, Tensor]] = []  # by step: rows, their tokens, their log-probs
        for step in range(how.max_new_tokens):
            token_R, logprob_R = draw(batch.logits_RV, noise_RN2[row_R, step], how.temperature, how.top_p)
            drawn.append((row_R, token_R, logprob_R))
            ended_R = self._ends_V[token_R]
            if ended_R.any():
                order_R = batch.drop(ended_R)
                row_R, token_R = row_R[order_R], token_R[order_R]
            if not len(row_R) or step == how.max_new_tokens - 1:
                break
            batch.advance(token_R)
        return self._answers(*map(torch.cat, zip(*drawn, strict=True)))

    def _answers(self, rows: Tensor, tokens: Tensor, logprobs: Tensor) -> list[Answer]:
        """Draws in the order of steps, as answers in the order of rows."""
        if not logprobs.isfinite().all():
            raise SparringError(
                "the model's logits are not finite: its weights are broken, or they overflow in their precision; "
                "go back to an earlier policy, or use --policy.dtype=float32"
            )
        by_row, lengths = rows.argsort(stable=True), rows.bincount().tolist()
        pairs = zip(tokens[by_row].split(lengths), logprobs[by_row].split(lengths), strict=True)
        return [
            Answer(ids=tuple(ids.tolist()), logprobs=tuple(values.tolist()), ended=bool(self._ends_V[ids[-1]]))
            for ids, values in pairs
        ]

    def new_cache(self, rows: int) -> PrefixCache | PlainCache:
        """An empty cache for a batch of ``rows``; one row alone has nothing to share."""
        return PlainCache(self.model.config) if rows == 1 else self._cache_type(self.model.config)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: PrefixCache | PlainCache) -> Tensor:
        """Logits (rows x V, float32) after the last of ``ids`` (rows x tokens); the model may say nothing of earlier ones."""
        where = {"position_ids": positions} if self._takes_positions else {}
        out = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, **where, **self._options)
        return out.logits[:, -1].float()


class _Batch:
    """Rows decoded together: their cache, the logits of each row's next token, and its position."""

    def __init__(self, decoder: Decoder, prompts: Sequence[Tokens], room: int) -> None:
        """Read every one of the rows' ``prompts`` once; make room for ``room`` new tokens a row."""
        device = decoder.model.device
        index = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        owner_R = torch.tensor([index[prompt] for prompt in prompts], device=device)
        width = max(map(len, index))
        ids_PT = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in index], device=device)
        length_P1 = torch.tensor([[len(prompt)] for prompt in index], device=device)
        position_PT = torch.arange(width, device=device) - (width - length_P1)
        pad_PT = position_PT < 0
        mask_PT = (~pad_PT).long() if pad_PT.any() else None
        self._decoder, self._cache = decoder, decoder.new_cache(len(prompts))
        self.logits_RV = decoder.forward(ids_PT, position_PT.clamp(min=0), mask_PT, self._cache)[owner_R]
        self._position_R1 = length_P1[owner_R]
        self._cache.open(owner_R, pad_PT, room)

    def advance(self, token_R: Tensor) -> None:
        """Append one token to every row."""
        with self._cache.step() as mask_RC:
            self.logits_RV = self._decoder.forward(token_R.unsqueeze(1), self._position_R1, mask_RC, self._cache)
        self._position_R1 = self._position_R1 + 1

    def drop(self, ended_R: Tensor) -> Tensor:
        """Take ended rows out, the last live rows moving into their places; returns where each row stood before."""
        rows = len(ended_R) - int(ended_R.sum())
        order_R = torch.arange(rows, device=ended_R.device)
        order_R[ended_R[:rows]] = (~ended_R[rows:]).nonzero().flatten() + rows
        self._cache.keep_rows(order_R)
        self._position_R1 = self._position_R1[order_R]
        return order_R
