"""The theorem world's tokenizer and an untrained policy: ordinary Hugging Face files, made without downloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparring.worlds.tiny import TINY, Shape, save_tiny

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
_MARKERS = ("[CURRENT GOAL]", "[TARGET GOAL]", "[PROOFSTEP]", "[LEMMA]", "[THEOREM]", "[CONJECTURE]", "no", "goals")
_SIGNS = ("\n", "⊢", ":", ",", ".", "(", ")", "[", "]", "|", ":=", "->", "<-", "<->", "<>", "/\\", "\\/", "~", "=", "+", "*", ";")
_WORDS = (
    "forall",
    "exists",
    "S",
    "False",
    "True",
    "N",
    "Prop",
    "intro",
    "intros",
    "exact",
    "apply",
    "assumption",
    "split",
    "constructor",
    "left",
    "right",
    "destruct",
    "cases",
    "exfalso",
    "contradiction",
    "revert",
    "clear",
    "rfl",
    "reflexivity",
    "simpl",
    "symmetry",
    "rewrite",
    "induction",
    "have",
    "assert",
    "specialize",
    "injection",
    "discriminate",
    "trivial",
    "as",
    "in",
    "at",
    "with",
)
_NAMES = [f"{base}{number}" for base in ("h", "x", "y", "z", "u", "v", "w", "ih") for number in ("", *range(1, 10))]
_LETTERS = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]
_CHARACTERS = [*map(chr, range(33, 127))]
_PATTERN = r"\[[A-Z ]+\]|\n|[A-Za-z_][A-Za-z0-9_']*|[0-9]+|<->|->|<-|<>|/\\|\\/|:=|[^ \t\r]"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""A state is continued, not answered: what an actor is asked begins with what the planner was asked, and can share its prefill."""


def make_tokenizer(names: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """One token per sign, keyword, usual name and part of ``names`` (lemmas); any other name by its characters.

    A lemma's name is told by its parts (``mul``, ``_right``, ``_comm``), so that one that was never seen can be guessed from those that
    were. Blanks mean nothing in a state or a tactic: they are dropped, and decoding puts one between words.
    """
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import WordPiece as WordPieceDecoder
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    parts = [part if place == 0 else f"##_{part}" for name in names for place, part in enumerate(name.split("_"))]
    words = [*_MARKERS, *_SIGNS, *_WORDS, *_NAMES, *_LETTERS, *map(str, range(41)), *parts]
    pieces = [*_CHARACTERS, *(f"##{character}" for character in _CHARACTERS)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys([PAD, EOS, UNKNOWN, *words, *pieces]))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=60))
    tokenizer.pre_tokenizer = Split(Regex(_PATTERN), behavior="removed", invert=True)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = WordPieceDecoder(prefix="##", cleanup=False)  # pyright: ignore[reportAttributeAccessIssue]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    return fast


def save_untrained(folder: Path, seed: int, names: Sequence[str] = (), shape: Shape = TINY) -> None:
    """Random weights of ``shape`` and the tokenizer, as a folder that AutoModelForCausalLM and AutoTokenizer load."""
    save_tiny(folder, make_tokenizer(names), positions=2048, seed=seed, shape=shape)
