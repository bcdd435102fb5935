""" "Same" padding whose amount is computed from the size of the image at hand."""

from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn
from torch.nn.functional import pad


class SameConv2d(nn.Conv2d):
    """``Conv2dAdaptivePadding`` of mmcv without a step that a trace makes a constant.

    Example:
        >>> import torch
        >>> conv = Conv2dAdaptivePadding(1, 1, 5, stride=2, dilation=2)
        >>> image = torch.rand(1, 1, 12, 15)
        >>> expected = conv(image)
        >>> torch.equal(traceable_padding(conv)(image), expected)
        True
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D, ceil(H / stride), ceil(W / stride))"""
        settings = zip(x.shape[2:], _spans(self), self.stride, strict=True)
        (above, below), (left, right) = (
            _halves(span - stride + (-side % stride)) for side, span, stride in settings
        )
        return super().forward(pad(x, (left, right, above, below)))


def _halves(total):
    return total // 2, total - total // 2


def _spans(conv: nn.Conv2d) -> list[int]:
    """Pixels from the first to the last one that an output reads."""
    pairs = zip(conv.kernel_size, conv.dilation, strict=True)
    return [(kernel - 1) * dilation + 1 for kernel, dilation in pairs]


def traceable_padding(network: nn.Module) -> nn.Module:
    """Change the class of the layers whose windows leave no pixel out."""
    for layer in network.modules():
        if isinstance(layer, Conv2dAdaptivePadding):
            pairs = zip(_spans(layer), layer.stride, strict=True)
            if all(span >= stride for span, stride in pairs):
                layer.__class__ = SameConv2d
    return network
