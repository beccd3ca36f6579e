"""Token ids in, token ids out: batches of samples with a key-value cache.

A prompt is read once for all of its samples, what several prompts begin with is read once for all of them where that pays,
and a sample that has ended leaves its batch at once.

Shape legend: P prompts of a batch, H distinct heads of prompts, F families of prompts that share a head, R live rows (a row is
one sample), T columns of a prompt's states (head and tail are padded on the left, each), A columns before a part is read, B
columns of the part, C = A + B, N new tokens at most, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sparring.errors import SparringError
from sparring.game import Sampling
from sparring.models.cache import PlainCache, PrefixCache, cache_type, keeps_everything
from sparring.models.draw import draw

Tokens = tuple[int, ...]
Row = TypeVar("Row")

NOT_FINITE = (
    "the model's logits are not finite: its weights are broken, or they overflow in their precision; "
    "go back to an earlier policy, or use --policy.dtype=float32"
)

_SPARED_SHARE, _SPARED_TOKENS = 0.25, 128
"""Prompts are read in two passes if that spares this share of the tokens and this many: a pass costs about as much as 100
tokens do in a small model on CPU."""


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
        self.ends_V = torch.zeros(vocabulary, dtype=torch.bool, device=model.device)
        self.end_at(end_ids)
        parameters = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in parameters
        self._keeps_last = "logits_to_keep" in parameters
        self._cache_type = cache_type(model)
        # A prompt read in two parts has padding between them: positions must be told, and no window may count its columns.
        self._reads_in_parts = self._takes_positions and keeps_everything(model.config)

    @property
    def reads_in_parts(self) -> bool:
        """Whether columns need not be read in the order and at the places of tokens."""
        return self._reads_in_parts

    def end_at(self, end_ids: Sequence[int]) -> None:
        """From now on these tokens end an answer, and no others."""
        self.ends_V.zero_()
        self.ends_V[list(end_ids)] = True

    @torch.inference_mode()
    def decode(self, prompts: Sequence[Tokens], noise_RN2: Tensor, how: Sampling) -> list[Answer]:
        """One answer for each of ``prompts`` (equal ones are read once), drawn with its row of ``noise_RN2``.

        Raises SparringError where the model's logits are not finite.
        """
        row_R = torch.arange(len(prompts), device=self.model.device)  # which of ``prompts`` each live row answers
        noise_RN2 = noise_RN2.to(row_R.device)
        batch = Batch(self, prompts, how.max_new_tokens)
        drawn: list[tuple[Tensor, Tensor, Tensor]] = []  # by step: rows, their tokens, their log-probs
        for step in range(how.max_new_tokens):
            token_R, logprob_R = draw(batch.logits_RV, noise_RN2[row_R, step], how.temperature, how.top_p)
            drawn.append((row_R, token_R, logprob_R))
            ended_R = self.ends_V[token_R]
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
            raise SparringError(NOT_FINITE)
        by_row, lengths = rows.argsort(stable=True), rows.bincount().tolist()
        pairs = zip(tokens[by_row].split(lengths), logprobs[by_row].split(lengths), strict=True)
        return [
            Answer(ids=tuple(ids.tolist()), logprobs=tuple(values.tolist()), ended=bool(self.ends_V[ids[-1]]))
            for ids, values in pairs
        ]

    def new_cache(self, rows: int) -> PrefixCache | PlainCache:
        """An empty cache for a batch of ``rows``; one row alone has nothing to share."""
        return PlainCache(self.model.config) if rows == 1 else self._cache_type(self.model.config)

    def places(self, prompts: Iterable[Tokens]) -> dict[Tokens, tuple[int, Tokens, int]]:
        """Sort keys of prompts: by length, but those with a common head together."""
        distinct = list(dict.fromkeys(prompts))
        heads = {ids: ids[:cut] for ids, cut in zip(distinct, self.cuts(distinct), strict=True)}
        longest: dict[Tokens, int] = {}
        for ids, head in heads.items():
            longest[head] = max(longest.get(head, 0), len(ids))
        return {ids: (longest[head], head, len(ids)) for ids, head in heads.items()}

    def cuts(self, prompts: Sequence[Tokens]) -> list[int]:
        """``shared_heads``, where the model can read a prompt in two parts; else zeros."""
        return shared_heads(prompts) if self._reads_in_parts else [0] * len(prompts)

    def read_prompts(self, prompts: Sequence[Tokens], cache: PrefixCache | PlainCache) -> tuple[Tensor, Tensor]:
        """Logits (P x V) after distinct ``prompts``, and where the columns of their states are padding (P x T).

        ``cache`` is empty and takes in their states.
        """
        device = self.model.device
        cuts = self.cuts(prompts)
        heads = {prompt[:cut]: None for prompt, cut in zip(prompts, cuts, strict=True)}
        unread = torch.zeros(len(heads), 0, dtype=torch.bool, device=device)
        if not any(cuts):
            return self.read(prompts, unread.expand(len(prompts), 0), cache)
        _, pad_HT = self.read(list(heads), unread, cache)
        number = {head: number for number, head in enumerate(heads)}
        head_P = torch.tensor([number[prompt[:cut]] for prompt, cut in zip(prompts, cuts, strict=True)], device=device)
        cache.batch_select_indices(head_P)
        tails = [prompt[cut:] for prompt, cut in zip(prompts, cuts, strict=True)]
        return self.read(tails, pad_HT[head_P], cache)

    def read(self, texts: Sequence[Tokens], pad_PA: Tensor, cache: PrefixCache | PlainCache) -> tuple[Tensor, Tensor]:
        """Logits (P x V) after ``texts``, which continue what ``cache`` holds, and where the columns of it are now padding.

        ``pad_PA`` says that of the columns before; new ones are padded on the left.
        """
        width, device = max(map(len, texts)), pad_PA.device
        ids_PB = torch.tensor([[0] * (width - len(text)) + list(text) for text in texts], device=device)
        padding_P1 = torch.tensor([[width - len(text)] for text in texts], device=device)
        place_PB = torch.arange(width, device=device) - padding_P1
        pad_PC = torch.cat([pad_PA, place_PB < 0], 1)
        position_PB = ((~pad_PA).sum(1, keepdim=True) + place_PB).clamp(min=0)
        mask_PC = (~pad_PC).long() if pad_PC.any() else None
        return self.forward(ids_PB, position_PB, mask_PC, cache), pad_PC

    def forward(
        self, ids: Tensor, positions: Tensor, mask: Tensor | None, cache: PrefixCache | PlainCache, *, every: bool = False
    ) -> Tensor:
        """Logits after the last of ``ids`` (rows x tokens) in float32, rows x V; after ``every`` one as the model has them."""
        options: dict[str, Any] = {"position_ids": positions} if self._takes_positions else {}
        if self._keeps_last and not every:
            options["logits_to_keep"] = 1
        out = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **options)
        return out.logits if every else out.logits[:, -1].float()

    def last_logits(self, ids: Tensor, count: int) -> Tensor:
        """Logits (rows x ``count`` x V) after the last ``count`` of ``ids`` (rows x tokens), which are read from the first on."""
        options = {"logits_to_keep": count} if self._keeps_last else {}
        return self.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **options).logits[:, -count:]


class Batch:
    """Rows decoded together: their cache, the logits of each row's next token, and its position."""

    def __init__(self, decoder: Decoder, prompts: Sequence[Tokens], room: int) -> None:
        """Read every one of the rows' ``prompts`` once; make room for ``room`` new tokens a row."""
        index = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        owner_R = torch.tensor([index[prompt] for prompt in prompts], device=decoder.model.device)
        self._decoder, self._cache = decoder, decoder.new_cache(len(prompts))
        logits_PV, pad_PT = decoder.read_prompts(list(index), self._cache)
        self.logits_RV = logits_PV[owner_R]
        self._position_R1 = (~pad_PT).sum(1, keepdim=True)[owner_R]
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

    def branch(self, parent_R: Tensor) -> None:
        """Row i goes on from where row ``parent_R[i]`` stands; a row may have any number of children."""
        self._cache.branch(parent_R)
        self._position_R1 = self._position_R1[parent_R]


def in_batches(units: Iterable[tuple[Sequence[Row], int]], limit: int) -> Iterator[list[Row]]:
    """The rows of all ``units`` in batches of at most ``limit`` rows x tokens of the longest row.

    A unit is rows, which are never parted even if they alone are over the limit, and the tokens of each of them.
    """
    batch: list[Row] = []
    longest = 0
    for rows, tokens in units:
        if batch and (len(batch) + len(rows)) * max(longest, tokens) > limit:
            yield batch
            batch, longest = [], 0
        batch += rows
        longest = max(longest, tokens)
    if batch:
        yield batch


def shared_heads(prompts: Sequence[Tokens]) -> list[int]:
    """How many first tokens of each of the distinct ``prompts`` to read once for all that begin alike; zeros if it does not pay.

    At least one token of each prompt is left. In sorted order prompts that begin alike are neighbours, and a family is a run
    of neighbours that have some number of tokens in common; every number that occurs is tried. Heads and tails are read in
    one padded batch each, so a prompt without family is cut as well, at the longest head.
    """
    if len(prompts) < 2:
        return [0] * len(prompts)
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    length_P = np.array([len(prompts[place]) for place in order])
    ids_PT = np.full((len(prompts), length_P.max()), -1)
    for row, place in zip(ids_PT, order, strict=True):
        row[: len(prompts[place])] = prompts[place]
    # With the prompt before; nobody shares anything with what is before the first.
    common_P = np.append(0, (ids_PT[1:] != ids_PT[:-1]).argmax(1))
    best_P, best = np.zeros_like(length_P), ids_PT.size - max(ids_PT.size * _SPARED_SHARE, _SPARED_TOKENS)
    for least in np.unique(common_P[common_P > 0]):
        first_F = np.flatnonzero(common_P < least)
        head_F = np.minimum.reduceat(np.where(common_P < least, length_P.max(), common_P), first_F)
        longest = head_F[np.diff(first_F, append=len(order)) > 1].max()
        family_P = (common_P < least).cumsum() - 1
        head_P = np.minimum(head_F, np.minimum.reduceat(length_P, first_F) - 1).clip(max=longest)[family_P]
        tokens = len(first_F) * head_P.max() + len(order) * (length_P - head_P).max()
        if tokens <= best:
            best_P, best = head_P, tokens
    cut_P = np.empty_like(best_P)
    cut_P[order] = best_P
    return cut_P.tolist()
