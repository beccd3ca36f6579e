"""Online play: where the prompts of the next mini-batch come from (arXiv 2411.00062, the online version).

Created prompts go into a buffer, each with how informative its last answers were. At first mini-batches are human prompts alone
(warm-up), then the buffer gives as much as it can without being emptied (mixing), in the end all but a fixed human share (it sustains
itself). What the solver has learned has equal answers, so its score is 0 and it is drawn no more: nothing has to be thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparring.config import Creator, Online
from sparring.creators.evolve import rewards_of
from sparring.creators.select import draw, estimate
from sparring.game import Bout, Task


@dataclass(frozen=True)
class Buffer:
    """Draws mini-batches of ``online.batch`` tasks from a pool and from what was created in the turns before."""

    online: Online
    creator: Creator

    def draw(self, turn: int, pool: Sequence[Task], history: Sequence[Sequence[Bout]], seed: int) -> list[Task]:
        """``history``: the bouts of each turn before. Fewer tasks only where the pool has no more of them."""
        known = {task.id for task in pool}
        latest = {bout.task.id: bout for bouts in history for bout in bouts}
        buffered = [] if turn < self.online.warm_up else self._informative([b for b in latest.values() if b.task.id not in known])
        wanted = min(round((1 - self.online.human) * self.online.batch), (len(buffered) + 1) // 2)
        info_P = np.array([info for _, info in buffered])
        drawn = [buffered[int(place)][0] for place in np.sort(draw(info_P, wanted, self.creator.draw, 0.0, seed))]
        new = [task for task in pool if task.id not in latest]
        return [*drawn, *new[: self.online.batch - len(drawn)]]

    def _informative(self, bouts: Sequence[Bout]) -> list[tuple[Task, float]]:
        info_P = estimate(self.creator.metric, rewards_of(bouts))
        return [(bout.task, float(info)) for bout, info in zip(bouts, info_P, strict=True) if info > 0]
