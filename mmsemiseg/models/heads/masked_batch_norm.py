"""BatchNorm over the valid rows of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedBatchNorm(nn.Module):
    """``BatchNorm1d`` over the rows that a mask selects, without copying them.

    So the CPU need not wait to learn how many rows are selected on a GPU. Without a
    mask PyTorch's own BatchNorm is used, which is faster. In training fewer than two
    rows do not change the running statistics, and their output is finite. Statistics
    are not shared between processes.

    Args:
        num_features: Width D of a row.
        eps: Small number added to the variance.
        momentum: Weight of a batch in the running statistics, in [0, 1].

    >>> norm = MaskedBatchNorm(1)
    >>> rows = torch.tensor([[1.0], [3.0], [50.0]])
    >>> norm(rows, torch.tensor([True, True, False]))[:2].round().tolist()
    [[-1.0], [1.0]]
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer('running_mean', torch.zeros(num_features))
        self.register_buffer('running_var', torch.ones(num_features))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise the rows (n, D) where ``mask`` (n,); other outputs mean nothing."""
        if mask is None and (len(x) > 1 or not self.training):
            statistics = self.running_mean, self.running_var
            affine = self.weight, self.bias
            return F.batch_norm(
                x, *statistics, *affine, self.training, self.momentum, self.eps
            )
        if mask is None:
            mask = x.new_ones(len(x), dtype=torch.bool)
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            if not self.training:
                inverse = (self.running_var + self.eps).rsqrt()
                return (x - self.running_mean) * (inverse * self.weight) + self.bias
            count = mask.sum()
            share = mask.to(x.dtype) / count.clamp(min=1)
            mean = share @ x
            centred = (x - mean) * mask[:, None]
            variance = share @ centred.square()
            update_running(self, count, mean, variance)
            factor = (variance + self.eps).rsqrt() * self.weight
            return torch.addcmul(self.bias, centred, factor)


@torch.no_grad()
def update_running(
    norm: nn.Module, count: Tensor, mean: Tensor, variance: Tensor
) -> None:
    """Move running statistics towards those of a batch of ``count`` rows, if > 1.

    Args:
        norm: BatchNorm with ``running_mean``, ``running_var`` and ``momentum``.
        count: Number of rows, () or one for each class, (C,).
        mean, variance: Statistics of the batch, shaped as the running ones; the
            variance is biased.
    """
    count = count.to(mean.dtype).view(*count.shape, *[1] * (mean.dim() - count.dim()))
    weight = norm.momentum * (count > 1)
    unbiased = variance * (count / (count - 1).clamp(min=1))
    norm.running_mean.lerp_(mean.to(norm.running_mean), weight.to(norm.running_mean))
    norm.running_var.lerp_(unbiased.to(norm.running_var), weight.to(norm.running_var))
