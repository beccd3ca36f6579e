"""The shipped starting policy is what ``sparring pretrain`` makes, and is as mediocre and as able as it should be."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sparring.config import Policy
from sparring.errors import SparringError
from sparring.game import Sample, Sampling, Task
from sparring.games.pretrain import RECORD, fingerprint, pretrain_words
from sparring.models.folders import BUILTIN
from sparring.models.hf import HFModel
from sparring.worlds.splits import split
from sparring.worlds.words import grade, read

SHIPPED = BUILTIN["words-tiny"]
GREEDY = Sampling(n=1, temperature=0.0, top_p=1.0, max_new_tokens=64)


@pytest.fixture(scope="module")
def model() -> HFModel:
    return HFModel.load(SHIPPED, Policy(device="cpu"))


def solved(tasks: Sequence[Task], groups: Sequence[Sequence[Sample]]) -> np.ndarray:
    return np.array([[grade(task, sample.text)[1] for sample in group] for task, group in zip(tasks, groups, strict=True)])


def test_the_shipped_policy_was_made_from_this_world():
    record = json.loads((SHIPPED / RECORD).read_text())
    assert record == {"share": 1.0, "fingerprint": fingerprint()}, "run: sparring pretrain FOLDER, and ship the folder"
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 5_000_000


def test_it_is_mediocre_with_latent_skill(model: HFModel):
    tasks = split("hard")
    texts = [task.text for task in tasks]
    greedy = solved(tasks, model.sample(texts, GREEDY, role="solver", seed=0)).mean()
    six = Sampling(n=6, temperature=0.7, top_p=0.9, max_new_tokens=64)
    within_reach = solved(tasks, model.sample(texts, six, role="solver", seed=0)).any(axis=1).mean()
    assert within_reach >= 0.35
    assert within_reach >= 2 * greedy


def test_it_knows_the_creators_role(model: HFModel):
    prompts = [f"Deepen: {task.text}" for task in split("human")[:100]]
    how = Sampling(n=1, temperature=0.7, top_p=0.95, max_new_tokens=96)
    drafts = [group[0].text for group in model.sample(prompts, how, role="creator", seed=0)]
    readable = [not isinstance(read(draft), str) for draft in drafts]
    assert np.mean(readable) > 0.5


def test_a_small_share_trains_and_says_so(tmp_path: Path):
    lines: list[str] = []
    pretrain_words(tmp_path / "policy", 0.0002, lines.append)
    assert json.loads((tmp_path / "policy" / RECORD).read_text())["share"] == 0.0002
    assert "written to" in lines[-1]
    HFModel.load(tmp_path / "policy", Policy(device="cpu")).sample(["Reverse the word stone."], GREEDY, role="solver", seed=0)
    with pytest.raises(SparringError, match="is there already"):
        pretrain_words(tmp_path / "policy", 0.0002, lines.append)


@pytest.mark.slow
def test_the_command_makes_the_shipped_policy(tmp_path: Path):
    """Half an hour of one core. Equal where the processor rounds as ours did; as good anywhere."""
    pretrain_words(tmp_path / "policy", 1.0, lambda line: None)
    made, shipped = (load_file(folder / "model.safetensors") for folder in (tmp_path / "policy", SHIPPED))
    if all(np.array_equal(made[name], shipped[name]) for name in shipped):
        return
    tasks = split("human")
    texts = [task.text for task in tasks]
    scores = [
        solved(tasks, HFModel.load(folder, Policy(device="cpu")).sample(texts, GREEDY, role="solver", seed=0)).mean()
        for folder in (tmp_path / "policy", SHIPPED)
    ]
    assert abs(scores[0] - scores[1]) < 0.05
