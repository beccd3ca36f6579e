"""Recipes: frozen records, one for every section; ``recipe.py`` reads and writes them.

Every field has its unit in its name or its docstring and a default that runs.
"""

from __future__ import annotations

# pyright: reportIncompatibleVariableOverride=false
# Records are frozen, so a recipe may narrow a section that every recipe has.
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]

Metric = Literal["min", "avg", "dts", "uniform", "var", "mean", "inv_mean", "inv_min", "pass"]
Draw = Literal["weighted", "greedy", "stratified"]
Operator = Literal["constrain", "deepen", "concretise", "reason", "expand", "breadth"]
Loss = Literal["dpo", "ipo", "sppo", "sppo_soft", "simpo", "orpo", "sft", "kto", "rloo", "grpo", "dr_grpo", "dapo"]
JudgeKind = Literal["program", "reward_model", "armorm", "pairrm", "rubric", "pairwise", "checklist", "math", "reasoning_gym"]


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


class Endpoint(Record):
    """An OpenAI-compatible server; ``url`` "" stands for none."""

    url: str = ""
    """Up to and with the version, as in http://127.0.0.1:8000/v1."""
    model: str = ""
    """Empty: the only one that the server lists."""
    api: Literal["chat", "completions"] = "chat"
    key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key, where one is needed. The key itself is never written anywhere."""
    concurrency: Count = 16
    """Requests under way at once."""
    requests_per_minute: Annotated[int, Field(ge=0)] = 0
    """0: no limit."""
    tokens_per_minute: Annotated[int, Field(ge=0)] = 0
    timeout_s: Positive = 120.0
    """Of one request, from its first byte to its last."""
    deadline_s: Positive = 3600.0
    """Of one prompt, with all its retries."""
    retries: Annotated[int, Field(ge=0)] = 6
    max_answer_mb: Positive = 8.0
    """A longer response is cut off and is a fault."""
    usd_per_million_prompt: NonNegative = 0.0
    usd_per_million_completion: NonNegative = 0.0
    budget_usd: NonNegative = 0.0
    """Money that a run may spend here, all its processes together, by the two prices above; 0: no limit."""
    budget_tokens: Annotated[int, Field(ge=0)] = 0
    """Prompt and completion tokens together; 0: no limit."""
    extra: dict[str, Any] = {}
    """Further fields of the request's body, as {top_k = 20}."""

    @field_validator("budget_usd")
    @classmethod
    def _needs_a_price(cls, value: float, info: ValidationInfo) -> float:
        if value and not info.data.get("usd_per_million_prompt") and not info.data.get("usd_per_million_completion"):
            raise ValueError(
                "limits nothing as long as nothing has a price; set usd_per_million_prompt and usd_per_million_completion of this "
                "endpoint, or limit budget_tokens in place of budget_usd"
            )
        return value


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
    long_prompts: Literal["refuse", "cut", "drop"] = "refuse"
    """What becomes of a human prompt over that: an error, its end cut off, or left out; how many is counted and shown."""
    chat_template: str = ""
    """A .jinja file with the chat template, in place of the checkpoint's own where it has one."""
    server: Endpoint = Endpoint()
    """Where the policy is sampled instead of in this process."""
    refresh: Literal["none", "name", "vllm_lora", "vllm_reload", "sglang", "command"] = "none"
    """How the server gets the weights of a new policy: see docs/models.md."""
    refresh_command: str = ""
    """For ``command``: run with the policy's folder as its last argument; it returns when the server has the weights."""


class Data(Record):
    """Where tasks come from: ``world:SPLIT`` or a .jsonl/.parquet file with a ``text`` (or ``prompt``) column."""

    prompts: str = "world:human"
    fresh: str = "world:fresh"
    per_round: Count = 1000
    """Prompts in the pool of one round: the budget that every arm of a comparison shares."""
    held_out: Annotated[int, Field(ge=0)] = 0
    """So many of ``prompts``, drawn at random, are the evaluation set ``held_out`` and nothing else."""
    evals: dict[Name, str] = {"easy": "world:easy", "hard": "world:hard"}
    read: str = "sparring.worlds.words:read"
    """``package.module:function`` from a prompt to its meta, or to the reason why it cannot be judged; "" takes every prompt."""


class Solver(Record):
    n: Annotated[int, Field(ge=2)] = 6
    temperature: Positive = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    max_new_tokens: Count = 64


class Member(Record):
    """One judge."""

    kind: JudgeKind = "program"
    grade: str = "sparring.worlds.words:grade"
    """``program``: ``package.module:function`` taking (task, answer) and returning (score in [0, 1], solved, note)."""
    path: str = ""
    """``reward_model``, ``armorm``, ``pairrm``: a folder or a hub name."""
    endpoint: Endpoint = Endpoint()
    """``rubric``, ``pairwise``, ``checklist``: the server of the model that judges."""
    rubric: str = ""
    """A text file that says what is good, in place of the built-in rubric."""
    max_new_tokens: Count = 512
    """Of what a judging model writes."""
    shift: float = 0.0
    scale: Positive = 1.0
    """A score counts as (score - shift) / scale, so that the members of an ensemble can be compared."""
    solved_from: float = 0.5
    """The score, shifted and scaled, from which an answer counts as solved; a program says so itself."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_tokens: Count = 16384
    max_tokens: Count = 4096
    """Prompt and answer together; what is longer is a fault, not a cut text."""


class Judge(Member):
    controls: str = "default"
    """What the judge must order before a run starts: ``package.module:function`` returning (task, good answer, bad answer) triples, a
    .jsonl file with prompt, good and bad, ``builtin:general``, or "" for none. ``default``: those that come with the judge; a grade
    of your own has none."""
    members: Annotated[tuple[Member, ...], Field(strict=False)] = ()
    """An ensemble in place of the one judge that the keys above describe."""
    combine: Literal["mean", "worst", "uncertain"] = "mean"
    """Of the members' scores: their mean, the lowest, or their mean less ``doubt`` times their variance (arXiv 2310.02743)."""
    doubt: NonNegative = 0.5


def members_of(judge: Judge) -> tuple[Member, ...]:
    """The members of an ensemble, or the one judge that it is."""
    return judge.members or (judge,)


def gives_scores(judge: Judge) -> bool:
    """Whether what it says of answers is a score on a scale of its own, and not whether they are right."""
    return any(member.kind not in ("program", "math", "reasoning_gym") for member in members_of(judge))


class Watch(Record):
    """Over-optimisation: what is looked at after every round, and when it is too much. 0: no threshold."""

    judges: Annotated[tuple[Member, ...], Field(strict=False)] = ()
    """Further judges that teach nothing: where the first one's score rises and theirs fall, it is being gamed."""
    kl: NonNegative = 0.0
    """Nats per answer between the policy and the first one."""
    length_ratio: NonNegative = 0.0
    """Mean tokens per answer over that of the first round."""
    ties: Fraction = 0.0
    """Share of prompts whose answers all score the same."""
    distinct: Fraction = 0.0
    """Distinct word pairs over all word pairs of the answers, or of the created prompts: the least that is allowed."""
    second: NonNegative = 0.0
    """By how much the mean score of one of ``judges`` may fall."""
    action: Literal["warn", "stop"] = "warn"


class Creator(Record):
    kind: Literal["model", "symbolic", "fresh", "none"] = "model"
    metric: Metric = "min"
    draw: Draw = "weighted"
    fraction: Fraction = 0.25
    """Share of the pool that is evolved."""
    uniform: Fraction = 0.0
    """Share of the draw that ignores the metric."""
    chain: Count = 4
    operators: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = get_args(Operator)
    templates: str = "short"
    """``short``, ``instruct``, ``self_instruct``, or a TOML file of templates of your own: see docs/align.md."""
    path: str = ""
    """Another checkpoint that evolves prompts in place of the solver."""
    endpoint: Endpoint = Endpoint()
    """A server whose model evolves prompts in place of the solver."""
    mutate: str = "sparring.worlds.evolution:mutate"
    """The symbolic creator's ``package.module:function`` of (text, operator, seed)."""
    temperature: Positive = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    max_new_tokens: Count = 96
    tries: Count = 4
    """Candidates sampled per evolution; the first that passes every gate is kept."""
    near_duplicate: Fraction = 0.9
    """Jaccard similarity of word shingles from which a prompt counts as seen before."""
    near_meaning: Fraction = 1.0
    """Cosine similarity of sentence embeddings from which a prompt counts as seen before; 1 is off. Needs the extra ``embed``."""
    answerable: Literal["", "program", "judge", "reward"] = ""
    """Who says whether a created prompt can be answered at all: ``gate``, the judging model, or the mean reward of its answers."""
    gate: str = ""
    """``program``: ``package.module:function`` from a prompt to "" or to the reason why it cannot be answered."""
    operator_share: Fraction = 1.0
    """The largest share of a round's created prompts that one operator may make."""
    topic_share: Fraction = 1.0
    """The same for prompts whose meta has the same ``topic``."""


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
    checkpointing: bool = False
    """Recompute activations in the backward pass: a third more time for a fraction of the memory."""
    lora_rank: Annotated[int, Field(ge=0)] = 0
    """0: full fine-tuning; otherwise LoRA of that rank, merged before saving."""
    lora_alpha: Positive = 16.0
    save_adapter: bool = False
    """Also keep the adapter by itself, in ``adapter/`` of the policy's folder."""
    kl: NonNegative = 0.0
    """Online losses: weight of the KL divergence to the policy that the round began with (k3 estimate)."""
    clip_low: Positive = 0.2
    clip_high: Positive = 0.2
    """Online losses: the ratio of new to old probability is clipped to [1 - clip_low, 1 + clip_high]."""
    accelerate: str = ""
    """``torch``: a file that ``accelerate config`` has written; its processes on this machine learn together (data parallel, or FSDP
    where it says so). Empty: this process learns alone."""
    backend: Literal["torch", "trl"] = "torch"
    trl: dict[str, Any] = {}
    """``trl``: further arguments of its configuration, as {deepspeed = "zero3.json"}."""
    save_every: Count = 50
    """Optimiser steps between saved training states (exact resume)."""


class Online(Record):
    """Learning while sampling: a round is a row of mini-batches, each probed, evolved, taught and learned before the next."""

    batch: Annotated[int, Field(ge=0)] = 0
    """Prompts of a mini-batch; 0: offline, the round is taught at once."""
    human: Fraction = 0.25
    """Share of a mini-batch that goes on coming from the pool once the buffer of created prompts is full."""
    warm_up: Annotated[int, Field(ge=0)] = 2
    """Mini-batches of the pool alone, which fill the buffer."""
    save_every: Count = 10
    """Mini-batches between saved training states; those since the last one are learned again, never sampled again."""


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
    online: Online = Online()
    watch: Watch = Watch()

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
