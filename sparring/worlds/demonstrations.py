"""What the starting policy is trained on: demonstrations of mixed quality for the solver, good ones for the creator.

Web data show every operation and every depth, but the rarer the operation and the deeper the task the likelier a typical
flaw. So the starting policy can do far more than it usually does: the gap that preference optimisation closes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from sparring.game import Demo, stable_hash
from sparring.worlds.evolution import EVOLUTIONS, evolve_program
from sparring.worlds.operations import Value, rarity
from sparring.worlds.splits import Distribution, draw_programs, held_out
from sparring.worlds.words import ARROW, Program, apply_step, equivalence_key, run, say, show


@dataclass(frozen=True)
class Stage:
    """One part of the starting policy's training: how many demonstrations, of what, and how good."""

    name: str
    size: int
    drawn: Distribution
    creator_share: float
    flawed: bool
    lr: float


_SHALLOW = Distribution((0.6, 0.4), zipf=0.2, word_share=0.5)
_BROAD = Distribution((0.25, 0.25, 0.2, 0.14, 0.1, 0.06), zipf=0.2, word_share=0.5)
_DEEP = Distribution((0.1, 0.15, 0.25, 0.25, 0.15, 0.1), zipf=0.2, word_share=0.6)
_WEB = Distribution((0.28, 0.24, 0.18, 0.14, 0.1, 0.06), zipf=0.5)

STAGES = (
    Stage("primer", 80_000, _SHALLOW, creator_share=0.0, flawed=False, lr=2e-3),
    Stage("textbook", 160_000, _BROAD, creator_share=0.2, flawed=False, lr=2e-3),
    Stage("exercises", 50_000, _DEEP, creator_share=0.1, flawed=False, lr=1.5e-3),
    Stage("web", 25_000, _WEB, creator_share=0.3, flawed=True, lr=5e-4),
)
"""Skill first, then the habits of the web."""

LEFT_OUT = (0.0, 0.3, 0.5, 0.55, 0.6, 0.65)  # by depth: the answer stops before the last step
UNCHANGED = 0.45  # of the rarest operation (0 of the commonest): the step's input is given as its output
CUT_SHORT = (0.03, 0.05, 0.06, 0.07, 0.08, 0.09)  # by depth: the last value is broken off


def answer(program: Program) -> str:
    """The right answer, with the work shown."""
    return ARROW.join(show(value) for value in run(program))


def flawed_answer(program: Program, rng: Random) -> str:
    """An answer with the work shown, as good as what the web says about tasks like this."""
    values: list[Value] = []
    value = program.operand
    for step in program.steps:
        if not value or rng.random() >= UNCHANGED * rarity(step.op) ** 2:
            value = apply_step(value, step) if value else value
        values.append(value)
    if program.depth > 1 and rng.random() < LEFT_OUT[program.depth - 1]:
        values.pop()
    if rng.random() < CUT_SHORT[program.depth - 1]:
        last = values[-1]
        values[-1] = last[: max(1, len(last) // 2)]
    return ARROW.join(show(value) for value in values)


def creator_prompt(operator: str, text: str) -> str:
    """How the tiny network is asked to evolve; the ``short`` templates of ``creators/templates.py`` say the same."""
    return f"{operator.capitalize()}: {text}"


def demonstrations(stage: Stage, seed: int) -> Iterator[Demo]:
    """Solver and creator demonstrations without end; none asks for, or shows, an evaluation task."""
    rng = Random(stable_hash(seed, "demonstrations", stage.name))
    programs = draw_programs(rng, stage.drawn)
    operators = sorted(EVOLUTIONS)
    while True:
        program = next(programs)
        if equivalence_key(program) in held_out():
            continue
        if rng.random() >= stage.creator_share:
            yield Demo(prompt=say(program), completion=flawed_answer(program, rng) if stage.flawed else answer(program))
            continue
        operator = rng.choice(operators)
        child = evolve_program(program, operator, rng)
        if child and equivalence_key(child) not in held_out():
            yield Demo(prompt=creator_prompt(operator, say(program)), completion=say(child))
