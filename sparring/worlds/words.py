"""The words world: short English instructions over a word or a list of small numbers, and a program that grades answers.

    Reverse the word stone, then write it in capitals.      ->      ENOTS        or, with the work shown,   enots -> ENOTS

A program is an operand and one to six steps. In a proper program every step gives a value not met before, so leaving a step
out is always a mistake. The text and the program determine each other: ``parse(say(program)) == program``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparring.game import Task, make_task, stable_hash
from sparring.worlds.operations import MAX_LETTERS, MAX_NUMBER, MAX_NUMBERS, OPERATIONS, Operation, Value

MAX_DEPTH = 6
ARROW = " -> "
MAX_ANSWER_CHARS = 160


class Malformed(ValueError):
    """A text that is no task of this world; the message says why in a few words that a table can group by."""


@dataclass(frozen=True)
class Step:
    op: str
    args: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class Program:
    operand: Value
    steps: tuple[Step, ...]

    @property
    def depth(self) -> int:
        return len(self.steps)


# -- text ---------------------------------------------------------------------------------------------------------------


def show(value: Value) -> str:
    return value if isinstance(value, str) else " ".join(map(str, value))


def _clause(step: Step, subject: str) -> str:
    return OPERATIONS[step.op].phrase.format(x=subject, **dict(zip("ab", step.args, strict=False)))


def say(program: Program) -> str:
    """The instruction in English."""
    word = isinstance(program.operand, str)
    subject = f"the {'word' if word else 'numbers'} {show(program.operand)}"
    pronoun = "it" if word else "them"
    clauses = [_clause(step, pronoun if i else subject) for i, step in enumerate(program.steps)]
    text = ", then ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def _pattern(op: Operation, first: bool) -> re.Pattern[str]:
    pronoun = "it" if op.takes == "word" else "them"
    operand = r"the word (?P<x>[A-Za-z]+)" if op.takes == "word" else r"the numbers (?P<x>[0-9]{1,2}(?: [0-9]{1,2})*)"
    slots = {key: f"(?P<{key}>{'[a-z]' if slot == 'l' else '[0-9]{1,2}'})" for key, slot in zip("ab", op.slots, strict=False)}
    return re.compile(op.phrase.format(x=operand if first else pronoun, **slots))


_FIRST = {name: _pattern(op, first=True) for name, op in OPERATIONS.items()}
_LATER = {name: _pattern(op, first=False) for name, op in OPERATIONS.items()}


def _read_clause(clause: str, patterns: Mapping[str, re.Pattern[str]], takes: str | None) -> tuple[Step, str | None]:
    for name, pattern in patterns.items():
        match = pattern.fullmatch(clause)
        if match and takes in (None, OPERATIONS[name].takes):
            found = match.groupdict()
            args = tuple(found[k] if s == "l" else int(found[k]) for k, s in zip("ab", OPERATIONS[name].slots, strict=False))
            return Step(name, args), found.get("x")
    raise Malformed("not an instruction of this world")


def parse(text: str) -> Program:
    """The program of an instruction; raises Malformed."""
    body = text.strip().removesuffix(".")
    if not body:
        raise Malformed("empty")
    clauses = (body[0].lower() + body[1:]).split(", then ")
    first, operand = _read_clause(clauses[0], _FIRST, None)
    assert operand is not None
    takes = OPERATIONS[first.op].takes
    value: Value = operand if takes == "word" else tuple(map(int, operand.split()))
    return Program(value, (first, *(_read_clause(clause, _LATER, takes)[0] for clause in clauses[1:])))


# -- meaning ------------------------------------------------------------------------------------------------------------


def _fits(value: Value) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= MAX_LETTERS
    return 0 < len(value) <= MAX_NUMBERS and all(0 <= i <= MAX_NUMBER for i in value)


def apply_step(value: Value, step: Step) -> Value:
    return OPERATIONS[step.op].apply(value, *step.args)


def run(program: Program) -> tuple[Value, ...]:
    """The value after each step (reference interpreter); raises Malformed for a program that is not proper."""
    if not _fits(program.operand):
        raise Malformed("operand too long")
    if program.depth > MAX_DEPTH:
        raise Malformed("too deep")
    values: list[Value] = []
    value = program.operand
    for i, step in enumerate(program.steps):
        after = apply_step(value, step)
        if not _fits(after):
            raise Malformed("a value is empty or too long")
        if OPERATIONS[step.op].gives == "total" and i < program.depth - 1:
            raise Malformed("goes on after a total")
        if after == program.operand or after in values:
            raise Malformed("a step changes nothing or undoes another")
        values.append(after)
        value = after
    return tuple(values)


_BATTERY: tuple[Value, ...] = (
    "stone",
    "Banana",
    "queue",
    "xylem",
    "aabbcc",
    "level",
    "OPaquely",
    (3, 1, 4, 1, 5),
    (9, 2, 6),
    (0, 8, 7, 8),
    (12, 40, 33, 5),
)


def equivalence_key(program: Program) -> int:
    """Equal for two tasks that ask for the same: same operand, same function (as far as a battery of inputs can tell).

    "Reverse the word stone, then write it in capitals." and the two steps the other way round share a key.
    """
    kind = type(program.operand)
    outputs: list[str] = []
    for probe in (program.operand, *(value for value in _BATTERY if type(value) is kind)):
        value: Value = probe
        for step in program.steps:
            value = apply_step(value, step) if value else value
        outputs.append(show(value))
    return stable_hash(show(program.operand), *outputs)


# -- tasks --------------------------------------------------------------------------------------------------------------


def task_of(program: Program) -> Task:
    """The task of a proper program, with its gold answer and the values on the way."""
    return make_task(say(program), meta=describe(program))


def describe(program: Program) -> dict[str, Any]:
    """What the grader and the reports need to know about a program; raises Malformed."""
    values = run(program)
    return {
        "input": show(program.operand),
        "steps": [show(value) for value in values],
        "gold": show(values[-1]),
        "ops": [step.op for step in program.steps],
        "depth": program.depth,
        "key": equivalence_key(program),
    }


def read(text: str) -> Mapping[str, Any] | str:
    """The gate of created prompts: the task's meta, or the reason why this world cannot grade it."""
    try:
        return describe(parse(text))
    except Malformed as reason:
        return str(reason)


# -- grading ------------------------------------------------------------------------------------------------------------

_DRESS = " \t\n\"'`“”‘’*."


def final_answer(answer: str) -> str:
    """What a strict but fair reader takes as the answer: what follows the last arrow, without quotes, stars, full stop, spaces."""
    last = re.split("->|=>|→", answer)[-1].strip(_DRESS)
    numbers = re.fullmatch(r"[\[(]?([0-9]+(?:[ ,]+[0-9]+)*)[\])]?", last)
    return " ".join(re.findall(r"[0-9]+", last)) if numbers else last


def _parts(text: str) -> Sequence[str]:
    return text.split() if text[:1].isdigit() else text


def similarity(a: str, b: str) -> float:
    """1 - Levenshtein distance / longer length, over letters or numbers, in [0, 1]."""
    x, y = _parts(a), _parts(b)
    row = list(range(len(y) + 1))
    for i, left in enumerate(x, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(y, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return 1.0 - row[-1] / max(len(x), len(y), 1)


def grade(task: Task, answer: str) -> tuple[float, bool, str]:
    """(score in [0, 1], solved, why). The right final answer is 1.

    Partial credit: stopping after step j of d earns 0.5 j/d; otherwise up to 0.4 for how much closer the answer is to the
    gold one than half of it, than the untouched input and than every value on the way, so that neither empty, constant, copied nor
    overlong answers earn anything by themselves.
    """
    gold, steps, start = task.meta["gold"], task.meta["steps"], task.meta["input"]
    if len(answer) > MAX_ANSWER_CHARS:
        return 0.0, False, f"longer than {MAX_ANSWER_CHARS} characters"
    final = final_answer(answer)
    if final == gold:
        return 1.0, True, "right"
    if not final:
        return 0.0, False, "empty"
    if final == start:
        return 0.0, False, "input unchanged"
    if final in steps[:-1]:
        done = steps.index(final) + 1
        return 0.5 * done / len(steps), False, f"stops after step {done} of {len(steps)}"
    free = max(0.5, *(similarity(value, gold) for value in (start, *steps[:-1])))
    closer = max(0.0, (similarity(final, gold) - free) / (1.0 - free)) if free < 1.0 else 0.0
    return 0.4 * closer, False, "close" if closer > 0 else "wrong"


def controls() -> list[tuple[Task, str, str]]:
    """Answers known to be good and bad, by which the grader itself is judged before a run starts."""
    texts = (
        "Reverse the word stone, then write it in capitals.",
        "Sort the numbers 3 1 2.",
        "Count the letters of the word stone.",
    )
    tasks = [make_task(text, meta=describe(parse(text))) for text in texts]
    corrupted = [(task, task.meta["gold"], bad) for task in tasks for bad in ("", task.meta["input"], task.meta["gold"] + "q9")]
    return [*corrupted, (tasks[0], "enots -> ENOTS", "enots")]
