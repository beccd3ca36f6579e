"""What a search is given of a theorem's context: the statements with their proofs left out, where nobody can tell."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs import coq
from sparring.envs.coq import CoqEnv
from sparring.envs.coq_context import abridged, read_context
from sparring.envs.coq_files import find_sources, theorems_of
from sparring.envs.coq_pool import CoqOptions
from sparring.envs.coq_sentence import split_sentences
from sparring.envs.coq_theorems import task_of
from sparring.envs.sandbox import available
from sparring.game import Goals, Proved, Rejected, Task, make_task

needs_coq = [
    pytest.mark.skipif(
        shutil.which("coqidetop.opt") is None, reason="coqidetop.opt is not installed (Debian: apt-get install coq)"
    ),
    pytest.mark.skipif(available() is not None, reason=f"no sandbox: {available()}"),
]


def short(text: str) -> str:
    return " ".join(abridged([sentence.text for sentence in split_sentences(text)]))


def whole(text: str) -> tuple[str, ...]:
    return tuple(sentence.text for sentence in split_sentences(text))


LEFT_OUT = "Lemma a : True. Admitted."


def test_opaque_proofs_are_left_out() -> None:
    assert short("Lemma a : True. Proof. auto. Qed. Definition b := 1. Local Fact c n : n = 0 -> True.\n - { MyTac. } Qed.") == (
        f"{LEFT_OUT} Definition b := 1. Local Fact c n : n = 0 -> True. Admitted."
    )
    assert short("Lemma a : True. Proof with auto. idtac... Qed.") == LEFT_OUT


@pytest.mark.parametrize(
    "text",
    [
        "Lemma a : True. Proof. auto. Defined.",
        "Lemma a : True. Proof I.",
        "Lemma a : True. Proof. auto. Admitted.",
        "Lemma a : True. auto. Abort.",
        "Lemma a : True. auto. Save b.",
        "Definition a : True. Proof. auto. Qed.",
        "Instance a : C. Proof. auto. Qed.",
        "Let a : True. Proof. auto. Qed.",
        "Example a : True. Proof. auto. Qed.",
        "Goal True. auto. Qed.",
        "Program Lemma a : True. Proof. auto. Qed.",
        "Next Obligation. auto. Qed.",
        "Add Parametric Morphism : f with signature eq ==> eq as m. Proof. auto. Qed.",
        "Polymorphic Lemma a : True. auto. Qed.",
        "#[universes(polymorphic)] Lemma a : True. auto. Qed.",
        "Set Universe Polymorphism. Lemma a : True. auto. Qed.",
        "#[export] Set Program Mode. Lemma a : True. auto. Qed.",
        "Lemma a : True with b : True. - auto. - auto. Qed.",
        "Lemma a : True. Proof. abstract auto. Qed.",
        "Lemma a : True. Proof. transparent_abstract auto. Qed.",
        "Lemma a : True. Proof. Opaque f. auto. Qed.",
        "Lemma a : True. Lemma b : True. Proof. auto. Qed. auto. Qed.",
        "Lemma a : True. Definition b := 1. auto. Qed.",
        "Lemma a : True. Proof. auto.",
    ],
)
def test_where_it_could_make_a_difference_they_stay(text: str) -> None:
    assert short(text) == " ".join(whole(text))


SECTION = "Section S. Variables (A : Type) (x : A). Hypothesis h : forall y : A, y = x. Context {n : nat}. Let z := (x, n)."
USES_ALL = ["h = h /\\ z = z", "f = f /\\ h = h", "(fun n => n) z = z /\\ h = h"]
USES_FEWER = [
    "True",
    "x = x",
    "h = h",
    "forall z, z = (x, n) /\\ h = h",
    "(fun z => z) h = h",
    "match z with (x, h) => h = h end",
]


@pytest.mark.parametrize(
    ("statement", "replaced"),
    [
        *((statement, True) for statement in USES_ALL),
        *((statement, False) for statement in [*USES_FEWER, "{h : A | z = z}", "exists h, z = h", "let (h, _) := z in h = h"]),
    ],
)
def test_in_a_section_the_statement_has_to_need_all_variables(statement: str, replaced: bool) -> None:
    text = f"{SECTION} Definition f := z. Lemma a : {statement}."
    assert short(f"{text} auto. Qed.") == f"{text} {'Admitted.' if replaced else 'auto. Qed.'}"


def test_or_the_proof_has_to_say_what_it_uses() -> None:
    said = f"{SECTION} Lemma a : True. Proof using x."
    assert short(f"{said} auto. Qed.") == f"{said} Admitted."
    setting = f'Set Default Proof Using "Type". {SECTION} Lemma a : True.'
    assert short(f"{setting} Proof. auto. Qed.") == f"{setting} Proof. Admitted."
    assert short(f"{setting} auto. Qed.") == f"{setting} auto. Qed."


def test_what_is_closed_binds_nobody() -> None:
    text = f"{SECTION} Definition f := z. End S. Section T. Variable z : nat."
    assert short(f"{text} Lemma a : f = f. auto. Qed.") == f"{text} Lemma a : f = f. auto. Qed."
    assert short(f"{text} End T. {LEFT_OUT} Lemma b : True. auto. Qed.").endswith("Lemma b : True. Admitted.")
    anonymous = "Section S. Context `{C}. Lemma a : True."
    assert short(f"{anonymous} auto. Qed.") == f"{anonymous} auto. Qed."
    outside = "Variable x : nat. Module M. Hypothesis h : True. Lemma a : True."
    assert short(f"{outside} auto. Qed.") == f"{outside} Admitted."


FILE = f"""(* a *) Require Import List.
{SECTION}
  Lemma a : True. Proof. (* . *) auto. Qed.
  Lemma b : z = z /\\ h = h.
  Proof. split; reflexivity. Qed.  (** c *)

  Lemma c : True. Proof using. - auto. Qed.
End S.
Theorem d : 1 = 1. Proof. reflexivity. Qed.
"""


@settings(deadline=None, max_examples=40)
@given(order=st.lists(st.integers(0, len(FILE)), min_size=2, max_size=12))
def test_a_text_is_read_as_if_no_other_had_been(order: list[int]) -> None:
    mark = f"(* {Random(str(order)).getrandbits(60)} *) "
    for end in order:
        text = mark + FILE[:end]
        if text.count("(*") == text.count("*)"):
            assert read_context(text) == abridged(whole(text)), end


def test_contexts_of_a_file_begin_alike() -> None:
    ends = [sentence.end for sentence in split_sentences(FILE)]
    contexts = [abridged(whole(FILE[:end])) for end in ends]
    *_, longest = contexts
    shared = [context for context in contexts if longest[: len(context)] == context]
    assert len(shared) == len(ends) - 6, "all but those that end within one of the three proofs that are left out"


# ------------------------------------------------------------------------------------------------ with Coq


@pytest.fixture(scope="module")
def env() -> Iterator[CoqEnv]:
    env = CoqEnv(CoqOptions(tactic_timeout_s=10))
    yield env
    env.close()


def both(env: CoqEnv, task: Task, monkeypatch: pytest.MonkeyPatch) -> tuple[Goals, Goals]:
    found = [env.start(task)]
    with monkeypatch.context() as patched:
        patched.setattr(coq, "read_context", whole)
        found.append(env.start(task))
    short, real = found
    assert isinstance(short, Goals), short
    assert isinstance(real, Goals), real
    assert len(short.handle.root.sentences) <= len(real.handle.root.sentences)
    return short, real


class TestWithCoq:
    pytestmark = needs_coq

    @pytest.mark.parametrize("statement", [*USES_ALL, *USES_FEWER])
    def test_theorems_of_a_closed_section_are_the_same(
        self, env: CoqEnv, statement: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proof = "Proof. try tauto; intros; try destruct z; repeat split; try reflexivity; try apply (f_equal2 pair); auto."
        text = f"{SECTION} Definition f := z. Lemma a : ({statement}) \\/ True. {proof} Qed. End S. "
        task = make_task("True", context=text)
        for state in both(env, task, monkeypatch):
            [after] = env.step([(state, "pose proof @a as H")])
            assert isinstance(after, Goals)
            if statement == USES_ALL[0]:
                assert after.text.startswith("H : forall (A : Type) (x : A)")
        assert len({env.step([(state, "pose proof @a as H")])[0] for state in both(env, task, monkeypatch)}) == 1

    @pytest.mark.parametrize("name", ["Bool.Bool", "Lists.ListSet"])
    def test_goals_are_the_same_as_in_the_real_context(self, env: CoqEnv, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        [source] = [source for source in find_sources([name]) if source.wanted]
        theorems = [theorem for theorem in theorems_of(source) if theorem.proved]
        tasks = [task for theorem in theorems[::12] if (task := task_of(theorem)) is not None]
        assert len(tasks) > 3
        for task in tasks:
            short, real = both(env, task, monkeypatch)
            assert short == real

    def test_the_audit_has_the_real_context(self, env: CoqEnv) -> None:
        task = make_task("True", context="Lemma a : False. Proof. exact I. Qed.")
        state = env.start(task)
        assert isinstance(state, Goals)
        verdict = env.check(task, "destruct a")
        assert not verdict.solved
        assert verdict.fault, "the context is wrong, not the proof"
        admitted = replace(task, context="Lemma a : True. Proof. exact I. Qed.")
        assert env.check(admitted, "exact a").solved, "nothing was left out there"

    def test_a_theorem_is_unknown_where_it_stands(self, env: CoqEnv) -> None:
        """Neither its name nor a hint brings it; where its file is required, both do."""
        [source] = [source for source in find_sources(["Lists.List"]) if source.wanted]
        theorem = next(theorem for theorem in theorems_of(source) if theorem.name == "app_nil_r")
        task = task_of(theorem)
        assert task is not None
        assert env.known(task) == ()
        again = make_task("Lemma f A : forall l : list A, l ++ nil = l", context="Require Import List.", meta=task.meta)
        assert env.known(again) == ("Coq.Lists.List.app_nil_r", "app_nil_r")
        for place, known in ((task, False), (again, True)):
            state = env.start(place)
            assert isinstance(state, Goals)
            tactics = ["exact Coq.Lists.List.app_nil_r", "intros; apply Coq.Lists.List.app_nil_r", "auto with datatypes"]
            named, applied, hinted = env.step([(state, tactic) for tactic in tactics])
            assert (named == Proved(), applied == Proved()) == (False, known), "it has its implicit arguments"
            assert (hinted == Proved()) == known

    def test_a_theorem_that_is_there_under_another_name_is_found(self, env: CoqEnv) -> None:
        text = "Axiom other : forall m : nat, m + 0 = m + 0. Axiom weaker : forall n : nat, n + 0 = n + 0 \\/ n = n. Definition d := other."
        assert env.known(make_task("Lemma f n : n + 0 = n + 0", context=text)) == ("other", "d")
        assert env.known(make_task("Lemma f n : n + 1 = n + 1", context=text)) == ()
        assert isinstance(env.known(make_task("True", context="Require Nothing.")), Rejected)
