"""Positives and negatives of ESL's contrast, from the queues of parts."""

import torch
from torch import Tensor

from ...functional import (
    draw_own_negatives,
    draw_positives,
    draw_shared_negatives,
    paired_logit,
    sampled_logsumexp,
    shared_logsumexp,
)
from ..memories import ClassQueueBank


def part_logits(
    rows: Tensor,
    part: Tensor,
    bank: ClassQueueBank,
    temperature: float,
    number: int,
    shared: bool = True,
    queues_left_out: int = 1,
) -> tuple[Tensor, Tensor]:
    """Logits of the anchors with random keys.

    Args:
        rows: Anchors (A, D).
        part: Part (A,) int64 of each anchor, that is its queue in the bank; -1: none.
        bank: Queues of keys, one for each part.
        temperature: Temperature that the logits are divided by.
        number: Number of negatives of an anchor.
        shared: Whether the anchors of a part share their negatives.
        queues_left_out: Number of neighbouring queues that negatives are not taken of:
            1 for the anchor's own, K for those of all parts of its class.

    Returns:
        Logsumexp (A,) over the negatives, -inf where an anchor has no positive or no
        negative, and logit (A,) of the positive.
    """
    keys, filled = bank.features.flatten(0, 1), bank.filled()
    positive = draw_positives(filled, part)
    if shared:
        index = draw_shared_negatives(filled, number, queues_left_out)
        negatives = shared_logsumexp(rows, part, keys, index, temperature)
    else:
        index = draw_own_negatives(filled, part, number, queues_left_out)
        negatives = sampled_logsumexp(rows, keys, index, temperature)
    logit = paired_logit(rows, keys[positive.clamp(min=0)], temperature)
    return negatives.where(positive >= 0, -torch.inf), logit
