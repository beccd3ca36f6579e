"""What a run publishes: a checkpoint that loads, a data set that TRL reads, and cards without a word about this machine."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import DatasetCard, ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparring.config import AlignRecipe
from sparring.errors import SparringError
from sparring.export import export_run
from sparring.game import Credit, Demo, Pair, Sample
from sparring.metrics import round_metrics
from sparring.model_card import base_model, data_card, judges_of, without_paths
from sparring.records import BOUTS, LESSONS
from sparring.rundir import RunDir
from sparring.session import read_recipe


@pytest.fixture(scope="module")
def exported(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published") / "model"
    export_run(small_run, out)
    return out


def rows_of(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_the_last_policy_loads_as_it_was(small_run: Path, exported: Path) -> None:
    last = small_run / "round-002" / "policy"
    model, kept = AutoModelForCausalLM.from_pretrained(exported), AutoModelForCausalLM.from_pretrained(last)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), kept.state_dict().values(), strict=True))
    assert load_file(exported / "model.safetensors").keys() == load_file(last / "model.safetensors").keys()
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(last).chat_template
    assert not list(exported.rglob("*.bin"))


def test_the_data_set_is_the_runs_lessons(small_run: Path, exported: Path) -> None:
    run = RunDir(small_run)
    created = 0
    for number in (1, 2):
        lessons = run.read(f"round-{number:03d}/lessons", LESSONS) or []
        rows = rows_of(exported / "data" / "preference" / f"round-{number:03d}.parquet")
        assert len(rows) == len(lessons) > 0
        bouts = [bout for phase in ("probe", "bouts") for bout in run.read(f"round-{number:03d}/{phase}", BOUTS) or []]
        tasks = {bout.task.id: bout.task for bout in bouts}
        for row, lesson in zip(rows, lessons, strict=True):
            assert isinstance(lesson, Pair)
            assert row["prompt"] == [{"role": "user", "content": lesson.prompt}]
            assert row["chosen"] == [{"role": "assistant", "content": lesson.chosen.text}]
            assert row["rejected"] == [{"role": "assistant", "content": lesson.rejected.text}]
            assert row["score_chosen"] - row["score_rejected"] == pytest.approx(lesson.margin) == pytest.approx(row["margin"])
            task = tasks[lesson.task]
            assert (row["round"], row["task"], row["parent"]) == (number, task.id, task.parent)
            assert row["operator"] == task.meta.get("operator")
            assert row["created"] == lesson.created == (row["operator"] is not None)
            created += row["created"]
    assert created > 0


def test_trl_reads_the_data_set(exported: Path) -> None:
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    found = datasets.load_dataset(
        "parquet", data_files=str(exported / "data/preference/round-001.parquet"), split="train", cache_dir=str(exported.parent)
    )
    row = found[0]
    assert trl.is_conversational(row)
    shown = trl.apply_chat_template(row, AutoTokenizer.from_pretrained(exported))
    assert shown["prompt"] == f"<user>{row['prompt'][0]['content']}<assistant>"
    assert shown["chosen"] == f"{row['chosen'][0]['content']}<eos>"


def test_the_card_says_what_was_done_and_how_it_went(small_run: Path, exported: Path) -> None:
    card = ModelCard.load(exported / "README.md")
    assert card.data.to_dict()["library_name"] == "transformers"
    assert "license" not in card.data.to_dict()
    assert "base_model" not in card.data.to_dict()  # a folder of somebody's machine is none
    text = card.text
    assert "- Base model: `model`" in text
    assert "the program `tests.small:grade`" in text
    recipe = read_recipe(small_run)
    for number in range(3):
        row = round_metrics(RunDir(small_run), number, recipe.evaluation)["evals"]["held-out"]
        cell = f"{100 * row['accuracy']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        assert re.search(rf"^\| {number} \| {re.escape(cell)}", text, re.MULTILINE)
    assert "## Licence" in text
    assert 'mutate = "tests.small:mutate"' in text
    data = DatasetCard.load(exported / "data" / "README.md").data.to_dict()
    (config,) = data["configs"]
    assert config["config_name"] == "preference"
    assert config["data_files"][0] == {"split": "round_001", "path": "preference/round-001.parquet"}


def test_nothing_published_names_a_place_on_this_machine(small_run: Path, exported: Path) -> None:
    secrets = [str(small_run), str(small_run.parents[1]), str(Path.home()), str(Path.cwd()), "/tmp/"]
    for path in exported.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content], path


def test_a_whole_folder_or_none(small_run: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(SparringError, match="exists already"):
        export_run(small_run, tmp_path / "there")
    with pytest.raises(SparringError, match="is no run"):
        export_run(tmp_path, tmp_path / "out")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.toml").write_text((small_run / "run.toml").read_text())
    with pytest.raises(SparringError, match=r"no policy yet.*sparring resume"):
        export_run(tmp_path / "begun", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"there", "begun"}


def test_every_kind_of_lesson_has_a_place() -> None:
    from sparring.export import SCHEMAS, Taught, lesson_row

    here = Taught(number=3, tasks={}, scores={("t", "yes"): 0.75})
    answer = Sample(role="solver", text="yes")
    kind, row = lesson_row(Credit(task="t", prompt="q", completion=answer, advantage=-0.5), here)
    assert kind == "credit"
    assert (row["label"], row["advantage"], row["score"], row["round"], row["parent"]) == (False, -0.5, 0.75, 3, None)
    assert row.keys() == set(SCHEMAS[kind].names)
    kind, row = lesson_row(Demo(prompt="q", completion="a", weight=2.0), here)
    assert kind == "demonstration"
    assert row["completion"] == [{"role": "assistant", "content": "a"}]
    assert row["weight"] == 2.0
    assert row.keys() == set(SCHEMAS[kind].names)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/me/models/gemma", "gemma"),
        ("~/prompts.jsonl", "prompts.jsonl"),
        ("data/private/prompts.parquet", "prompts.parquet"),
        ("./gemma/", "gemma"),
        (r"C:\models\gemma", "gemma"),
        ("/home/me/My Models/gemma", "gemma"),
        (r"C:\My Models\gemma", "gemma"),
        ("hub:~/data?split=train", "data?split=train"),
        ("settings/fsdp.yaml", "fsdp.yaml"),
        ("Say yes/no, then why/how.", "Say yes/no, then why/how."),
        ("yes/no " * 2000, "yes/no " * 2000),
        ("google/gemma-2-9b-it", "google/gemma-2-9b-it"),
        ("sparring.worlds.words:grade", "sparring.worlds.words:grade"),
        ("world:human", "world:human"),
        ("http://me:secret@10.0.0.7:8000/v1", "(a server)"),
    ],
)
def test_paths_are_cut_down_to_their_last_name(value: str, shown: str) -> None:
    assert without_paths({"a": [{"b": value}]}) == {"a": [{"b": shown}]}


def test_what_may_be_a_secret_is_left_out() -> None:
    endpoint = {"key_env": "MY_KEY", "extra": {"token": "s3cret"}, "url": "https://inside.example/v1"}
    assert json.dumps(without_paths({"judge": {"endpoint": endpoint}})).find("s3cret") == -1
    assert without_paths(endpoint) == {"key_env": "", "extra": {}, "url": "(a server)"}
    assert without_paths({"trl": {"hub_token": "s3cret"}}) == {"trl": {"hub_token": ""}}


def test_a_folder_that_a_server_calls_its_model_is_nobodys_business() -> None:
    endpoint = {"url": "http://10.0.0.7:8000/v1", "model": "/home/alice/secret/judge"}
    recipe = AlignRecipe.model_validate({"judge": {"kind": "rubric", "endpoint": endpoint}})
    assert judges_of(recipe) == "rubric by `judge` on a server"
    assert "alice" not in data_card(recipe, {"preference": {"round-001": 1}})


def test_no_setting_of_a_checkpoint_says_where_it_was_read_from(small_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    policy = sorted(run.glob("round-*/policy"))[-1]
    settings = json.loads((policy / "config.json").read_text())
    settings |= {"_name_or_path": "/home/alice/base", "text_config": {"_name_or_path": "/home/alice/text", "layers": [2]}}
    (policy / "config.json").write_text(json.dumps(settings))
    export_run(run, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "config.json").read_text())
    assert found["text_config"] == {"layers": [2]}
    assert found["vocab_size"] == settings["vocab_size"]
    assert "alice" not in json.dumps(found)


def test_a_hub_name_is_the_base_model_and_every_judge_is_named() -> None:
    recipe = AlignRecipe.model_validate(
        {
            "policy": {"path": "google/gemma-2-9b-it"},
            "judge": {
                "members": [{"kind": "armorm", "path": "RLHFlow/ArmoRM-Llama3-8B-v0.1"}, {"kind": "math"}],
                "combine": "worst",
            },
        }
    )
    assert base_model(recipe) == ("google/gemma-2-9b-it", True)
    assert judges_of(recipe) == "an ensemble (worst) of armorm: `RLHFlow/ArmoRM-Llama3-8B-v0.1`; math by a program"
