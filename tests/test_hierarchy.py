"""Where candidates come from: the prompts, RiR's rule, the mixture, the accounts, and the prover that binds them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.errors import SparringError
from sparring.game import Sample, Sampling
from sparring.models.scripted import ScriptedModel
from sparring.prompts import (
    actor_prompt,
    flat_prompt,
    is_target,
    joint_completion,
    one_line,
    planner_completion,
    planner_prompt,
    split_joint,
)
from sparring.solvers.budget import Budget
from sparring.solvers.choose import ALGORITHMS, BestFirst, Mcts
from sparring.solvers.hierarchy import PRESETS, Ask, Flat, Hierarchical, Joint, Mixture, Policy, Prover
from sparring.solvers.search import Rules
from tests.toy_env import REFUSED, Table, ToyEnv, tasks

TWO = Sampling(n=2)


def no_time() -> float:
    return 0.0


@dataclass
class Told:
    """A model that answers by heart: prompt -> (answer, log-prob of each token); an answer that ends in "…" was cut off."""

    answers: Mapping[str, Sequence[tuple[str, Sequence[float]]]]
    calls: list[tuple[str, list[str], Sampling, int]] = field(default_factory=list[tuple[str, list[str], Sampling, int]])

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        self.calls.append((role, [*prompts], how, seed))
        return [[self._sample(role, how.stop, *answer) for answer in self.answers.get(prompt, ())] for prompt in prompts]

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
    assert planner_prompt("s") == "[CURRENT GOAL] s [TARGET GOAL]"
    assert actor_prompt("s", "t") == "[CURRENT GOAL] s [TARGET GOAL] t [PROOFSTEP]"
    assert planner_completion("t") == "t [PROOFSTEP]"
    assert joint_completion("t", "simp") == "t [PROOFSTEP] simp"


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


def test_the_mixture_of_both_kinds():
    model = Told({**PLANNED, flat_prompt("s"): [("ring", (-1.0,)), ("omega", (-2.0,))]})
    mixture = Mixture(flat=Flat(actor=TWO), goals=Hierarchical(planner=TWO, actor=TWO), flat_weight=0.75)
    both = math.log(0.75 * math.exp(-1.0) + 0.25 * math.exp(-2.5))
    expected = [("ring", both, None), ("omega", math.log(0.75) - 2.0, None), ("simp", math.log(0.25) - 2.25, "t1")]
    assert rounded(mixture, model, "s") == [[(tactic, round(score, 6), target) for tactic, score, target in expected]]
    # Where the planner's way is the better one, the tactic is the actor's.
    (found,) = replace(mixture, flat_weight=0.01).propose(["s"], ask(model))
    assert next((c.role, c.target) for c in found if c.tactic == "ring") == ("actor", "t2\n x")


@pytest.mark.parametrize("weight", [0.0, 1.0, -1.0, math.nan])
def test_a_mixture_is_of_both_kinds(weight: float):
    with pytest.raises(SparringError, match=r"flat_weight .* between 0 and 1"):
        Mixture(flat=Flat(actor=TWO), goals=Hierarchical(planner=TWO, actor=TWO), flat_weight=weight)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-50.0, 0.0)), max_size=6), st.floats(0.01, 0.99), st.floats(0.0, 1.0))
def test_no_score_is_above_zero(answers: list[tuple[str, float]], weight: float, norm: float):
    told = [(text, (logprob, 0.0)) for text, logprob in answers]
    model = Told({flat_prompt("s"): told, planner_prompt("s"): told, actor_prompt("s", "a"): told})
    mixture = Mixture(flat=Flat(actor=TWO, length_norm=norm), goals=Hierarchical(planner=TWO, actor=TWO, length_norm=norm))
    (found,) = replace(mixture, flat_weight=weight).propose(["s"], ask(model))
    assert all(c.score <= 1e-12 for c in found)
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


def test_goal_driven_candidates_may_come_at_a_second_look():
    beam = Sampling(n=2, beam=True)
    model = Told({**PLANNED, flat_prompt("s"): [("omega", (-2.0,))]})
    mixture = Mixture(flat=Flat(actor=beam), goals=Hierarchical(planner=beam, actor=beam), goals_from=1)
    looks = [[c.tactic for c in mixture.propose(["s"], ask(model, retry=retry))[0]] for retry in range(3)]
    assert looks == [["omega"], ["simp", "ring"], ["simp", "ring"]]
    # The planner's first look is a beam, its second one is sampled.
    assert [(role, how.beam) for role, _, how, _ in model.calls] == [
        *[("flat", True)],
        *[("planner", True), ("actor", True)],
        *[("planner", False), ("actor", False)],
    ]


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


@given(st.permutations(["sum", "left", "right", "base", "false", "sum2"]), st.integers(1, 3), st.booleans())
def test_an_attempt_does_not_depend_on_the_batch(order: list[str], cut: int, mcts: bool):
    rules = Rules(budget=Budget(calls=40), retries=3, clock=no_time, algorithm=Mcts if mcts else BestFirst)

    def attempts(*names: str):
        prover = Prover(env=ToyEnv(TABLE), policy=small(PRESETS["mixture"]), rules=rules)
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
