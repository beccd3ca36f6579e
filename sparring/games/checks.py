"""What can be known to be wrong with a recipe of the align game before anything is loaded or played."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sparring.config import AlignRecipe, Endpoint, Judge, Member, members_of
from sparring.creators.evolve import ModelRewriter
from sparring.creators.quotas import quotas
from sparring.data import load_function
from sparring.errors import SparringError
from sparring.games.judging import (
    ASKING,
    COMPARING,
    LOADING,
    PROGRAMS,
    WINNING,
    asking,
    check_member,
    compares,
    controls_of,
    make_judge,
    make_member,
    members_by_key,
    pairwise,
    watching,
    wins_of,
)
from sparring.games.sources import enough, prompt_sources, read_source, room
from sparring.judges.controls import load_controls
from sparring.models.adapters import is_adapter
from sparring.models.facts import has_template, policy_facts
from sparring.models.folders import base_policy, check_architecture, check_policy, read_template, resolve_policy
from sparring.session import calls_path


def check_room(recipe: AlignRecipe) -> None:
    """That the policy, where it is here, has positions for an answer."""
    try:
        folder = resolve_policy(recipe.policy.path, download=False)
    except SparringError:
        return  # said elsewhere
    room(recipe, folder)


def check_policy_files(recipe: AlignRecipe) -> None:
    """That the policy, where it is here, can be sampled and learned from."""
    if recipe.policy.chat_template:
        read_template(recipe.policy.chat_template)
    try:
        resolve_policy(recipe.policy.path, download=False)
    except SparringError:
        return  # said elsewhere
    check_policy(recipe.policy.path, recipe.policy.chat_template, download=False)


def check_recipe(recipe: AlignRecipe) -> None:
    """What can be known to be wrong of its players without loading any of them."""
    check_server(recipe)
    check_judges(recipe)
    check_creator(recipe)
    online, how = recipe.online, recipe.learner
    if how.backend == "torch" and how.accelerate and not Path(how.accelerate).expanduser().is_file():
        raise SparringError(f"learner.accelerate = {how.accelerate!r}: there is no such file; `accelerate config` writes one")
    if online.batch > recipe.data.per_round:
        raise SparringError(f"online.batch {online.batch} is more than data.per_round {recipe.data.per_round}; lower it")
    if online.batch and (recipe.policy.server.url or how.backend != "torch" or how.accelerate or recipe.run.start == "scratch"):
        raise SparringError(
            "online play trains the weights that it samples, in this process and from round to round: set policy.server.url and "
            "learner.accelerate to '', learner.backend to 'torch' and run.start to 'incremental', or play offline (--online.batch=0)"
        )


def check_judges(recipe: AlignRecipe) -> None:
    """That every judge is told what it needs, and can do what it is there for."""
    judge = recipe.judge
    for key, member in (members_by_key(judge) | watching(recipe)).items():
        check_member(member, key)
    for key, member in watching(recipe).items():
        if member.kind in COMPARING:
            raise SparringError(
                f"{key}.kind = {member.kind!r} compares answers, and judges evaluations, which have one answer to a prompt; name one "
                "that judges an answer by itself (reward_model, armorm, rubric, checklist or a program)"
            )
    if compares(judge) and not recipe.watch.judges and (recipe.data.evals or recipe.data.held_out):
        kind = next(member.kind for member in members_of(judge) if member.kind in COMPARING)
        raise SparringError(
            f"judge.kind = {kind!r} compares answers, and an evaluation has one answer to a prompt; name a judge for it under "
            "[[watch.judges]], or evaluate nothing (data.evals = {}, data.held_out = 0)"
        )
    programs = [member.kind for member in members_of(judge) if member.kind in PROGRAMS]
    if programs and recipe.creator.kind in ("model", "symbolic") and not recipe.data.read:
        raise SparringError(
            f"judge.kind = {programs[0]!r} needs the right answer, which a created prompt has only from data.read; name a reader that "
            "finds it, or create nothing (--creator.kind=none)"
        )
    if recipe.learner.loss in WINNING:
        check_wins(recipe)


def check_wins(recipe: AlignRecipe) -> None:
    """That the loss gets win rates where the judge gives any."""
    judge, loss = recipe.judge, recipe.learner.loss
    if wins_of(judge) and recipe.learner.backend == "trl":
        raise SparringError(
            f"learner.loss = {loss!r} would get the judge's win rates, and TRL's SPPO knows winners and losers only; set "
            "learner.backend to torch"
        )
    if not pairwise(judge):
        return
    for key, member in members_by_key(judge).items():
        if (member.shift, member.scale) != (0.0, 1.0):
            raise SparringError(
                f"learner.loss = {loss!r} takes the win rates of {key} as they are, and with shift {member.shift:g} and scale "
                f"{member.scale:g} they are none; set {key}.shift to 0 and {key}.scale to 1"
            )
    if judge.members and judge.combine == "uncertain" and judge.doubt > 1:
        raise SparringError(
            f"learner.loss = {loss!r} takes win rates, and judge.doubt {judge.doubt:g} can bring them below 0; set it to 1 or less"
        )


def check_creator(recipe: AlignRecipe) -> None:
    """That what evolves prompts, and what judges them, is named and fits together."""
    creator = recipe.creator
    if creator.path and creator.endpoint.url:
        raise SparringError("creator.path and creator.endpoint.url both name a model that evolves prompts; keep one of them")
    if creator.kind == "model":
        quotas(creator, ModelRewriter(creator).operators, ())  # its templates and operators, and whether they can fill the quota
    if creator.answerable == "judge" and asking(recipe.judge) is None:
        kinds = " and ".join(repr(member.kind) for member in members_of(recipe.judge))
        raise SparringError(
            f"creator.answerable = 'judge' asks the judging model, and judge.kind = {kinds} has none; "
            "use --creator.answerable=reward, or a judge that is a language model"
        )
    if creator.answerable == "program" and not creator.gate:
        raise SparringError("creator.answerable = 'program' needs one; name it (--creator.gate=package.module:function)")


def checks(recipe: AlignRecipe) -> list[Callable[[], object]]:
    """Steps that each raise SparringError for something a run would lack. No model is loaded, nothing is downloaded or asked.

    Where the policy is to be found is left to the caller.
    """
    read = load_function(recipe.data.read, "data.read") if recipe.data.read else None
    held_out = recipe.data.held_out
    steps: list[Callable[[], object]] = [
        lambda: check_recipe(recipe),
        lambda: check_policy_files(recipe),
        lambda: check_room(recipe),
        lambda: check_learning(recipe),
        lambda: check_creator_files(recipe),
        lambda: check_controls(recipe),
    ]
    servers = {"policy.server": recipe.policy.server, "creator.endpoint": recipe.creator.endpoint}
    members, others = members_by_key(recipe.judge), watching(recipe)
    for key, member in (others if _is_program(recipe.judge) else members | others).items():
        steps.append(lambda member=member, key=key: check_judge_files(member, key))
    servers |= {f"{key}.endpoint": member.endpoint for key, member in (members | others).items()}
    steps += [lambda endpoint=endpoint, key=key: check_endpoint(endpoint, key) for key, endpoint in servers.items()]
    for source, key, needed in prompt_sources(recipe).values():
        more = held_out if key == "data.prompts" else 0
        steps.append(
            lambda source=source, key=key, needed=needed + more: enough(read_source(source, read, key, online=False), needed, key)
        )
    for name, source in recipe.data.evals.items():
        steps.append(lambda source=source, key=f"data.evals.{name}": read_source(source, read, key, online=False))
    return steps


def check_server(recipe: AlignRecipe) -> None:
    """That a server which samples the policy can have its new weights."""
    policy, how = recipe.policy, recipe.learner
    if not policy.server.url:
        return
    if policy.refresh == "none":
        raise SparringError(
            f"policy.refresh = 'none' leaves {policy.server.url} with the first weights after a round; say how it gets new ones "
            "(--policy.refresh=name for transformers serve, vllm_reload, vllm_lora, sglang or command)"
        )
    if policy.refresh == "vllm_lora" and not (how.lora_rank and how.save_adapter and recipe.run.start == "scratch"):
        raise SparringError(
            "policy.refresh = 'vllm_lora' loads an adapter of the first policy; set learner.lora_rank, learner.save_adapter = true and "
            "run.start = 'scratch', or policy.refresh = 'vllm_reload'"
        )
    if policy.refresh == "command" and not policy.refresh_command:
        raise SparringError("policy.refresh = 'command' needs one; name it (--policy.refresh_command=COMMAND)")


def check_endpoint(endpoint: Endpoint, key: str) -> None:
    """That its address is one. Nothing is asked."""
    if not endpoint.url:
        return
    from sparring.models.transport import Transport

    try:
        Transport(endpoint)
    except SparringError as error:
        raise SparringError(f"{key}: {error}") from None


def check_learning(recipe: AlignRecipe) -> None:
    """That the learner knows what it is told to do."""
    from sparring.learners.train import check_learner

    check_learner(recipe.learner, recipe.solver.max_new_tokens)
    if recipe.learner.backend == "trl":
        from sparring.learners.trl_settings import check_settings

        check_settings(recipe.learner)


def check_model(path: str, key: str, max_new_tokens: int) -> None:
    """That a model which is asked, and learns nothing, is here, of a kind that is known, and has a chat template and positions for an
    answer. ``key``: the section of the recipe that names it."""
    source = resolve_policy(path, f"{key}.path", download=False)
    model = base_policy(source, download=False) if is_adapter(source) else source
    facts = policy_facts(model)
    if not facts.quantised:  # which is refused for what learns
        check_architecture(model)
    if not (has_template(source) or facts.has_template):
        raise SparringError(
            f"{key}.path = {path!r}: {model} has no chat template, so a prompt has no rendering; use an instruction-tuned model"
        )
    if facts.positions is not None and max_new_tokens >= facts.positions:
        raise SparringError(
            f"{key}.max_new_tokens {max_new_tokens} leaves no room for a prompt in the {facts.positions} positions of {path}; lower it "
            f"(--{key}.max_new_tokens={facts.positions // 2})"
        )


def check_judge_files(member: Member, key: str) -> None:
    """That a judge's checkpoint is here and whole, its rubric can be read, and its program can be imported."""
    if member.kind in LOADING:
        from sparring.judges.loading import open_checkpoint

        open_checkpoint(member, f"{key}.path", online=False)
    elif member.kind in ASKING:
        from sparring.judges.llm_prompts import read_rubric

        read_rubric(member.rubric, f"{key}.rubric")
        if member.path:
            check_model(member.path, key, member.max_new_tokens)
    else:
        make_member(member, Path(), 0, key)  # which asks nobody


def check_controls(recipe: AlignRecipe) -> None:
    """That the judge's controls can be read, and that a judge which needs no model orders them."""
    if _is_program(recipe.judge):
        make_judge(recipe.judge, calls_path(recipe), recipe.run.seed)
    else:
        load_controls(controls_of(recipe.judge), "judge.controls")


def _is_program(judge: Judge) -> bool:
    return not any(member.kind in (*LOADING, *ASKING) for member in members_of(judge))


def check_creator_files(recipe: AlignRecipe) -> None:
    """That the creator's checkpoint is here, and its functions and its encoder can be imported."""
    creator = recipe.creator
    if creator.kind in ("model", "symbolic") and creator.near_meaning < 1:
        from sparring.creators.meaning import encoder_package

        encoder_package()
    if creator.kind == "model" and creator.path:
        check_model(creator.path, "creator", creator.max_new_tokens)
    if creator.kind == "symbolic":
        load_function(creator.mutate, "creator.mutate")
    if creator.answerable == "program":
        load_function(creator.gate, "creator.gate")
