"""The align game's choices: which prompts a round plays, and what its lessons are made of."""

import pytest

from sparring.config import AlignRecipe, AlignRun, Creator, Data, Teach
from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Pair, Sample, Task, Verdict, make_task
from sparring.games.align import pool_of, teach_of

HUMAN = [make_task(f"human {i}") for i in range(8)]
FRESH = [make_task(f"fresh {i}") for i in range(8)]
PROMPTS = {"human": HUMAN, "fresh": FRESH}


def recipe(kind: str = "model", human_rounds: int = 1) -> AlignRecipe:
    return AlignRecipe.model_validate(
        {
            "run": AlignRun(rounds=4, human_rounds=human_rounds),
            "data": Data(per_round=4),
            "creator": Creator.model_validate({"kind": kind}),
        }
    )


def test_the_creator_starts_from_the_prompts_of_the_last_human_round():
    assert pool_of(recipe(), 1, PROMPTS, []) == HUMAN[:4]
    assert pool_of(recipe(), 2, PROMPTS, []) == HUMAN[:4]
    assert pool_of(recipe(human_rounds=2), 3, PROMPTS, []) == HUMAN[4:8]


def test_later_pools_are_what_was_created_filled_up_to_the_same_budget():
    created = [make_task(f"created {i}") for i in range(3)]
    assert pool_of(recipe(), 3, PROMPTS, created) == [*created, HUMAN[0]]
    assert pool_of(recipe(), 3, PROMPTS, []) == HUMAN[:4]
    many = [make_task(f"created {i}") for i in range(9)]
    assert pool_of(recipe(), 3, PROMPTS, many) == many[:4]


def test_fresh_rounds_take_the_next_fresh_prompts():
    assert pool_of(recipe("fresh"), 1, PROMPTS, []) == HUMAN[:4]
    assert pool_of(recipe("fresh"), 2, PROMPTS, []) == FRESH[:4]
    assert pool_of(recipe("fresh"), 3, PROMPTS, []) == FRESH[4:8]
    with pytest.raises(SparringError, match=r"data\.fresh"):
        pool_of(recipe("fresh"), 4, PROMPTS, [])


def test_without_evolving_the_pool_stays():
    assert pool_of(recipe("none"), 3, PROMPTS, [make_task("drawn")]) == HUMAN[:4]


def bout(task: Task) -> Bout:
    attempts = tuple(Attempt(answer=text, samples=(Sample(role="solver", text=text),)) for text in ("good", "bad"))
    verdicts = (Verdict(score=1.0, solved=True), Verdict(score=0.0, solved=False))
    return Bout(task=task, attempts=attempts, verdicts=verdicts)


@pytest.mark.parametrize(("pairs", "created", "original"), [(5, 4, 1), (10, 6, 4), (0, 3, 1)])
def test_lessons_mix_created_and_original_pairs_up_to_the_budget(pairs: int, created: int, original: int):
    # 6 created and 8 original pairs are there; pairs = 0 means one for each prompt of a pool of 4, 80 % of it is 3.2
    how = recipe().model_copy(update={"teach": Teach(pairs=pairs)})
    lessons = teach_of(how)([bout(task) for task in HUMAN], [bout(make_task(f"created {i}")) for i in range(6)], 0)
    kinds = [lesson.created for lesson in lessons if isinstance(lesson, Pair)]
    assert (kinds.count(True), kinds.count(False)) == (created, original)


def test_a_human_round_is_taught_whole():
    lessons = teach_of(recipe())([bout(task) for task in HUMAN[:4]], [], 0)
    assert len(lessons) == 4
    assert not any(lesson.created for lesson in lessons if isinstance(lesson, Pair))
