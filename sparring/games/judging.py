"""The judges that a recipe names, put together."""

from __future__ import annotations

from pathlib import Path

from sparring.config import AlignRecipe, Judge, Member, Policy, members_of
from sparring.data import load_function
from sparring.errors import SparringError
from sparring.game import Judge as JudgeRole
from sparring.game import Model
from sparring.judges.controls import load_controls
from sparring.judges.ensemble import Ensemble, Scaled
from sparring.judges.program import ProgramJudge, check_judge
from sparring.learners.lessons import Wins, bradley_terry, win_rates

PROGRAMS = {"math": "sparring.judges.maths", "reasoning_gym": "sparring.judges.gym"}
"""Kinds that are a module with ``grade`` and ``controls``."""
ASKING = ("rubric", "pairwise", "checklist")
"""Kinds that ask a language model: that of their endpoint, or the checkpoint of their path."""
LOADING = ("reward_model", "armorm", "pairrm")
"""Kinds that load a checkpoint of their own."""
COMPARING = ("pairrm", "pairwise")
"""Kinds whose scores are win rates against the other answers to the prompt: one answer alone has none."""

WINNING = ("sppo", "sppo_soft")
"""Losses that want to know how likely an answer beats another one."""


def make_judge(settings: Judge, calls: Path, seed: int, key: str = "judge") -> JudgeRole:
    """The recipe's judge, after it has shown that it orders ``settings.controls``.

    Raises SparringError for what cannot be loaded and for a judge that does not tell good from bad.
    """
    judge = unchecked_judge(settings, calls, seed, key)
    if spec := controls_of(settings, key):
        check_judge(judge, load_controls(spec, f"{key}.controls"))
    return judge


def unchecked_judge(settings: Judge, calls: Path, seed: int, key: str = "judge") -> JudgeRole:
    """The same without its examination. ``calls``: where answers of servers are kept."""
    if not settings.members:
        return make_member(settings, calls, seed, key)
    members = {
        f"{member.kind} {place}": make_member(member, calls, seed, f"{key}.members[{place}]")
        for place, member in enumerate(settings.members)
    }
    return Ensemble(members, settings)


def make_member(member: Member, calls: Path, seed: int, key: str) -> JudgeRole:
    """One judge, unchecked; ``key``: where it stands in the recipe."""
    check_member(member, key)
    if member.kind in ASKING:
        from sparring.judges.llm import llm_judge

        return llm_judge(member, asked_model(member, calls, key), seed, key)
    if member.kind == "reward_model":
        from sparring.judges.reward_model import RewardModelJudge

        return RewardModelJudge.load(member, f"{key}.path")
    if member.kind == "armorm":
        from sparring.judges.armorm import ArmoRMJudge

        return ArmoRMJudge.load(member, f"{key}.path")
    if member.kind == "pairrm":
        from sparring.judges.pairrm import PairRMJudge

        return PairRMJudge.load(member, f"{key}.path")
    module = PROGRAMS.get(member.kind)
    judge = ProgramJudge(load_function(f"{module}:grade" if module else member.grade, f"{key}.grade"))
    return Scaled(judge, member) if (member.shift, member.scale) != (0.0, 1.0) else judge


def asked_model(member: Member, calls: Path, key: str = "judge") -> Model:
    """The model that judges: a server's, or one in this process, which loads when it is first asked.

    What it refuses to read is a sample with a fault, for an answer may have made it too long.
    """
    if member.endpoint.url:
        from sparring.models.ledger import Ledger
        from sparring.models.openai import OpenAIModel

        return OpenAIModel(member.endpoint, Ledger(calls))
    from sparring.engines import Forgiving, LazyModel, load_local
    from sparring.models.folders import resolve_policy

    folder = resolve_policy(member.path, f"{key}.path")
    settings = Policy(
        dtype=member.dtype, device=member.device, batch_tokens=member.batch_tokens, max_prompt_tokens=member.max_tokens
    )
    return LazyModel(lambda: Forgiving(load_local(folder, settings), limit=f"{key}.max_tokens"))


def check_member(member: Member, key: str) -> None:
    """What can be known to be wrong without loading anything."""
    if member.kind in LOADING and not member.path:
        raise SparringError(f"{key}.kind = {member.kind!r} needs a checkpoint; name a folder or a hub name (--{key}.path=PATH)")
    if member.kind in ASKING and bool(member.path) == bool(member.endpoint.url):
        raise SparringError(
            f"{key}.kind = {member.kind!r} needs one model that judges, a server's or a checkpoint; set either {key}.endpoint.url or "
            f"{key}.path (--{key}.endpoint.url=http://127.0.0.1:8000/v1)"
        )


def controls_of(settings: Judge, key: str = "judge") -> str:
    """The controls meant by ``settings.controls``; raises SparringError where ``default`` means none."""
    if settings.controls != "default":
        return settings.controls
    if settings.members or settings.kind not in ("program", *PROGRAMS):
        return "builtin:general"
    if module := PROGRAMS.get(settings.kind):
        return f"{module}:controls"
    if settings.grade == Member().grade:
        return "sparring.worlds.words:controls"
    raise SparringError(
        f'nothing shows that {key}.grade = {settings.grade!r} works; name {key}.controls, or set it to "" to do without (--{key}.controls=)'
    )


def members_by_key(settings: Judge) -> dict[str, Member]:
    """The members of an ensemble, or the one judge that it is, by where they stand in the recipe."""
    if not settings.members:
        return {"judge": settings}
    return {f"judge.members[{place}]": member for place, member in enumerate(settings.members)}


def watching(recipe: AlignRecipe) -> dict[str, Member]:
    """The judges that teach nothing, likewise."""
    return {f"watch.judges[{place}]": member for place, member in enumerate(recipe.watch.judges)}


def asking(settings: Judge) -> str | None:
    """Where the first judge that asks a language model stands."""
    return next((key for key, member in members_by_key(settings).items() if member.kind in ASKING), None)


def compares(settings: Judge) -> bool:
    """Whether it cannot judge one answer alone: a fault of one member is a fault of all."""
    return any(member.kind in COMPARING for member in members_of(settings))


def pairwise(settings: Judge) -> bool:
    """Whether its scores are win rates."""
    return all(member.kind in COMPARING for member in members_of(settings))


def wins_of(settings: Judge) -> Wins | None:
    """How the judge's scores say who beats whom: win rates, or rewards as of a Bradley-Terry model; None for other scores."""
    if pairwise(settings):
        return win_rates
    kinds = {member.kind for member in members_of(settings)}
    return bradley_terry if kinds <= {"reward_model", "armorm"} else None
