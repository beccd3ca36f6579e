"""``sparring play --plan``: what a run of the align game would do and take, without loading or sampling anything.

Counts follow from the recipe. Tokens are upper bounds where ``max_new_tokens`` bounds them. Memory and disk follow from the
checkpoint's own headers. Time is work divided by a rate that is printed with it; it is an order of magnitude.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparring.config import AlignRecipe, Endpoint, Member, members_of
from sparring.errors import NotHere
from sparring.games.judging import ASKING, LOADING, members_by_key, watching
from sparring.learners.credits import ADVANTAGES

GIGABYTE = 1e9
UNKNOWN_PROMPT = 100
"""Tokens of a prompt that is not here to be counted."""
TEMPLATE = 120
"""Tokens of a template, more or less."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ADAM = 4 + 4 + 8
"""Bytes of a trained parameter in memory: a float32 weight, its gradient and two moments."""
STATE = 2 * (4 + 8)
"""And of the training state on disk: the weight and the moments, twice while a state takes the place of the one before."""
LORA_SHARE = 0.02 / 16
"""Of the parameters that LoRA adds for each rank, where the shapes are not known: those of a model with half a billion; larger ones
have less."""
RATES = {"this CPU, 2 cores": 4e10, "a 24 GB GPU": 3e13, "an 80 GB GPU": 2e14}
"""Useful floating-point operations a second, learning and reading prompts; writing tokens gets a tenth of it."""
WRITING = 0.1


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One arrow of a round: how many model calls it makes, and the tokens that it reads and writes at most."""

    name: str
    calls: int
    prompt_tokens: int = 0
    new_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A recipe's work. ``parameters`` is None where the checkpoint is not here and its name tells no size."""

    phases: tuple[tuple[int, Phase], ...]
    """(times, phase)."""
    lessons: int
    steps: int
    parameters: int | None
    memory: tuple[tuple[str, float], ...]
    """(what, bytes)."""
    disk: float | None
    """Bytes of the whole run."""
    notes: tuple[str, ...]


def round_phases(recipe: AlignRecipe, prompt_tokens: int, creates: bool) -> list[Phase]:
    """The phases of one round, its evaluation apart. ``prompt_tokens``: of a mean prompt."""
    n, size, creator = recipe.solver.n, recipe.data.per_round, recipe.creator
    answer = recipe.solver.max_new_tokens
    phases = [Phase(name="probe", calls=size * n, prompt_tokens=size * prompt_tokens, new_tokens=size * n * answer)]
    if not creates:
        return phases
    drawn = round(creator.fraction * size)
    links = 1 if creator.kind == "none" else creator.chain
    if creator.kind == "model":
        calls = drawn * links * creator.tries
        read = drawn * links * (prompt_tokens + TEMPLATE)
        phases.append(Phase(name="proposals", calls=calls, prompt_tokens=read, new_tokens=calls * creator.max_new_tokens))
    bouts = drawn * links
    phases.append(Phase(name="bouts", calls=bouts * n, prompt_tokens=bouts * prompt_tokens, new_tokens=bouts * n * answer))
    return phases


def lessons_of(recipe: AlignRecipe, creates: bool) -> tuple[int, int]:
    """(lessons, optimiser steps) of a round at most: ties teach nothing."""
    lessons = (recipe.teach.pairs or recipe.data.per_round) * (recipe.solver.n if recipe.learner.loss in ADVANTAGES else 1)
    if recipe.online.batch:
        turns = recipe.data.per_round // recipe.online.batch
        return lessons, turns * recipe.learner.epochs
    return lessons, recipe.learner.epochs * -(-lessons // recipe.learner.batch)


def estimate(recipe: AlignRecipe, evals: int, prompt_tokens: int, policy: Path | None) -> Estimate:
    """What the recipe takes. ``evals``: held-out tasks; ``policy``: its checkpoint's folder, None where it is not here."""
    rounds, human = recipe.run.rounds, recipe.run.human_rounds
    evolving = 0 if recipe.creator.kind == "fresh" else rounds - human
    phases: list[tuple[int, Phase]] = []
    for times, creates in ((rounds - evolving, False), (evolving, True)):
        phases += [(times, phase) for phase in round_phases(recipe, prompt_tokens, creates) if times]
    new = evals * recipe.evaluation.max_new_tokens
    phases.append((rounds + 1, Phase(name="evaluation", calls=evals, prompt_tokens=evals * prompt_tokens, new_tokens=new)))
    counts = [lessons_of(recipe, creates) for creates in [False] * (rounds - evolving) + [True] * evolving]
    size, notes = _size_of(recipe, policy)
    memory = [] if size is None else _memory(recipe, policy, size)
    beside, unknown = _beside(recipe)
    return Estimate(
        phases=tuple(phases),
        lessons=sum(lessons for lessons, _ in counts),
        steps=sum(steps for _, steps in counts),
        parameters=None if size is None else size.parameters,
        memory=(*memory, *beside),
        disk=None if size is None else _disk(recipe, size, phases, sum(lessons for lessons, _ in counts), prompt_tokens),
        notes=(*notes, *unknown),
    )


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of the policy: its parameters, and those that are trained."""

    parameters: int
    trained: float


def _size_of(recipe: AlignRecipe, policy: Path | None) -> tuple[Size | None, list[str]]:
    """The policy's size, and what could not be known of it."""
    name, rank = recipe.policy.path, recipe.learner.lora_rank
    if policy is None:
        parameters, note = _parameters_by_name(name), f"{name} is not on this machine"
        if parameters is None:
            return None, [f"{note}, and its name tells no size: memory, disk and time are unknown"]
        note += f": {parameters / 1e9:g} billion parameters are read off its name, its caches are not counted"
        return Size(parameters=parameters, trained=LORA_SHARE * rank * parameters if rank else parameters), [note]
    shapes = _shapes(policy)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    return Size(parameters=parameters, trained=_adapter_parameters(shapes, rank) if rank else parameters), []


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Of the weights by name, from the headers of the files."""
    from safetensors import safe_open

    from sparring.models.facts import weight_files

    found: dict[str, list[int]] = {}
    for path in weight_files(folder):
        with safe_open(path, "numpy") as file:
            found |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  (not a dict)
    return found


def _adapter_parameters(shapes: Mapping[str, Sequence[int]], rank: int) -> int:
    """Of two matrices beside each one of a linear layer; heads and embeddings get none."""
    names = ("embed", "wte", "wpe", "lm_head")
    return sum(rank * sum(shape) for name, shape in shapes.items() if len(shape) == 2 and not any(part in name for part in names))


def _memory(recipe: AlignRecipe, policy: Path | None, size: Size) -> list[tuple[str, float]]:
    """(what, bytes) of the policy's sampling and learning."""
    from sparring.learners.losses import needs_reference
    from sparring.models.facts import policy_facts

    how, settings, weights = recipe.learner, recipe.policy, 4.0 * size.parameters
    rows: list[tuple[str, float]] = []
    if not settings.server.url:
        caches = policy_facts(policy).cache_bytes(settings.batch_tokens, settings.dtype) if policy else 0
        rows.append(("sampling: weights and caches", size.parameters * BYTES[settings.dtype] + float(caches)))
    learning = weights + ADAM * size.trained if how.lora_rank else ADAM * size.trained
    rows.append(("learning: weights, gradients, moments", learning))
    if recipe.online.batch and needs_reference(how) and not how.lora_rank:
        rows.append(("learning online: the reference's weights", weights))
    return rows


def _beside(recipe: AlignRecipe) -> tuple[list[tuple[str, float]], list[str]]:
    """(what, bytes) of the weights that other models have in memory all the while, and what could not be known of them."""
    loading = [
        (f"judging: weights of {key}", f"{key}.path", member.path, member.dtype)
        for key, member in (members_by_key(recipe.judge) | watching(recipe)).items()
        if member.kind in (*LOADING, *ASKING) and member.path
    ]
    if recipe.creator.kind == "model" and recipe.creator.path:
        loading.append(("creating: weights of creator", "creator.path", recipe.creator.path, recipe.policy.dtype))
    rows: list[tuple[str, float]] = []
    notes: list[str] = []
    for what, key, path, dtype in loading:
        parameters = _parameters_of(path, key)
        if parameters is None:
            notes.append(f"{key} = {path!r} is not on this machine, and its name tells no size: it is missing from the memory")
        else:
            rows.append((what, float(parameters * BYTES[dtype])))
    return rows, notes


def _parameters_of(path: str, key: str) -> int | None:
    """Of a checkpoint that is here, or as its name tells."""
    from sparring.models.adapters import is_adapter
    from sparring.models.folders import base_policy, resolve_policy

    try:
        folder = resolve_policy(path, key, download=False)
        folder = base_policy(folder, download=False) if is_adapter(folder) else folder
    except NotHere:
        return _parameters_by_name(path)
    return sum(math.prod(shape) for shape in _shapes(folder).values())


def _disk(recipe: AlignRecipe, size: Size, phases: Sequence[tuple[int, Phase]], lessons: int, prompt_tokens: int) -> float:
    """Bytes of the run at its largest, while the last round is learned: policies, the training state, and what was said and taught.

    A token that is written has an id, a log-prob, and some four letters in the answer and in its sample; the prompt's ids stand
    beside each answer. Every judge that watches keeps the evaluations as it sees them.
    """
    rounds, prompt = recipe.run.rounds, max(prompt_tokens, recipe.creator.max_new_tokens) + TEMPLATE
    copies = {"evaluation": 1 + len(recipe.watch.judges)}
    said = sum(
        times * copies.get(phase.name, 1) * (16.0 * phase.new_tokens + 4.0 * phase.calls * prompt) for times, phase in phases
    )
    sides = 1 if recipe.learner.loss in ADVANTAGES else 2
    taught = lessons * sides * (12.0 * recipe.solver.max_new_tokens + 8.0 * prompt)
    adapters = 4.0 * size.trained * rounds if recipe.learner.save_adapter else 0.0
    return (rounds + 1) * 4.0 * size.parameters + adapters + STATE * size.trained + said + taught


def _parameters_by_name(name: str) -> int | None:
    """As in gemma-2-9b-it or Qwen2.5-0.5B."""
    found = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)\s?([bm])(?![a-z])", name.casefold())
    return round(float(found[1]) * {"b": 1e9, "m": 1e6}[found[2]]) if found else None


def describe(recipe: AlignRecipe, found: Estimate) -> Iterator[str]:
    """Lines for a person."""
    yield f"{'phase':<14}{'times':>6}{'model calls':>13}{'tokens read':>14}{'written at most':>17}   each"
    for times, phase in found.phases:
        yield f"{phase.name:<14}{times:>6}{phase.calls:>13,}{phase.prompt_tokens:>14,}{phase.new_tokens:>17,}"
    calls = sum(times * phase.calls for times, phase in found.phases)
    read = sum(times * phase.prompt_tokens for times, phase in found.phases)
    written = sum(times * phase.new_tokens for times, phase in found.phases)
    yield f"{'in all':<14}{'':>6}{calls:>13,}{read:>14,}{written:>17,}"
    yield f"learning: at most {found.lessons:,} lessons, {found.steps:,} optimiser steps ({recipe.learner.loss})"
    yield from _judging(recipe, found)
    for what, size in found.memory:
        yield f"memory, {what}: {_size(size)}"
    if found.disk is not None:
        yield f"disk: {_size(found.disk)} at most"
    yield from _times(recipe, found, read, written)
    yield from (f"note: {note}" for note in found.notes)


def _judging(recipe: AlignRecipe, found: Estimate) -> Iterator[str]:
    from sparring.judges.llm import judge_calls

    groups = sum(times * phase.calls // recipe.solver.n for times, phase in found.phases if phase.name in ("probe", "bouts"))
    evals = sum(times * phase.calls for times, phase in found.phases if phase.name == "evaluation")
    for member in members_of(recipe.judge):
        calls = groups * judge_calls(member.kind, recipe.solver.n) + evals * judge_calls(member.kind, 1)
        if calls:
            yield f"judging by {member.kind}: {calls:,} calls of the judging model" + _price(member, calls)


def _price(member: Member, calls: int) -> str:
    asked: Endpoint = member.endpoint
    dollars = calls * member.max_new_tokens * asked.usd_per_million_completion / 1e6
    return f", at most {dollars:,.2f} USD for what it writes" if dollars else ""


def _times(recipe: AlignRecipe, found: Estimate, read: int, written: int) -> Iterator[str]:
    if found.parameters is None:
        return
    answer = recipe.solver.max_new_tokens
    sides = 1 if recipe.learner.loss in ("sft", *ADVANTAGES) else 2
    sampling = 2.0 * found.parameters * (read + written / WRITING)
    learning = 6.0 * found.parameters * found.lessons * recipe.learner.epochs * sides * answer
    for name, rate in RATES.items():
        yield f"time at {rate:.0e} operations a second ({name}): {(sampling + learning) / rate / 3600:,.1f} h at most"


def _size(count: float) -> str:
    return f"{count / GIGABYTE:,.1f} GB" if count >= 0.1 * GIGABYTE else f"{count / 1e6:,.1f} MB"


def plan_run(recipe: AlignRecipe) -> Iterator[str]:
    """Everything that can be checked of a recipe without loading a model, then ``describe``.

    SparringError for what is wrong; what is to be downloaded when the run begins is a note.
    """
    from sparring.data import load_function
    from sparring.games.checks import checks
    from sparring.games.sources import prompt_sources, read_source
    from sparring.models.adapters import is_adapter
    from sparring.models.folders import base_policy, resolve_policy

    missing: list[str] = []
    for step in checks(recipe):
        try:
            step()
        except NotHere as error:
            missing.append(str(error))
    try:
        policy = resolve_policy(recipe.policy.path, download=False)
        policy = base_policy(policy, download=False) if is_adapter(policy) else policy
    except NotHere:
        policy = None
    read = load_function(recipe.data.read, "data.read") if recipe.data.read else None
    try:
        prompts = [
            task for source, key, _ in prompt_sources(recipe).values() for task in read_source(source, read, key, online=False)
        ]
    except NotHere:
        prompts = []
    evals = recipe.data.held_out + sum(
        len(read_source(source, read, f"data.evals.{name}", online=False)) for name, source in recipe.data.evals.items()
    )
    # 3.5 bytes a token, in English.
    tokens = round(sum(len(task.text.encode()) for task in prompts) / len(prompts) / 3.5) if prompts else UNKNOWN_PROMPT
    yield from describe(recipe, estimate(recipe, evals, max(tokens, 1), policy))
    yield from (f"note: {line}" for line in missing)
