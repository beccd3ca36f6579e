"""A search as text, from the record of its attempt: what ``prove --tree`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparring.game import NO_GOALS, Attempt, Step
from sparring.prompts import one_line


def render(attempt: Attempt, width: int = 120) -> str:
    """The goals that were reached, indented by depth, each with its accepted tactics; ``*`` marks those of the proof.

    A goal that comes up again is shown with "(above)" and not gone into again. Lines are cut at ``width`` characters.
    Refused tactics are not in the record; the head gives their number.
    """
    stats = attempt.stats
    head = f"{stats['status']}: {stats['searched']} of {stats['nodes']} goals searched, {stats['rejected']} tactics refused"
    if not attempt.steps:
        return head
    by_state: dict[str, list[Step]] = {}
    for step in attempt.steps:
        by_state.setdefault(step.state, []).append(step)
    lines = [head]
    shown: set[str] = set()
    pending: list[tuple[int, Step | str]] = [(0, attempt.steps[0].state)]
    while pending:
        depth, item = pending.pop()
        lines.append(_line("  " * depth + (_step_line(item) if isinstance(item, Step) else _goal_line(item, shown)), width))
        if isinstance(item, Step):
            below: Sequence[Step | str] = _parts(item.result, by_state)
        else:
            below = [] if item in shown else by_state.get(item, [])
            shown.add(item)
        pending += [(depth + 1, each) for each in reversed(below)]
    return "\n".join(lines)


def _goal_line(state: str, shown: set[str]) -> str:
    return f"{one_line(state)}{' (above)' if state in shown else ''}"


def _step_line(step: Step) -> str:
    return f"{'*' if step.used else '-'} {step.tactic} ({step.role} {step.logprob:.2f}){'' if step.result != NO_GOALS else ' closes it'}"


def _line(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _parts(result: str, by_state: Mapping[str, Sequence[Step]]) -> list[str]:
    """The goals of a state: the state itself where it was searched as one, else the texts that ``Goals.text`` joined."""
    if result == NO_GOALS:
        return []
    return [result] if result in by_state else result.split("\n\n")
