"""Depthwise convolutions as a CPU computes them fast: in float32, without dilation."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn


def keep_depthwise_type(network: nn.Module) -> None:
    """Let its depthwise convolutions compute on a CPU in the type of their weights.

    This holds under autocast, too: with the channels last, PyTorch's backward pass of
    them takes two to five times as long in bfloat16 as in float32. Dilated ones, which
    are slow, too, are computed by :func:`depthwise_by_phases`. Inputs and outputs have
    the type that they had. Weights, their names and their initialisation stay.
    """
    for module in network.modules():
        if type(module) in KINDS and 1 < module.groups == module.in_channels:
            module.__class__ = KINDS[type(module)]


class _Depthwise:
    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != 'cpu':
            return super().forward(x)
        with torch.autocast('cpu', enabled=False):
            return self._of_own_type(x.to(self.weight.dtype)).to(x.dtype)

    def _of_own_type(self, x: Tensor) -> Tensor:
        if not _gains_from_phases(x, self):
            return super().forward(x)
        left, right, above, below = self.margins()
        d = self.dilation[0]
        rows, (above, below) = _reading_taps(self.kernel_size[0], d, above, below, x, 2)
        columns, (left, right) = _reading_taps(
            self.kernel_size[1], d, left, right, x, 3
        )
        x = F.pad(x, (left, right, above, below))
        return depthwise_by_phases(x, self.weight[:, :, rows, columns], self.bias, d)


def _gains_from_phases(x: Tensor, conv: nn.Conv2d) -> bool:
    """Measured: half of the time with channels last, but longer with channels first."""
    return (
        conv.stride == (1, 1)
        and 1 < conv.dilation[0] == conv.dilation[1]
        and conv.in_channels == conv.out_channels
        and conv.padding_mode == 'zeros'
        and not isinstance(conv.padding, str)
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
    )


def _reading_taps(
    kernel: int, dilation: int, before: int, after: int, x: Tensor, axis: int
) -> tuple[slice, tuple[int, int]]:
    """Taps of one axis that read the map somewhere, and the margins that they need.

    A dilation as large as the map leaves the middle tap alone: all others read zeros.
    """
    size = x.shape[axis]
    outputs = size + before + after - dilation * (kernel - 1)
    first = [dilation * t - before for t in range(kernel)]  # what output 0 reads
    used = [t for t in range(kernel) if -outputs < first[t] < size] or [0]
    low, high = used[0], used[-1]
    dropped = dilation * low, dilation * (kernel - 1 - high)
    return slice(low, high + 1), (before - dropped[0], after - dropped[1])


def depthwise_by_phases(
    x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int
) -> Tensor:
    """A dilated depthwise convolution as one without dilation of each phase.

    Output pixel ``d * q + r`` reads the pixels ``d * (q + t) + r``: every d-th pixel
    from r on is an image of its own.

    Args:
        x: Input (N, C, H, W), padded.
        weight: Weight (C, 1, k, l) of the convolution.
        bias: Bias (C,) or None.
        dilation: Dilation d >= 1.

    Returns:
        (N, C, H - d * (k - 1), W - d * (l - 1)), with the channels last.
    """
    if weight.shape[2:] == (1, 1):
        y = x * weight.view(1, -1, 1, 1)
        return y if bias is None else y + bias.view(1, -1, 1, 1)
    n, c, h, w = x.shape
    d = dilation
    height, width = (
        a - d * (k - 1) for a, k in zip((h, w), weight.shape[2:], strict=True)
    )
    x = F.pad(x, (0, -w % d, 0, -h % d)).permute(0, 2, 3, 1)
    x = x.reshape(n, -(-h // d), d, -(-w // d), d, c).permute(0, 2, 4, 1, 3, 5)
    y = F.conv2d(x.flatten(0, 2).permute(0, 3, 1, 2), weight, bias, groups=c)
    y = y.permute(0, 2, 3, 1).unflatten(0, (n, d, d)).permute(0, 3, 1, 4, 2, 5)
    y = y.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
    return y[:, :, :height, :width].contiguous(memory_format=torch.channels_last)


# nn.Conv2d is named as a base of both: `init_cfg` with layer='Conv2d' asks for the name


class DepthwiseConv2d(_Depthwise, nn.Conv2d):
    """Depthwise convolution that is fast on CPUs, see :func:`keep_depthwise_type`."""

    def margins(self) -> tuple[int, int, int, int]:
        """Zeros at the left, at the right, above and below."""
        vertical, horizontal = self.padding
        return horizontal, horizontal, vertical, vertical


class SameDepthwiseConv2d(_Depthwise, Conv2dAdaptivePadding, nn.Conv2d):
    """Depthwise convolution with "same" padding, see :func:`keep_depthwise_type`."""

    def margins(self) -> tuple[int, int, int, int]:
        """Zeros at the left, at the right, above and below, for a stride of 1."""
        sums = [
            d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)
        ]
        (above, below), (left, right) = ((s // 2, s - s // 2) for s in sums)
        return left, right, above, below


KINDS = {nn.Conv2d: DepthwiseConv2d, Conv2dAdaptivePadding: SameDepthwiseConv2d}
