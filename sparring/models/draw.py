"""Drawing tokens from logits, with random numbers that belong to an item and never to a batch.

Shape legend: R rows, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparring.game import stable_hash

_LIKELIEST = 1024  # Looked at before a whole vocabulary is sorted; a nucleus is rarely wider.


def uniforms(seed: int, role: str, prompt: str, k: int, tokens: int) -> np.ndarray:
    """Two numbers in [0, 1) for each token of sample ``k`` of ``prompt`` (tokens x 2, float32).

    The stream is the item's own, and its start does not depend on how many tokens are asked for.
    """
    stream = np.random.Generator(np.random.Philox(key=stable_hash(seed, role, prompt, k)))
    return stream.random((tokens, 2), dtype=np.float32)


def draw(logits_RV: Tensor, noise_R2: Tensor, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    """Tokens (R) drawn at ``temperature`` from the top-``top_p`` mass, and their log-probs (R, nats) under softmax(logits).

    Temperature 0 takes the likeliest token. Where logits are not numbers, neither is the log-prob.
    """
    logp_RV = logits_RV.log_softmax(-1)
    if temperature == 0:
        token_R = logp_RV.argmax(-1)
    else:
        token_R = _draw_nucleus((logp_RV / temperature).softmax(-1), noise_R2, top_p)
    return token_R, logp_RV.gather(-1, token_R.unsqueeze(-1)).squeeze(-1)


def _draw_nucleus(probs_RV: Tensor, noise_R2: Tensor, top_p: float) -> Tensor:
    """Tokens (R) from the smallest set of likeliest tokens that holds ``top_p`` of the mass; equals at its edge are in it.

    A token is drawn from the whole distribution and stays if it lies in the set, which one pass tells: the tokens likelier
    than it weigh less than ``top_p``. The few rows where it does not are drawn once more, from the set alone. Either way
    the law is that of the set, and only those few rows pay for finding its edge.
    """
    token_R = _inverse_cdf(probs_RV, noise_R2[:, 0])
    if top_p == 1:
        return token_R
    drawn_R1 = probs_RV.gather(-1, token_R.unsqueeze(-1))
    likelier_R = probs_RV.where(probs_RV > drawn_R1, 0.0).sum(-1)
    again = (likelier_R >= top_p).nonzero().flatten()
    if len(again):
        probs = probs_RV[again]
        token_R[again] = _inverse_cdf(probs.where(probs >= _nucleus_edge(probs, top_p), 0.0), noise_R2[again, 1])
    return token_R


def _nucleus_edge(probs_RV: Tensor, top_p: float) -> Tensor:
    """The smallest probability (R, 1) inside the nucleus."""
    ordered = probs_RV.topk(min(_LIKELIEST, probs_RV.shape[-1])).values
    if (ordered.sum(-1) < top_p).any():
        ordered = probs_RV.sort(descending=True).values
    last_R1 = (ordered.cumsum(-1) < top_p).sum(-1, keepdim=True).clamp_(max=ordered.shape[-1] - 1)
    return ordered.gather(-1, last_R1)


def _inverse_cdf(weights_RV: Tensor, noise_R: Tensor) -> Tensor:
    """The token (R) at which the running sum of weights passes ``noise_R`` of the total; its weight is never zero."""
    sums_RV = weights_RV.cumsum(-1)
    token_R1 = torch.searchsorted(sums_RV, noise_R.unsqueeze(-1) * sums_RV[:, -1:], right=True)
    # Sums that are not numbers lead past the end.
    return token_R1.squeeze(-1).clamp_(max=weights_RV.shape[-1] - 1)
