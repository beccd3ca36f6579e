"""The sections of a recipe of the prove game; what every game has is in ``config.py``."""

from __future__ import annotations

# pyright: reportIncompatibleVariableOverride=false
# Records are frozen, so a recipe may narrow a section that every recipe has.
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sparring.config import Count, Draw, Fraction, Learner, Loss, Metric, Name, NonNegative, Policy, Positive, Recipe, Record, Run

TargetForm = Literal["difference", "state"]

UNTRAINED = "builtin:blank"
"""As ``policy.path``: a model with random weights for the language of ``env``, made when the run begins."""


class Environment(Record):
    """The prover that checks everything, and the theorems that come with it: ``world:SPLIT`` in ``data``."""

    kind: Literal["kernel", "coq"] = "kernel"
    """kernel: embedded, with generated theorems. coq: Coq 8.16, with the theorems of its libraries or of a project; all that follows is
    for it."""
    library: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = ("Bool", "Arith", "Lists")
    """As for ``sparring trace coq --library``."""
    trace: str = "runs/coq-trace.parquet"
    """Where the proofs of the library are kept, step by step; traced when it is not there."""
    split: Literal["random", "folder", "premise"] = "random"
    """What ``world:train``, ``world:validation`` and ``world:test`` do not share: theorems, folders, or premises."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Runs of different seeds share theorems and splits unless this differs."""
    held_out: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1
    """Share of the validation set, and that of the test set."""
    premises: Literal["none", "bm25", "dense", "mixture"] = "mixture"
    """How lemmas are found that may serve a goal: the environment's moves apply and rewrite with them. dense and mixture train a small
    encoder on the training proofs, once for all runs with the same trace."""
    hints: Annotated[int, Field(ge=0)] = 0
    """Premises shown to the flat prover before the state; 0: none."""
    processes: Count = 2
    """Coq processes; while tracing, files at a time."""
    backend: Literal["coqidetop", "snapshots"] = "coqidetop"
    """What the search asks: coqidetop, or a faster server that has to be built (docs/prove-coq.md). Proofs are checked alike."""
    tactic_timeout_s: Count = 5
    memory_mb: Count = 4000
    """Of a process; one that takes more is ended and started anew."""
    context_timeout_s: Count = 120
    """For what stands before a theorem in its file, once read."""
    audit_timeout_s: Count = 120
    """For the check of a proof: all programs together."""
    axioms: Annotated[tuple[str, ...], Field(strict=False)] = (
        "Coq.Logic.Classical_Prop.classic",
        "Coq.Logic.Eqdep.Eq_rect_eq.eq_rect_eq",
        "Coq.Logic.FunctionalExtensionality.functional_extensionality_dep",
        "Coq.Reals.ClassicalDedekindReals.sig_forall_dec",
        "Coq.Reals.ClassicalDedekindReals.sig_not_dec",
    )
    """What a proof may take for granted, by full names, where its context brings it: the axioms that Coq's own library rests on."""
    allow_unsandboxed: bool = False
    """Let Coq run with your own rights where there is no bubblewrap."""

    @field_validator("hints")
    @classmethod
    def _retrieved(cls, hints: int, info: ValidationInfo) -> int:
        if hints and info.data.get("kind") == "kernel":
            raise ValueError("is for env.kind coq: the kernel retrieves no premises; set it to 0 (--env.hints=0)")
        if hints and info.data.get("premises") == "none":
            raise ValueError("has nothing to show: env.premises is none; set that to mixture (--env.premises=mixture)")
        return hints


class Theorems(Record):
    """Where statements come from: ``world:SPLIT`` of the embedded theorems, or a .jsonl/.parquet file with a ``text`` column."""

    pool: str = "world:pool"
    per_round: Count = 400
    """Statements searched in a round: the budget that every arm of a comparison shares."""
    traces: str = "world:train"
    """Proofs that the first policy learns from: ``world:SPLIT`` with scripts, a .parquet file that ``sparring trace`` wrote, or "" for
    none (the policy plays as it is)."""
    trace_theorems: Annotated[int, Field(ge=0)] = 0
    """Theorems of ``world:SPLIT`` whose proofs are used, from its beginning (of Coq: drawn at random); 0: all."""
    evals: dict[Name, str] = Field(default={"test": "world:test", "novel": "world:novel", "hard": "world:hard"})
    eval_tasks: Annotated[int, Field(ge=0)] = 0
    """Statements of each evaluation set that are used, likewise; 0: all."""


class ProveRun(Run):
    rounds: Count = 3
    shard_tasks: Count = 128


class ProvePolicy(Policy):
    path: str = UNTRAINED
    max_prompt_tokens: Count = 1536
    hidden: Count = 128
    """This and the next three: sizes of a model with random weights that is made when the run begins; other checkpoints have their own.
    It has about (vocabulary + 13 x layers x hidden) x hidden parameters."""
    layers: Count = 4
    heads: Annotated[int, Field(ge=1, validate_default=True)] = 4
    vocabulary: Annotated[int, Field(ge=512)] = 4096
    """Tokens of the tokenizer that is trained for Coq, at most; 256 of them are bytes."""

    @field_validator("heads")
    @classmethod
    def _divide(cls, heads: int, info: ValidationInfo) -> int:
        hidden, least = info.data.get("hidden", 0), 2 * heads  # an even part for each: rotary positions turn pairs
        if hidden % least:
            raise ValueError(
                f"does not fit policy.hidden {hidden}, which must be a multiple of twice the heads; "
                f"set it to {-(-hidden // least) * least} (--policy.hidden={-(-hidden // least) * least})"
            )
        return heads


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


class Ranking(Cotraining):
    """How a planner that ranks learns, after the rest, which of the states that were reached from one state a proof went to."""

    loss: Loss = "orpo"
    beta: Positive = 1.0
    lr: Positive = 2e-4
    batch: Count = 16
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
    flat_weight: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
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
    siblings: Annotated[int, Field(ge=0)] = 3
    """States off the proof that each state of a proof is compared with (``ranking``); only where the search ranks."""
    exposure: bool = True
    """The actor also learns the used tactic under the planner's own targets."""
    replay: Fraction = 0.8
    """Share of the lessons that comes from the traces of the start."""


class ProveRecipe(Recipe):
    game: Literal["prove"] = "prove"
    run: ProveRun = ProveRun()
    policy: ProvePolicy = ProvePolicy()
    env: Environment = Environment()
    data: Theorems = Theorems()
    roles: Roles = Roles()
    start: Cotraining = Cotraining()
    search: Search = Search()
    creator: Conjectures = Conjectures()
    teach: Lore = Lore()
    learner: ExpertIteration = ExpertIteration()
    ranking: Ranking = Ranking()

    @model_validator(mode="after")
    def _check(self) -> ProveRecipe:
        if self.env.kind == "coq" and self.creator.kind != "none":
            raise ValueError(
                f"creator.kind {self.creator.kind} writes conjectures for the embedded kernel alone; for Coq set --creator.kind=none"
            )
        for key, how in (("start", self.start), ("learner", self.learner)):
            if how.loss != "sft":
                raise ValueError(f"{key}.loss is {how.loss}; the prove game teaches demonstrations, so set it to sft")
        if self.ranking.loss == "sft":
            raise ValueError("ranking.loss sft compares nothing; set it to orpo, or --teach.siblings=0 for no comparisons")
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
