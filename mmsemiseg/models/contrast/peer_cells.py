"""What the contrast of pairs reads at the cells of the feature maps."""

import torch
from torch import Tensor, nn

from ...functional import (
    PseudoLabel,
    at_cells,
    logits_at_cells,
    pseudo_label,
    resize_logits,
    to_rows,
    valid_labels,
)
from ...utils.settings import check_choices
from ..adapter import SegmentorOutput
from ..data_preprocessor import Batch
from ..heads import unit_length
from ..losses import Anchors
from .base import Pass


class PeerCells:
    """Reads embedding, class and confidence of the cells of feature maps.

    Args:
        model: Method, whose number of classes and like settings are read.
        read_at: Setting ``read_at`` of :class:`PeerContrast`.
        anchor_label: Setting ``anchor_label`` of :class:`PeerContrast`.
        normalize: Setting ``normalize`` of :class:`PeerContrast`.
    """

    def __init__(self, model, read_at: str, anchor_label: str, normalize: bool) -> None:
        check_choices(
            read_at=(read_at, ('pixel', 'cell')),
            anchor_label=(anchor_label, ('label', 'self', 'pseudo')),
        )
        self.read_at = read_at
        self.anchor_label = anchor_label
        self.normalize = normalize
        self.num_classes = model.num_classes
        self.ignore_index = model.ignore_index
        self.align_corners = model.align_corners

    def anchors(
        self, head: nn.Module | None, labeled: Batch, one: Pass, pseudo: PseudoLabel
    ) -> Anchors:
        """Anchors of a student: cells of the labeled, then of the unlabeled images.

        Args:
            head: Projector of the student; None: features are compared as they are.
            labeled: Labeled images.
            one: Outputs of the student.
            pseudo: Pseudo labels of the unlabeled images.
        """
        label = self.labels(labeled)
        parts = []
        for output, given, there, own in (
            (one.labeled, label, label >= 0, self.anchor_label == 'self'),
            (one.unlabeled, pseudo.label, pseudo.valid, self.anchor_label != 'pseudo'),
        ):
            size = output.features.shape[2:]
            with torch.no_grad():
                predicted = self.predicted(output, given.shape[1:])
                cells = predicted.label if own else at_cells(given, size)
                cells = torch.where(at_cells(there, size), cells, -1)
            rows = self.embedded(head, output.features)
            parts.append((rows, cells.flatten(), predicted.confidence.flatten()))
        return Anchors(*map(torch.cat, zip(*parts, strict=True)))

    def correct(
        self, head: nn.Module | None, labeled: Batch, output: SegmentorOutput
    ) -> Anchors:
        """Cells of labeled images; the label is -1 where the prediction is not it."""
        label = self.labels(labeled)
        predicted = self.predicted(output, label.shape[1:])
        label = at_cells(label, output.features.shape[2:])
        label = torch.where(predicted.label == label, label, -1).flatten()
        rows = self.embedded(head, output.features)
        return Anchors(rows, label, predicted.confidence.flatten())

    def embedded(self, head: nn.Module | None, features: Tensor) -> Tensor:
        """Features (N, D, h, w) -> the embeddings to compare, (N * h * w, D')."""
        if head is not None:
            return to_rows(head(features))
        rows = to_rows(features)
        return unit_length(rows) if self.normalize else rows.float()

    def predicted(
        self, output: SegmentorOutput, pixels: tuple[int, int]
    ) -> PseudoLabel:
        """Prediction at each cell of the features; ``pixels``: image size (H, W)."""
        size, align_corners = output.features.shape[2:], self.align_corners
        if self.read_at == 'pixel':
            logits = logits_at_cells(output.logits, pixels, size, align_corners)
        else:
            logits = resize_logits(output.logits.float(), size, align_corners)
        return pseudo_label(logits)

    def labels(self, labeled: Batch) -> Tensor:
        """Labels (N, H, W), -1 where there is none."""
        return valid_labels(labeled.labels, self.num_classes, self.ignore_index)
