"""How many of the premises that proofs used are found among all that they might have used.

    python -m bench.coq_retrieval --trace X.parquet --libraries Bool,Arith,Lists [--split random premise] [--seed 0] [--out FILE.md]

The libraries are those that the trace was made of. Frequencies and the encoder know the training theorems alone. A premise that is in no
list, or that is not accessible by the list, counts as not found. Recall of a step is the share of its premises among the first k;
reciprocal rank is that of the first one found (within 25). Means are over steps; intervals (95 %) are over theorems, since the steps of
one proof resemble each other. The mixture is reciprocal-rank fusion of BM25 (weight 1), dense (2) and most recent (0.5), weights that were
chosen on the validation set of the random split with seed 0. Times are CPU milliseconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sparring.coq.dense import train_dense
from sparring.coq.glob import Compiler
from sparring.coq.premise_moves import kind_of_move, kinds_of_use, premise_moves
from sparring.coq.premises import Bools, Corpus, read_corpus
from sparring.coq.retrieval import Bm25, Fused, Retriever, frequent, recent
from sparring.coq.splits import SPLITS, entries_of
from sparring.game import stable_hash
from sparring.rundir import commit_text
from sparring.trace import TraceRow, read_trace

CUTS = (1, 10, 25)
MOVES = (12, 24, 48)
HEAD = "| retriever | R@1 | R@10 | R@25 | MRR | nDCG@25 | ms per state |\n|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Steps:
    """Steps that use premises: what is accessible to each, and which places of the corpus are right (-1: in no list)."""

    rows: Sequence[TraceRow]
    accessible_SP: Bools
    right: Sequence[tuple[int, ...]]


def steps_of(corpus: Corpus, rows: Sequence[TraceRow]) -> Steps:
    used = [row for row in rows if row.premises]
    masks = {row.full_name: corpus.accessible_at(*corpus.standing(row)) for row in used}
    found = [tuple(-1 if (place := corpus.find(name)) is None else place for name in row.premises) for row in used]
    return Steps(used, np.array([masks[row.full_name] for row in used]), found)


def figures(ranked: Sequence[int], right: Sequence[int]) -> tuple[float, ...]:
    """Recall at each cut, reciprocal rank, nDCG."""
    hits = [place in right for place in ranked]
    recalls = [sum(hits[:cut]) / len(right) for cut in CUTS]
    gains = [1 / np.log2(2 + rank) for rank in range(max(len(hits), len(right)))]
    gained = sum(gain for gain, hit in zip(gains, hits, strict=False) if hit)
    return (*recalls, next((1 / (1 + rank) for rank, hit in enumerate(hits) if hit), 0.0), gained / sum(gains[: len(right)]))


def interval(values: Sequence[float], theorems: Sequence[str], resamples: int = 1000) -> tuple[float, float, float]:
    """The mean over steps, and a percentile interval from theorems drawn with all their steps."""
    number = {name: place for place, name in enumerate(dict.fromkeys(theorems))}
    owner = np.array([number[name] for name in theorems])
    sums, counts = np.bincount(owner, values), np.bincount(owner)
    rng = np.random.default_rng(stable_hash("retrieval", "bootstrap"))
    draws = rng.integers(0, len(counts), (resamples, len(counts)))
    low, high = np.quantile(sums[draws].sum(axis=1) / counts[draws].sum(axis=1), [0.025, 0.975])
    return float(np.mean(values)), float(low), float(high)


def table(retrievers: Mapping[str, Retriever], steps: Steps) -> Iterator[str]:
    yield HEAD
    theorems = [row.full_name for row in steps.rows]
    for name, retriever in retrievers.items():
        begun = time.process_time()
        ranked = retriever.rank([row.state_before for row in steps.rows], steps.accessible_SP, CUTS[-1])
        each_ms = 1000 * (time.process_time() - begun) / len(theorems)
        columns = zip(*(figures(*pair) for pair in zip(ranked, steps.right, strict=True)), strict=True)
        shown = [interval(column, theorems) for column in columns]
        cells = [f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})" for mean, low, high in shown]
        yield f"| {name} | {' | '.join(cells)} | {each_ms:.2f} |"


def move_shares(corpus: Corpus, retriever: Retriever, steps: Steps) -> list[tuple[float, float]]:
    """For each number of moves: the share of the steps of which one of the moves does what the step does with one of its premises, and
    that of those among them that use a premise on the goal in a way that a move knows."""
    ranked = retriever.rank([row.state_before for row in steps.rows], steps.accessible_SP, MOVES[-1])
    hits, usable = np.zeros((len(steps.rows), len(MOVES))), np.zeros(len(steps.rows), dtype=np.bool_)
    for number, (row, places, right) in enumerate(zip(steps.rows, ranked, steps.right, strict=True)):
        # Places stand for names here, so that two premises with one short name are told apart.
        named = [(str(place), corpus.premises[place]) for place in places]
        wanted = {(str(p), kind) for p, full in zip(right, row.premises, strict=True) for kind in kinds_of_use(row.tactic, full)}
        usable[number] = bool(wanted)
        made = [(move.split()[-1], kind_of_move(move)) for move in premise_moves(named, MOVES[-1])]
        hits[number] = [any(move in wanted for move in made[:count]) for count in MOVES]
    return [(float(column.mean()), float(column[usable].mean())) for column in hits.T]


def of_split(corpus: Corpus, rows: Sequence[TraceRow], kind: str, seed: int) -> Iterator[str]:
    split = SPLITS[kind](entries_of(rows), seed, 0.1)
    parts = {name: [row for row in rows if row.full_name in names] for name, names in ((n, set(t)) for n, t in split.items())}
    begun = time.process_time()
    dense = train_dense(corpus, parts["train"], seed)
    seconds = time.process_time() - begun
    bm25, late = Bm25(corpus), recent(corpus)
    mixture = Fused({bm25: 1.0, dense: 2.0, late: 0.5})
    retrievers = {"most recent": late, "most frequent in training": frequent(corpus, parts["train"])}
    retrievers |= {"BM25": bm25, "dense": dense, "mixture": mixture}
    yield f"## Split: {kind}"
    yield f"The encoder was trained in {seconds:.0f} s of one CPU core."
    for name in ("validation", "test"):
        steps = steps_of(corpus, parts[name])
        yield f"\n### {name.capitalize()}: {len(steps.rows)} steps of {len({r.full_name for r in steps.rows})} theorems\n"
        yield from table(retrievers, steps)
        if name == "validation":
            shares = zip(MOVES, move_shares(corpus, mixture, steps), strict=True)
            said = "; ".join(f"{n} moves: {100 * share:.1f} % ({100 * of:.1f} %)" for n, (share, of) in shares)
            ratio = 100 * len(steps.rows) / len(parts[name])
            yield f"\nMoves from the mixture, steps whose use of a premise is among the first n: {said}. In brackets: of the steps that use"
            yield f"a premise on the goal by apply, rewrite, unfold or destruct. {ratio:.0f} % of all steps name a premise."


def of_corpus(corpus: Corpus, rows: Sequence[TraceRow]) -> Iterator[str]:
    steps = steps_of(corpus, rows)
    uses = [(row, place) for row, mask in enumerate(steps.right) for place in mask]
    listed = [(row, place) for row, place in uses if place >= 0]
    stated = sum(bool(corpus.premises[place].statement) for _, place in listed)
    within = sum(bool(steps.accessible_SP[row, place]) for row, place in listed)
    mean = steps.accessible_SP.sum(axis=1).mean()
    yield f"{len(corpus)} premises in {len(corpus.closures)} files; {mean:.0f} accessible to a step on average."
    yield f"{len(uses)} uses of premises in {len(steps.rows)} steps: {100 * len(listed) / len(uses):.1f} % are of listed premises,"
    yield f"{100 * stated / len(uses):.1f} % of premises with a statement, {100 * within / len(uses):.1f} % of accessible ones.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--libraries", default="Bool,Arith,Lists,Logic,Relations,Sets")
    parser.add_argument("--split", nargs="+", choices=sorted(SPLITS), default=["random", "premise"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("bench/results/coq_retrieval.md"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_trace(args.trace)
    built = args.trace.with_name(f"{args.trace.name}.parts") / "built"
    with tempfile.TemporaryDirectory() as folder:
        compiler = Compiler(built=built if built.is_dir() else Path(folder), timeout_s=600, memory_mb=4000)
        corpus = read_corpus(args.libraries.split(","), compiler)
    lines = ["# Premises found for Coq's proofs", "", f"Libraries: {args.libraries}. Seed {args.seed}. Figures in percent.", ""]
    lines += [(__doc__ or "").rpartition("\n\n")[2].strip(), "", *of_corpus(corpus, rows)]
    for kind in args.split:
        lines += [*of_split(corpus, rows, kind, args.seed), ""]
    commit_text(args.out, "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
