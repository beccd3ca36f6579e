"""Where candidates come from: the prompts, RiR's rule, the mixture, the accounts, and the prover that binds them."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.config_prove import Lore, Roles, TargetForm
from sparring.game import Attempt, Bout, Sample, Sampling, Scored, Verdict, make_task
from sparring.learners.roles import search_lessons
from sparring.models.scripted import ScriptedModel
from sparring.prompts import (
    actor_prompt,
    fitting,
    flat_prompt,
    is_target,
    joint_completion,
    one_line,
    planner_completion,
    planner_prompt,
    size,
    split_joint,
)
from sparring.solvers.budget import Budget
from sparring.solvers.choose import ALGORITHMS, BestFirst, Mcts
from sparring.solvers.hierarchy import PRESETS, Ask, Flat, Hierarchical, Joint, Mixture, Policy, Prover
from sparring.solvers.rank import Ranker
from sparring.solvers.search import Rules
from tests.toy_env import REFUSED, Table, ToyEnv, tasks

TWO = Sampling(n=2)


def no_time() -> float:
    return 0.0


@dataclass
class Told:
    """A model that answers by heart: prompt -> (answer, log-prob of each token); an answer that ends in "…" was cut off.

    ``chances``: what it says of an answer that it reads, by (prompt, answer).
    """

    answers: Mapping[str, Sequence[tuple[str, Sequence[float]]]]
    chances: Mapping[tuple[str, str], Scored] = field(default_factory=dict[tuple[str, str], Scored])
    calls: list[tuple[str, list[str], Sampling, int]] = field(default_factory=list[tuple[str, list[str], Sampling, int]])

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        self.calls.append((role, [*prompts], how, seed))
        return [[self._sample(role, how.stop, *answer) for answer in self.answers.get(prompt, ())] for prompt in prompts]

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        return [self.chances[pair] for pair in pairs]

    def _sample(self, role: str, stop: str, text: str, logprobs: Sequence[float]) -> Sample:
        text = text.partition(stop)[0] if stop else text
        finish = "length" if text.endswith("…") else "stop"
        return Sample(role=role, text=text, logprobs=tuple(logprobs), token_ids=(7,) * (len(logprobs) or 3), finish=finish)


def ask(model: Told, *, retry: int = 0, chars: int = 1000) -> Ask:
    return Ask(model, no_time, chars, seed=1, retry=retry)


def rounded(policy: Policy, model: Told, *states: str) -> list[list[tuple[str, float, str | None]]]:
    found = policy.propose(states, ask(model))
    return [[(c.tactic, round(c.score, 6), c.target) for c in candidates] for candidates in found]


# ---------------------------------------------------------------------------------------------- prompts


def test_the_prompts_to_the_letter():
    assert flat_prompt("s") == "[CURRENT GOAL] s [PROOFSTEP]"
    assert flat_prompt("s", "a : p\nb : q") == "[PREMISES] a : p\nb : q [CURRENT GOAL] s [PROOFSTEP]"
    assert planner_prompt("s") == "[CURRENT GOAL] s [TARGET GOAL]"
    assert actor_prompt("s", "t") == "[CURRENT GOAL] s [TARGET GOAL] t [PROOFSTEP]"
    assert planner_completion("t") == "t [PROOFSTEP]"
    assert joint_completion("t", "simp") == "t [PROOFSTEP] simp"


@given(st.lists(st.text(alphabet="ab ⊢", min_size=1).map("x : {}".format), max_size=5), st.text(max_size=9), st.integers(0, 120))
def test_as_many_hints_as_fit(lines: list[str], state: str, room: int):
    found = fitting("\n".join(lines), state, room).splitlines()
    assert found == lines[: len(found)]
    assert not found or size(flat_prompt(state, "\n".join(found))) <= room
    assert found == lines or size(flat_prompt(state, "\n".join(lines[: len(found) + 1]))) > room


@pytest.mark.parametrize("text", ["t", "t [PROOFSTEP]", " [PROOFSTEP] simp", ""])
def test_half_an_answer_is_none(text: str):
    assert split_joint(text) is None


@given(st.text(alphabet="ab :=⊢\n", min_size=1), st.text(alphabet="rw [h]", min_size=1))
def test_a_joint_answer_comes_apart_again(target: str, tactic: str):
    parts = split_joint(joint_completion(target, tactic))
    assert parts == ((target.strip(), tactic.strip()) if target.strip() and tactic.strip() else None)


def test_what_can_be_a_target():
    assert is_target("h : [a] = [b]", "s")
    assert one_line(" a\n  b ") == "a b"
    for text in ("", " \n", "t [TARGET GOAL] u", "[PROOFSTEP]", "a\n b"):
        assert not is_target(text, "a b")


# ---------------------------------------------------------------------------------------------- policies


def test_flat_orders_tactics_by_what_the_model_thinks_of_them():
    answers = [("low", (-2.0, -1.0)), ("high", (-1.0,)), ("  high\n", (-0.5,)), (" ", (-0.1,)), ("cut…", (-0.1,))]
    model = Told({flat_prompt("s"): answers})
    assert rounded(Flat(actor=TWO), model, "s", "unknown") == [[("high", -0.5, None), ("low", -3.0, None)], []]
    assert rounded(Flat(actor=TWO, length_norm=1.0), model, "s") == [[("high", -0.5, None), ("low", -1.5, None)]]
    assert model.calls[0][:2] == ("flat", [flat_prompt("s"), flat_prompt("unknown")])


def test_answers_without_log_probs_are_equally_likely():
    (found,) = Flat(actor=TWO).propose(["s"], ask(Told({flat_prompt("s"): [("a", ()), ("b", ())]})))
    assert [(c.tactic, c.score) for c in found] == [("a", -math.log(2)), ("b", -math.log(2))]


PLANNED: Mapping[str, Sequence[tuple[str, Sequence[float]]]] = {
    planner_prompt("s"): [
        ("t1 [PROOFSTEP]", (-1.0, -1.0)),
        ("t2\n x", (-0.5,)),
        ("t2 x [PROOFSTEP] a", (-0.6,)),
        ("s", (0.0,)),
        ("[TARGET GOAL]", (0.0,)),
        ("c…", (0.0,)),
    ],
    actor_prompt("s", "t1"): [("simp", (-0.25,)), ("ring", (-3.0,))],
    actor_prompt("s", "t2\n x"): [("ring", (-1.0, -1.0)), ("cut…", (-0.0,))],
}


def test_rir_adds_the_planner_s_and_the_actor_s_log_probs():
    model = Told(PLANNED)
    policy = Hierarchical(planner=TWO, actor=TWO)
    assert rounded(policy, model, "s") == [[("simp", -2.25, "t1"), ("ring", -2.5, "t2\n x")]]
    # One request a role; equal targets, the state itself, prompts and what was cut off are not aimed at.
    assert [(role, len(prompts)) for role, prompts, _, _ in model.calls] == [("planner", 1), ("actor", 2)]
    by_token = replace(policy, length_norm=1.0)
    assert rounded(by_token, model, "s") == [[("simp", -1.25, "t1"), ("ring", -1.5, "t2\n x")]]
    (found,) = by_token.propose(["s"], ask(model))
    assert [c.logprob for c in found] == [-2.25, -2.5]  # the record keeps the model's own


def test_all_states_of_a_wave_share_a_request_of_each_role():
    model = Told({**PLANNED, planner_prompt("u"): [("no goals", (-1.0,))], actor_prompt("u", "no goals"): [("rfl", (-1.0,))]})
    found = rounded(Hierarchical(planner=TWO, actor=TWO), model, "u", "s", "none")
    assert [len(candidates) for candidates in found] == [1, 2, 0]
    assert found[0] == [("rfl", -2.0, "no goals")]
    assert [(role, len(prompts)) for role, prompts, _, _ in model.calls] == [("planner", 3), ("actor", 3)]


def test_joint_takes_target_and_tactic_from_one_answer():
    answers = [("t [PROOFSTEP] simp", (-1.0,)), ("u [PROOFSTEP] simp", (-0.5,)), ("simp", (0.0,)), ("s [PROOFSTEP] ring", (0.0,))]
    model = Told({planner_prompt("s"): answers})
    assert rounded(Joint(actor=TWO), model, "s") == [[("simp", -0.5, "u")]]
    assert [role for role, *_ in model.calls] == ["joint"]


BOTH_KINDS: Mapping[str, Sequence[tuple[str, Sequence[float]]]] = {
    **PLANNED,
    flat_prompt("s"): [("ring", (-1.0,)), ("omega", (-2.25,))],
}


def test_both_kinds_at_once_without_repeats():
    model = Told(BOTH_KINDS)
    mixture = Mixture(flat=Flat(actor=TWO), goals=Hierarchical(planner=TWO, actor=TWO), flat_from=0, goals_from=0)
    # The actor's ring has -2.5; simp has as much as omega, which was asked for first.
    assert rounded(mixture, model, "s") == [[("ring", -1.0, None), ("omega", -2.25, None), ("simp", -2.25, "t1")]]
    assert [(role, len(prompts)) for role, prompts, _, _ in model.calls] == [("flat", 1), ("planner", 1), ("actor", 2)]
    # Where the planner's way is the better one, the tactic is the actor's.
    unlikely = Told({**PLANNED, flat_prompt("s"): [("ring", (-3.0,))]})
    assert rounded(mixture, unlikely, "s") == [[("simp", -2.25, "t1"), ("ring", -2.5, "t2\n x")]]


def test_what_is_generated_comes_at_later_expansions():
    beam = Sampling(n=2, beam=True)
    model = Told(BOTH_KINDS)
    mixture = Mixture(flat=Flat(actor=beam), goals=Hierarchical(planner=beam, actor=beam))
    looks = [[(c.tactic, c.role) for c in mixture.propose(["s"], ask(model, retry=retry))[0]] for retry in range(3)]
    flat = [("ring", "flat"), ("omega", "flat")]
    assert looks == [[], flat, [*flat, ("simp", "actor")]]
    # A first look is a beam, a later one is sampled; each with a seed of its expansion.
    assert [(role, how.beam) for role, _, how, _ in model.calls] == [
        *[("flat", True)],
        *[("flat", False), ("planner", True), ("actor", True)],
    ]
    assert len({seed for _, _, _, seed in model.calls}) == 2


def test_what_each_kind_took_is_on_one_account():
    model = Told(BOTH_KINDS)
    mixture = Mixture(flat=Flat(actor=TWO), goals=Hierarchical(planner=TWO, actor=TWO))
    counted: list[int] = []
    for retry in range(3):
        asking = ask(model, retry=retry)
        mixture.propose(["s"], asking)
        counted.append(asking.spent[0].calls)
    assert counted == [0, 2, 2 + 6 + 4]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-50.0, 0.0)), max_size=6), st.floats(0.0, 1.0))
def test_no_score_is_above_zero(answers: list[tuple[str, float]], norm: float):
    told = [(text, (logprob, 0.0)) for text, logprob in answers]
    model = Told({flat_prompt("s"): told, planner_prompt("s"): told, actor_prompt("s", "a"): told})
    goals = Hierarchical(planner=TWO, actor=TWO, length_norm=norm)
    mixture = Mixture(flat=Flat(actor=TWO, length_norm=norm), goals=goals, flat_from=0, goals_from=0)
    (found,) = mixture.propose(["s"], ask(model))
    assert all(c.score <= 0.0 for c in found)
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert len({c.tactic for c in found}) == len(found)


# ---------------------------------------------------------------------------------------------- asking, and the accounts


def test_calls_tokens_and_time_are_counted_by_state():
    ticks = itertools.count()
    model = Told(
        {**PLANNED, planner_prompt("u"): [("t", (-1.0,)), ("[TARGET GOAL]", (-1.0,))], actor_prompt("u", "t"): [("x", (-1.0,))]}
    )
    asking = Ask(model, lambda: float(next(ticks)), 1000, seed=1, retry=0)
    Hierarchical(planner=TWO, actor=TWO).propose(["s", "u"], asking)
    s, u = asking.spent[0], asking.spent[1]
    assert (s.calls, u.calls) == (6 + 4, 2 + 1)
    assert (s.tokens, u.tokens) == (7 + 5, 2 + 1)
    assert (s.planner_s, u.planner_s) == (0.75, 0.25)
    assert (s.actor_s, u.actor_s) == (0.8, 0.2)


def test_flat_time_is_the_actor_s():
    ticks = itertools.count()
    asking = Ask(Told({flat_prompt("s"): [("x", (-1.0,))]}), lambda: float(next(ticks)), 1000, seed=1, retry=0)
    Flat(actor=TWO).propose(["s"], asking)
    assert (asking.spent[0].actor_s, asking.spent[0].planner_s) == (1.0, 0.0)


def test_a_beam_is_not_asked_twice():
    beam = Sampling(n=2, beam=True, temperature=0.8)
    model = Told({})
    for retry in range(2):
        Flat(actor=beam).propose(["s"], ask(model, retry=retry))
    (_, _, first, seed), (_, _, second, other) = model.calls
    assert (first, second) == (beam, replace(beam, beam=False))
    assert seed != other


def test_a_goal_too_long_to_ask_about_is_a_dead_end():
    model = Told({**PLANNED, flat_prompt("s"): [("simp", (-1.0,))]})
    room = len(flat_prompt("s"))
    assert [len(c) for c in Flat(actor=TWO).propose(["s" * 50, "s"], ask(model, chars=room))] == [0, 1]
    assert model.calls[0][1] == [flat_prompt("s")]
    assert Flat(actor=TWO).propose(["s" * 50], ask(model, chars=room)) == [[]]
    assert len(model.calls) == 1
    # A long target is dropped by the prompt that it would make.
    (found,) = Hierarchical(planner=TWO, actor=TWO).propose(["s"], ask(model, chars=len(actor_prompt("s", "t1"))))
    assert [c.target for c in found] == ["t1", "t1"]


# ---------------------------------------------------------------------------------------------- the prover

TABLE: Table = {
    "sum": {"split": ("left", "right"), "swap": ("sum2",), "lose": ("false",)},
    "sum2": {"swap": ("sum",), "split": ("right", "left")},
    "left": {"simp": ("base",), "lose": ("false",)},
    "right": {"simp": ("base",), "ring": ()},
    "base": {"rfl": ()},
    "false": {"ring": REFUSED},
}
SUGGESTED = {"sum": ("swap", "lose", "split"), "left": ("lose", "wrong"), "right": ("simp",), "false": ("ring",)}
TACTICS = ["split", "swap", "lose", "simp", "ring", "rfl", "wrong"]


def random_player(prompt: str, role: str, rng: Random) -> str:
    """Names goals and tactics of the table at random."""
    target, tactic = rng.choice(sorted(TABLE)), rng.choice(TACTICS)
    return {"planner": target, "joint": joint_completion(target, tactic)}.get(role, tactic)


def small(policy: Policy) -> Policy:
    """The preset with three answers wherever it has more."""
    match policy:
        case Flat() | Joint():
            return replace(policy, actor=replace(policy.actor, n=3))
        case Hierarchical():
            return replace(policy, planner=replace(policy.planner, n=2), actor=replace(policy.actor, n=2))
        case Mixture():
            return replace(policy, flat=small(policy.flat), goals=small(policy.goals))
        case _:
            raise AssertionError(policy)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_proves_with_a_model_that_guesses(preset: str, algorithm: str):
    env = ToyEnv(TABLE)
    rules = Rules(budget=Budget(calls=2000), algorithm=ALGORITHMS[algorithm], retries=20, clock=no_time)
    prover = Prover(env=env, policy=small(PRESETS[preset]), rules=rules)
    asked = tasks("sum", "left", "base", "false")
    attempts = [attempt for (attempt,) in prover.attempt(asked, ScriptedModel(random_player), 3)]
    assert [attempt.stats["status"] for attempt in attempts] == ["proved"] * 3 + ["exhausted"]
    assert [env.check(task, attempt.answer).solved for task, attempt in zip(asked, attempts, strict=True)] == [True] * 3 + [False]
    assert len(set(env.tries)) == len({(s, one_line(t)) for s, t in env.tries})
    roles = {"flat": {"flat"}, "rir": {"actor"}, "joint": {"joint"}, "mixture": {"flat", "actor"}}[preset]
    assert {step.role for attempt in attempts for step in attempt.steps} <= roles
    assert all((step.target is None) == (step.role == "flat") for attempt in attempts for step in attempt.steps)


def test_the_presets_are_the_papers():
    rir = PRESETS["rir"]
    assert isinstance(rir, Hierarchical)
    assert (rir.planner.n, rir.planner.beam, rir.actor.beam, rir.length_norm) == (5, True, True, 0.0)
    assert Prover(env=ToyEnv(TABLE), rules=Rules(budget=Budget(calls=1))).policy == PRESETS["mixture"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("target", ["state", "difference"])
def test_moves_and_a_ranker_prove_with_a_model_that_guesses(algorithm: str, target: TargetForm):
    env = ToyEnv(TABLE, suggested=SUGGESTED)
    rules = Rules(budget=Budget(calls=2000), algorithm=ALGORITHMS[algorithm], retries=20, moves=4, clock=no_time)
    prover = Prover(env=env, policy=small(PRESETS["mixture"]), rules=rules, ranker=Ranker(target=target))
    asked = tasks("sum", "left", "base", "false")
    attempts = [attempt for (attempt,) in prover.attempt(asked, ScriptedModel(random_player), 3)]
    assert [attempt.stats["status"] for attempt in attempts] == ["proved"] * 3 + ["exhausted"]
    assert [env.check(task, attempt.answer).solved for task, attempt in zip(asked, attempts, strict=True)] == [True] * 3 + [False]
    steps = [step for attempt in attempts for step in attempt.steps]
    assert {step.role for step in steps} == {"move", "flat", "actor"}
    assert attempts[0].stats["weighed"] > 0
    assert all(step.logprob <= 0.0 for step in steps)


@given(st.permutations(["sum", "left", "right", "base", "false", "sum2"]), st.integers(1, 3), st.booleans(), st.integers(0, 2))
@settings(deadline=None, max_examples=40)
def test_an_attempt_does_not_depend_on_the_batch(order: list[str], cut: int, mcts: bool, moves: int):
    rules = Rules(budget=Budget(calls=40), retries=3, moves=moves, clock=no_time, algorithm=Mcts if mcts else BestFirst)
    ranker = Ranker(target="difference") if moves else None

    def attempts(*names: str):
        env = ToyEnv(TABLE, suggested=SUGGESTED)
        prover = Prover(env=env, policy=small(PRESETS["mixture"]), rules=rules, ranker=ranker)
        return prover.attempt(tasks(*names), ScriptedModel(random_player), 5)

    assert attempts(*order) == attempts(*order[:cut]) + attempts(*order[cut:])


def test_another_seed_is_another_search():
    policy = Flat(actor=Sampling(n=3))
    prover = Prover(env=ToyEnv(TABLE), policy=policy, rules=Rules(budget=Budget(calls=40), clock=no_time))
    tried = [prover.attempt(tasks("sum"), ScriptedModel(random_player), seed) for seed in range(6)]
    assert any(one != tried[0] for one in tried)
    assert prover.attempt(tasks("sum"), ScriptedModel(random_player), 0) == tried[0]


def test_what_a_model_took_is_in_the_attempt_s_figures():
    ticks = itertools.count()
    rules = Rules(budget=Budget(calls=1), clock=lambda: float(next(ticks)))
    prover = Prover(env=ToyEnv({"s": {"ring": ()}}), rules=rules, policy=Hierarchical(planner=TWO, actor=TWO))
    ((attempt,),) = prover.attempt(tasks("s"), Told(PLANNED), 0)
    stats = attempt.stats
    assert (stats["planner_s"], stats["actor_s"], stats["env_s"]) == (1.0, 1.0, 2.0)  # a start and a batch
    assert stats["total_s"] == stats["planner_s"] + stats["actor_s"] + stats["env_s"] + stats["other_s"]
    assert (stats["calls"], stats["tokens"], stats["status"]) == (10, 12, "proved")
    (step,) = attempt.steps
    assert (step.role, step.target, step.logprob, step.used) == ("actor", "t2\n x", -2.5, True)


def test_what_was_reached_is_read_before_anything_is_written():
    """The flat prover and the planner disagree about the only choice there is; the planner's word weighs more."""
    table: Table = {"s": {"a": ("x",), "b": ("y",)}, "x": {"end": ()}, "y": {"end": ()}}
    chances = {
        (planner_prompt("s"), planner_completion("x")): Scored(logprob=-1.0 - math.log(3.0), tokens=1),
        (planner_prompt("s"), planner_completion("y")): Scored(logprob=-1.0, tokens=1),
        (flat_prompt("s"), "a"): Scored(logprob=0.0, tokens=1),
        (flat_prompt("s"), "b"): Scored(logprob=-math.log(4.0), tokens=1),
    }
    ticks = itertools.count()
    env = ToyEnv(table, suggested={"s": ("a", "b"), "x": ("end",), "y": ("end",)})
    rules = Rules(budget=Budget(calls=9), moves=9, width=1, clock=lambda: float(next(ticks)))
    prover = Prover(env=env, rules=rules, ranker=Ranker(target="state", flat_weight=0.25))
    model = Told({}, chances)
    ((attempt,),) = prover.attempt(tasks("s"), model, 0)
    assert model.calls == []
    assert attempt.answer.splitlines() == ["b", "end"]
    # x: 1/4 of 4/5 and 3/4 of 1/4; y: 1/4 of 1/5 and 3/4 of 3/4. What closes a goal is the only move there.
    assert [step.tactic for step in attempt.steps] == ["a", "b", "end"]
    assert [step.logprob for step in attempt.steps] == pytest.approx([math.log(0.3875), math.log(0.6125), 0.0])
    assert [step.target for step in attempt.steps] == ["x", "y", None]
    stats = attempt.stats
    assert (stats["calls"], stats["weighed"], stats["tokens"], stats["steps"]) == (2, 4, 0, 3)
    assert (stats["planner_s"], stats["actor_s"]) == (1.0, 1.0)
    assert stats["env_s"] == 1 + 2 + 2  # the start, two looks for moves, two batches


def test_without_a_ranker_nothing_is_read():
    env = ToyEnv({"s": {"a": ("x",), "b": ("y",)}, "x": {}, "y": {}}, suggested={"s": ("a", "b")})
    prover = Prover(env=env, rules=Rules(budget=Budget(), moves=9, clock=no_time))
    ((attempt,),) = prover.attempt(tasks("s"), Told({}), 0)
    assert (attempt.stats["calls"], attempt.stats["weighed"]) == (0, 0)
    assert [step.logprob for step in attempt.steps] == pytest.approx([-math.log(2.0)] * 2)


def test_a_goal_too_long_to_ask_about_gets_neither_moves_nor_answers():
    growing: Table = {"x" * k: {"grow": ("x" * (k + 1),), "both": ("x" * (k + 1), "x")} for k in range(1, 100)}
    env = ToyEnv(growing, suggested=dict.fromkeys(growing, ("grow", "both")))
    rules = Rules(budget=Budget(), moves=9, max_bytes=60, retries=2, clock=no_time)
    prover = Prover(env=env, rules=rules, ranker=Ranker(target="state"))
    ((attempt,),) = prover.attempt(tasks("x"), ScriptedModel(random_player), 0)
    assert attempt.stats["status"] == "exhausted"
    assert attempt.stats["depth"] == 60


# ---------------------------------------------------------------------------------------------- hints

LEMMAS = {"sum": "one : a\ntwo : b", "right": "three : c", "left": "four : d", "base": "five : e", "sum2": "six : f"}


@dataclass
class Overheard:
    """A model that remembers what each role was asked to write."""

    model: ScriptedModel
    asked: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        self.asked[role].update(prompts)
        return self.model.sample(prompts, how, role=role, seed=seed)

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        return self.model.score(pairs, role=role)


def hinted(hints: bool, preset: str = "mixture", **rules: Any) -> tuple[Attempt, Overheard, ToyEnv]:
    env, model = ToyEnv(TABLE, suggested=SUGGESTED, lemmas=LEMMAS), Overheard(ScriptedModel(random_player))
    how = Rules(**{"budget": Budget(calls=2000), "retries": 20, "hints": hints, "clock": no_time, **rules})
    ((attempt,),) = Prover(env=env, policy=small(PRESETS[preset]), rules=how).attempt(tasks("sum"), model, 3)
    return attempt, model, env


@pytest.mark.parametrize("moves", [0, 2])
def test_hints_reach_the_flat_prover_alone(moves: int):
    attempt, model, env = hinted(True, moves=moves)
    assert attempt.stats["status"] == "proved"
    assert {"flat", "planner", "actor"} <= model.asked.keys()
    assert flat_prompt("sum", LEMMAS["sum"]) in model.asked["flat"]
    assert model.asked["flat"] <= {flat_prompt(goal, LEMMAS.get(goal, "")) for goal in TABLE}
    assert not any("[PREMISES]" in prompt for role in ("planner", "actor") for prompt in model.asked[role])
    assert len(set(env.hinted)) == len(env.hinted), "looked up once for a goal"


def test_steps_of_a_proof_have_the_hints_of_their_goals_whoever_named_them():
    attempt, _, _ = hinted(True, moves=4)
    used = [step for step in attempt.steps if step.used]
    assert "move" in {step.role for step in used}
    assert [step.hints for step in used] == [LEMMAS[step.state] for step in used]
    lessons = search_lessons(
        [Bout(task=make_task("sum"), attempts=(attempt,), verdicts=(Verdict(score=1.0, solved=True),))], Roles(), Lore(), 0
    )
    prompts = {lesson.prompt for lesson in lessons}
    assert {flat_prompt(step.state, step.hints) for step in used} <= prompts
    assert not {flat_prompt(step.state) for step in used} & prompts


def test_hints_are_looked_up_for_what_is_asked_or_taught_and_for_nothing_else():
    attempt, _, env = hinted(True, preset="rir")
    assert set(env.hinted) == {step.state for step in attempt.steps if step.used}
    lost = Prover(env=env, policy=small(PRESETS["rir"]), rules=Rules(budget=Budget(calls=20), hints=True, clock=no_time))
    env.hinted.clear()
    lost.attempt(tasks("false"), ScriptedModel(random_player), 3)
    assert env.hinted == []


def test_without_the_option_nothing_changes():
    attempt, model, env = hinted(False)
    assert env.hinted == []
    assert not any("[PREMISES]" in prompt for prompts in model.asked.values() for prompt in prompts)
    assert {step.hints for step in attempt.steps} == {""}
    bare = Prover(
        env=ToyEnv(TABLE), policy=small(PRESETS["mixture"]), rules=Rules(budget=Budget(calls=2000), retries=20, clock=no_time)
    )
    assert bare.attempt(tasks("sum"), ScriptedModel(random_player), 3) == [(attempt,)]


def test_hints_give_way_to_the_state():
    room = size(flat_prompt("sum", "one : a"))
    _, model, _ = hinted(True, preset="flat", max_bytes=room)
    assert flat_prompt("sum", "one : a") in model.asked["flat"]
    _, model, _ = hinted(True, preset="flat", max_bytes=room - 1)
    assert flat_prompt("sum") in model.asked["flat"]


def test_looking_up_hints_is_the_environment_s_time():
    ticks = itertools.count()
    rules = Rules(budget=Budget(calls=1), hints=True, clock=lambda: float(next(ticks)))
    prover = Prover(env=ToyEnv({"s": {"ring": ()}}, lemmas={"s": "a : b"}), rules=rules, policy=Flat(actor=TWO))
    ((attempt,),) = prover.attempt(tasks("s"), Told({flat_prompt("s", "a : b"): [("ring", (-1.0,))]}), 0)
    stats = attempt.stats
    assert (stats["env_s"], stats["actor_s"], attempt.answer) == (3.0, 1.0, "ring")  # a start, a look-up and a batch
    assert stats["total_s"] == stats["planner_s"] + stats["actor_s"] + stats["env_s"] + stats["other_s"]
