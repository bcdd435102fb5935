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
    resize_logits,
    select_per_group,
    to_rows,
    valid_labels,
)
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_integers, check_numbers
from ..adapter import SegmentorOutput
from ..data_preprocessor import Batch
from ..heads import BankContrastHead
from ..heads.bank_contrast_head import SELECTORS
from ..memories import ClassQueueBank

NETWORKS = ('teacher', 'student')
RANKS = ('highest', 'lowest', 'random')
BY_SIZE = 'size/labeled'


class Candidates(NamedTuple):
    """Features that may enter a bank, the best of each class last.

    ``features`` (n, D); ``label`` (n,), the class of each, -1 for none; ``rank`` (n,),
    the number of features of the same class that are better.
    """

    features: Tensor
    label: Tensor
    rank: Tensor


@MODELS.register_module()
class LabeledCandidates(nn.Module):
    """Chooses features of labeled images for a bank: well predicted, best ranked.

    Args:
        network: Network that gives the features: ``'teacher'`` or ``'student'``.
        threshold: Confidence phi in [0, 1] of the quality filter: a feature may enter
            if its pixel is predicted correctly with a confidence above phi; None: there
            is no filter, and features of all labeled pixels may enter.
        read_at: Where the quality filter reads the prediction of a feature. A feature
            covers several pixels and has the label of the nearest one. ``'pixel'``
            reads the logits, enlarged to the image, at that same pixel; ``'cell'``
            reads them at the position of the feature.
        rank: Candidates that enter: those with the ``'highest'`` or ``'lowest'`` score
            of the attention, or ``'random'`` ones.
        rank_by: Attention module whose score ranks the candidates, which is built for
            the output of the projector (``'projection'``) or of the predictor
            (``'prediction'``).
        number: Number K of features of each class that enter from one image in a step.
            ``'size/labeled'``: the size of the bank / the number of labeled images,
            rounded and then times ``ratio_factor``, at least 1.
        ratio_factor: Factor of K where it follows from ``'size/labeled'``.
        per: Whether the K best are taken from each ``'image'``, or from the whole
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
        number: 'int | str' = BY_SIZE,
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
        if number != BY_SIZE and not (whole and number >= 1):
            raise ValueError(
                f'number must be an integer >= 1 or {BY_SIZE!r}, but got {number!r}'
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
        """Projected features of labeled images that are to enter a bank, ranked.

        Args:
            model: Method that has the networks.
            index: Number of the pair whose student or teacher gives the features.
            heads: Pair of the :class:`BankContrastHead` and its EMA copy.
            labeled: Labeled images.
            bank: Bank of that pair; it is read, not changed.
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
        if self.number != BY_SIZE:
            return self.number
        if model.num_labeled is None:
            raise RuntimeError(
                f'contrast.candidates.number={self.number!r} needs the number of '
                'labeled images, which SemiTrainLoop tells by set_stream_sizes() '
                'before training: train with it, or set an integer'
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
        """The best candidates of each class, the best last; all if there are few.

        As the best is last, a full bank replaces the worst ones of its oldest step
        first. The rank lets the candidates of several batches or processes be sorted
        together.
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
    """Features as rows (N * h * w, D), and the label of each row, -1 for none.

    A feature has the label of its nearest pixel in ``label`` (N, H, W).
    """
    label = valid_labels(label, model.num_classes, model.ignore_index)
    return to_rows(features), at_cells(label, features.shape[2:]).flatten()
