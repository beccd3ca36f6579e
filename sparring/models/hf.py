"""A policy as transformers loads it: prompts in, samples out, in this process.

Every random number belongs to an item and not to a batch (``draw.py``), so what else is sampled, in what order and in
what batches changes a result by rounding only. How a batch is decoded is in ``decode.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sparring.config import Policy
from sparring.data import closing_token, encode_completion, encode_prompt
from sparring.errors import SparringError
from sparring.game import Sample, Sampling, Scored
from sparring.models.adapters import is_adapter, merge
from sparring.models.beam import beam_search
from sparring.models.decode import Decoder, Tokens, in_batches
from sparring.models.draw import uniforms
from sparring.models.facts import read_json
from sparring.models.folders import base_policy, read_template
from sparring.models.score import Scorer

_LOAD_FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys")


def load_checkpoint(folder: Path, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The causal language model of a folder and its tokenizer, from safetensors alone, without its code, and with every weight
    accounted for. An adapter comes merged into its model (in float32, whatever ``dtype`` the result has).
    """
    adapted = is_adapter(folder)
    base = base_policy(folder) if adapted else folder
    source = folder if any(folder.glob("tokenizer*")) else base
    safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    if (generation := base / "generation_config.json").is_file():
        read_json(generation)  # a damaged one would be passed over, and answers would end elsewhere
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **safely)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=torch.float32 if adapted else getattr(torch, dtype),
            use_safetensors=True,
            output_loading_info=True,
            **safely,
        )
    except Exception as error:  # a damaged or foreign folder fails in as many ways as there are readers of it
        raise SparringError(f"{folder} cannot be loaded as a causal language model in safetensors: {error}") from error
    model, report = loaded
    if faults := [f"{kind} {sorted(map(str, report[kind]))[:4]}" for kind in _LOAD_FAULTS if report[kind]]:
        raise SparringError(f"{folder}: the weights do not fit config.json ({'; '.join(faults)}); save the whole model again")
    if adapted:
        model = merge(model, folder).to(getattr(torch, dtype))
    if not tokenizer.chat_template and source is not base:
        tokenizer.chat_template = AutoTokenizer.from_pretrained(base, **safely).chat_template
    return model, tokenizer


class HFModel:
    """A causal language model that answers prompts; satisfies ``sparring.game.Model``."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, policy: Policy) -> None:
        self.tokenizer = tokenizer
        self.policy = policy
        self._closing = closing_token(tokenizer)
        self._vocabulary = model.config.get_text_config(decoder=True).vocab_size
        self._check_vocabulary([self._closing], "the end of an answer")
        self._end_ids = [end for end in _end_ids(model, tokenizer) if 0 <= end < self._vocabulary]
        self.decoder = Decoder(model, self._end_ids)
        self.scorer = Scorer(self.decoder, policy.batch_tokens)
        # Not every architecture numbers its positions; where one does, numbers past the last are an error or nonsense.
        self._positions: int | None = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)

    @classmethod
    def load(cls, path: str | Path, policy: Policy) -> HFModel:
        """The model in the folder ``path`` (``load_checkpoint``), in the precision and at the place that ``policy`` says."""
        torch.set_num_threads(policy.threads)
        device = policy.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        loaded: tuple[Any, PreTrainedTokenizerBase] = load_checkpoint(Path(path), policy.dtype)
        model, tokenizer = loaded
        if not tokenizer.chat_template and policy.chat_template:
            tokenizer.chat_template = read_template(policy.chat_template)
        return cls(model.to(device), tokenizer, policy)

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        """``how.n`` samples for each prompt, in order; equal prompts get equal samples. With ``how.beam`` see ``beam_search``."""
        _check(how)
        self.decoder.end_at([*self._end_ids, *self._stop_ids(how.stop)])
        encoded = {prompt: self._encode(prompt, how.max_new_tokens) for prompt in prompts}
        samples: dict[str, list[Sample]] = {prompt: [] for prompt in encoded}
        for rows in self._batches(encoded, how):
            if how.beam:
                asked = list(dict.fromkeys(prompt for prompt, _ in rows))
                found = beam_search(self.decoder, [encoded[prompt] for prompt in asked], how)
                answers = [(prompt, answer) for prompt, group in zip(asked, found, strict=True) for answer in group]
            else:
                noise_RN2 = np.stack([uniforms(seed, role, prompt, k, how.max_new_tokens) for prompt, k in rows])
                drawn = self.decoder.decode([encoded[prompt] for prompt, _ in rows], torch.from_numpy(noise_RN2), how)
                answers = [(prompt, answer) for (prompt, _), answer in zip(rows, drawn, strict=True)]
            # Not every tokenizer calls the token special that closes a turn.
            shown = [list(a.ids[:-1] if a.ids[-1] == self._closing else a.ids) for _, a in answers]
            texts = self.tokenizer.batch_decode(shown, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for (prompt, answer), text in zip(answers, texts, strict=True):
                samples[prompt].append(
                    Sample(
                        role=role,
                        prompt_ids=encoded[prompt],
                        token_ids=answer.ids,
                        logprobs=answer.logprobs,
                        text=text.partition(how.stop)[0] if how.stop else text,
                        finish="stop" if answer.ended else "length",
                    )
                )
        return [list(samples[prompt]) for prompt in prompts]

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        """How likely each (prompt, text) is, the text being the tokens that a learner would teach. The same for every role."""
        ids = {text: tuple(encode_completion(self.tokenizer, text)[:-1]) for text in dict.fromkeys(text for _, text in pairs)}
        room: dict[str, int] = {}
        for prompt, text in pairs:
            room[prompt] = max(room.get(prompt, 0), len(ids[text]))
        encoded = {prompt: self._encode(prompt, tokens, "the text") for prompt, tokens in room.items()}
        asked = [(encoded[prompt], ids[text]) for prompt, text in pairs]
        found = self.scorer.score([pair for pair in asked if pair[1]])
        return [Scored(logprob=found[pair] if pair[1] else 0.0, tokens=len(pair[1])) for pair in asked]

    def _stop_ids(self, stop: str) -> list[int]:
        """The token that is ``stop``; none where the tokenizer has no such token."""
        ids = self.tokenizer.encode(stop, add_special_tokens=False) if stop else []
        return ids if len(ids) == 1 and ids[0] != self.tokenizer.unk_token_id else []

    def _encode(self, prompt: str, new_tokens: int, repair: str = "lower max_new_tokens") -> Tokens:
        ids = tuple(encode_prompt(self.tokenizer, prompt))
        if not ids:
            raise SparringError(f"the prompt {prompt!r} renders to no token at all; drop it, or mend the chat template")
        self._check_vocabulary(ids, f"the prompt {prompt[:60]!r}")
        limit = self.policy.max_prompt_tokens
        if len(ids) > limit:
            raise SparringError(
                f"a prompt of {len(ids)} tokens is over policy.max_prompt_tokens {limit}: {prompt[:60]!r}; "
                f"drop it or raise the limit (--policy.max_prompt_tokens={len(ids)})"
            )
        if self._positions is not None and len(ids) + new_tokens > self._positions:
            raise SparringError(
                f"{len(ids)} prompt tokens and {new_tokens} new ones are over the model's {self._positions} positions: "
                f"{prompt[:60]!r}; shorten the prompt or {repair}"
            )
        return ids

    def _check_vocabulary(self, ids: Sequence[int], what: str) -> None:
        if max(ids) >= self._vocabulary:
            raise SparringError(
                f"{what} has the token {max(ids)} ({self.tokenizer.decode([max(ids)])!r}) and the model an embedding of "
                f"{self._vocabulary}: a token was added to the tokenizer alone; resize_token_embeddings and save the model again"
            )

    def _batches(self, encoded: Mapping[str, Tokens], how: Sampling) -> Iterator[list[tuple[str, int]]]:
        """Rows (prompt, k) in batches of at most ``policy.batch_tokens`` rows x tokens; what can share or is of like length goes
        together. The rows of one prompt are never parted where they are a beam.
        """
        places = self.decoder.places(encoded.values())
        together = how.n if how.beam else 1
        units = (
            ([(prompt, k + other) for other in range(together)], len(encoded[prompt]) + how.max_new_tokens)
            for prompt in sorted(encoded, key=lambda prompt: places[encoded[prompt]])
            for k in range(0, how.n, together)
        )
        return in_batches(units, self.policy.batch_tokens)


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: what the template closes one with, the tokenizer's end of sequence, and those of the generation
    config (where -1 is written for none).
    """
    configured = model.generation_config.eos_token_id if model.generation_config else None
    ends: list[Any] = [closing_token(tokenizer), tokenizer.eos_token_id]
    ends += configured if isinstance(configured, list) else [configured]
    return sorted({end for end in ends if end is not None})


def _check(how: Sampling) -> None:
    if how.n < 1 or how.max_new_tokens < 1:
        raise SparringError(f"n {how.n} and max_new_tokens {how.max_new_tokens} must both be at least 1")
    if how.beam:
        return
    if how.temperature != 0 and how.temperature < 1e-3:
        raise SparringError(f"temperature {how.temperature} must be 0 (greedy) or at least 0.001")
    if not 0 < how.top_p <= 1:
        raise SparringError(f"top_p {how.top_p} must be above 0 and at most 1 (1 keeps the whole distribution)")
