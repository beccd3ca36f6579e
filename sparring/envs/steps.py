"""The primitive steps that tactics elaborate to, and the proof that each of them stands for.

A step is a tagged tuple with every name, instance and formula spelled out, so that whoever prints or proves it never searches or
unifies. It works on the first of the goals that the step before it left, as the lines of a script do. G is its goal, C the
conclusion of G, h : A a hypothesis. E is a proof expression: a kernel proof made of ("hyp", h), ("lemma", name, bodies),
("all_elim", E, t), ("imp_elim", E, E) and ("hole", i), which stands for a proof of the i-th goal that the step leaves (from 0).

    step                                        what it does and what it leaves
    ("intro_var", x)                            C is for all y, A: x : N and A[x]
    ("intro_hyp", h, A)                         C is A -> B: h : A and B
    ("refine", E)                               E proves C: its holes, in order
    ("true",)                                   C is True: nothing
    ("split",)                                  C is A /\\ B: A, then B
    ("left",)  ("right",)                       C is A \\/ B: A, or B
    ("exists", t)                               C is exists x, A: A[t]
    ("exfalso",)                                False
    ("assert", h, A)                            A, then C with h : A as the last hypothesis
    ("pose", h, A, E)                           E proves A: C with h : A as the last hypothesis, then E's holes
    ("replace", h, A, E)                        as pose, but h is there already and is changed in its place; E may mention the old h
    ("case_and", h, h1, h2)                     h : A /\\ B goes, h1 : A and h2 : B come in its place; one of them may be named h
    ("case_or", h, h1, h2)                      h : A \\/ B becomes h1 : A in the first goal, h2 : B in the second
    ("case_ex", h, x, h1)                       h : exists x, A becomes h1 : A[x]; x : N comes last among the variables
    ("case_false", h)                           h : False: nothing
    ("revert_hyp", h)                           h : A goes: A -> C
    ("revert_var", x)                           no hypothesis mentions x, which goes: for all x, C
    ("clear", name)                             a hypothesis, or a variable that nothing mentions, goes: C
    ("rfl",)                                    C is t = u, which compute to the same: nothing
    ("simpl", A, None)                          C computes to what A computes to: A
    ("simpl", A, h)                             the same for the hypothesis h, changed in its place
    ("symmetry", None)  ("symmetry", h)         t = u becomes u = t in C, or in the hypothesis h
    ("rewrite", E, (eq t u), "->", M, None)     E proves t = u; C is M[t]: M[u], then E's holes (numbered from 1). M is a formula with
                                                one loose bound variable
    ("rewrite", E, (eq t u), "<-", M, None)     C is M[u]: M[t], then E's holes
    ("rewrite", E, eq, direction, M, h)         the same in the hypothesis h, changed in its place
    ("induction", x, y, ih, carried, M)         the hypotheses ``carried``, H1 ... Hn in order, are all that mention x, and M[x] is
                                                H1 -> ... -> Hn -> C. Leaves two goals. First: x goes, H[0] under their old names, last;
                                                C[0]. Second: y : N instead of x, ih : M[y] as the last hypothesis, then H[S y] under
                                                their old names; C[S y]. y may be x
    ("case_nat", x, y, carried, M)              the same without ih
    ("injection", h, h1, (eq (S t) (S u)))      h computes to that equation: h1 : t = u as the last hypothesis
    ("discriminate", h, (eq t u))               h computes to that equation of two terms that begin with different numbers of S,
                                                at least one of them being a numeral: nothing
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sparring.envs.goals import Goal
from sparring.envs.kernel import ZERO, Expr, Fuel, Proof, instantiate


class Primitive(NamedTuple):
    """One primitive step: the goal it works on, what it does, the goals it leaves."""

    goal: Goal
    step: tuple[Any, ...]
    goals: tuple[Goal, ...]


class Elaborated(NamedTuple):
    """What a tactic does: ``steps``, each on the first goal that the one before left; at the end ``goals`` are left."""

    goals: tuple[Goal, ...]
    steps: tuple[Primitive, ...]

    def then(self, tactic: Callable[[Goal], Elaborated]) -> Elaborated:
        """This, then ``tactic`` on the first goal that is left."""
        more = tactic(self.goals[0])
        return Elaborated(more.goals + self.goals[1:], self.steps + more.steps)

    def build(self, proofs: Sequence[Proof]) -> Proof:
        """The proof of the tactic's goal from one proof for each of ``goals``."""
        return self.fold(proofs, lambda primitive, parts: _PROOFS[primitive.step[0]](primitive, *parts))

    def fold(self, parts: Sequence[Any], join: Callable[[Primitive, Sequence[Any]], Any]) -> Any:
        """From something for each of ``goals`` to something for the goal of each step, backwards, up to the tactic's own goal."""
        left = list(parts)
        for primitive in reversed(self.steps):
            own = len(primitive.goals)
            left[:own] = [join(primitive, left[:own])]
        return left[0]


def step(goal: Goal, what: tuple[Any, ...], *goals: Goal) -> Elaborated:
    """A tactic of one primitive step."""
    return Elaborated(goals, (Primitive(goal, what, goals),))


# ------------------------------------------------------------------------------------------------ the proof of a step


def _conclusion(primitive: Primitive) -> Expr:
    return primitive.goal.conclusion


def _formula(primitive: Primitive, name: str) -> Expr:
    found = primitive.goal.hyp(name)
    assert found is not None, "a step names a hypothesis that is there"
    return found


def _fill(expression: Proof, proofs: Sequence[Proof]) -> Proof:
    """A proof expression with proofs in its holes."""
    match expression:
        case ("hole", index):
            return proofs[int(index)]
        case ("all_elim", function, term):
            return ("all_elim", _fill(function, proofs), term)
        case ("imp_elim", function, argument):
            return ("imp_elim", _fill(function, proofs), _fill(argument, proofs))
    return expression


def _symmetric(equation: Proof, left: Expr) -> Proof:
    """u = t from t = u, where ``left`` is t."""
    return ("rewrite", equation, ("eq", ("bound", 0), left), ("refl", left))


def _refine(primitive: Primitive, *parts: Proof) -> Proof:
    return _fill(primitive.step[1], parts)


def _pose(primitive: Primitive, *parts: Proof) -> Proof:
    _, name, _, expression = primitive.step
    return ("cut", name, _fill(expression, parts), parts[0])


def _case_and(primitive: Primitive, part: Proof) -> Proof:
    _, name, first, second = primitive.step
    halves = [(first, ("and_left", ("hyp", name))), (second, ("and_right", ("hyp", name)))]
    if second == name:  # it hides the conjunction, so it comes last, that is inside
        halves.reverse()
    for own, half in halves:
        part = ("cut", own, half, part)
    return part


def _case_or(primitive: Primitive, left: Proof, right: Proof) -> Proof:
    _, name, first, second = primitive.step
    return ("or_elim", ("hyp", name), first, left, second, right)


def _exists(primitive: Primitive, part: Proof) -> Proof:
    return ("ex_intro", _conclusion(primitive)[1], primitive.step[1], part)


def _rfl(primitive: Primitive) -> Proof:
    _, left, right = conclusion = _conclusion(primitive)
    return ("refl", left) if left == right else ("compute", conclusion, ("refl", left))


def _simpl(primitive: Primitive, part: Proof) -> Proof:
    _, result, where = primitive.step
    if where is None:
        return ("compute", _conclusion(primitive), part)
    return ("cut", where, ("compute", result, ("hyp", where)), part)


def _symmetry(primitive: Primitive, part: Proof) -> Proof:
    where = primitive.step[1]
    if where is None:
        return _symmetric(part, _conclusion(primitive)[2])
    return ("cut", where, _symmetric(("hyp", where), _formula(primitive, where)[1]), part)


def _rewrite(primitive: Primitive, *parts: Proof) -> Proof:
    _, expression, equation, direction, motive, where = primitive.step
    forward = _fill(expression, parts)
    backward = _symmetric(forward, equation[1])
    if direction == "<-":
        forward, backward = backward, forward
    if where is None:
        return ("rewrite", backward, motive, parts[0])
    return ("cut", where, ("rewrite", forward, motive, ("hyp", where)), parts[0])


def _induction(primitive: Primitive, zero: Proof, successor: Proof) -> Proof:
    _, x, y, ih, carried, motive = primitive.step
    return _cases(primitive, (x, y, ih), carried, (motive, zero, successor))


def _case_nat(primitive: Primitive, zero: Proof, successor: Proof) -> Proof:
    _, x, y, carried, motive = primitive.step
    return _cases(primitive, (x, y, NOBODY), carried, (motive, zero, successor))


NOBODY = "#"
"""The name of a hypothesis that no text can name."""


def _cases(primitive: Primitive, names: tuple[str, str, str], carried: Sequence[str], parts: tuple[Expr, Proof, Proof]) -> Proof:
    """Induction; the carried hypotheses are premises of the motive and are introduced again in both cases."""
    x, y, ih = names
    motive, zero, successor = parts

    def introduced(part: Proof, term: Expr) -> Proof:
        rest = instantiate(motive, (term,), Fuel())
        premises: list[Expr] = []
        for _ in carried:
            premises.append(rest[1])
            rest = rest[2]
        for name, premise in zip(reversed(carried), reversed(premises), strict=True):
            part = ("imp_intro", name, premise, part)
        return part

    cases = introduced(zero, ZERO), introduced(successor, ("succ", ("var", y)))
    proof: Proof = ("all_elim", ("induction", motive, cases[0], y, ih, cases[1]), ("var", x))
    for name in carried:
        proof = ("imp_elim", proof, ("hyp", name))
    return proof


def _injection(primitive: Primitive, part: Proof) -> Proof:
    _, name, new, equation = primitive.step
    return ("cut", new, ("succ_inj", ("compute", equation, ("hyp", name))), part)


def _discriminate(primitive: Primitive) -> Proof:
    _, name, equation = primitive.step
    proof: Proof = ("compute", equation, ("hyp", name))
    _, left, right = equation
    while left[0] == right[0] == "succ":
        proof, left, right = ("succ_inj", proof), left[1], right[1]
    if left != ZERO:
        proof = _symmetric(proof, left)
    return ("false_elim", ("zero_succ", proof), _conclusion(primitive))


_PROOFS: Mapping[str, Callable[..., Proof]] = {
    "intro_var": lambda primitive, part: ("all_intro", primitive.step[1], part),
    "intro_hyp": lambda primitive, part: ("imp_intro", *primitive.step[1:], part),
    "refine": _refine,
    "true": lambda primitive: ("true_intro",),
    "split": lambda primitive, left, right: ("and_intro", left, right),
    "left": lambda primitive, part: ("or_left", part, _conclusion(primitive)[2]),
    "right": lambda primitive, part: ("or_right", _conclusion(primitive)[1], part),
    "exists": _exists,
    "exfalso": lambda primitive, part: ("false_elim", part, _conclusion(primitive)),
    "assert": lambda primitive, first, second: ("cut", primitive.step[1], first, second),
    "pose": _pose,
    "replace": _pose,
    "case_and": _case_and,
    "case_or": _case_or,
    "case_ex": lambda primitive, part: ("ex_elim", ("hyp", primitive.step[1]), *primitive.step[2:], part),
    "case_false": lambda primitive: ("false_elim", ("hyp", primitive.step[1]), _conclusion(primitive)),
    "revert_hyp": lambda primitive, part: ("imp_elim", part, ("hyp", primitive.step[1])),
    "revert_var": lambda primitive, part: ("all_elim", part, ("var", primitive.step[1])),
    "clear": lambda primitive, part: part,
    "rfl": _rfl,
    "simpl": _simpl,
    "symmetry": _symmetry,
    "rewrite": _rewrite,
    "induction": _induction,
    "case_nat": _case_nat,
    "injection": _injection,
    "discriminate": _discriminate,
}


# ------------------------------------------------------------------------------------------------ names of variables


def unshadow(proof: Proof, names: Mapping[str, str] | None = None) -> Proof:
    """``proof`` with every variable named apart. A script may give the name of a variable that is gone (cleared, reverted, replaced
    by an induction) to another one, as binders may; the kernel wants names that were never used around them."""
    names = names or {}
    cuts: list[tuple[str, Proof]] = []
    while proof[0] == "cut":  # long proofs are chains of these
        _, h, first, proof = proof
        cuts.append((h, unshadow(first, names)))
    last = _unshadow(proof, names)
    for h, first in reversed(cuts):
        last = ("cut", h, first, last)
    return last


def _unshadow(proof: Proof, names: Mapping[str, str]) -> Proof:
    match proof:
        case ("var", x):
            return ("var", names.get(x, x))
        case ("all_intro", x, part):
            inner = _naming(x, names)
            return ("all_intro", inner[x], unshadow(part, inner))
        case ("ex_elim", first, x, h, part):
            inner = _naming(x, names)
            return ("ex_elim", unshadow(first, names), inner[x], h, unshadow(part, inner))
        case ("induction", motive, first, x, h, part):
            inner = _naming(x, names)
            return ("induction", unshadow(motive, names), unshadow(first, names), inner[x], h, unshadow(part, inner))
    return tuple([unshadow(part, names) if type(part) is tuple and part else part for part in proof])


def _naming(x: str, names: Mapping[str, str]) -> dict[str, str]:
    """``names`` with one more variable that is called x in the script; no name that a script can have ends in #."""
    return {**names, x: f"{names[x]}#" if x in names else x}
