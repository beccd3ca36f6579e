"""Which propositional sequents hold in intuitionistic logic: a complete decision procedure.

The contraction-free calculus G4ip (R. Dyckhoff, "Contraction-free sequent calculi for intuitionistic logic", J. Symb. Logic 57,
1992): every premise of a rule is smaller than its conclusion, so search ends without looking for loops. Whatever is not a
connective (equations, predicates with arguments, quantified formulas) counts as an atom.
"""

from __future__ import annotations

from sparring.envs.kernel import FALSE, TRUE, Expr

Sequent = tuple[frozenset[Expr], Expr]
"""Hypotheses and conclusion."""


class TooHard(Exception):
    """The decision takes more steps than were granted."""


class Decider:
    """Decides sequents and remembers what it found; ``steps``: sequents that it may look at in its life."""

    def __init__(self, steps: int = 200_000) -> None:
        self._steps = steps
        self._known: dict[Sequent, bool] = {}

    def holds(self, hyps: frozenset[Expr], goal: Expr) -> bool:
        """Whether the hypotheses imply the goal; raises TooHard."""
        sequent = (hyps, goal)
        if sequent not in self._known:
            self._steps -= 1
            if self._steps < 0:
                raise TooHard
            self._known[sequent] = goal in hyps or FALSE in hyps or self._decide(hyps, goal)
        return self._known[sequent]

    def _decide(self, hyps: frozenset[Expr], goal: Expr) -> bool:
        for hyp in hyps:
            if (premises := _reduced(hyp, hyps)) is not None:
                rest = hyps - {hyp}
                return all(self.holds(rest | premise, goal) for premise in premises)
        if goal[0] == "imp":
            return self.holds(hyps | {goal[1]}, goal[2])
        if goal[0] == "and":
            return self.holds(hyps, goal[1]) and self.holds(hyps, goal[2])
        if goal == TRUE or (goal[0] == "or" and (self.holds(hyps, goal[1]) or self.holds(hyps, goal[2]))):
            return True
        return any(self._through(hyp, hyps - {hyp}, goal) for hyp in hyps)

    def _through(self, hyp: Expr, rest: frozenset[Expr], goal: Expr) -> bool:
        """The rule that is not invertible: (A -> B) -> C gives C where B -> C proves A -> B."""
        if hyp[0] != "imp" or hyp[1][0] != "imp":
            return False
        _, inner, result = hyp
        return self.holds(rest | {("imp", inner[2], result)}, inner) and self.holds(rest | {result}, goal)


def _reduced(hyp: Expr, hyps: frozenset[Expr]) -> list[frozenset[Expr]] | None:
    """What may stand for ``hyp`` without loss, one set for each case; None where no invertible rule applies."""
    if hyp == TRUE:
        return [frozenset()]
    if hyp[0] == "and":
        return [frozenset(hyp[1:])]
    if hyp[0] == "or":
        return [frozenset({hyp[1]}), frozenset({hyp[2]})]
    if hyp[0] != "imp":
        return None
    _, premise, result = hyp
    if premise == FALSE:
        return [frozenset()]
    if premise == TRUE or premise in hyps:
        return [frozenset({result})]
    if premise[0] == "and":
        return [frozenset({("imp", premise[1], ("imp", premise[2], result))})]
    if premise[0] == "or":
        return [frozenset({("imp", premise[1], result), ("imp", premise[2], result)})]
    return None
