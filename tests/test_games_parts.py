"""What a recipe's words become: judges, sources of prompts, players, and what is refused before anything is played."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparring.config import AlignRecipe, Judge, Member
from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Credit, Pair, Sample, Task, Verdict, make_task
from sparring.games.align import teach_of
from sparring.games.creating import creators, make_answerable
from sparring.games.judging import compares, controls_of, make_judge, make_member, pairwise, wins_of
from sparring.games.sources import apart, eval_readers, prompt_readers, read_source
from sparring.models.scripted import ScriptedModel
from sparring.rundir import Watch
from tests.tiny import save_tiny
from tests.tiny_judges import save_writer


class Notes(Watch):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def recipe(**sections: object) -> AlignRecipe:
    return AlignRecipe.model_validate({"data": {"per_round": 4, "read": ""}, "run": {"rounds": 1}} | sections)


def prompt_file(path: Path, *texts: str) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def bout(task: Task, *scores: float) -> Bout:
    attempts = tuple(Attempt(answer="", samples=(Sample(role="solver", text=f"{score}"),)) for score in scores)
    return Bout(task=task, attempts=attempts, verdicts=tuple(Verdict(score=score, solved=False) for score in scores))


# ------------------------------------------------------------------------------------------------ judges


@pytest.mark.parametrize(
    ("settings", "controls"),
    [
        ({}, "sparring.worlds.words:controls"),
        ({"kind": "math"}, "sparring.judges.maths:controls"),
        ({"kind": "reward_model", "path": "x"}, "builtin:general"),
        ({"members": [{"kind": "math"}]}, "builtin:general"),
        ({"controls": ""}, ""),
        ({"kind": "armorm", "controls": "my:own"}, "my:own"),
    ],
)
def test_controls_come_with_the_judge(settings: dict[str, object], controls: str):
    assert controls_of(Judge.model_validate(settings)) == controls


def test_a_grade_of_ones_own_has_no_controls_unless_one_says_so():
    with pytest.raises(SparringError, match=r"judge\.controls"):
        controls_of(Judge(grade="my.module:grade"))


def test_an_ensemble_of_programs_judges_by_what_its_members_say(tmp_path: Path):
    half = {"kind": "program", "shift": 0.0, "scale": 2.0}
    settings = Judge.model_validate({"members": [{"kind": "program"}, half], "controls": "sparring.worlds.words:controls"})
    judge = make_judge(settings, tmp_path / "calls", seed=0)
    task = read_source("world:easy", None, "x")[0]
    from sparring.worlds.words import controls

    control = next(iter(controls()))
    good = judge.judge([control[0]], [(Attempt(answer=control[1]),)])[0][0]
    assert good.score == pytest.approx(0.75)  # 1 and 1/2
    assert task.text


def test_who_beats_whom_is_told_by_the_kind_of_the_judge():
    compare = wins_of(Judge(kind="pairwise", path="x"))
    assert compare
    assert compare([0.25, 0.75]) == [0.25, 0.75]
    reward = wins_of(Judge(kind="reward_model", path="x"))
    assert reward
    assert reward([2.0, 2.0]) == [0.5, 0.5]
    assert wins_of(Judge()) is None
    assert pairwise(Judge(kind="pairrm", path="x"))
    assert not pairwise(Judge(kind="rubric", path="x"))
    mixed = Judge.model_validate({"members": [{"kind": "pairrm", "path": "x"}, {"kind": "program"}]})
    assert (compares(mixed), pairwise(mixed), wins_of(mixed)) == (True, False, None)


def test_an_answer_that_a_judge_in_this_process_cannot_read_is_a_fault(tmp_path: Path):
    settings = Member(kind="rubric", path=str(save_writer(tmp_path / "judge")), max_new_tokens=4, max_tokens=2000)
    judge = make_member(settings, tmp_path / "calls", 0, "judge.members[1]")
    # Within the limit by the estimate of four bytes to a token, and over it by the judge's own tokens.
    [(long, short)] = judge.judge([make_task("Say hello.")], [(Attempt(answer="1 2 " * 800), Attempt(answer="hi"))])
    assert long.fault
    assert "tokens is over judge.members[1].max_tokens 2000" in long.fault
    assert "policy" not in long.fault
    assert short.fault
    assert "no verdict in 3 replies" in short.fault


def test_a_prompt_that_a_judge_in_this_process_cannot_read_is_not_accepted(tmp_path: Path):
    judge = {"kind": "rubric", "path": str(save_writer(tmp_path / "judge")), "max_new_tokens": 4, "max_tokens": 1500}
    answerable = make_answerable(recipe(judge={"members": [{"kind": "program"}, judge]}, creator={"answerable": "judge"}))
    assert answerable
    tasks = [make_task("x" * 600), make_task("y")]
    answerable.foresee(tasks)
    assert [answerable.objection(task) for task in tasks] == ["not answerable: unclear verdict"] * 2


def test_a_prompt_that_a_creator_in_this_process_cannot_read_gets_no_draft(tmp_path: Path):
    path = str(save_writer(tmp_path / "model"))
    settings = {"path": path, "templates": "instruct", "max_new_tokens": 4, "fraction": 1.0, "chain": 1, "tries": 1}
    how = recipe(policy={"path": path, "max_prompt_tokens": 700}, creator=settings, run={"rounds": 2})
    creator = creators(how, None)(2, [])
    long = "Tell me a story about a boat. " * 20  # 600 tokens, and the template's
    tasks = creator.propose(
        [bout(make_task(long), 0.0, 1.0), bout(make_task("Say hi."), 0.0, 1.0)], ScriptedModel(lambda *_: ""), 0
    )
    [refused] = [task for task in tasks if task.draft and task.draft.fault]
    assert refused.rejected
    assert "policy.max_prompt_tokens 700" in str(refused.draft and refused.draft.fault)
    assert len(tasks) == 2


# ------------------------------------------------------------------------------------------------ prompts


def test_held_out_prompts_are_drawn_once_and_never_played(tmp_path: Path):
    path = prompt_file(tmp_path / "prompts.jsonl", *(f"w{number} w1" for number in range(30)))
    policy = {"path": str(save_tiny(tmp_path / "model"))}
    how = recipe(data={"prompts": str(path), "per_round": 20, "held_out": 10, "read": "", "evals": {}}, policy=policy)
    human = prompt_readers(how, None, Watch())["human"]()
    held_out = eval_readers(how, None, Watch())["held_out"]()
    assert (len(human), len(held_out)) == (20, 10)
    assert not {task.id for task in human} & {task.id for task in held_out}
    assert apart(how, [*held_out, *human][::-1])[0] == held_out[::-1], "the draw is by prompt, whatever their order"
    few = how.model_copy(update={"data": how.data.model_copy(update={"held_out": 11})})
    with pytest.raises(SparringError, match=r"data\.prompts has 19"):
        prompt_readers(few, None, Watch())["human"]()


def test_long_prompts_are_counted_aloud(tmp_path: Path):
    path = prompt_file(tmp_path / "prompts.jsonl", "w1 w2", "w3 " * 40, "w4 w5")
    policy = {"path": str(save_tiny(tmp_path / "model")), "max_prompt_tokens": 20, "long_prompts": "drop"}
    how, notes = recipe(data={"prompts": str(path), "per_round": 2, "read": ""}, policy=policy), Notes()
    assert [task.text for task in prompt_readers(how, None, notes)["human"]()] == ["w1 w2", "w4 w5"]
    assert notes.said == ["data.prompts: 1 prompts over 20 tokens, 0 cut and 1 left out"]
    how = recipe(data={"prompts": str(path), "read": "", "evals": {"mine": str(path)}}, policy=policy)
    assert [task.text for task in eval_readers(how, None, notes)["mine"]()] == ["w1 w2", "w4 w5"]
    assert notes.said[1:] == ["data.evals.mine: 1 prompts over 20 tokens, 0 cut and 1 left out"]


def test_an_answer_takes_its_room_from_the_prompts(tmp_path: Path):
    path = prompt_file(tmp_path / "prompts.jsonl", "w1 w2", "w3 " * 40)
    policy = {"path": str(save_tiny(tmp_path / "model", max_position_embeddings=64)), "long_prompts": "drop"}
    data = {"prompts": str(path), "per_round": 1, "read": ""}
    how, notes = recipe(data=data, policy=policy, creator={"fraction": 1.0}, evaluation={"max_new_tokens": 8}), Notes()
    with pytest.raises(SparringError, match=r"solver\.max_new_tokens 64 leaves no room for a prompt in the 64 positions"):
        prompt_readers(how, None, notes)["human"]()
    how = how.model_copy(update={"solver": how.solver.model_copy(update={"max_new_tokens": 40})})
    assert [task.text for task in prompt_readers(how, None, notes)["human"]()] == ["w1 w2"]
    assert notes.said == ["data.prompts: 1 prompts over 24 tokens, 0 cut and 1 left out"]


def test_the_other_columns_of_a_data_set_stay_with_its_prompts(tmp_path: Path):
    (tmp_path / "train.jsonl").write_text('{"question": "1 + 1?", "answer": "2", "prompt": "another"}\n')
    [row] = read_source(f"hub:{tmp_path}?column=question", None, "data.prompts")
    assert (row.text, row.meta) == ("1 + 1?", {"answer": "2"})


def test_a_data_set_of_the_hub_is_read_by_its_column(tmp_path: Path):
    prompt_file(tmp_path / "train.jsonl", "first", "second", "first")
    rows = read_source(f"hub:{tmp_path}?split=train&column=text", None, "data.prompts")
    assert [task.text for task in rows] == ["first", "second"]
    with pytest.raises(SparringError, match="no column 'words'"):
        read_source(f"hub:{tmp_path}?column=words", None, "data.prompts")
    with pytest.raises(SparringError, match="cannot be loaded"):
        read_source(f"hub:{tmp_path}/nothing", None, "data.prompts")


# ------------------------------------------------------------------------------------------------ lessons


def test_losses_on_single_answers_are_taught_groups():
    probe = [bout(make_task("a"), 0.0, 1.0, 0.5), bout(make_task("b"), 1.0, 1.0, 1.0)]
    lessons = teach_of(recipe(learner={"loss": "rloo"}))(probe, [], 0)
    assert all(isinstance(lesson, Credit) for lesson in lessons)
    # Leave-one-out: 0 - 0.75, 1 - 0.25, 0.5 - 0.5; the tie teaches nothing.
    assert sorted(lesson.advantage for lesson in lessons if isinstance(lesson, Credit)) == pytest.approx([-0.75, 0.0, 0.75])


def test_a_turn_teaches_its_part_of_a_round():
    probe = [bout(make_task(f"{number}"), 0.0, 1.0) for number in range(8)]
    settings: dict[str, object] = {"data": {"per_round": 8, "read": ""}, "teach": {"pairs": 4}}
    assert len(teach_of(recipe(**settings))(probe, [], 0)) == 4
    assert len(teach_of(recipe(**settings, online={"batch": 2}))(probe[:2], [], 0)) == 1


def test_a_pairwise_judges_win_rates_go_into_the_pair():
    how = recipe(judge={"kind": "pairwise", "path": "x"}, learner={"loss": "sppo"})
    lessons = teach_of(how)([bout(make_task("a"), 0.25, 0.75)], [], 0)
    assert isinstance(lessons[0], Pair)
    assert lessons[0].wins == (0.75, 0.25)


@pytest.mark.parametrize("loss", ["dpo", "rloo"])
def test_a_loss_that_wants_no_win_rates_takes_scores_that_are_none(loss: str):
    how = recipe(judge={"kind": "pairwise", "path": "x", "shift": 0.5}, learner={"loss": loss})
    assert teach_of(how)([bout(make_task("a"), -0.5, 0.5)], [], 0)


def test_what_nobody_answers_well_is_not_taught_where_the_recipe_says_so():
    probe = [bout(make_task(f"{number}"), 0.5 + number / 100, 0.9) for number in range(40)]
    created = [bout(make_task("hopeless", parent="0"), 0.0, 0.1), bout(make_task("fine", parent="0"), 0.6, 1.0)]
    kept = teach_of(recipe(creator={"answerable": "reward"}, teach={"evolved": 1.0}))(probe, created, 0)
    assert [lesson.prompt for lesson in kept if isinstance(lesson, Pair) and lesson.created] == ["fine"]
