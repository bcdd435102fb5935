"""Class weights from how often the classes occurred in recent batches."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import PseudoLabel
from ...functional.class_balance import MEDIANS, balance_weights, class_counts
from ...utils.settings import check_choices, check_integers
from .frequency_window import FrequencyWindow


@MODELS.register_module()
class ClassBalance(nn.Module):
    """Class weights sqrt(median frequency / frequency) from recent batches.

    A class is as frequent as its pixels in the labels of the last batches, and in their
    pseudo labels, which are counted in one window each: a :class:`FrequencyWindow`. All
    weights are 1 before iteration ``start``, and until both windows are full. Only
    :meth:`update_memory` changes the windows.

    Args:
        num_classes: Number of classes C.
        labels: Number of batches whose labels are counted. ``'labeled'``: as many as
            hold all labeled images once, images // batch size of a process, at least 1.
        pseudo: Number of batches whose pseudo labels are counted. ``'unlabeled'``: as
            many as hold all unlabeled images once.
        start: First iteration with weights other than 1.
        median: Classes over whose frequencies the median is taken: those that were
            ``'seen'``, or ``'all'`` (see :func:`balance_weights`).
        keep_labels: Batches whose labels are counted: the ``'last'`` ones, or the
            ``'first'`` ones of the run, which are then kept for good.

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
        labels: 'int | str' = 'labeled',
        pseudo: 'int | str' = 'unlabeled',
        start: int = 2000,
        median: str = 'seen',
        keep_labels: str = 'last',
    ):
        super().__init__()
        _check_lengths(labels=(labels, 'labeled'), pseudo=(pseudo, 'unlabeled'))
        check_integers(0, start=start)
        check_choices(
            median=(median, MEDIANS), keep_labels=(keep_labels, ('last', 'first'))
        )
        self.start = start
        self.median = median
        self.num_classes = num_classes
        lengths = [None if isinstance(x, str) else x for x in (labels, pseudo)]
        self.label_window = FrequencyWindow(lengths[0], num_classes, keep_labels)
        self.pseudo_window = FrequencyWindow(lengths[1], num_classes)
        self._by_rule = {name for name in (labels, pseudo) if isinstance(name, str)}

    has_memory = True

    def set_stream_sizes(
        self, images: dict[str, int], batch_sizes: dict[str, int]
    ) -> None:
        """Set the lengths that are rules, from the sizes of the streams."""
        windows = dict(labeled=self.label_window, unlabeled=self.pseudo_window)
        for name in self._by_rule:
            windows[name].set_length(max(1, images[name] // batch_sizes[name]))

    def forward(self, model, labeled, pseudo: PseudoLabel) -> Tensor:
        """Class weights (C,) of this step, whose counts are left for the windows.

        Args:
            model: Method that this is a component of.
            labeled: Batch of labeled images.
            pseudo: Pseudo labels of the unlabeled images.
        """
        counts = self.counts(labeled.labels, pseudo.label, model.ignore_index)
        model.remember(self, **counts)
        return self.weights(counts, model.iteration)

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
        if None in (self.label_window.length, self.pseudo_window.length):
            raise RuntimeError(
                f'class_balance with the rules {sorted(self._by_rule)} needs the sizes '
                'of the streams, which SemiTrainLoop tells by set_stream_sizes() '
                'before training: train with it, or set labels and pseudo to numbers '
                'of batches'
            )
        labels = self.label_window.preview(counts['label_counts'])
        pseudo = self.pseudo_window.preview(counts['pseudo_counts'])
        weights = balance_weights(labels.total() + pseudo.total(), self.median)
        if iteration < self.start:
            return torch.ones_like(weights)
        return torch.where(labels.full() & pseudo.full(), weights, 1)

    def update_memory(self, label_counts: Tensor, pseudo_counts: Tensor) -> None:
        """Enter the counts of the batches of a step, (n, C) each."""
        self.label_window.enqueue(label_counts)
        self.pseudo_window.enqueue(pseudo_counts)


def _check_lengths(**settings: tuple) -> None:
    for name, (value, rule) in settings.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value != rule and not (whole and value >= 1):
            raise ValueError(
                f'{name} must be an integer >= 1 or {rule!r}, but got {value!r}'
            )
