"""The premises of a world's theorems, found by a retriever that was trained on its training proofs alone.

The encoder is trained when it is first asked for, minutes of one core for a library of a thousand theorems, and kept beside the trace by
what it depends on: the trace, the split, and the seed.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Literal

from sparring.coq.glob import Compiler
from sparring.coq.premise_moves import PremiseMoves
from sparring.coq.premises import Corpus, read_corpus
from sparring.coq.retrieval import Bm25, Fused, Retriever, recent
from sparring.coq.world import CoqWorld
from sparring.game import stable_hash

Kind = Literal["bm25", "dense", "mixture"]
MIXED = (1.0, 2.0, 0.5)
"""Weights of BM25, the encoder and nearness in the mixture: what the validation theorems of Bool, Arith and Lists preferred."""


def premises_of(world: CoqWorld, kind: Kind, seed: int, moves: int = 24) -> PremiseMoves:
    """Of ``moves`` tactics for a goal at most. Where the training proofs use no premise there is nothing to train an encoder on: a
    mixture is BM25 alone then, and ``dense`` raises SparringError."""
    built = world.trace.with_name(f"{world.trace.name}.parts") / "built"
    world.rows("train")  # the trace is there from now on, and with it what it compiled
    with tempfile.TemporaryDirectory() as folder:
        compiler = Compiler(
            built=built if built.is_dir() else Path(folder),
            timeout_s=600,
            memory_mb=4000,
            allow_unsandboxed=world.allow_unsandboxed,
        )
        corpus = read_corpus(world.libraries, compiler)
    return PremiseMoves(corpus, _retriever(world, kind, corpus, seed), moves)


def _retriever(world: CoqWorld, kind: Kind, corpus: Corpus, seed: int) -> Retriever:
    rows = world.rows("train")
    if kind == "bm25" or (kind == "mixture" and not any(corpus.find(name) is not None for row in rows for name in row.premises)):
        return Bm25(corpus)
    from sparring.coq.dense import load_dense, train_dense

    trace = hashlib.blake2b(world.trace.read_bytes(), digest_size=16).hexdigest()
    key = stable_hash(trace, world.split, world.seed, world.held_out, seed)
    folder = world.trace.with_name(f"{world.trace.name}.parts") / f"encoder-{key:016x}"
    if not folder.is_dir():
        train_dense(corpus, rows, seed).save(folder)
    dense = load_dense(folder, corpus)
    if kind == "dense":
        return dense
    return Fused(dict(zip((Bm25(corpus), dense, recent(corpus)), MIXED, strict=True)))
