"""Weights that make up for how often the classes occur."""

import torch
from torch import Tensor

MEDIANS = ('seen', 'all')


def class_counts(label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """How often each class occurs, without waiting for the device.

    Args:
        label: Labels, integers of any shape.
        num_classes: Number of classes C; labels outside of 0 to C - 1 are left out.
        ignore_index: Label that is left out, also if it is a class.

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


def balance_weights(frequency: Tensor, median: str = 'seen') -> Tensor:
    r"""Median frequency balancing with a root, :math:`\sqrt{\mathrm{median} f / f_c}`.

    Of an even number of classes the median is the mean of the middle two. A class that
    does not occur gets the largest weight of the others. Nothing waits for the device.

    Args:
        frequency: Frequency f >= 0 of each class, (C,), on any scale: counts or shares.
        median: Classes over which the median is taken. ``'seen'``: those that occur.
            ``'all'``: all C, with a 0 for each that does not occur; then the weight of
            these is at least 1. If the median of all is 0, which would leave no
            weights, that of the classes that occur is taken.

    Returns:
        (C,) float32; ones if no class occurs.

    >>> balance_weights(torch.tensor([100, 400, 25, 0])).tolist()
    [1.0, 0.5, 2.0, 2.0]
    >>> balance_weights(torch.tensor([100, 400, 36, 0, 0]), median='all').tolist()
    [0.6000000238418579, 0.30000001192092896, 1.0, 1.0, 1.0]
    """
    if median not in MEDIANS:
        raise ValueError(f'median must be in {MEDIANS}, but got {median!r}')
    if frequency.dim() != 1 or len(frequency) == 0:
        raise ValueError(f'frequency must be (C,), but got {tuple(frequency.shape)}')
    frequency = frequency.double()
    occurs = frequency > 0
    number = occurs.sum()
    middle = _median(torch.where(occurs, frequency, torch.inf), number)
    least = torch.zeros_like(middle)
    if median == 'all':
        of_all = _median(frequency, torch.full_like(number, len(frequency)))
        middle = torch.where(of_all > 0, of_all, middle)
        least = (of_all > 0).to(middle)
    weights = torch.sqrt(middle / torch.where(occurs, frequency, 1))
    largest = torch.where(occurs, weights, 0).max().maximum(least)
    weights = torch.where(occurs, weights, largest)
    return torch.where(number > 0, weights, 1).float()


def _median(values: Tensor, number: Tensor) -> Tensor:
    """Median of the ``number`` smallest values."""
    middle = torch.stack([(number - 1).clamp(min=0) // 2, number // 2])
    return values.sort().values.gather(0, middle).mean()


def label_weights(weights: Tensor, label: Tensor, ignore_index: int = 255) -> Tensor:
    """The weight of the class of each pixel, 0 where the label is ignored.

    Args:
        weights: Weights (C,) of the classes.
        label: Labels 0 to C - 1, or ``ignore_index``, of any shape.

    >>> label_weights(torch.tensor([1.0, 0.5]), torch.tensor([1, 255, 0])).tolist()
    [0.5, 0.0, 1.0]
    """
    ignored = label == ignore_index
    index = label.masked_fill(ignored, 0).long()
    return weights[index].masked_fill(ignored, 0)
