"""Beam search: the likeliest answers to many prompts at once.

A beam is the ``width`` likeliest unfinished answers to a prompt, each going on in every way. Each way to end one is set aside,
and the ``width`` likeliest of those are the answers. (transformers looks only at the ``width`` likeliest continuations for
ends, so it may miss some.) A continuation is never likelier than what it continues, so an unfinished answer leaves as soon as
it is no likelier than ``width`` finished ones: that changes no result, spares its forward passes, and ends the search where
none is left. Scores are sums of log-probs, not divided by lengths.

Shape legend: P prompts, W width, R live rows (R <= P x W) in the order of prompts and then of likelihood, E tokens that end an
answer, V vocabulary, M nodes or candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from sparring.errors import SparringError
from sparring.game import Sampling
from sparring.models.decode import NOT_FINITE, Answer, Batch, Decoder, Tokens


@torch.inference_mode()
def beam_search(decoder: Decoder, prompts: Sequence[Tokens], how: Sampling) -> list[list[Answer]]:
    """The ``how.n`` likeliest answers that a beam of that width finds to each of ``prompts``, likeliest first.

    Where fewer than ``how.n`` have ended after ``how.max_new_tokens``, the likeliest of the unfinished fill up the number; one
    that has ended, however unlikely, goes before them. There are fewer than ``how.n`` only where there are not so many
    sequences of tokens. Of equals the one that ended earlier comes first, then the order of token ids decides.
    Raises SparringError where the model's logits are not finite.
    """
    beams = _Beams(len(prompts), how.n, decoder.ends_V)
    batch = Batch(decoder, [prompt for prompt in prompts for _ in range(how.n)], how.max_new_tokens)
    for step in range(how.max_new_tokens):
        parent_R, token_R = beams.grow(batch.logits_RV)
        if not len(token_R) or step == how.max_new_tokens - 1:
            break
        batch.branch(parent_R)
        batch.advance(token_R)
    return beams.answers()


class _Beams:
    """The beams of all prompts. A prompt has ``width`` slots for unfinished answers and as many for finished ones."""

    def __init__(self, prompts: int, width: int, ends_V: Tensor) -> None:
        device = ends_V.device
        self._prompts, self._width = prompts, width
        self._ends_E = ends_V.nonzero().flatten()
        self._trail = _Trail()
        # All slots are filled at first, but all ways lead on from the first one.
        self._slot_R = torch.arange(prompts * width, device=device)
        self._total_R = torch.zeros(prompts, width, device=device).index_fill_(1, self._slot_R[1:width], -torch.inf).flatten()
        self._node_R = torch.full_like(self._slot_R, -1)
        self._done_PW = torch.full((prompts, width), -torch.inf, device=device)
        self._done_node_PW = self._node_R.view(prompts, width)

    def grow(self, logits_RV: Tensor) -> tuple[Tensor, Tensor]:
        """One more token for every unfinished answer: the rows that the new ones continue, and their tokens."""
        logp_RV = logits_RV.log_softmax(-1)
        end_RE = logp_RV[:, self._ends_E]
        best_RW, token_RW = _top(logp_RV.index_fill_(1, self._ends_E, -torch.inf), self._width)
        if torch.cat([best_RW[:, :1], end_RE], 1).isnan().any():  # topk takes NaN for the largest
            raise SparringError(NOT_FINITE)
        self._set_aside(end_RE)
        total_PW, pick_PW = _top(self._by_prompt(self._total_R.unsqueeze(1) + best_RW, -torch.inf), self._width)
        row_S = torch.empty(self._prompts * self._width, dtype=torch.long, device=pick_PW.device)
        row_S[self._slot_R] = torch.arange(len(self._slot_R), device=pick_PW.device)
        self._slot_R = (total_PW > self._done_PW[:, -1:]).flatten().nonzero().flatten()
        self._total_R, pick_R = total_PW.flatten()[self._slot_R], pick_PW.flatten()[self._slot_R]
        choices = best_RW.shape[1]
        parent_R = row_S[self._slot_R // self._width * self._width + pick_R // choices]
        token_R, logprob_R = (each[parent_R, pick_R % choices] for each in (token_RW, best_RW))
        self._node_R = self._trail.add(self._node_R[parent_R], token_R, logprob_R)
        return parent_R, token_R

    def _set_aside(self, logp_RE: Tensor) -> None:
        """Every unfinished answer ends here in every way: keep the likeliest of these and the ones kept before."""
        node_RE = self._trail.add(self._node_R.unsqueeze(1), self._ends_E, logp_RE)
        total_PM = torch.cat([self._done_PW, self._by_prompt(self._total_R.unsqueeze(1) + logp_RE, -torch.inf)], 1)
        node_PM = torch.cat([self._done_node_PW, self._by_prompt(node_RE, -1)], 1)
        self._done_PW, pick_PW = _top(total_PM, self._width)
        self._done_node_PW = node_PM.gather(1, pick_PW)

    def _by_prompt(self, values_RX: Tensor, missing: float) -> Tensor:
        """(R, X) -> (P, W x X), ``missing`` in the slots that no row is in."""
        slots = values_RX.new_full((self._prompts * self._width, values_RX.shape[1]), missing)
        return slots.index_copy_(0, self._slot_R, values_RX).view(self._prompts, -1)

    def answers(self) -> list[list[Answer]]:
        """By prompt, the likeliest first."""
        place_W = torch.arange(self._width, device=self._done_PW.device)
        wanted_P1 = (self._done_PW == -torch.inf).sum(1, keepdim=True)
        open_PW = self._by_prompt(self._total_R.unsqueeze(1), -torch.inf).masked_fill_(place_W >= wanted_P1, -torch.inf)
        open_node_PW = self._by_prompt(self._node_R.unsqueeze(1), -1)
        total_PW, pick_PW = _top(torch.cat([self._done_PW, open_PW], 1), self._width)
        found_PW = total_PW > -torch.inf
        paths = self._trail.paths(torch.cat([self._done_node_PW, open_node_PW], 1).gather(1, pick_PW)[found_PW])
        ends = set(self._ends_E.tolist())
        answers = (Answer(ids=ids, logprobs=logprobs, ended=ids[-1] in ends) for ids, logprobs in paths)
        return [list(islice(answers, count)) for count in found_PW.sum(1).tolist()]


class _Trail:
    """The tokens of all beams as a tree: nodes are numbered as they come, and each knows its parent (-1: none)."""

    def __init__(self) -> None:
        self._steps: list[tuple[Tensor, ...]] = []
        self._nodes = 0

    def add(self, *parent_token_logprob: Tensor) -> Tensor:
        """The numbers of new nodes, given their parents, tokens and log-probs in shapes that broadcast."""
        step = torch.broadcast_tensors(*parent_token_logprob)
        self._steps.append(tuple(each.flatten() for each in step))
        first, self._nodes = self._nodes, self._nodes + step[0].numel()
        return torch.arange(first, self._nodes, device=step[0].device).view(step[0].shape)

    def paths(self, node_M: Tensor) -> list[tuple[Tokens, tuple[float, ...]]]:
        """The tokens and their log-probs from the root to each node."""
        parents, tokens, logprobs = (torch.cat(each).tolist() for each in zip(*self._steps, strict=True))
        paths: list[tuple[Tokens, tuple[float, ...]]] = []
        for node in node_M.tolist():
            nodes: list[int] = []
            while node >= 0:
                nodes.append(node)
                node = parents[node]
            nodes.reverse()
            paths.append((tuple(tokens[node] for node in nodes), tuple(logprobs[node] for node in nodes)))
        return paths


def _top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of each row (all of a shorter one) and where they are, the largest first, equals in order.

    -inf counts as nothing: where it is among the largest, its places mean nothing.
    """
    # topk breaks ties as it likes, so it is asked for one more than needed: that shows where the last place is tied for.
    top, where = values.topk(min(count + 1, values.shape[1]))
    tied = ((top[:, count - 1 : -1] == top[:, count:]) & (top[:, count:] > -torch.inf)).any(1).nonzero().flatten()
    where = where[:, :count]
    if len(tied):
        rows, last = values[tied], top[tied, count - 1 : count]
        larger, equal = rows > last, rows == last
        chosen = larger | (equal & (equal.cumsum(1) <= count - larger.sum(1, keepdim=True)))
        where[tied] = chosen.nonzero()[:, 1].view(len(tied), count)
    where = where.sort(dim=1).values
    top, order = values.gather(1, where).sort(dim=1, descending=True, stable=True)
    return top, where.gather(1, order)
