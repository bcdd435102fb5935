"""Share of the negatives of a contrastive loss that are of another true class."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class NegativePairs(NamedTuple):
    """Numbers of pairs of an anchor and a negative; sums of them add up.

    A negative is *true* where its true class differs from the anchor's, and *kept*
    where its pseudo label differs from the anchor's.
    """

    drawn: int
    drawn_true: int
    kept: int
    kept_true: int

    @property
    def random_precision(self) -> float:
        """Share of true ones among all; NaN without pairs."""
        return _share(self.drawn_true, self.drawn)

    @property
    def filtered_precision(self) -> float:
        """Share of true ones among the kept."""
        return _share(self.kept_true, self.kept)

    @property
    def recall(self) -> float:
        """Share of the kept among the true ones."""
        return _share(self.kept_true, self.drawn_true)


def negative_pairs(anchors: Tensor, keys: Tensor) -> NegativePairs:
    """Count the pairs of every anchor with every key.

    Negatives drawn at random among the keys have these shares in expectation. No
    matrix of anchors by keys is made.

    Args:
        anchors: Table (C, C) int64 of the anchors, from :func:`label_table`.
        keys: Table (C, C) int64 of the keys, from :func:`label_table`.

    >>> anchors = label_table(torch.tensor([0]), torch.tensor([0]), 2)
    >>> keys = label_table(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2)
    >>> negative_pairs(anchors, keys)
    NegativePairs(drawn=3, drawn_true=1, kept=2, kept_true=1)
    """
    if anchors.shape != keys.shape or anchors.dim() != 2:
        raise ValueError(
            'anchors and keys must be tables of one shape (C, C), but got '
            f'{tuple(anchors.shape)} and {tuple(keys.shape)}'
        )
    drawn = anchors.sum() * keys.sum()
    same_label = (anchors.sum(1) * keys.sum(1)).sum()
    same_truth = (anchors.sum(0) * keys.sum(0)).sum()
    same_both = (anchors * keys).sum()
    counts = (
        drawn,
        drawn - same_truth,
        drawn - same_label,
        drawn - same_label - same_truth + same_both,
    )
    return NegativePairs(*(int(count) for count in counts))


def label_table(label: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Cells by pseudo label (rows) and true class (columns), (C, C) int64.

    Args:
        label: Pseudo labels of any shape.
        truth: True classes in the shape of ``label``. A cell where either is outside of
            0 to C - 1 does not count.
    """
    if label.shape != truth.shape:
        raise ValueError(
            'label and truth must have one shape, but got '
            f'{tuple(label.shape)} and {tuple(truth.shape)}'
        )
    known = (label >= 0) & (label < num_classes) & (truth >= 0) & (truth < num_classes)
    index = label[known].long() * num_classes + truth[known].long()
    counts = torch.bincount(index, minlength=num_classes**2)
    return counts.view(num_classes, num_classes)


def cell_labels(
    truth: Tensor, size: tuple[int, int], num_classes: int, ignore_index: int = 255
) -> Tensor:
    """The class of most pixels of each cell.

    Args:
        truth: Class indices (N, H, W); values outside of 0 to C - 1 are ignored.
        size: Size (h, w) of a grid of cells over the pixels.

    Returns:
        (N, h, w) int64; ``ignore_index`` where no class has as large a share of the
        cell as the ignored pixels.
    """
    known = (truth >= 0) & (truth < num_classes)
    index = torch.where(known, truth.long(), num_classes)
    shares = F.one_hot(index, num_classes + 1).movedim(3, 1).float()
    shares = F.adaptive_avg_pool2d(shares, size)
    label = shares.argmax(1)
    return torch.where(label == num_classes, ignore_index, label)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float('nan')
