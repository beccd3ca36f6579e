"""Two learners in turn: each gets its lessons, the second goes on from the first, and a stop between them loses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sparring.game import Demo, Lesson, Pair, Sample
from sparring.learners.turns import InTurn

DEMO = Demo(prompt="p", completion="c")
PAIR = Pair(task="t", prompt="p", chosen=Sample(role="r", text="a"), rejected=Sample(role="r", text="b"), margin=1.0)


@dataclass
class Noting:
    """Writes down who learned what after whom."""

    name: str
    broken: bool = False
    calls: list[int] = field(default_factory=list[int])

    def learn(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None:
        self.calls.append(seed)
        if self.broken:
            raise KeyboardInterrupt
        out.mkdir()
        (out / "who").write_text(f"{(policy / 'who').read_text()} {self.name}{len(lessons)}")


@pytest.fixture
def start(tmp_path: Path) -> Path:
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "who").write_text("start")
    return tmp_path / "start"


@pytest.mark.parametrize(
    ("lessons", "who"),
    [([DEMO, PAIR, DEMO], "start d2 p1"), ([DEMO], "start d1"), ([PAIR, PAIR], "start p2")],
)
def test_each_learns_its_own_lessons(start: Path, lessons: list[Lesson], who: str):
    InTurn(Noting("d"), Noting("p")).learn(start, lessons, start.with_name("out"), 7)
    assert (start.with_name("out") / "who").read_text() == who


def test_a_stop_between_them_loses_nothing(start: Path):
    first, out = Noting("d"), start.with_name("out")
    with pytest.raises(KeyboardInterrupt):
        InTurn(first, Noting("p", broken=True)).learn(start, [DEMO, PAIR], out, 7)
    second = Noting("p")
    InTurn(first, second).learn(start, [DEMO, PAIR], out, 7)
    assert (out / "who").read_text() == "start d1 p1"
    assert first.calls == [7]
    assert second.calls != [7]
