"""Where the first policy comes from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sparring.checkpoints import check_files, find_folder
from sparring.checkpoints import download as _download
from sparring.errors import SparringError
from sparring.models.adapters import base_of, is_adapter
from sparring.models.facts import OTHER_TEMPLATES, has_template, policy_files, read_config, read_json, weight_files
from sparring.rundir import commit

BUILTIN = {"words-tiny": Path(__file__).parent.parent / "worlds" / "words_tiny"}
TEMPLATE = "chat_template.jinja"


def resolve_policy(path: str, key: str = "policy.path", download: bool = True) -> Path:
    """The folder of ``builtin:NAME``, of a local path, or of a hub name (downloaded, or looked up in the cache of downloads).

    It may hold an adapter (``is_adapter``), and then the checkpoint that this belongs to is there as well. Raises SparringError,
    naming the recipe's ``key``, for a folder that holds no checkpoint with weights in safetensors.
    """
    if path.startswith("builtin:"):
        name = path.removeprefix("builtin:")
        if name not in BUILTIN:
            raise SparringError(
                f"{key} = {path!r}: there is no such built-in policy; there is builtin:{', builtin:'.join(BUILTIN)}"
            )
        folder = BUILTIN[name]
    else:
        known = "a checkpoint folder, a hub name or builtin:words-tiny"
        folder = find_folder(path, key, lambda name: _download(name, key, download), known)
    if is_adapter(folder):
        base_policy(folder, download)
        return folder
    check_files(folder, path, key)
    weight_files(folder)
    return folder


def base_policy(adapter: Path, download: bool = True) -> Path:
    """The folder of the checkpoint that an adapter belongs to."""
    key = f"base_model_name_or_path of {adapter / 'adapter_config.json'}"
    name = base_of(adapter)
    beside = adapter / name  # an adapter that was saved beside its model may say so
    path = str(beside) if not Path(name).expanduser().exists() and beside.is_dir() else name
    folder = find_folder(path, key, lambda hub: _download(hub, key, download), "a checkpoint folder or a hub name")
    if is_adapter(folder):
        raise SparringError(f"{key} = {name!r} is an adapter itself; merge the two and give the result")
    check_files(folder, name, key)
    weight_files(folder)
    return folder


def check_policy(path: str, chat_template: str = "", download: bool = True) -> tuple[Path, Path]:
    """The folder of ``path`` and that of its model, which is another one for an adapter.

    Raises SparringError for what could be neither sampled nor learned from, as far as that can be known without loading it.
    """
    source = resolve_policy(path, download=download)
    model = base_policy(source, download) if is_adapter(source) else source
    check_architecture(model)
    if chat_template:
        read_template(chat_template)
    elif not (has_template(source) or has_template(model)):
        raise SparringError(
            f"policy.path = {path!r}: {model} has no chat template, so a prompt has no rendering; use an instruction-tuned model, or "
            "give a template in a file (--policy.chat_template=chat_template.jinja)"
        )
    return source, model


def fetch_policy(path: str, out: Path, chat_template: str = "") -> None:
    """A copy of the policy in the run, so that the run stands on its own; an adapter is merged into its model.

    ``chat_template``: a .jinja file that becomes the policy's own, in place of any that it has. Raises SparringError as
    ``check_policy`` does.
    """
    source, model = check_policy(path, chat_template)

    def write(partial: Path) -> None:
        partial.mkdir()
        if model is source:
            for file in policy_files(source):
                target = partial / file.relative_to(source)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, target)
        else:
            _merge(source, partial)
        if chat_template:
            _set_template(partial, read_template(chat_template))

    commit(out, write)


def _merge(adapter: Path, out: Path) -> None:
    from sparring.models.hf import load_checkpoint

    model, tokenizer = load_checkpoint(adapter, "float32")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def read_template(path: str) -> str:
    """The text of a template file."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SparringError(f"policy.chat_template = {path!r} cannot be read: {error}; give a .jinja file in UTF-8") from None
    if not text.strip():
        raise SparringError(f"policy.chat_template = {path!r} is empty; give a file with a chat template, or '' for none")
    return text


def _set_template(folder: Path, template: str) -> None:
    """Makes ``template`` the one of the checkpoint in ``folder``, and the token that closes its answers one that ends them."""
    from transformers import AutoTokenizer

    from sparring.data import closing_token

    (folder / TEMPLATE).write_text(template, encoding="utf-8")
    shutil.rmtree(folder / OTHER_TEMPLATES, ignore_errors=True)
    (folder / "chat_template.json").unlink(missing_ok=True)
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        kept = {name: value for name, value in read_json(settings).items() if name != "chat_template"}
        settings.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    closing = closing_token(tokenizer)
    path = folder / "generation_config.json"
    generation = dict(read_json(path)) if path.is_file() else {}
    known = generation.get("eos_token_id", read_config(folder).get("eos_token_id"))
    ends = [end for end in (known if isinstance(known, list) else [known]) if end is not None]
    if closing not in ends:  # other servers would talk on into the next turn
        generation["eos_token_id"] = [*ends, closing]
        path.write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")


def check_architecture(folder: Path) -> None:
    """Raises SparringError unless transformers itself, without code from the folder, has this language model, unquantised."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    said = read_config(folder)
    family = str(said.get("model_type"))
    own_code = " It brings code of its own (auto_map), which is never run." if said.get("auto_map") else ""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # configurations are checked by many hands
        raise SparringError(f"{folder}: config.json of type {family} cannot be used: {error}.{own_code} {_ELSEWHERE}") from error
    names = said.get("architectures")
    named = str(names[0]) if isinstance(names, list) and names else ""
    known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if not known or (named and named not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() and not own_code):
        raise SparringError(
            f"{folder} holds a {named or family}, which is no causal language model of transformers.{own_code} {_ELSEWHERE}"
        )
    if isinstance(smaller := said.get("quantization_config"), dict):
        raise SparringError(
            f"{folder} is quantised ({smaller.get('quant_method', 'by a method of its own')}), so nothing can be learned on top of it; "
            "give the checkpoint that it was made from"
        )


_ELSEWHERE = (
    "Give a checkpoint whose model_type this version of transformers has (many families were republished in that form), install a newer "
    "transformers, or serve the model with vLLM and sample it through policy.server"
)
