"""A learner in several processes of this machine, as an accelerate configuration says.

This process writes down what is to be learned, ``accelerate launch`` starts the others, and each of them runs ``main``: the same
learner, which finds that it is not alone (``crew.py``). They end when this process ends, however that happens.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparring import config
from sparring.errors import SparringError
from sparring.game import Lesson
from sparring.records import LESSONS, read_parquet, write_parquet

_TOLD = 2000
"""Characters of a failed process's last words that are shown."""


def launch(
    job: Mapping[str, Any], lessons: Sequence[Lesson], folder: Path, accelerate: str, progress: Callable[[int, int], None] | None
) -> None:
    """Runs ``job`` (the arguments of ``_learn``, as JSON) with the processes of the configuration ``accelerate``.

    ``folder`` is what they and this process share; it is left to the caller. Raises SparringError with their last words.
    """
    settings = Path(accelerate).expanduser()
    if not settings.is_file():
        raise SparringError(f"learner.accelerate = {accelerate!r}: there is no such file; `accelerate config` writes one")
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / "lessons.parquet", lessons, LESSONS)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    (folder / "error").unlink(missing_ok=True)
    # Port 0: any that is free.
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(settings), "--main_process_port", "0"]
    command += ["-m", "sparring.learners.launch", str(folder)]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                _report(line, progress)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # which they take as the end
    if process.returncode:
        said = (folder / "error") if (folder / "error").exists() else (folder / "log")
        words = said.read_text(encoding="utf-8", errors="replace").strip()[-_TOLD:]
        raise SparringError(words if said.name == "error" else f"the processes of {accelerate} failed: {words}")


def _report(line: str, progress: Callable[[int, int], None] | None) -> None:
    """Other libraries may print too: what is no report is passed over."""
    words = line.split()
    if progress and len(words) == 3 and words[0] == "step" and words[1].isdigit() and words[2].isdigit():
        progress(int(words[1]), int(words[2]))


def _end_with_parent() -> None:
    """The pipe of standard input closes when the process that launched this one closes it or is no more."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: Path) -> None:
    """One of the processes."""
    from sparring.learners.train import TorchLearner

    _end_with_parent()
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    learner = TorchLearner(
        config.Learner.model_validate_json(job["how"]),
        config.Policy.model_validate_json(job["policy"]),
        reuse_logprobs=job["reuse_logprobs"],
        longest=job["longest"],
        progress=lambda done, total: print("step", done, total, flush=True),
    )
    try:
        learner.learn(Path(job["start"]), read_parquet(folder / "lessons.parquet", LESSONS), Path(job["out"]), job["seed"])
    except SparringError as error:
        (folder / "error").write_text(str(error), encoding="utf-8")
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]))
