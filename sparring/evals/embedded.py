"""Tasks that a program judges, by the interface of the other suites: the embedded worlds, or any file of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sparring.config import Evaluation
from sparring.evals.intervals import bootstrap
from sparring.evals.suite import Players, Question, Result, Row, Seat, mean, seated, shown
from sparring.game import Attempt, Bout, Judge, Model, Solver, Task
from sparring.rundir import Watch, watched


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Tasks that ``solver`` attempts and ``judge`` judges, ``shard`` at a time."""

    name: str
    tasks: Sequence[Task]
    solver: Solver
    judge: Judge
    n: int = 1
    """Answers a task, as the solver gives."""
    seed: int = 0
    shard: int = 256
    watch: Watch = field(default_factory=Watch)
    seats: tuple[Seat, ...] = ("model",)

    @property
    def questions(self) -> Sequence[Question]:
        return [Question(id=task.id, turns=(task.text,)) for task in self.tasks]

    def bouts(self, model: Model) -> list[Bout]:
        bouts: list[Bout] = []
        with watched(self.watch, "eval", len(self.tasks)):
            for start in range(0, len(self.tasks), self.shard):
                part = self.tasks[start : start + self.shard]
                attempts = self.solver.attempt(part, model, self.seed)
                verdicts = self.judge.judge(part, attempts)
                bouts += [Bout(task=t, attempts=a, verdicts=v) for t, a, v in zip(part, attempts, verdicts, strict=True)]
                self.watch.update(len(bouts), len(self.tasks))
        return bouts

    def play(self, players: Players) -> list[Row]:
        return [row_of(bout) for bout in self.bouts(seated(players.model, "model"))]

    def report(self, rows: Sequence[Row], how: Evaluation) -> Result:
        return report(rows, self.n, how)


def row_of(bout: Bout) -> Row:
    """``score`` is the share of the judged answers that are right; a fault where none was judged."""
    judged = [float(verdict.solved) for verdict in bout.verdicts if verdict.fault is None]
    fault = None if judged else next((verdict.fault for verdict in bout.verdicts), "no answer")
    detail = {
        "answers": [attempt.answer for attempt in bout.attempts],
        "solved": [None if verdict.fault else verdict.solved for verdict in bout.verdicts],
        "scores": [None if verdict.fault else verdict.score for verdict in bout.verdicts],
        "lengths": [_length(attempt) for attempt in bout.attempts if attempt.fault is None],
    }
    return Row(question=bout.task.id, category="", score=mean(judged), fault=fault, detail=detail)


def _length(attempt: Attempt) -> int:
    """Tokens where the model told them, otherwise characters."""
    return sum(len(sample.token_ids) for sample in attempt.samples) or len(attempt.answer)


def report(rows: Sequence[Row], n: int, how: Evaluation) -> Result:
    """Accuracy, pass@n for more than one answer, the mean score, faults and length. A fault is no wrong answer."""
    judged = [row for row in rows if row.score is not None]
    accuracy = [row.score for row in judged if row.score is not None]
    passed = [float(any(row.detail["solved"])) for row in judged]
    score = mean([value for row in rows for value in row.detail["scores"] if value is not None])
    length = mean([float(value) for row in rows for value in row.detail["lengths"]])
    faults, total = sum(row.detail["solved"].count(None) for row in rows), sum(len(row.detail["solved"]) for row in rows)
    left_out = len(rows) - len(judged)
    lines = [f"  tasks     {len(rows):5}" + (f"     {left_out} of them without a judged answer" if left_out else "")]
    lines.append("  accuracy  " + _interval(accuracy, how))
    figures = {"accuracy": mean(accuracy), "score": score, "length": length}
    if n > 1:
        figures[f"pass@{n}"] = mean(passed)
        lines.append(f"  {f'pass@{n}':<10}" + _interval(passed, how))
    lines.append(f"  score     {'none' if score is None else f'{score:5.3f}'}     faults {faults} of {total} answers")
    lines.append(f"  length    {shown(length):>5}     tokens")
    return Result(rows=tuple(rows), figures=figures, lines=tuple(lines))


def _interval(values: Sequence[float], how: Evaluation) -> str:
    if not values:
        return "nothing judged"
    found = bootstrap(values, how.level, how.bootstrap)
    return f"{100 * found.mean:5.1f} %   [{100 * found.low:.1f}, {100 * found.high:.1f}] ({100 * how.level:g} % interval)"
