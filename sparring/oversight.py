"""Is the judge being gamed? What is looked at after every round of the align game.

A fixed judge is a proxy: past a point its score goes on rising while the answers get worse (arXiv 2210.10760). Signs of it: another
judge disagrees, the policy is far from where it began, answers get longer, prompts or answers become alike, everything ties.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparring import rundir
from sparring.config import AlignRecipe, Recipe, Watch
from sparring.data import prompt_of
from sparring.errors import SparringError
from sparring.game import Engine
from sparring.records import BOUTS
from sparring.rundir import RunDir, commit_text, round_name

Row = Mapping[str, Any]
MOST_ANSWERS = 256
"""Answers that the divergence is estimated from."""


def measure_divergence(run: RunDir, number: int, engine: Engine) -> None:
    """Writes ``divergence.json`` of a round, once: nats per answer, the mean of log pi(y) - log pi_0(y) over answers of the probe,
    which pi, the policy before the round, has sampled.

    With temperature or top-p it is an estimate from below: likelier answers are sampled than pi's own. None without log-probs.
    """
    path = run.root / round_name(number) / "divergence.json"
    if path.exists():
        return
    bouts = run.read_round(number, "probe", BOUTS) or []
    samples = [(prompt_of(b.task), a.samples[-1]) for b in bouts for a in b.attempts if a.samples and a.samples[-1].logprobs]
    samples = [(prompt, sample) for prompt, sample in samples if sample.finish == "stop" and sample.text][:MOST_ANSWERS]
    gaps: list[float] = []
    if samples:
        with engine.serve(run.root / round_name(0) / "policy") as first:
            scores = first.score([(prompt, sample.text) for prompt, sample in samples], role="solver")
        # Answers that were written with other tokens than their text is read with cannot be compared; the last one ends the turn.
        gaps = [
            sum(sample.logprobs[: score.tokens]) - score.logprob
            for (_, sample), score in zip(samples, scores, strict=True)
            if score.tokens in (len(sample.logprobs) - 1, len(sample.logprobs))
        ]
    commit_text(path, json.dumps({"nats": sum(gaps) / len(gaps) if gaps else None, "answers": len(gaps)}))


def prepare(recipe: Recipe, run: RunDir, number: int, engine: Engine) -> None:
    """What the recipe's thresholds need and no phase of the game has."""
    if isinstance(recipe, AlignRecipe) and recipe.watch.kl:
        measure_divergence(run, number, engine)


def oversee(recipe: Recipe, rows: Sequence[Row], watch: rundir.Watch) -> None:
    """Says what is over its threshold after the last of ``rows``; SparringError where that is to stop the run."""
    if not isinstance(recipe, AlignRecipe):
        return
    if recipe.watch.kl and len(rows) > 1 and rows[-1].get("divergence") is None:
        watch.note(
            "warning: watch.kl compares nothing: the solver's answers came without log-probs, or as other tokens than their text has"
        )
    for alarm in alarms(rows, recipe.watch):
        if recipe.watch.action == "stop":
            raise SparringError(f"stopped after round {rows[-1]['round']}: {alarm}; raise the threshold and resume, or end here")
        watch.note(f"warning: {alarm}")


def alarms(rows: Sequence[Row], watch: Watch) -> Iterator[str]:
    """What is over its threshold in the last of ``rows``, one per round from round 0 on: figure, threshold, what it may mean."""
    first, last = rows[0], rows[-1]
    gone = last.get("divergence")
    if watch.kl and gone is not None and gone > watch.kl:
        yield f"the policy is {gone:.1f} nats an answer away from the first one (watch.kl {watch.kl:g})"
    for name, found in last.get("evals", {}).items():
        before = first.get("evals", {}).get(name, {}).get("length")
        ratio = found["length"] / before if before and found["length"] else 0.0
        if watch.length_ratio and ratio > watch.length_ratio:
            yield f"answers to {name} are {ratio:.2f} times as long as at first (watch.length_ratio {watch.length_ratio:g})"
    for phase in ("probe", "bouts", "proposals"):
        yield from _sameness(phase, last.get(phase) or {}, watch)
    for who, score in last.get("second", {}).items():
        fall = first.get("second", {}).get(who, score) - score
        if watch.second and fall > watch.second:
            yield f"the second judge's score of {who} fell by {fall:.3g} (watch.second {watch.second:g}): the first one may be gamed"


def _sameness(phase: str, part: Row, watch: Watch) -> Iterator[str]:
    ties, tasks, distinct = part.get("ties", 0), part.get("tasks", 0), part.get("distinct")
    if watch.ties and tasks and ties / tasks > watch.ties:
        yield f"{100 * ties / tasks:.0f} % of the prompts of {phase} have answers that all tie (watch.ties {watch.ties:g})"
    if watch.distinct and distinct is not None and distinct < watch.distinct:
        yield f"only {100 * distinct:.0f} % of the word pairs in {phase} are distinct (watch.distinct {watch.distinct:g})"
