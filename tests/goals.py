"""Goals to try tactics on, and the kernel's word on what a tactic made of one."""

from __future__ import annotations

from sparring.envs.embedded import KernelEnv, root
from sparring.envs.goals import Goal, format_goal
from sparring.envs.kernel import Expr, Fuel, Proof, abstract, prove
from sparring.envs.steps import Elaborated, unshadow
from sparring.envs.tactics import run
from tests.prover import LIBRARY

ENV = KernelEnv(LIBRARY)
TURNSTILE = "⊢ "


def goal_after(statement: str, *lines: str) -> Goal:
    """The first goal that the lines lead to."""
    goals = [root(statement)]
    for line in lines:
        goals[:1] = run(goals[0], line, ENV.lemmas).goals
    return goals[0]


def shown(goal: Goal) -> str:
    """The hypotheses and the conclusion on one line."""
    lines = format_goal(goal).splitlines()
    return "; ".join(line.removeprefix(TURNSTILE) for line in lines if not line.endswith("Prop"))


def closed(goal: Goal) -> Expr:
    """The goal as one formula."""
    formula = goal.conclusion
    for _, hyp in reversed(goal.hyps):
        formula = ("imp", hyp, formula)
    for name in reversed(goal.variables):
        formula = ("all", abstract(formula, ("var", name), Fuel()))
    return formula


def justify(goal: Goal, elaborated: Elaborated) -> None:
    """The kernel accepts that the goals left imply the goal."""
    given: list[Proof] = []
    for number, left in enumerate(elaborated.goals):
        proof: Proof = ("hyp", f"goal {number}")
        for name in left.variables:
            proof = ("all_elim", proof, ("var", name))
        for name, _ in left.hyps:
            proof = ("imp_elim", proof, ("hyp", name))
        given.append(proof)
    proof = elaborated.build(given)
    for name, hyp in reversed(goal.hyps):
        proof = ("imp_intro", name, hyp, proof)
    for name in reversed(goal.variables):
        proof = ("all_intro", name, proof)
    formula = closed(goal)
    for number, left in reversed(list(enumerate(elaborated.goals))):
        proof = ("imp_intro", f"goal {number}", closed(left), proof)
        formula = ("imp", closed(left), formula)
    prove(goal.symbols, formula, unshadow(proof), ENV.lemmas)
