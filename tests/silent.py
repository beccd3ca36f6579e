"""A model that must not be asked."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.game import Sample, Sampling, Scored


class NoModel:
    """Refuses to answer and to read: for what has to do without a model."""

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        raise AssertionError(f"asked for {len(prompts)} answers of the {role}")

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        raise AssertionError(f"asked for the chances of {len(pairs)} answers of the {role}")
