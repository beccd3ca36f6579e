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
TargetForm = Literal["difference", "state"]
Loss = Literal["dpo", "ipo", "sppo", "sppo_soft", "simpo", "orpo", "sft"]


UNTRAINED = "builtin:theorems-blank"
"""As ``policy.path``: a tiny model with random weights for the embedded theorems, made when the run begins."""

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


# ---------------------------------------------------------------------------------------------- the prove game


class Theorems(Record):
    """Where statements come from: ``world:SPLIT`` of the embedded theorems, or a .jsonl/.parquet file with a ``text`` column."""

    pool: str = "world:pool"
    per_round: Count = 400
    """Statements searched in a round: the budget that every arm of a comparison shares."""
    traces: str = "world:train"
    """Proofs that the first policy learns from: ``world:SPLIT`` with scripts, a .parquet file that ``sparring trace`` wrote, or "" for
    none (the policy plays as it is)."""
    trace_theorems: Annotated[int, Field(ge=0)] = 0
    """Theorems of ``world:SPLIT`` whose proofs are used, from its beginning; 0: all."""
    evals: dict[Name, str] = {"test": "world:test", "novel": "world:novel", "hard": "world:hard"}
    eval_tasks: Annotated[int, Field(ge=0)] = 0
    """Statements of each evaluation set that are used, from its beginning; 0: all."""


class ProveRun(Run):
    rounds: Count = 3
    shard_tasks: Count = 128


class ProvePolicy(Policy):
    path: str = UNTRAINED
    max_prompt_tokens: Count = 1536


class Cotraining(Learner):
    """How the first policy learns from the traces."""

    loss: Loss = "sft"
    lr: Positive = 1e-3
    warmup: Fraction = 0.03
    batch: Count = 8
    micro_tokens: Count = 1024
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    save_every: Count = 500


class ExpertIteration(Cotraining):
    """How later ones learn from their searches."""

    lr: Positive = 5e-4
    save_every: Count = 100


class Roles(Record):
    """Weights of the roles in co-training (RiR sec. 3); 0 leaves a role out. A planner and an actor of equal weight share rows."""

    flat: NonNegative = 1.0
    planner: NonNegative = 1.0
    actor: NonNegative = 1.0
    target: TargetForm = "difference"
    """What planner and actor call the next state: all of it, as in RiR, or the lines that are new in it."""


class Search(Record):
    """How proofs are searched. Budgets are per statement; 0 is no bound."""

    policy: Literal["mixture", "flat", "rir", "joint", "moves"] = "mixture"
    """Where tactics come from. moves: what the environment suggests and nothing else, without a model (a baseline)."""
    algorithm: Literal["best_first", "mcts"] = "best_first"
    flat: Annotated[int, Field(ge=0)] = 8
    """Tactics from the state alone, per expanded state."""
    targets: Annotated[int, Field(ge=0)] = 4
    """Next states that the planner proposes, per expanded state."""
    tactics: Count = 4
    """Tactics of the actor for each of them."""
    moves: Annotated[int, Field(ge=0)] = 12
    """In the mixture: tactics that the environment itself suggests for a state, at most; they are run first and cost no model call."""
    flat_from: Annotated[int, Field(ge=0)] = 1
    """In the mixture: the expansion of a state, counted from 0, from which on flat tactics are generated. 0: along with the
    environment's moves; 1: when nothing else is left to try."""
    goals_from: Annotated[int, Field(ge=0)] = 2
    """The same for goal-driven tactics."""
    flat_weight: Annotated[float, Field(ge=0.0, le=1.0)] = 0.25
    """In the mixture a state that tactics reached is scored by how likely the planner would have named it and the flat prover the
    tactic: this is the flat prover's share of that."""
    length_norm: Fraction = 0.5
    """Scores are log-probs over (number of tokens) to this power."""
    beam: bool = True
    """The likeliest tactics by beam search; otherwise sampled."""
    target_beam: bool = True
    """The same for the planner's targets."""
    temperature: Positive = 1.0
    max_tactic_tokens: Count = 24
    max_target_tokens: Count = 64
    width: Count = 4
    """States of one statement expanded in one wave."""
    live: Count = 64
    """Statements searched at once."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Times that a state may be expanded again, for other candidates, when nothing else is open."""
    dedup: bool = True
    """Equal states of a statement are one node."""
    puct: Positive = 1.0
    """Weight of the prior in mcts."""
    calls: Annotated[int, Field(ge=0)] = 256
    """Sequences sampled, by all roles alike, and readings: one for each state and role that ranks what was reached from it."""
    tokens: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int, Field(ge=0)] = 0
    """Tactics run in the environment."""
    seconds: NonNegative = 0.0
    """With a bound in seconds a run is not repeatable."""


class Conjectures(Record):
    """The creator: statements that are true and barely provable, from those that were proved."""

    kind: Literal["symbolic", "model", "both", "none"] = "symbolic"
    metric: Metric = "pass"
    draw: Draw = "weighted"
    uniform: Fraction = 0.0
    fraction: Fraction = 0.5
    """Share of the pool, of the proved statements in it, that is built upon."""
    tries: Count = 4
    """Conjectures per statement; the first that passes every gate is kept."""
    temperature: Positive = 1.0
    max_new_tokens: Count = 128
    max_size: Count = 60
    """Signs of a conjecture at most."""


class Lore(Record):
    """What a round teaches (expert iteration): proofs found, and hindsight on everything else that was executed."""

    hindsight: bool = True
    """Executed steps off the proof teach too, relabelled with the state that they reached."""
    hindsight_steps: Count = 4
    """Such steps per statement."""
    hindsight_weight: NonNegative = 0.1
    exposure: bool = True
    """The actor also learns the used tactic under the planner's own targets."""
    replay: Fraction = 0.8
    """Share of the lessons that comes from the traces of the start."""


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


class ProveRecipe(Recipe):
    game: Literal["prove"] = "prove"
    run: ProveRun = ProveRun()
    policy: ProvePolicy = ProvePolicy()
    data: Theorems = Theorems()
    roles: Roles = Roles()
    start: Cotraining = Cotraining()
    search: Search = Search()
    creator: Conjectures = Conjectures()
    teach: Lore = Lore()
    learner: ExpertIteration = ExpertIteration()

    @model_validator(mode="after")
    def _check(self) -> ProveRecipe:
        for key, how in (("start", self.start), ("learner", self.learner)):
            if how.loss != "sft":
                raise ValueError(f"{key}.loss is {how.loss}; the prove game teaches demonstrations, so set it to sft")
        if self.search.policy == "mixture" and self.search.goals_from > self.search.retries:
            raise ValueError(
                f"search.goals_from {self.search.goals_from} is a later expansion than search.retries {self.search.retries} allows, "
                f"so no candidate would be goal-driven; set it to 0, or --search.retries={self.search.goals_from}"
            )
        wanted = {
            "flat": ("flat",),
            "rir": ("targets",),
            "joint": ("targets",),
            "mixture": ("flat", "targets"),
            "moves": ("moves",),
        }
        for name in wanted[self.search.policy]:
            if not getattr(self.search, name):
                raise ValueError(
                    f"search.{name} 0 leaves search.policy {self.search.policy} without candidates; set it to 1 or more (--search.{name}=4)"
                )
        return self


RECIPES: dict[str, type[AlignRecipe] | type[ProveRecipe]] = {"align": AlignRecipe, "prove": ProveRecipe}
