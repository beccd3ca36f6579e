"""How much of real Coq files is replayed, and how long that takes.

    python -m bench.coq_trace [Logic Bool Arith Lists] [--jobs 2] [--out FILE.parquet]

Everything is done anew unless ``--out`` names a file whose parts are there. "Found by reading" counts proofs without running anything:
it should be what Coq opens. "Ready to try": steps whose tactic the environment would accept from a player.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import quantiles

from sparring.coq.trace import CoqTraceOptions, trace_coq
from sparring.envs.coq_files import find_sources, theorems_of
from sparring.envs.coq_replay import replayable
from sparring.trace import read_trace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", default=["Logic", "Bool", "Arith", "Lists"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-premises", action="store_true")
    args = parser.parse_args()
    read = [theorem for source in find_sources(args.sources) for theorem in theorems_of(source) if theorem.proved]
    with tempfile.TemporaryDirectory() as folder:
        out = args.out or Path(folder) / "trace.parquet"
        summary = trace_coq(args.sources, out, options=CoqTraceOptions(jobs=args.jobs, premises=not args.no_premises))
        rows = read_trace(out)
    print("\n".join(summary.lines()))
    print(f"{summary.file_seconds:.0f} s summed over files; found by reading: {len(read)} proofs")
    ready = sum(replayable(row.tactic) for row in rows)
    named = [name for row in rows for name in row.premises]
    print(f"ready to try: {100 * ready / len(rows):.1f} % of the steps; premises: {len(named)}, {len(set(named))} different")
    for what, lengths in (("goal", [len(row.state_before) for row in rows]), ("tactic", [len(row.tactic) for row in rows])):
        cuts = quantiles(lengths, n=100)
        print(f"characters of a {what}, p50/p90/p99: {cuts[49]:.0f}/{cuts[89]:.0f}/{cuts[98]:.0f}")


if __name__ == "__main__":
    main()
