"""Searches in the toy environment: without a model, with candidates and rankings that are known by heart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sparring.game import Attempt, stable_hash
from sparring.solvers.budget import Budget, Spent
from sparring.solvers.search import Expand, Hints, Proposal, Rank, Ranking, Reached, Rules, Search
from sparring.solvers.theorem import Candidate
from tests.toy_env import Table, ToyEnv, tasks

FREE = Budget()


def no_time() -> float:
    return 0.0


def listing(table: Table, scores: Mapping[str, float] | None = None) -> Expand:
    """Proposes every tactic that the table has for the first goal, by score; a call and ten tokens for each."""

    def propose(state: str) -> Proposal:
        names = sorted(table.get(state.split("\n\n")[0], {}), key=lambda name: (-(scores or {}).get(name, -1.0), name))
        found = [Candidate(tactic=name, score=(scores or {}).get(name, -1.0), role="flat") for name in names]
        return Proposal(candidates=found, spent=Spent(calls=len(found), tokens=10 * len(found)))

    return lambda states, hints, retry: [propose(state) for state in states]


def search(env: ToyEnv, *names: str, expand: Expand | None = None, rank: Rank | None = None, **rules: Any) -> list[Attempt]:
    settings = Rules(**{"budget": FREE, "clock": no_time, **rules})
    return Search(env, expand or listing(env.table), settings, rank).run(tasks(*names))


def nothing(states: Sequence[str], hints: Hints, retry: int) -> list[Proposal]:
    return [Proposal(candidates=(), spent=Spent()) for _ in states]


def likes(scores: Mapping[str, float], asked: list[Reached] | None = None) -> Rank:
    """Scores what was reached by heart, -1 where it knows nothing; a reading by two roles and a target for each goal."""

    def one(reached: Reached) -> Ranking:
        states = list(reached.ways)
        return Ranking(
            scores=[scores.get(state, -1.0) for state in states],
            targets=[f"to {state}" for state in states],
            spent=Spent(calls=2, weighed=len(states)),
        )

    def rank(those: Sequence[Reached]) -> list[Ranking]:
        if asked is not None:
            asked.extend(those)
        return [one(reached) for reached in those]

    return rank


def some_moves(table: Table) -> dict[str, list[str]]:
    """Suggests some of a goal's tactics, and one that there is not."""
    return {goal: [*[name for name in rules if stable_hash(goal, name) % 2], "odd"] for goal, rules in table.items()}


def arbitrary(those: Sequence[Reached]) -> list[Ranking]:
    return [
        Ranking(
            scores=[-(stable_hash(reached.state, text) % 50) / 10 for text in reached.ways],
            targets=[None] * len(reached.ways),
            spent=Spent(calls=1, weighed=len(reached.ways)),
        )
        for reached in those
    ]
