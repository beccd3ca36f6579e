"""Our learner against TRL's DPOTrainer: CPU-seconds for the same pairs, in the same order, with the same loss curve.

Run it from the repository as ``.venv/bin/python -m bench.learner`` (about five minutes; an otherwise idle machine gives the
cleanest figures). Each measurement is a process of its own with one thread. Both sides first get to choose how they cut a batch,
and TRL whether it precomputes its reference log-probs; then they take turns, and medians are compared.

What is timed is the CPU time (user + system) of loading the policy, preparing the pairs, one epoch of float32 DPO and
saving; ``process`` adds the interpreter and the imports. Answers are random words, as a random policy would say them, the chosen ones
from two thirds of the vocabulary; their log-probs under the policy, which in a run come with the samples, are part of the data.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
SEED, BATCH, LR, BETA = 0, 20, 3e-4, 0.1
TARGET = 0.85

Options = dict[str, Any]
OURS: list[Options] = [{"side": "ours", "micro_tokens": tokens} for tokens in (8192, 2048, 1024, 512)]
TRL: list[Options] = [
    {"side": "trl", "micro_pairs": pairs, "precompute": precompute} for pairs in (20, 10, 5) for precompute in (False, True)
]


def make_data(work: Path, count: int) -> None:
    """A policy of about a million parameters and ``count`` pairs: prompts of 20-40 tokens, answers of 10-30, log-probs."""
    import torch

    from sparring.config import Learner
    from sparring.game import Pair, Sample
    from sparring.learners.batches import collate, encode_lessons
    from sparring.learners.checkpoint import load_policy
    from tests.tiny import save_tiny

    sizes: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_key_value_heads": 4}
    model, tokenizer = load_policy(save_tiny(work / "policy", vocab=300, initializer_range=0.02, **sizes))
    draw = random.Random(SEED)

    def words(low: int, high: int, first: int = 0) -> str:  # a word and the space before the next are two tokens
        return " ".join(f"w{draw.randrange(first, 290)}" for _ in range(draw.randint(low, high) // 2))

    texts = [(words(20, 40), words(10, 30, first=100), words(10, 30)) for _ in range(count)]
    rows: list[dict[str, Any]] = []
    for prompt, *answers in texts:
        chosen, rejected = (Sample(role="solver", text=text) for text in answers)
        item = encode_lessons([Pair(task="", prompt=prompt, chosen=chosen, rejected=rejected, margin=1.0)], Learner(), tokenizer)
        micro = collate(item, [0], torch.device("cpu"))
        with torch.no_grad():
            logp_CV = model(micro.tokens_RT).logits.flatten(0, 1)[micro.predictor_C].log_softmax(-1)
        logp_C = logp_CV.gather(1, micro.target_C[:, None]).squeeze(1)
        logprobs = [part.tolist() for part in logp_C.split(micro.length_SP.flatten().tolist())]
        ids = [(list(answer.prompt_ids), list(answer.token_ids)) for answer in item[0].answers]
        rows.append({"prompt": prompt, "texts": answers, "ids": ids, "logprobs": logprobs})
    (work / "pairs.json").write_text(json.dumps(rows))


def run_ours(work: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    from sparring import config
    from sparring.game import Pair, Sample
    from sparring.learners.train import TorchLearner

    def sample(row: Mapping[str, Any], side: int) -> Sample:
        prompt_ids, token_ids = (tuple(ids) for ids in row["ids"][side])
        logprobs = tuple(row["logprobs"][side])
        return Sample(role="solver", prompt_ids=prompt_ids, token_ids=token_ids, logprobs=logprobs, text=row["texts"][side])

    how = config.Learner(beta=BETA, lr=LR, schedule="constant", warmup=0.0, batch=BATCH, micro_tokens=options["micro_tokens"])
    learner = TorchLearner(how, config.Policy(device="cpu"), reuse_logprobs=options.get("reuse", True))
    rows = json.loads((work / "pairs.json").read_text())
    import_transformers()
    start = time.process_time()
    lessons = [Pair(task="", prompt=r["prompt"], chosen=sample(r, 0), rejected=sample(r, 1), margin=1.0) for r in rows]
    with tempfile.TemporaryDirectory(dir=work) as folder:
        out = Path(folder) / "out"
        learner.learn(work / "policy", lessons, out, SEED)
        cpu_s = time.process_time() - start
        losses = [json.loads(line)["loss"] for line in (out / "training.jsonl").read_text().splitlines()]
    return {"learn": cpu_s, "losses": losses}


def run_trl(work: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    from datasets import Dataset, disable_caching, disable_progress_bars
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    from sparring.config import Learner
    from sparring.learners.batches import plan_batches

    disable_caching()
    disable_progress_bars()
    rows = json.loads((work / "pairs.json").read_text())
    order = [index for batch in plan_batches(len(rows), Learner(batch=BATCH), SEED) for index in batch]
    examples = [
        {
            "prompt": f"<user>{rows[index]['prompt']}<assistant>",
            **dict(zip(("chosen", "rejected"), rows[index]["texts"], strict=True)),
        }
        for index in order
    ]
    import_transformers()
    start = time.process_time()
    with tempfile.TemporaryDirectory(dir=work) as folder:
        arguments = DPOConfig(
            output_dir=folder,
            beta=BETA,
            learning_rate=LR,
            lr_scheduler_type="constant",
            per_device_train_batch_size=options["micro_pairs"],
            gradient_accumulation_steps=BATCH // options["micro_pairs"],
            precompute_ref_log_probs=options["precompute"],
            precompute_ref_batch_size=BATCH,
            num_train_epochs=1,
            train_sampling_strategy="sequential",
            seed=SEED,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=1,
        )
        trainer = DPOTrainer(model=str(work / "policy"), args=arguments, train_dataset=Dataset.from_list(examples))
        trainer.train()
        trainer.save_model(folder)
        cpu_s = time.process_time() - start
    assert trainer.train_dataset[0]["chosen_ids"] == rows[order[0]]["ids"][0][1], "TRL learns other tokens"
    return {"learn": cpu_s, "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row]}


def import_transformers() -> None:
    """The lazy modules of transformers that both sides need: importing them is not learning."""
    for name in ("auto.modeling_auto", "auto.tokenization_auto", "llama.modeling_llama"):
        importlib.import_module(f"transformers.models.{name}")


def measure(work: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """One run in a process of its own: CPU-seconds of learning and of the whole process, and the losses."""
    command = [sys.executable, "-m", "bench.learner", "--work", str(work), "--run", json.dumps(options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    before = os.times()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    after = os.times()
    if done.returncode:
        raise SystemExit(f"{options} failed:\n{done.stderr}")
    process = after.children_user + after.children_system - before.children_user - before.children_system
    return {**json.loads(done.stdout.splitlines()[-1]), "process": process}


def settle(work: Path, candidates: Sequence[Options]) -> Options:
    """The quickest of ``candidates``, by one run each."""
    times = [measure(work, options)["learn"] for options in candidates]
    for options, cpu_s in zip(candidates, times, strict=True):
        print(f"  {json.dumps(options):60} {cpu_s:6.2f} CPU-s", flush=True)
    return candidates[times.index(min(times))]


def compare(work: Path, repeats: int) -> dict[str, Any]:
    """Settings, medians, ratios and the largest difference between the loss curves."""
    ours, trl = settle(work, OURS), settle(work, TRL)
    sides = {"ours": ours, "ours, reference computed": {**ours, "reuse": False}, "trl": trl}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, options in sides.items():
            runs[name].append(measure(work, options))
            print(f"  {name:26} {runs[name][-1]['learn']:6.2f} CPU-s", flush=True)
    medians = {
        name: {what: statistics.median(run[what] for run in runs[name]) for what in ("learn", "process")} for name in sides
    }
    curves = {name: runs[name][0]["losses"] for name in sides}
    gaps = {name: max(abs(a - b) for a, b in zip(curve, curves["trl"], strict=True)) for name, curve in curves.items()}
    ratios = {name: {what: medians[name][what] / medians["trl"][what] for what in medians[name]} for name in sides}
    return {"settings": sides, "cpu_s": medians, "ratio": ratios, "loss_gap": gaps, "losses": curves, "runs": runs}


def table(result: Mapping[str, Any]) -> str:
    lines = [
        "| | learning, CPU-s | of TRL's | whole process, CPU-s | of TRL's | largest loss difference |",
        "|---|---|---|---|---|---|",
    ]
    for name, medians in result["cpu_s"].items():
        ratio, gap = result["ratio"][name], result["loss_gap"][name]
        cells = [
            f"{medians['learn']:.2f}",
            f"{ratio['learn']:.2f}",
            f"{medians['process']:.2f}",
            f"{ratio['process']:.2f}",
            f"{gap:.1e}",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(result: Mapping[str, Any], pairs: int, repeats: int) -> str:
    from importlib.metadata import version

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl"))
    settings = "\n".join(f"- {name}: `{json.dumps(options)}`" for name, options in result["settings"].items())
    verdict = "reached" if result["ratio"]["ours"]["learn"] <= TARGET else "missed"
    first, last = result["losses"]["trl"][0], result["losses"]["trl"][-1]
    return f"""# The learner against TRL's DPOTrainer

{pairs} pairs, one epoch of DPO in batches of {BATCH}, float32, one thread; medians of {repeats} alternating runs, each in a
process of its own. Loss {first:.4f} at the first step, {last:.4f} at the last. {versions}; {platform.processor() or platform.machine()},
{os.cpu_count()} cores. Made by `python -m bench.learner`.

{table(result)}

Target: at most {TARGET} of TRL's CPU-seconds for learning; {verdict}. Each side with the quickest of its settings:

{settings}
"""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=500, help="how many pairs (default: 500)")
    parser.add_argument("--repeats", type=int, default=5, help="alternating runs of each side (default: 5)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for learner.json and learner.md")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    if arguments.run:
        run = run_ours if arguments.run["side"] == "ours" else run_trl
        print(json.dumps(run(arguments.work, arguments.run)))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), arguments.pairs)
        result = compare(Path(folder), arguments.repeats)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "learner.json").write_text(json.dumps({"pairs": arguments.pairs, **result}, indent=1) + "\n")
    text = report(result, arguments.pairs, arguments.repeats)
    (arguments.out / "learner.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
