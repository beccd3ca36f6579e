"""How the expert proves an equation from hypotheses: a small breadth-first search over rewriting, closed by algebra."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from sparring.envs.kernel import Expr
from sparring.envs.printing import format_expr
from sparring.worlds.arithmetic import Rule, Step, first_use, is_computed, polynomial, prove_identity, simplify, size
from sparring.worlds.proofstate import Goal, exchange, fresh_hyps, parts, spines, subterms
from sparring.worlds.witnesses import common_rest, term_of

NODES = 40
"""Equations looked at."""
LARGEST = 45
"""Nodes of an equation that is still looked at."""


@lru_cache(maxsize=1 << 14)
def prove_equation(goal: Goal, inductive: bool = False) -> list[str] | None:
    """Tactics that close a goal whose conclusion is an equation, or None. ``inductive``: by an induction hypothesis if possible."""
    equation = goal.conclusion
    if equation[1] == equation[2]:
        return ["rfl"]
    if not inductive and (found := prove_identity(equation)):
        return found
    found = _search(goal)
    if found is None and not inductive:
        return _through_reordered(goal)
    return found or prove_identity(equation)


def _search(goal: Goal) -> list[str] | None:
    rules = list(_rules(goal))
    level: list[tuple[Expr, list[str], bool]] = [(goal.conclusion, [], False)]
    seen = {goal.conclusion}
    nodes = NODES
    while level and rules:
        following: list[tuple[Expr, list[str], bool]] = []
        for equation, lines, used in level:
            end = _end(equation, goal) if used or not lines else None
            end = end if end or not used else prove_identity(equation)
            if end:
                return lines + end
            nodes -= 1
            for line, after, by_hyp in _rewrites(equation, rules):
                if after not in seen and nodes > 0 and size(after) <= LARGEST:
                    seen.add(after)
                    following.append((after, [*lines, line], used or by_hyp))
        level = following
    return None


def _end(equation: Expr, goal: Goal) -> list[str] | None:
    """What closes it at once."""
    for name, formula in goal.hyps:
        if formula == equation:
            return [f"exact {name}"]
        if formula == ("eq", equation[2], equation[1]):
            return ["symmetry", f"exact {name}"]
    return ["rfl"] if is_computed(equation) else None


def _rules(goal: Goal) -> Iterator[tuple[str, Rule]]:
    """The equations among the hypotheses as rules, induction hypotheses first, each in both directions."""
    for name, formula in sorted(goal.hyps, key=lambda hyp: not hyp[0].startswith("ih")):
        spine = spines(formula)[0]
        if spine.conclusion[0] != "eq" or spine.conclusion[1] == spine.conclusion[2]:
            continue
        _, left, right = spine.conclusion
        yield f"rewrite {name}", Rule(name, left, right)
        if not spine.holes:
            yield f"rewrite <- {name}", Rule(name, right, left)


def _rewrites(equation: Expr, rules: list[tuple[str, Rule]]) -> Iterator[tuple[str, Expr, bool]]:
    for line, rule in rules:
        if (use := first_use(rule, equation)) and not _loses(rule, use):
            yield line, exchange(equation, *use), True
    step: Step | None = simplify(equation)
    if step:
        yield *step, False


def _loses(rule: Rule, use: tuple[Expr, Expr]) -> bool:
    """Whether a rule would turn 0 into something else, leave a hole, or make a term grow forever."""
    return (
        use[0][0] == "zero"
        or use[0] in subterms(use[1])
        or any(part[0] == "var" and part[1].startswith("?") for part in _leaves(use[1]))
    )


def _leaves(expr: Expr) -> Iterator[Expr]:
    inner = parts(expr)
    if not inner:
        yield expr
    for part in inner:
        yield from _leaves(part)


def _through_reordered(goal: Goal) -> list[str] | None:
    """By a hypothesis a = b when the sides are a + k and b + k in another form: ``have`` the left side in that form, and rewrite."""
    _, left, right = goal.conclusion
    for name, formula in goal.hyps:
        if formula[0] != "eq":
            continue
        for arrow, (a, b) in (("", formula[1:]), ("<- ", formula[:0:-1])):
            if polynomial(left) == polynomial(a) and polynomial(right) == polynomial(b):
                form = a
            elif size(a) > 1 and (rest := common_rest(left, a, right, b)):
                form = ("add", a, term_of(rest, goal.variables))
            else:
                continue
            after = exchange(exchange(goal.conclusion, left, form), a, b)
            first, last = prove_identity(("eq", left, form)), prove_identity(after)
            if left != form and first and last:
                (new,) = fresh_hyps(goal, 1)
                have = f"have {new} : {format_expr(('eq', left, form))}"
                return [have, *first, f"rewrite {new}", f"rewrite {arrow}{name}", *last]
    return None
