"""Weights that make up for how often the classes occur."""

import torch
from torch import Tensor


def class_counts(label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """How often each class occurs, without waiting for the device.

    Args:
        label: Integers of any shape.
        num_classes: C; labels outside of 0 to C - 1 are left out.
        ignore_index: Left out too, also if it is a class.

    Returns:
        (C,) int64.

    >>> class_counts(torch.tensor([[0, 2], [255, 2]]), 3).tolist()
    [1, 0, 2]
    """
    label = label.flatten().long()
    known = (label >= 0) & (label < num_classes) & (label != ignore_index)
    counts = label.new_zeros(num_classes)
    index = label.masked_fill(~known, 0)
    return counts.scatter_add_(0, index, known.long())


def balance_weights(frequency: Tensor) -> Tensor:
    r"""Median frequency balancing with a root, :math:`\sqrt{\mathrm{median} f / f_c}`.

    The median is that of the classes that occur, the mean of the middle two where they
    are even in number. A class that does not occur gets the largest weight of the
    others. Nothing waits for the device.

    Args:
        frequency: (C,), f >= 0, on any scale: counts or shares.

    Returns:
        (C,) float32; ones if no class occurs.

    >>> balance_weights(torch.tensor([100, 400, 25, 0])).tolist()
    [1.0, 0.5, 2.0, 2.0]
    """
    if frequency.dim() != 1 or len(frequency) == 0:
        raise ValueError(f'frequency must be (C,), but got {tuple(frequency.shape)}')
    frequency = frequency.double()
    occurs = frequency > 0
    ordered = torch.where(occurs, frequency, torch.inf).sort().values
    number = occurs.sum()
    middle = torch.stack([(number - 1).clamp(min=0) // 2, number // 2])
    median = ordered.gather(0, middle).mean()
    weights = torch.sqrt(median / torch.where(occurs, frequency, 1))
    largest = torch.where(occurs, weights, 0).max()
    weights = torch.where(occurs, weights, largest)
    return torch.where(number > 0, weights, 1).float()


def label_weights(weights: Tensor, label: Tensor, ignore_index: int = 255) -> Tensor:
    """The weight of the class of each pixel, 0 where the label is ignored.

    Args:
        weights: (C,) of the classes.
        label: Integers 0 to C - 1, or ``ignore_index``, of any shape.

    >>> label_weights(torch.tensor([1.0, 0.5]), torch.tensor([1, 255, 0])).tolist()
    [0.5, 0.0, 1.0]
    """
    ignored = label == ignore_index
    index = label.masked_fill(ignored, 0).long()
    return weights[index].masked_fill(ignored, 0)
