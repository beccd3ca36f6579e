"""Which goals of a theorem to expand next: the search algorithms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush, nsmallest

from sparring.solvers.tree import Edge, Goal, Tree

Choose = Callable[[Tree, int], list[Goal]]
"""(tree, n) -> up to ``n`` open goals whose proof would still help the root; none only where there are none.

One such function is made for each theorem, so that it can remember what it chose.
"""


@dataclass(frozen=True)
class BestFirst:
    """The open goals with the likeliest way from the root, as ReProver (arXiv 2306.15626) and RiR do.

    A goal's priority is the sum of the scores on the best way to it, divided by (steps on that way) ** ``path_norm``: 0 is
    the papers' rule; above it, deep goals are not put off for being deep (BFS-Prover, arXiv 2502.03438).
    """

    path_norm: float = 0.0

    def __call__(self, tree: Tree, n: int) -> list[Goal]:
        # Dijkstra's algorithm, with -score >= 0 as the length of an edge. It never walks through a proved goal or along an
        # edge with a dead child: what only these lead to would not help any more.
        found: list[tuple[float, int, Goal]] = []
        seen: set[Goal] = set()
        ways: list[tuple[float, int, int, Goal]] = [(0.0, 0, 0, tree.root)]
        count = 0  # breaks ties: first come, first served
        while ways and not (len(found) == n and self.path_norm == 0):  # they come in the order of cost
            cost, steps, _, goal = heappop(ways)
            if goal in seen or goal.proof or goal.dead:
                continue
            seen.add(goal)
            if tree.is_open(goal):
                found.append((cost / max(steps, 1) ** self.path_norm, len(found), goal))
            for edge in goal.edges:
                if edge.alive:
                    for child in edge.children:
                        count += 1
                        heappush(ways, (cost - edge.score, steps + 1, count, child))
        return [goal for _, _, goal in nsmallest(n, found)]


@dataclass
class Mcts:
    """Monte-Carlo tree search on the AND/OR graph.

    At a goal g the edge with the largest ``Q(e) + c * P(e) * sqrt(1 + sum of N) / (1 + N(e))`` is followed (PUCT), with P
    the softmax of the scores over the edges of g, N(e) the visits, and Q(e) the product of the children's values: an edge
    is worth the chance that all its goals get proved (HTPS, arXiv 2205.11491). From an edge the way goes on to one child,
    the least visited; HTPS goes on to all.

    The value of a goal is 1 if proved, 0 if dead, else ``(estimate + sum of N(e) Q(e)) / (1 + sum of N)``. It is computed
    anew from the children and not by adding up what simulations returned: in a graph a child may have learned something
    through another parent (Monte-Carlo graph search, arXiv 2012.11045).

    Chosen goals have value 0 until their expansion is in (virtual loss), so that one wave spreads over the graph.
    """

    c: float = 1.0
    _ways: list[list[Goal]] = field(default_factory=list[list[Goal]])
    """From the root to each goal of the last choice."""

    def __call__(self, tree: Tree, n: int) -> list[Goal]:
        for way in self._ways:
            _refresh(way)
        self._ways = []
        barred: set[Goal] = set()
        while len(self._ways) < n and (way := self._descend(tree, barred)):
            self._ways.append(way)
            way[-1].value = 0.0
            _refresh(way[:-1])
        return [way[-1] for way in self._ways]

    def _descend(self, tree: Tree, barred: set[Goal]) -> list[Goal]:
        """The way from the root to the next open goal; empty where none is left.

        ``barred`` are the goals that were chosen or that lead nowhere else; those that this search finds are added.
        """
        way = [] if tree.root in barred else [tree.root]
        taken: list[Edge] = []
        while way and not tree.is_open(way[-1]):
            barred.add(way[-1])
            ahead = [(edge, _next(edge, barred)) for edge in way[-1].edges if edge.alive]
            options = {edge: child for edge, child in ahead if child is not None}
            if options:
                taken.append(self._best(way[-1], list(options)))
                way.append(options[taken[-1]])
            else:  # turn back, and do not come again
                way.pop()
                del taken[-1:]
        barred.difference_update(way[:-1])
        barred.update(way[-1:])
        for edge in taken:
            edge.visits += 1
        return way

    def _best(self, goal: Goal, options: list[Edge]) -> Edge:
        top = max(edge.score for edge in goal.edges)
        mass = sum(math.exp(edge.score - top) for edge in goal.edges)
        root_n = math.sqrt(1 + sum(edge.visits for edge in goal.edges))

        def puct(edge: Edge) -> float:
            return _worth(edge) + self.c * math.exp(edge.score - top) / mass * root_n / (1 + edge.visits)

        return max(options, key=puct)


def _next(edge: Edge, barred: set[Goal]) -> Goal | None:
    """The child to work on: the least visited that is not proved."""
    children = [child for child in edge.children if not child.proof and child not in barred]
    return min(children, key=lambda child: child.expansions + sum(e.visits for e in child.edges), default=None)


def _worth(edge: Edge) -> float:
    return math.prod(1.0 if child.proof else 0.0 if child.dead else child.value for child in edge.children)


def _refresh(way: list[Goal]) -> None:
    """The values of the goals on a way, from its end to the root."""
    for goal in reversed(way):
        visits = sum(edge.visits for edge in goal.edges)
        goal.value = (goal.estimate + sum(edge.visits * _worth(edge) for edge in goal.edges)) / (1 + visits)


ALGORITHMS: dict[str, Callable[[], Choose]] = {"best_first": BestFirst, "mcts": Mcts}
