"""The command line: what each command prints, and how each mistake is told."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparring import cli, doctor
from sparring.config import AlignRecipe
from sparring.errors import SparringError
from sparring.game import Pair, Sample, Sampling, Scored
from sparring.models import folders
from sparring.models.folders import fetch_policy, resolve_policy
from sparring.records import BOUTS, LESSONS, read_parquet
from sparring.rundir import RunDir
from tests.conftest import run_cli
from tests.small import PROMPTS, write_recipe

ROOT = Path(__file__).parents[1]
Sparring = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sparring(capsys: pytest.CaptureFixture[str]) -> Sparring:
    """Runs a command in this process: its exit status, what it printed, and what it complained."""

    def run(*words: object) -> tuple[int, str, str]:
        code = run_cli(*words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def copy(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run under ``runs/small`` of the current folder, with its recipe, to be changed."""
    shutil.copytree(small_run.parents[1], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("runs/small")


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*")}


# ---------------------------------------------------------------------------------------------- play


def test_a_run_leaves_what_it_promises(small_run: Path):
    assert {path.name for path in small_run.iterdir()} == {
        ".lock", "run.toml", "provenance.jsonl", "timings.jsonl", "metrics.jsonl",
        "prompts", "evals", "round-000", "round-001", "round-002",
    }  # fmt: skip
    rows = [json.loads(line) for line in (small_run / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [0, 1, 2]
    assert rows[1]["probe"]["tasks"] == 40
    assert rows[2]["bouts"]["tasks"] == rows[2]["proposals"]["accepted"] > 0
    assert rows[2]["learning"]["steps"] > 1
    (facts,) = [json.loads(line) for line in (small_run / "provenance.jsonl").read_text().splitlines()]
    assert {"sparring", "revision", "python", "platform", "machine", "packages", "time"} <= set(facts)
    assert facts["packages"]["torch"]
    assert (small_run / "run.toml").read_text().startswith('format = 2\ngame = "align"\n')


def test_the_last_policy_is_an_ordinary_checkpoint(small_run: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(small_run / "round-002" / "policy", use_safetensors=True)
    assert AutoTokenizer.from_pretrained(small_run / "round-002" / "policy").chat_template


def test_a_real_model_learns_nothing_from_faults(small_run: Path):
    run = RunDir(small_run)
    for number in (1, 2):
        bouts = [bout for phase in ("probe", "bouts") for bout in run.read(f"round-00{number}/{phase}", BOUTS) or []]
        broken = [
            a.answer
            for bout in bouts
            for a, v in zip(bout.attempts, bout.verdicts, strict=True)
            if v.fault == "ValueError: a seven"
        ]
        taught = run.read(f"round-00{number}/lessons", LESSONS) or []
        assert broken
        assert taught
        assert {
            answer for pair in taught if isinstance(pair, Pair) for answer in (pair.chosen.text, pair.rejected.text)
        }.isdisjoint(broken)


def test_a_finished_run_is_shown_and_not_touched(copy: Path, sparring: Sparring):
    logs = [str(copy / name) for name in ("provenance.jsonl", ".lock")]
    before = files_of(copy)
    code, out, err = sparring("play", "small.toml")
    assert (code, err) == (0, "")
    assert "The run lies in runs/small" in out
    after = files_of(copy)
    assert {name for name in before if before[name] != after[name]} <= {*logs}
    assert len((copy / "provenance.jsonl").read_text().splitlines()) == 2, "two processes worked here"


def test_more_rounds(copy: Path, sparring: Sparring):
    code, out, err = sparring("resume", copy, "--run.rounds=3", "--accept-changes")
    assert (code, err) == (0, "")
    assert "theta3 evolved" in out
    assert "rounds = 3" in (copy / "run.toml").read_text()


def test_an_edited_recipe_is_refused_with_the_difference(copy: Path, sparring: Sparring):
    before = files_of(copy)
    for command in (["play", "small.toml"], ["resume", copy]):
        code, _, err = sparring(*command, "--learner.lr=0.5", "--run.rounds=3")
        assert code == 2
        assert "runs/small was begun with another recipe:\n  learner.lr: 0.0001 -> 0.5\n  run.rounds: 2 -> 3\n" in err
        assert "--run.name=NAME" in err
        assert "--accept-changes" in err
    assert {name for name, seen in files_of(copy).items() if before.get(name) != seen} <= {str(copy / ".lock")}


@pytest.mark.parametrize(
    "change", ["--policy.path=other", "--data.prompts=held-out.jsonl", "--data.evals.held-out=prompts.jsonl"]
)
def test_what_a_run_has_copied_cannot_change(copy: Path, sparring: Sparring, change: str):
    code, _, err = sparring("play", "small.toml", change, "--accept-changes")
    assert code == 2
    assert f"and has copied them:\n  {change.removeprefix('--').partition('=')[0]}: " in err


def test_a_run_that_failed_to_begin_is_begun_again(copy: Path, sparring: Sparring):
    shutil.rmtree(copy)
    assert "policy.path = './typo'" in sparring("play", "small.toml", "--policy.path=./typo")[2]
    assert "data.evals.more = 'typo.jsonl'" in sparring("play", "small.toml", "--data.evals.more=typo.jsonl")[2]
    code, _, err = sparring("play", "small.toml", "--run.rounds=1", "--data.per_round=16")
    assert (code, err) == (0, "")


def test_another_evaluation_set_is_played_for_all_rounds(copy: Path, sparring: Sparring):
    code, out, err = sparring("resume", copy, "--data.evals.more=prompts.jsonl", "--accept-changes")
    assert (code, err) == (0, "")
    assert "more" in out
    assert all((copy / f"round-00{number}" / "eval-more").is_dir() for number in range(3))
    assert all("more" in json.loads(line)["evals"] for line in (copy / "metrics.jsonl").read_text().splitlines())


def test_a_newer_format_is_refused(copy: Path, sparring: Sparring):
    path = copy / "run.toml"
    path.write_text(path.read_text().replace("format = 2", "format = 3"))
    for command in (["play", "small.toml"], ["resume", copy], ["show", copy], ["eval", copy, "--tasks=held-out.jsonl"]):
        code, _, err = sparring(*command)
        assert code == 2
        assert "run.toml has format 3, this sparring" in err
        assert "install a newer sparring" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format = ", "is damaged"),
        ("", "says no format; write `format = 2`"),
        ("format = 1", "has format 1, this sparring"),
        ("format = 2\nx = 1", "unknown key x"),
    ],
)
def test_a_damaged_recipe_of_a_run(copy: Path, sparring: Sparring, text: str, words: str):
    (copy / "run.toml").write_text(text)
    code, _, err = sparring("resume", copy)
    assert code == 2
    assert f"runs/small/run.toml{'' if 'key' not in words else ':'} {words}" in err


def test_a_truncated_shard_is_named_and_repaired(copy: Path, small_run: Path, sparring: Sparring):
    shard = copy / "round-002" / "probe" / "000008.parquet"
    shard.write_bytes(shard.read_bytes()[:-7])
    for command in (["play", "small.toml"], ["show", copy]):
        code, _, err = sparring(*command)
        assert code == 2
        assert "round-002/probe/000008.parquet is not a whole bouts file" in err
        assert "delete this one file" in err
    shard.unlink()
    assert sparring("play", "small.toml")[0] == 0
    assert shard.read_bytes() == (small_run / "round-002" / "probe" / "000008.parquet").read_bytes()


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path, sparring: Sparring, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path)
    (tmp_path / "runs" / "small").mkdir(parents=True)
    (tmp_path / "runs" / "small" / "thesis.tex").write_text("years of work")
    code, _, err = sparring("play", "small.toml")
    assert code == 2
    assert "runs/small holds 'thesis.tex' and no run.toml, so it is no run; choose another folder with --run.name=NAME" in err


def test_a_run_that_was_killed_while_it_began(copy: Path, sparring: Sparring):
    shutil.rmtree(copy)
    copy.mkdir()
    (copy / "run.toml.tmp").write_text("form")
    code, _, err = sparring("play", "small.toml", "--data.prompts=nowhere.jsonl")
    assert (code, (copy / "run.toml").exists()) == (2, True)
    assert "data.prompts = 'nowhere.jsonl' cannot be read" in err


def test_two_processes(copy: Path, sparring: Sparring):
    with RunDir(copy).lock():
        for command in (["play", "small.toml"], ["resume", copy]):
            code, _, err = sparring(*command)
            assert code == 2
            assert f"runs/small is being played by process {os.getpid()} on " in err
        assert sparring("show", copy)[0] == 0, "looking on is free"


def test_a_stop_says_how_to_go_on(copy: Path, sparring: Sparring, monkeypatch: pytest.MonkeyPatch):
    from sparring.models.hf import HFModel

    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(HFModel, "load", stop)
    shutil.rmtree(copy / "round-002" / "eval-held-out")
    code, out, err = sparring("play", "small.toml")
    assert (code, err) == (130, "")
    assert "stopped; what is finished is kept. Go on with:\n  sparring resume runs/small\n" in out


def test_an_impatient_user_stops_once():
    stop = cli._stopper()
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGINT, None)
    stop(signal.SIGINT, None)
    stop(signal.SIGTERM, None)


def test_a_user_who_was_not_heard_can_stop_again(monkeypatch: pytest.MonkeyPatch):
    """A grader's bare ``except:`` takes the first one; there must be a second."""
    stop = cli._stopper()
    for seconds in (100.0, 101.5):
        monkeypatch.setattr(cli.time, "monotonic", lambda now=seconds: now)
        with pytest.raises(KeyboardInterrupt):
            stop(signal.SIGINT, None)


def test_too_few_prompts_are_told_before_anything_is_played(copy: Path, sparring: Sparring):
    shutil.rmtree(copy)
    code, _, err = sparring("play", "small.toml", "--data.per_round=50")
    assert code == 2
    assert f"data.prompts has {PROMPTS} different prompts and the rounds up to now need 50" in err
    assert not (copy / "round-000").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "--judge.grade=tests.small:constant_grade",
            "(score 0.5, whatever) above the bad answer",
        ),
        ("--judge.grade=tests.nowhere:grade", "judge.grade = 'tests.nowhere:grade' cannot be imported"),
        ("--creator.mutate=tests.small:nothing", "creator.mutate = 'tests.small:nothing' cannot be imported"),
        ("--data.read=tests.small:nothing", "data.read = 'tests.small:nothing' cannot be imported"),
        ("--learner.loss=orpo --learner.nll=0.5", "set learner.nll to 0"),
        ("--solver.n=1", "a group of 1 cannot give a pair; set solver.n to at least 2 (--solver.n=6)"),
        ("--solver.n 6", "--solver.n has no value; write it after an equals sign"),
        ("--solvr.n=6", "unknown key solvr; did you mean solver?"),
    ],
)
def test_what_is_wrong_is_told_before_a_run_begins(copy: Path, sparring: Sparring, change: str, words: str):
    shutil.rmtree(copy)
    code, _, err = sparring("play", "small.toml", *change.split())
    assert code == 2
    assert words in err
    assert err.startswith("sparring: ")
    assert not copy.exists()


def test_no_such_recipe(sparring: Sparring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert sparring("play", "eva.toml") == (2, "", "sparring: no recipe at eva.toml\n")


def test_a_function_may_lie_where_the_command_is_run(copy: Path, sparring: Sparring):
    shutil.copy(ROOT / "tests" / "small.py", "my_own_judge.py")
    code, out, err = sparring("doctor", "small.toml", "--judge.grade=my_own_judge:grade")
    assert (code, err) == (0, "")
    assert "nothing is missing" in out


# ---------------------------------------------------------------------------------------------- show


def test_show(small_run: Path, sparring: Sparring):
    code, out, err = sparring("show", small_run, "--prompts=2")
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    head = next(line for line in lines if line.split()[:1] == ["policy"])
    assert head.split() == ["policy", "held-out", "length", "faults"]
    assert [
        line.split("  ")[0].strip() for line in lines if "[" in line and "accuracy" not in line and "against" not in line
    ] == [
        "theta0",
        "theta1 human",
        "theta2 evolved",
    ]
    assert any(line.startswith("theta2 against theta0, paired by task: held-out ") for line in lines)
    assert "drafts refused: " in out
    run = RunDir(small_run)
    rows = [json.loads(line) for line in (small_run / "metrics.jsonl").read_text().splitlines()]
    (second,) = [line.split() for line in lines if line.split()[:1] == ["2"]]
    created = len(run.read("round-002/bouts", BOUTS) or [])
    faults = rows[2]["probe"]["faults"] + rows[2]["bouts"]["faults"]
    assert second[1:3] == ["40", str(created)]
    assert faults > 0
    assert second[6:8] == [str(rows[2]["probe"]["ties"] + rows[2]["bouts"]["ties"]), str(faults)]
    assert f"round 2: the most informative of {created} created prompts" in out
    assert out.count("return ") == 2
    assert "…" not in out
    assert max(map(len, lines)) <= 160


def test_show_a_run_that_may_only_be_read(copy: Path, sparring: Sparring):
    before = files_of(copy)
    for path in [*copy.rglob("*"), copy]:
        path.chmod(path.stat().st_mode & ~0o222)
    assert sparring("show", copy)[0] == 0
    assert files_of(copy) == before


def test_show_a_run_that_has_just_begun(copy: Path, sparring: Sparring):
    for number in range(3):
        shutil.rmtree(copy / f"round-00{number}")
    code, out, _ = sparring("show", copy)
    assert (code, "drafts refused: none" in out) == (0, True)


def test_what_is_no_run(copy: Path, sparring: Sparring):
    for command in ("show", "resume"):
        code, _, err = sparring(command, "runs/smal")
        assert (code, err) == (2, "sparring: runs/smal is no run (there is no run.toml); there are runs/small\n")


# ---------------------------------------------------------------------------------------------- eval


@pytest.mark.parametrize("n", [1, 3])
def test_eval_gives_accuracy_with_an_interval(small_run: Path, sparring: Sparring, tmp_path: Path, n: int):
    tasks, out = small_run.parents[1] / "held-out.jsonl", tmp_path / "bouts.parquet"
    code, text, err = sparring("eval", small_run, "--tasks", tasks, f"--n={n}", "--out", out)
    assert (code, err) == (0, "")
    bouts = read_parquet(out, BOUTS)
    assert {len(bout.attempts) for bout in bouts} == {n}
    judged = [[v.solved for v in bout.verdicts if v.fault is None] for bout in bouts]
    shares = [sum(group) / len(group) for group in judged if group]
    accuracy = next(line for line in text.splitlines() if "accuracy" in line)
    assert f"{100 * sum(shares) / len(shares):.1f} %" in accuracy
    assert "(95 % interval)" in accuracy
    assert ("pass@3" in text) == (n == 3)
    assert f"faults {sum(v.fault is not None for bout in bouts for v in bout.verdicts)} of {10 * n} answers" in text
    assert "round-002/policy" in text


def test_eval_of_a_run_repeats_what_the_run_says(small_run: Path, sparring: Sparring):
    _, text, _ = sparring("eval", small_run, "--tasks", small_run.parents[1] / "held-out.jsonl")
    row = json.loads((small_run / "metrics.jsonl").read_text().splitlines()[-1])["evals"]["held-out"]
    assert f"accuracy  {100 * row['accuracy']:5.1f} %   [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" in text


def test_eval_of_a_checkpoint(small_run: Path, sparring: Sparring):
    folder = small_run.parents[1]
    words = ["--data.read=tests.small:read", "--judge.grade=tests.small:grade", "--evaluation.max_new_tokens=4"]
    code, text, err = sparring("eval", folder / "model", "--tasks", folder / "held-out.jsonl", *words)
    assert (code, err) == (0, "")
    assert "length      4.0     tokens" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["runs/smal", "--tasks=held-out.jsonl"], "MODEL = 'runs/smal': there is no such folder; give a checkpoint folder"),
        (["builtin:huge", "--tasks=held-out.jsonl"], "there is no such built-in policy; there is builtin:words-tiny"),
        (["runs", "--tasks=held-out.jsonl"], "MODEL = 'runs' is no checkpoint with safetensors: runs lacks config.json"),
        (["runs/small", "--tasks=held.jsonl"], "--tasks = 'held.jsonl' cannot be read: No such file"),
        (["runs/small", "--tasks=world:odd"], "has no split 'odd'"),
        (
            ["runs/small", "--tasks=held-out.jsonl", "--solver.m=1"],
            "sparring eval: unknown key solver.m; there are n, temperature",
        ),
    ],
)
def test_eval_of_what_is_not_there(copy: Path, sparring: Sparring, words: list[str], told: str):
    code, _, err = sparring("eval", *words)
    assert code == 2
    assert told in err


def test_eval_without_tasks(sparring: Sparring):
    code, _, err = sparring("eval", "somewhere")
    assert code == 2
    assert "--tasks" in err


def test_eval_of_a_run_without_a_policy(copy: Path, sparring: Sparring):
    for number in range(3):
        shutil.rmtree(copy / f"round-00{number}")
    code, _, err = sparring("eval", copy, "--tasks=held-out.jsonl")
    assert code == 2
    assert "runs/small has no finished policy yet; play it further with: sparring resume runs/small" in err


# ---------------------------------------------------------------------------------------------- doctor


def test_doctor_describes_the_machine(sparring: Sparring):
    code, out, err = sparring("doctor")
    assert (code, err) == (0, "")
    for name in ("sparring", "python", "torch", "transformers", "CPU", "GPU", "memory", "disk here", "extra dev"):
        assert any(line.startswith(name) for line in out.splitlines())
    assert "GB free" in out


def test_doctor_names_everything_that_a_recipe_lacks(copy: Path, sparring: Sparring):
    code, out, _ = sparring(
        "doctor", "small.toml", "--policy.path=somebody/model", "--data.evals.more=more.jsonl", "--data.per_round=99"
    )
    assert code == 1
    told = [line for line in out.splitlines() if line.startswith("  - ")]
    assert [line.split(" ")[3] for line in told] == ["policy.path", "data.prompts", "data.evals.more"]
    assert "has not been downloaded yet" in told[0]


def test_doctor_downloads_nothing(monkeypatch: pytest.MonkeyPatch):
    asked: list[bool] = []
    monkeypatch.setattr(folders, "_download", lambda name, key, download: asked.append(download) or Path("/nowhere"))
    assert doctor.missing_for(AlignRecipe.model_validate({"policy": {"path": "somebody/model"}}))
    assert set(asked) == {False}


# ---------------------------------------------------------------------------------------------- checkpoint folders


def test_a_fetched_policy_shares_nothing_with_its_source(small_run: Path, tmp_path: Path):
    source = tmp_path / "source"
    shutil.copytree(small_run / "round-002" / "policy", source)
    (source / "pytorch_model.bin").write_bytes(b"a pickle")
    (source / "modeling_own.py").write_text("import os")
    fetch_policy(str(source), tmp_path / "policy")
    names = {path.name for path in (tmp_path / "policy").iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}
    assert names.isdisjoint({"pytorch_model.bin", "modeling_own.py", "training.jsonl"})
    assert (tmp_path / "policy" / "config.json").stat().st_nlink == 1


@pytest.mark.parametrize(
    ("lacks", "told"), [("config.json", "config.json"), ("model.safetensors", "*.safetensors"), ("tokenizer*", "tokenizer*")]
)
def test_a_folder_that_is_no_checkpoint(small_run: Path, tmp_path: Path, lacks: str, told: str):
    folder = tmp_path / "model"
    shutil.copytree(small_run.parents[1] / "model", folder)
    for path in list(folder.glob(lacks)):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(SparringError) as raised:
        resolve_policy(str(folder))
    assert f"policy.path = '{folder}' is no checkpoint with safetensors: {folder} lacks {told} (" in str(raised.value)


def test_a_hub_name_is_downloaded_without_pickles_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_run: Path):
    import huggingface_hub

    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(small_run.parents[1] / "model")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    assert resolve_policy("somebody/model") == small_run.parents[1] / "model"
    assert asked["name"] == "somebody/model"
    assert "*.safetensors" in asked["allow_patterns"]
    assert not {"*", "*.bin", "*.py", "*.pt"} & set(asked["allow_patterns"])


def test_a_hub_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    def download(name: str, **options: Any) -> str:
        raise OSError("[Errno 101] Network is unreachable\nand a lot more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    told = r"'somebody/model' is no local folder and could not be fetched from the hub \(\[Errno 101\] Network is unreachable\); check"
    with pytest.raises(SparringError, match=told):
        resolve_policy("somebody/model")


@pytest.mark.parametrize("path", ["./model", "/no/where", "~/no/where", "model", "tests/model", "a/b/c"])
def test_a_slip_in_a_path_asks_nobody(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folders, "_download", lambda *arguments: pytest.fail("asked the hub"))
    monkeypatch.chdir(ROOT)
    with pytest.raises(SparringError, match="there is no such folder"):
        resolve_policy(path)


# ---------------------------------------------------------------------------------------------- engines


def test_a_model_is_loaded_at_its_first_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from sparring.engines import Local
    from sparring.models.hf import HFModel

    class Loaded:
        def sample(self, prompts: list[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
            return [[] for _ in prompts]

        def score(self, pairs: list[tuple[str, str]], *, role: str) -> list[Scored]:
            return [Scored(logprob=-1.0, tokens=1) for _ in pairs]

    loads: list[Path] = []
    monkeypatch.setattr(HFModel, "load", lambda folder, settings: loads.append(folder) or Loaded())
    engine = Local(AlignRecipe().policy)
    with engine.serve(tmp_path):
        assert loads == []
    with engine.serve(tmp_path) as model:
        for _ in range(2):
            assert model.sample(["a"], Sampling(), role="solver", seed=0) == [[]]
            assert model.score([("a", "b")], role="solver") == [Scored(logprob=-1.0, tokens=1)]
    assert loads == [tmp_path]


def test_eval_of_a_suite(copy: Path, sparring: Sparring):
    (copy.parents[1] / "asked.jsonl").write_text('{"uid": "a", "prompt": "w1"}\n{"uid": "b", "prompt": "w2"}\n')
    (copy.parents[1] / "known.jsonl").write_text('{"uid": "a", "output": "w1"}\n{"uid": "b", "output": "w2"}\n')
    words = ["--model", copy, "--baseline=known.jsonl", "--judge=known.jsonl", "--questions=asked.jsonl"]
    code, _, err = sparring("eval", "--evaluation.bootstrap=9", "--suite=arena-hard", *words)
    assert (code, "has no answer to" in err) == (2, True)  # ready answers are no judge
    code, text, _ = sparring("eval", "--suite=world:easy", "--evaluation.max_new_tokens=2", "--model", copy)
    assert code == 0
    assert "accuracy" in text


def test_a_file_that_a_recipe_names_is_not_edited_unnoticed(copy: Path, sparring: Sparring):
    templates = Path("mine.toml")
    templates.write_text('again = "Once more: {prompt}"\n')
    words = ("play", "small.toml", "--run.name=other", "--run.rounds=1", f"--creator.templates={templates}")
    assert sparring(*words)[0] == 0
    assert sparring(*words)[0] == 0
    templates.write_text('again = "And once more: {prompt}"\n')
    code, _, err = sparring(*words)
    assert code == 2
    assert "creator.templates" in err
    assert "--accept-changes" in err
    assert sparring(*words, "--accept-changes")[0] == 0
    assert sparring(*words)[0] == 0
