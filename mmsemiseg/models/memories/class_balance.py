"""Class weights from how often the classes occurred in the last batches."""

import copy

import torch
from torch import Tensor, nn

from ...functional.class_balance import MEDIANS, balance_weights, class_counts
from ...utils.settings import check_choices, check_integers
from .frequency_window import FrequencyWindow


class ClassBalance(nn.Module):
    """Class weights sqrt(median frequency / frequency) from recent batches.

    One window counts the classes in labels, another in pseudo labels. All weights are 1
    before iteration ``start``, and until both windows are full. Only :meth:`update`
    changes the windows.

    Args:
        num_classes: Number of classes C.
        labels: Number of batches in the window of the labels.
        pseudo: Number of batches in the window of the pseudo labels.
        start: First iteration with weights other than 1.
        median: Classes over whose frequencies the median is taken: those that were
            ``'seen'``, or ``'all'`` (see :func:`balance_weights`).
        keep_labels: Batches that the window of the labels keeps: the ``'last'`` ones,
            or the ``'first'`` ones for good.

    Raises:
        ValueError: A setting is wrong.

    >>> balance = ClassBalance(num_classes=2, labels=1, pseudo=1, start=5)
    >>> labels, pseudo = torch.tensor([[0, 1, 1]]), torch.tensor([[0, 1, 255]])
    >>> counts = balance.counts(labels, pseudo, ignore_index=255)
    >>> [balance.weights(counts, iteration).tolist() for iteration in (4, 5)]
    [[1.0, 1.0], [1.1180340051651, 0.9128709435462952]]
    """

    def __init__(
        self,
        num_classes: int,
        labels: int,
        pseudo: int,
        start: int = 2000,
        median: str = 'seen',
        keep_labels: str = 'last',
    ):
        super().__init__()
        check_integers(1, labels=labels, pseudo=pseudo)
        check_integers(0, start=start)
        check_choices(
            median=(median, MEDIANS), keep_labels=(keep_labels, ('last', 'first'))
        )
        self.start = start
        self.median = median
        self.num_classes = num_classes
        self.label_window = FrequencyWindow(labels, num_classes, keep_labels)
        self.pseudo_window = FrequencyWindow(pseudo, num_classes)

    def counts(
        self, labels: Tensor, pseudo: Tensor, ignore_index: int
    ) -> dict[str, Tensor]:
        """Number of pixels of each class in a batch, (1, C) each."""
        maps = dict(label_counts=labels, pseudo_counts=pseudo)
        return {
            name: class_counts(label, self.num_classes, ignore_index)[None]
            for name, label in maps.items()
        }

    def weights(self, counts: dict[str, Tensor], iteration: int) -> Tensor:
        """Class weights (C,) of an iteration, with the counts of its own batch."""
        labels, pseudo = map(copy.deepcopy, (self.label_window, self.pseudo_window))
        labels.enqueue(counts['label_counts'])
        pseudo.enqueue(counts['pseudo_counts'])
        weights = balance_weights(labels.total() + pseudo.total(), self.median)
        if iteration < self.start:
            return torch.ones_like(weights)
        return torch.where(labels.full() & pseudo.full(), weights, 1)

    def update(self, label_counts: Tensor, pseudo_counts: Tensor) -> None:
        """Enter the counts of the batches of a step, (n, C) each."""
        self.label_window.enqueue(label_counts)
        self.pseudo_window.enqueue(pseudo_counts)
