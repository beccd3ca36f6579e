"""The prompts of the words world: human, fresh human, and two evaluation sets that nothing is ever trained on or tuned on.

Human prompts are imbalanced as real ones are: mostly one or two steps, operations by Zipf's law. The hard set asks for three
to five steps of the rarer operations, and so does ``tune``, on which hyperparameters are chosen. No two splits share a text or an
equivalent program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from sparring.errors import SparringError
from sparring.game import Task, stable_hash
from sparring.worlds.operations import NUMBER_OPERATIONS, OPERATIONS, WORD_OPERATIONS, Operation, Value, rarity
from sparring.worlds.words import Malformed, Program, Step, equivalence_key, parse, run, task_of

_ONSETS = (
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "j",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "st",
    "br",
    "cl",
    "gr",
    "pl",
    "tr",
    "sh",
)
_VOWELS = ("a", "e", "i", "o", "u", "ea", "ou")
_CODAS = ("", "", "n", "r", "s", "t", "l", "m", "nd", "ck", "p")
_SPOKEN = frozenset(word for op in OPERATIONS.values() for word in op.phrase.split()) | {"then", "word", "numbers"}


@dataclass(frozen=True)
class Distribution:
    """How programs are drawn: weights of depth 1, 2, …; the Zipf exponent over operations; only operations at least this rare."""

    depths: tuple[float, ...]
    zipf: float
    rarest: float = 0.0
    word_share: float = 0.65


HUMAN = Distribution(depths=(0.5, 0.33, 0.11, 0.04, 0.015, 0.005), zipf=1.1)
HARD = Distribution(depths=(0.0, 0.0, 0.4, 0.35, 0.25), zipf=0.3, rarest=0.35)

SEED = "words-1"
SIZES = {"easy": 500, "hard": 500, "human": 2000, "fresh": 6000, "tune": 500}
_DRAWN_FROM = {"easy": HUMAN, "hard": HARD, "human": HUMAN, "fresh": HUMAN, "tune": HARD}


def draw_operand(rng: Random, word_share: float) -> Value:
    if rng.random() >= word_share:
        return tuple(rng.sample(range(13), rng.randint(3, 5)))
    while True:
        syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.randint(1, 2)))
        word = "".join(syllables)
        if 3 <= len(word) <= 6 and len(set(word)) == len(word) and word not in _SPOKEN:
            return word


@cache
def _weights(kind: str, zipf: float, rarest: float) -> tuple[tuple[Operation, ...], tuple[float, ...]]:
    family = WORD_OPERATIONS if kind == "word" else NUMBER_OPERATIONS
    chosen = tuple(op for op in family if rarity(op.name) >= rarest)
    return chosen, tuple((rank + 1) ** -zipf for rank in range(len(chosen)))


def draw_step(value: Value, rng: Random, how: Distribution) -> Step:
    family, weights = _weights("word" if isinstance(value, str) else "numbers", how.zipf, how.rarest)
    op = rng.choices(family, weights)[0]
    return Step(op.name, op.draw(value, rng))


def _draw(rng: Random, how: Distribution) -> Program:
    depth = rng.choices(range(1, len(how.depths) + 1), how.depths)[0]
    program = Program(draw_operand(rng, how.word_share), ())
    value: Value = program.operand
    for _ in range(depth):
        program = Program(program.operand, (*program.steps, draw_step(value, rng, how)))
        value = run(program)[-1]
    return program


def draw_programs(rng: Random, how: Distribution) -> Iterator[Program]:
    """Proper programs without end, drawn from a distribution (rejected until proper)."""
    while True:
        try:
            yield _draw(rng, how)
        except Malformed:
            continue


@cache
def _all_splits() -> dict[str, tuple[Task, ...]]:
    seen: set[int] = set()
    splits: dict[str, tuple[Task, ...]] = {}
    for name, size in SIZES.items():
        tasks: list[Task] = []
        for program in draw_programs(Random(stable_hash(SEED, name)), _DRAWN_FROM[name]):
            key = equivalence_key(program)
            if key not in seen:
                seen.add(key)
                tasks.append(task_of(program))
            if len(tasks) == size:
                break
        splits[name] = tuple(tasks)
    return splits


def split(name: str) -> tuple[Task, ...]:
    """The tasks of ``human``, ``fresh``, ``easy``, ``hard`` or ``tune``."""
    if name not in SIZES:
        raise SparringError(f"the words world has no split {name!r}; it has {', '.join(SIZES)}")
    return _all_splits()[name]


@cache
def held_out() -> frozenset[int]:
    """Equivalence keys of both evaluation sets: nothing with such a key may be demonstrated, proposed or trained on."""
    return frozenset(equivalence_key(parse(task.text)) for name in ("easy", "hard") for task in split(name))
