"""The embedded world's starting policy, trained from scratch by the same learner that plays the game."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from sparring.config import Learner, Policy
from sparring.errors import SparringError
from sparring.game import stable_hash
from sparring.rundir import commit
from sparring.worlds.checkpoint import make_tokenizer, save_untrained
from sparring.worlds.demonstrations import STAGES, demonstrations

SEED = 1
HOW = Learner(loss="sft", warmup=0.03, weight_decay=0.01, batch=64, micro_tokens=1024, dtype="bfloat16", save_every=500)
RECORD = "pretraining.json"
"""What the folder says of its making; a test compares it with what the code would make."""


def pretrain_words(out: Path, share: float, say: Callable[[str], None], policy: Policy | None = None) -> None:
    """Write the starting policy to ``out``. ``share`` < 1 trains on that share of the demonstrations; 1 is what is shipped.

    Deterministic on one kind of processor; another kind rounds differently and gives a policy that is as good but not equal.
    A killed call goes on where it was.
    """
    if out.exists():
        raise SparringError(f"{out} is there already; remove it, or choose another folder")
    from sparring.learners.train import TorchLearner

    work = out.with_name(out.name + ".work")
    source = work / "blank"
    if not source.exists():
        commit(source, lambda folder: save_untrained(folder, SEED))
    for stage in STAGES:
        target = work / stage.name
        if not target.exists():
            lessons = list(islice(demonstrations(stage, SEED), max(1, round(share * stage.size))))
            say(f"{stage.name}: {len(lessons)} demonstrations")
            learner = TorchLearner(
                HOW.model_copy(update={"lr": stage.lr}), policy or Policy(device="cpu"), progress=_every_hundred(say)
            )
            learner.learn(source, lessons, target, SEED)
        source = target
    (source / "training.jsonl").unlink(missing_ok=True)
    (source / RECORD).write_text(json.dumps({"share": share, "fingerprint": fingerprint()}) + "\n", encoding="utf-8")
    source.rename(out)
    shutil.rmtree(work)
    say(f"written to {out}")


def fingerprint() -> str:
    """Changes with anything that the weights depend on, as far as data and settings go: vocabulary, stages, demonstrations."""
    seen = [repr(sorted(make_tokenizer().get_vocab().items())), HOW.model_dump_json(exclude_defaults=True), repr(STAGES)]
    seen += [repr(list(islice(demonstrations(stage, SEED), 500))) for stage in STAGES]
    return f"{stable_hash(*seen):016x}"


def _every_hundred(say: Callable[[str], None]) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            say(f"  {done} of {total} steps")

    return progress
