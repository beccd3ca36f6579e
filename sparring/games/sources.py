"""Where the tasks of the align game come from, by the source that a recipe names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sparring.config import AlignRecipe, Policy
from sparring.data import Read, fit_prompts, read_tasks, task_of_row
from sparring.errors import NotHere, SparringError
from sparring.game import Task, stable_hash
from sparring.models.adapters import is_adapter
from sparring.models.facts import policy_facts
from sparring.models.folders import base_policy, read_template, resolve_policy
from sparring.rundir import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def read_source(source: str, read: Read | None, key: str, online: bool = True) -> list[Task]:
    """The tasks of ``world:SPLIT``, of a .jsonl or .parquet file, of ``gym:FAMILY?size=..&seed=..`` (reasoning-gym's puzzles) or of
    ``hub:DATASET?split=train&column=prompt`` (a data set of the Hugging Face hub, or a local folder of one).

    With ``online`` False nothing is downloaded: NotHere for a data set of the hub.
    """
    if source.startswith("gym:"):
        from sparring.judges.gym import read_gym

        return read_gym(source)
    if source.startswith("hub:"):
        name = source.removeprefix("hub:").partition("?")[0]
        if not (online or Path(name).expanduser().exists()):
            raise NotHere(f"{key} = {source!r} is on the hub, and is read when the run begins")
        return _read_hub(source, read, key)
    return read_tasks(source, read, key)


def _read_hub(source: str, read: Read | None, key: str) -> list[Task]:
    try:
        import datasets
    except ImportError:
        raise SparringError(f"{key} = {source!r} needs the library datasets; pip install 'sparring[hub]'") from None
    name, _, query = source.removeprefix("hub:").partition("?")
    options = dict(parse_qsl(query))
    split, column = options.pop("split", "train"), options.pop("column", "")
    try:
        rows = datasets.load_dataset(name, options.pop("config", None), split=split)
    except Exception as error:  # the library raises whatever its readers and the network raise
        raise SparringError(
            f"{key} = {source!r} cannot be loaded: {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from None
    if options:
        raise SparringError(f"{key} = {source!r}: unknown {', '.join(options)}; there are config, split and column")
    if column and column not in rows.column_names:
        raise SparringError(f"{key} = {source!r}: no column {column!r}; there are {', '.join(rows.column_names)}")
    tasks: dict[str, Task] = {}
    for number, row in enumerate(rows, 1):
        given: Any = row
        row = {**{k: v for k, v in given.items() if k not in (column, "prompt")}, "text": given[column]} if column else given
        found = task_of_row(row, read, f"{source}, row {number}")
        tasks.setdefault(found.id, found)
    if not tasks:
        raise SparringError(f"{key} = {source!r} has no rows")
    return list(tasks.values())


def room(recipe: AlignRecipe, folder: Path) -> int:
    """Tokens that a prompt may have: ``policy.max_prompt_tokens``, or what the longest answer leaves of the model's positions.

    Raises SparringError where that is nothing. ``folder``: the policy's, or an adapter's.
    """
    limit = recipe.policy.max_prompt_tokens
    positions = policy_facts(base_policy(folder) if is_adapter(folder) else folder).positions
    if positions is None:
        return limit
    for key, new in (("solver", recipe.solver.max_new_tokens), ("evaluation", recipe.evaluation.max_new_tokens)):
        if new >= positions:
            raise SparringError(
                f"{key}.max_new_tokens {new} leaves no room for a prompt in the {positions} positions of {recipe.policy.path}; lower it "
                f"(--{key}.max_new_tokens={positions // 2})"
            )
        limit = min(limit, positions - new)
    return limit


def fitting(tasks: list[Task], recipe: AlignRecipe, key: str, watch: Watch) -> list[Task]:
    """The tasks that the policy has room for, cut or left out as it says; ``watch`` is told how many were not."""
    folder = resolve_policy(recipe.policy.path)
    limit = room(recipe, folder)
    settings = recipe.policy.model_copy(update={"max_prompt_tokens": limit})
    kept, counts = fit_prompts(tasks, _tokenizer(recipe.policy, folder), settings, key)
    if counts["long"]:
        watch.note(f"{key}: {counts['long']} prompts over {limit} tokens, {counts['cut']} cut and {counts['dropped']} left out")
    return kept


def _tokenizer(policy: Policy, folder: Path) -> PreTrainedTokenizerBase:
    """The policy's, before there is a copy of it in the run."""
    from transformers import AutoTokenizer

    if not any(folder.glob("tokenizer*")):  # an adapter alone
        folder = base_policy(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if policy.chat_template:
        tokenizer.chat_template = read_template(policy.chat_template)
    return tokenizer


def prompt_sources(recipe: AlignRecipe) -> dict[str, tuple[str, str, int]]:
    """What pools are drawn from, by name: (source, its key in the recipe, prompts that all rounds together need of it)."""
    human, fresh, size = recipe.run.human_rounds, recipe.creator.kind == "fresh", recipe.data.per_round
    found = {"human": (recipe.data.prompts, "data.prompts", size * (human if fresh else max(human, 1)))}
    return found | ({"fresh": (recipe.data.fresh, "data.fresh", size * (recipe.run.rounds - human))} if fresh else {})


def prompt_readers(recipe: AlignRecipe, read: Read | None, watch: Watch) -> dict[str, Callable[[], list[Task]]]:
    """Each refuses to be too short for all the rounds that draw from it."""

    def reader(source: str, key: str, needed: int) -> Callable[[], list[Task]]:
        def tasks() -> list[Task]:
            found = fitting(read_source(source, read, key), recipe, key, watch)
            return enough(apart(recipe, found)[1] if key == "data.prompts" else found, needed, key)

        return tasks

    return {name: reader(*where) for name, where in prompt_sources(recipe).items()}


def eval_readers(recipe: AlignRecipe, read: Read | None, watch: Watch) -> dict[str, Callable[[], list[Task]]]:
    """The evaluation sets of the recipe, and the prompts that are held out."""
    readers: dict[str, Callable[[], list[Task]]] = {
        name: lambda source=source, key=f"data.evals.{name}": fitting(read_source(source, read, key), recipe, key, watch)
        for name, source in recipe.data.evals.items()
    }

    def held_out() -> list[Task]:
        return apart(recipe, fitting(read_source(recipe.data.prompts, read, "data.prompts"), recipe, "data.prompts", watch))[0]

    return readers | ({"held_out": held_out} if recipe.data.held_out else {})


def apart(recipe: AlignRecipe, prompts: Sequence[Task]) -> tuple[list[Task], list[Task]]:
    """(held out, the rest), both in the order of the file."""
    order = sorted(prompts, key=lambda task: stable_hash(recipe.run.seed, "held out", task.id))
    chosen = {task.id for task in order[: recipe.data.held_out]}
    return [task for task in prompts if task.id in chosen], [task for task in prompts if task.id not in chosen]


def enough(tasks: Sequence[Task], needed: int, key: str) -> list[Task]:
    if len(tasks) < needed:
        raise SparringError(
            f"{key} has {len(tasks)} different prompts and the rounds up to now need {needed}; "
            "add prompts, or lower data.per_round or the number of rounds"
        )
    return list(tasks)
