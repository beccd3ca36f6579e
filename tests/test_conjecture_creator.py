"""The conjecturer: how hard a statement was, what is drawn, asked and refused, and what of it is worth imitating."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sparring.config_prove import Conjectures
from sparring.creators.conjecture import (
    Alternating,
    Conjecturer,
    ModelConjecturer,
    SeenKeys,
    Symbolic,
    Writer,
    conjecture_lessons,
    effort_rewards,
    shortest_proof,
)
from sparring.creators.gates import Draft
from sparring.envs.printing import format_statement
from sparring.envs.reader import read_statement
from sparring.game import Attempt, Bout, Model, Sample, Sampling, Task, Verdict, make_task
from sparring.models.scripted import ScriptedModel
from sparring.prompts import conjecture_prompt
from sparring.worlds.conjectures import OPERATORS, mutate_with, read
from sparring.worlds.keys import statement_key
from sparring.worlds.lemmas import LIBRARY

NAN = math.nan
BUDGET = 128
SETTINGS = Conjectures(fraction=1.0, tries=2, max_new_tokens=100)


def key_of(text: str) -> int:
    """Statements of the same length are the same."""
    return len(text)


def anything(text: str) -> Mapping[str, Any]:
    return {"size": len(text)}


def searched(text: str, calls: float | None, script: str = "rfl", **task: Any) -> Bout:
    """A statement and a search that proved it with so many model calls; None: it did not prove it."""
    proved = calls is not None
    attempt = Attempt(answer=script if proved else "", stats={"calls": calls if proved else BUDGET})
    return Bout(task=make_task(text, **task), attempts=(attempt,), verdicts=(Verdict(score=float(proved), solved=proved),))


BROKEN = Bout(task=make_task("broken"), attempts=(Attempt(answer=""),), verdicts=(Verdict(score=0, solved=False, fault="died"),))
CRASHED = Bout(task=make_task("crashed"), attempts=(Attempt(answer="", fault="oom"),), verdicts=(Verdict(score=0, solved=False),))
EMPTY = Bout(task=make_task("empty"), attempts=(), verdicts=())
SILENT = ScriptedModel(lambda prompt, role, rng: "")


def mutate(text: str, operator: str, seed: int, others: Sequence[str]) -> tuple[str, str]:
    """Three times as long and a bit, so that it is new."""
    return f"{text}{operator * 2 * len(text)}!", f"lemma_{operator}"


def creator(writer: Writer, settings: Conjectures = SETTINGS, **rest: Any) -> Conjecturer:
    return Conjecturer(**{"settings": settings, "budget": BUDGET, "writer": writer, "read": anything, "key": key_of, **rest})


SYMBOLIC = Symbolic(mutate, "ab", tries=2)

# ------------------------------------------------------------------------------------------------------- how hard


@pytest.mark.parametrize(
    ("calls", "passes"),
    [(None, 0), (140, 1), (128, 1), (65, 1), (64, 2), (33, 2), (32, 3), (16, 4), (8, 5), (4, 6), (2, 7), (1, 8), (0, 8)],
)
def test_pass_rates_are_over_halved_budgets(calls: float | None, passes: int):
    rewards_PK = effort_rewards([searched("a", calls)], BUDGET)
    assert rewards_PK.tolist() == [[1.0] * passes + [0.0] * (8 - passes)]


def test_what_was_not_judged_has_no_rate():
    rewards_PK = effort_rewards([BROKEN, CRASHED, EMPTY, searched("a", None)], BUDGET)
    assert np.isnan(rewards_PK[:3]).all()
    assert not rewards_PK[3].any()
    assert effort_rewards([], BUDGET).shape == (0, 8)


def test_without_a_budget_the_dearest_proof_is_the_measure():
    rewards_PK = effort_rewards([searched("a", 80), searched("b", 20), searched("c", None)], 0)
    assert rewards_PK.mean(axis=1).tolist() == [1 / 8, 3 / 8, 0.0]
    assert not effort_rewards([searched("c", None)], 0).any()


def test_the_cheapest_proof_counts():
    cheap, dear = searched("a", 4, "two").attempts[0], searched("a", 90, "one").attempts[0]
    fail, good = Verdict(score=0, solved=False), Verdict(score=1, solved=True)
    bout = Bout(task=make_task("a"), attempts=(dear, cheap, cheap), verdicts=(good, good, fail))
    assert shortest_proof(bout) is cheap
    assert effort_rewards([bout], BUDGET).mean() == 6 / 8
    assert shortest_proof(Bout(task=bout.task, attempts=(cheap,), verdicts=(fail,))) is None


# ------------------------------------------------------------------------------------------------------- what is drawn

POOL = [searched("a", None), searched("bb", 1), searched("cccc", 16), searched("dddddddd", 100), BROKEN]


def parents(tasks: Sequence[Task]) -> list[str]:
    names = {bout.task.id: bout.task.text for bout in POOL}
    return [names[task.parent or ""] for task in tasks]


def test_only_what_was_proved_is_built_upon():
    assert parents(creator(SYMBOLIC).propose(POOL, SILENT, 0)) == ["bb", "cccc", "dddddddd"]


def test_statements_solved_at_half_of_the_budgets_come_first():
    settings = SETTINGS.model_copy(update={"fraction": 0.4, "draw": "greedy"})  # two of the pool's five
    assert parents(creator(SYMBOLIC, settings).propose(POOL, SILENT, 0)) == ["cccc", "dddddddd"]
    one = settings.model_copy(update={"fraction": 0.2})
    assert parents(creator(SYMBOLIC, one).propose(POOL, SILENT, 0)) == ["cccc"]
    none = settings.model_copy(update={"fraction": 0.0})
    assert creator(SYMBOLIC, none).propose(POOL, SILENT, 0) == []


def test_nothing_proved_nothing_proposed():
    model = ScriptedModel(lambda prompt, role, rng: pytest.fail("nothing is to be asked"))
    for writer in (SYMBOLIC, ModelConjecturer(SETTINGS, {}), Alternating(SYMBOLIC, ModelConjecturer(SETTINGS, {}))):
        assert creator(writer).propose([searched("a", None), BROKEN], model, 0) == []
        assert creator(writer).propose([], model, 0) == []


# ------------------------------------------------------------------------------------------------------- what is refused


class Written:
    """Writes what it is told, whatever the theorem."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.asked: list[tuple[list[str], list[str]]] = []

    def write(self, theorems: Sequence[Task], proved: Sequence[str], model: Model, seed: int) -> list[list[Draft]]:
        self.asked.append(([task.text for task in theorems], list(proved)))
        return [[Draft(text, None, {"operator": "told", "lemma": ""}) for text in self.texts] for _ in theorems]


def verdicts(*texts: str, **rest: Any) -> list[tuple[str, str | None]]:
    tasks = creator(Written(*texts), **rest).propose([searched("bb", 1), searched("a", None)], SILENT, 0)
    return [(task.text, task.rejected) for task in tasks]


def test_the_first_conjecture_that_passes_is_kept():
    assert verdicts("", "bb", "a", "xx", "yyy", "zzzz") == [
        ("", "empty"),
        ("bb", "copy of its parent"),
        ("a", "seen before"),  # in the pool, though it was not proved
        ("xx", "seen before"),  # another wording of its parent
        ("yyy", None),
    ]


def test_no_conjecture_is_a_held_out_statement_or_an_earlier_task():
    refused = make_task("four", rejected="false")
    seen = [make_task("three"), refused]
    assert verdicts("qqqqq", "rrr", "ssss", seen=seen, held_out={3}) == [
        ("qqqqq", "seen before"),
        ("rrr", "seen before"),
        ("ssss", None),
    ]


def test_conjectures_of_one_round_differ():
    tasks = creator(Written("xxx")).propose([searched("bb", 1), searched("a", 1)], SILENT, 0)
    assert [task.rejected for task in tasks] == [None, "seen before"]


def test_the_reader_has_a_say_and_may_spell_it_anew():
    def read(text: str) -> Mapping[str, Any] | str:
        return "false" if "x" in text else {"size": 7, "text": text.replace(" ", "")}

    told = searched("bb", 1, meta={"generation": 2})
    told = replace(told, task=replace(told.task, parent="0123"))
    tasks = creator(Written("x y", "y y y"), read=read).propose([told], SILENT, 0)
    assert [(task.text, task.rejected) for task in tasks] == [("x y", "false"), ("yyy", None)]
    assert tasks[1].meta == {"size": 7, "operator": "told", "lemma": "", "generation": 3}
    assert tasks[0].meta == {"operator": "told", "lemma": "", "generation": 3}
    assert tasks[1].parent == make_task("bb").id


def test_seen_keys():
    seen = SeenKeys(key_of, {9}, [make_task("ab")])
    assert [seen.objection(make_task("x" * n)) for n in (1, 2, 9)] == [None, "seen before", "seen before"]
    seen.add(make_task("x"))
    assert seen.objection(make_task("y")) == "seen before"


# ------------------------------------------------------------------------------------------------------- who writes


def test_a_program_tries_another_operator_each_time():
    [drafts] = Symbolic(mutate, ("a", "b"), tries=3).write([make_task("t")], ["t", "u"], SILENT, 0)
    operators = [draft.lineage["operator"] for draft in drafts]
    assert operators in (["a", "b", "a"], ["b", "a", "b"])
    assert [draft.lineage["lemma"] for draft in drafts] == [f"lemma_{operator}" for operator in operators]
    assert [draft.sample for draft in drafts] == [None] * 3


def test_a_program_is_given_the_other_proved_theorems():
    given: list[tuple[str, Sequence[str], int]] = []

    def recording(text: str, operator: str, seed: int, others: Sequence[str]) -> tuple[str, str]:
        given.append((text, others, seed))
        return "", ""

    proposals = creator(Symbolic(recording, "a", tries=2)).propose(POOL, SILENT, 0)
    assert {task.rejected for task in proposals} == {"empty"}
    assert [others for text, others, _ in given if text == "bb"] == [["cccc", "dddddddd"]] * 2
    assert len({seed for *_, seed in given}) == 6


LEMMAS = {
    "add_comm": "forall x y, x + y = y + x",
    "mul_comm": "forall x y, x * y = y * x",
    "and_comm": "forall p q, p /\\ q -> q /\\ p",
}


class Recorder(ScriptedModel):
    def __init__(self, answer: str) -> None:
        super().__init__(lambda prompt, role, rng: answer + prompt[-40:-30] * rng.randint(1, 9))
        self.calls: list[tuple[Sequence[str], Sampling, str]] = []

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        self.calls.append((prompts, how, role))
        return super().sample(prompts, how, role=role, seed=seed)


def test_the_model_is_asked_with_a_lemma_and_a_theorem():
    model = Recorder("guess")
    tasks = creator(ModelConjecturer(SETTINGS, LEMMAS)).propose(POOL, model, 0)
    [(prompts, how, role)] = model.calls
    assert (how.n, how.temperature, how.top_p, how.max_new_tokens, how.beam, role) == (2, 1.0, 1.0, 100, False, "creator")
    accepted = [task for task in tasks if task.rejected is None]
    assert len(prompts) == len(accepted) == 3
    for prompt, task, theorem in zip(prompts, accepted, ["bb", "cccc", "dddddddd"], strict=True):
        lemma = task.meta["lemma"]
        assert prompt == conjecture_prompt(LEMMAS.get(lemma, "True"), theorem)
        assert task.draft is not None
        assert task.draft.text == task.text
        assert task.meta["operator"] == "conjecture"


def test_what_the_model_did_not_finish_is_refused():
    settings = SETTINGS.model_copy(update={"max_new_tokens": 3})
    tasks = creator(ModelConjecturer(settings, LEMMAS), settings).propose(POOL[:2], Recorder("guess"), 0)
    assert [task.rejected for task in tasks] == ["cut off", "cut off"]


def test_lemmas_that_share_rare_signs_are_preferred():
    theorems = [make_task(f"forall x, x * {number} = {number} * x") for number in range(400)]
    drafts = ModelConjecturer(SETTINGS, LEMMAS).write(theorems, [], Recorder("x"), 0)
    chosen = Counter(group[0].lineage["lemma"] for group in drafts)
    # Weights by hand, log(3 / number of lemmas that have the sign) of shared signs and 0.1: "*" log 3, "=" "x" "y"-less log 1.5 each,
    # "forall" and "," 0. mul_comm 0.1 + 1.0986 + 2 * 0.4055 = 2.01, add_comm 0.1 + 2 * 0.4055 = 0.91, and_comm 0.1.
    expected = {"": 100, "mul_comm": 300 * 2.0095 / 3.0205, "add_comm": 300 * 0.911 / 3.0205, "and_comm": 300 * 0.1 / 3.0205}
    for name, number in expected.items():
        assert chosen[name] == pytest.approx(number, abs=4 * math.sqrt(number) + 1)


def test_without_lemmas_the_model_is_asked_for_a_theorem_alone():
    model = Recorder("x")
    ModelConjecturer(SETTINGS, {}).write([make_task("t")], [], model, 0)
    assert model.calls[0][0] == ["[LEMMA] True [THEOREM] t [CONJECTURE]"]


def test_two_writers_take_turns():
    writers = Alternating(Written("first"), Written("second"))
    groups = writers.write([make_task(name) for name in "abcde"], [], SILENT, 0)
    assert [group[0].text for group in groups] == ["first", "second", "first", "second", "first"]


def test_proposals_depend_on_the_seed_alone():
    writer = Alternating(SYMBOLIC, ModelConjecturer(SETTINGS, LEMMAS))
    one, again, other = (creator(writer).propose(POOL, Recorder("guess"), seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_in_the_theorem_world():
    """With what the game gives it: every conjecture is a statement, and none is of the pool, held out or there twice."""
    pool = [searched(lemma.statement, 2.0**number) for number, lemma in enumerate(LIBRARY[:8])]
    model = ScriptedModel(
        lambda prompt, role, rng: rng.choice(["forall x, x+x*1 = 2 * x", "forall x, x = 1", "forall a, a + 0 = a", "?"])
    )
    held_out = {statement_key("forall x, 2 * x = x + x * 1")}
    writer = Alternating(Symbolic(mutate_with, OPERATORS, 4), ModelConjecturer(SETTINGS, LEMMAS))
    tasks = creator(writer, read=read, key=statement_key, held_out=held_out).propose(pool, model, 0)
    accepted = [task for task in tasks if task.rejected is None]
    keys = {task.meta["key"] for task in accepted}
    assert len(accepted) == len(keys) >= 3
    assert not keys & {*held_out, *(statement_key(bout.task.text) for bout in pool)}
    assert {task.rejected for task in tasks if task.draft} <= {"seen before", "false", "no statement"}
    for task in accepted:
        assert task.text == format_statement(read_statement(task.text))
        assert task.meta["operator"] in OPERATORS


# ------------------------------------------------------------------------------------------------------- what is taught

PARENT, OTHER = searched("parent", 1), searched("other", 1)


def conjecture(text: str, calls: float | None, script: str = "simpl", lemma: str = "", parent: Bout = PARENT) -> Bout:
    return searched(text, calls, script, parent=parent.task.id, meta={"lemma": lemma})


def taught(*bouts: Bout) -> list[tuple[str, str, float]]:
    demos = conjecture_lessons([PARENT, OTHER], bouts, LEMMAS, BUDGET)
    return [(demo.prompt, demo.completion, round(demo.weight, 4)) for demo in demos]


def test_what_is_barely_proved_is_taught():
    bouts = [conjecture(f"text {calls}", calls) for calls in (None, 128, 33, 32, 1)]
    prompt = "[LEMMA] True [THEOREM] parent [CONJECTURE]"
    assert taught(*bouts) == [(prompt, "text 33", 1.0), (prompt, "text 128", 1.0)]  # rates 0, 1/8, 2/8, 3/8, 1
    assert taught(BROKEN) == taught() == []


def test_a_given_lemma_must_be_used():
    good = conjecture("used", 100, "rewrite (add_comm x y)\nrfl", "add_comm")
    bad = conjecture("not used", 100, "rewrite add_comm2\nexact my_add_comm", "add_comm")
    assert taught(good, bad) == [(conjecture_prompt(LEMMAS["add_comm"], "parent"), "used", 1.0)]


def test_without_a_given_lemma_the_first_in_the_proof_is_taken():
    bout = conjecture("text", 100, "intro x\nrewrite <- mul_comm\nrewrite add_comm")
    assert taught(bout)[0][0] == conjecture_prompt(LEMMAS["mul_comm"], "parent")


def test_a_fifth_says_much_and_proves_little():
    bouts = [conjecture("x" * length, 100, "y" * 10) for length in (30, 50, 10, 20, 40)]
    assert [len(text) for _, text, _ in taught(*bouts)] == [10, 20, 30, 40]
    assert len(taught(*bouts[:4])) == 4
    long_proof = conjecture("x" * 50, 100, "y" * 100)
    assert [len(text) for _, text, _ in taught(*bouts[:1], *bouts[2:], long_proof)] == [50, 10, 20, 30]


def test_many_of_a_kind_weigh_less():
    bouts = [
        conjecture("a", 100, "add_comm aaaa"),
        conjecture("bb", 100, "add_comm bbbb"),
        conjecture("ccc", 100, "mul_comm cccc", parent=OTHER),
        conjecture("dddd", 100, "mul_comm dddd"),
    ]
    # 1 / sqrt(of the same parent x with the same lemma): 1/sqrt(3*2) thrice, 1/sqrt(1*2); over their mean.
    plain, rare = 1 / math.sqrt(6), 1 / math.sqrt(2)
    mean = (3 * plain + rare) / 4
    assert [weight for *_, weight in taught(*bouts)] == [round(w / mean, 4) for w in (plain, plain, rare, plain)]


def test_conjectures_without_a_known_parent_teach_nothing():
    assert taught(searched("orphan", 100), searched("stray", 100, parent="0123")) == []
