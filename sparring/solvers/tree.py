"""The AND/OR graph of one theorem's search.

A ``Goal`` is an OR node: one of its edges has to succeed. An ``Edge`` is a tactic that the environment accepted, an AND
node: all goals that it left have to be proved. Goals are told apart by their text, so equal goals are searched once
(transpositions), and the graph may have cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sparring.game import Goals, Step

UNSEEN = 0.5
"""The value of a goal nobody has looked at (HTPS, arXiv 2205.11491)."""


@dataclass(slots=True, eq=False)
class Goal:
    """``goals`` is what the environment made of it: a single goal, or several where they cannot be proved apart."""

    goals: Goals
    depth: int
    edges: list[Edge] = field(default_factory=list["Edge"])
    uses: list[Edge] = field(default_factory=list["Edge"])
    """The edges that need this goal."""
    tried: set[str] = field(default_factory=set[str])
    expansions: int = 0
    proof: Edge | None = None
    """The first edge whose goals were all proved. They were so before this goal was: following proofs comes to an end."""
    lines: int = 0
    """Length of the proof as a script."""
    dead: bool = False
    """Nothing is left to try here, nor at the goals that would help."""
    estimate: float = UNSEEN
    """What a value function says of it, in [0, 1]."""
    value: float = UNSEEN
    """What is known with the edges' outcomes taken in; kept by ``choose.Mcts``."""


@dataclass(slots=True, eq=False)
class Edge:
    """``score`` is the candidate's, at most 0; ``alive`` while no child is dead; ``visits`` is kept by ``choose.Mcts``."""

    goal: Goal
    children: tuple[Goal, ...]
    step: Step
    score: float
    alive: bool
    visits: int = 0


class Tree:
    """Grows by expansions; knows at any time which goals are proved, dead or open."""

    def __init__(self, root: Goals, *, dedup: bool = True) -> None:
        self.root = Goal(root, depth=0)
        self.goals = [self.root]
        self.round = 0
        """How often every goal may have been expanded before; raised by ``reopen``."""
        self._dedup = dedup
        self._by_text = {root.text: self.root}

    def is_open(self, goal: Goal) -> bool:
        """May be expanded now."""
        return goal.proof is None and not goal.dead and goal.expansions <= self.round

    def add(self, goal: Goal, parts: Sequence[Goals], step: Step, score: float) -> None:
        """``step`` leads from ``goal`` to ``parts``. One that leads back to the goal itself cannot help: no edge."""
        if goal.goals.text in [part.text for part in parts]:
            return
        children = tuple(self._child(part, goal.depth + 1) for part in parts)
        edge = Edge(goal, children, step, min(score, 0.0), alive=not any(child.dead for child in children))
        goal.edges.append(edge)
        for child in children:
            child.uses.append(edge)
        self._prove(edge)

    def close(self, goal: Goal) -> None:
        """An expansion of ``goal`` is over: count it, and bury the goal and what hangs on it if nothing came of it."""
        goal.expansions += 1
        pending = [goal]
        while pending:
            goal = pending.pop()
            hopeful = goal.proof or goal.dead or self.is_open(goal) or any(edge.alive for edge in goal.edges)
            if not hopeful:
                goal.dead = True
                for edge in goal.uses:
                    edge.alive = False
                    pending.append(edge.goal)

    def reopen(self) -> None:
        """Every goal may be expanded once more."""
        self.round += 1
        for goal in self.goals:
            goal.dead = False
            for edge in goal.edges:
                edge.alive = True

    def proof(self) -> list[Edge]:
        """The edges of the root's proof, depth first in the order of goals: the lines of the script."""
        script: list[Edge] = []
        pending = [self.root]
        while pending:
            edge = pending.pop().proof
            assert edge is not None, "asked for the proof of a goal that is not proved"
            script.append(edge)
            pending += reversed(edge.children)
        return script

    def _child(self, goals: Goals, depth: int) -> Goal:
        known = self._by_text.get(goals.text) if self._dedup else None
        if known is None:
            known = self._by_text[goals.text] = Goal(goals, depth)
            self.goals.append(known)
        return known

    def _prove(self, edge: Edge) -> None:
        """Take in that ``edge`` is there: prove its goal, and what hangs on it, if all children are proved."""
        pending = [edge]
        while pending:
            edge = pending.pop()
            goal = edge.goal
            if goal.proof is None and all(child.proof for child in edge.children):
                goal.proof = edge
                goal.lines = 1 + sum(child.lines for child in edge.children)
                pending += goal.uses
