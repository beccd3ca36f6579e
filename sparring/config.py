"""Recipes: frozen records, one for every section; ``recipe.py`` reads and writes them.

Every field has its unit in its name or its docstring and a default that runs.
"""

from __future__ import annotations

# pyright: reportIncompatibleVariableOverride=false
# Records are frozen, so a recipe may narrow a section that every recipe has.
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class Record(BaseModel):
    # Strict: "6" is no number and true is none either.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Run(Record):
    """The loop."""

    name: str = ""
    """Folder under ``folder``; empty: the recipe's file name."""
    folder: str = "runs"
    seed: Annotated[int, Field(ge=0)] = 0
    rounds: Count = 4
    start: Literal["incremental", "scratch"] = "incremental"
    """Each round's learner starts from the last policy, or from the first one again (with all lessons so far)."""
    shard_tasks: Count = 256


class AlignRun(Run):
    human_rounds: Annotated[int, Field(ge=0)] = 1
    """Rounds that come first and teach from the human prompts as they are."""


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
    """One file that says everything about a run: what every game has. A game adds its own sections."""

    run: Run = Run()
    policy: Policy = Policy()
    learner: Learner = Learner()
    evaluation: Evaluation = Evaluation()


class AlignRecipe(Recipe):
    game: Literal["align"] = "align"
    run: AlignRun = AlignRun()
    data: Data = Data()
    solver: Solver = Solver()
    judge: Judge = Judge()
    creator: Creator = Creator()
    teach: Teach = Teach()

    @model_validator(mode="after")
    def _check(self) -> AlignRecipe:
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
