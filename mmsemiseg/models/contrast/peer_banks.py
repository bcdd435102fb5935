"""The banks of all pairs: what enters them, and when they are ready."""

import torch
from mmengine.model import ModuleList
from torch import Tensor

from ...functional import select_per_group
from ...utils.settings import check_choices
from ..losses import Keys
from ..memories import ClassQueueBank

RULES = ('labeled/size', 'size/labeled')
NAMES = ('features', 'label', 'score')


class PeerBanks(ModuleList):
    """The banks of all pairs; k features of each class enter one in a step.

    Args:
        banks: Banks of the pairs, equal in size.
        ready: Setting ``ready`` of :class:`PeerContrast`.
        enqueue_number: Setting ``enqueue_number`` of :class:`PeerContrast`.
        enqueue_select: Setting ``enqueue_select`` of :class:`PeerContrast`.

    Attributes:
        num_labeled: Number of labeled images, told before training; None: not known.
    """

    def __init__(
        self,
        banks: list[ClassQueueBank],
        ready: str,
        enqueue_number: int | str,
        enqueue_select: str,
    ) -> None:
        super().__init__(banks)
        check_choices(
            ready=(ready, ('all', 'any', 'class')),
            enqueue_select=(enqueue_select, ('top', 'random')),
        )
        self.size = banks[0].size
        _check_number(enqueue_number, self.size)
        self.ready = ready
        self.enqueue_number = enqueue_number
        self.enqueue_select = enqueue_select
        self.num_labeled: int | None = None

    def chosen(
        self, features: Tensor, label: Tensor, score: Tensor
    ) -> dict[str, Tensor]:
        """At most k of the features (n, D) of each class; label -1: of no class."""
        if self.enqueue_select == 'random':
            score = torch.rand(len(score)).to(score.device, non_blocking=True)
        number, classes = self.number_to_enqueue(), self[0].groups
        index, label = select_per_group(label, classes, number, score)
        return dict(features=features[index], label=label, score=score[index])

    def keys(self, index: int, new: dict[str, Tensor]) -> Keys:
        """Keys of a bank as it will be with the features of this step."""
        rows = [new[name] for name in NAMES]
        bank = self[index].preview(*rows, self.number_to_enqueue())
        if self.ready == 'class':
            full = bank.ready('each')
            return Keys(bank.features, bank.filled() & full[:, None], full)
        begun = bank.ready(self.ready).expand(bank.groups)
        return Keys(bank.features, bank.filled(), begun)

    def enqueue(self, **rows: Tensor) -> None:
        """Enter the k best features of each class, of all batches of a step.

        Args:
            rows: Rows of pair i as ``features<i>``, ``label<i>`` and ``score<i>``.
        """
        for index, bank in enumerate(self):
            new = [rows[f'{name}{index}'] for name in NAMES]
            bank.enqueue(*new, self.number_to_enqueue())

    def number_to_enqueue(self) -> int:
        """Number k as an integer, which may follow from that of labeled images."""
        if self.enqueue_number not in RULES:
            return self.enqueue_number
        labels, size = self.num_labeled, self.size
        if labels is None:
            raise RuntimeError(
                f'contrast.enqueue_number={self.enqueue_number!r} needs the number of '
                'labeled images, which SemiTrainLoop tells by set_stream_sizes() '
                'before training: train with it, or set an integer'
            )
        by_labels = self.enqueue_number == 'labeled/size'
        number = labels // size if by_labels else size // labels
        return min(max(1, number), size)

    def unready_classes(self) -> list[int]:
        """Classes whose queues are not full, so that some pair's contrast waits."""
        unready = torch.zeros(self[0].groups, dtype=torch.bool)
        for bank in self:
            full = bank.ready('each').cpu()
            if self.ready != 'any' or not full.any():
                unready |= ~full
        return unready.nonzero().flatten().tolist()


def _check_number(number: int | str, size: int) -> None:
    if number in RULES:
        return
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(
            f'enqueue_number must be an integer >= 1, or in {RULES}, but got {number!r}'
        )
    if number > size:
        raise ValueError(
            f'enqueue_number must be at most bank.size={size}, but got {number}'
        )
