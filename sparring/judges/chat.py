"""A prompt and its answer as the tokens that a reward model was trained on, and as nothing else.

Prompts and answers are untrusted: an answer that spells ``<|eot_id|>`` must not end its turn and open another in which somebody
praises it. What a text spells is encoded as text, never as a control token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sparring.errors import SparringError
from sparring.judges.rows import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROMPT, _ANSWER = "\ue000", "\ue001"
"""Stand-ins by which the frame that the template puts around the texts is found."""
_DATE = "26 Jul 2024"
"""What templates that name a day are told: a score must not depend on when it was taken."""


class PlainText:
    """Encodes text without ever making one of a tokenizer's control tokens of it.

    Control tokens are those that the tokenizer marks as special, and ``frame``: those that the model's input is built with.
    Added tokens beyond these (runs of blanks, say) are vocabulary like any other.
    """

    def __init__(self, tokenizer: Any, frame: Iterable[int], limit: int) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        special = {number for number, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        special |= {number for number in frame if number in added and added[number].content.strip()}
        ends = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.cls_token_id)
        # Unknown characters are no attack, unless the same token means something else as well.
        self._controls = special - ({tokenizer.unk_token_id} - set(ends))
        self._limit = limit
        self._most_characters = limit * max(map(len, tokenizer.get_vocab()))

    def controls(self, ids: Iterable[int]) -> list[int]:
        return [number for number in ids if number in self._controls]

    def ids(self, text: str) -> list[int]:
        """Parted in the middle, again and again, until no part is or contains a control token, however a normaliser reads it."""
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        if self._controls.isdisjoint(ids):
            return ids
        if len(text) < 2:
            return []
        half = len(text) // 2
        return [*self.ids(text[:half]), *self.ids(text[half:])]

    def too_long(self, *texts: str) -> str:
        """Why texts are not even tokenised: they have more characters than ``limit`` tokens can hold; else ""."""
        characters = sum(map(len, texts))
        return f"{characters} characters are over max_tokens {self._limit}" if characters > self._most_characters else ""


def cleaned(text: str) -> str:
    """The text with halves of surrogate pairs, which are no characters and which no tokenizer takes, as question marks."""
    return text.encode("utf-8", "replace").decode()


class Exchange:
    """One user turn and one finished assistant turn, by the tokenizer's own chat template, of at most ``limit`` tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str, limit: int, vocabulary: int) -> None:
        """``vocabulary``: how many tokens the model has. Raises SparringError, naming the model, for a template that does not serve."""
        if not tokenizer.chat_template:
            raise SparringError(
                f"{name}: the tokenizer has no chat template, so a prompt and its answer have no rendering; "
                "put the chat_template.jinja that the reward model was trained with beside it"
            )
        self._tokenizer, self._limit, self._vocabulary = tokenizer, limit, vocabulary
        try:
            frame = self._render(_PROMPT, _ANSWER)
        except Exception as error:  # a template is somebody else's program
            raise SparringError(f"{name}: the chat template fails ({error}); mend chat_template.jinja") from error
        before, prompt, rest = frame.partition(_PROMPT)
        between, answer, after = rest.partition(_ANSWER)
        if not prompt or not answer:
            raise SparringError(
                f"{name}: the chat template does not show a user turn and then the answer; mend chat_template.jinja"
            )
        self._parts = [self._encode(part) for part in (before, between, after)]
        self._plain = PlainText(tokenizer, [number for part in self._parts for number in part], limit)
        self._frame = self._plain.controls(self._encode(frame))
        if strange := [number for part in self._parts for number in part if number >= vocabulary]:
            raise SparringError(
                f"{name}: the chat template uses token {strange[0]} and the model has {vocabulary} tokens; tokenizer and model do not "
                "belong together"
            )

    def ids(self, prompt: str, answer: str) -> Tokens | str:
        """The row of tokens, or why there is none. The template writes its own BOS; the tokenizer adds no second one."""
        prompt, answer = cleaned(prompt), cleaned(answer)
        if reason := self._plain.too_long(prompt, answer):
            return reason
        try:
            ids = self._encode(self._render(prompt, answer))
        except Exception as error:  # a template is somebody else's program
            return f"the chat template fails: {error}"[:200]
        if len(ids) <= self._limit and self._plain.controls(ids) != self._frame:
            before, between, after = self._parts
            ids = [*before, *self._plain.ids(prompt), *between, *self._plain.ids(answer), *after]
        return fitting(ids, self._limit, self._vocabulary)

    def _render(self, prompt: str, answer: str) -> str:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        return str(self._tokenizer.apply_chat_template(turns, tokenize=False, date_string=_DATE))

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)


def fitting(ids: Sequence[int], limit: int, vocabulary: int) -> Tokens | str:
    """The ids as a row, or why a model of ``vocabulary`` tokens cannot read them."""
    if not ids or len(ids) > limit:
        return f"{len(ids)} tokens are over max_tokens {limit}" if ids else "the prompt and the answer have no tokens"
    if max(ids) >= vocabulary:
        return f"the tokenizer's token {max(ids)} is not among the model's {vocabulary}"
    return tuple(ids)
