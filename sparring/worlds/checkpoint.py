"""The words world's tokenizer and an untrained checkpoint folder: ordinary Hugging Face files, made without downloads."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING

from sparring.worlds.evolution import EVOLUTIONS
from sparring.worlds.operations import MAX_NUMBER, OPERATIONS
from sparring.worlds.tiny import save_tiny
from sparring.worlds.words import ARROW

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, EOS, USER, ASSISTANT, UNKNOWN = "<pad>", "<eos>", "<user>", "<assistant>", "<unk>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<assistant>{{ message['content'] }}<eos>"
    "{% else %}<user>{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def _spoken_words() -> list[str]:
    """Every word that an instruction or a creator's request is made of, longest first so that the regex is greedy."""
    phrases = " ".join(op.phrase for op in OPERATIONS.values()) + " the word the numbers then it them"
    words = {word for word in phrases.split() if word.isalpha() and len(word) > 1}
    words |= {word.capitalize() for word in words} | {name.capitalize() for name in EVOLUTIONS}
    return sorted(words, key=lambda word: (-len(word), word))


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per spoken word (with its space), per number up to 99, per arrow; single characters otherwise."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    words = _spoken_words()
    numbers = [str(i) for i in range(MAX_NUMBER + 1)]
    pieces = [ARROW, *words, *(f" {word}" for word in words), *numbers, *(f" {number}" for number in numbers)]
    characters = [c for c in string.ascii_letters + " .,:;!?'\"-()" if c not in pieces]
    special = [PAD, EOS, USER, ASSISTANT, UNKNOWN]
    vocabulary = {piece: i for i, piece in enumerate([*special, *pieces, *characters])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    pattern = rf"{ARROW}| ?(?<![A-Za-z])(?:{'|'.join(words)})(?![A-Za-z])| ?(?<![0-9])[0-9]{{1,2}}(?![0-9])|."
    tokenizer.pre_tokenizer = Split(Regex(pattern), behavior="isolated")  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = Fuse()  # pyright: ignore[reportAttributeAccessIssue]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save_untrained(folder: Path, seed: int) -> None:
    """Random weights and the tokenizer, as a folder that AutoModelForCausalLM and AutoTokenizer load."""
    save_tiny(folder, make_tokenizer(), positions=256, seed=seed)
