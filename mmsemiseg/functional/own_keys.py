"""InfoNCE with every key of the own class as a positive, keys in a queue per class."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .tiles import tiles_by_group

TILE = 128
NUMBERS_PER_CHUNK = 2**21  # of anchors, and of keys, that are copied at once


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
    N keys each; beside the inputs they are all that is kept for the backward pass. In
    fp32 at least, also under autocast.

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
        negatives = negatives.to(anchors.dtype)
        return _MeanOverOwnKeys.apply(
            anchors, keys, negatives, group, filled, temperature
        )


class _MeanOverOwnKeys(torch.autograd.Function):
    """Copies of anchors and keys in tiles exist for a chunk of the tiles at once."""

    @staticmethod
    def forward(ctx, anchors, keys, negatives, group, filled, temperature):
        tiles = tiles_by_group(group, len(keys), TILE)
        # what no row is for goes to one behind the last
        place = tiles.index.masked_fill(~tiles.filled, len(anchors))
        share = 1 / filled.sum(1).clamp(min=1).to(anchors.dtype)
        means = anchors.new_zeros(len(anchors) + 1)
        slopes = anchors.new_empty(*tiles.index.shape, keys.shape[1])
        for part in _chunks(slopes, keys):
            index, of = tiles.index[part], tiles.group[part]
            logits = torch.bmm(anchors[index], keys[of].mT).div_(temperature)
            own = filled[of][:, None] & tiles.filled[part][..., None]
            gap = (negatives[index][..., None] - logits).masked_fill_(~own, -torch.inf)
            terms = F.softplus(gap).sum(2) * share[of][:, None]
            means.index_copy_(0, place[part].flatten(), terms.flatten())
            slopes[part] = gap.sigmoid_() * share[of][:, None, None]
        ctx.temperature = temperature
        needed = anchors if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(needed, keys, slopes, place, tiles.index, tiles.group)
        return means[:-1]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        anchors, keys, slopes, place, index, group = ctx.saved_tensors
        slopes = slopes * grad[index][..., None]
        of_anchors, of_keys, of_negatives = ctx.needs_input_grad[:3]
        grad_anchors = keys.new_zeros(len(grad) + 1, keys.shape[2])
        grad_keys = torch.zeros_like(keys) if of_keys else None
        grad_negatives = None
        for part in _chunks(slopes, keys):
            slope = slopes[part] / -ctx.temperature
            if of_anchors:
                rows = torch.bmm(slope, keys[group[part]]).flatten(0, 1)
                grad_anchors.index_copy_(0, place[part].flatten(), rows)
            if of_keys:
                rows = torch.bmm(slope.mT, anchors[index[part]])
                grad_keys.index_add_(0, group[part], rows)
        if of_negatives:
            grad_negatives = grad.new_zeros(len(grad) + 1)
            grad_negatives.index_copy_(0, place.flatten(), slopes.sum(2).flatten())
            grad_negatives = grad_negatives[:-1]
        return grad_anchors[:-1], grad_keys, grad_negatives, None, None, None


def _chunks(slopes: Tensor, keys: Tensor) -> list[slice]:
    """Of the tiles."""
    number, rows, _ = slopes.shape
    size = max(NUMBERS_PER_CHUNK // (max(rows, keys.shape[1]) * keys.shape[2]), 1)
    return [slice(start, start + size) for start in range(0, number, size)]


def _at_least_float(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
