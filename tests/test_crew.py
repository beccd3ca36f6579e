"""Several processes that learn together end where one alone ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from sparring import config
from sparring.errors import SparringError
from sparring.game import Lesson
from sparring.learners.batches import share_batch
from sparring.learners.train import TorchLearner
from tests.test_train import CREDITS, PAIRS, POLICY, how, item_of, policy, rows_of  # noqa: F401  (a fixture)
from tests.tiny import save_tiny

FSDP = {"fsdp_config": {"fsdp_version": 2, "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "fsdp_reshard_after_forward": True}}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def settings_file(folder: Path, kind: str) -> str:
    """What ``accelerate config`` writes, but for keys of no concern; JSON is YAML."""
    kinds = {"data parallel": {"distributed_type": "MULTI_GPU"}, "sharded": {"distributed_type": "FSDP", **FSDP}}
    values = {
        "compute_environment": "LOCAL_MACHINE",
        "num_processes": 2,
        "num_machines": 1,
        "mixed_precision": "no",
        **kinds[kind],
    }
    path = folder / "accelerate.yaml"
    path.write_text(json.dumps(values))
    return str(path)


def check(start: Path, folder: Path, kind: str, settings: config.Learner, lessons: Sequence[Lesson]) -> None:
    told: list[tuple[int, int]] = []
    TorchLearner(settings, POLICY, longest=8).learn(start, lessons, folder / "one", seed=7)
    together = settings.model_copy(update={"accelerate": settings_file(folder, kind)})
    TorchLearner(together, POLICY, longest=8, progress=lambda *at: told.append(at)).learn(start, lessons, folder / "two", seed=7)
    rows, expected = rows_of(folder / "two"), rows_of(folder / "one")
    assert told == [(step + 1, len(rows)) for step in range(len(rows))]
    for row, other in zip(rows, expected, strict=True):
        for key in ("loss", "grad_norm", "lr", "chosen_logp", "rejected_logp", "chosen_length"):
            assert row[key] == (other[key] if other[key] is None else pytest.approx(other[key], rel=1e-5, abs=1e-5)), key
    ours, theirs = (load_file(folder / name / "model.safetensors") for name in ("two", "one"))
    assert all((ours[name] - theirs[name]).abs().max() < 1e-5 for name in theirs)
    assert sorted(path.name for path in folder.iterdir()) == ["accelerate.yaml", "one", "two"]


@pytest.mark.parametrize("kind", ["data parallel", pytest.param("sharded", marks=pytest.mark.slow)])
def test_two_processes_learn_what_one_does(policy: Path, tmp_path: Path, kind: str) -> None:  # noqa: F811
    check(policy, tmp_path, kind, how(loss="grpo", kl=0.1, epochs=2, micro_tokens=40, batch=5, save_every=1), CREDITS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["data parallel", "sharded"])
@pytest.mark.parametrize(
    ("settings", "lessons"),
    [
        (how(epochs=2, schedule="cosine", weight_decay=0.1), PAIRS),
        (how(loss="kto", epochs=2, batch=3), CREDITS),
        (how(lora_rank=2, save_adapter=True, checkpointing=True), PAIRS),
        (how(dtype="bfloat16", batch=1), PAIRS[:2]),
    ],
    ids=["dpo", "kto", "lora", "bfloat16"],
)
def test_all_that_is_learned(
    policy: Path,  # noqa: F811
    tmp_path: Path,
    kind: str,
    settings: config.Learner,
    lessons: Sequence[Lesson],
) -> None:
    check(policy, tmp_path, kind, settings, lessons)


def test_lessons_are_dealt_out() -> None:
    items = [item_of(length, sides=1) for length in (9, 2, 5, 3, 7)]
    assert share_batch(items, range(5), 12, 1) == [[[1, 3], [2], [4], [0]]]
    assert share_batch(items, range(5), 12, 2) == [[[1, 2], [0]], [[3], [4]]]
    assert share_batch(items, [0], 12, 2) == [[[0]], []]


def test_a_configuration_that_is_not_there_is_named(policy: Path, tmp_path: Path) -> None:  # noqa: F811
    missing = how(accelerate=str(tmp_path / "nothing.yaml"))
    with pytest.raises(SparringError, match=r"nothing\.yaml.*`accelerate config` writes one"):
        TorchLearner(missing, POLICY).learn(policy, PAIRS, tmp_path / "out", seed=7)


@pytest.mark.slow
def test_what_fails_in_them_is_told(policy: Path, tmp_path: Path) -> None:  # noqa: F811
    broken = how(lr=1e30, accelerate=settings_file(tmp_path, "data parallel"))
    with pytest.raises(SparringError, match=r"step 2 of 3: .*at learning rate 1e\+30.*--learner.lr=1e\+29"):
        TorchLearner(broken, POLICY).learn(policy, PAIRS, tmp_path / "out", seed=7)


@pytest.mark.slow
def test_they_end_with_the_process_that_launched_them_and_go_on_from_its_state(tmp_path: Path) -> None:
    start = save_tiny(tmp_path / "start")
    settings: dict[str, Any] = {"epochs": 200, "save_every": 2, "accelerate": settings_file(tmp_path, "data parallel")}
    program = (
        "import json, sys; from pathlib import Path; from tests.test_train import *\n"
        "TorchLearner(how(**json.loads(sys.argv[3])), POLICY).learn(Path(sys.argv[1]), PAIRS, Path(sys.argv[2]), 7)"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-c", program, str(start), str(out), json.dumps(settings)]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        deadline = time.monotonic() + 120
        while not out.with_name("out.state").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    job = str(tmp_path / "out.job")
    while (left := [pid for pid in os.listdir("/proc") if pid.isdigit() and _runs(pid, job)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert not out.exists()
    told: list[int] = []
    TorchLearner(how(**settings), POLICY, progress=lambda done, _: told.append(done)).learn(start, PAIRS, out, 7)
    assert told[0] > 2
    assert len(rows_of(out)) == 600


def _runs(pid: str, word: str) -> bool:
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
