"""How long it takes to ask whether a prompt is new among ten thousand, for short prompts of the words world and for long ones.

    python -m bench.novelty [--prompts 10000]

Seconds are of processor time. A round with 250 prompts, chains of 4 and 4 tries
asks at most 4,000 times.
"""

import argparse
import random
import string
import time

from sparring.creators.novelty import Novelty
from sparring.game import Task, make_task
from sparring.worlds.splits import HUMAN, draw_programs
from sparring.worlds.words import say

ASKED, LONG_WORDS = 1_000, 150


def long_prompts(rng: random.Random, count: int) -> list[str]:
    """Words drawn by Zipf's law."""
    vocabulary = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    return [" ".join(rng.choices(vocabulary, weights, k=LONG_WORDS)) for _ in range(count)]


def measure(name: str, tasks: list[Task], threshold: float) -> None:
    start = time.process_time()
    novelty = Novelty(threshold, tasks)
    added = time.process_time()
    near = sum(novelty.objection(make_task(f"{task.text} And say why.")) is not None for task in tasks[:ASKED])
    asked = time.process_time()
    print(
        f"{name:6} threshold {threshold}: add {1000 * (added - start) / len(tasks):5.2f} ms, ask {1000 * (asked - added) / ASKED:5.2f} ms"
        f" each ({near} of {ASKED} near)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=10_000)
    count = parser.parse_args().prompts
    rng = random.Random(0)
    programs = draw_programs(rng, HUMAN)
    pools = {"words": [say(next(programs)) for _ in range(count)], "long": long_prompts(rng, count)}
    for name, texts in pools.items():
        for threshold in (0.9, 0.7):
            measure(name, [make_task(text) for text in texts], threshold)


if __name__ == "__main__":
    main()
