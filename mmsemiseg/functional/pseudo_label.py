"""Pseudo labels: from a teacher's logits to a weighted cross entropy."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .group_select import rank_in_group

IGNORE_INDEX = 255


class PseudoLabel(NamedTuple):
    """Pseudo labels of the pixels of a batch, with confidence and validity.

    Args:
        label: Most probable class (N, H, W) int64; 255 where not valid.
        confidence: Probability of that class, (N, H, W) float32.
        valid: Mask (N, H, W) bool, False on padding.
        probs: Soft label (N, C, H, W) float32, or None for hard labels.
    """

    label: Tensor
    confidence: Tensor
    valid: Tensor
    probs: Tensor | None = None


class PseudoLabelStats(NamedTuple):
    """Sums over the valid pixels of each predicted class, (C,) each.

    Args:
        total: Number of valid pixels, int64.
        count: Number of valid pixels that are kept (weight above 0), int64.
        confidence: Sum of the confidences of the valid pixels, float64.
    """

    total: Tensor
    count: Tensor
    confidence: Tensor


@torch.no_grad()
def pseudo_label(
    logits: Tensor,
    valid: Tensor | None = None,
    temperature: float = 1.0,
    keep_probs: bool = False,
) -> PseudoLabel:
    """Read pseudo labels from logits.

    The label of a pixel is its most probable class, and the confidence the probability
    of that, by p = softmax(logits). The soft label is softmax(logits / temperature),
    which is sharper where the temperature is below 1. Label and confidence do not
    depend on the temperature.

    Args:
        logits: Logits (N, C, H, W) of any float type with C >= 2.
        valid: Mask (N, H, W) bool, False on padding; None means all are valid.
        temperature: Temperature of the soft label, above 0.
        keep_probs: Whether to return the soft label.

    Raises:
        ValueError: For one logit channel, a wrong shape or temperature.

    >>> logits = torch.tensor([[[[0., 2.]], [[1., 0.]]]])
    >>> pseudo = pseudo_label(logits)
    >>> pseudo.label.tolist(), pseudo.confidence[0, 0, 1].item() > 0.88
    ([[[1, 0]]], True)
    """
    _check_logits(logits)
    if not temperature > 0:
        raise ValueError(f'temperature must be above 0, but got {temperature}')
    if valid is None:
        valid = logits.new_ones(logits[:, 0].shape, dtype=torch.bool)
    elif valid.shape != logits[:, 0].shape:
        raise ValueError(
            'valid must have the shape (N, H, W) of the logits, '
            f'{tuple(logits[:, 0].shape)}, '
            f'but got {tuple(valid.shape)}'
        )
    logits = logits.float()
    probs = logits.softmax(1)
    confidence, label = probs.max(1)
    if not keep_probs:
        probs = None
    elif temperature != 1:
        probs = (logits / temperature).softmax(1)
    label = label.masked_fill(~valid, IGNORE_INDEX)
    return PseudoLabel(label, confidence, valid, probs)


def keep_mask(pseudo: PseudoLabel, threshold: float) -> Tensor:
    """Pixels that are kept: they are valid and their confidence >= threshold.

    Returns:
        (N, H, W) bool. The threshold itself is kept, so 1 keeps the pixels
        whose probability saturates at 1.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f'threshold must be in [0, 1], but got {threshold}')
    return pseudo.valid & (pseudo.confidence >= threshold)


@torch.no_grad()
def most_confident(pseudo: PseudoLabel, class_share: float) -> Tensor:
    """Mask (N, H, W) of the most confident pixels of each class of a batch.

    Of the n valid pixels that are labeled c, the round(class_share * n) most confident
    ones, and at least one. So a class of low confidence is kept as much as the others,
    as in class-balanced self-training (Zou et al., 2018); one threshold for all classes
    leaves it out, and keeps its pixels where they are taken for another class.

    Args:
        pseudo: Pseudo labels of the batch.
        class_share: Share in (0, 1].

    >>> confidence = torch.tensor([[[0.9, 0.8, 0.3, 0.2]]])
    >>> label = torch.tensor([[[0, 0, 1, 1]]])
    >>> pseudo = PseudoLabel(label, confidence, torch.ones_like(label).bool())
    >>> most_confident(pseudo, 0.5).tolist()
    [[[True, False, True, False]]]
    """
    if not 0 < class_share <= 1:
        raise ValueError(f'class_share must be in (0, 1], but got {class_share}')
    valid = pseudo.valid & (pseudo.label != IGNORE_INDEX)
    if class_share == 1:
        return valid
    group = pseudo.label.masked_fill(~valid, IGNORE_INDEX).flatten()
    rank = rank_in_group(group, pseudo.confidence.flatten())
    size = torch.zeros(IGNORE_INDEX + 1, dtype=rank.dtype, device=rank.device)
    size.scatter_add_(0, group, torch.ones_like(rank))
    kept = (class_share * size).round().clamp(min=1)
    return valid & (rank < kept[group]).view_as(valid)


def pixel_weights(
    pseudo: PseudoLabel,
    threshold: float | None = None,
    power: float | None = None,
    class_share: float | None = None,
) -> Tensor:
    """Weight of each pixel: valid * [confidence >= threshold] * confidence^power.

    Without a threshold every valid pixel is kept; without a power each kept
    pixel weighs 1. With a share of the classes, a pixel has to be one of
    :func:`most_confident`, too.

    Returns:
        (N, H, W) float32, 0 where not valid.
    """
    if power is not None and not power >= 0:
        raise ValueError(f'power must be at least 0, but got {power}')
    keep = pseudo.valid if threshold is None else keep_mask(pseudo, threshold)
    if class_share is not None:
        keep = keep & most_confident(pseudo, class_share)
    if power is None:
        return keep.float()
    return torch.where(keep, pseudo.confidence**power, 0.0)


@torch.no_grad()
def pseudo_label_stats(
    pseudo: PseudoLabel, weights: Tensor, num_classes: int
) -> PseudoLabelStats:
    """Count valid and kept pixels by class, without waiting for the device.

    Args:
        pseudo: Pseudo labels, those of a mixed batch included.
        weights: Weights (N, H, W) that :func:`pixel_weights` returns.
        num_classes: Number of classes C; valid labels are 0 to C - 1.
    """
    counted = pseudo.valid & (pseudo.label != IGNORE_INDEX)
    index = pseudo.label.masked_fill(~counted, num_classes).flatten()

    def class_sums(values: Tensor, dtype: torch.dtype) -> Tensor:
        sums = torch.zeros(num_classes + 1, dtype=dtype, device=values.device)
        sums.scatter_add_(0, index, values.flatten().to(dtype))
        return sums[:num_classes]

    return PseudoLabelStats(
        total=class_sums(counted, torch.int64),
        count=class_sums(weights > 0, torch.int64),
        confidence=class_sums(pseudo.confidence, torch.float64),
    )


def pseudo_label_loss(
    logits: Tensor, pseudo: PseudoLabel, weights: Tensor, norm: str = 'valid'
) -> Tensor:
    r"""Weighted cross entropy :math:`\frac1Z \sum_i w_i H(y_i, p_i)`.

    p = softmax(logits) in fp32. The target y is ``pseudo.probs`` where they
    were kept, else the one-hot ``pseudo.label``. A pixel that is not valid,
    is labeled 255 or weighs 0 has neither loss nor gradient. When that is so
    for all pixels the loss is a 0 attached to ``logits``.

    Args:
        logits: Logits (N, C, H, W) of the student, C >= 2.
        pseudo: Pseudo labels at the size of the logits.
        weights: Weights (N, H, W), at least 0; not part of the gradient.
        norm: Divisor Z: 'valid', the number of valid pixels not labeled 255; 'weights',
            the sum of their weights; 'all', N * H * W.

    Returns:
        A float32 scalar.
    """
    _check_logits(logits)
    if not logits[:, 0].shape == pseudo.label.shape == weights.shape:
        raise ValueError(
            'logits, pseudo and weights must have the same N, H, W, but got '
            f'{tuple(logits.shape)}, {tuple(pseudo.label.shape)} and '
            f'{tuple(weights.shape)}'
        )
    valid = pseudo.valid & (pseudo.label != IGNORE_INDEX)
    weights = weights.detach().float() * valid
    sizes = {'valid': valid, 'weights': weights, 'all': torch.ones_like(valid)}
    if norm not in sizes:
        raise ValueError(f'norm must be one of {list(sizes)}, but got {norm!r}')
    size = sizes[norm].sum()
    active = weights > 0
    if pseudo.probs is None:
        label = pseudo.label.masked_fill(~active, IGNORE_INDEX)
        loss = F.cross_entropy(
            logits.float(), label, ignore_index=IGNORE_INDEX, reduction='none'
        )
    else:
        loss = -(pseudo.probs * logits.float().log_softmax(1)).sum(1)
        loss = torch.where(active, loss, 0.0)
    return (weights * loss).sum() / torch.where(size > 0, size, 1)


def _check_logits(logits: Tensor) -> None:
    if logits.dim() != 4:
        raise ValueError(f'logits must be (N, C, H, W), but got {tuple(logits.shape)}')
    if logits.shape[1] < 2:
        raise ValueError(
            'pseudo labels need at least 2 logit channels, but got '
            f'{logits.shape[1]}: give a binary segmentor num_classes=2 and '
            'out_channels=2'
        )
