"""Statements searched per CPU-second: waves over many statements against one node at a time.

    python -m bench.search_throughput POLICY [--statements 64] [--repeats 3] [--calls 128]

All searches have the same weights, environment, candidates per node (a beam of 8 tactics from the state alone) and budget per
statement. "one node, generate" is how ReProver searches: the best node alone goes to transformers' beam search as a batch of 1.
"one node, our beam" is our sampler used like that, so that what batching gives is told apart from what the sampler gives. Every repeat
runs all searches on the same statements in turn; medians, with the smallest and the largest. One thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparring.game import Model, Sample, Sampling, Scored


class OneAtATime:
    """transformers' own beam search, a prompt at a time."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        return [self._one(prompt, how, role) for prompt in prompts]

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        raise NotImplementedError("a flat search ranks by what it sampled: nothing is read")

    def _one(self, prompt: str, how: Sampling, role: str) -> list[Sample]:
        import torch

        from sparring.data import encode_prompt
        from sparring.game import Sample

        ids = torch.tensor([encode_prompt(self.tokenizer, prompt)])
        with torch.inference_mode():
            found = self.model.generate(
                ids,
                num_beams=how.n,
                num_return_sequences=how.n,
                max_new_tokens=how.max_new_tokens,
                do_sample=False,
                length_penalty=0.0,  # sums of log-probs, as ours
                early_stopping=False,
                return_dict_in_generate=True,
                output_scores=True,
            )
        end, samples = self.tokenizer.eos_token_id, []
        for row, score in zip(found.sequences[:, ids.shape[1] :].tolist(), found.sequences_scores.tolist(), strict=True):
            ended = end in row
            tokens = row[: row.index(end) + 1] if ended else row
            samples.append(
                Sample(
                    role=role,
                    token_ids=tuple(tokens),
                    logprobs=(score / len(tokens),) * len(tokens),
                    text=self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False),
                    finish="stop" if ended else "length",
                )
            )
        return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", type=Path)
    parser.add_argument("--statements", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--calls", type=int, default=128)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    from sparring.config import Policy
    from sparring.config_prove import ProveRecipe, Search
    from sparring.envs.embedded import KernelEnv
    from sparring.games.prove import prover_of
    from sparring.models.hf import HFModel
    from sparring.worlds.lemmas import LIBRARY
    from sparring.worlds.theorem_splits import split

    tasks, env = list(split("test"))[: options.statements], KernelEnv(LIBRARY)
    how = Search(policy="flat", flat=8, retries=0, length_norm=0.0, calls=options.calls)
    waves = prover_of(ProveRecipe(search=how), env)
    single = replace(waves, rules=replace(waves.rules, live=1, width=1))
    ours = HFModel.load(options.policy, Policy(device="cpu"))
    searches: dict[str, tuple[Any, Model]] = {
        "waves": (waves, ours),
        "one node, our beam": (single, ours),
        "one node, generate": (single, OneAtATime(options.policy)),
    }
    rates: dict[str, list[float]] = {name: [] for name in searches}
    proved: dict[str, int] = {}
    for _ in range(options.repeats):
        for name, (prover, model) in searches.items():
            begun = time.process_time()
            attempts = prover.attempt(tasks, model, 0)
            rates[name].append(len(tasks) / (time.process_time() - begun))
            proved[name] = sum(bool(attempt.answer) for (attempt,) in attempts)
    for name, found in rates.items():
        middle = statistics.median(found)
        ratio = statistics.median(a / b for a, b in zip(rates["waves"], found, strict=True))
        print(
            f"{name:20} {middle:7.2f} statements per CPU-second [{min(found):.2f}, {max(found):.2f}], "
            f"{proved[name]} of {len(tasks)} proved; waves are {ratio:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
