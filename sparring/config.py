"""Recipes: frozen records read from TOML, changed by dotted overrides, written back resolved.

Every section of a recipe is one record here; every field has its unit in its name or its docstring and a default that runs.
A mistake in a recipe is answered with the key, the rule it breaks and the repair, before anything is loaded.
"""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sparring.errors import SparringError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]

Metric = Literal["min", "avg", "dts", "uniform", "var", "mean", "inv_mean", "inv_min", "pass"]
Draw = Literal["weighted", "greedy", "stratified"]
Operator = Literal["constrain", "deepen", "concretise", "reason", "expand", "breadth"]
Loss = Literal["dpo", "ipo", "sppo", "sppo_soft", "simpo", "orpo", "sft"]


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
"""A part of a file name."""

Difference = dict[str, tuple[Any, Any]]
"""Dotted key -> (old value, new value); None where one has no such key."""


class Record(BaseModel):
    # Strict: "6" is no number and true is none either.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Run(Record):
    """The loop. ``human_rounds`` rounds come first that teach from the human prompts as they are."""

    name: str = ""
    """Folder under ``folder``; empty: the recipe's file name."""
    folder: str = "runs"
    seed: Annotated[int, Field(ge=0)] = 0
    rounds: Count = 4
    human_rounds: Annotated[int, Field(ge=0)] = 1
    start: Literal["incremental", "scratch"] = "incremental"
    """Each round's learner starts from the last policy, or from the first one again (with all lessons so far)."""
    shard_tasks: Count = 256


class Policy(Record):
    """The model that plays. ``path``: a folder, a hub name, or ``builtin:words-tiny``."""

    path: str = "builtin:words-tiny"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count = 1
    """Two threads are faster on an idle machine and far slower on a busy one."""
    batch_tokens: Count = 32768
    """Upper bound on rows x tokens held in the key-value cache at once."""
    max_prompt_tokens: Count = 1024


class Data(Record):
    """Where tasks come from: ``world:SPLIT`` or a .jsonl/.parquet file with a ``text`` (or ``prompt``) column."""

    prompts: str = "world:human"
    fresh: str = "world:fresh"
    per_round: Count = 1000
    """Prompts in the pool of one round: the budget that every arm of a comparison shares."""
    evals: dict[Name, str] = {"easy": "world:easy", "hard": "world:hard"}
    read: str = "sparring.worlds.words:read"
    """``package.module:function`` from a prompt to its meta, or to the reason why it cannot be judged; "" takes every prompt."""


class Solver(Record):
    n: Annotated[int, Field(ge=2)] = 6
    temperature: Positive = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    max_new_tokens: Count = 64


class Judge(Record):
    grade: str = "sparring.worlds.words:grade"
    """``package.module:function`` taking (task, answer) and returning (score in [0, 1], solved, note)."""
    controls: str = "sparring.worlds.words:controls"
    """``package.module:function`` returning (task, good answer, bad answer) triples that the judge must order; "" for none."""


class Creator(Record):
    kind: Literal["model", "symbolic", "fresh", "none"] = "model"
    metric: Metric = "min"
    draw: Draw = "weighted"
    fraction: Fraction = 0.25
    """Share of the pool that is evolved."""
    uniform: Fraction = 0.0
    """Share of the draw that ignores the metric."""
    chain: Count = 4
    operators: Annotated[tuple[Operator, ...], Field(min_length=1, strict=False)] = get_args(Operator)
    templates: Literal["short", "instruct"] = "short"
    mutate: str = "sparring.worlds.evolution:mutate"
    """The symbolic creator's ``package.module:function`` of (text, operator, seed)."""
    temperature: Positive = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    max_new_tokens: Count = 96
    tries: Count = 4
    """Candidates sampled per evolution; the first that passes every gate is kept."""
    near_duplicate: Fraction = 0.9
    """Jaccard similarity of word shingles from which a prompt counts as seen before."""


class Teach(Record):
    evolved: Fraction = 0.8
    """Share of the pairs that come from created tasks; the rest comes from the pool."""
    pairs: Annotated[int, Field(ge=0)] = 0
    """Pairs per round; 0: as many as the pool has prompts."""
    min_margin: NonNegative = 0.0
    """A pair needs a score difference above this."""


class Learner(Record):
    loss: Loss = "dpo"
    beta: Positive = 0.1
    nll: NonNegative = 0.0
    """Weight of the chosen answer's mean negative log-likelihood (RPO, arXiv 2404.19733)."""
    dpop: NonNegative = 0.0
    """Weight of DPO-Positive's penalty (arXiv 2402.13228 eq. 3)."""
    simpo_gamma: NonNegative = 0.5
    """SimPO's target margin, in units of the length-normalised reward (after beta)."""
    optimizer: Literal["adamw", "rmsprop"] = "adamw"
    lr: Positive = 1e-4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Fraction = 0.1
    weight_decay: NonNegative = 0.0
    clip: Positive = 1.0
    epochs: Count = 1
    batch: Count = 32
    """Lessons per optimiser step."""
    micro_tokens: Count = 8192
    """Upper bound on padded tokens in one forward pass; a batch is accumulated over as many as it needs."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward and backward pass; master weights stay float32."""
    lora_rank: Annotated[int, Field(ge=0)] = 0
    """0: full fine-tuning; otherwise LoRA of that rank, merged before saving."""
    lora_alpha: Positive = 16.0
    save_every: Count = 50
    """Optimiser steps between saved training states (exact resume)."""


class Evaluation(Record):
    max_new_tokens: Count = 64
    bootstrap: Count = 1000
    level: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95


class Recipe(Record):
    """One file that says everything about a run."""

    game: Literal["align"] = "align"
    run: Run = Run()
    policy: Policy = Policy()
    data: Data = Data()
    solver: Solver = Solver()
    judge: Judge = Judge()
    creator: Creator = Creator()
    teach: Teach = Teach()
    learner: Learner = Learner()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.run.human_rounds > self.run.rounds:
            raise ValueError(
                f"run.human_rounds {self.run.human_rounds} is more than run.rounds {self.run.rounds}; lower it or play more rounds"
            )
        drawn = self.creator.fraction * self.data.per_round
        if self.creator.kind != "fresh" and round(drawn) < 1 and self.run.human_rounds < self.run.rounds:
            raise ValueError(
                f"creator.fraction {self.creator.fraction} of data.per_round {self.data.per_round} draws no prompt to evolve; "
                "raise one of them (--creator.fraction=0.5)"
            )
        return self


def _keys(record: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Every dotted key with its value; a section's value is a record."""
    found: dict[str, Any] = {}
    for name, value in record:
        found[prefix + name] = value
        if isinstance(value, Record):
            found |= _keys(value, f"{prefix}{name}.")
    return found


def _nearest(key: str, known: Sequence[str]) -> str:
    """The key that was probably meant: one that ends alike anywhere, a similar one in its section, or all of the section."""
    section, dot, leaf = key.rpartition(".")
    if alike := [name for name in known if name.rpartition(".")[2] == leaf]:
        return f"did you mean {alike[0]}?"
    neighbours = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == section]
    near = difflib.get_close_matches(leaf, neighbours, n=1, cutoff=0.5)
    return f"did you mean {section}{dot}{near[0]}?" if near else f"there are {', '.join(neighbours)}"


def _explain(error: Mapping[str, Any], source: str) -> str:
    location, value, known = [str(part) for part in error["loc"]], error["input"], _keys(Recipe())
    while len(location) > 1 and ".".join(location) not in known and error["type"] != "extra_forbidden":
        location.pop()  # an item of a list, a name in a table: the key is what can be set
    key = ".".join(location)
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    if not key:
        return f"{source}: {message}"
    if error["type"] == "extra_forbidden":
        return f"{source}: unknown key {key}; {_nearest(key, list(known))}"
    if error["type"] == "model_type":
        return (
            f"{source}: {key} = {value!r} but {key} is a section; set one of its keys: {', '.join(type(known[key]).model_fields)}"
        )
    if key == "solver.n" and error["type"] == "greater_than_equal":
        return f"{source}: a group of {value} cannot give a pair; set solver.n to at least 2 (--solver.n=6)"
    return f"{source}: {key} = {value!r} {message} (the default is --{key}={_text(known[key])})"


def _text(value: Any) -> str:
    """A value as an override writes it."""
    if isinstance(value, str):
        return value
    return tomli_w.dumps({"value": value}).removeprefix("value = ").strip() if not isinstance(value, dict) else "{...}"


def parse_recipe(values: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """A checked recipe; raises SparringError that names every wrong key, the rule and the repair."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise SparringError("\n".join(_explain(dict(item), source) for item in error.errors())) from None


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """``--solver.n=6`` -> (("solver", "n"), 6). The value is read as TOML where its key takes anything but text."""
    key, equals, raw = text.removeprefix("--").partition("=")
    path = tuple(key.split("."))
    if not text.startswith("--") or not all(path):
        raise SparringError(f"{text!r} is no override; write --section.key=value without spaces, as in --solver.n=6")
    if not equals:
        raise SparringError(
            f"{text} has no value; write it after an equals sign, without spaces: {text}=VALUE, as in --solver.n=6"
        )
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return path, raw
    wants_text = isinstance(_keys(Recipe()).get(key), str)
    return path, raw if wants_text and not isinstance(value, str) else value


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """``values`` with every override applied, the last one of a key winning; ``values`` stay as they are."""
    merged: dict[str, Any] = copy.deepcopy(dict(values))
    for text in overrides:
        path, value = parse_override(text)
        place = merged
        for part in path[:-1]:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise SparringError(f"{text}: {part} is a value, not a section")
            place = inner
        place[path[-1]] = value
    return merged


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file with overrides applied."""
    for text in overrides:  # first: of `--solver.n 6 recipe.toml` the command line takes 6 for the recipe
        parse_override(text)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        found = sorted(str(p) for p in Path("recipes").glob("*.toml"))
        raise SparringError(f"no recipe at {path}" + (f"; there are {', '.join(found)}" if found else "")) from None
    except OSError as error:
        raise SparringError(f"recipe {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SparringError(f"{path} is not a TOML file: {error}") from None
    return parse_recipe(apply_overrides(values, overrides), str(path))


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe as TOML; ``parse_recipe`` of it gives an equal recipe."""
    return tomli_w.dumps(recipe.model_dump(mode="json"))


def recipe_difference(old: Recipe, new: Recipe) -> Difference:
    """Every key whose value differs, with both values."""

    def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, item in value.items():
            flat.update(flatten(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {prefix + key: item})
        return flat

    before, after = flatten(old.model_dump(mode="json")), flatten(new.model_dump(mode="json"))
    both = {key: (before.get(key), after.get(key)) for key in sorted(before | after)}
    return {key: values for key, values in both.items() if values[0] != values[1]}
