"""Contrast of matched pairs of regions inside an image: masks and pooled features."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .contrast import info_nce

SIMILARITIES = ('dice', 'iou2')


def mask_similarity(masks: Tensor, targets: Tensor, kind: str = 'dice') -> Tensor:
    r"""Overlap of all pairs of masks of one image.

    ``'dice'``: :math:`d(a, b) = 2 |a \cap b| / (|a| + |b|)` with :math:`|a \cap b| =
    \sum_x a_x b_x`; ``'iou2'``: twice intersection over union, :math:`2 |a \cap b| /
    |a \cup b|`.

    Args:
        masks: Soft masks (N, S, P).
        targets: Masks (N, T, P).
        kind: Kind of the overlap, ``'dice'`` or ``'iou2'``.

    Returns:
        (N, T, S), a row for each target; 0 for two masks that are empty.

    >>> a = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.5, 0.5]]])
    >>> mask_similarity(a, torch.tensor([[[1.0, 0.0, 0.0]]]))
    tensor([[[0.6667, 0.0000]]])
    """
    if kind not in SIMILARITIES:
        raise ValueError(f'kind must be in {SIMILARITIES}, but got {kind!r}')
    both = targets @ masks.transpose(1, 2)
    sizes = targets.sum(2)[..., None] + masks.sum(2)[:, None]
    if kind == 'iou2':
        sizes = sizes - both
    return 2 * both / sizes.clamp(min=1e-6)


def pooled_features(masks: Tensor, features: Tensor) -> Tensor:
    """Sum of the features (N, D, P) under masks (N, S, P), of length 1: (N, S, D).

    The same for a sum and for a mean. 0 where the sum is 0.
    """
    return F.normalize(masks @ features.transpose(1, 2), dim=2, eps=1e-6)


def pair_contrast(
    similarity: Tensor,
    counts: Tensor,
    temperature: float,
    include_positive: bool = False,
) -> Tensor:
    r"""Contrast of each segment's own query with the queries of the other segments.

    .. math:: \ell_i = -\log\frac{e^{d_{ii}/\tau}}{\sum_{j \ne i} e^{d_{ij}/\tau}}

    Without the positive in the denominator, as printed, the loss is not bounded below,
    and its derivative with respect to :math:`d_{ii}` is always :math:`-1/\tau`.

    Args:
        similarity: Similarities d (N, S, S), a row for each segment, a column for the
            query of each segment.
        counts: Mask (N, S) bool of the pairs that take part.
        temperature: Temperature tau > 0.
        include_positive: Whether the denominator has the positive too (InfoNCE).

    Returns:
        (N, S); 0 for pairs that do not take part or are the only one of their image.

    >>> d = torch.tensor([[[0.8, 0.1], [0.3, 0.5]]])
    >>> pair_contrast(d, torch.tensor([[True, True]]), temperature=0.5)
    tensor([[-1.4000, -0.4000]])
    """
    logits = similarity / temperature
    own = torch.eye(counts.shape[1], dtype=torch.bool, device=counts.device)
    against = counts[:, None] & counts[..., None] & ~own
    some = against.any(2)
    kept = logits.masked_fill(~against & some[..., None], -torch.inf)
    negatives = torch.where(some, kept.logsumexp(2), -torch.inf)
    return info_nce(negatives, logits.diagonal(dim1=1, dim2=2), include_positive)
