"""What can be known to be wrong with a recipe of the align game before anything is loaded or played."""

from __future__ import annotations

from collections.abc import Callable

from sparring.config import AlignRecipe
from sparring.creators.evolve import ModelRewriter
from sparring.creators.quotas import quotas
from sparring.data import load_function
from sparring.errors import SparringError
from sparring.games.judging import ASKING, LOADING, PROGRAMS, check_member, make_judge, pairwise
from sparring.games.sources import enough, prompt_sources, read_source, room
from sparring.models.folders import resolve_policy
from sparring.session import calls_path


def check_room(recipe: AlignRecipe) -> None:
    """That the policy, where it is here, has positions for an answer."""
    try:
        folder = resolve_policy(recipe.policy.path, download=False)
    except SparringError:
        return  # said elsewhere
    room(recipe, folder)


def check_recipe(recipe: AlignRecipe) -> None:
    """What can be known to be wrong of its players without loading any of them."""
    check_server(recipe)
    judge, creator, online = recipe.judge, recipe.creator, recipe.online
    for place, member in enumerate(judge.members):
        check_member(member, f"judge.members[{place}]")
    if not judge.members:
        check_member(judge, "judge")
    for place, member in enumerate(recipe.watch.judges):
        check_member(member, f"watch.judges[{place}]")
    if pairwise(judge) and not recipe.watch.judges and (recipe.data.evals or recipe.data.held_out):
        raise SparringError(
            f"judge.kind = {judge.kind!r} compares answers, and an evaluation has one answer to a prompt; name a judge for it under "
            "[[watch.judges]], or evaluate nothing (data.evals = {}, data.held_out = 0)"
        )
    if judge.kind in PROGRAMS and creator.kind in ("model", "symbolic") and not recipe.data.read:
        raise SparringError(
            f"judge.kind = {judge.kind!r} needs the right answer, which a created prompt has only from data.read; name a reader that "
            "finds it, or create nothing (--creator.kind=none)"
        )
    if creator.path and creator.endpoint.url:
        raise SparringError("creator.path and creator.endpoint.url both name a model that evolves prompts; keep one of them")
    if creator.kind == "model":
        quotas(creator, ModelRewriter(creator).operators, ())  # its templates and operators, and whether they can fill the quota
    if creator.answerable == "judge" and judge.kind not in ASKING:
        raise SparringError(
            f"creator.answerable = 'judge' asks the judging model, and judge.kind = {judge.kind!r} has none; "
            "use --creator.answerable=reward, or a judge that is a language model"
        )
    if online.batch > recipe.data.per_round:
        raise SparringError(f"online.batch {online.batch} is more than data.per_round {recipe.data.per_round}; lower it")
    if online.batch and (recipe.policy.server.url or recipe.learner.backend != "torch" or recipe.run.start == "scratch"):
        raise SparringError(
            "online play trains the weights that it samples, in this process and from round to round: set policy.server.url to '', "
            "learner.backend to 'torch' and run.start to 'incremental', or play offline (--online.batch=0)"
        )
    if creator.answerable == "program" and not creator.gate:
        raise SparringError("creator.answerable = 'program' needs one; name it (--creator.gate=package.module:function)")


def checks(recipe: AlignRecipe) -> list[Callable[[], object]]:
    """Steps that each raise SparringError for something a run would lack. The policy apart; no model is loaded, nothing downloaded."""
    read = load_function(recipe.data.read, "data.read") if recipe.data.read else None
    held_out = recipe.data.held_out
    steps: list[Callable[[], object]] = [
        lambda: check_recipe(recipe),
        lambda: check_room(recipe),
        lambda: check_judge_files(recipe),
    ]
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


def check_judge_files(recipe: AlignRecipe) -> None:
    """That the judges' checkpoints are here and whole, and that a judge which needs none orders its controls."""
    judge = recipe.judge
    named = [(f"judge.members[{place}]", member) for place, member in enumerate(judge.members)] or [("judge", judge)]
    named += [(f"watch.judges[{place}]", member) for place, member in enumerate(recipe.watch.judges)]
    for key, member in named:
        if member.kind in LOADING:
            from sparring.judges.loading import open_checkpoint

            open_checkpoint(member, f"{key}.path", online=False)
    if not any(member.kind in (*LOADING, *ASKING) for _, member in named):
        make_judge(judge, calls_path(recipe), recipe.run.seed)
