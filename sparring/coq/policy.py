"""An untrained policy for Coq text: a tokenizer that is trained on proofs and random weights, as ordinary Hugging Face files.

The tokenizer is byte pair encoding over bytes (as in GPT-2): every text has tokens, none is unknown, and a text never has more tokens
than UTF-8 has bytes for it. A name is told by its parts (``Nat``, ``.add``, ``_comm``), so that one that was never seen can be guessed
from those that were. The markers of a prompt are one token each and part the text: what stands between two of them is the same tokens
whatever stands around, so an actor's prompt begins with the tokens of the planner's, and a planner's answer is the tokens that the
actor's prompt has in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparring.prompts import MARKERS
from sparring.worlds.theorem_policy import EOS, PAD, TEMPLATE
from sparring.worlds.tiny import Shape, save_tiny

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

_BLANKS = (
    (r"[ \t\r\f\v]{2,}|[\t\r\f\v]", " "),
    (r" \n ?|\n ", "\n"),
    (r"\n{3,}", "\n\n"),
)
"""A run of blanks is one blank; with an end of line in it that alone, and with several of them two: one parts hypotheses, two goals."""

_CAMEL = r"(?:\p{Lu}*[\p{L}&&[^\p{Lu}]]+|\p{Lu}+)"
_PIECES = (
    rf"[ \n]?[._]?{_CAMEL}['\p{{N}}]*",  # part of a name, with what parts it from the one before: H0, x', .add, _comm
    r"[ \n]?\p{N}",  # numbers by digits
    r"[ \n]?[()\[\]{}]+",
    r"[ \n]?[^\s\p{L}\p{N}()\[\]{}._]+",  # other signs: ->, /\, <=, :=, ⊢
    r"[ \n]?[._]",
    r"\s+",
)
"""No token reaches beyond one of these."""


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer of at most ``vocabulary`` tokens for texts like ``texts`` (prompts and answers); their order does not matter.

    It gives back every text but for white space at the ends, around markers and in runs. Text that spells <eos> is text.
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(texts, vocabulary),
        pad_token=PAD,
        eos_token=EOS,
        padding_side="left",
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """The core of ``make_tokenizer``; needs no transformers."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
    from tokenizers.trainers import BpeTrainer

    tokenizer: Any = Tokenizer(BPE())
    blanks = [normalizers.Replace(Regex(pattern), blank) for pattern, blank in _BLANKS]
    tokenizer.normalizer = normalizers.Sequence([*blanks, normalizers.Strip()])
    pieces = Split(Regex("|".join(_PIECES)), behavior="isolated")
    tokenizer.pre_tokenizer = Sequence([pieces, ByteLevel(add_prefix_space=False, use_regex=False)])
    # Read back, a marker has blanks around it, as it has in every prompt and answer.
    spaced = [decoders.Replace(marker, f" {marker} ") for marker in MARKERS]
    tokenizer.decoder = decoders.Sequence([*spaced, decoders.ByteLevel()])
    trainer = BpeTrainer(
        vocab_size=vocabulary - len(MARKERS),
        min_frequency=2,
        special_tokens=[PAD, EOS],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_between_markers(texts), trainer)
    tokenizer.add_tokens([AddedToken(marker, normalized=False, special=False) for marker in MARKERS])
    return tokenizer


def _between_markers(texts: Iterable[str]) -> Iterator[str]:
    """What a tokenizer sees of ``texts``: training takes a marker for text."""
    markers = re.compile("|".join(map(re.escape, MARKERS)))
    for text in texts:
        yield from filter(None, markers.split(text))


def save_untrained(
    folder: Path, texts: Iterable[str], *, seed: int, shape: Shape, vocabulary: int = 4096, positions: int = 4096
) -> None:
    """Random weights of ``shape`` and a tokenizer for texts like ``texts``, as a folder that AutoModelForCausalLM and AutoTokenizer load.

    The same arguments make the same files. ``positions``: tokens of a prompt and its answer at most; they cost no weights.
    """
    save_tiny(folder, make_tokenizer(texts, vocabulary), positions=positions, seed=seed, shape=shape)
