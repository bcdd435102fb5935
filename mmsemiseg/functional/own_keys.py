"""InfoNCE with every key of the own class as a positive, keys in a queue per class."""

import torch
from torch import Tensor

from .contrast import info_nce
from .tiles import tiles_by_group

TILE = 256


def mean_over_own_keys(
    anchors: Tensor,
    group: Tensor,
    keys: Tensor,
    filled: Tensor,
    negatives: Tensor,
    temperature: float,
) -> Tensor:
    r"""Mean over the keys of the anchor's class, each as the positive in turn.

    .. math:: \ell_i = \frac{1}{|Q_c|}\sum_{j \in Q_c}
              \mathrm{softplus}(n_i - z_i \cdot k_j / \tau)

    Only products with own keys are made: A x N numbers for A anchors of C classes with
    N keys each. In fp32 at least, also under autocast.

    Args:
        anchors: (A, D).
        group: (A,) int64; those outside of 0 to C - 1 have no key.
        keys: (C, N, D).
        filled: (C, N) bool, where there is a key.
        negatives: (A,) n, logsumexp over the negatives of each anchor.
        temperature: Tau > 0.

    Returns:
        (A,); 0 where there is no positive or no negative.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, keys = _at_least_float(anchors), _at_least_float(keys)
        if len(anchors) == 0:
            return anchors.sum(1)
        n = len(anchors)
        tiles = tiles_by_group(group, len(keys), TILE)
        index = tiles.index.flatten()
        tiled = anchors.index_select(0, index).view(*tiles.index.shape, -1)
        logits = torch.bmm(tiled, keys[tiles.group].transpose(1, 2)) / temperature
        bound = negatives[tiles.index][..., None].expand_as(logits)
        own = filled[tiles.group][:, None] & tiles.filled[..., None]
        terms = torch.where(own, info_nce(bound, logits), 0)
        means = terms.sum(2) / filled.sum(1).clamp(min=1)[tiles.group][:, None]
        place = torch.where(tiles.filled.flatten(), index, n)  # no anchor is there
        return means.new_zeros(n + 1).scatter(0, place, means.flatten())[:n]


def _at_least_float(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
