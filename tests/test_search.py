"""The proof search: what it finds, what it does not run twice, what it costs, and how it ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.game import NO_GOALS, Goals, Step
from sparring.solvers.budget import Budget, Spent
from sparring.solvers.choose import ALGORITHMS, BestFirst, Mcts
from sparring.solvers.render import render
from sparring.solvers.search import Hints, Proposal, Rank
from sparring.solvers.theorem import MAX_SCRIPT_LINES, Candidate
from sparring.solvers.tree import Tree
from tests.toy_env import FAULT, REFUSED, TIMEOUT, Table, ToyEnv, provable, tasks
from tests.toy_search import arbitrary, listing, nothing, search, some_moves

BOTH = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)

SMALL: Table = {
    "and": {"split": ("left", "right"), "lose": ("false",)},
    "left": {"simplify": ("true",)},
    "right": {"trivial": ()},
    "true": {"trivial": ()},
    "false": {},
}


# ---------------------------------------------------------------------------------------------- what is found


@BOTH
def test_a_proof_is_a_script_depth_first_in_the_order_of_the_goals(algorithm: Any):
    env = ToyEnv(SMALL)
    (attempt,) = search(env, "and", algorithm=algorithm)
    assert attempt.answer.splitlines() == ["split", "simplify", "trivial", "trivial"]
    assert env.check(tasks("and")[0], attempt.answer).solved
    assert attempt.fault is None
    assert attempt.stats["status"] == "proved"
    assert attempt.stats["proof_steps"] == 4


def test_the_record_of_a_search():
    env = ToyEnv({**SMALL, "true": {"bad": REFUSED, "slow": TIMEOUT, "trivial": ()}})
    (attempt,) = search(env, "and")
    assert [(step.state, step.tactic, step.result, step.used) for step in attempt.steps] == [
        ("and", "lose", "false", False),
        ("and", "split", "left\n\nright", True),
        ("left", "simplify", "true", True),
        ("right", "trivial", NO_GOALS, True),
        ("true", "trivial", NO_GOALS, True),
    ]
    # Four of five goals were searched, "false" too: it was open in the second wave.
    expected = {"steps": 7, "rejected": 1, "timeouts": 1, "faults": 0, "duplicates": 0, "calls": 7, "tokens": 70}
    assert {name: attempt.stats[name] for name in expected} == expected
    assert (attempt.stats["nodes"], attempt.stats["searched"], attempt.stats["depth"]) == (5, 5, 2)


def test_goals_that_cannot_be_proved_apart_are_one_node():
    env = ToyEnv(SMALL, joint=True)
    (attempt,) = search(env, "and")
    assert attempt.answer.splitlines() == ["split", "simplify", "trivial", "trivial"]
    assert "left\n\nright" in [state for state, _ in env.tries]


def test_one_request_and_one_batch_a_wave_for_all_theorems():
    asked: list[list[str]] = []
    inner = listing(SMALL)

    def expand(states: Sequence[str], hints: Hints, retry: int) -> list[Proposal]:
        asked.append([*states])
        return inner(states, hints, retry)

    env = ToyEnv(SMALL)
    search(env, "and", "left", expand=expand)
    assert asked == [["and", "left"], ["false", "left", "right", "true"], ["true"]]
    assert [len(batch) for batch in env.batches] == [3, 3, 1]


def test_at_most_live_theorems_share_a_wave_and_the_others_follow():
    env = ToyEnv(SMALL)
    attempts = search(env, "true", "and", "false", "left", "right", live=2)
    assert [attempt.stats["status"] for attempt in attempts] == ["proved", "proved", "exhausted", "proved", "proved"]
    assert max(len({state for state, _ in batch}) for batch in env.batches) <= 4


@BOTH
def test_width_bounds_the_goals_of_a_theorem_in_a_wave(algorithm: Any):
    fan: Table = {"top": {"fan": tuple(f"goal{k}" for k in range(7))}} | {f"goal{k}": {"trivial": ()} for k in range(7)}
    env = ToyEnv(fan)
    (attempt,) = search(env, "top", width=3, algorithm=algorithm)
    assert [len(batch) for batch in env.batches] == [1, 3, 3, 1]
    assert attempt.stats["status"] == "proved"


# ---------------------------------------------------------------------------------------------- cycles, equal goals


@BOTH
def test_a_goal_is_no_proof_of_itself(algorithm: Any):
    circle: Table = {"a": {"go": ("b",), "stay": ("a",), "more": ("a", "t")}, "b": {"back": ("a",)}, "t": {"trivial": ()}}
    (attempt,) = search(ToyEnv(circle), "a", algorithm=algorithm)
    assert (attempt.answer, attempt.stats["status"]) == ("", "exhausted")


@BOTH
def test_a_proof_out_of_a_cycle(algorithm: Any):
    circle: Table = {"a": {"go": ("b",)}, "b": {"back": ("a",), "on": ("c",)}, "c": {"back": ("a",), "end": ()}}
    env = ToyEnv(circle)
    (attempt,) = search(env, "a", algorithm=algorithm)
    assert attempt.answer.splitlines() == ["go", "on", "end"]
    assert len(env.tries) == len(set(env.tries)) == 5


DIAMOND: Table = {
    "top": {"1": ("x",), "2": ("y",)},
    "x": {"to z": ("z",)},
    "y": {"to z": ("z",)},
    "z": {"1": ("end",), "2": REFUSED},
    "end": {},
}


@pytest.mark.parametrize(("dedup", "times"), [(True, 1), (False, 2)])
def test_equal_goals_are_searched_once(dedup: bool, times: int):
    env = ToyEnv(DIAMOND)
    (attempt,) = search(env, "top", dedup=dedup)
    assert env.tries.count(("z", "1")) == times
    assert attempt.stats["nodes"] == 3 + 2 * times
    assert attempt.stats["status"] == "exhausted"


def test_a_proof_that_is_exponentially_longer_as_a_script_is_not_written():
    double: Table = {f"g{k}": {"twice": (f"g{k - 1}", f"g{k - 1}")} for k in range(1, 40)} | {"g0": {"end": ()}}
    short, long = search(ToyEnv(double), "g5", "g39")
    assert short.stats["proof_steps"] == 2**6 - 1
    assert (long.answer, long.stats["status"]) == ("", "budget:script")
    assert str(2**40 - 1) in long.stats["reason"]
    assert MAX_SCRIPT_LINES < 2**39


@BOTH
def test_a_long_proof_needs_no_deep_stack(algorithm: Any):
    chain: Table = {f"g{k}": {"down": (f"g{k - 1}",)} for k in range(1, 1500)} | {"g0": {"end": ()}}
    env = ToyEnv(chain)
    (attempt,) = search(env, "g499" if algorithm is Mcts else "g1499", algorithm=algorithm)
    assert attempt.stats["status"] == "proved"
    assert attempt.stats["depth"] == attempt.stats["proof_steps"] - 1


# ---------------------------------------------------------------------------------------------- what is not run


def test_equal_tactics_are_run_once():
    def expand(states: Sequence[str], hints: Hints, retry: int) -> list[Proposal]:
        found = [Candidate(tactic=text, score=-1.0, role="flat") for text in ("rw  h", " rw h\n", "rw h", "simp")]
        return [Proposal(candidates=found, spent=Spent(calls=4)) for _ in states]

    env = ToyEnv({"a": {"rw h": ("b",)}, "b": {}})
    (attempt,) = search(env, "a", expand=expand)
    assert env.tries == [("a", "rw h"), ("a", "simp"), ("b", "rw h"), ("b", "simp")]
    assert (attempt.stats["duplicates"], attempt.stats["steps"], attempt.stats["calls"]) == (4, 4, 8)


@BOTH
def test_goals_are_expanded_again_when_nothing_else_is_left(algorithm: Any):
    asked: list[tuple[list[str], int]] = []
    late = {("a", 0): "to b", ("b", 1): "end"}

    def expand(states: Sequence[str], hints: Hints, retry: int) -> list[Proposal]:
        asked.append(([*states], retry))
        found = [[Candidate(tactic=late.get((state, retry), "nothing"), score=-1.0, role="flat")] for state in states]
        return [Proposal(candidates=each, spent=Spent(calls=1)) for each in found]

    env = ToyEnv({"a": {"to b": ("b",)}, "b": {"end": ()}})
    (given_up,) = search(env, "a", expand=expand, algorithm=algorithm, width=1)
    assert (given_up.stats["status"], given_up.stats["searched"]) == ("exhausted", 2)
    asked.clear()
    (found,) = search(env, "a", expand=expand, algorithm=algorithm, retries=5, width=1)
    assert asked == [(["a"], 0), (["b"], 0), (["a"], 1), (["b"], 1)]
    assert found.answer.splitlines() == ["to b", "end"]


def test_retries_come_to_an_end():
    (attempt,) = search(ToyEnv(DIAMOND), "top", retries=3)
    assert attempt.stats["status"] == "exhausted"
    assert attempt.stats["searched"] == 4 * 5
    assert (attempt.stats["steps"], attempt.stats["duplicates"]) == (6, 3 * 6)


@BOTH
def test_a_goal_that_can_no_longer_help_is_not_expanded(algorithm: Any):
    hopeless: Table = {
        "top": {"1 and": ("never", "costly"), "2 or": ("easy",)},
        "never": {"try": REFUSED},
        "costly": {"step": ("costly2",)},
        "costly2": {"step": ("costly",)},
        "easy": {"step": ("easy2",), "other": ("aside",)},
        "easy2": {"end": ()},
        "aside": {"step": ("aside2",)},
    }
    env = ToyEnv(hopeless)
    order = {"1 and": -0.1, "2 or": -5.0, "step": -0.1, "other": -0.2}
    (attempt,) = search(env, "top", expand=listing(hopeless, order), width=1, algorithm=algorithm)
    assert attempt.stats["status"] == "proved"
    states = [state for state, _ in env.tries]
    assert states.index("never") < states.index("easy")
    assert "costly" not in states  # its sibling is dead
    assert "aside" not in states  # "easy" is proved first


def test_goals_that_serve_only_a_proved_goal_are_left():
    table: Table = {
        "top": {"both": ("a", "b")},
        "a": {"1": ("a1",), "2": ("a2",)},
        "a1": {"end": ()},
        "a2": {"on": ("a3",)},
        "b": {"on": ("b1",)},
        "b1": {"on": ("b2",)},
        "b2": {"end": ()},
    }
    env = ToyEnv(table)
    (attempt,) = search(env, "top", expand=listing(table, {"1": -0.1, "2": -0.2}), width=2)
    assert attempt.stats["status"] == "proved"
    assert "a3" not in [state for state, _ in env.tries]


# ---------------------------------------------------------------------------------------------- how it ends

CHAIN: Table = {f"g{k}": {"down": (f"g{k - 1}",), "wrong": REFUSED} for k in range(1, 20)} | {"g0": {"end": ()}}


@pytest.mark.parametrize("bound", [{"steps": 8}, {"calls": 8}, {"tokens": 80}])
def test_a_bound_ends_the_search_after_the_wave_that_crosses_it(bound: Mapping[str, int]):
    (attempt,) = search(ToyEnv(CHAIN), "g19", budget=Budget(**bound))
    assert attempt.stats["status"] == f"budget:{next(iter(bound))}"
    assert (attempt.stats["steps"], attempt.stats["calls"], attempt.stats["tokens"]) == (8, 8, 80)
    assert attempt.fault is None


@pytest.mark.parametrize("bound", [{"steps": 8}, {"calls": 8}, {"tokens": 80}])
def test_a_proof_on_the_step_that_crosses_the_bound_counts(bound: Mapping[str, int]):
    (attempt,) = search(ToyEnv(CHAIN), "g4", budget=Budget(**bound))
    assert attempt.stats["status"] == "budget:" + next(iter(bound))  # it takes four times two, and the last goal's one
    name, count = next(iter(bound.items()))
    (found,) = search(ToyEnv(CHAIN), "g4", budget=Budget(**{name: count + (10 if name == "tokens" else 1)}))
    assert (found.stats["status"], found.stats["steps"]) == ("proved", 9)
    # The wave that begins below the bound is finished, wherever in it the bound lies.
    (crossed,) = search(ToyEnv(CHAIN), "g3", budget=Budget(**{name: count - 1}))
    assert (crossed.stats["status"], crossed.stats["steps"]) == ("proved", 7)


def test_the_clock_bounds_a_theorem_by_its_share():
    ticks = itertools.count()
    (attempt,) = search(ToyEnv(CHAIN), "g19", budget=Budget(seconds=20.0), clock=lambda: float(next(ticks)))
    assert attempt.stats["status"] == "budget:seconds"
    # A start of 1 s, then waves of 5 s, 1 s of each in the environment.
    assert (attempt.stats["total_s"], attempt.stats["env_s"], attempt.stats["searched"]) == (21.0, 5.0, 4)


def test_a_wave_s_time_is_shared_by_what_each_theorem_ran():
    ticks = itertools.count()
    table: Table = {"one": {"a": ()}, "three": {"a": (), "b": REFUSED, "c": REFUSED}}
    one, three = search(ToyEnv(table), "one", "three", clock=lambda: float(next(ticks)))
    assert (one.stats["env_s"], three.stats["env_s"]) == (1.25, 1.75)  # 1 s for each start, 1 s for the batch
    assert (one.stats["other_s"], three.stats["other_s"]) == (2.0, 2.0)
    assert one.stats["total_s"] + three.stats["total_s"] == next(ticks) - 3  # between the starts and the wave nobody works


def test_time_outs_are_failures_and_broken_environments_are_not():
    table: Table = {
        "slow": {"a": TIMEOUT, "b": TIMEOUT},
        "broken": {"a": FAULT, "b": FAULT},
        "half": {"a": FAULT, "b": REFUSED},
    }
    slow, broken, half, crash, nonsense = search(ToyEnv(table), "slow", "broken", "half", "crash", "nonsense")
    assert (slow.stats["status"], slow.stats["timeouts"], slow.fault) == ("exhausted", 2, None)
    assert (broken.stats["status"], broken.stats["faults"], broken.fault) == ("fault", 2, "environment: crashed")
    assert (half.stats["status"], half.stats["faults"], half.stats["rejected"], half.fault) == ("exhausted", 1, 1, None)
    assert (crash.stats["status"], crash.stats["faults"], crash.fault) == ("fault", 1, "environment: crashed")
    assert (nonsense.stats["status"], nonsense.stats["reason"], nonsense.fault) == ("refused", "no statement nonsense", None)
    assert len({frozenset(attempt.stats) for attempt in (slow, broken, half, crash, nonsense)}) == 1


def test_the_record_keeps_the_proof_and_the_first_other_steps():
    table: Table = {"top": {"a": ("x",), "b": ("y",), "c": ("z",), "d": ("w",)}, "w": {"end": ()}}
    for limit, kept in ((10, ["a", "b", "c", "d", "end"]), (4, ["a", "b", "d", "end"]), (0, ["a", "d", "end"])):
        (attempt,) = search(ToyEnv(table), "top", max_steps_kept=limit)
        assert [step.tactic for step in attempt.steps] == kept
        assert [step.tactic for step in attempt.steps if step.used] == ["d", "end"]


# ---------------------------------------------------------------------------------------------- the algorithms


def grown(edges: Sequence[tuple[str, float, Sequence[str]]]) -> Tree:
    """A tree in which each of ``edges`` (goal, score, children) belongs to an expanded goal; the first goal is the root."""
    tree = Tree(Goals(texts=(edges[0][0],)))
    for name, score, children in edges:
        goal = next(goal for goal in tree.goals if goal.goals.text == name)
        step = Step(state=name, tactic="t", result="", role="flat")
        tree.add(goal, [Goals(texts=(child,)) for child in children], step, score)
        if not goal.expansions:
            goal.expansions = 1
    return tree


def names(goals: Sequence[Any]) -> list[str]:
    return [goal.goals.text for goal in goals]


def test_best_first_takes_the_best_way_from_the_root():
    tree = grown(
        [
            ("r", -1.0, ["a"]),
            ("r", -3.0, ["b"]),
            ("r", -2.5, ["c"]),
            ("a", -1.0, ["d", "b"]),
            ("d", -3.0, ["e"]),
            ("b", -0.4, ["f"]),
        ]
    )
    # c 2.5; d is expanded, and so is b (2.0, by way of a); f 2.4; e 5.0.
    assert names(BestFirst()(tree, 9)) == ["f", "c", "e"]
    assert names(BestFirst()(tree, 1)) == ["f"]
    # By the mean of a way: f 2.4 / 3, e 5 / 3, c 2.5 / 1.
    assert names(BestFirst(path_norm=1.0)(tree, 9)) == ["f", "e", "c"]


def test_puct_by_hand():
    tree = grown([("r", -1.0, ["a"]), ("r", -1.0 - 1.0986122886681098, ["b", "c"])])  # priors 3/4 and 1/4
    root, a, b, _ = tree.goals
    b.estimate, b.value = 0.9, 0.9
    mcts = Mcts(c=2.0)
    # r -> a: 0.5 + 2 * 0.75 * 1 / 1 = 2.0; r -> b, c: 0.9 * 0.5 + 2 * 0.25 = 0.95.
    assert mcts(tree, 1) == [a]
    assert (root.edges[0].visits, a.value) == (1, 0.0)  # virtual loss
    assert root.value == pytest.approx((0.5 + 1 * 0.0) / 2)
    # a's expansion gives nothing yet, but it is open no more; it is worth 0.3.
    a.expansions, a.estimate = 1, 0.3
    step = Step(state="a", tactic="t", result="", role="flat")
    tree.add(a, [Goals(texts=("d",))], step, -1.0)
    # Now r -> a: 0.3 + 2 * 0.75 * sqrt(2) / 2 = 1.36; r -> b, c: 0.45 + 2 * 0.25 * sqrt(2) = 1.157: on to d.
    assert names(mcts(tree, 1)) == ["d"]
    # d is lost for now: a is worth (0.3 + 0) / 2, r -> a: 0.15 + 1.5 * sqrt(3) / 3 = 1.016; r -> b, c: 0.45 + 0.5 * sqrt(3).
    assert a.value == pytest.approx(0.15)
    assert root.value == pytest.approx((0.5 + 2 * 0.15) / 3)
    # The last way's value is put right first: d 0.5, a (0.3 + 0.5) / 2 = 0.4; then b, c: 1.316 against 0.4 + 0.866 = 1.266.
    assert names(mcts(tree, 2)) == ["b", "d"]
    assert b.value == 0.0


def test_a_wave_of_mcts_spreads_over_the_graph_and_ends():
    tree = grown([("r", -0.1, ["a"]), ("r", -0.2, ["b", "c"]), ("r", -9.0, ["d"]), ("a", -1.0, ["r"])])
    assert sorted(names(Mcts()(tree, 9))) == ["b", "c", "d"]


LURE: Table = {
    "top": {"lure": ("0",), "odd": ("easy",)},
    "easy": {"odd": ("easier",)},
    "easier": {"odd": ()},
    **{str(k): {"lure": (str(k + 1),)} for k in range(400)},
}


def test_mcts_finds_what_takes_exploration():
    scores = {"lure": -0.05, "odd": -3.0}
    bounded: dict[str, Any] = {"budget": Budget(steps=100), "width": 1, "expand": listing(LURE, scores)}
    (lured,) = search(ToyEnv(LURE), "top", algorithm=BestFirst, **bounded)
    (found,) = search(ToyEnv(LURE), "top", algorithm=Mcts, **bounded)
    assert lured.stats["status"] == "budget:steps"
    assert found.answer.splitlines() == ["odd", "odd", "odd"]


def test_mcts_heeds_a_value_and_best_first_does_not():
    table: Table = {"top": {"left": ("l0",), "right": ("r0",)}}
    table |= {f"{side}{k}": {"on": (f"{side}{k + 1}",)} for side in "lr" for k in range(30)} | {"r5": {"end": ()}}

    def chance(states: Sequence[str]) -> list[float]:
        return [0.9 if state.startswith("r") else 0.1 for state in states]

    def searched(algorithm: Callable[[], Any], **more: Any) -> int:
        (attempt,) = search(ToyEnv(table), "top", algorithm=algorithm, width=1, **more)
        assert attempt.stats["status"] == "proved"
        return attempt.stats["searched"]

    assert searched(Mcts, value=chance) < searched(Mcts)
    assert searched(BestFirst, value=chance) == searched(BestFirst)


# ---------------------------------------------------------------------------------------------- whatever the theorem

GOALS = [f"g{k}" for k in range(7)]
RULES = st.one_of(st.just(REFUSED), st.lists(st.sampled_from(GOALS), max_size=3).map(tuple))
TABLES = st.fixed_dictionaries({goal: st.dictionaries(st.sampled_from("abcd"), RULES, max_size=3) for goal in GOALS})


RANKS = st.sampled_from([None, arbitrary])


@given(TABLES, st.sampled_from(sorted(ALGORITHMS)), st.integers(1, 4), st.integers(0, 2), RANKS)
@settings(deadline=None)
def test_a_search_with_every_candidate_proves_exactly_what_is_provable(
    table: Table, algorithm: str, width: int, retries: int, rank: Rank | None
):
    env = ToyEnv(table, suggested=some_moves(table))
    how: dict[str, Any] = {"algorithm": ALGORITHMS[algorithm], "width": width, "retries": retries, "moves": 3}
    attempts = search(env, *GOALS, rank=rank, **how)
    for task, attempt in zip(tasks(*GOALS), attempts, strict=True):
        expected = "proved" if task.text in provable(table) else "exhausted"
        assert attempt.stats["status"] == expected
        assert env.check(task, attempt.answer).solved == (expected == "proved")
        assert attempt.stats["proof_steps"] == len(attempt.answer.splitlines())
        assert {step.tactic for step in attempt.steps if step.used} == set(attempt.answer.splitlines())
    # Where every tactic is a move and no model has any, the same is proved.
    env = ToyEnv(table, suggested={goal: sorted(rules) for goal, rules in table.items()})
    by_moves = search(env, *GOALS, expand=nothing, rank=rank, **how)
    assert [attempt.stats["status"] for attempt in by_moves] == [attempt.stats["status"] for attempt in attempts]


@given(TABLES, st.sampled_from(sorted(ALGORITHMS)), st.booleans(), st.booleans(), RANKS)
@settings(deadline=None)
def test_every_script_replays_however_goals_are_kept(table: Table, algorithm: str, dedup: bool, joint: bool, rank: Rank | None):
    env = ToyEnv(table, joint=joint, suggested=some_moves(table))
    how: dict[str, Any] = {"algorithm": ALGORITHMS[algorithm], "dedup": dedup, "moves": 3, "budget": Budget(steps=60)}
    attempts = search(env, *GOALS, rank=rank, **how)
    for task, attempt in zip(tasks(*GOALS), attempts, strict=True):
        assert env.check(task, attempt.answer).solved == (attempt.stats["status"] == "proved")
        assert render(attempt).splitlines()


@given(TABLES, st.sampled_from(sorted(ALGORITHMS)), st.permutations(GOALS), st.integers(1, 8), RANKS)
@settings(deadline=None)
def test_a_theorem_s_search_does_not_depend_on_the_others(
    table: Table, algorithm: str, order: Sequence[str], live: int, rank: Rank | None
):
    env = ToyEnv(table, suggested=some_moves(table))
    rules: dict[str, Any] = {"algorithm": ALGORITHMS[algorithm], "budget": Budget(steps=9), "moves": 2, "rank": rank}
    together = search(env, *order, live=live, **rules)
    assert together == [search(env, name, **rules)[0] for name in order]


# ---------------------------------------------------------------------------------------------- as text


def test_a_search_as_text():
    (attempt,) = search(ToyEnv({**SMALL, "left": {"bad": REFUSED, "simplify": ("true",), "swap": ("and",)}}), "and")
    assert render(attempt).splitlines() == [
        "proved: 5 of 5 goals searched, 1 tactics refused",
        "and",
        "  - lose (flat 0.00)",
        "    false",
        "  * split (flat 0.00)",
        "    left",
        "      * simplify (flat 0.00)",
        "        true",
        "          * trivial (flat 0.00) closes it",
        "      - swap (flat 0.00)",
        "        and (above)",
        "    right",
        "      * trivial (flat 0.00) closes it",
    ]
    assert max(map(len, render(attempt, width=20).splitlines()[1:])) == 20


def test_a_search_without_a_step_as_text():
    (attempt,) = search(ToyEnv(SMALL), "false")
    assert render(attempt) == "exhausted: 1 of 1 goals searched, 0 tactics refused"


def test_a_search_of_states_that_stay_together_as_text():
    (attempt,) = search(ToyEnv(SMALL, joint=True), "and")
    assert "    left right" in render(attempt).splitlines()


def test_a_statement_that_was_not_taken_as_text():
    assert render(search(ToyEnv(SMALL), "nonsense")[0]) == "refused: 0 of 0 goals searched, 1 tactics refused"
