"""``sparring play --plan``: counts that follow from the recipe, sizes from the checkpoint, and what can be checked without loading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparring.config import AlignRecipe
from sparring.errors import SparringError
from sparring.planning import estimate, plan_run
from sparring.recipe import load_recipe
from tests.tiny import save_tiny
from tests.tiny_judges import save_classifier

ROOT = Path(__file__).parents[1]


def recipe(**sections: object) -> AlignRecipe:
    values = {"data": {"per_round": 100}, "run": {"rounds": 3, "human_rounds": 1}, "solver": {"n": 4, "max_new_tokens": 10}}
    return AlignRecipe.model_validate(values | sections)


def test_calls_and_tokens_follow_from_the_recipe():
    # Evolved rounds: a quarter of 100 prompts is drawn, each gets a chain of 4 links with 4 tries, and 100 created prompts 4 answers.
    found = estimate(recipe(), evals=50, prompt_tokens=20, policy=None)
    told = [(times, phase.name, phase.calls, phase.new_tokens) for times, phase in found.phases]
    assert told == [
        (1, "probe", 400, 4000),
        (2, "probe", 400, 4000),
        (2, "proposals", 400, 400 * 96),
        (2, "bouts", 400, 4000),
        (4, "evaluation", 50, 50 * 64),
    ]
    assert (found.lessons, found.steps) == (300, 3 * 4)  # batches of 32


def test_a_lesson_may_be_a_single_answer():
    # 100 groups of 4 answers a round, in batches of 32; online two turns of 50 prompts make a step each.
    found = estimate(recipe(learner={"loss": "rloo"}), evals=0, prompt_tokens=20, policy=None)
    assert (found.lessons, found.steps) == (1200, 3 * 13)
    online = estimate(recipe(learner={"loss": "rloo"}, online={"batch": 50}), evals=0, prompt_tokens=20, policy=None)
    assert (online.lessons, online.steps) == (1200, 3 * 2)


def test_memory_and_disk_follow_from_the_checkpoint(tmp_path: Path):
    folder = save_tiny(tmp_path / "model")
    found = estimate(recipe(), evals=0, prompt_tokens=20, policy=folder)
    assert found.parameters
    memory = dict(found.memory)
    assert memory["learning: weights, gradients, moments"] == 16.0 * found.parameters
    assert memory["sampling: weights and caches"] > 4.0 * found.parameters
    assert found.disk
    assert found.disk > 4 * 4.0 * found.parameters
    adapted = estimate(recipe(learner={"lora_rank": 4}), evals=0, prompt_tokens=20, policy=folder)
    assert dict(adapted.memory)["learning: weights, gradients, moments"] < 5.0 * found.parameters


@pytest.mark.parametrize(("name", "wanted"), [("google/gemma-2-9b-it", 9e9), ("Qwen/Qwen2.5-0.5B-Instruct", 5e8), ("a/b", None)])
def test_the_size_of_a_model_that_is_not_here_is_read_off_its_name(name: str, wanted: float | None):
    found = estimate(recipe(policy={"path": name}), evals=0, prompt_tokens=20, policy=None)
    assert found.parameters == wanted
    assert any(name in note for note in found.notes)


@pytest.mark.parametrize("name", ["eva-gemma-9b", "eva-24gb", "eva-lora", "eva-hf"])
def test_the_recipes_for_real_models_pass(name: str, tmp_path: Path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"text": f"prompt number {number}"}) + "\n" for number in range(12_000)))
    overrides = [f"--data.prompts={prompts}"]
    if name == "eva-hf":
        overrides += [
            f"--policy.path={save_tiny(tmp_path / 'model', max_position_embeddings=8192)}",
            f"--judge.path={save_classifier(tmp_path / 'judge')}",
        ]
    checked = load_recipe(ROOT / "recipes" / f"{name}.toml", overrides)
    assert isinstance(checked, AlignRecipe)
    text = "\n".join(plan_run(checked))
    for word in ("probe", "proposals", "bouts", "evaluation", "memory", "disk", "time", "optimiser steps"):
        assert word in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"judge": {"kind": "reward_model"}}, "judge.path"),
        ({"judge": {"kind": "rubric"}}, "judge.endpoint.url"),
        ({"judge": {"kind": "rubric", "path": "x", "endpoint": {"url": "http://127.0.0.1/v1"}}}, "either"),
        ({"creator": {"operators": ["sharpen"]}}, "sharpen"),
        ({"creator": {"answerable": "judge"}}, "judge.kind"),
        ({"creator": {"answerable": "program"}}, "creator.gate"),
        ({"online": {"batch": 200}}, "per_round"),
        ({"online": {"batch": 10}, "learner": {"backend": "trl"}}, "online"),
        ({"policy": {"path": "/no/such/folder"}}, "/no/such/folder"),
        ({"data": {"per_round": 100_000}}, "data.prompts"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_loaded(changes: dict[str, object], words: str):
    with pytest.raises(SparringError, match=words):
        list(plan_run(recipe(**changes)))
