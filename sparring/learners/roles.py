"""Proof steps as lessons for the roles of one model: flat prover, planner, actor (RiR, OpenReview H5hePMXKht sec. 3).

A step is (state, tactic, state reached). The planner learns the state reached (or what is new in it), the actor the tactic that
reaches it, the flat prover the tactic alone. Where planner and actor weigh the same they share a row: the planner's answer ends where the
actor's begins, so ``state reached [PROOFSTEP] tactic`` teaches both (and the joint role) for little more than the price of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from sparring.config_prove import Lore, Roles
from sparring.game import NO_GOALS, Bout, Demo, Lesson, Pair, Sample, Step, stable_hash
from sparring.prompts import (
    actor_prompt,
    flat_prompt,
    is_target,
    joint_completion,
    one_line,
    planner_completion,
    planner_prompt,
    target_of,
)


def role_demos(step: Step, roles: Roles, weight: float = 1.0) -> Iterator[Demo]:
    """What each role learns from a step."""
    if roles.flat:
        yield _demo(flat_prompt(step.state, step.hints), step.tactic, weight * roles.flat)
    target = target_of(step.state, step.result, roles.target)
    if roles.planner == roles.actor > 0:
        yield _demo(planner_prompt(step.state), joint_completion(target, step.tactic), weight * roles.planner)
        return
    if roles.planner:
        yield _demo(planner_prompt(step.state), planner_completion(target), weight * roles.planner)
    if roles.actor:
        yield _demo(actor_prompt(step.state, target), step.tactic, weight * roles.actor)


def _demo(prompt: str, completion: str, weight: float) -> Demo:
    """A demonstration that weighs as much as it is long, so that the loss is a mean over tokens and a tactic counts alike in all roles."""
    return Demo(prompt=prompt, completion=completion, weight=weight * len(completion.split()))


def trace_lessons(steps: Iterable[Step], roles: Roles) -> list[Lesson]:
    """Co-training on traced proofs."""
    return [demo for step in steps for demo in role_demos(step, roles)]


def search_lessons(bouts: Sequence[Bout], roles: Roles, how: Lore, seed: int) -> list[Demo]:
    """Expert iteration: the proofs that were checked, and hindsight on what else was executed."""
    lessons: list[Demo] = []
    for bout in bouts:
        for attempt, verdict in zip(bout.attempts, bout.verdicts, strict=True):
            used = [step for step in attempt.steps if step.used] if verdict.solved and verdict.fault is None else []
            for step in used:
                lessons += role_demos(step, roles)
                if how.exposure and roles.actor:
                    lessons += _exposed(step, roles)
            if how.hindsight:
                others = [step for step in attempt.steps if not (step.used and used)]
                rng = Random(stable_hash(seed, "hindsight", bout.task.id))
                for step in rng.sample(others, min(len(others), how.hindsight_steps)):
                    lessons += hindsight_demos(step, roles, how.hindsight_weight)
    return lessons


def ranking_pairs(bouts: Sequence[Bout], roles: Roles, siblings: int, seed: int) -> list[Pair]:
    """What a planner that ranks has to tell apart: from a state of a proof, the state that the proof went to, and up to ``siblings``
    others that were reached from it and that the proof did not come to."""
    pairs: list[Pair] = []
    for bout in bouts if roles.planner else ():
        for attempt, verdict in zip(bout.attempts, bout.verdicts, strict=True):
            if not verdict.solved or verdict.fault is not None:
                continue
            rng = Random(stable_hash(seed, "siblings", bout.task.id))
            way = {step.state: step for step in attempt.steps if step.used and step.result != NO_GOALS}
            reached = {*way, *(step.result for step in way.values()), NO_GOALS}
            missed: dict[str, dict[str, Step]] = {state: {} for state in way}
            for step in attempt.steps:
                if step.state in way and step.result not in reached:
                    missed[step.state].setdefault(step.result, step)
            for state, right in way.items():
                for wrong in rng.sample([*missed[state].values()], min(siblings, len(missed[state]))):
                    pairs += _compared(bout.task.id, right, wrong, roles)
    return pairs


def _compared(task: str, right: Step, wrong: Step, roles: Roles) -> list[Pair]:
    targets = [target_of(step.state, step.result, roles.target) for step in (right, wrong)]
    if one_line(targets[0]) == one_line(targets[1]):
        return []  # no difference to a planner
    # Cut off where the tactic would follow: planner and actor share rows, so nothing may teach to end there.
    chosen, rejected = (Sample(role="planner", text=planner_completion(target), finish="length") for target in targets)
    return [Pair(task=task, prompt=planner_prompt(right.state), chosen=chosen, rejected=rejected, margin=1.0)]


def hindsight_demos(step: Step, roles: Roles, weight: float) -> Iterator[Demo]:
    """What an executed step teaches, whatever it was meant for: this tactic reaches that state. The flat prover would learn to play
    it whether it helps or not, so it learns nothing from it."""
    yield from role_demos(step, roles.model_copy(update={"flat": 0.0}), weight)


def _exposed(step: Step, roles: Roles) -> Iterator[Demo]:
    """A tactic of a proof under the planner's own, wrong idea of where it leads: what the actor will meet (exposure bias)."""
    reached = one_line(target_of(step.state, step.result, roles.target))
    if step.target is not None and one_line(step.target) != reached and is_target(step.target, step.state):
        yield _demo(actor_prompt(step.state, step.target), step.tactic, roles.actor)


FEWEST = 64
"""Lessons that a round is taken to have when it found fewer: one that proved nothing must not end the run."""


def with_replay(lessons: Sequence[Lesson], traces: Sequence[Lesson], share: float, seed: int) -> list[Lesson]:
    """``lessons`` with as many ``traces`` as make up ``share`` of the whole (all of them where there are fewer)."""
    wanted = len(traces) if share >= 1.0 else round(max(len(lessons), FEWEST) * share / (1.0 - share))
    replayed = Random(stable_hash(seed, "replay")).sample(traces, min(wanted, len(traces)))
    return [*(lessons if share < 1.0 else []), *replayed]
