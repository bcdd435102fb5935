"""Multi-positive InfoNCE, where each class has a queue of keys."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LOGITS_PER_CHUNK = 2**21


def multi_positive_info_nce(
    anchors: Tensor, group: Tensor, keys: Tensor, filled: Tensor, temperature: float
) -> Tensor:
    r"""Multi-positive InfoNCE, averaged over the keys of the anchor's class.

    .. math:: \ell_i = \frac{1}{|Q_c|}\sum_{j \in Q_c}
              \mathrm{softplus}(n_i - z_i \cdot k_j / \tau), \qquad
              n_i = \log\sum_{j \notin Q_c} e^{z_i \cdot k_j / \tau}

    One product with all keys gives positives and negatives, one more the gradient,
    which is computed in the forward pass. This is done in chunks of the anchors, so no
    matrix of anchors x keys is kept. In fp32 at least, also under autocast.

    Args:
        anchors: Embeddings (A, D) of the anchors.
        group: Class (A,) int64 of each anchor; those outside of 0 to C - 1 have no key.
        keys: Keys (C, N, D) of each class, without gradient.
        filled: Mask (C, N) bool, True where there is a key.
        temperature: Temperature tau > 0.

    Returns:
        (A,); 0 where there is no positive or no negative.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors = anchors if anchors.dtype == torch.float64 else anchors.float()
        keys = keys.detach().to(anchors.dtype)
        return _MultiPositiveInfoNCE.apply(anchors, group, keys, filled, temperature)


class _MultiPositiveInfoNCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchors, group, keys, filled, temperature):
        keys = keys.masked_fill(~filled[..., None], 0).div_(temperature).flatten(0, 1)
        means = anchors.new_empty(len(anchors))
        slopes = torch.empty_like(anchors) if ctx.needs_input_grad[0] else None
        size = max(LOGITS_PER_CHUNK // len(keys), 1)
        for start in range(0, len(anchors), size):
            part = slice(start, start + size)
            means[part], weights = _chunk(anchors[part], group[part], keys, filled)
            if slopes is not None:
                torch.mm(weights, keys, out=slopes[part])
        ctx.save_for_backward(slopes)
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (slopes,) = ctx.saved_tensors
        return grad[:, None] * slopes, None, None, None, None


def _chunk(anchors, group, keys, filled) -> tuple[Tensor, Tensor]:
    """Loss of (n, D) anchors with (C * N, D) keys, which are 0 where there is none.

    Returns:
        (n,) means, and (n, C * N) weights: their gradients are these sums of keys.
    """
    classes, size = filled.shape
    known = (group >= 0) & (group < classes)
    own = group.where(known, 0)
    columns = own[:, None] * size + torch.arange(size, device=own.device)
    absent = torch.zeros_like(keys[:, 0]).masked_fill_(~filled.flatten(), -torch.inf)
    logits = torch.addmm(absent, anchors, keys.T)
    positives = logits.gather(1, columns)
    top = logits.scatter_(1, columns, -torch.inf).amax(1, keepdim=True)
    some = top > -torch.inf
    top = top.masked_fill_(~some, 0)
    weights = logits.sub_(top).exp_()  # of the negatives
    total = weights.sum(1, keepdim=True).masked_fill_(~some, 1)
    there = filled[own] & some & known[:, None]
    gap = (top + total.log() - positives).masked_fill_(~there, -torch.inf)
    share = 1 / filled.sum(1).clamp(min=1)[own, None].to(gap.dtype)
    means = (F.softplus(gap) * share).sum(1)
    slopes = gap.sigmoid_().mul_(share)
    weights.mul_(slopes.sum(1, keepdim=True) / total)
    return means, weights.scatter_(1, columns, -slopes)
