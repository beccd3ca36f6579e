"""Coq as an environment: what it shows, what it refuses, and that a search loses nothing when a process does."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Lock, Timer
from typing import Any

import psutil
import pytest

from sparring.envs.coq import CoqEnv
from sparring.envs.coq_files import find_sources, theorems_of
from sparring.envs.coq_pool import Backend, CoqOptions, Session, session
from sparring.envs.coq_share import Group, Root, nearest, share
from sparring.envs.coq_shop import AuditOptions, library_of
from sparring.envs.coq_snapshots.build import missing
from sparring.envs.coq_snapshots.client import Snapshots
from sparring.envs.coq_theorems import task_of
from sparring.envs.coqtop import Coqtop, Failed, Try, View
from sparring.envs.process import Limits, ProcessDied
from sparring.envs.sandbox import available
from sparring.errors import SparringError
from sparring.game import Goals, Outcome, Proved, Rejected, make_task
from sparring.solvers.budget import Budget, Spent
from sparring.solvers.search import Hints, Proposal, Rules, Search
from sparring.solvers.theorem import Candidate

pytestmark = [
    pytest.mark.skipif(
        shutil.which("coqidetop.opt") is None, reason="coqidetop.opt is not installed (Debian: apt-get install coq)"
    ),
    pytest.mark.skipif(available() is not None, reason=f"no sandbox: {available()}"),
]

NO_SERVER = missing()
BACKENDS = ["coqidetop", pytest.param("snapshots", marks=pytest.mark.skipif(NO_SERVER is not None, reason=NO_SERVER or ""))]
CLIENTS: dict[str, type[Coqtop] | type[Snapshots]] = {"coqidetop": Coqtop, "snapshots": Snapshots}

AND = "forall p q : Prop, p /\\ q -> q /\\ p"
PLUS_0 = "Lemma plus_0 (n : nat) : n + 0 = n."
PLUS_0_PROOF = ["induction n as [| n IHn]", "reflexivity", "simpl", "rewrite IHn", "reflexivity"]
DIVERGING = ["repeat (pose 0)", "do 1000000000 idtac", "let x := eval vm_compute in (Nat.pow 2 40) in idtac"]


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return request.param


@pytest.fixture(scope="module")
def env(backend: Backend) -> Iterator[CoqEnv]:
    env = CoqEnv(CoqOptions(tactic_timeout_s=1, backend=backend))
    yield env
    env.close()


@pytest.fixture
def make(backend: Backend) -> Iterator[Callable[..., CoqEnv]]:
    """Makes environments that are closed afterwards."""
    made: list[CoqEnv] = []

    def make(tactic_timeout_s: int = 1, **options: Any) -> CoqEnv:
        made.append(CoqEnv(CoqOptions(tactic_timeout_s=tactic_timeout_s, backend=backend, **options)))
        return made[-1]

    yield make
    for env in made:
        env.close()


def started(env: CoqEnv, text: str, context: str = "") -> Goals:
    state = env.start(make_task(text, context=context))
    assert isinstance(state, Goals), state
    return state


def one(env: CoqEnv, state: Goals, tactic: str) -> Outcome:
    [outcome] = env.step([(state, tactic)])
    return outcome


def after(env: CoqEnv, state: Goals, *tactics: str) -> Goals:
    for tactic in tactics:
        outcome = one(env, state, tactic)
        assert isinstance(outcome, Goals), (tactic, outcome)
        state = outcome
    return state


def refusal(outcome: object, kind: str = "refused") -> str:
    assert isinstance(outcome, Rejected), outcome
    assert outcome.kind == kind, outcome
    return outcome.reason


def provers() -> list[psutil.Process]:
    below = psutil.Process().children(recursive=True)
    names = ("coqidetop", "coq-snapshots")
    return [process for process in below if process.name().startswith(names) and process.status() != psutil.STATUS_ZOMBIE]


# ------------------------------------------------------------------------------------------------ statements and contexts


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("forall n, n + 0 = n", "⊢ forall n : nat, n + 0 = n"),
        ("  forall n,\n n + 0 = n.\n", "⊢ forall n : nat, n + 0 = n"),
        ("Goal forall n, n + 0 = n.", "⊢ forall n : nat, n + 0 = n"),
        ("Lemma f :\t1 = 1.", "⊢ 1 = 1"),
        ("Theorem f' (n m : nat) (h : n = m) : m = n.", "n : nat\nm : nat\nh : n = m\n⊢ m = n"),
        ("Local Lemma f {A : Type} (k := 3) : k = k.", "A : Type\nk := 3 : nat\n⊢ k = k"),
        ("Remark f n m : n + m = m + n", "n : nat\nm : nat\n⊢ n + m = m + n"),
    ],
)
def test_a_statement_is_a_proposition_or_an_assertion(env: CoqEnv, text: str, goal: str):
    assert started(env, text).texts == (goal,)


@pytest.mark.parametrize(
    "text",
    [
        *("", "3", "nat -> ", "forall n, n = k", "True. Axiom a : False", "True. Lemma b : False", "Lemma f.", "Lemma f True"),
        *("Lemma : True", "True :> Prop"),
        *("Definition a := 3.", "Lemma f : True := I.", "Lemma f : True with g : True.", "Axiom a : False.", "True) -> (False", "(* True"),
        *("Lemma f `(h : n = 0) : n = 0.", "Lemma f '(n, m) : n = 0.", "Lemma f (_ : True) : True.", "Goal True. Abort. Goal False"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused(env: CoqEnv, text: str):
    assert refusal(env.start(make_task(text)))


CONTEXT = """
Require Import List Arith.  (* "a string (* nested *) . *" a . comment *)
Section here.
  Variables (A : Type) (x : A).
  Hypothesis only : forall y : A, y = x.
  Definition pair := (x, x).
  Notation "a ≡ b" := (a = b) (at level 70).
  Definition text := "a. b ""c. (* "%string.
  Lemma same : forall y z : A, y ≡ z.
  Proof. intros y z. split_here Qed.
"""


def test_a_context_comes_first(env: CoqEnv):
    context = CONTEXT.replace("split_here", "rewrite (only y).\n - { now rewrite (only z). }")
    context = "Require Import String.\n" + context
    state = started(env, "forall α β : A, α ≡ β /\\ Nat.add 0 0 = 0", context)
    assert state.text == "A : Type\nx : A\nonly : forall y : A, y ≡ x\n⊢ forall α β : A, α ≡ β /\\ 0 + 0 ≡ 0"
    assert one(env, state, "intros α β; split; [ apply same | apply Nat.add_0_r ]") == Proved()
    assert started(env, "True").text == "⊢ True"
    assert env.check(make_task("forall y z : A, y ≡ z", context=context), "intros y z\napply same").solved


def test_a_text_that_names_itself(env: CoqEnv):
    """The theorem's name and its file say what it is called; the audit compiles it under that name, too."""
    context = "Definition one := 1. Module In. Definition two := Base.one + Mine.Base.one. End In. Axiom odd : Base.one = 3."
    task = make_task("Base.In.two = 2", context=context, meta={"full_name": "Mine.Base.In.f", "file_path": "src/Base.v"})
    assert "Base.one" in refusal(env.start(make_task(task.text, context=context)))
    state = env.start(task)
    assert isinstance(state, Goals)
    assert one(env, state, "exact (eq_refl : Mine.Base.In.two = 2)") == Proved()
    assert env.check(task, "exact (eq_refl : Mine.Base.In.two = 2)").solved
    false = replace(task, text="Base.one = 3")
    assert "axioms that are not allowed: odd" in env.check(false, "exact Base.odd").note
    allowed = CoqEnv(CoqOptions(audit=AuditOptions(axioms=("Mine.Base.odd",))))
    assert allowed.check(false, "exact Base.odd").solved
    allowed.close()
    assert started(env, "True").text == "⊢ True", "another process, under the usual name"
    assert one(env, state, "reflexivity") == Proved()


def test_coqs_own_first_files_need_their_names(env: CoqEnv):
    """``rewrite`` asks for the library of setoids, except in the files that this library is made of."""
    [source] = find_sources(["Classes.Morphisms_Prop"])
    task = task_of(next(found for found in theorems_of(source) if found.full_name.endswith(".well_founded_morphism")))
    assert task is not None
    assert isinstance(env.start(task), Goals)
    assert isinstance(env.start(replace(task, meta={})), Rejected)
    assert "incomplete" in env.check(task, "idtac").note


@pytest.mark.parametrize(
    ("full_name", "file_path", "library"),
    [
        ("Coq.Lists.List.f", "theories/Lists/List.v", "Coq.Lists.List"),
        ("Coq.Lists.List.List.f", "theories/Lists/List.v", "Coq.Lists.List"),
        ("Mine.Base.In.Base.f", "src/Base.v", "Mine.Base"),
        ("Base.f", "Base.v", "Base"),
        ("Base.f", "Other.v", ""),
        ("f", "f.v", ""),
        ("", "", ""),
    ],
)
def test_what_a_text_is_called(full_name: str, file_path: str, library: str):
    assert library_of(full_name, file_path) == library


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ("Lemma a : True.", "within a proof"),
        ("Lemma a : True. Proof. exact I.", "within a proof"),
        ("Definition a := 1. Definition b := c. Definition d := 2.", "b := c"),
        ("Definition a := 1. Definition b := ) 2.", "Syntax error"),
        ("Lemma a : True. Proof. exact 3. Defined.", "exact 3"),
        ('Definition a := 1 -> True. Notation "x ≡ y" := (x = y) (at level 70). Lemma b : 1 ≡ 1. Proof. auto. Qed.', "1 -> True"),
        ("Lemma a : 1 = 1. Proof. split. exact I. Defined. Lemma b : True. Proof. auto. Qed. Require Import List.", "exact I"),
        ("Require Import Nowhere.", "Nowhere"),
        ("Definition a := 1", "Syntax error"),
        ("(* Definition a := 1.", "comment"),
    ],
)
def test_a_context_that_does_not_hold_is_refused_with_the_reason(env: CoqEnv, context: str, words: str):
    reason = refusal(env.start(make_task("True", context=context)))
    assert "context" in reason
    assert words in reason
    assert started(env, "True").text == "⊢ True"


def test_the_header_is_the_context_of_tasks_without_one(make: Callable[..., CoqEnv]):
    env = make(header="Definition one := 1.")
    assert started(env, "one = 1").text == "⊢ one = 1"
    assert "one" in refusal(env.start(make_task("one = 1", context="Definition two := 2.")))
    assert env.check(make_task("one = 1"), "reflexivity").solved


# ------------------------------------------------------------------------------------------------ tactics


def test_goals_show_a_hypothesis_a_line(env: CoqEnv):
    state = after(env, started(env, "forall n m : nat, n = m -> m = n /\\ True"), "intros n m h", "pose (k := n + m)", "split")
    hyps = "n : nat\nm : nat\nh : n = m\nk := n + m : nat\n"
    assert state.texts == (f"{hyps}⊢ m = n", f"{hyps}⊢ True")


def test_nothing_of_a_deep_goal_is_left_out(env: CoqEnv):
    """Goals are told apart by their text."""
    text = started(env, " /\\ ".join(["0 = 0"] * 300)).text
    assert text.count("0 = 0") == 300
    assert "\n" not in text
    assert "..." not in text


def test_a_proof_step_by_step(env: CoqEnv):
    state = after(env, started(env, PLUS_0), *PLUS_0_PROOF[:-1])
    assert one(env, state, PLUS_0_PROOF[-1]) == Proved()
    assert env.check(make_task(PLUS_0), "\n".join(PLUS_0_PROOF)).solved
    assert not env.check(make_task(PLUS_0), "\n".join(PLUS_0_PROOF[:-1])).solved


@pytest.mark.parametrize(
    ("tactic", "words"),
    [
        ("exact nothing", "nothing was not found"),
        ("exact I", "has type"),
        ("foo (", ""),
        ("intros. reflexivity", "one sentence"),
        ("all: intros", ""),
        ("2: intros", ""),
        ("admit", "unfinished"),
        ("- intros", ""),
        ("Qed", "command"),
    ],
)
def test_what_is_refused_is_told_why(env: CoqEnv, tactic: str, words: str):
    state = started(env, PLUS_0)
    assert words in refusal(one(env, state, tactic))
    assert isinstance(one(env, state, "destruct n"), Goals)


@pytest.mark.parametrize("hiding", ["hide", "quit", "hide_new"])
def test_goals_that_are_put_away_are_not_proved(env: CoqEnv, hiding: str):
    context = "Ltac hide := shelve. Ltac quit := give_up. Ltac hide_new := assert True as ?; [ hide | assumption ]."
    state = after(env, started(env, "forall p : Prop, p -> p", context), "intros p h")
    assert refusal(one(env, state, hiding))
    assert one(env, state, "assumption") == Proved()


@pytest.mark.parametrize("tactic", DIVERGING)
def test_what_takes_too_long_is_stopped(env: CoqEnv, tactic: str):
    state = started(env, PLUS_0)
    begun = time.monotonic()
    outcomes = env.step([(state, "destruct n"), (state, tactic), (state, "intros"), (state, "reflexivity")])
    assert time.monotonic() - begun < 20
    assert refusal(outcomes[1], "timeout")
    assert [type(outcome) for outcome in outcomes] == [Goals, Rejected, Goals, Rejected]


def test_what_takes_too_much_memory_is_stopped(make: Callable[..., CoqEnv]):
    env = make(memory_mb=250, tactic_timeout_s=20)
    grow = "Fixpoint grow (n : nat) : list nat := match n with 0 => nil | S n => n :: grow n ++ grow n end."
    state = started(env, PLUS_0, f"Require Import List. {grow}")
    outcomes = env.step(
        [(state, "destruct n"), (state, "let x := eval vm_compute in (grow 40) in pose x"), (state, "induction n")]
    )
    assert "250 MB" in refusal(outcomes[1], "timeout")
    assert isinstance(outcomes[0], Goals)
    assert isinstance(outcomes[2], Goals)


@pytest.fixture
def coqtop(backend: Backend, tmp_path: Path) -> Iterator[Session]:
    coqtop = session(CoqOptions(backend=backend), tmp_path)
    yield coqtop
    coqtop.close()


@pytest.mark.parametrize("tactic", DIVERGING)
def test_who_misses_the_soft_limit_is_interrupted_in_its_sandbox(coqtop: Session, tactic: str):
    limits = Limits(interrupt_s=0.3, kill_s=20, memory_mb=4000)
    tries = [Try("Goal True."), Try(f"1: ( {tactic} )."), Try("1: ( exact I ).")]
    assert coqtop.move(["Goal 1 = 1 -> True."], limits) is None
    _, stopped, refused = coqtop.try_each(1, tries, 1000, limits)
    assert isinstance(stopped, Failed)
    assert stopped.exhausted
    assert isinstance(refused, Failed)
    assert not refused.exhausted
    assert coqtop.child.interrupts == 1


def test_an_interrupt_that_was_meant_for_another_one_is_not_believed(coqtop: Session):
    limits = Limits(interrupt_s=20, kill_s=30, memory_mb=4000)
    assert coqtop.move(["Goal 1 = 1 -> True."], limits) is None
    below = psutil.Process(coqtop.child.pid).children(recursive=True)
    Timer(1.0, os.kill, (below[-1].pid, signal.SIGINT)).start()
    stopped, shown = coqtop.try_each(1, [Try(f"1: ( {DIVERGING[1]} )."), Try("1: ( intro ).")], 3, limits)
    assert isinstance(stopped, Failed)
    assert stopped.reason == "Timeout!", "it has its time again"
    assert isinstance(shown, View)


def test_what_follows_a_tactic_that_leaves_many_goals(coqtop: Session, backend: Backend):
    """Coq is asked more about these, at a time when the next tactic is on its way."""
    limits = Limits(interrupt_s=20, kill_s=20, memory_mb=4000)
    goal = "Goal (exists n, n = 3 /\\ 0 <= n) /\\ (1 = 1 /\\ 2 = 2)."
    tactics = [
        "split",
        "idtac",
        "split; [ | split ]",
        "split; [ eexists; split | ]",
        "nonsense",
        "split; [ exists 3 | ]",
        "left",
        "split",
    ]
    tries = [Try(f"1: ( {tactic} ).") for tactic in tactics]
    assert coqtop.move([goal], limits) is None
    alone = [next(coqtop.try_each(1, [trying], 5, limits)) for trying in tries]
    fresh = session(CoqOptions(backend=backend), Path.cwd())
    try:
        assert fresh.move([goal], limits) is None
        for _ in range(2):  # the second time it is known which ones leave many goals
            assert list(fresh.try_each(1, tries, 5, limits)) == alone
            assert fresh.position == [goal, tries[-1].sentence]
    finally:
        fresh.close()
    assert [seen.apart for seen in alone if isinstance(seen, View)] == [True, True, True, False, True, True]


def test_who_misses_that_too_is_killed(coqtop: Session):
    coqtop.move(["Goal True."], Limits(interrupt_s=20, kill_s=20, memory_mb=4000))
    with pytest.raises(ProcessDied) as died:
        list(coqtop.try_each(1, [Try(f"1: ( {DIVERGING[1]} ).")], 1000, Limits(interrupt_s=20, kill_s=0.5, memory_mb=4000)))
    assert died.value.cause == "time"
    assert not coqtop.child.ready


# ------------------------------------------------------------------------------------------------ goals apart


def test_each_goal_is_proved_apart(env: CoqEnv):
    """By its number in the state that it came up in, and so on below it."""
    three = after(env, started(env, "True /\\ (1 = 1 /\\ 2 = 2) /\\ 3 = 3"), "split; [ | split ]")
    first, middle, last = env.split(three)
    assert (first.text, middle.text, last.text) == three.texts
    assert one(env, last, "reflexivity") == Proved()
    pair = after(env, middle, "split")
    assert pair.texts == ("⊢ 1 = 1", "⊢ 2 = 2")
    left, right = env.split(pair)
    assert [env.split(left), env.split(right)] == [[left], [right]]
    assert one(env, pair, "reflexivity") == right
    assert env.step([(right, "reflexivity"), (right, "exact (eq_refl 1)"), (left, "exact (eq_refl 1)"), (first, "exact I")]) == [
        Proved(), Rejected(reason=refusal(one(env, right, "exact (eq_refl 1)"))), Proved(), Proved(),
    ]  # fmt: skip


HIDING = "Definition same {n : nat} (b : bool) := n = n /\\ b = b."


@pytest.mark.parametrize(
    ("text", "tactic"),
    [
        ("exists n m : nat, n = m /\\ m = 3", "eexists; eexists; split"),
        ("exists n : nat, n = 3", "unshelve eexists"),
        ("exists n : nat, same (n := n) true", "unshelve eexists"),  # nothing of it is printed
        ("(exists n : nat, n = 3) /\\ True", "split; [ eexists | ]"),
    ],
)
def test_goals_with_an_open_variable_stay_together(env: CoqEnv, text: str, tactic: str):
    state = after(env, started(env, text, HIDING), tactic)
    assert len(state.texts) == 2
    assert env.split(state) == [state]


def test_they_part_when_the_variable_is_known(env: CoqEnv):
    state = after(env, started(env, "(exists n, n = 3 /\\ 0 <= n) /\\ True"), "split; [ eexists; split | ]")
    assert len(env.split(state)) == 1
    state = after(env, state, "reflexivity")
    assert state.texts == ("⊢ 0 <= 3", "⊢ True")
    below, true = env.split(state)
    assert one(env, true, "exact I") == Proved()
    assert one(env, below, "repeat constructor") == Proved()


LINES = {
    "p, q : Prop": ["intros p q [a b]", "split"], "⊢ q": ["assumption"], "⊢ p": ["assumption"],
    "exists": ["eexists; split", "exists 4; split"], "?": ["reflexivity"], "n + 0": ["induction n as [| n IHn]"],
    "0 + 0 = 0": ["reflexivity"], "S n + 0": ["simpl", "rewrite IHn"], "S (n + 0)": ["rewrite IHn"], "S n = S n": ["reflexivity"],
    "3": ["reflexivity", "repeat constructor"], "/\\": ["split"], "forall p q": ["intros p q [a b]"], "p : Prop": ["assumption"],
}  # fmt: skip


def listing(states: Sequence[str], hints: Hints, retry: int) -> list[Proposal]:
    """Every line whose key is in the state, worst first."""
    found = [[line for key, lines in LINES.items() if key in state for line in lines] for state in states]
    return [
        Proposal(candidates=[Candidate(tactic=line, score=-1.0, role="flat") for line in lines], spent=Spent()) for lines in found
    ]


@pytest.mark.parametrize(
    "text",
    [AND, PLUS_0, f"({AND}) /\\ (forall n, n + 0 = n) /\\ exists n, n = 3 /\\ 0 <= n".replace("forall n,", "forall n : nat,")],
)
def test_what_a_search_finds_passes_the_check(env: CoqEnv, text: str):
    """Goals that were proved apart, put together to one script: each line on the first open goal."""
    task = make_task(text)
    [attempt] = Search(env, listing, Rules(budget=Budget(steps=400), retries=0)).run([task])
    assert attempt.stats["status"] == "proved", attempt
    verdict = env.check(task, attempt.answer)
    assert verdict.solved, (attempt.answer, verdict)


# ------------------------------------------------------------------------------------------------ processes

WALKS = [AND, PLUS_0, "forall n m : nat, n = m \\/ exists k, k + n = m -> n = k", "exists f : nat -> nat, forall n, f n = n + 0"]
TACTICS = [
    *(
        "intros",
        "intro h",
        "split",
        "left",
        "right",
        "eexists",
        "destruct h",
        "induction n",
        "simpl",
        "reflexivity",
        "assumption",
    ),
    *(
        "exfalso",
        "symmetry",
        "exists 0",
        "nonsense",
        "destruct n",
        "intros [a b]",
        "assert (1 = 1)",
        "clear",
        "f_equal",
        "constructor",
    ),
]


def walk(env: CoqEnv, seed: int, steps: int = 40) -> list[tuple[Goals, str]]:
    """Random tries at random states that were reached before, also at goals by themselves."""
    random = Random(seed)
    states, tries = [started(env, text) for text in WALKS], []
    for _ in range(steps):
        state, tactic = random.choice(states), random.choice(TACTICS)
        tries.append((state, tactic))
        outcome = one(env, state, tactic)
        if isinstance(outcome, Goals):
            states += [outcome, *env.split(outcome)]
    return tries


def test_branching_in_any_order_is_replaying_from_the_start(env: CoqEnv, make: Callable[..., CoqEnv]):
    tries = [trying for seed in range(3) for trying in walk(env, seed)]
    Random(0).shuffle(tries)
    together = env.step(tries)
    assert sum(isinstance(outcome, Goals) for outcome in together) > 20
    assert together == make(processes=2).step(tries), "two processes, and other ones than those that the states came up in"
    for state, tactic in tries[:20]:
        alone, expected = make(), together[tries.index((state, tactic))]
        assert one(alone, state, tactic) == expected
        alone.close()


def test_a_killed_process_is_replaced(make: Callable[..., CoqEnv]):
    env = make()
    tries = walk(env, 7)
    expected = env.step(tries)
    for times in (1, 2):
        for process in provers():
            os.kill(process.pid, signal.SIGKILL)
        assert env.step(tries) == expected, times
    assert started(env, "True").text == "⊢ True"


def test_who_kills_twice_is_at_fault_and_nobody_else(env: CoqEnv, backend: Backend, monkeypatch: pytest.MonkeyPatch):
    tried: list[str] = []
    honest: Any = CLIENTS[backend].try_each

    def deadly(self: Session, depth: int, tries: Any, timeout_s: int, limits: Any) -> Any:
        for number, seen in enumerate(honest(self, depth, tries, timeout_s, limits)):
            tried.append(tries[number].sentence)
            ill = tried.count("1: ( left ).") == 1 and tries[number].sentence == "1: ( left )."
            if ill or "right" in tried[-1]:
                self.close()
                raise ProcessDied("dead", "crash")
            yield seen

    state = started(env, "True \\/ True")
    monkeypatch.setattr(CLIENTS[backend], "try_each", deadly)
    outcomes = env.step([(state, tactic) for tactic in ("intros", "left", "right", "constructor")])
    assert refusal(outcomes.pop(2), "fault") == "dead"
    assert [outcome.text if isinstance(outcome, Goals) else outcome for outcome in outcomes] == [
        "⊢ True \\/ True", "⊢ True", "⊢ True",
    ]  # fmt: skip


def test_a_process_that_is_too_big_or_was_interrupted_too_often_is_renewed(
    make: Callable[..., CoqEnv], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sparring.envs.process.WATCH_S", 5)  # or it might be killed at work
    for env, tactic in ((make(memory_mb=30), "intros"), (make(recycle_after=1), DIVERGING[0])):
        state = started(env, PLUS_0)
        [before] = env.memory_mb()
        assert before > 40
        env.step([(state, tactic)])
        assert env.memory_mb() == [0.0]
        assert isinstance(one(env, state, "destruct n"), Goals)


def test_closing_waits_for_no_tactic(make: Callable[..., CoqEnv]):
    """Ctrl-C in the middle of a search: results are to be written now."""
    env = make(tactic_timeout_s=1000)
    state = started(env, PLUS_0)
    searching = ThreadPoolExecutor(1).submit(env.step, [(state, tactic) for tactic in (DIVERGING[1], "destruct n", DIVERGING[1])])
    while not any(process.cpu_percent(0.05) > 30 for process in provers()):
        assert not searching.done()
    env.close()
    assert {refusal(outcome, "fault") for outcome in searching.result(60)[1:]} == {"the environment was closed"}


def test_it_ends_what_it_began(make: Callable[..., CoqEnv]):
    before = {process.pid for process in provers()}
    env = make(processes=2)
    state = started(env, PLUS_0)
    env.step([(state, tactic) for tactic in TACTICS])
    assert len({process.pid for process in provers()} - before) == 2
    env.close()
    assert not {process.pid for process in provers()} - before
    env.close()


FILES = {
    name: (f"Require {name}.", *(f"Definition {name}{n} := {n}." for n in range(40))) for name in ("A", "B", "C")
}  # a library counts as 200 tactics, a definition as one


def theorem(name: str, at: int) -> Root:
    return Root((*FILES[name][: at + 1], f"Theorem {name}_{at} : True."))


def group(root: Root, tries: int, *path: str) -> Group:
    return Group(root, path, [(0, None, "")] * tries)  # type: ignore[list-item]


def shared_out(groups: list[Group], positions: list[Sequence[str]], at_once: int) -> list[list[str]]:
    parts = share(Random(0).sample(groups, len(groups)), positions, at_once)
    assert sum(len(piece.tries) for part in parts for piece in part) == sum(len(group.tries) for group in groups)
    return [[piece.root.sentences[-1].split()[1] for piece in part] for part in parts]


def test_a_process_goes_through_a_file_once_and_back_in_the_next_wave():
    roots = [theorem("A", at) for at in (3, 7, 20, 30)]
    groups = [group(root, 4) for root in roots]
    forth = ["A_3", "A_7", "A_20", "A_30"]
    assert shared_out(groups, [()], 1) == [forth]
    assert shared_out(groups, [roots[-1].sentences], 1) == [forth[::-1]]
    assert shared_out(groups, [roots[1].sentences], 1) == [["A_7", "A_20", "A_30", "A_3"]]
    assert share([], [()], 1) == [[]]


def test_a_state_comes_after_those_that_are_nearer():
    root = theorem("A", 5)
    states = [group(root, 1, *path) for path in ([], ["1:a"], ["1:a", "1:b"], ["1:a", "1:c"], ["1:d"])]
    [found] = share(states, [(*root.sentences, "1:a", "1:c")], 1)
    assert [piece.path for piece in found] == [("1:a", "1:c"), ("1:a",), ("1:a", "1:b"), (), ("1:d",)]


def test_a_process_keeps_its_file():
    groups = [group(theorem(name, at), 4) for name in "ABC" for at in (5, 15, 25)]
    held = {name: theorem(name, 25).sentences for name in "ABC"}
    files = {name: [f"{name}_25", f"{name}_15", f"{name}_5"] for name in "ABC"}
    for at_once in (1, 2, 3):
        assert shared_out(groups, [held["C"], held["A"], held["B"]], at_once) == [files["C"], files["A"], files["B"]]
        assert shared_out(groups[:3], [held["C"], held["A"]], at_once) == [[], files["A"]]
        assert shared_out(groups[3:6], [held["C"], (), held["A"]], at_once) == [[], files["B"][::-1], []], "the idle one first"
    assert shared_out(groups, [held["B"], held["C"]], 2) == [[*files["B"], *files["A"][::-1]], files["C"]]


def test_a_large_theorem_is_shared_by_those_that_stand_there():
    root = theorem("A", 30)
    there = root.sentences
    assert [len(part) for part in shared_out([group(root, 40)], [there, there], 2)] == [1, 1]
    assert [len(part) for part in shared_out([group(root, 40)], [there, there, there], 1)] == [1, 0, 0], "one at a time"
    assert [len(part) for part in shared_out([group(root, 40)], [there, ()], 2)] == [2, 0], "loading the library takes longer"
    assert [len(part) for part in shared_out([group(root, 1000)], [there, ()], 2)] == [1, 1]


def test_a_new_theorem_goes_to_its_file_or_to_a_new_process():
    held = [theorem(name, 25).sentences for name in "AB"]
    assert nearest(theorem("B", 2), held) == 1
    assert nearest(theorem("B", 30), [*held, ()]) == 1
    assert nearest(theorem("C", 2), [*held, ()]) == 2
    again = (*FILES["A"], "Require Z.")
    assert nearest(theorem("C", 2), [again, held[1]]) == 1, "where less is lost"


def test_no_more_processes_work_at_a_time_than_there_are_cores(
    make: Callable[..., CoqEnv], backend: Backend, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sparring.envs.coq.cores", lambda: 1)
    working: list[int] = []
    honest, lock = CLIENTS[backend].try_each, Lock()

    def slow(self: Any, *args: Any) -> Any:
        with lock:
            working.append(working[-1] + 1 if working else 1)
        time.sleep(0.05)
        yield from honest(self, *args)
        with lock:
            working.append(working[-1] - 1)

    env = make(processes=3)
    states = [started(env, "True", f"Require Import {name}.") for name in ("Bool", "List", "Arith")]
    assert len([size for size in env.memory_mb() if size]) == 3
    monkeypatch.setattr(CLIENTS[backend], "try_each", slow)
    assert env.step([(state, "exact I") for state in states]) == [Proved()] * 3
    assert max(working) == 1


# ------------------------------------------------------------------------------------------------ the rest


def test_moves_are_those_that_the_context_brings(env: CoqEnv):
    assert "lia" not in env.moves(started(env, PLUS_0))
    state = started(env, PLUS_0, "Require Import Lia.")
    assert "lia" in env.moves(state)
    outcomes = env.step([(state, move) for move in env.moves(state)])
    assert Proved() in outcomes
    assert not [outcome for outcome in outcomes if isinstance(outcome, Rejected) and outcome.kind == "fault"]


def test_states_of_others_are_no_states(env: CoqEnv):
    assert refusal(one(env, Goals(texts=("⊢ True",), handle=("⊢ True",)), "exact I"), "fault")


def test_without_coq_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SparringError, match="install"):
        CoqEnv()
