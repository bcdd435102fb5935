"""Depthwise convolutions that autocast on a CPU leaves in float32."""

import torch
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn


def keep_depthwise_type(network: nn.Module) -> None:
    """Let its depthwise convolutions compute in the type of their weights on a CPU.

    Under autocast, too: laid out by pixels, PyTorch's backward pass of them takes two
    to five times as long in bfloat16 as in float32. What enters and what leaves has the
    type that it had. Weights, their names and their initialisation stay.
    """
    for module in network.modules():
        if type(module) in KINDS and 1 < module.groups == module.in_channels:
            module.__class__ = KINDS[type(module)]


class _InTypeOfWeights:
    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != 'cpu':
            return super().forward(x)
        with torch.autocast('cpu', enabled=False):
            return super().forward(x.to(self.weight.dtype)).to(x.dtype)


# nn.Conv2d is named as a base of both: `init_cfg` with layer='Conv2d' asks for the name


class DepthwiseConv2d(_InTypeOfWeights, nn.Conv2d):
    """See :func:`keep_depthwise_type`."""


class SameDepthwiseConv2d(_InTypeOfWeights, Conv2dAdaptivePadding, nn.Conv2d):
    """The same with "same" padding."""


KINDS = {nn.Conv2d: DepthwiseConv2d, Conv2dAdaptivePadding: SameDepthwiseConv2d}
