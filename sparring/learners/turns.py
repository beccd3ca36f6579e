"""Two learners one after the other: what is imitated first, then what is compared. A loss that compares two answers has no use for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparring.game import Demo, Learner, Lesson, Pair, stable_hash


@dataclass(frozen=True)
class InTurn:
    """``imitate`` takes the demonstrations, ``compare`` goes on from there with the pairs."""

    imitate: Learner
    compare: Learner

    def learn(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None:
        """As its learners do. The policy between them lies in ``out`` + ".imitated" until ``out`` is there."""
        demos = [lesson for lesson in lessons if isinstance(lesson, Demo)]
        pairs = [lesson for lesson in lessons if isinstance(lesson, Pair)]
        if not pairs:
            return self.imitate.learn(policy, demos, out, seed)
        between = out.with_name(f"{out.name}.imitated")
        if demos and not between.exists():
            self.imitate.learn(policy, demos, between, seed)
        return self.compare.learn(between if demos else policy, pairs, out, stable_hash(seed, "compare"))
