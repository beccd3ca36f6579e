"""The tactics, one by one: what each makes of a goal, and what it says when it refuses."""

from __future__ import annotations

import pytest

from sparring.envs.goals import TacticError
from sparring.envs.tactics import TACTICS, run
from tests.goals import ENV, goal_after, justify, shown

AB = ("forall p q, p /\\ q -> q", "intro h")
OR = ("forall p q, p \\/ q -> q", "intro h")
EX = ("forall (P : N -> Prop), (exists n, P n) -> False", "intro h")
EQ = ("forall a b, a = b -> a + a = b", "intros a b h")
MP = ("forall p q r, (p -> q -> r) -> p -> q -> r", "intros f a")
ALL = ("forall P a, (forall n, P n -> P (S n)) -> P a -> P (S a)", "intros a f g")
SUM = ("forall a, a + 0 = a", "intro a")

# (statement and lines that lead to a goal), tactic, what it leaves
WORK: list[tuple[tuple[str, ...], str, list[str]]] = [
    (("forall p, p -> p",), "intro h", ["h : p; p"]),
    (("forall p, p -> p",), "intro", ["h : p; p"]),
    (("forall p, p -> p",), "intro h.", ["h : p; p"]),
    (("forall p, ~ p",), "intro h", ["h : p; False"]),
    (("forall x, x = x",), "intro n", ["n : N; n = n"]),
    (("forall x, x = x",), "intro", ["x : N; x = x"]),
    (("forall p x, x = 0 -> p -> ~ p",), "intros", ["x : N; h : x = 0; h1 : p; h2 : p; False"]),
    (("forall p x, x = 0 -> p -> ~ p",), "intros a e", ["a : N; e : a = 0; p -> ~ p"]),
    (MP, "apply f", ["f : p -> q -> r; a : p; p"]),
    ((*MP, "intro b"), "apply f", ["f : p -> q -> r; a : p; b : q; p", "f : p -> q -> r; a : p; b : q; q"]),
    ((*MP, "intro b"), "exact (f a b)", []),
    ((*MP, "intro b"), "exact f a b", []),
    ((*MP, "intro b"), "exact (f a) b", []),
    (MP, "apply (f a)", []),
    (ALL, "apply f", ["a : N; f : forall x, P x -> P (S x); g : P a; P a"]),
    (ALL, "exact (f a g)", []),
    (ALL, "exact f (a) g", []),
    (ALL, "apply f in g", ["a : N; f : forall x, P x -> P (S x); g : P (S a); P (S a)"]),
    (("forall p q r, (p -> q -> r) -> q -> r", "intros f b"), "apply f in b", ["f : p -> q -> r; b : r; r", "f : p -> q -> r; b : q; p"]),
    (AB, "apply and_comm in h", ["h : q /\\ p; q"]),
    (("forall p q, p /\\ q -> q /\\ p",), "exact and_comm", []),
    (("forall p q, p /\\ q -> q /\\ p", "intro h"), "apply and_comm", ["h : p /\\ q; p /\\ q"]),
    (("forall p q, p /\\ q -> q /\\ p", "intro h"), "exact (and_comm h)", []),
    (("forall x, x + 0 = x",), "apply nat_ind", ["0 + 0 = 0", "forall x, x + 0 = x -> S x + 0 = S x"]),
    ((*SUM, "revert a"), "exact add_zero", []),
    (("forall p q, p -> q -> q", "intros a b"), "assumption", []),
    (("forall p, p -> p /\\ True", "intro h"), "split", ["h : p; p", "h : p; True"]),
    (("forall p, p -> p /\\ True", "intro h"), "constructor", ["h : p; p", "h : p; True"]),
    (("forall p q, p <-> q",), "split", ["p -> q", "q -> p"]),
    (("True",), "split", []),
    (("forall p q, p \\/ q",), "left", ["p"]),
    (("forall p q, p \\/ q",), "right", ["q"]),
    (("exists x, x = 2",), "exists 2", ["2 = 2"]),
    (("forall y, exists x, x = S y", "intro y"), "exists (S y)", ["y : N; S y = S y"]),
    (("forall y, exists x, x = S y", "intro y"), "exists 1 + y", ["y : N; 1 + y = S y"]),
    (("True",), "trivial", []),
    (("forall p, p -> p", "intro h"), "trivial", []),
    (("2 * 2 = 4",), "trivial", []),
    (AB, "destruct h as [a b]", ["a : p; b : q; q"]),
    (AB, "destruct h", ["h : p; h1 : q; q"]),
    (AB, "cases h", ["h : p; h1 : q; q"]),
    (AB, "destruct h as [h b]", ["h : p; b : q; q"]),
    (AB, "destruct h as [a h]", ["a : p; h : q; q"]),
    (AB, "destruct (and_comm h) as [b a]", ["h : p /\\ q; b : q; a : p; q"]),
    (OR, "destruct h as [a | b]", ["a : p; q", "b : q; q"]),
    (OR, "destruct h", ["h : p; q", "h : q; q"]),
    (EX, "destruct h as [n e]", ["n : N; e : P n; False"]),
    (EX, "destruct h", ["x : N; h : P x; False"]),
    (("forall p, False -> p", "intro h"), "destruct h", []),
    (EQ, "destruct a as [| c]", ["b : N; h : 0 = b; 0 + 0 = b", "c b : N; h : S c = b; S c + S c = b"]),
    (EQ, "destruct a", ["b : N; h : 0 = b; 0 + 0 = b", "a b : N; h : S a = b; S a + S a = b"]),
    (AB, "exfalso", ["h : p /\\ q; False"]),
    (("forall p q, p -> ~ p -> q", "intros a b"), "contradiction", []),
    (("forall p q, p /\\ ~ q -> False -> q", "intros a b"), "contradiction", []),
    (("forall x, S x = 0 -> x = 5", "intros x e"), "contradiction", []),
    (AB, "revert h", ["p /\\ q -> q"]),
    (EQ, "revert a", ["b : N; forall x, x = b -> x + x = b"]),
    (AB, "clear h", ["q"]),
    (("forall x, True", "intro x"), "clear x", ["True"]),
    (("2 * 3 = 6",), "rfl", []),
    (("forall x, 1 + x = S x", "intro x"), "reflexivity", []),
    (("forall x, 2 * x = x", "intro x"), "simpl", ["x : N; x + (x + 0) = x"]),
    (("forall x, S (S x) = 1 + 1 -> x = 0", "intros x h"), "simpl in h", ["x : N; h : S (S x) = 2; x = 0"]),
    (("forall x, 0 + x = 2 -> x = 0", "intros x h"), "simpl at h", ["x : N; h : x = 2; x = 0"]),
    (SUM, "symmetry", ["a : N; a = a + 0"]),
    (EQ, "symmetry in h", ["a b : N; h : b = a; a + a = b"]),
    (EQ, "rewrite h", ["a b : N; h : a = b; b + b = b"]),
    (EQ, "rewrite -> h", ["a b : N; h : a = b; b + b = b"]),
    (EQ, "rewrite h at 2", ["a b : N; h : a = b; a + b = b"]),
    (EQ, "rewrite <- h", ["a b : N; h : a = b; a + a = a"]),
    (EQ, "rewrite ← h", ["a b : N; h : a = b; a + a = a"]),
    (SUM, "rewrite add_zero", ["a : N; a = a"]),
    (SUM, "rewrite (add_comm a 0)", ["a : N; 0 + a = a"]),
    (SUM, "rewrite <- (add_zero a) at 2", ["a : N; a + 0 = a + 0"]),
    ((*EQ, "rewrite <- (add_zero b) in h"), "rewrite add_zero in h", ["a b : N; h : a = b; a + a = b"]),
    (("forall P a, (forall n, P n -> n = 0) -> P a -> a = 0", "intros a f g"), "rewrite f", [
        "a : N; f : forall x, P x -> x = 0; g : P a; 0 = 0", "a : N; f : forall x, P x -> x = 0; g : P a; P a"]),
    (SUM, "induction a", ["0 + 0 = 0", "a : N; ih : a + 0 = a; S a + 0 = S a"]),
    (SUM, "induction a as [| n e]", ["0 + 0 = 0", "n : N; e : n + 0 = n; S n + 0 = S n"]),
    (EQ, "induction a", ["b : N; h : 0 = b; 0 + 0 = b", "a b : N; ih : a = b -> a + a = b; h : S a = b; S a + S a = b"]),
    (AB, "have g : p", ["h : p /\\ q; p", "h : p /\\ q; g : p; q"]),
    (AB, "assert (g : p)", ["h : p /\\ q; p", "h : p /\\ q; g : p; q"]),
    (AB, "have g := and_comm h", ["h : p /\\ q; g : q /\\ p; q"]),
    (ALL, "specialize (f a g)", ["a : N; f : P (S a); g : P a; P (S a)"]),
    (ALL, "specialize f (S a)", ["a : N; f : P (S a) -> P (S (S a)); g : P a; P (S a)"]),
    (("forall a b, S a = 1 + b -> a = b", "intros a b h"), "injection h as e", ["a b : N; h : S a = 1 + b; e : a = b; a = b"]),
    (("forall a b, S a = 1 + b -> a = b", "intros a b h"), "injection h", ["a b : N; h : S a = 1 + b; h1 : a = b; a = b"]),
    (("forall a p, S a = 0 -> p", "intros a h"), "discriminate h", []),
    (("forall a p, 2 = S (2 + a) -> p", "intros a h"), "discriminate h", []),
]  # fmt: skip

REFUSED: list[tuple[tuple[str, ...], str, str]] = [
    (AB, "", "there is no tactic"),
    (AB, ".", "there is no tactic"),
    (AB, "auto", "there is no tactic auto"),
    (AB, "intro", "intro: q has nothing to introduce"),
    (("forall p, p -> p",), "intro p", "the name p is in use"),
    (("forall p, p -> p",), "intro in", "expected a name, found 'in'"),
    (("forall p, p -> p",), "intro h k", "unexpected 'k'"),
    (("forall p, p -> p",), "intros a b", "intro: p has nothing to introduce"),
    (("forall p, p -> p -> p",), "intros a a", "the name a is in use"),
    (AB, "exact", "expected a name, found 'the end'"),
    (AB, "exact h2", "no hypothesis or lemma h2; there are h"),
    (("forall p, p",), "exact h2", "no hypothesis or lemma h2; there are none"),
    (AB, "exact h h", "exact: p /\\ q takes no argument, h is one too many"),
    (AB, "exact (absurd h h)", "exact: a proof of ~ (p /\\ q) is needed, this proves p /\\ q"),
    (ALL, "exact (f q g)", "unknown name q"),
    (ALL, "exact (f g g)", "unknown name g"),
    (ALL, "exact (f 0 g)", "exact: a proof of P 0 is needed, this proves P a"),
    (AB, "exact (h", "expected ')', found 'the end'"),
    (AB, "assumption", "assumption: no hypothesis is q"),
    (AB, "apply h", "apply: p /\\ q does not prove q"),
    (("forall p q, p -> q", "intro h"), "apply absurd", "apply: the goal does not determine p of absurd; it has to be given"),
    (EQ, "apply leibniz", "does not prove a + a = b"),
    (("forall a b, a = b -> b = b", "intros a b h"), "apply add_comm in h", "apply: forall x y, x + y = y + x has no premise a = b"),
    (AB, "apply and_comm in g", "no hypothesis g; there are h"),
    (("forall p, p",), "split", "split: p is not a conjunction"),
    (("forall p, p",), "left", "left: p is not a disjunction"),
    (("forall p, p",), "right", "right: p is not a disjunction"),
    (("forall p, p",), "exists 0", "exists: p does not say that something exists"),
    (("exists x, x = 0",), "exists y", "unknown name y"),
    (("exists x, x = 0",), "exists True", "expected a number, found the proposition True"),
    (("forall p, p",), "trivial", "trivial: this is not True, no hypothesis, and does not compute"),
    (AB, "destruct h as [a | b]", "destruct: write the names as [h1 h2]"),
    (AB, "destruct h as [a a]", "destruct: the names must differ"),
    (AB, "destruct h as [a p]", "the name p is in use"),
    (AB, "destruct h as a", "expected '[', found 'a'"),
    (OR, "destruct h as [a b]", "destruct: write the names as [h1 | h2]"),
    (EX, "destruct h as [a]", "destruct: write the names as [x h1]"),
    (EQ, "destruct h", "destruct: h : a = b has no parts to take apart"),
    (("forall p, False -> p", "intro h"), "destruct h as [a]", "destruct: False has no parts to name"),
    (AB, "contradiction", "contradiction: no hypothesis is False or impossible, and none contradicts another"),
    (AB, "revert g", "no hypothesis g; there are h"),
    (EQ, "clear a", "clear: a is still mentioned"),
    (AB, "rfl", "rfl: q is not an equation"),
    (SUM, "rfl", "rfl: a + 0 and a are not the same"),
    (SUM, "simpl", "simpl: nothing computes in a + 0 = a"),
    (AB, "symmetry", "symmetry: q is not an equation"),
    (AB, "rewrite h", "rewrite: p /\\ q is not an equation"),
    (("forall x y, x = y", "intros x y"), "rewrite add_zero", "rewrite: no instance of x + 0 in x = y"),
    (EQ, "rewrite h at 3", "rewrite: a occurs 2 times, not 3"),
    (EQ, "rewrite h at 0", "rewrite: a occurs 2 times, not 0"),
    (("forall x, x = x -> x = 0", "intros x h"), "rewrite h", "rewrite: x stays as it is"),
    (EQ, "rewrite h in g", "no hypothesis g; there are h"),
    (("forall a, (forall b c, a = b + c) -> a = 0", "intros a h"), "rewrite h", "rewrite: x and y cannot be inferred; give the arguments"),
    (AB, "induction h", "induction: there is no variable h; introduce it first"),
    (SUM, "induction a as [| n n]", "induction: the names must differ"),
    (SUM, "induction a as [n e]", "expected '|', found 'n'"),
    (AB, "have h : p", "the name h is in use"),
    (AB, "have g : r", "unknown name r"),
    (AB, "have g p", "expected ':', found 'p'"),
    (AB, "have g := absurd", "have: p of absurd and q of absurd cannot be inferred; give the arguments"),
    (ALL, "specialize f", "specialize: write what f is applied to"),
    (ALL, "specialize (add_comm a)", "no hypothesis add_comm; there are f, g"),
    (EQ, "injection h", "injection: a = b does not say that two successors are equal"),
    (EQ, "discriminate h", "discriminate: a = b is not impossible"),
    (("exists x, x = 0",), "exists 0 /\\ 0", "unexpected '/\\\\'"),
    (("forall p q, p /\\ q -> q /\\ p",), "exact and_comm # x", "unexpected '#'"),
    (AB, "exact h", "exact: this proves p /\\ q, the goal is q"),
    (AB, "intro h\nexact h", "a tactic is one line"),
    (AB, "intro " + "h" * 1000, "1006 characters are too many: at most 1000"),
    (("9 * (9 * (9 * (9 * 9))) = 0",), "simpl", "this takes more steps than one check may take"),
    (("99 * 99 = 0",), "simpl", "the result is too big: nested more than 120 deep"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "tactic", "left"), WORK, ids=[f"{index} {tactic}" for index, (_, tactic, _) in enumerate(WORK)]
)
def test_what_tactics_leave(where: tuple[str, ...], tactic: str, left: list[str]):
    goal = goal_after(*where)
    elaborated = run(goal, tactic, ENV.lemmas)
    assert [shown(goal) for goal in elaborated.goals] == left
    justify(goal, elaborated)


@pytest.mark.parametrize(
    ("where", "tactic", "reason"), REFUSED, ids=[f"{index} {tactic[:30]!r}" for index, (_, tactic, _) in enumerate(REFUSED)]
)
def test_what_tactics_say_when_they_refuse(where: tuple[str, ...], tactic: str, reason: str):
    goal = goal_after(*where)
    with pytest.raises(TacticError) as refused:
        run(goal, tactic, ENV.lemmas)
    assert reason in refused.value.reason
    assert refused.value.kind == ("timeout" if "more steps" in reason else "refused")


def test_every_tactic_is_shown_at_work():
    assert {tactic.split()[0].rstrip(".") for _, tactic, _ in WORK} == set(TACTICS)
