"""What the environment suggests, tried before a model is asked, and what the model says of where tactics led."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest

from sparring.solvers.budget import Budget, Spent
from sparring.solvers.choose import ALGORITHMS
from sparring.solvers.search import Hints, Proposal, Rank, Reached
from sparring.solvers.theorem import Candidate
from tests.toy_env import REFUSED, Table, ToyEnv
from tests.toy_search import likes, listing, nothing, search

BOTH = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)

# ---------------------------------------------------------------------------------------------- the environment's moves

HALF: Table = {
    "top": {"split": ("easy", "hard"), "guess": REFUSED},
    "easy": {"done": (), "guess": ("top",)},
    "hard": {"guess": ("last",)},
    "last": {"odd": REFUSED, "done": ()},
}
HINTS = {"top": ("split",), "easy": ("done", "odd"), "hard": ("odd",), "last": ("odd", "done")}


@BOTH
@pytest.mark.parametrize("rank", [None, likes({})], ids=["unranked", "ranked"])
def test_a_goal_that_a_move_closes_is_put_to_no_model(algorithm: Any, rank: Rank | None):
    asked: list[str] = []

    def expand(states: Sequence[str], hints: Hints, retry: int) -> list[Proposal]:
        asked.extend(states)
        found = [Candidate(tactic="guess", score=-1.0, role="flat", logprob=-1.0)]
        return [Proposal(candidates=found, spent=Spent(calls=1)) for _ in states]

    env = ToyEnv(HALF, suggested=HINTS)
    (attempt,) = search(env, "top", expand=expand, rank=rank, algorithm=algorithm, moves=9)
    assert attempt.answer.splitlines() == ["split", "done", "guess", "done"]
    assert asked == ["top", "hard"], "neither easy nor last"
    assert env.batches == [
        [("top", "split")],
        [("top", "guess")],
        [("easy", "done"), ("easy", "odd"), ("hard", "odd")],
        [("hard", "guess")],
        [("last", "odd"), ("last", "done")],
    ]
    assert [step.role for step in attempt.steps if step.used] == ["move", "move", "flat", "move"]
    assert attempt.stats["calls"] == 2 + (0 if rank is None else 4), "and two readings of where top and hard led to"


def test_moves_are_tried_once():
    env = ToyEnv({"top": {"a": ("x",), "b": ("y",)}, "x": {}, "y": {}}, suggested={"top": ("a", "b", "c"), "y": ("c",)})
    (attempt,) = search(env, "top", expand=nothing, moves=9, retries=3)
    assert env.tries == [("top", "a"), ("top", "b"), ("top", "c"), ("y", "c")]
    assert (attempt.stats["status"], attempt.stats["searched"]) == ("exhausted", 4 * 3)
    assert (attempt.stats["steps"], attempt.stats["rejected"], attempt.stats["duplicates"]) == (4, 2, 0)


@pytest.mark.parametrize(("moves", "tried"), [(0, []), (2, ["b", "a"]), (9, ["b", "a", "c"])])
def test_at_most_so_many_moves_each_as_likely_as_the_others(moves: int, tried: list[str]):
    table: Table = {"top": {name: (f"to {name}",) for name in "abc"}}
    env = ToyEnv(table, suggested={"top": ("b", "a", "c")})
    (attempt,) = search(env, "top", expand=nothing, moves=moves)
    assert [tactic for _, tactic in env.tries] == tried
    assert [step.tactic for step in attempt.steps] == tried
    assert [step.logprob for step in attempt.steps] == pytest.approx([-math.log(len(tried) or 1)] * len(tried))
    assert {step.target for step in attempt.steps} <= {None}


def test_moves_come_first_and_are_not_run_again_for_the_model():
    table: Table = {"and": {"split": ("left", "right"), "lose": ("false",)}, "left": {}, "right": {}, "false": {}}
    env = ToyEnv(table, suggested={"and": ("split", "  split ", "odd")})
    (attempt,) = search(env, "and", moves=9)
    assert env.batches[:2] == [[("and", "split"), ("and", "odd")], [("and", "lose")]]
    assert attempt.stats["duplicates"] == 2
    assert [(step.tactic, step.role) for step in attempt.steps][:2] == [("split", "move"), ("lose", "flat")]


def test_what_grows_without_end_is_left_alone():
    growing: Table = {"x" * k: {"grow": ("x" * (k + 1),)} for k in range(1, 100)}
    env = ToyEnv(growing, suggested=dict.fromkeys(growing, ("grow",)))
    (attempt,) = search(env, "x", expand=nothing, moves=9, max_bytes=10, retries=1)
    assert attempt.stats["status"] == "exhausted"
    assert (attempt.stats["steps"], attempt.stats["nodes"], attempt.stats["searched"]) == (10, 11, 2 * 11)


def test_looking_for_moves_is_the_environment_s_time():
    ticks = itertools.count()
    env = ToyEnv({"top": {"done": ()}, "other": {"done": ()}}, suggested={"top": ("done",)})
    top, other = search(env, "top", "other", moves=9, expand=nothing, clock=lambda: float(next(ticks)))
    # 1 s for each start and each look; 1 s for the batch, which is all top's; the second batch is empty.
    assert (top.stats["env_s"], other.stats["env_s"]) == (3.0, 2.0)


# ---------------------------------------------------------------------------------------------- by where tactics led

FORK: Table = {
    "top": {"a": ("x",), "b": ("y",), "c": ("x",), "d": ("y",), "e": ("z",)},
    "x": {"a": ("x2",)},
    "y": {"a": ("y2",), "end": ()},
    "z": {},
}


def test_of_several_ways_to_a_state_the_first_is_kept():
    asked: list[Reached] = []
    env = ToyEnv(FORK, suggested={"top": ("c", "b")})
    scores = {"a": -0.5, "b": -0.6, "c": -0.7, "d": -0.8, "e": -0.9}
    bounds: dict[str, Any] = {"moves": 9, "budget": Budget(steps=1), "expand": listing(FORK, scores)}
    (attempt,) = search(env, "top", rank=likes({"x": -3.0, "z": -0.25}, asked), **bounds)
    ((where),) = asked
    assert where.state == "top"
    assert {text: [way.tactic for way in ways] for text, ways in where.ways.items()} == {
        "x": ["c", "a"],
        "y": ["b", "d"],
        "z": ["e"],
    }
    assert [(step.tactic, step.result) for step in attempt.steps] == [("c", "x"), ("b", "y"), ("e", "z")]
    assert attempt.stats["steps"] == 5
    (unranked,) = search(ToyEnv(FORK, suggested={"top": ("c", "b")}), "top", **bounds)
    assert [step.tactic for step in unranked.steps] == ["c", "b", "a", "d", "e"]


def test_a_ranked_move_is_as_likely_as_where_it_led():
    def expand(states: Sequence[str], hints: Hints, retry: int) -> list[Proposal]:
        found = [
            Candidate(tactic="b", score=-4.0, role="actor", target="its own", logprob=-5.0),
            Candidate(tactic="e", score=-6.0, role="flat", logprob=-7.0),
        ]
        return [Proposal(candidates=found, spent=Spent(calls=2)) for _ in states]

    env = ToyEnv(FORK, suggested={"top": ("a",)})
    ranks = likes({"x": -0.1, "y": -0.2, "z": -0.3})
    (attempt,) = search(env, "top", expand=expand, rank=ranks, moves=9, budget=Budget(steps=1))
    assert [(step.role, step.tactic, step.target, step.logprob) for step in attempt.steps] == [
        ("move", "a", "to x", -0.1),
        ("actor", "b", "its own", -5.0),
        ("flat", "e", "to z", -7.0),
    ]


@BOTH
def test_the_best_state_is_searched_first_whoever_named_the_tactic(algorithm: Any):
    scores = {"a": -0.01, "e": -0.02, "b": -9.0, "d": -10.0}
    how: dict[str, Any] = {"expand": listing(FORK, scores), "width": 1, "algorithm": algorithm}
    ranked, plain = ToyEnv(FORK), ToyEnv(FORK)
    (found,) = search(ranked, "top", rank=likes({"x": -5.0, "z": -5.0, "y": -0.01}), **how)
    search(plain, "top", **how)
    assert [states[0][0] for states in ranked.batches if states] == ["top", "y"]
    assert found.answer.splitlines() == ["b", "end"]
    assert [states[0][0] for states in plain.batches if states][1] == "x"


def test_where_a_goal_is_closed_nothing_is_ranked():
    asked: list[Reached] = []
    (attempt,) = search(ToyEnv(FORK), "y", "top", rank=likes({}, asked), budget=Budget(steps=4))[:1]
    assert [step.tactic for step in attempt.steps] == ["end"]
    assert attempt.stats["calls"] == 2, "the candidates'"
    assert attempt.stats["weighed"] == 0
    assert [reached.state for reached in asked] == ["top"]


def test_readings_are_paid_for():
    table: Table = {f"g{k}": {"down": (f"g{k - 1}",)} for k in range(1, 20)}
    (attempt,) = search(
        ToyEnv(table, suggested=dict.fromkeys(table, ("down",))),
        "g19",
        expand=nothing,
        rank=likes({}),
        moves=9,
        budget=Budget(calls=6),
    )
    assert (attempt.stats["status"], attempt.stats["calls"], attempt.stats["weighed"]) == ("budget:calls", 6, 3)
