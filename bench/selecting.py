"""How long drawing a quarter of a million-prompt pool takes: estimate and draw, one million prompts with six rewards each.

Run it as ``.venv/bin/python bench/selecting.py``. Aim: below 2 s and 500 MB, rewards included. Seconds are of processor time,
which a busy machine does not change. Peak memory is the process's, so each line shows the largest so far.
"""

import resource
import time

import numpy as np

from sparring.creators.select import DRAWS, METRICS, draw, estimate

PROMPTS, ANSWERS, SHARE = 1_000_000, 6, 0.25


def measure(metric: str, method: str, rewards_PN: np.ndarray) -> None:
    start = time.process_time()
    info_P = estimate(metric, rewards_PN)
    estimated = time.process_time()
    chosen = draw(info_P, round(SHARE * PROMPTS), method)
    drawn = time.process_time()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{metric:8} {method:10} {len(chosen)} of {PROMPTS}: estimate {estimated - start:4.2f} s + draw {drawn - estimated:4.2f} s"
        f" = {drawn - start:4.2f} s, peak so far {peak_mb:3.0f} MB"
    )


def main() -> None:
    rewards_PN = np.random.default_rng(0).normal(size=(PROMPTS, ANSWERS))
    rewards_PN[::100, 0] = np.nan  # some judgements break
    for metric in METRICS:
        measure(metric, "weighted", rewards_PN)
    for method in DRAWS:
        measure("min", method, rewards_PN)


if __name__ == "__main__":
    main()
