"""Proofs for the tests of the printers: by hand, one for every step; by the expert; and by chance."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from sparring.envs.embedded import KernelEnv, Lemma, root
from sparring.envs.goals import Goal, TacticError
from sparring.envs.tactics import run
from sparring.worlds.lemmas import LIBRARY
from sparring.worlds.theorem_splits import split


def lemma(name: str, statement: str, script: str) -> Lemma:
    return Lemma(name, statement, "\n".join(line.strip() for line in script.split(";")))


PREDICATES = (
    lemma(
        "both_for_all",
        "forall (P Q : N -> Prop), (forall x, P x /\\ Q x) -> (forall x, P x) /\\ (forall x, Q x)",
        "intro h; split; intro x; destruct (h x) as [h1 h2]; exact h1; intro x; destruct (h x) as [h1 h2]; exact h2",
    ),
    lemma(
        "from_related",
        "forall (P : N -> Prop) (R : N -> N -> Prop) q, (forall x, P x -> q) -> (forall x y, R x y -> P x) -> (exists x y, R x y) -> q",
        "intros h h1 h2; destruct h2 as [x h3]; destruct h3 as [y h4]; apply (h x); apply (h1 x y); exact h4",
    ),
)
EVERY_STEP = (
    lemma("step_and", "forall p q, p /\\ q -> (q \\/ p) /\\ True", "intro h; destruct h as [h1 h]; split; left; exact h; split"),
    lemma("step_or", "forall p q, p \\/ q -> q \\/ p", "intro h; destruct h as [h | h1]; right; exact h; left; exact h1"),
    lemma(
        "step_exists",
        "forall (P : N -> Prop), (exists x, P (S x)) -> exists x, P x",
        "intro h; destruct h as [x h]; exists (S x); exact h",
    ),
    lemma("step_false", "forall p x, x = x -> False -> p", "intros x h h1; clear h; clear x; exfalso; destruct h1"),
    lemma("step_falsity", "forall p q, p -> ~ p -> q", "intros h h1; contradiction"),
    lemma(
        "step_revert",
        "forall (P : N -> Prop) x, P x -> x = x -> P x",
        "intros x h h1; revert h; revert x; intros y h h1; exact h1",
    ),
    lemma("step_have", "forall x, S x + 0 = S x", "intro x; have h : x + 0 = x; exact (add_0_r x); simpl; rewrite h; rfl"),
    lemma(
        "step_pose",
        "forall p q r, (p -> q -> r) -> p -> q -> r",
        "intros h h1 h2; have h3 := h h1; specialize (h h1 h2); exact h",
    ),
    lemma(
        "step_apply",
        "forall p q r, (p -> q -> r) -> p -> (p -> q) -> r",
        "intros h h1 h2; apply h; exact h1; apply h2 in h1; exact h1",
    ),
    lemma("step_apply_in", "forall p q r, (p -> q -> r) -> p -> q -> r", "intros h h1 h2; apply h in h2; exact h2; exact h1"),
    lemma(
        "step_compute",
        "forall x y, S x + y = 0 + S y -> S (0 + y) = 1 * S (x + y)",
        "intros x y h; simpl in h; simpl; symmetry in h; rewrite h; rewrite add_0_r; symmetry; rfl",
    ),
    lemma(
        "step_rewrite",
        "forall (P : N -> N -> Prop) x y, x = y -> P x x -> P y y -> P y y /\\ P x x /\\ P y y /\\ P x x /\\ P x y /\\ P y x",
        "intros x y h h1 h2; split; rewrite h in h1; exact h1; split; rewrite <- h in h2; exact h2; split; rewrite <- h at 2;"
        "rewrite <- h; exact h1; split; rewrite h at 1; rewrite h; exact h2; split; rewrite h in h1 at 2; exact h1;"
        "rewrite <- h in h2 at 2; exact h2",
    ),
    lemma(
        "step_rewrite_if",
        "forall (P : N -> Prop) x y, (x = 0 -> x = y) -> x = 0 -> P x -> P (x + x) -> P y /\\ P x /\\ P (x + y) /\\ P y",
        "intros x y h h1 h2 h3; split; rewrite h in h2; exact h2; exact h1; split; rewrite h; rewrite <- h; exact h2; exact h1;"
        "exact h1; split; rewrite h in h3 at 2; exact h3; exact h1; rewrite <- h at 1; exact h2; exact h1",
    ),
    lemma("step_rewrite_self", "forall x y, x = y -> y = y", "intros x y h; rewrite h in h; exact h"),
    lemma("step_rewrite_itself", "forall x y, x = y -> x = x", "intros x y h; rewrite <- h in h; exact h"),
    lemma(
        "step_induction",
        "forall (P : N -> Prop) x y, x = y -> P 0 -> (forall z, P z -> P (S z)) -> P x",
        "intros x y h h1 h2; clear h; clear y; induction x as [| z ih]; exact h1; apply h2; exact ih",
    ),
    lemma(
        "step_carried",
        "forall x y z, S x = y -> x = z -> S z = y",
        "intros x y z h h1; revert h1; revert h; revert z; induction x; intros z h h1; rewrite <- h1; exact h; intros z h h1;"
        "rewrite <- h1; exact h",
    ),
    lemma(
        "step_cases",
        "forall x y, S (S x) + 0 = S (S y) -> 1 = S (S x) -> S (S x) = 1 -> x = 3",
        "intros x y h h1 h2; induction x; injection h as h3; injection h3; discriminate h1; destruct x as [| z]; discriminate h2;"
        "discriminate h1",
    ),
    lemma(
        "step_predicates",
        "forall (P Q : N -> Prop) x, (forall y, P (y + 0) /\\ (Q y \\/ y = 0)) -> P (x + 0) /\\ (forall y, Q y \\/ y = 0)",
        "intros x h; apply both_for_all in h; destruct h as [h1 h2]; split; exact (h1 x); exact h2",
    ),
    lemma(
        "step_premises",
        "forall (P Q : N -> Prop) q, (forall x, P (S x) -> q) -> (forall x y, P (S x) /\\ Q y -> P (S x)) -> "
        "(exists x y, P (S x) /\\ Q y) -> q",
        "intros h h1 h2; apply (from_related h h1); exact h2",
    ),
)
WEIRD = (
    "end",
    "match",
    "fix",
    "O",
    "I",
    "add",
    "_",
    "__",
    "h'",
    "add_comm",
    "S_inj",
    "eq_ind",
    "theorem",
    "by",
    "h_",
    "set_option",
    "x'y",
)


def weird_names() -> Iterator[Lemma]:
    """Each name as that of a predicate, a variable and a hypothesis."""
    for number, name in enumerate(WEIRD):
        yield lemma(f"weird_predicate_{number}", f"forall ({name} : N -> Prop) x, {name} x -> {name} x", "intros x h; exact h")
        yield lemma(
            f"weird_variable_{number}",
            f"forall {name}, {name} + 0 = {name}",
            f"intro {name}; induction {name}; rfl; simpl; rewrite ih; rfl",
        )
        yield lemma(f"weird_hypothesis_{number}", "forall x y, x = y -> y = x", f"intros x y {name}; rewrite {name}; rfl")


def shipped_proofs(count: int) -> Iterator[Lemma]:
    """Demonstrations from all over ``train``."""
    tasks = split("train")
    for number in range(count):
        task = tasks[number * len(tasks) // count]
        yield Lemma(f"theorem_{number}", task.text, task.meta["script"])


WALK = (
    "forall (p q : Prop) (P : N -> Prop), False -> forall x y, p /\\ q \\/ x = y -> (forall z, P z -> z + x = S y) -> "
    "(exists z, S x = z) -> S (x + y) = S (S y + x) -> S x * y = 0 -> (P x <-> P (y + 0)) -> x + y * x = 0 + y -> "
    "P (S x + y) /\\ (exists z, x + z = y)"
)


def walk(seed: int) -> Lemma:
    """Random tactics, 25 of them, that proves WALK in the end, since it assumes False (as f)."""
    rng = Random(seed)
    lines = ["intro f", "intros x y", "intros a b c"]
    goals = [root(WALK)]
    for line in lines:
        goals[:1] = run(goals[0], line, WALKING.lemmas).goals
    for _ in range(300):
        if len(lines) == 25 or not goals:
            break
        line = "destruct f" if len(goals) > 5 else random_tactic(goals[0], rng)
        try:
            goals[:1] = run(goals[0], line, WALKING.lemmas).goals
        except TacticError:
            continue
        lines.append(line)
    return Lemma(f"walk_{seed}", WALK, "\n".join([*lines, *["destruct f" for _ in goals]]))


WALKING = KernelEnv(LIBRARY)


def random_tactic(goal: Goal, rng: Random) -> str:
    """A tactic that may well be refused; it leaves f alone."""
    hyps = [name for name, _ in goal.hyps if name != "f"] or ["a"]
    h, new, x = rng.choice(hyps), rng.choice(["h", "k'", "end", "add_comm", "_"]), rng.choice(goal.variables or ("x",))
    t = rng.choice([x, "0", f"(S {x} + 0)", f"({x} * 2)"])
    proof = rng.choice(
        [h, f"({h} {t})", f"({h} {rng.choice(hyps)})", "add_comm", f"(add_0_r {t})", f"(mul_comm {x} {t})", "le_zero"]
    )
    place = rng.choice(["", " at 1", " at 2", f" in {h}", f" at 2 in {h}"])
    return rng.choice(
        [
            *("split", "left", "right", "exfalso", "simpl", "symmetry", "trivial", f"intro {new}", f"exists {t}"),
            *(f"have {new} : P {t} -> {t} = {x}", f"have {new} := {proof}", f"specialize {proof}", f"apply {proof}"),
            *(f"apply {proof} in {h}", f"destruct {h}", f"cases {x}", f"destruct {x} as [| {new}]", f"induction {x}"),
            *(f"revert {h}", f"revert {x}", f"clear {h}", f"simpl in {h}", f"symmetry in {h}", f"discriminate {h}"),
            *(f"rewrite {proof}{place}", f"rewrite <- {proof}{place}", f"injection {h} as {new}"),
        ]
    )
