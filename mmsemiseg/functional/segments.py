"""Disjoint segments of images, from label maps or from the masks of queries."""

from typing import NamedTuple

import torch
from torch import Tensor


class Segments(NamedTuple):
    """Disjoint segments of a batch, padded to the largest number S of an image.

    Args:
        masks: Masks (N, S, h, w) bool, False everywhere where there is no segment.
        label: Class (N, S) int64; 0, without meaning, where there is no segment.
        exists: Whether there is a segment, (N, S) bool; those come first.
    """

    masks: Tensor
    label: Tensor
    exists: Tensor


@torch.no_grad()
def segments_of_map(index: Tensor, label: Tensor, min_area: int = 1) -> Segments:
    """The segments that a map of segment numbers has, without a loop over them.

    Args:
        index: Number (N, h, w) int64 of the segment that each pixel belongs to, a row
            of ``label``; a negative number: no segment.
        label: Class (M,) int64 of each segment.
        min_area: Least number of pixels of a segment; smaller ones are left out.

    >>> index = torch.tensor([[[0, 0, 2]], [[1, -1, -1]]])
    >>> found = segments_of_map(index, torch.tensor([5, 6, 7]))
    >>> found.label.tolist(), found.exists.tolist()
    ([[5, 7], [6, 0]], [[True, True], [True, False]])
    >>> found.masks[0].int().flatten(1).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    n, count = len(index), len(label)
    slot = torch.where(index < 0, count, index).flatten(1)
    area = torch.zeros(n, count + 1, dtype=torch.int64, device=index.device)
    area.scatter_add_(1, slot, torch.ones_like(slot))
    enough = area[:, :count] >= max(min_area, 1)
    number = int(enough.sum(1).max()) if n and count else 0
    order = enough.int().argsort(dim=1, descending=True, stable=True)[:, :number]
    exists = enough.gather(1, order)
    masks = (index[:, None] == order[..., None, None]) & exists[..., None, None]
    return Segments(masks, label[order].masked_fill(~exists, 0), exists)


@torch.no_grad()
def query_claims(
    class_logits: Tensor, mask_logits: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Give each pixel to the query :math:`\arg\max_i p_i(c_i)\, \sigma(m_i(x))`.

    m_i is the mask of query i and c_i its most probable class. Queries whose c_i is "no
    object" get no pixel.

    Args:
        class_logits: Class logits (N, Q, C + 1) of the queries; the last one is "no
            object".
        mask_logits: Mask logits (N, Q, h, w) of the queries.

    Returns:
        Query (N, h, w) int64 of each pixel, -1 in an image where no query takes part;
        class (N, Q) int64 of each query, C for "no object"; and the product (N, h, w)
        float32 of the pixel's query, 0 where there is none.
    """
    with torch.autocast(mask_logits.device.type, enabled=False):
        share, label = class_logits.float().softmax(-1).max(-1)
        takes_part = label < class_logits.shape[-1] - 1
        claims = share[..., None, None] * mask_logits.float().sigmoid()
        claims = torch.where(takes_part[..., None, None], claims, -1.0)
        best, query = claims.max(1)
    return torch.where(best < 0, -1, query), label, best.clamp(min=0)
