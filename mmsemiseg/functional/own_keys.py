"""InfoNCE with every key of the own class as a positive, keys in a queue per class."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LOGITS_PER_CHUNK = 2**22


def mean_over_own_keys(
    anchors: Tensor, group: Tensor, keys: Tensor, filled: Tensor, temperature: float
) -> Tensor:
    r"""Mean over the keys of the anchor's class, each as the positive in turn.

    .. math:: \ell_i = \frac{1}{|Q_c|}\sum_{j \in Q_c}
              \mathrm{softplus}(n_i - z_i \cdot k_j / \tau), \qquad
              n_i = \log\sum_{j \notin Q_c} e^{z_i \cdot k_j / \tau}

    One product with all keys gives positives and negatives, one more the gradient,
    which the forward pass computes as well: for a chunk of the anchors at once, so
    memory is that of the anchors. In fp32 at least, also under autocast.

    Args:
        anchors: (A, D).
        group: (A,) int64; those outside of 0 to C - 1 have no key.
        keys: (C, N, D), no gradient reaches them.
        filled: (C, N) bool, where there is a key.
        temperature: Tau > 0.

    Returns:
        (A,); 0 where there is no positive or no negative.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        anchors = anchors if anchors.dtype == torch.float64 else anchors.float()
        keys = keys.detach().to(anchors.dtype)
        return _MeanOverOwnKeys.apply(anchors, group, keys, filled, temperature)


class _MeanOverOwnKeys(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchors, group, keys, filled, temperature):
        keys = keys.masked_fill(~filled[..., None], 0).div_(temperature)
        means = anchors.new_empty(len(anchors))
        slopes = torch.empty_like(anchors) if ctx.needs_input_grad[0] else None
        size = max(LOGITS_PER_CHUNK // filled.numel(), 1)
        for start in range(0, len(anchors), size):
            part = slice(start, start + size)
            chunk = _Chunk(anchors[part], group[part], keys, filled)
            means[part] = chunk.means()
            if slopes is not None:
                torch.mm(chunk.weights(), keys.flatten(0, 1), out=slopes[part])
        ctx.save_for_backward(slopes)
        return means

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (slopes,) = ctx.saved_tensors
        return grad[:, None] * slopes, None, None, None, None


class _Chunk:
    """Some anchors; keys are divided by the temperature."""

    def __init__(self, anchors, group, keys, filled) -> None:
        classes, size, _ = keys.shape
        known = (group >= 0) & (group < classes)
        own = group.where(known, 0)
        self.columns = own[:, None] * size + torch.arange(size, device=own.device)
        logits = anchors @ keys.flatten(0, 1).T
        positives = logits.gather(1, self.columns)
        logits.masked_fill_(~filled.flatten(), -torch.inf)
        self.negatives = logits.scatter_(1, self.columns, -torch.inf)
        lse = logits.logsumexp(1, keepdim=True)
        some = lse > -torch.inf
        self.lse = lse.masked_fill(~some, 0)
        there = filled[own] & some & known[:, None]
        self.gap = (self.lse - positives).masked_fill_(~there, -torch.inf)
        self.share = 1 / filled.sum(1).clamp(min=1)[own, None].to(logits.dtype)

    def means(self) -> Tensor:
        return (F.softplus(self.gap) * self.share).sum(1)

    def weights(self) -> Tensor:
        """(n, C * N): the gradient of the means to the anchors is a sum of keys."""
        slopes = self.gap.sigmoid() * self.share
        shares = self.negatives.sub_(self.lse).exp_()
        shares.mul_(slopes.sum(1, keepdim=True))
        return shares.scatter_(1, self.columns, -slopes)
