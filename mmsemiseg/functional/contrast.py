"""InfoNCE per anchor, and its means."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

ANCHORS_PER_CHUNK = 1024
LOGITS_PER_CHUNK = 2**23  # fewer anchors where there are many keys


def info_nce(
    negatives: Tensor, positive: Tensor, include_positive: bool = True
) -> Tensor:
    r"""Loss of each anchor from its logits.

    .. math:: -\log\frac{e^{s^+}}{e^{s^+} + \sum_j e^{s_j^-}}
              = \mathrm{softplus}(\mathrm{LSE}_j(s_j^-) - s^+)

    Args:
        negatives: Logsumexp (A,) over the logits of the negatives; -inf where there is
            none.
        positive: Logit (A,) of the positive.
        include_positive: Whether the denominator has the positive; without it the loss
            is :math:`\mathrm{LSE}_j(s_j^-) - s^+`, which is not bounded below.

    Returns:
        (A,); 0, without gradient, where there is no negative.
    """
    some = negatives > -torch.inf
    gap = torch.where(some, negatives, 0) - positive
    loss = F.softplus(gap) if include_positive else gap
    return torch.where(some, loss, 0)


def paired_logit(anchors: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Row by row (A, D) . (A, D) / temperature -> (A,), in fp32 at least."""
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, others = _at_least_float(anchors), _at_least_float(others)
        return (anchors * others).sum(1) / temperature


def sampled_logsumexp(
    anchors: Tensor, keys: Tensor, index: Tensor, temperature: float
) -> Tensor:
    """``log sum_j exp(anchors_i . keys_index[i, j] / temperature)``.

    For negatives that are drawn for each anchor alone. The logits of all keys are
    computed, in chunks of the anchors, and gathered: that is far less memory than a
    copy of the keys for each anchor.

    Args:
        anchors: Embeddings (A, D) of the anchors.
        keys: Embeddings (K, D) of the keys.
        index: Indices (A, n) int64 of the keys of each anchor; a negative number is no
            key.
        temperature: Temperature > 0 that the logits are divided by.

    Returns:
        (A,); -inf where there is no key.
    """
    if len(anchors) == 0 or len(keys) == 0 or index.shape[1] == 0:
        return _at_least_float(anchors).sum(1) * 0 - torch.inf

    def chunk(anchors, index, keys):
        logits = (anchors @ keys.T / temperature).gather(1, index.clamp(min=0))
        return _logsumexp(logits, index >= 0)

    return _in_chunks(chunk, (anchors, index), keys)


def logsumexp_without(
    anchors: Tensor,
    keys: Tensor,
    anchor_group: Tensor,
    key_group: Tensor,
    num_groups: int,
    temperature: float,
    excluded: Tensor,
) -> Tensor:
    """:func:`group_logsumexp` that also leaves out single keys of single anchors.

    Slower: no kernel knows such a mask, so chunks of the anchors x keys matrix are
    made, and made again in the backward pass.

    Args:
        excluded: Indices (A, m) int64 of the keys that anchor i leaves out; a negative
            number is no key.
    """
    if len(anchors) == 0 or len(keys) == 0:
        return _at_least_float(anchors).sum(1) * 0 - torch.inf
    known = (key_group >= 0) & (key_group < num_groups)

    def chunk(anchors, anchor_group, excluded, keys):
        kept = known & (anchor_group[:, None] != key_group)
        spare = kept.new_zeros(len(kept), 1)  # takes the numbers that are no key
        index = torch.where(excluded < 0, len(keys), excluded)
        kept = torch.cat([kept, spare], 1).scatter(1, index, False)[:, :-1]
        return _logsumexp(anchors @ keys.T / temperature, kept)

    return _in_chunks(chunk, (anchors, anchor_group, excluded), keys)


def class_mean(
    loss: Tensor, group: Tensor, num_groups: int, weight: Tensor | None = None
) -> Tensor:
    r"""Mean over the anchors of each class, then over the classes.

    .. math:: \frac1C \sum_c \frac{1}{|Z_c|} \sum_{i \in Z_c} m_i \ell_i

    Args:
        loss: Loss (A,) of each anchor.
        group: Class (A,) int64 of each anchor; anchors outside of 0 to C - 1 do not
            count at all.
        num_groups: Number of classes C; a class without anchors adds 0.
        weight: Weight m (A,) of each anchor; the divisor counts anchors of weight 0
            too.

    Returns:
        A scalar, 0 without anchors.
    """
    loss = _at_least_float(loss)
    shares = class_shares(group, num_groups, loss.dtype)
    if weight is not None:
        shares = shares * weight
    return torch.where(shares > 0, loss * shares, 0).sum()


def class_shares(
    group: Tensor, num_groups: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Factor of an anchor in :func:`class_mean`: 1 / (C * anchors of its class).

    Returns:
        (A,); 0 for anchors outside of 0 to C - 1.
    """
    known = (group >= 0) & (group < num_groups)
    index = group.masked_fill(~known, num_groups)
    count = torch.zeros(num_groups + 1, dtype=dtype, device=group.device)
    count.scatter_add_(0, index, torch.ones_like(index, dtype=dtype))
    return torch.where(known, 1 / (num_groups * count[index]), 0)


def masked_mean(loss: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    """Sum of the losses where ``mask``, over ``count`` or else their number; 0 if none.

    Args:
        loss: Loss (A,) of each anchor.
        mask: Mask (A,) bool of the losses that are summed.
        count: Divisor, a scalar; None: the number of True in ``mask``.
    """
    count = mask.sum() if count is None else count
    return torch.where(mask, _at_least_float(loss), 0).sum() / torch.clamp(count, min=1)


def _in_chunks(function, rows: tuple, keys: Tensor) -> Tensor:
    """``function(*rows, keys)``, whose logits exist for a chunk of the rows at once."""
    size = min(max(LOGITS_PER_CHUNK // len(keys), 1), ANCHORS_PER_CHUNK)
    with torch.autocast(keys.device.type, enabled=False):
        keys, *rows = map(_at_least_float, (keys, *rows))
        parts = zip(*(x.split(size) for x in rows), strict=True)
        return torch.cat(
            [
                checkpoint(
                    function, *part, keys, use_reentrant=False, preserve_rng_state=False
                )
                for part in parts
            ]
        )


def _logsumexp(logits: Tensor, kept: Tensor) -> Tensor:
    """Logsumexp of the kept logits; -inf, with a gradient of 0, in rows without any."""
    some = kept.any(1)
    logits = logits.masked_fill(~kept & some[:, None], -torch.inf)
    return logits.logsumexp(1).masked_fill(~some, -torch.inf)


def _at_least_float(x: Tensor) -> Tensor:
    half = x.is_floating_point() and x.dtype not in (torch.float32, torch.float64)
    return x.float() if half else x
