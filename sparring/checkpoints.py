"""Checkpoint folders: a local one, or one from the hub. What loads a model, whatever its role, finds it here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sparring.errors import NotHere, SparringError

FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")
"""What of a checkpoint is wanted: no pickled weights, no code."""
OTHERS = ("*/*.safetensors", "consolidated*")
"""Other layouts of the same weights, which some repositories have in folders."""
NEEDED = {"config.json": "the model's configuration", "*.safetensors": "weights", "tokenizer*": "a tokenizer"}


def find_folder(path: str, key: str, fetch: Callable[[str], Path], known: str = "a checkpoint folder or a hub name") -> Path:
    """The folder at a local path, or what ``fetch`` makes of a hub name; raises SparringError, naming the recipe's ``key``.

    ``known``: what may be given there, for the error.
    """
    if (folder := Path(path).expanduser()).exists():
        return folder
    if path.count("/") == 1 and not folder.parent.exists():  # a name on the hub, not a slip in a path
        return fetch(path)
    raise SparringError(f"{key} = {path!r}: there is no such folder; give {known}")


def download(name: str, key: str, online: bool = True) -> Path:
    """The folder of a hub name, without pickles and code; with ``online`` False from the cache of downloads alone."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(name, allow_patterns=list(FILES), ignore_patterns=list(OTHERS), local_files_only=not online)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        failed = "could not be fetched from the hub" if online else "has not been downloaded yet"
        raise (SparringError if online else NotHere)(
            f"{key} = {name!r} is no local folder and {failed} ({str(error).strip().splitlines()[0]}); "
            "check the name, the network, HF_TOKEN and HF_HUB_OFFLINE"
        ) from None


def check_files(folder: Path, path: str, key: str, model: str = "a causal language model") -> None:
    """Raises SparringError unless ``folder`` holds what a checkpoint of ``model`` needs, weights as safetensors."""
    if missing := [f"{pattern} ({what})" for pattern, what in NEEDED.items() if not any(folder.glob(pattern))]:
        raise SparringError(
            f"{key} = {path!r} is no checkpoint with safetensors: {folder} lacks {', '.join(missing)}; save_pretrained of {model} "
            "and of its tokenizer write all of it"
        )
