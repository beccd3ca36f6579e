"""Checkpoint folders: where the first policy comes from."""

from __future__ import annotations

import shutil
from pathlib import Path

from sparring.errors import SparringError
from sparring.rundir import commit

BUILTIN = {"words-tiny": Path(__file__).parent.parent / "worlds" / "words_tiny"}
FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""What of a checkpoint is wanted: no pickled weights, no code."""
NEEDED = {"config.json": "the model's configuration", "*.safetensors": "weights", "tokenizer*": "a tokenizer"}


def resolve_policy(path: str, key: str = "policy.path", download: bool = True) -> Path:
    """The folder of ``builtin:NAME``, of a local path, or of a hub name (downloaded, or looked up in the cache of downloads).

    Raises SparringError, naming the recipe's ``key``, for a folder that holds no checkpoint with weights in safetensors.
    """
    if path.startswith("builtin:"):
        name = path.removeprefix("builtin:")
        if name not in BUILTIN:
            raise SparringError(
                f"{key} = {path!r}: there is no such built-in policy; there is builtin:{', builtin:'.join(BUILTIN)}"
            )
        folder = BUILTIN[name]
    elif (folder := Path(path).expanduser()).exists():
        pass
    elif path.count("/") == 1 and not folder.parent.exists():  # a name on the hub, not a slip in a path
        folder = _download(path, key, download)
    else:
        raise SparringError(
            f"{key} = {path!r}: there is no such folder; give a checkpoint folder, a hub name or builtin:words-tiny"
        )
    if missing := [f"{pattern} ({what})" for pattern, what in NEEDED.items() if not any(folder.glob(pattern))]:
        raise SparringError(
            f"{key} = {path!r} is no checkpoint with safetensors: {folder} lacks {', '.join(missing)}; save_pretrained of a causal "
            "language model and of its tokenizer write all of it"
        )
    return folder


def _download(name: str, key: str, download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES), local_files_only=not download))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        failed = "could not be fetched from the hub" if download else "has not been downloaded yet"
        raise SparringError(
            f"{key} = {name!r} is no local folder and {failed} ({str(error).strip().splitlines()[0]}); "
            "check the name, the network, HF_TOKEN and HF_HUB_OFFLINE"
        ) from None


def fetch_policy(path: str, out: Path) -> None:
    """A copy of the policy in the run, so that the run stands on its own."""
    source = resolve_policy(path)

    def copy(partial: Path) -> None:
        partial.mkdir()
        for pattern in FILES:
            for file in source.glob(pattern):
                shutil.copyfile(file, partial / file.name)

    commit(out, copy)
