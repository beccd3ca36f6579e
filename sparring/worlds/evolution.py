"""The symbolic creator of the words world: eva's evolving operators as edits of a program.

They write the demonstrations from which the tiny network learns the creator's role, and they are a creator of their own to
compare that network with (``creator.kind = "symbolic"``). Operators as in arXiv 2411.00062 sec. 3.2 / EvolInstruct.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from sparring.game import stable_hash
from sparring.worlds.operations import OPERATIONS, Value
from sparring.worlds.splits import Distribution, draw_operand, draw_step
from sparring.worlds.words import MAX_DEPTH, Malformed, Program, Step, parse, run, say

_CONSTRAINTS = frozenset(
    {"keep_first", "no_vowels", "drop_first", "drop_last", "change", "keep_even", "drop_first_number", "drop_last_number"}
)
_ANY = Distribution(depths=(1.0,), zipf=0.0)
_RARE = Distribution(depths=(1.0,), zipf=0.0, rarest=0.35)
_TRIES = 40


def _insert(program: Program, at: int, step: Step) -> Program:
    return Program(program.operand, (*program.steps[:at], step, *program.steps[at:]))


def _end(program: Program) -> int:
    """Where a step can still be added: before a closing total."""
    return program.depth - (OPERATIONS[program.steps[-1].op].gives == "total")


def _value_at(program: Program, at: int) -> Value:
    return (program.operand, *run(program))[at]


def _constrain(program: Program, rng: Random) -> Program:
    at = _end(program)
    step = draw_step(_value_at(program, at), rng, _ANY)
    while step.op not in _CONSTRAINTS:
        step = draw_step(_value_at(program, at), rng, _ANY)
    return _insert(program, at, step)


def _deepen(program: Program, rng: Random) -> Program:
    at = _end(program)
    return _insert(program, at, draw_step(_value_at(program, at), rng, _ANY))


def _reason(program: Program, rng: Random) -> Program:
    at = rng.randint(0, max(0, _end(program) - 1))
    return _insert(program, at, draw_step(_value_at(program, at), rng, _ANY))


def _concretise(program: Program, rng: Random) -> Program:
    """A step becomes one that spells out its arguments."""
    at = rng.randrange(program.depth)
    step = draw_step(_value_at(program, at), rng, _ANY)
    while not step.args:
        step = draw_step(_value_at(program, at), rng, _ANY)
    return Program(program.operand, (*program.steps[:at], step, *program.steps[at + 1 :]))


def _expand(program: Program, rng: Random) -> Program:
    """More material: a longer operand under the same steps."""
    if isinstance(program.operand, str):
        extra = [letter for letter in str(draw_operand(rng, word_share=1.0)) if letter not in program.operand]
        return Program(program.operand + "".join(extra[: rng.randint(1, 3)]), program.steps)
    extra = [number for number in range(13) if number not in program.operand]
    return Program((*program.operand, *rng.sample(extra, rng.randint(1, 2))), program.steps)


def _breadth(program: Program, rng: Random) -> Program:
    """A rarer prompt of the same domain and about the same length."""
    value: Value = draw_operand(rng, word_share=float(isinstance(program.operand, str)))
    made = Program(value, ())
    for _ in range(program.depth):
        made = Program(made.operand, (*made.steps, draw_step(value, rng, _RARE)))
        value = run(made)[-1]
    return made


EVOLUTIONS: dict[str, Callable[[Program, Random], Program]] = {
    "constrain": _constrain,
    "deepen": _deepen,
    "concretise": _concretise,
    "reason": _reason,
    "expand": _expand,
    "breadth": _breadth,
}


def evolve_program(program: Program, operator: str, rng: Random) -> Program | None:
    """A proper program that differs from its parent, or None where the operator finds none."""
    if program.depth >= MAX_DEPTH and operator in ("constrain", "deepen", "reason"):
        return None
    for _ in range(_TRIES):
        try:
            child = EVOLUTIONS[operator](program, rng)
            run(child)
        except Malformed:
            continue
        if child != program:
            return child
    return None


def mutate(text: str, operator: str, seed: int) -> str:
    """The evolved instruction; "" where the text is no task of this world or the operator finds nothing."""
    try:
        program = parse(text)
        child = evolve_program(program, operator, Random(stable_hash(seed, text, operator)))
    except Malformed:
        return ""
    return say(child) if child else ""
