"""A proof assistant that is a table: goals are names, and the table says what each tactic makes of each goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sparring.game import Goals, Outcome, Proved, Rejected, Task, Verdict, make_task

Rule = tuple[str, ...] | Rejected
"""The goals that a tactic leaves, or its refusal."""
Table = Mapping[str, Mapping[str, Rule]]

TIMEOUT = Rejected(reason="took too long", kind="timeout")
FAULT = Rejected(reason="crashed", kind="fault")
REFUSED = Rejected(reason="no such tactic")


@dataclass
class ToyEnv:
    """Satisfies ``sparring.game.Env``; ``joint``: no goal can be proved apart from the others; ``suggested``: moves by goal;
    ``lemmas``: hints by goal. Remembers what it was asked."""

    table: Table
    joint: bool = False
    suggested: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    lemmas: Mapping[str, str] = field(default_factory=dict[str, str])
    batches: list[list[tuple[str, str]]] = field(default_factory=list[list[tuple[str, str]]])
    hinted: list[str] = field(default_factory=list[str])

    @property
    def tries(self) -> list[tuple[str, str]]:
        return [one for batch in self.batches for one in batch]

    def start(self, task: Task) -> Goals | Rejected:
        if task.text == "crash":
            return FAULT
        return Goals(texts=(task.text,)) if task.text in self.table else Rejected(reason=f"no statement {task.text}")

    def step(self, tries: Sequence[tuple[Goals, str]]) -> list[Outcome]:
        self.batches.append([(goals.text, tactic) for goals, tactic in tries])
        return [self._one(goals, tactic) for goals, tactic in tries]

    def _one(self, goals: Goals, tactic: str) -> Outcome:
        rule = self.table.get(goals.texts[0], {}).get(tactic, REFUSED)
        if isinstance(rule, Rejected):
            return rule
        texts = (*rule, *goals.texts[1:])
        return Goals(texts=texts) if texts else Proved()

    def moves(self, goals: Goals) -> Sequence[str]:
        return self.suggested.get(goals.texts[0], ()) if goals.texts else ()

    def hints(self, goals: Goals) -> str:
        self.hinted.append(goals.text)
        return self.lemmas.get(goals.texts[0], "") if goals.texts else ""

    def split(self, goals: Goals) -> list[Goals]:
        return [goals] if self.joint else [Goals(texts=(text,)) for text in goals.texts]

    def check(self, task: Task, script: str) -> Verdict:
        outcome: Outcome = self.start(task)
        for line in script.splitlines():
            if not isinstance(outcome, Goals):
                return Verdict(score=0.0, solved=False, note=f"{line} comes too late")
            outcome = self._one(outcome, line)
        solved = isinstance(outcome, Proved)
        return Verdict(score=float(solved), solved=solved)

    def close(self) -> None:
        pass


def provable(table: Table) -> set[str]:
    """The goals that have a proof: the least fixed point, found without any search."""
    known: set[str] = set()
    while True:
        more = {
            goal
            for goal, rules in table.items()
            if any(not isinstance(rule, Rejected) and known.issuperset(rule) for rule in rules.values())
        }
        if more <= known:
            return known
        known |= more


def tasks(*names: str) -> list[Task]:
    return [make_task(name) for name in names]
