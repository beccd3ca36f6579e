"""Goals: what a tactic works on, how it is shown, and how big it may get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count
from typing import Literal, NamedTuple

from sparring.envs.kernel import Expr, Fuel
from sparring.envs.printing import format_expr
from sparring.envs.reader import RESERVED, Malformed, brief, check_size

STEP_FUEL = 30_000
"""Elementary steps that one tactic may take: some hundredths of a second."""
MAX_GOALS = 64

VARIABLES = ("x", "y", "z", "u", "v", "w")
Hyp = tuple[str, Expr]


class TacticError(Exception):
    """The tactic is refused; ``reason`` is for people, ``kind`` is ``game.Rejected``'s."""

    def __init__(self, reason: str, kind: Literal["refused", "timeout"] = "refused") -> None:
        super().__init__(reason)
        self.reason: str = brief(reason)
        self.kind: Literal["refused", "timeout"] = kind


class Goal(NamedTuple):
    """``conclusion`` is to be proved from ``hyps`` for all numbers ``variables`` and all predicates ``symbols`` (with arities).

    No name means two things in a goal.
    """

    symbols: tuple[tuple[str, int], ...]
    variables: tuple[str, ...]
    hyps: tuple[Hyp, ...]
    conclusion: Expr

    def hyp(self, name: str) -> Expr | None:
        """What the hypothesis of that name says; None if there is none."""
        for known, formula in self.hyps:
            if known == name:
                return formula
        return None

    def names(self) -> set[str]:
        """Every name that means something here."""
        return {*(name for name, _ in self.symbols), *self.variables, *(name for name, _ in self.hyps)}


# ------------------------------------------------------------------------------------------------ names


def fresh(taken: Iterable[str], stem: str = "h") -> str:
    """The first of h, h1, h2, ... that is not taken."""
    known = set(taken)
    return next(name for turn in count() if (name := f"{stem}{turn or ''}") not in known)


def fresh_variable(taken: Iterable[str]) -> str:
    """The first of x, y, z, u, v, w, x1, ... that is not taken."""
    known = set(taken)
    return next(name for turn in count() for base in VARIABLES if (name := f"{base}{turn or ''}") not in known)


def check_new(name: str, goal: Goal, leaving: str = "") -> str:
    """``name``, if it can be given to something new; ``leaving`` is a name that goes in the same step."""
    if name in RESERVED:
        raise TacticError(f"{name} is a reserved word")
    if name != leaving and (name in goal.variables or goal.hyp(name) is not None or any(name == s for s, _ in goal.symbols)):
        raise TacticError(f"the name {name} is in use")
    return name


# ------------------------------------------------------------------------------------------------ hypotheses


def need_hyp(goal: Goal, name: str) -> Expr:
    """What the hypothesis says; raises TacticError if there is none of that name."""
    found = goal.hyp(name)
    if found is None:
        raise TacticError(f"no hypothesis {name}; {known_hyps(goal)}")
    return found


def known_hyps(goal: Goal) -> str:
    """What hypotheses there are, for a message."""
    return f"there are {', '.join(name for name, _ in goal.hyps)}" if goal.hyps else "there are none"


def put_hyp(goal: Goal, name: str, formula: Expr) -> Goal:
    """With that hypothesis: in its place if it is there, else last."""
    if goal.hyp(name) is not None:
        return replace_hyp(goal, name, (name, formula))
    return goal._replace(hyps=(*goal.hyps, (name, formula)))


def replace_hyp(goal: Goal, name: str, *others: Hyp) -> Goal:
    """With ``others`` in the place of the hypothesis; without any, it is dropped."""
    place = next(place for place, (known, _) in enumerate(goal.hyps) if known == name)
    return goal._replace(hyps=goal.hyps[:place] + others + goal.hyps[place + 1 :])


# ------------------------------------------------------------------------------------------------ limits


def check_formula_size(formula: Expr) -> Expr:
    """``formula``, unless it is too big to go on with."""
    try:
        check_size(formula)
    except Malformed as error:
        raise TacticError(f"the result is too big: {error}") from None
    return formula


def occurs(name: str, expr: Expr, fuel: Fuel) -> bool:
    """Whether the variable is mentioned."""
    fuel.burn()
    tag = expr[0]
    if tag == "var":
        return expr[1] == name
    if tag == "bound":
        return False
    parts = expr[2] if tag == "pred" else expr[1:]
    return any(occurs(name, part, fuel) for part in parts)


# ------------------------------------------------------------------------------------------------ text


def format_goal(goal: Goal) -> str:
    """The goal as players see it: what there is, a hypothesis per line, and the conclusion."""
    lines = [_hyp_line(name, formula) for name, formula in goal.hyps]
    lines.append("⊢ " + format_expr(goal.conclusion))
    if goal.variables:
        lines.insert(0, f"{' '.join(goal.variables)} : N")
    if goal.symbols:
        lines.insert(0, _symbol_lines(goal.symbols))
    return "\n".join(lines)


def _hyp_line(name: str, formula: Expr) -> str:
    return f"{name} : {format_expr(formula)}"


@lru_cache(maxsize=4096)
def _symbol_lines(symbols: tuple[tuple[str, int], ...]) -> str:
    return "\n".join(_by_arity(symbols))


def _by_arity(symbols: tuple[tuple[str, int], ...]) -> Iterator[str]:
    for arity in sorted({arity for _, arity in symbols}):
        names = [name for name, own in symbols if own == arity]
        yield f"{' '.join(names)} : {'N -> ' * arity}Prop"
