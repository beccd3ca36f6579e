"""The primitive operations of the words world: what each does, how it is said, and how common it is.

A value is a word (``str``) or a list of small numbers (``tuple[int, ...]``). An operation takes one kind and gives one kind;
"total" operations (count, sum, largest) give a single number, which ends a program. Operations are listed from the most to
the least common: the rank is the Zipf rank of the human prompts and decides how flawed the demonstrations are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

Value = str | tuple[int, ...]
Kind = Literal["word", "numbers", "total"]

MAX_LETTERS = 12
MAX_NUMBERS = 6
MAX_NUMBER = 99
VOWELS = "aeiou"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """``phrase`` has the slot {x} for what it works on and {a}, {b} for its arguments; ``draw`` picks sensible arguments."""

    name: str
    takes: Kind
    gives: Kind
    phrase: str
    apply: Callable[..., Value]
    slots: str = ""  # one letter per argument: "l" a letter, "d" a number
    draw: Callable[[Any, Random], tuple[str | int, ...]] = lambda value, rng: ()


def _letter_of(value: str, rng: Random) -> str:
    return rng.choice(value).lower()


def _new_letter(value: str, rng: Random) -> str:
    """Not in the word: where letters repeat, copying needs counting, which the tiny network learns late."""
    return rng.choice([letter for letter in LETTERS if letter not in value.lower()])


def _new_number(value: tuple[int, ...], rng: Random) -> int:
    return rng.choice([number for number in range(13) if number not in value])


def _replace(word: str, old: str, new: str) -> str:
    return word.replace(old, new).replace(old.upper(), new.upper())


Apply = Callable[..., Value]
DrawArguments = Callable[[Any, Random], tuple[str | int, ...]]


def _nothing(value: Value, rng: Random) -> tuple[str | int, ...]:
    return ()


def _word(name: str, phrase: str, apply: Apply, slots: str = "", draw: DrawArguments = _nothing) -> Operation:
    return Operation(name=name, takes="word", gives="word", phrase=phrase, apply=apply, slots=slots, draw=draw)


def _numbers(name: str, phrase: str, apply: Apply, slots: str = "", draw: DrawArguments = _nothing) -> Operation:
    return Operation(name=name, takes="numbers", gives="numbers", phrase=phrase, apply=apply, slots=slots, draw=draw)


WORD_OPERATIONS: tuple[Operation, ...] = (
    _word("reverse", "reverse {x}", lambda w: w[::-1]),
    _word("capitals", "write {x} in capitals", lambda w: w.upper()),
    _word("drop_first", "drop the first letter of {x}", lambda w: w[1:]),
    _word("append", "put {a} after {x}", lambda w, a: w + a, "l", lambda v, r: (_new_letter(v, r),)),
    _word("drop_last", "drop the last letter of {x}", lambda w: w[:-1]),
    Operation(name="count", takes="word", gives="total", phrase="count the letters of {x}", apply=lambda w: (len(w),)),
    _word("keep_first", "keep the first {a} letters of {x}", lambda w, a: w[:a], "d", lambda v, r: (r.randint(2, 4),)),
    _word("prepend", "put {a} before {x}", lambda w, a: a + w, "l", lambda v, r: (_new_letter(v, r),)),
    _word("change", "change {a} in {x} to {b}", _replace, "ll", lambda v, r: (_letter_of(v, r), _new_letter(v, r))),
    _word("roll", "move the last letter of {x} to the front", lambda w: w[-1:] + w[:-1]),
    _word("no_vowels", "remove the vowels from {x}", lambda w: "".join(c for c in w if c.lower() not in VOWELS)),
    _word("swap_ends", "swap the ends of {x}", lambda w: w[-1] + w[1:-1] + w[0] if len(w) > 1 else w),
)

NUMBER_OPERATIONS: tuple[Operation, ...] = (
    _numbers("sort_up", "sort {x}", lambda n: tuple(sorted(n))),
    _numbers("reverse_numbers", "reverse {x}", lambda n: n[::-1]),
    Operation(name="largest", takes="numbers", gives="total", phrase="find the largest of {x}", apply=lambda n: (max(n),)),
    _numbers("add", "add {a} to each of {x}", lambda n, a: tuple(i + a for i in n), "d", lambda v, r: (r.randint(1, 3),)),
    _numbers("drop_first_number", "drop the first number of {x}", lambda n: n[1:]),
    _numbers("put_number", "put {a} after {x}", lambda n, a: (*n, a), "d", lambda v, r: (_new_number(v, r),)),
    Operation(name="smallest", takes="numbers", gives="total", phrase="find the smallest of {x}", apply=lambda n: (min(n),)),
    _numbers("drop_last_number", "drop the last number of {x}", lambda n: n[:-1]),
    _numbers("double", "double each of {x}", lambda n: tuple(2 * i for i in n)),
    _numbers("keep_even", "keep the even numbers of {x}", lambda n: tuple(i for i in n if i % 2 == 0)),
    _numbers("swap_numbers", "swap the ends of {x}", lambda n: (n[-1], *n[1:-1], n[0]) if len(n) > 1 else n),
)

OPERATIONS: dict[str, Operation] = {op.name: op for op in WORD_OPERATIONS + NUMBER_OPERATIONS}


def rarity(name: str) -> float:
    """0 for the most common operation of its kind of value, 1 for the rarest."""
    family = WORD_OPERATIONS if OPERATIONS[name].takes == "word" else NUMBER_OPERATIONS
    return next(i for i, op in enumerate(family) if op.name == name) / (len(family) - 1)
