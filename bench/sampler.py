"""Our sampler against transformers' ``generate``: useful tokens per CPU-second from the same model at the same settings.

Run it from the repository as ``.venv/bin/python -m bench.sampler`` (about fifteen minutes; an otherwise idle machine gives the
cleanest figures). The model is a random Llama of a million parameters whose head is sharpened to about the entropy of a
trained one and whose answers end at random, so that they have many lengths. ``generate`` gets prompts sorted by length and,
for every shape, the batch that is quickest for it; our side always runs with its defaults, and also returns log-probs. A
useful token is one up to and including the end of its answer. Both sides run in this process and take turns, and both wait
passively for other threads, or two threads would crawl beside any other process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read as torch loads; threads that spin while they wait would measure the neighbours

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from sparring.config import Policy
from sparring.data import encode_prompt
from sparring.game import Sampling
from sparring.models.hf import HFModel
from tests.tiny import save_tiny

RESULTS = Path(__file__).parent / "results"
VOCABULARY, END = 300, 1
ROWS = (16, 64, 128, 256, 512)
MIN_CPU_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """``prompts`` prompts of ``length`` tokens (from, to), ``how`` each is answered, and the target for the ratio."""

    name: str
    prompts: int
    length: tuple[int, int]
    how: Sampling
    target: float = 1.0


def sampling(n: int, new: int) -> Sampling:
    return Sampling(n=n, temperature=0.7, top_p=0.9, max_new_tokens=new)


SHAPES = (
    Shape(name="8 prompts x 8, 128-token prompts", prompts=8, length=(128, 128), how=sampling(8, 32), target=2.0),
    Shape(name="256 prompts x 6, prompts of 8-120 tokens", prompts=256, length=(8, 120), how=sampling(6, 64), target=1.5),
    Shape(name="256 prompts x 1, prompts of 8-120 tokens", prompts=256, length=(8, 120), how=sampling(1, 64)),
    Shape(name="1 prompt x 1, 32-token prompt", prompts=1, length=(32, 32), how=sampling(1, 64)),
    Shape(name="4 prompts x 8, 512-token prompts, answers up to 256", prompts=4, length=(512, 512), how=sampling(8, 256)),
)


def make_policy(folder: Path) -> Path:
    """A random model of 0.9 M parameters that may end an answer after any token, about as likely after one as after another."""
    sizes: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_key_value_heads": 4}
    save_tiny(folder, vocab=VOCABULARY, max_position_embeddings=1024, initializer_range=0.05, mlp_bias=True, **sizes)
    model = AutoModelForCausalLM.from_pretrained(folder)
    head, last = model.lm_head.weight.data, model.model.layers[-1].mlp.down_proj
    head *= 10  # about the entropy of a trained model
    # One direction of the last state is all but constant, and the end of an answer alone looks at it.
    last.bias.data[0] = 8.0
    head[:, 0] = 0.0
    head[END] = 0.0
    head[END, 0] = 0.92  # some 20 tokens to an answer on short prompts
    model.save_pretrained(folder)
    return folder


def make_prompts(shape: Shape) -> list[str]:
    """Random words; the template adds two tokens, and a word and the space after it are two."""
    draw = random.Random(shape.name)
    lengths = [draw.randint(*shape.length) for _ in range(shape.prompts)]
    return [" ".join(f"w{draw.randrange(VOCABULARY - 10)}" for _ in range(length // 2 - 1)) for length in lengths]


def run_ours(model: HFModel, prompts: Sequence[str], how: Sampling, seed: int) -> int:
    return sum(len(sample.token_ids) for group in model.sample(prompts, how, role="solver", seed=seed) for sample in group)


@dataclass(frozen=True)
class Generate:
    """The other side, with ``rows`` samples to a batch."""

    model: Any  # transformers does not say that a causal language model generates
    tokenizer: PreTrainedTokenizerBase
    rows: int

    @torch.inference_mode()
    def run(self, prompts: Sequence[str], how: Sampling, seed: int) -> int:
        torch.manual_seed(seed)
        encoded = sorted((encode_prompt(self.tokenizer, prompt) for prompt in prompts), key=len)
        size, useful = max(1, self.rows // how.n), 0
        for start in range(0, len(encoded), size):
            batch = self.tokenizer.pad({"input_ids": encoded[start : start + size]}, return_tensors="pt", padding_side="left")
            out = self.model.generate(
                **batch,
                do_sample=True,
                temperature=how.temperature,
                top_p=how.top_p,
                top_k=0,
                num_return_sequences=how.n,
                max_new_tokens=how.max_new_tokens,
            )
            answers = out[:, batch["input_ids"].shape[1] :]
            self.tokenizer.batch_decode(answers, skip_special_tokens=True)
            ended = answers == END
            first = torch.where(ended.any(1), ended.int().argmax(1) + 1, answers.shape[1])
            useful += int(first.sum())
        return useful


def measure(run: Callable[[int], int], seeds: Sequence[int]) -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    useful = sum(run(seed) for seed in seeds)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"useful": useful, "cpu_s": cpu, "wall_s": wall, "per_cpu_s": useful / cpu, "per_s": useful / wall}


def compare(shape: Shape, ours: HFModel, model: Any, repeats: int) -> dict[str, Any]:
    """Medians of alternating runs; a small shape is run with many seeds at a time, so that it can be timed."""
    prompts, how = make_prompts(shape), shape.how

    def generate(rows: int) -> Callable[[int], int]:
        return lambda seed: Generate(model, ours.tokenizer, rows).run(prompts, how, seed)

    sizes = sorted({min(max(rows, how.n), shape.prompts * how.n) for rows in ROWS})
    trials = {rows: measure(generate(rows), [0]) for rows in sizes}
    best = max(trials, key=lambda rows: trials[rows]["per_cpu_s"])
    seeds = range(math.ceil(min(MIN_CPU_S / trials[best]["cpu_s"], 50)))
    sides = {"ours": lambda seed: run_ours(ours, prompts, how, seed), "generate": generate(best)}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for turn in range(-1, repeats):
        for name, run in sides.items():
            result = measure(run, [turn * len(seeds) + seed for seed in seeds] if turn >= 0 else [0])
            if turn >= 0:  # the first is to warm up
                runs[name].append(result)
    medians = {name: {key: statistics.median(run[key] for run in runs[name]) for key in runs[name][0]} for name in sides}
    ratios = {key: medians["ours"][key] / medians["generate"][key] for key in ("per_cpu_s", "per_s")}
    answers = shape.prompts * how.n
    head = {"shape": shape.name, "target": shape.target, "answers": answers * len(seeds), "rows": best}
    return {**head, "median": medians, "ratio": ratios, "runs": runs}


def table(results: Sequence[Mapping[str, Any]]) -> str:
    heads = (
        "shape",
        "tokens an answer",
        "threads",
        "ours",
        "generate",
        "ratio",
        "target",
        "ratio in wall time",
        "generate's rows",
    )
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for result in results:
        median, ratio = result["median"], result["ratio"]
        cells = [
            result["shape"],
            f"{median['ours']['useful'] / result['answers']:.0f}",
            str(result["threads"]),
            f"{median['ours']['per_cpu_s']:.0f}",
            f"{median['generate']['per_cpu_s']:.0f}",
            f"{ratio['per_cpu_s']:.2f}",
            f"{result['target']:.1f}",
            f"{ratio['per_s']:.2f}",
            str(result["rows"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(results: Sequence[Mapping[str, Any]], repeats: int) -> str:
    from importlib.metadata import version

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    missed = [f"{r['shape']} ({r['threads']} threads)" for r in results if r["ratio"]["per_cpu_s"] < r["target"]]
    return f"""# The sampler against transformers' generate

Useful tokens per CPU-second (up to and including the end of each answer), temperature 0.7, top-p 0.9, a random Llama of 0.9 M
parameters, float32; medians of {repeats} alternating runs in one process. {versions}; {platform.processor() or platform.machine()},
{os.cpu_count()} cores. Made by `python -m bench.sampler`.

{table(results)}

Targets: {"missed for " + "; ".join(missed) if missed else "all reached"}. `generate` runs with prompts sorted by length and the
quickest of {", ".join(map(str, ROWS))} rows to a batch; our side with its defaults.
"""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5, help="alternating runs of each side (default: 5)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts (default: 1 2)")
    parser.add_argument("--shapes", default="", help="only shapes whose name contains this")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for sampler.json and sampler.md")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = make_policy(Path(folder))
        ours, model = HFModel.load(path, Policy(device="cpu")), AutoModelForCausalLM.from_pretrained(path).eval()
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            for shape in SHAPES:
                if arguments.shapes in shape.name:
                    results.append({"threads": threads, **compare(shape, ours, model, arguments.repeats)})
                    print(table(results[-1:]).splitlines()[-1], flush=True)
    text = report(results, arguments.repeats)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "sampler.json").write_text(json.dumps({"repeats": arguments.repeats, "results": results}, indent=1) + "\n")
    (arguments.out / "sampler.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
