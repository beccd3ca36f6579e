"""Theorems with proofs: random statements of all families that the expert proves, none of them the same as another.

``python -m sparring.worlds.theorems`` makes the splits again, as ``theorem_splits.py`` reads them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count, islice
from random import Random

from sparring.envs.embedded import KernelEnv
from sparring.envs.kernel import Expr
from sparring.envs.printing import Statement, format_statement
from sparring.game import Goals, Proved, make_task, stable_hash
from sparring.worlds.expert import Expert, style_of
from sparring.worlds.induction import INDUCTION
from sparring.worlds.keys import formula_key
from sparring.worlds.lemmas import LIBRARY, RESERVED
from sparring.worlds.novel import NOVEL
from sparring.worlds.numbers import ALGEBRA, MIXED
from sparring.worlds.propositions import LOGIC, Family
from sparring.worlds.quantifiers import QUANTIFIED
from sparring.worlds.theorem_splits import FILE

SEED = "theorems-1"

GROUPS: dict[str, tuple[float, dict[str, Family]]] = {
    "logic": (0.3, LOGIC),
    "quantified": (0.22, QUANTIFIED),
    "algebra": (0.2, ALGEBRA),
    "induction": (0.14, INDUCTION),
    "mixed": (0.14, MIXED),
}
"""How often a statement is drawn from which group of families; within a group all families are as likely."""

SHORTEST, LONGEST = 3, 12
"""Steps of a demonstration, and of whatever is like one."""
HARD = (15, 30)
"""Steps of the expert's proofs in ``hard``: 1.25 to 2.5 times the longest demonstration."""
HARDER = (13, 20)
"""Steps of the harder part of the pool."""

SIZES = {"train": 2500, "pool": 1500, "validation": 200, "test": 300, "novel": 200, "hard": 300}
MOST_NOVEL = 28
"""Theorems in ``novel`` that need the same reserved lemmas."""
POOL_HARDER = 0.33
"""The share of the pool that is longer than any demonstration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Theorem:
    """A statement and the expert's proof of it."""

    text: str
    family: str
    key: int
    script: tuple[str, ...]
    premises: tuple[str, ...]
    """Lemmas that the script uses."""
    branches: int
    """Goals that its tactics opened beyond the one each worked on."""

    @property
    def difficulty(self) -> int:
        """Steps of the expert's proof plus branches: what a player has to get right, and in how many places."""
        return len(self.script) + self.branches


@cache
def environment() -> KernelEnv:
    return KernelEnv(LIBRARY)


@cache
def lemma_formulas() -> Mapping[str, Expr]:
    """The lemmas that the expert may use: those of arithmetic. What is propositional it proves by itself."""
    return {name: theorem.formula for name, theorem in environment().lemmas.items() if not theorem.symbols}


@cache
def library_keys() -> frozenset[int]:
    """Keys of the lemmas: a theorem that is one of them would be no theorem."""
    return frozenset(formula_key(Statement(theorem.symbols, theorem.formula)) for theorem in environment().lemmas.values())


def premises_of(script: tuple[str, ...]) -> tuple[str, ...]:
    """The lemmas that a script names, sorted."""
    return tuple(sorted({word for line in script for word in re.findall(r"[A-Za-z_0-9']+", line)} & environment().lemmas.keys()))


def branches_of(text: str, script: tuple[str, ...]) -> int | None:
    """How many goals a proof opens beyond the ones it works on; None if it is no proof."""
    env = environment()
    if not env.check(make_task(text), "\n".join(script)).solved:
        return None
    state, branches = env.start(make_task(text)), 0
    for line in script:
        assert isinstance(state, Goals), "it was checked"
        (after,) = env.step([(state, line)])
        if isinstance(after, Proved):
            break
        assert isinstance(after, Goals), "it was checked"
        branches += max(0, len(after.texts) - len(state.texts))
        state = after
    return branches


# ------------------------------------------------------------------------------------------------ drawing


TRIES = 12
"""Draws from one group before another one has its turn."""


def draw(stream: str, number: int, sizes: tuple[int, ...]) -> Iterator[tuple[str, Statement]]:
    """Some random statements, with their families, all from the group whose turn it is."""
    rng = Random(stable_hash(SEED, stream, number))
    weights = [weight for weight, _ in GROUPS.values()]
    _, families = rng.choices(list(GROUPS.values()), weights)[0]
    for _ in range(TRIES):
        name = rng.choice(list(families))
        found = families[name](rng, rng.choice(sizes))
        if found and not is_dull(found.formula):
            yield name, found


def is_dull(formula: Expr) -> bool:
    """Whether it says t = t somewhere, or has the same premise twice."""
    premises: list[Expr] = []
    rest = formula
    while rest[0] in ("all", "imp"):
        premises += [rest[1]] if rest[0] == "imp" else []
        rest = rest[-1]
    if len(set(premises)) < len(premises) or (formula[0] == "eq" and formula[1] == formula[2]):
        return True
    return formula[0] not in ("eq", "pred") and any(is_dull(part) for part in formula[1:])


def prove(family: str, statement: Statement, reserved: bool = False) -> Theorem | None:
    """The theorem, where the expert proves it; ``reserved``: it may use, and uses, reserved lemmas, and cannot do without."""
    text = format_statement(statement)
    style = style_of(text, inductive=family in INDUCTION)
    usual = {name: formula for name, formula in lemma_formulas().items() if name not in RESERVED}
    lines = Expert(lemma_formulas() if reserved else usual).prove(statement, style)
    if lines is None:
        return None
    script = tuple(lines)
    premises = premises_of(script)
    if reserved and (RESERVED.isdisjoint(premises) or Expert(usual).prove(statement, style) is not None):
        return None
    branches = branches_of(text, script)
    if branches is None:
        return None
    return Theorem(text=text, family=family, key=formula_key(statement), script=script, premises=premises, branches=branches)


def theorems(stream: str, sizes: tuple[int, ...], seen: set[int], steps: tuple[int, int]) -> Iterator[Theorem]:
    """Theorems without end, with that many steps, none with a key in ``seen``, to which theirs are added."""
    tried: set[int] = set()
    for number in count():
        for family, statement in draw(stream, number, sizes):
            key = formula_key(statement)
            if key in seen or key in tried:
                continue
            tried.add(key)
            theorem = prove(family, statement)
            if theorem and steps[0] <= len(theorem.script) <= steps[1]:
                seen.add(theorem.key)
                yield theorem
                break


def novel_theorems(seen: set[int], most: int) -> Iterator[Theorem]:
    """Theorems without end that need a reserved lemma; at most ``most`` need the same ones."""
    needed: Counter[frozenset[str]] = Counter()
    for number in count():
        rng = Random(stable_hash(SEED, "novel", number))
        name = rng.choice(list(NOVEL))
        found = NOVEL[name](rng, 1)
        if found is None or is_dull(found.formula) or formula_key(found) in seen:
            continue
        theorem = prove(name, found, reserved=True)
        if theorem is None or not SHORTEST <= len(theorem.script) <= LONGEST:
            continue
        lemmas = RESERVED.intersection(theorem.premises)
        if needed[lemmas] < most:
            needed[lemmas] += 1
            seen.add(theorem.key)
            yield theorem


# ------------------------------------------------------------------------------------------------ splits


def build(sizes: Mapping[str, int] = SIZES) -> Iterator[tuple[str, Theorem]]:
    """(split, theorem) for all splits. Which split a theorem goes to is decided by its key, as long as there is room."""
    seen = set(library_keys())
    harder = round(sizes["pool"] * POOL_HARDER)
    usual = {"train": sizes["train"], "pool": sizes["pool"] - harder, "validation": sizes["validation"], "test": sizes["test"]}
    yield from _dealt(theorems("usual", (1, 1, 2, 2, 3), seen, (SHORTEST, LONGEST)), usual)
    yield from _dealt(theorems("hard", (2, 3, 4, 5), seen, HARD), {"hard": sizes["hard"]})
    yield from _dealt(theorems("harder", (2, 3, 4), seen, HARDER), {"pool": harder})
    yield from _novel(seen, sizes["novel"])


def _novel(seen: set[int], size: int) -> Iterator[tuple[str, Theorem]]:
    for theorem in islice(novel_theorems(seen, MOST_NOVEL), size):
        yield "novel", theorem


def _dealt(stream: Iterator[Theorem], room: dict[str, int]) -> Iterator[tuple[str, Theorem]]:
    room = {name: count for name, count in room.items() if count}
    while room:
        theorem = next(stream)
        rng = Random(stable_hash("deal", theorem.key))
        name = rng.choices(list(room), list(room.values()))[0]
        room[name] -= 1
        if not room[name]:
            del room[name]
        yield name, theorem


def row_of(split: str, theorem: Theorem) -> dict[str, object]:
    """A line of the file; the proof is shown for ``train`` alone."""
    row = {"split": split, **asdict(theorem), "steps": len(theorem.script), "difficulty": theorem.difficulty}
    row["script"] = "\n".join(theorem.script)
    if split != "train":
        del row["script"]
    return row


def main() -> None:
    """Writes the file of splits anew."""
    FILE.parent.mkdir(exist_ok=True)
    rows = [json.dumps(row_of(split, theorem), ensure_ascii=False) for split, theorem in build()]
    FILE.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
