"""Logsumexp over keys that the anchors of a group share."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .compact import can_drop_rows
from .tiles import tiles_by_group

HEIGHT = 64  # anchors of a tile
NUMBERS_PER_CHUNK = 2**24


def shared_logsumexp(
    anchors: Tensor, group: Tensor, keys: Tensor, index: Tensor, temperature: float
) -> Tensor:
    """``log sum_j exp(anchors_i . keys_index[g_i, j] / temperature)``.

    The anchors of a group are multiplied with the same few keys, in tiles, so no anchor
    needs a copy of its keys. The gradient is computed in the forward pass: it is all
    that is kept. In fp32 at least, also under autocast.

    Args:
        anchors: Embeddings (A, D) of the anchors.
        group: Group (A,) int64 of each anchor; those outside of 0 to G - 1 have no key.
        keys: Embeddings (K, D) of the keys, without gradient.
        index: Indices (G, n) int64 of the keys of each group; a negative number is no
            key.
        temperature: Temperature > 0 that the logits are divided by.

    Returns:
        (A,); -inf, with a gradient of 0, where there is no key.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors = anchors if anchors.dtype == torch.float64 else anchors.float()
        keys = keys.detach().to(anchors.dtype)
        return _SharedLogSumExp.apply(anchors, group, keys, index, temperature)


class _SharedLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchors, group, keys, index, temperature):
        found = anchors.new_full((len(anchors) + 1,), -torch.inf)
        slopes = None  # the last row takes the empty places of tiles
        if ctx.needs_input_grad[0]:
            slopes = anchors.new_zeros(len(anchors) + 1, anchors.shape[1])
        if len(anchors) and index.shape[1] and len(keys):
            tiles = tiles_by_group(group, len(index), HEIGHT)
            if can_drop_rows(group):  # the last tiles may have no row
                used = int(tiles.filled.any(1).sum())
                tiles = [x[:used] for x in tiles]
            numbers = max(index.shape[1], HEIGHT) * max(anchors.shape[1], 1)
            size = max(NUMBERS_PER_CHUNK // numbers, 1)
            for part in zip(*(x.split(size) for x in tiles), strict=True):
                _add(part, anchors, keys, index, temperature, found, slopes)
        ctx.save_for_backward(slopes)
        return found[:-1]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (slopes,) = ctx.saved_tensors
        return grad[:, None] * slopes[:-1], None, None, None, None


def _add(tiles, anchors, keys, index, temperature, found, slopes) -> None:
    """Write logsumexp and gradient of the anchors in some tiles."""
    rows, filled, group = tiles
    places = index[group]
    own = keys[places.clamp(min=0)].div_(temperature)
    logits = torch.bmm(anchors[rows], own.transpose(1, 2))
    logits.masked_fill_((places < 0)[:, None], -torch.inf)
    lse = logits.logsumexp(2)
    rows = torch.where(filled, rows, len(anchors)).flatten()
    found[rows] = lse.flatten()
    if slopes is not None:
        weights = logits.sub_(lse.masked_fill(lse == -torch.inf, 0)[..., None]).exp_()
        slopes[rows] = torch.bmm(weights, own).flatten(0, 1)
