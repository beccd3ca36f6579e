"""A small encoder that puts states and premises into one space, trained here on the premises that training proofs used.

One text is its pieces (``retrieval.pieces``), hashed into a table of vectors, each mixed with the one before it, and a mean weighted by
attention: 128 numbers of length 1. A state is near the premises that a step from it used: InfoNCE over the premises of the batch, each
state with one hard negative that BM25 ranks high among the accessible ones; what is also right for a state is no negative (arXiv
2306.15626 sec. 5).

Few steps name a premise, so each batch has as many pairs that need no proof: what a premise says, as a goal, and its name.

Shapes: B pairs, T pieces, S states, P premises, E the width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from sparring.coq.premises import Bools, Corpus
from sparring.coq.retrieval import Bm25, Floats, best, pieces, premise_text
from sparring.errors import SparringError
from sparring.game import stable_hash
from sparring.rundir import commit
from sparring.trace import TraceRow

_GOAL = "⊢ "
_WEIGHTS, _SHAPE = "model.safetensors", "config.json"


@dataclass(frozen=True, kw_only=True)
class DenseOptions:
    """``buckets``: rows of the table. ``pieces``: of a text, its last ones, where the goal is. ``hard``: ranks of BM25 that hard negatives
    are drawn from. ``epochs``: over the pairs of the trace."""

    buckets: int = 4096
    width: int = 128
    pieces: int = 96
    epochs: int = 12
    batch: int = 64
    hard: int = 20
    rate: float = 2e-3
    temperature: float = 0.07


class Encoder(nn.Module):
    """Row 0 of the table is padding. States and premises share all but a vector that says which of them a text is."""

    def __init__(self, options: DenseOptions) -> None:
        super().__init__()
        width = options.width
        self.table = nn.Embedding(options.buckets + 1, width, padding_idx=0)
        nn.init.normal_(self.table.weight[1:], std=width**-0.5)
        self.roles = nn.Parameter(torch.randn(2, width) * 0.02)
        self.mix = nn.Linear(2 * width, width)
        self.weigh = nn.Linear(width, 1)
        self.out = nn.Linear(width, width)

    def forward(self, ids_BT: Tensor, role: int) -> Tensor:
        """[B, E] of length 1. Role 0: states, 1: premises."""
        gone_BT = ids_BT == 0
        inputs_BTE = functional.dropout(self.table(ids_BT) + self.roles[role], 0.1, self.training)
        before_BTE = functional.pad(inputs_BTE, (0, 0, 1, -1))
        mixed_BTE = inputs_BTE + functional.gelu(self.mix(torch.cat([inputs_BTE, before_BTE], dim=-1)))
        weights_BT = self.weigh(mixed_BTE).squeeze(-1).masked_fill(gone_BT, -torch.inf).softmax(dim=-1)
        mean_BE = torch.einsum("bt,bte->be", weights_BT, mixed_BTE)
        return functional.normalize(mean_BE + self.out(mean_BE), dim=-1)


@dataclass(frozen=True)
class _Pair:
    """A state, a right premise, all right ones, and the ones to be told from them. ``named``: the premise is given by name alone."""

    state: str
    premise: int
    right: frozenset[int]
    hard: tuple[int, ...] = ()
    named: bool = False


class Dense:
    """Ranks by the cosine of encoded texts; premises are encoded once."""

    def __init__(self, encoder: Encoder, options: DenseOptions, corpus: Corpus) -> None:
        self.encoder = encoder.eval()
        self.options = options
        self._vectors_PE = self._encode([premise_text(premise) for premise in corpus.premises], role=1)

    def scores(self, states: Sequence[str]) -> Floats:
        """[S, P]"""
        return (self._encode(states, role=0) @ self._vectors_PE.T).numpy()

    def rank(self, states: Sequence[str], accessible_SP: Bools, count: int) -> list[list[int]]:
        return best(self.scores(states), accessible_SP, count)

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str], role: int) -> Tensor:
        """In batches of texts of one length, so that none is padded far."""
        ids = [_ids(text, self.options) for text in texts]
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        vectors = torch.empty(len(ids), self.options.width)
        for start in range(0, len(order), 256):
            places = order[start : start + 256]
            vectors[places] = self.encoder(_padded([ids[place] for place in places]), role)
        return vectors

    def save(self, folder: Path) -> None:
        """Two files in a folder that appears whole or not at all."""
        weights = {name: tensor.contiguous() for name, tensor in self.encoder.state_dict().items()}

        def write(partial: Path) -> None:
            partial.mkdir()
            save_file(weights, partial / _WEIGHTS)
            (partial / _SHAPE).write_text(json.dumps(asdict(self.options), indent=1) + "\n", encoding="utf-8")

        commit(folder, write)


def load_dense(folder: Path, corpus: Corpus) -> Dense:
    """Raises SparringError for a folder that holds no such encoder."""
    try:
        options = DenseOptions(**json.loads((folder / _SHAPE).read_text("utf-8")))
        encoder = Encoder(options)
        encoder.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise SparringError(f"{folder} holds no encoder of premises: {error}") from None
    return Dense(encoder, options, corpus)


def train_dense(corpus: Corpus, rows: Sequence[TraceRow], seed: int, options: DenseOptions | None = None) -> Dense:
    """Trained on the rows, which must be those of training theorems. Raises SparringError where none of them uses a premise."""
    options = options or DenseOptions()
    used = _used(corpus, rows, options)
    if not used:
        raise SparringError("no row of this trace uses a premise of this corpus; trace with --premises")
    said = _said(corpus)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_hash(seed, "dense"))
        encoder = Encoder(options).train()
        steps = options.epochs * -(-len(used) // options.batch)
        learner = torch.optim.AdamW(encoder.parameters(), lr=options.rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(learner, options.rate, total_steps=steps, pct_start=0.1)
        for batch in _batches(used, said, options, seed):
            loss = _loss(encoder, corpus, batch, options)
            learner.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            learner.step()
            schedule.step()
    return Dense(encoder, options, corpus)


def _used(corpus: Corpus, rows: Sequence[TraceRow], options: DenseOptions) -> list[_Pair]:
    """A pair for each premise of each step, with what BM25 would have offered instead."""
    found = [(row, frozenset(p for name in row.premises if (p := corpus.find(name)) is not None)) for row in rows]
    found = [(row, right) for row, right in found if right]
    bm25, pairs = Bm25(corpus), list[_Pair]()
    for row, right in found:
        mask = corpus.accessible_at(*corpus.standing(row))
        (ranked,) = bm25.rank([row.state_before], mask[None], options.hard)
        hard = tuple(place for place in ranked if place not in right)
        pairs += [_Pair(row.state_before, place, right, hard) for place in sorted(right)]
    return pairs


def _said(corpus: Corpus) -> list[_Pair]:
    return [
        _Pair(_GOAL + premise.statement, place, frozenset((place,)), named=True)
        for place, premise in enumerate(corpus.premises)
        if premise.statement and premise.kind != "abbreviation"
    ]


def _batches(used: Sequence[_Pair], said: Sequence[_Pair], options: DenseOptions, seed: int) -> Iterator[list[tuple[_Pair, int]]]:
    """Pairs with a hard negative each (-1: none): every pair of the trace once in an epoch, beside as many that were drawn of ``said``."""
    for epoch in range(options.epochs):
        draw = Random(stable_hash(seed, "pairs", epoch))
        order = draw.sample(used, len(used))
        for start in range(0, len(order), options.batch):
            real = order[start : start + options.batch]
            extra = draw.sample(said, min(len(real), len(said)))
            yield [(pair, draw.choice(pair.hard) if pair.hard else -1) for pair in [*real, *extra]]


def _loss(encoder: Encoder, corpus: Corpus, batch: Sequence[tuple[_Pair, int]], options: DenseOptions) -> Tensor:
    """Cross-entropy of each state's own premise among all of the batch and all hard negatives."""
    pairs = [pair for pair, _ in batch]
    places = [pair.premise for pair in pairs] + [hard for _, hard in batch if hard >= 0]
    premises = [corpus.premises[place] for place in places]
    texts = [premise.name.partition(".")[2] for premise in premises[: len(pairs)]]
    texts = [name if pair.named else premise_text(p) for name, pair, p in zip(texts, pairs, premises, strict=False)]
    texts += [premise_text(premise) for premise in premises[len(pairs) :]]
    states_BE = encoder(_padded([_ids(pair.state, options) for pair in pairs]), 0)
    premises_PE = encoder(_padded([_ids(text, options) for text in texts]), 1)
    scores_BP = states_BE @ premises_PE.T / options.temperature
    also = [[column != row and place in pair.right for column, place in enumerate(places)] for row, pair in enumerate(pairs)]
    return functional.cross_entropy(scores_BP.masked_fill(torch.tensor(also), -torch.inf), torch.arange(len(pairs)))


@lru_cache(maxsize=1 << 16)
def _bucket(piece: str, buckets: int) -> int:
    return 1 + stable_hash("piece", piece) % buckets


def _ids(text: str, options: DenseOptions) -> list[int]:
    """The last pieces; one that stands for nothing where there is none."""
    return [_bucket(piece, options.buckets) for piece in pieces(text)[-options.pieces :]] or [_bucket("", options.buckets)]


def _padded(ids: Sequence[Sequence[int]]) -> Tensor:
    width = max(len(row) for row in ids)
    padded = np.zeros((len(ids), width), dtype=np.int64)
    for row, values in enumerate(ids):
        padded[row, : len(values)] = values
    return torch.from_numpy(padded)
