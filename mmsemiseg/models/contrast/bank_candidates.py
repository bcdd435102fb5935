"""Features of labeled images that may enter a bank."""

from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import (
    at_cells,
    drop_unlabeled,
    logits_at_cells,
    rank_in_group,
    select_per_group,
    to_rows,
    valid_labels,
)
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_integers, check_numbers
from ..adapter import SegmentorOutput, resize_logits
from ..data_preprocessor import Batch
from ..heads import BankContrastHead
from ..heads.bank_contrast_head import SELECTORS
from ..memories import ClassQueueBank

NETWORKS = ('teacher', 'student')
RANKS = ('highest', 'lowest', 'random')


class Candidates(NamedTuple):
    """Rows for a bank: of each class the best last.

    ``features`` (n, D), their ``label`` (n,), -1 for none, and their ``rank`` (n,): how
    many of their class are better.
    """

    features: Tensor
    label: Tensor
    rank: Tensor


@MODELS.register_module()
class LabeledCandidates(nn.Module):
    """Chooses features of labeled images for a bank: well predicted, best ranked.

    Args:
        network: Network whose features they are: ``'teacher'`` or ``'student'``.
        threshold: Confidence phi in [0, 1] of the quality filter: features of correctly
            predicted pixels whose confidence is above it may enter; None: those of all
            labeled pixels.
        read_at: Place where the prediction of a feature is read for the quality filter:
            ``'pixel'``, in the enlarged logits at the pixel whose label the feature
            has, or ``'cell'``, at the feature itself.
        rank: Candidates that enter: those with the ``'highest'`` or ``'lowest'`` score
            of the attention, or ``'random'`` ones.
        rank_by: Attention module whose score ranks the candidates: that of the
            ``'projection'`` or of the ``'prediction'``.
        number: Number K of features of a class that enter in a step, for each image;
            ``'ratio'``: the size of the bank / the number of labeled images, rounded,
            times ``ratio_factor``, at least 1.
        ratio_factor: Factor of the number ``'ratio'``.
        per: Scope of ``number``: the K best of each ``'image'``, or from the whole
            ``'batch'`` the best K times its number of images.
        start: First iteration whose features enter the bank.
    """

    def __init__(
        self,
        network: str = 'teacher',
        threshold: float | None = 0.95,
        read_at: str = 'pixel',
        rank: str = 'highest',
        rank_by: str = 'projection',
        number: 'int | str' = 'ratio',
        ratio_factor: int = 1,
        per: str = 'batch',
        start: int = 1000,
    ) -> None:
        super().__init__()
        check_choices(
            network=(network, NETWORKS),
            read_at=(read_at, ('pixel', 'cell')),
            rank=(rank, RANKS),
            rank_by=(rank_by, SELECTORS),
            per=(per, ('batch', 'image')),
        )
        check_numbers(1, threshold=0 if threshold is None else threshold)
        whole = isinstance(number, int) and not isinstance(number, bool)
        if number != 'ratio' and not (whole and number >= 1):
            raise ValueError(
                f"number must be an integer >= 1 or 'ratio', but got {number!r}"
            )
        check_integers(1, ratio_factor=ratio_factor)
        check_integers(0, start=start)
        self.network = network
        self.threshold = threshold
        self.read_at = read_at
        self.rank = rank
        self.rank_by = rank_by
        self.number = number
        self.ratio_factor = ratio_factor
        self.per = per
        self.start = start

    @stage('candidates')
    @torch.no_grad()
    def forward(
        self,
        model,
        index: int,
        heads: nn.Module,
        labeled: Batch,
        bank: ClassQueueBank,
    ) -> Candidates:
        """Projected features of labeled images that enter a bank, ranked.

        Args:
            model: Method whose network is run.
            index: Number of the pair whose network is run.
            heads: Pair of the :class:`BankContrastHead` and its EMA copy.
            labeled: Labeled images.
            bank: Bank of that pair, which stays as it is.
        """
        head = getattr(heads, self.network)
        if model.iteration < self.start:
            rows = bank.features.new_zeros(0, bank.dim)
            none = rows.new_zeros(0, dtype=torch.int64)
            return Candidates(rows, none, none)
        output = model.adapter(
            getattr(model.pairs[index], self.network), labeled.inputs
        )
        rows, label = labeled_cells(model, output.features, labeled.labels)
        if self.threshold is not None:
            confidence, predicted = self.predicted(model, output, labeled)
            good = (predicted == label) & (confidence > self.threshold)
            label = label.masked_fill(~good, -1)
        label = torch.where((label >= 0).sum() > 1, label, -1)  # or BatchNorm fails
        images = len(labeled.inputs)
        image = torch.arange(images, device=label.device)
        image = image.repeat_interleave(len(label) // images)
        (rows, label, image), mask = drop_unlabeled(rows, label, image)
        rows = head.projection(rows, mask).float()
        number = self.number_for(model, bank.size)
        return self.selected(head, rows, label, image, images, number, bank)

    def predicted(
        self, model, output: SegmentorOutput, labeled: Batch
    ) -> tuple[Tensor, Tensor]:
        """Confidence and predicted class of each cell, (N * h * w,) both."""
        logits, size = output.logits.float(), output.features.shape[2:]
        if self.read_at == 'pixel':
            pixels = labeled.inputs.shape[2:]
            logits = logits_at_cells(logits, pixels, size, model.align_corners)
        else:
            logits = resize_logits(logits, size, model.align_corners)
        confidence, predicted = logits.softmax(1).max(1)
        return confidence.flatten(), predicted.flatten()

    def number_for(self, model, size: int) -> int:
        """Number K of features of a class that enter in a step, for each image."""
        if self.number != 'ratio':
            return self.number
        if model.num_labeled is None:
            raise RuntimeError(
                "candidates.number='ratio' needs the number of labeled images, which "
                'SemiTrainLoop tells by set_stream_sizes() before training: train with '
                'it, or set an integer'
            )
        return max(1, self.ratio_factor * round(size / model.num_labeled))

    def selected(
        self,
        head: BankContrastHead,
        rows: Tensor,
        label: Tensor,
        image: Tensor,
        images: int,
        number: int,
        bank: ClassQueueBank,
    ) -> Candidates:
        """The best ones of each class, the best last; all if there are few.

        A full bank forgets the worst ones of its oldest step first. With their rank,
        for steps of several batches or processes.
        """
        if self.rank == 'random':
            score = torch.rand(len(rows)).to(rows.device, non_blocking=True)
        else:
            score = head.scores(rows, label, self.rank_by)
        classes, lowest = bank.groups, self.rank == 'lowest'
        if self.per == 'batch':
            number = min(number * images, bank.size)
            index, label = select_per_group(
                label, classes, number, score, lowest, best_last=True
            )
        else:
            number = min(number, bank.size)
            part = torch.where(label >= 0, image * classes + label, -1)
            index, part = select_per_group(
                part, images * classes, number, score, lowest, best_last=True
            )
            label = torch.where(part >= 0, part % classes, -1)
        rank = rank_in_group(label.flip(0)).flip(0)
        return Candidates(rows[index], label, rank)


def labeled_cells(model, features: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N * h * w, D) of features, and the label of each row, -1 for none.

    The label of a cell is that of its nearest pixel in (N, H, W).
    """
    label = valid_labels(label, model.num_classes, model.ignore_index)
    return to_rows(features), at_cells(label, features.shape[2:]).flatten()
