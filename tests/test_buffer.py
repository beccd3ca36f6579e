"""Online play: human prompts first, then created ones by what can be learned from them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sparring.config import Creator, Online
from sparring.creators.buffer import Buffer
from sparring.game import Attempt, Bout, Task, Verdict, make_task

POOL = [make_task(f"human {number}") for number in range(40)]


def bout(task: Task, *scores: float) -> Bout:
    return Bout(
        task=task,
        attempts=tuple(Attempt(answer="") for _ in scores),
        verdicts=tuple(Verdict(score=score, solved=False) for score in scores),
    )


def created(count: int, *scores: float, name: str = "created") -> list[Bout]:
    return [bout(make_task(f"{name} {number}", parent="x"), *scores) for number in range(count)]


def buffer(batch: int = 8, human: float = 0.25, warm_up: int = 2) -> Buffer:
    return Buffer(Online(batch=batch, human=human, warm_up=warm_up), Creator())


def drawn_of(tasks: Sequence[Task]) -> list[str]:
    return [task.text.split()[0] for task in tasks]


def test_it_warms_up_on_human_prompts_each_once():
    played: list[list[Bout]] = []
    for turn in range(2):
        tasks = buffer().draw(turn, POOL, played, seed=0)
        assert tasks == POOL[8 * turn : 8 * turn + 8]
        played.append([*(bout(task, 0, 1) for task in tasks), *created(20, 0, 1, name=f"turn{turn}")])


def test_it_mixes_in_no_more_than_half_of_what_it_holds():
    tasks = buffer().draw(2, POOL, [created(5, 0, 1)], seed=0)
    assert drawn_of(tasks) == ["created"] * 3 + ["human"] * 5


def test_then_it_sustains_itself_but_for_the_human_share():
    tasks = buffer().draw(9, POOL, [created(50, 0, 1)], seed=0)
    assert drawn_of(tasks) == ["created"] * 6 + ["human"] * 2


def test_what_was_learned_is_drawn_no_more_and_comes_back_when_it_is_forgotten():
    prompt = created(1, 0, 1)[0].task
    learned = [[bout(prompt, 0, 1)], [bout(prompt, 1, 1)]]
    assert drawn_of(buffer().draw(2, POOL, learned, seed=0)) == ["human"] * 8
    assert buffer().draw(3, POOL, [*learned, [bout(prompt, 0, 1)]], seed=0)[0] == prompt


def test_the_more_informative_are_drawn_more_often():
    history = [[*created(10, 0.0, 0.1, name="dull"), *created(10, 0.0, 1.0, name="telling")]]
    drawn = [name for seed in range(30) for name in drawn_of(buffer().draw(2, POOL, history, seed)) if name != "human"]
    assert drawn.count("telling") > 3 * drawn.count("dull")


@given(held=st.integers(0, 60), turn=st.integers(0, 9), batch=st.integers(1, 16), human=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_mini_batch_is_full_and_asks_nothing_twice(held: int, turn: int, batch: int, human: float, seed: int):
    tasks = buffer(batch, human).draw(turn, POOL, [created(held, 0, 1)], seed)
    assert len(tasks) == batch
    assert len({task.id for task in tasks}) == batch
    assert drawn_of(tasks).count("created") <= round((1 - human) * batch)
