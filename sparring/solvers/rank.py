"""Where tactics cost next to nothing to run, they can be run first and the model asked afterwards, about where they led.

RiR (OpenReview H5hePMXKht) has a planner write the next goal and an actor guess a tactic that reaches it; ReProver (arXiv 2306.15626)
has a prover guess tactics. A ranker has them write nothing: the environment's own tactics (``Env.moves``) are run, and each role says
how likely it would have been to write what is there already, the planner the state that was reached, the flat prover the
tactic. No guess misses its target, and reading is cheaper than writing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparring.config_prove import TargetForm
from sparring.game import Model, Scored
from sparring.prompts import STEP, flat_prompt, planner_completion, planner_prompt, size, target_of
from sparring.solvers.budget import Spent
from sparring.solvers.search import Ranking, Reached

LEAST = math.exp(-20.0)
"""What is taken for the chance of a state that no role would have named, or that is too long to ask about."""

Pair = tuple[str, str]
"""(prompt, answer)."""


@dataclass(frozen=True, kw_only=True)
class Ranker:
    """Scores the states s' that tactics reached from s by log(w p_flat(s') + (1 - w) p_plan(s')).

    Each p is a distribution over the states that were reached, in proportion to exp(log-prob / tokens ** ``length_norm``): ``p_plan`` of
    the planner's answer s', ``p_flat`` of the first tactic that led to s'.
    """

    target: TargetForm
    flat_weight: float = 0.25
    length_norm: float = 0.5

    def asked(self, reached: Reached) -> tuple[list[Pair], list[Pair]]:
        """What the planner and the flat prover are asked of each state; nothing where there is no choice or their word has no weight."""
        if len(reached.ways) == 1:
            return [], []
        planner, flat = planner_prompt(reached.state), flat_prompt(reached.state)
        targets = [(planner, planner_completion(target_of(reached.state, result, self.target))) for result in reached.ways]
        tactics = [(flat, ways[0].tactic) for ways in reached.ways.values()]
        return targets if self.flat_weight < 1.0 else [], tactics if self.flat_weight > 0.0 else []

    def scores(self, plan: Sequence[Scored | None], flat: Sequence[Scored | None]) -> list[float]:
        """``plan`` and ``flat``: what was answered, None for what was too long to ask; [] where nothing was asked."""
        if not plan and not flat:
            return [0.0]  # the only way there is
        nobody = [0.0] * max(len(plan), len(flat))
        pairs = zip(self._shares(plan) or nobody, self._shares(flat) or nobody, strict=True)
        return [math.log(max(self.flat_weight * f + (1.0 - self.flat_weight) * p, LEAST)) for p, f in pairs]

    def _shares(self, answers: Sequence[Scored | None]) -> list[float]:
        known = {place: s.logprob / max(s.tokens, 1) ** self.length_norm for place, s in enumerate(answers) if s}
        top = max(known.values(), default=0.0)
        weights = [math.exp(known[place] - top) if place in known else 0.0 for place in range(len(answers))]
        return [weight / max(math.fsum(weights), 1e-300) for weight in weights]


def rank(ranker: Ranker, reached: Sequence[Reached], model: Model, clock: Callable[[], float], max_bytes: int) -> list[Ranking]:
    """Ranks what was reached from each of some states. What has more than ``max_bytes`` (UTF-8) is not asked:
    a tactic may blow a goal up without bound."""
    asked = [ranker.asked(each) for each in reached]
    seconds: dict[str, float] = {}
    found: dict[Pair, Scored] = {}
    for role, place in (("planner", 0), ("flat", 1)):
        begun = clock()
        pairs = [pair for both in asked for pair in both[place] if sum(map(size, pair)) <= max_bytes]
        found |= zip(pairs, model.score(pairs, role=role) if pairs else [], strict=True)
        seconds[role] = (clock() - begun) / max(len(pairs), 1)
    rankings: list[Ranking] = []
    for plan, flat in asked:
        planned, named = (sum(pair in found for pair in pairs) for pairs in (plan, flat))
        spent = Spent(
            calls=(planned > 0) + (named > 0),
            weighed=planned + named,
            planner_s=seconds["planner"] * planned,
            actor_s=seconds["flat"] * named,
        )
        scores = ranker.scores([found.get(pair) for pair in plan], [found.get(pair) for pair in flat])
        targets = [answer.removesuffix(STEP).strip() for _, answer in plan] or [None] * len(scores)
        rankings.append(Ranking(scores=scores, targets=targets, spent=spent))
    return rankings
