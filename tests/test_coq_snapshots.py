"""The server that keeps Coq's states: it says what ``coqidetop`` says, byte for byte, it forgets in time, and anyone can build it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import psutil
import pytest

from bench.coq_env import PROOFS, TACTICS
from sparring.envs.coq import CoqEnv
from sparring.envs.coq_pool import Backend, CoqOptions, Session, backend_command, session
from sparring.envs.coq_snapshots import build
from sparring.envs.coq_snapshots.client import Snapshots
from sparring.envs.coqtop import Failed, Try, View
from sparring.envs.process import Limits, ProcessDied
from sparring.envs.sandbox import available
from sparring.errors import SparringError
from sparring.game import Goals, Rejected, make_task

NO_COQ = "coqidetop.opt is not installed (Debian: apt-get install coq)" if shutil.which("coqidetop.opt") is None else available()
NO_SERVER = NO_COQ or build.missing()
pytestmark = pytest.mark.skipif(NO_SERVER is not None, reason=NO_SERVER or "")

LIMITS = Limits(interrupt_s=30, kill_s=60, memory_mb=4000)
SECONDS = 5
SNAPSHOTS = CoqOptions(backend="snapshots")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Session]]:
    backends: tuple[Backend, ...] = ("coqidetop", "snapshots")
    old, new = (session(CoqOptions(backend=backend), tmp_path_factory.mktemp(backend)) for backend in backends)
    yield old, new
    old.close()
    new.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Snapshots]]:
    """Makes clients of the server that are closed afterwards."""
    made: list[Snapshots] = []

    def start(*flags: str, **options: int) -> Snapshots:
        argv = [*backend_command(SNAPSHOTS, tmp_path), *flags]
        made.append(Snapshots(argv, tmp_path, LIMITS, **options))
        return made[-1]

    yield start
    for client in made:
        client.close()


@pytest.fixture
def coq(start: Callable[..., Snapshots]) -> Snapshots:
    return start()


def worker(client: Snapshots) -> psutil.Process:
    return psutil.Process(client.child.pid).children(recursive=True)[-1]


def tried(client: Session, way: Sequence[str], tactics: Sequence[str]) -> list[View | Failed]:
    assert client.move(way, LIMITS) is None, way
    return list(client.try_each(len(way), [Try(tactic) for tactic in tactics], SECONDS, LIMITS))


def first(tactics: Sequence[str]) -> list[str]:
    return [f"1: ( {tactic} )." for tactic in tactics]


# ------------------------------------------------------------------------------------------------ the same as coqidetop

HEADER = ("Require Import String Ascii Arith List Lia.", "Import ListNotations.")
PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "notations": (
        (
            'Notation "a ≡ b" := (a = b) (at level 70).',
            'Notation "∀ x , P" := (forall x, P) (at level 200, x binder).',
            "Goal ∀ α, ∀ β, α ≡ β + 0 -> [α; β] ≡ rev [β; α].",
        ),
        ("intros α β h", "intros *", "intro", "simpl", "intros; subst; simpl", "intros ? ? ->; cbn", "cbv beta delta", "nonsense ≡"),
    ),
    "implicit arguments": (
        ("Definition same {n : nat} (b : bool) := n = n /\\ b = b.", "Goal exists n, same (n := n) true /\\ @same 3 false."),
        ("unshelve eexists", "eexists", "exists 0; split", "eexists; split", "unfold same", "eexists; split; [ split | ]", "econstructor"),
    ),
    "let-bound hypotheses": (
        ("Goal forall n m k : nat, let a := n + m in let b := a * k in let c := 3 : nat in a + b + c = c + b + a.",),
        (
            "intros", "intros n m k a b c", "intros; subst a", "intros n m k a; clearbody a; intros", "pose (x := 0); pose (y := 0)",
            "intros; pose (f := fun x : nat => x + 1); set (g := f); assert (g 0 = 1) as h", "cbv zeta", "remember 3 as t",
        ),
    ),
    "open variables": (
        ("Goal (exists n m : nat, n = m /\\ m = 3) /\\ (exists p : nat -> Prop, p 0) /\\ True.",),
        (
            "split", "split; [ eexists; eexists; split | ]", "split; [ eexists | split; [ eexists | ] ]", "repeat split",
            "repeat econstructor", "unshelve (split; [ eexists | ])", "split; [ unshelve eexists; [ exact 3 | ] | ]",
            "refine (conj _ (conj _ I)); [ eexists ?[n] | ]",
            "assert (exists x, x = ?[y]) as [] by (eexists; reflexivity)",
        ),
    ),
    "out of focus, shelved, given up": (
        ("Goal True /\\ (1 = 1 /\\ exists n, n = 2) /\\ 3 = 3.", "split.", "2: split.", "Unshelve."),
        ("shelve", "give_up", "split; [ shelve | give_up ]", "eexists; shelve", "exact I", "all: idtac", "assert (1 = 2); [ give_up | ]"),
    ),
    "focus": (("Goal True /\\ (1 = 1 /\\ 2 = 2).", "split.", "{", "exact I.", "}", "split.", "-"), ("idtac", "reflexivity", "split")),
    "no proof": (("Definition one := 1.",), ("reflexivity", "idtac")),
    "deep and wide": (
        ("Goal " + " /\\ ".join(["0 = 0"] * 200) + ".",),
        (
            "split", "repeat split", "do 40 (split; [ reflexivity | ])", "simpl", "change (1 = 1)",
            "assert (" + " + ".join(["1"] * 150) + " = 150)",
        ),
    ),
    "dependent": (
        (
            "Inductive vec (A : Type) : nat -> Type := vnil : vec A 0 | vcons : forall n, A -> vec A n -> vec A (S n).",
            "Goal forall (A : Type) (n : nat) (v : vec A n), "
            "match v in vec _ k return k = k with vnil _ => eq_refl | vcons _ _ _ _ => eq_refl end = eq_refl.",
        ),
        (
            "intros A n v", "intros; destruct v", "intros; destruct v as [| m a w]; [ | cbn ]",
            "intros A n v; induction v as [| m a w IH]", "fix F 3",
        ),
    ),
    "strings": (
        (
            "Open Scope string_scope.",
            'Goal String "000" (String "001" (String "002" (String "010" "a ""quoted"" é"))) = "b < c & d > e &nbsp; \'f\'".'),
        ("simpl", "discriminate", "f_equal", "intro", "idtac", "symmetry", 'assert ("' + "\x01" + '" = "x")'),
    ),
}  # fmt: skip


@pytest.mark.parametrize("statement", PROOFS)
def test_all_tactics_of_the_bench_lead_to_the_same(pair: tuple[Session, Session], statement: str):
    """At every state of the proof: texts, counts, what is apart, and reasons."""
    script = first(PROOFS[statement])
    way = [*HEADER, f"Theorem t :\n( {statement} )."]
    for depth in range(len(script) + 1):
        old, new = (tried(client, [*way, *script[:depth]], first(TACTICS)) for client in pair)
        assert new == old
        assert any(isinstance(seen, View) for seen in new)


@pytest.mark.parametrize("name", PLACES)
def test_it_says_what_coqidetop_says(pair: tuple[Session, Session], name: str):
    way, tactics = PLACES[name]
    selected = [*first(tactics), *(f"2: ( {tactic} )." for tactic in tactics), *(f"{tactic}." for tactic in tactics)]
    old, new = (tried(client, [*HEADER, *way], selected) for client in pair)
    assert new == old


def test_so_does_a_search_that_goes_to_and_fro(tmp_path: Path):
    """Through random states, with so little room that most of them have to be reached again."""
    old, new = (
        CoqEnv(CoqOptions(header=" ".join(HEADER))),
        Snapshots(backend_command(SNAPSHOTS, tmp_path), tmp_path, LIMITS, most=5),
    )
    begun = old.start(make_task("forall n m : nat, n = m \\/ exists k, k + n = m -> n = k"))
    assert isinstance(begun, Goals)
    states, random, forgotten = [begun], Random(0), 0
    for _ in range(150):
        state, tactic = random.choice(states), random.choice(TACTICS)
        [outcome] = old.step([(state, tactic)])
        way = (*state.handle.root.sentences, *state.handle.path)
        known = new.kept
        [seen] = tried(new, way, [f"{state.handle.first}: ( {tactic} )."])
        forgotten += new.kept <= known
        assert new.kept <= 10
        assert isinstance(seen, Failed) == isinstance(outcome, Rejected)
        if isinstance(seen, Failed) and isinstance(outcome, Rejected):
            assert " ".join(seen.reason.split())[:500] == outcome.reason
        if isinstance(outcome, Goals):
            states.append(outcome)
            assert isinstance(seen, View)
            assert seen.goals == outcome.texts
    old.close()
    new.close()
    assert forgotten > 50
    assert len(states) > 30


# ------------------------------------------------------------------------------------------------ states


def test_what_is_known_is_not_run_again(coq: Snapshots, monkeypatch: pytest.MonkeyPatch):
    sent: list[bytes] = []
    send = coq.child.send
    monkeypatch.setattr(coq.child, "send", lambda data, limits: (sent.append(data), send(data, limits)))
    way = ["Goal forall n : nat, n = n /\\ True.", "intro n.", "split.", "reflexivity."]
    assert coq.move(way, LIMITS) is None
    assert coq.move(way[:2], LIMITS) is None
    other = tried(coq, [*way[:2], "destruct n."], ["split."])
    assert coq.move(way, LIMITS) is None
    assert [data.split()[0] for data in sent] == [b"walk", b"walk", b"try"]
    assert tried(coq, [*way[:2], "destruct n."], ["split."]) == other
    assert coq.position == [*way[:2], "destruct n.", "split."]


def test_a_move_ends_before_what_is_refused(coq: Snapshots):
    way = ["Definition a := 1.", "Goal True.", "exact a.", "exact I.", "Qed."]
    failed = coq.move(way, LIMITS)
    assert failed is not None
    assert (failed.place, failed.exhausted, coq.position) == (2, False, way[:2])
    assert "has type" in failed.reason
    assert coq.in_proof(LIMITS)
    assert coq.move([*way[:2], *way[3:]], LIMITS) is None
    assert not coq.in_proof(LIMITS)
    assert coq.move([], LIMITS) is None
    assert not coq.in_proof(LIMITS)


def test_only_what_was_not_used_for_longest_is_forgotten(start: Callable[..., Snapshots]):
    coq = start(most=3)
    goal = "Goal (True /\\ True) /\\ (True /\\ True)."
    tactics = ["idtac.", "split.", "split; split.", "repeat split.", "cut True.", "assert True."]
    for _ in range(3):
        assert [type(seen) for seen in tried(coq, [goal], tactics)] == [View] * 6
        assert coq.kept == 3
    assert coq.move([goal, "idtac.", "split."], LIMITS) is None
    assert tried(coq, [goal, "split."], ["split."])
    assert coq.names("Search nothing.", LIMITS) is None
    assert coq.kept <= 6


def test_the_server_forgets_as_well(start: Callable[..., Snapshots]):
    coq = start(most=3)
    tried(coq, ["Goal True /\\ True."], ["idtac.", "split.", "cut True.", "assert True."])
    coq.names("Check nat.", LIMITS)  # takes the last numbers along
    answers = [coq.child.ask(b"try 100 %d 6\nidtac." % number, 1, LIMITS)[0] for number in range(6)]
    assert [answer[:1] for answer in answers] == [b"-", b"+", b"-", b"-", b"+", b"+"]  # 0: no proof; 1: where it stood
    assert b"is not there" in answers[2]


# ------------------------------------------------------------------------------------------------ one sentence, and nothing else


@pytest.mark.parametrize(
    "text",
    [
        "exact I. exact I.",
        "exact I. Qed.",
        "idtac.\nidtac.",
        "idtac. (* not ended",
        'idtac. "',
        "idtac. )",
        "idtac",
        "",
        " ",
        "(* a *)",
        "Undo.",
        "Restart.",
        "Goal True.",
        "idtac.\x00",
    ],
)
def test_more_or_less_than_a_sentence_is_refused(coq: Snapshots, text: str):
    assert coq.move(["Goal True."], LIMITS) is None
    before, refused, after = coq.try_each(1, [Try("idtac."), Try(text), Try("exact I.")], SECONDS, LIMITS)
    assert isinstance(refused, Failed)
    assert refused.reason
    assert not refused.exhausted
    assert isinstance(before, View)
    assert isinstance(after, View)
    assert (before.goals, after.goals) == (("⊢ True",), ())


def test_a_comment_after_it_is_none(coq: Snapshots):
    [seen] = tried(coq, ["Goal True."], ["idtac. (* that was it. *) "])
    assert isinstance(seen, View)


def test_a_text_cannot_end_its_request(coq: Snapshots):
    """It is counted, so what looks like a request within it is text."""
    coq.move(["Goal True."], LIMITS)
    for text in ("idtac\nforget 1\n.", "\nready\n", "idtac.\0\n+\2", "try 5 0 3\nabc"):
        assert isinstance(next(coq.try_each(1, [Try(text)], SECONDS, LIMITS)), Failed)
    assert tried(coq, ["Goal True."], ["exact I."]) == [View((), 0, 0, background=False, apart=True)]


def test_signs_of_the_protocol_in_a_goal_are_text(coq: Snapshots):
    way = ["Require Import String Ascii.", "Open Scope string_scope."]
    [seen] = tried(coq, way, ['Goal String "000" (String "001" (String "002" (String "010" "1"))) = "\x01".'])
    assert isinstance(seen, View)
    assert seen.goals == ('⊢ "\0\x01\x02\n1" = "\x01"',)


def test_nothing_else_is_printed_to_where_the_answers_go(coq: Snapshots):
    coq.move([], LIMITS)
    inside = worker(coq).pid
    assert os.readlink(f"/proc/{inside}/fd/1") == os.readlink(f"/proc/{inside}/fd/2")
    coq.move(["Set Debug \"all\".", "Print nat.", "Goal True."], LIMITS)  # fmt: skip
    assert tried(coq, coq.position, ["idtac \"\0\n\".", "info_auto."])[1:] == [View((), 0, 0, background=False, apart=True)]  # fmt: skip


# ------------------------------------------------------------------------------------------------ ends of all kinds


def test_an_interrupt_between_two_requests_harms_nobody(coq: Snapshots):
    coq.move(["Goal True."], LIMITS)
    os.kill(worker(coq).pid, signal.SIGINT)
    assert [type(seen) for seen in tried(coq, ["Goal True."], ["exact I.", "idtac."])] == [View, View]


def test_a_process_that_dies_says_so(coq: Snapshots):
    assert coq.move(["Goal True."], LIMITS) is None
    worker(coq).kill()
    with pytest.raises(ProcessDied):
        tried(coq, ["Goal True."], ["exact I."])
    assert not coq.child.ready


def test_deep_recursion_and_too_much_memory_are_refusals(coq: Snapshots):
    way = ["Fixpoint deep (n : nat) : nat := match n with 0 => 0 | S n => S (deep n) end.", "Goal True."]
    tactics = ["let x := eval lazy in (deep (Nat.pow 10 7)) in idtac.", "exact I."]
    deep, fine = tried(coq, way, tactics)
    assert isinstance(deep, Failed)
    assert deep.exhausted
    assert isinstance(fine, View)


def test_a_server_that_does_not_start_says_why(start: Callable[..., Snapshots]):
    with pytest.raises(ProcessDied, match="nowhere"):
        start("-require", "nowhere")


# ------------------------------------------------------------------------------------------------ building


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What was found before is looked for again."""
    build._server.cache_clear()  # pyright: ignore[reportPrivateUsage]
    yield
    build._server.cache_clear()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.usefixtures("fresh")
def test_two_build_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor(2) as both:
        first, second = both.map(lambda _: build.server(), range(2))
    assert first == second
    assert os.access(first, os.X_OK)
    assert [path.name for path in (tmp_path / "sparring").iterdir()] == [first.parent.parent.name]
    assert build.server() == first


@pytest.mark.usefixtures("fresh")
def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sparring").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(SparringError, match="XDG_CACHE_HOME"):
        CoqEnv(SNAPSHOTS)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("without", ["ocamlfind", "ocamlopt", "coq-core.toplevel", "coqc"])
def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == without else which(name))
    if "." in without:
        monkeypatch.setattr(build, "PACKAGE", "coq-core.nothing")
    with pytest.raises(SparringError, match="libcoq-core-ocaml-dev"):
        build.server()


@pytest.mark.usefixtures("fresh")
def test_a_source_that_does_not_compile_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "source", lambda: b"let () = nothing")
    with pytest.raises(SparringError, match=r"nothing.*coqidetop"):
        build.server()
    assert list((tmp_path / "sparring").iterdir()) == []
