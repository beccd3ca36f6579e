"""How many tactics per second the embedded environment runs on one core, and how many proofs it checks.

Run it as ``python -m bench.kernel_steps``. Aim: 50,000 steps per second on propositional goals. What is measured is
``env.step`` in batches of 256 states: replayed proofs, each under many renamings, so that few formulas and texts are
met twice. "cached": the same batches again, when tactics and formulas have been read and printed before, as in a search, which meets a
formula many times. Texts of goals are part of it, except where it says so. Median of five, smallest and largest; processor
seconds, which a busy machine changes less.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from sparring.envs import printing, tactics
from sparring.envs.embedded import KernelEnv, Lemma
from sparring.envs.tactics import run
from sparring.game import Goals, make_task

RENAMINGS, BATCH, TURNS = 100, 256, 5
PROPOSITIONS = {
    "forall A B, A \\/ B -> B \\/ A": "intro h; destruct h as [a | b]; right; exact a; left; assumption",
    "forall A B C, (A -> B -> C) -> A /\\ B -> C": "intros f g; apply f; destruct g; assumption; cases g; assumption",
    "forall A B C, (A -> B) -> (B -> C) -> A -> C": "intros f g a; apply g; apply f; exact a",
    "forall A B C, A /\\ (B \\/ C) -> A /\\ B \\/ A /\\ C": (
        "intro h; destruct h as [a b]; destruct b as [b | c]; left; split; exact a; exact b; right; split; exact a; exact c"
    ),
    "forall A, ~ ~ (A \\/ ~ A)": "intro h; apply h; right; intro a; apply h; left; exact a",
    "forall A B, ~ (A \\/ B) -> ~ A /\\ ~ B": "intro h; split; intro a; apply h; left; exact a; intro b; apply h; right; exact b",
}
ARITHMETIC = {
    "forall A B C, A + (B + C) = A + B + C": "intros a b c; induction a; simpl; rfl; simpl; rewrite ih; rfl",
    "forall A B, A + B = B + A": (
        "intros a b; induction a; rewrite add_zero; rfl; simpl; rewrite ih; rewrite add_succ; rfl"
    ),
    "forall A, exists B, A = B + B \\/ A = S (B + B)": (
        "intro n; induction n; exists 0; left; rfl; destruct ih as [k e]; destruct e as [e | e]; exists k; right; rewrite e; rfl; "
        "exists (S k); left; rewrite e; simpl; rewrite add_succ; rfl"
    ),
}  # fmt: skip
LIBRARY = [
    Lemma("add_zero", "forall x, x + 0 = x", "intro x\ninduction x\nrfl\nsimpl\nrewrite ih\nrfl"),
    Lemma("add_succ", "forall x y, x + S y = S (x + y)", "intros x y\ninduction x\nrfl\nsimpl\nrewrite ih\nrfl"),
]

Tries = list[tuple[Goals, str]]


def renamed(proofs: dict[str, str]) -> list[tuple[str, str]]:
    """(statement, script), each with many names for what it is about."""
    found: list[tuple[str, str]] = []
    for number in range(RENAMINGS):
        for statement, script in proofs.items():
            for letter in "ABC":
                statement = statement.replace(letter, f"{letter}{number}")
            found.append((statement, script.replace("; ", "\n")))
    return found


def tries_of(env: KernelEnv, proofs: list[tuple[str, str]]) -> Tries:
    """Every state of every proof with the tactic that it is left by."""
    found: Tries = []
    for statement, script in proofs:
        state: Any = env.start(make_task(statement))
        for line in script.splitlines():
            found.append((state, line))
            [state] = env.step([found[-1]])
    return found


def forget() -> None:
    """Nothing has been read or printed before."""
    tactics.command.cache_clear()
    printing.format_closed.cache_clear()


def measure(label: str, count: int, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> None:
    rates: list[float] = []
    for _ in range(TURNS):
        before()
        begun = time.process_time()
        work()
        rates.append(count / (time.process_time() - begun))
    print(f"{label:48} {median(rates):9,.0f} per second ({min(rates):,.0f} to {max(rates):,.0f})")


def main() -> None:
    env = KernelEnv(LIBRARY)
    for kind, proofs in (("propositions", renamed(PROPOSITIONS)), ("arithmetic", renamed(ARITHMETIC))):
        tries = tries_of(env, proofs)
        batches = [tries[start : start + BATCH] for start in range(0, len(tries), BATCH)]

        def steps(batches: list[Tries] = batches) -> None:
            for batch in batches:
                env.step(batch)

        def without_texts(tries: Tries = tries) -> None:
            for state, tactic in tries:
                run(state.handle[0], tactic, env.lemmas)

        def checks(proofs: list[tuple[str, str]] = proofs) -> None:
            for statement, script in proofs:
                assert env.check(make_task(statement), script).solved

        print(f"{kind}: {len(tries)} steps of {len(proofs)} proofs")
        measure("  steps, nothing met before", len(tries), steps, forget)
        measure("  steps, cached", len(tries), steps)
        measure("  steps, cached, without texts", len(tries), without_texts)
        measure("  checks of a proof from its text", len(proofs), checks)


if __name__ == "__main__":
    main()
