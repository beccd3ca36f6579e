"""How likely given texts are as answers to prompts: nothing is generated.

A prompt is read once, its texts after it as a tree: what several of them begin with is read once, and the branches lie side by
side in one row, where each token sees the prompt and what leads to it in its own text, at the position that it has there (tree
attention: SpecInfer, arXiv 2305.09781 sec. 4.2). No token is read that nothing follows: only what a token says of the next one
counts. A model for which this is not ordinary attention reads each prompt with each text.

Shape legend: P prompts, T columns of their states, R rows (a row is one tree), B nodes of a tree, C = T + B, V vocabulary, M tokens
of texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sparring.errors import SparringError
from sparring.models.cache import PlainCache, PrefixCache
from sparring.models.decode import NOT_FINITE, Decoder, Tokens, in_batches

Pair = tuple[Tokens, Tokens]
"""(prompt, text)."""

_NODES = 192
"""Texts of one prompt go on in another row from so many nodes on: in a row every node meets every other, which is wasted work,
while another row costs a copy of the prompt's states."""

_CPU_TOKENS = 1024
"""At most so many tokens go through the model at once on CPU: more are slower there (measured), and padded more."""

_LOGITS = 2**26
"""At most so many logits are held at once, if a row alone does not have more (a quarter of a GiB in float32)."""


@dataclass(kw_only=True, slots=True)
class _Tree:
    """Texts of one prompt. A node is a token that is followed by another; nodes are numbered depth first, as they are read."""

    prompt: Tokens
    ids: list[int] = field(default_factory=list[int])
    depth: list[int] = field(default_factory=list[int])
    until: list[int] = field(default_factory=list[int])
    """By node: the first number after its own that is not below it."""
    texts: dict[Tokens, tuple[int, ...]] = field(default_factory=dict[Tokens, tuple[int, ...]])
    """By text: the nodes that its tokens are, all but the last."""

    def add(self, text: Tokens) -> None:
        """One more text, which must not sort before those that are in."""
        trunk = next(reversed(self.texts.values()), ())
        common = 0
        while common < min(len(trunk), len(text) - 1) and self.ids[trunk[common]] == text[common]:
            common += 1
        first = len(self.ids)
        path = (*trunk[:common], *range(first, first + len(text) - 1 - common))
        self.ids += text[common:-1]
        self.depth += range(common, len(text) - 1)
        self.until += [0] * (len(self.ids) - first)
        for node in path:
            self.until[node] = len(self.ids)
        self.texts[text] = path


class Scorer:
    """Log-probs of texts under a causal language model; holds the states of at most ``batch_tokens`` tokens, or of a row."""

    def __init__(self, decoder: Decoder, batch_tokens: int) -> None:
        self._decoder = decoder
        # The states of prompts and those of the rows that continue them are held at the same time.
        self._states = max(1, batch_tokens // 2)
        self._tokens = min(_CPU_TOKENS, self._states) if decoder.model.device.type == "cpu" else self._states
        self._vocabulary = len(decoder.ends_V)

    def score(self, pairs: Sequence[Pair]) -> dict[Pair, float]:
        """Log-prob (nats) of each text after its prompt; neither is empty.

        Raises SparringError where the model's logits are not finite.
        """
        return self.packed(pairs) if self.packs else self.plain(pairs)

    @cached_property
    def packs(self) -> bool:
        """Whether the model can read texts side by side, by its configuration and by a trial."""
        shares = isinstance(self._decoder.new_cache(rows=2), PrefixCache)  # attention is known to be keys, values and a scale
        if not (shares and self._decoder.reads_in_parts):
            return False
        prompt, texts = (1, 2, 3, 4, 5), ((4, 3, 2, 1), (4, 3, 6), (4, 3, 6, 2), (2, 5, 3), (2,))
        pairs = [(prompt, text) for text in texts]
        try:
            packed = self.packed(pairs)
        except (RuntimeError, ValueError, TypeError, IndexError):  # it takes no such mask
            return False
        rough = 1e-3 if self._decoder.model.dtype == torch.float32 else 0.3
        return all(abs(packed[pair] - logprob) < rough for pair, logprob in self.plain(pairs).items())

    # -- a tree after each prompt ---------------------------------------------------------------------------------------

    @torch.inference_mode()
    def packed(self, pairs: Sequence[Pair]) -> dict[Pair, float]:
        """``score`` for models that can read texts side by side."""
        texts: defaultdict[Tokens, list[Tokens]] = defaultdict(list)
        for prompt, text in dict.fromkeys(pairs):
            texts[prompt].append(text)
        places = self._decoder.places(texts)
        found: dict[Pair, float] = {}
        for prompts in in_batches((([each], len(each)) for each in sorted(texts, key=places.__getitem__)), self._tokens):
            found |= self._after(prompts, [tree for prompt in prompts for tree in _trees(prompt, texts[prompt])])
        return found

    def _after(self, prompts: Sequence[Tokens], trees: Sequence[_Tree]) -> dict[Pair, float]:
        """The log-probs of the texts of ``trees``, which belong to these distinct prompts."""
        cache = self._decoder.new_cache(len(prompts))
        logits_PV, pad_PT = self._decoder.read_prompts(prompts, cache)
        number = {prompt: place for place, prompt in enumerate(prompts)}
        pairs = [(tree.prompt, text) for tree in trees for text in tree.texts]
        first = _logprobs(logits_PV.unsqueeze(1), [(number[prompt], 0, text[0]) for prompt, text in pairs])
        found = dict(zip(pairs, first, strict=True))
        for rows in self._rows(trees, pad_PT.shape[1]):
            owner_R = torch.tensor([number[tree.prompt] for tree in rows], device=pad_PT.device)
            logits_RBV = self._read(rows, pad_PT[owner_R], _continued(cache, owner_R))
            asked = [
                (row, node, token)
                for row, tree in enumerate(rows)
                for text, nodes in tree.texts.items()
                for node, token in zip(nodes, text[1:], strict=True)
            ]
            values = iter(_logprobs(logits_RBV, asked))
            for tree in rows:
                for text, nodes in tree.texts.items():
                    found[tree.prompt, text] += sum(next(values) for _ in nodes)
        return found

    def _rows(self, trees: Sequence[_Tree], prompt_tokens: int) -> Iterator[list[_Tree]]:
        """Trees to read at once, those of like size together; none that have no node."""
        units = [([tree], len(tree.ids)) for tree in sorted(trees, key=lambda tree: len(tree.ids)) if tree.ids]
        for rows in in_batches(units, min(self._tokens, _LOGITS // self._vocabulary)):
            count = max(1, self._states // (prompt_tokens + len(rows[-1].ids)))
            yield from (rows[start : start + count] for start in range(0, len(rows), count))

    def _read(self, rows: Sequence[_Tree], pad_RT: Tensor, cache: PrefixCache | PlainCache) -> Tensor:
        """Logits (R x B x V) after each node of ``rows``, which continue what ``cache`` holds."""
        size, device, dtype = max(len(tree.ids) for tree in rows), pad_RT.device, self._decoder.model.dtype
        ids_RB, depth_RB = np.zeros((2, len(rows), size), dtype=np.int64)
        until_RB = np.tile(np.arange(1, size + 1), (len(rows), 1))  # padding sees the prompt and itself, and nobody sees it
        for row, tree in enumerate(rows):
            own = slice(len(tree.ids))
            ids_RB[row, own], depth_RB[row, own], until_RB[row, own] = tree.ids, tree.depth, tree.until
        node_B = torch.arange(size, device=device)
        below_RBB = (node_B <= node_B[:, None]) & (node_B[:, None] < torch.from_numpy(until_RB).to(device)[:, None])
        hidden_RBC = torch.cat([pad_RT[:, None].expand(-1, size, -1), ~below_RBB], 2)
        mask_R1BC = torch.zeros(hidden_RBC.shape, dtype=dtype, device=device).masked_fill_(hidden_RBC, -torch.inf).unsqueeze(1)
        position_RB = (~pad_RT).sum(1, keepdim=True) + torch.from_numpy(depth_RB).to(device)
        return self._decoder.forward(torch.from_numpy(ids_RB).to(device), position_RB, mask_R1BC, cache, every=True)

    # -- each prompt with each text -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def plain(self, pairs: Sequence[Pair]) -> dict[Pair, float]:
        """``score`` for any causal model, a row per pair."""
        found: dict[Pair, float] = {}
        units = [([pair], len(pair[0]) + len(pair[1]) - 1) for pair in dict.fromkeys(pairs)]
        units.sort(key=lambda unit: unit[1])
        for rows in in_batches(units, min(self._tokens, _LOGITS // self._vocabulary)):
            whole = [(*prompt, *text[:-1]) for prompt, text in rows]
            width, device = max(map(len, whole)), self._decoder.model.device
            # Padded on the right, where no token sees it: no mask is needed, and positions are those that the model counts itself.
            ids_RC = torch.tensor([[*ids, *[0] * (width - len(ids))] for ids in whole], device=device)
            start = min(len(prompt) for prompt, _ in rows) - 1
            logits_RCV = self._decoder.last_logits(ids_RC, width - start)
            asked = [
                (row, len(prompt) - 1 + place - start, token)
                for row, (prompt, text) in enumerate(rows)
                for place, token in enumerate(text)
            ]
            values = iter(_logprobs(logits_RCV, asked))
            found |= {(prompt, text): sum(next(values) for _ in text) for prompt, text in rows}
        return found


def _trees(prompt: Tokens, texts: Sequence[Tokens]) -> list[_Tree]:
    """The texts in as few trees as ``_NODES`` allows, of about the same size."""
    ordered = sorted(texts)
    whole = _Tree(prompt=prompt)
    for text in ordered:
        whole.add(text)
    rows = -(-len(whole.ids) // _NODES)
    if rows < 2:
        return [whole]
    trees = [_Tree(prompt=prompt)]
    for text in ordered:
        if len(trees[-1].ids) * rows >= len(whole.ids):
            trees.append(_Tree(prompt=prompt))
        trees[-1].add(text)
    return trees


def _continued(cache: PrefixCache | PlainCache, owner_R: Tensor) -> PrefixCache | PlainCache:
    """A cache of which row i continues what row ``owner_R[i]`` of ``cache`` holds."""
    rows = copy(cache)
    rows.layers = [copy(layer) for layer in cache.layers]
    rows.batch_select_indices(owner_R)
    return rows


def _logprobs(logits: Tensor, asked: Sequence[tuple[int, int, int]]) -> list[float]:
    """Log-probs of (row, column, token)s under ``logits`` (rows x columns x V)."""
    if not asked:
        return []
    row_M, column_M, token_M = torch.tensor(asked, device=logits.device).T
    value_M = logits[row_M, column_M, token_M].float() - logits.float().logsumexp(-1)[row_M, column_M]
    if not value_M.isfinite().all():
        raise SparringError(NOT_FINITE)
    return value_M.tolist()
