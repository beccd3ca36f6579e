"""Tactics for Coq that are found from the text of a goal."""

from __future__ import annotations

import shutil
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.coq import CoqEnv
from sparring.envs.coq_moves import LONGEST, MOST, interleaved, structural
from sparring.envs.coq_sentence import check_tactic
from sparring.game import Goals, Proved, make_task

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="coqc is not installed")

WORDS = (
    *(
        "forall",
        "exists",
        "fun",
        "match",
        "with",
        "if",
        "then",
        "else",
        "nat",
        "list A",
        "False",
        "Prop",
        "Type",
        "In x l",
        "S n",
    ),
    *(
        "->",
        "<->",
        "/\\",
        "\\/",
        "=",
        "<>",
        "~",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        ":=",
        "|",
        "⊢",
        "\n",
        "\n\n",
        "x",
        "l",
        "H",
    ),
    *("x : ", "H, n : ", "time : ", "λ", "\x00", "Ж : ", '"', "(*", "1", "."),
)


@pytest.mark.parametrize(
    ("goal", "offered"),
    [
        ("⊢ forall n m : nat, n + m = m + n", {"intros", "induction n; simpl; auto", "destruct m; simpl; auto"}),
        ("⊢ forall (A : Type) (l : list A), l = l", {"induction l; simpl; auto"}),
        ("⊢ forall b c : bool, andb b c = andb c b", {"destruct b; destruct c; simpl; auto"}),
        ("⊢ forall n : nat, le n 0 -> n = 0", {"induction 1; simpl; auto", "destruct 1"}),
        ("A, B : Prop\n⊢ A /\\ B", {"split"}),
        ("A, B : Prop\n⊢ A \\/ B", {"left", "right"}),
        ("A, B : Prop\nH : A /\\ B\n⊢ A", {"destruct H"}),
        ("n : nat\n⊢ exists m : nat, m = n", {"exists n; auto", "eexists"}),
        (
            "n, m : nat\n⊢ n + m = m + n",
            {"induction n; simpl; auto", "revert m; induction n; destruct m; simpl; auto", "f_equal"},
        ),
        ("x, y : nat\nIH : forall z : nat,\n     x = z\n⊢ x = y", {"rewrite IH", "rewrite <- IH", "apply IH"}),
        ("x, y : nat\nH : S x = S y\n⊢ x = y", {"injection H; intros; subst", "discriminate", "subst"}),
        ("n : nat\nH : even n\nIH : forall m : nat, even m -> odd (S m)\n⊢ odd (S n)", {"apply IH", "inversion H; subst; auto"}),
        ("H : ~ True\n⊢ False", {"apply H", "elim H"}),
        ("P : Prop\nH : False\n⊢ P", {"contradiction"}),
        ("n : nat\n⊢ (if f n then 0 else 1) = 0", {"destruct (f n)", "destruct (f n) eqn:?"}),
        ("l : list nat\n⊢ incl l l", {"unfold incl", "constructor; auto"}),
        (
            "A : Type\ndec : forall x y : A, {x = y} + {x <> y}\nx, y : A\n⊢ {x = y} + {x <> y}",
            {"edestruct dec", "decide equality"},
        ),
    ],
)
def test_moves_by_form(goal: str, offered: set[str]) -> None:
    assert offered <= set(structural(goal))


@pytest.mark.parametrize(
    ("goal", "refused"),
    [
        ("A : Type\nx : A\n⊢ x = x", "induction x"),  # of an unknown type there are no cases
        ("A : Type\n⊢ forall x : A, x = x", "induction x"),
        ("f : nat -> nat\n⊢ f 0 = 0", "destruct f"),
        ("R : nat -> Prop\nH : R 0\n⊢ R 0", "inversion H; subst; auto"),
        ("R : nat -> Prop\n⊢ R 0", "constructor; auto"),
        ("n : nat\nH : forall m : nat, even m\n⊢ odd n", "apply H"),  # another head
        ("f := fun x : nat => x : nat -> nat\n⊢ f 0 = 0", "unfold g"),
        ("time : nat\n⊢ time = 0", "destruct time"),  # a word that no tactic may have
        ("n : nat\n⊢ n = 0\n\nm : nat\n⊢ m = 0", "destruct m"),  # of the second goal
    ],
)
def test_no_move_where_it_cannot_work(goal: str, refused: str) -> None:
    moves = structural(goal)
    assert moves
    assert refused not in moves


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=60))
def test_any_text_has_moves_that_may_be_said(parts: list[str]) -> None:
    for text in ("".join(parts), " ".join(parts), "⊢ " + " ".join(parts)):
        moves = structural(text)
        assert len(moves) == len(set(moves)) <= MOST
        assert [move for move in moves if check_tactic(move)] == []


@pytest.mark.parametrize(
    "part", ["(", "forall (", "x : ", "A -> ", "if ", "match x ", "H : x = \n", "forall x, ", "((", ") ", "x, ", "~ ("]
)
def test_work_is_bounded(part: str) -> None:
    begun = time.process_time()
    for text in (part * 20_000, "⊢ " + part * 20_000, part * 20_000 + "\n⊢ x"):
        structural(text)
    assert time.process_time() - begun < 2.0


def test_what_is_cut_off_is_far_from_the_goal() -> None:
    above = "".join(f"H{number} : number\n" for number in range(LONGEST))
    assert {"destruct n", "split"} <= set(structural(f"{above}n : nat\n⊢ True /\\ True"))


def test_slow_automation_comes_after_the_first_moves() -> None:
    automation = ("assumption", "reflexivity", "auto", "easy", "intuition", "firstorder", "lia")
    moves = ["intros", "simpl", "red", "cbn", "auto", "f_equal", "symmetry"]
    assert interleaved(automation, moves) == [
        *("assumption", "reflexivity", "auto", "easy", "lia", "intros", "simpl", "red", "cbn", "intuition", "firstorder"),
        *("f_equal", "symmetry"),
    ]
    assert interleaved(("reflexivity",), []) == ["reflexivity"]
    assert interleaved(("auto", "firstorder"), moves[:7], ["apply le_n", "rewrite le_n"]) == [
        *("auto", "intros", "simpl", "red", "cbn", "firstorder", "apply le_n", "f_equal", "rewrite le_n", "symmetry"),
    ]
    assert interleaved((), moves) == moves


@needs_coq
def test_moves_and_automation_prove_what_neither_proves_alone() -> None:
    env = CoqEnv()
    try:
        start = env.start(make_task("forall n m : nat, n + m = m + n"))
        assert isinstance(start, Goals)
        assert "induction n; simpl; auto" in structural(start.text)
        [base] = env.step([(start, "induction n")])
        assert isinstance(base, Goals)
        assert {"intros", "induction m; simpl; auto"} <= set(structural(base.text))
        [zero] = env.step([(base, "induction m; simpl; auto")])
        assert isinstance(zero, Goals)
        assert len(zero.texts) == 1
        [step] = env.step([(zero, "induction m; simpl; auto")])
        assert isinstance(step, Goals)
        accepted = [
            outcome
            for outcome in env.step([(step, move) for move in structural(step.text)])
            if isinstance(outcome, Goals | Proved)
        ]
        assert len(accepted) >= 5
    finally:
        env.close()
