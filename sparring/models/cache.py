"""What a batch of samples remembers: attention states that are read once for a prompt and shared by all of its samples.

``PrefixCache`` keeps a prompt's keys and values once. A row is one sample: its query meets the prompt's keys together with
its siblings' queries in one matrix product, and the few keys of its own in another; one softmax spans both, so the result
is ordinary attention. (The split is Hydragen's, arXiv 2402.05099 sec. 3.1; it joins the outputs of two softmaxes, and
joining the scores before one is simpler.) It plugs into transformers as an attention function and works for
models that call one and change nothing around it. ``PlainCache`` copies the prompt's states to each row, for the others.

Both are used alike: read the prompts with the cache, ``open`` it, run each ``step``, ``keep_rows`` when samples end, ``branch``
where one goes on in several ways.

Shape legend: P prompts, W places per prompt, R live rows (R <= P x W), T prompt columns (some padding), S own tokens so far,
C = T + S, K key heads, G query heads per key head, H = K x G, D head size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sparring.errors import SparringError

_NAME = "sparring_prefix"
"""The attention implementation under which transformers knows ``attend``."""

_HARMLESS = {"scaling", "dropout", "position_ids", "use_cache", "output_router_logits", "output_attentions"}
"""Options of attention functions that ``attend`` honours or that mean nothing in a step; any other makes a model plain."""

_BMM_FROM = 32
"""S x G from which a batched product beats multiply-and-sum, which has no cost per row (measured on CPU)."""


class UnsharedAttention(Exception):
    """The model's attention is more than keys, values and a scale, so it cannot be split at the end of the prompt."""


class PrefixLayer(DynamicLayer):
    """One layer's states: ``prompt_*`` (P, K, T, D), and ``own_*`` (room, R, K, D), of which ``own_length`` are filled.

    Own tokens come first in the layout, so that a step writes one stretch of memory.
    """

    prompt_keys: Tensor
    prompt_values: Tensor
    own_keys: Tensor
    own_values: Tensor
    own_length: int | None = None
    unread: tuple[Tensor, Tensor] | None = None
    """The newest states, from ``update`` until the attention function asks for them."""

    def open(self, rows: int, room: int) -> None:
        """End the prompts; make ``room`` for the tokens of ``rows`` rows."""
        if self.keys is None or self.values is None:
            raise UnsharedAttention("a layer keeps no states")
        self.prompt_keys, self.prompt_values = self.keys, self.values
        heads = self.keys.shape[1]
        self.own_keys = self.keys.new_empty(room, rows, heads, self.keys.shape[-1])
        self.own_values = self.values.new_empty(room, rows, heads, self.values.shape[-1])
        self.own_length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if self.own_length is None:
            return super().update(key_states, value_states)
        self.own_keys[self.own_length] = key_states.squeeze(2)
        self.own_values[self.own_length] = value_states.squeeze(2)
        self.own_length += 1
        self.unread = key_states, value_states
        return self.unread

    def check_read(self, key: Tensor, value: Tensor) -> None:
        """Whether attention is asked for exactly the states that were kept, not for something made of them."""
        if self.unread is None or key is not self.unread[0] or value is not self.unread[1]:
            raise UnsharedAttention("the model changes keys or values after keeping them")
        self.unread = None

    def keep_rows(self, order_R: Tensor, moved: Tensor) -> None:
        """Row i becomes what row ``order_R[i]`` was; it is copied for i in ``moved`` and stays for the others."""
        for block in (self.own_keys, self.own_values):
            block[: self.own_length, moved] = block[: self.own_length, order_R[moved]]
        self.own_keys, self.own_values = self.own_keys[:, : len(order_R)], self.own_values[:, : len(order_R)]

    def branch(self, parent_R: Tensor) -> None:
        """Row i becomes a copy of what row ``parent_R[i]`` was."""
        self.own_keys, self.own_values = (self._copies(block, parent_R) for block in (self.own_keys, self.own_values))

    def _copies(self, block: Tensor, parent_R: Tensor) -> Tensor:
        copies = block.new_empty(len(block), len(parent_R), *block.shape[2:])
        torch.index_select(block[: self.own_length], 1, parent_R, out=copies[: self.own_length])
        return copies

    def keep_prompts(self, live_P: Tensor) -> None:
        self.keys = self.prompt_keys = self.prompt_keys[live_P]
        self.values = self.prompt_values = self.prompt_values[live_P]

    def prompt_scores(self, query: Tensor, bias: Tensor) -> Tensor:
        """Scores (P, W, K, G, T) of grouped queries (P, W, K, G, D) against their prompt's keys."""
        prompts, places, heads, group, size = query.shape
        flat = query.transpose(1, 2).reshape(prompts * heads, places * group, size)
        scores = torch.baddbmm(bias, flat, self.prompt_keys.flatten(0, 1).mT)
        return scores.view(prompts, heads, places, group, -1).transpose(1, 2)

    def prompt_output(self, weight: Tensor) -> Tensor:
        """Weights (P, W, K, G, T) times the prompt's values: (P, W, K, G, D)."""
        prompts, places, heads, group, length = weight.shape
        flat = weight.transpose(1, 2).reshape(prompts * heads, places * group, length)
        return torch.bmm(flat, self.prompt_values.flatten(0, 1)).view(prompts, heads, places, group, -1).transpose(1, 2)

    def own_scores(self, query: Tensor) -> Tensor:
        """Scores (R, K, G, S) of queries (R, K, G, D) against the row's own keys."""
        keys = self.own_keys[: self.own_length]
        if len(keys) * query.shape[2] < _BMM_FROM:
            return (keys.unsqueeze(3) * query).sum(-1).movedim(0, -1)
        return torch.bmm(query.flatten(0, 1), keys.flatten(1, 2).permute(1, 2, 0)).view(*query.shape[:3], -1)

    def own_output(self, weight: Tensor) -> Tensor:
        """Weights (R, K, G, S) times the row's own values: (R, K, G, D)."""
        values = self.own_values[: self.own_length]
        if len(values) * weight.shape[2] < _BMM_FROM:
            return (weight.movedim(-1, 0).unsqueeze(-1) * values.unsqueeze(3)).sum(0)
        return torch.bmm(weight.flatten(0, 1), values.flatten(1, 2).transpose(0, 1)).view(*weight.shape[:3], -1)


class _Grid:
    """Rows at their places among siblings: a P x W grid, with holes where a row has ended."""

    def __init__(self, owner_R: Tensor, prompts: int) -> None:
        count_P = owner_R.bincount(minlength=prompts)
        order_R = owner_R.argsort(stable=True)
        first_R = (count_P.cumsum(0) - count_P)[owner_R[order_R]]
        everyone_R = torch.arange(len(owner_R), device=owner_R.device)
        self.prompts, self.width = prompts, int(count_P.max())
        place_R = torch.empty_like(owner_R)
        place_R[order_R] = owner_R[order_R] * self.width + everyone_R - first_R
        self.owner_R = owner_R
        self.place_R = place_R
        self.full = len(owner_R) == prompts * self.width and torch.equal(place_R, everyone_R)

    def keep_rows(self, order_R: Tensor) -> None:
        self.owner_R, self.place_R, self.full = self.owner_R[order_R], self.place_R[order_R], False

    def spread(self, rows: Tensor) -> Tensor:
        """(R, ...) -> (P, W, ...), zeros in the holes."""
        if not self.full:
            rows = rows.new_zeros(self.prompts * self.width, *rows.shape[1:]).index_copy_(0, self.place_R, rows)
        return rows.unflatten(0, (self.prompts, self.width))

    def collect(self, places: Tensor) -> Tensor:
        """(P, W, ...) -> (R, ...)."""
        rows = places.flatten(0, 1)
        return rows if self.full else rows.index_select(0, self.place_R)


class PrefixCache(Cache):
    """Prompts kept once, answers kept per row; see the module."""

    def __init__(self, config: PreTrainedConfig) -> None:
        self._layers = [PrefixLayer() for _ in _layer_types(config)]
        super().__init__(layers=[*self._layers])

    def open(self, owner_R: Tensor, pad_PT: Tensor, room: int) -> None:
        """The prompts are read: row r continues prompt ``owner_R[r]`` by up to ``room`` tokens. ``pad_PT``: true on padding."""
        for layer in self._layers:
            layer.open(len(owner_R), room)
        self._grid = _Grid(owner_R, len(pad_PT))
        # Added to the scores of a prompt's keys; one broadcast zero spares unpadded batches the memory traffic.
        keys = self._layers[0].prompt_keys
        self._bias = keys.new_zeros(1, 1, 1)
        if pad_PT.any():
            bias_PT = keys.new_zeros(pad_PT.shape).masked_fill_(pad_PT, torch.finfo(keys.dtype).min)
            self._bias = bias_PT.repeat_interleave(keys.shape[1], 0).unsqueeze(1)

    @contextmanager
    def step(self) -> Iterator[None]:
        """The block in which each row reads one more token; the model is called with the mask it yields, here none."""
        # transformers hands an attention function no cache, so it is bound for the time of the step.
        token = _STEPPING.set(self)
        try:
            yield
        finally:
            _STEPPING.reset(token)
        if any(layer.unread is not None for layer in self._layers):
            raise UnsharedAttention("a layer does not use the attention function")

    def keep_rows(self, order_R: Tensor) -> None:
        """Row i becomes what row ``order_R[i]`` was; rows not named are gone."""
        moved = (order_R != torch.arange(len(order_R), device=order_R.device)).nonzero().flatten()
        for layer in self._layers:
            layer.keep_rows(order_R, moved)
        self._grid.keep_rows(order_R)
        self._regrid_if_sparse()

    def branch(self, parent_R: Tensor) -> None:
        """Row i becomes a copy of what row ``parent_R[i]`` was; a row may have any number of copies."""
        for layer in self._layers:
            layer.branch(parent_R)
        self._grid = _Grid(self._grid.owner_R[parent_R], self._grid.prompts)
        self._regrid_if_sparse()

    def _regrid_if_sparse(self) -> None:
        """Close the holes once they are half of the grid: forget prompts without rows; the largest family sets the width."""
        if not 0 < 2 * len(self._grid.owner_R) <= self._grid.prompts * self._grid.width:
            return
        live_P, owner_R = self._grid.owner_R.unique(return_inverse=True)
        if len(live_P) < self._grid.prompts:
            for layer in self._layers:
                layer.keep_prompts(live_P)
            if len(self._bias) > 1:
                self._bias = self._bias.unflatten(0, (self._grid.prompts, -1))[live_P].flatten(0, 1)
        self._grid = _Grid(owner_R, len(live_P))

    def attend(self, index: int, query_RH1D: Tensor, states: tuple[Tensor, Tensor], scaling: float) -> Tensor:
        """Attention output (R, 1, H, D) of layer ``index`` for one query per row; ``states`` are the newest, just kept."""
        layer, grid = self._layers[index], self._grid
        layer.check_read(*states)
        query = query_RH1D.squeeze(2).unflatten(1, (layer.prompt_keys.shape[1], -1)) * scaling
        prompt = grid.collect(layer.prompt_scores(grid.spread(query), self._bias))
        scores = torch.cat([prompt, layer.own_scores(query)], -1)
        weight = scores.softmax(-1, dtype=torch.float32).to(scores.dtype)
        split = prompt.shape[-1]
        output = grid.collect(layer.prompt_output(grid.spread(weight[..., :split])))
        return (output + layer.own_output(weight[..., split:])).flatten(1, 2).unsqueeze(1)


class PlainCache(DynamicCache):
    """A ``PrefixCache`` in use, but every row keeps its prompt's states: right for any attention that transformers caches."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config=config)

    def open(self, owner_R: Tensor, pad_PT: Tensor, room: int) -> None:
        self.batch_select_indices(owner_R)
        self.mask_RC = (~pad_PT).long()[owner_R] if pad_PT.any() else None

    @contextmanager
    def step(self) -> Iterator[Tensor | None]:
        if self.mask_RC is not None:
            self.mask_RC = nn.functional.pad(self.mask_RC, (0, 1), value=1)
        yield self.mask_RC

    def keep_rows(self, order_R: Tensor) -> None:
        self.batch_select_indices(order_R)
        if self.mask_RC is not None:
            self.mask_RC = self.mask_RC[order_R]

    def branch(self, parent_R: Tensor) -> None:
        self.keep_rows(parent_R)


_STEPPING: ContextVar[PrefixCache | None] = ContextVar("the prefix cache of the step in progress", default=None)


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """An attention function for transformers: SDPA, except in a step of a ``PrefixCache``."""
    cache = _STEPPING.get()
    if cache is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if strange := sorted(name for name in options.keys() - _HARMLESS if options[name] is not None):
        raise UnsharedAttention(f"attention with {', '.join(strange)}")
    if not isinstance(module.layer_idx, int):
        raise UnsharedAttention(f"{type(module).__name__} has no layer index")
    scaling = options.get("scaling")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return cache.attend(module.layer_idx, query, (key, value), scaling), None


AttentionInterface.register(_NAME, attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)


def _layer_types(config: PreTrainedConfig) -> list[type]:
    return [type(layer) for layer in DynamicCache(config=config).layers]


def keeps_everything(config: PreTrainedConfig) -> bool:
    """Whether every layer looks back to the first token, not over a window of columns."""
    return set(_layer_types(config)) == {DynamicLayer}


def cache_type(model: PreTrainedModel) -> type[PrefixCache] | type[PlainCache]:
    """The better of the caches that ``model`` can use, found by a trial of two tokens; sets its attention accordingly.

    Raises SparringError for models that keep anything else than attention states (recurrent ones).
    """
    kinds = set(_layer_types(model.config))
    if strange := kinds - {DynamicLayer, DynamicSlidingWindowLayer}:
        raise SparringError(
            f"{type(model).__name__} keeps {', '.join(sorted(kind.__name__ for kind in strange))} states; this sampler "
            "continues attention states only: serve the model with vLLM and play through the openai backend"
        )
    usual = model.config._attn_implementation
    if kinds != {DynamicLayer} or usual != "sdpa":
        return PlainCache
    model.set_attn_implementation(_NAME)
    if model.config._attn_implementation != _NAME:
        return PlainCache
    try:
        _try_step(model)
    except UnsharedAttention:
        model.set_attn_implementation(usual)
        return PlainCache
    return PrefixCache


@torch.inference_mode()
def _try_step(model: PreTrainedModel) -> None:
    """Raises UnsharedAttention if a step with a ``PrefixCache`` would not be ordinary attention."""
    cache, ids = PrefixCache(model.config), torch.zeros(1, 1, dtype=torch.long, device=model.device)
    model(input_ids=ids, past_key_values=cache, use_cache=True)
    cache.open(ids[0], ids != 0, 1)
    with cache.step():
        model(input_ids=ids, past_key_values=cache, use_cache=True)
