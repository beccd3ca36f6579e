"""PairRM: which of two answers is better (LLM-Blender, arXiv 2306.02561), read without the package that trained it.

Keys, configuration and input are those of llm-blender/PairRM-hf: a DeBERTa encoder reads prompt and both answers at once, each
behind a marker token; a head reads the markers of the prompt and of one answer. All answers to a task are compared with one
another, every pair in both orders, because the model prefers a place.

Shape legend: R rows (ordered pairs) of a batch, T their longest, H hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import DebertaV2Config, DebertaV2Model
from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2PreTrainedModel

from sparring.config import Member
from sparring.data import prompt_of
from sparring.errors import SparringError
from sparring.game import Attempt, Task, Verdict
from sparring.judges.chat import PlainText, cleaned, fitting
from sparring.judges.loading import load_tokenizer, load_weights, open_checkpoint
from sparring.judges.rows import Rated, Tokens, fault, padded, rate, verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARKERS = {"source_prefix_id": "<|source|>", "cand1_prefix_id": "<|candidate1|>", "cand2_prefix_id": "<|candidate2|>"}


@dataclass(frozen=True, slots=True)
class Pair:
    """The input for two answers in this order: three parts, each [CLS], marker, text, [SEP]."""

    source: Tokens
    first: Tokens
    second: Tokens

    @property
    def ids(self) -> Tokens:
        return self.source + self.first + self.second

    @property
    def markers(self) -> tuple[int, int, int]:
        """The marker's place in each part. By construction, not by search: no text can move it."""
        return 1, len(self.source) + 1, len(self.source) + len(self.first) + 1

    def __len__(self) -> int:
        return len(self.source) + len(self.first) + len(self.second)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer as it is read in the first place and in the second; they differ in the marker."""

    first: Tokens
    second: Tokens


@dataclass(frozen=True, slots=True)
class Group:
    """The answers to one task, or why one cannot be compared."""

    source: Tokens
    answers: tuple[Candidate | str, ...]

    def pairs(self) -> list[Pair]:
        """Every ordered pair of different answers."""
        distinct = dict.fromkeys(answer for answer in self.answers if not isinstance(answer, str))
        return [Pair(self.source, one.first, other.second) for one, other in permutations(distinct, 2)]

    def verdicts(self, rated: Mapping[Pair, Rated], member: Member) -> tuple[Verdict, ...]:
        return tuple(self._verdict(place, rated, member) for place in range(len(self.answers)))

    def _verdict(self, place: int, rated: Mapping[Pair, Rated], member: Member) -> Verdict:
        answer = self.answers[place]
        if isinstance(answer, str):
            return fault(answer)
        others = [other for number, other in enumerate(self.answers) if number != place and not isinstance(other, str)]
        if not others:
            return fault("there is no other answer to compare it with")
        wins: list[float] = []
        for other in others:
            if isinstance(win := self._win(answer, other, rated), str):
                return fault(win)
            wins.append(win)
        total = math.fsum(wins)  # rounded once: equal answers tie exactly, in whatever order the others are added
        return verdict(total / len(wins), member, f"wins {total:.2f} of {len(wins)} comparisons")

    def _win(self, one: Candidate, other: Candidate, rated: Mapping[Pair, Rated]) -> Rated:
        """The probability that ``one`` is preferred, as the mean over both orders."""
        if one == other:
            return 0.5
        ahead = rated[Pair(self.source, one.first, other.second)]
        behind = rated[Pair(self.source, other.first, one.second)]
        if isinstance(ahead, str) or isinstance(behind, str):
            return ahead if isinstance(ahead, str) else behind
        return 0.5 + (math.tanh(ahead / 2) - math.tanh(behind / 2)) / 4  # sigmoid(x) = (1 + tanh(x / 2)) / 2, without overflow


class PairRM(DebertaV2PreTrainedModel):
    """The published model's parameters under their published names."""

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.pretrained_model = DebertaV2Model(config)
        # The places of dropout are kept, since the names of the weights count them; nothing is dropped when judging.
        self.head_layer = nn.Sequential(
            nn.Identity(), nn.Linear(2 * size, size), nn.Tanh(), nn.Identity(), nn.Linear(size, getattr(config, "n_tasks", 1))
        )
        self.post_init()

    def forward(self, ids_RT: Tensor, mask_RT: Tensor, markers_R3: Tensor) -> Tensor:
        """By how many nats the first answer of each row is the better one."""
        hidden_RTH = self.pretrained_model(input_ids=ids_RT, attention_mask=mask_RT).last_hidden_state
        rows_R = torch.arange(len(ids_RT), device=ids_RT.device)
        source_RH, first_RH, second_RH = (hidden_RTH[rows_R, place_R] for place_R in markers_R3.unbind(1))
        first = self.head_layer(torch.cat([source_RH, first_RH], dim=-1))
        second = self.head_layer(torch.cat([source_RH, second_RH], dim=-1))
        return (first - second).float().mean(-1)


class PairRMJudge:
    """An answer's mean probability of being preferred to each other answer to its task; satisfies ``sparring.game.Judge``.

    A score means something among the answers to one task alone. An answer that has no other to be compared with is a fault.
    """

    def __init__(self, model: PairRM, tokenizer: PreTrainedTokenizerBase, member: Member, name: str = "judge") -> None:
        self.model: Any = model
        self.member = member
        self._tokenizer: Any = tokenizer
        self._vocabulary = model.pretrained_model.get_input_embeddings().num_embeddings
        self._markers: dict[str, int] = {key: self._tokenizer.convert_tokens_to_ids(marker) for key, marker in MARKERS.items()}
        for key, marker in MARKERS.items():
            ids = tokenizer.encode(marker)
            if ids != [tokenizer.cls_token_id, getattr(model.config, key, None), tokenizer.sep_token_id]:
                raise SparringError(
                    f"{name}: the tokenizer reads {marker} as {ids}, not as [CLS], the token of config.json's {key} and [SEP]; "
                    "use the tokenizer that came with the model"
                )
        self._plain = PlainText(tokenizer, self._markers.values(), member.max_tokens)

    @classmethod
    def load(cls, member: Member, key: str = "judge.path") -> PairRMJudge:
        """The judge that ``member`` describes; ``key``: where its path stands in the recipe, for errors."""
        checkpoint = open_checkpoint(member, key)
        return cls(load_weights(PairRM, checkpoint, member), load_tokenizer(checkpoint), member, checkpoint.name)

    def judge(self, tasks: Sequence[Task], attempts: Sequence[tuple[Attempt, ...]]) -> list[tuple[Verdict, ...]]:
        groups = [self._group(task, group) for task, group in zip(tasks, attempts, strict=True)]
        rated = rate((pair for group in groups for pair in group.pairs()), self._forward, len, self.member.batch_tokens)
        return [group.verdicts(rated, self.member) for group in groups]

    def _group(self, task: Task, attempts: Sequence[Attempt]) -> Group:
        source = self._part("source_prefix_id", prompt_of(task))
        if isinstance(source, str):
            return Group((), tuple(source for _ in attempts))
        return Group(source, tuple(self._candidate(source, attempt) for attempt in attempts))

    def _candidate(self, source: Tokens, attempt: Attempt) -> Candidate | str:
        if attempt.fault:
            return f"no answer: {attempt.fault}"
        first = self._part("cand1_prefix_id", attempt.answer)
        if isinstance(first, str):
            return first
        # Twice its own length, so that an answer that fits at all fits beside every other one that does.
        if (tokens := len(source) + 2 * len(first)) > self.member.max_tokens:
            return f"{tokens} tokens beside an answer of the same length are over max_tokens {self.member.max_tokens}"
        return Candidate(first, (first[0], self._markers["cand2_prefix_id"], *first[2:]))

    def _part(self, marker: str, text: str) -> Tokens | str:
        text = cleaned(text)
        if reason := self._plain.too_long(text):
            return reason
        frame = [self._tokenizer.cls_token_id, self._markers[marker], self._tokenizer.sep_token_id]
        ids = self._tokenizer.encode(MARKERS[marker] + text)
        if len(ids) <= self.member.max_tokens and self._plain.controls(ids) != frame:
            ids = [*frame[:2], *self._plain.ids(text), frame[2]]
        return fitting(ids, self.member.max_tokens, self._vocabulary)

    def _forward(self, pairs: Sequence[Pair]) -> list[float]:
        ids_RT, mask_RT = padded([pair.ids for pair in pairs], self._tokenizer.pad_token_id or 0, self.model.device)
        markers_R3 = torch.tensor([pair.markers for pair in pairs], device=self.model.device)
        return self.model(ids_RT, mask_RT, markers_R3).tolist()
