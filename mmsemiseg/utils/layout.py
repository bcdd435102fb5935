"""Memory layout of weights, images and moments: NCHW, or NHWC (channels_last)."""

import torch
from torch import Tensor, nn


def lay_out(module: nn.Module, channels_last: bool = True) -> None:
    """Give all weights and buffers of four dimensions this layout, in place."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for part in module.modules():
        for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
            if tensor.dim() == 4:
                tensor.data = tensor.data.to(memory_format=layout)


def as_laid_out(images: Tensor, like: Tensor) -> Tensor:
    """Give (N, C, H, W) the layout of ``like``, without a copy if it has it.

    >>> like = torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    >>> as_laid_out(torch.zeros(2, 3, 4, 4), like).stride()
    (48, 1, 12, 3)
    """
    if like.is_contiguous(memory_format=torch.channels_last):
        return images.contiguous(memory_format=torch.channels_last)
    return images.contiguous()


def lay_out_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give what an optimizer keeps of each weight the layout of the weight.

    It has it from the start; a checkpoint of the other layout brings the other.
    """
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            same = isinstance(value, Tensor) and value.shape == weight.shape
            if same and value.stride() != weight.stride():
                laid_out = torch.empty_like(weight.detach(), dtype=value.dtype)
                state[name] = laid_out.copy_(value)
