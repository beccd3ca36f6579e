"""Proof scripts: replaying one, and the proof object that comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sparring.envs.goals import STEP_FUEL, Goal, TacticError
from sparring.envs.kernel import Fuel, Proof, Theorem
from sparring.envs.steps import Elaborated, Primitive, unshadow
from sparring.envs.tactics import run

MAX_LINES = 1000
CHECK_FUEL = 1_000_000
"""Elementary steps that replaying a script may take, and that checking its proof may take: about a second."""


class Tree(NamedTuple):
    """A goal that was proved: by which line of the script, what it does, and the proofs of the goals that it left."""

    goal: Goal
    line: str
    elaborated: Elaborated
    children: tuple[Tree, ...]


class Node(NamedTuple):
    """The same with a node for each primitive step."""

    goal: Goal
    step: tuple[Any, ...]
    children: tuple[Node, ...]


def prove_tree(goal: Goal, lines: Sequence[str], lemmas: Mapping[str, Theorem]) -> Tree:
    """Replays a script, each line on the first open goal; raises TacticError if it does not prove the goal, no more and no less."""
    if len(lines) > MAX_LINES:
        raise TacticError(f"{len(lines)} lines are too many: at most {MAX_LINES}")
    done: list[tuple[Goal, str, Elaborated]] = []
    open_goals = [goal]
    fuel = CHECK_FUEL
    for number, line in enumerate(lines, start=1):
        if not open_goals:
            raise TacticError(f"line {number}: the proof is over before {line.strip():.40}")
        first = open_goals.pop()
        budget = min(STEP_FUEL, fuel)
        own = Fuel(budget)
        try:
            elaborated = run(first, line, lemmas, own)
        except TacticError as error:
            raise TacticError(f"line {number}, {line.strip():.60}: {error.reason}", error.kind) from None
        fuel -= budget - own.steps
        done.append((first, line, elaborated))
        open_goals += reversed(elaborated.goals)
    if open_goals:
        raise TacticError(f"the script ends with {len(open_goals)} goals open")
    parts: list[Tree] = []  # of the goals after a line, the first one last
    for first, line, elaborated in reversed(done):
        children = [parts.pop() for _ in elaborated.goals]
        parts.append(Tree(first, line, elaborated, tuple(children)))
    return parts[0]


def fold(tree: Tree, join: Any) -> Any:
    """From the leaves to the root: ``join(elaborated, what came of the children)``; without recursion, for scripts are long."""
    order: list[Tree] = []
    pending = [tree]
    while pending:
        order.append(pending.pop())
        pending += reversed(order[-1].children)
    parts: list[Any] = []
    for node in reversed(order):
        children = [parts.pop() for _ in node.children]
        parts.append(join(node.elaborated, children))
    return parts[0]


def primitives(tree: Tree) -> Node:
    """The proof as primitive steps."""

    def node(primitive: Primitive, children: Sequence[Node]) -> Node:
        return Node(primitive.goal, primitive.step, tuple(children))

    return fold(tree, lambda elaborated, children: elaborated.fold(children, node))


def proof_of(tree: Tree) -> Proof:
    """The proof object for the kernel."""
    return unshadow(fold(tree, lambda elaborated, children: elaborated.build(children)))
