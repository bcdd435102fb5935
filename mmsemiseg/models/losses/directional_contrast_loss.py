"""The directional contrastive loss of CAC."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import (
    group_logsumexp,
    info_nce,
    logsumexp_without,
    paired_logit,
    take_rows,
    valid_indices,
)
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_numbers

NORMS = ('selected', 'overlap')


@MODELS.register_module()
class DirectionalContrastLoss(nn.Module):
    r"""Contrast in which the less confident of two embeddings learns from the other.

    .. math:: \ell = \frac{1}{Z} \sum_i [c_i < c_i^+]\,[c_i^+ > \gamma]\;
              \mathrm{softplus}\Big(\log\!\!\sum_{n: \hat y_n \ne \hat y_i}\!\!
              e^{\phi_i \cdot \phi_n / \tau} - \phi_i \cdot \phi_i^+ / \tau\Big)

    Equation 6 of Lai et al., CVPR 2021. phi_i is an embedding that learns, the anchor;
    c_i its confidence and y_i its pseudo label. The + marks its positive, which is the
    embedding of the same place in the other crop. The keys phi_n are the candidates for
    negatives. A bracket is 1 where its condition holds and 0 elsewhere. The gradient
    reaches the anchors alone.

    Args:
        num_classes: Number of classes C.
        temperature: Temperature tau > 0.
        threshold: Confidence gamma in [0, 1] that a positive must exceed to be learned
            from; None: no filter, the second bracket is 1.
        direction: Whether only the less confident embedding learns; False: both learn,
            the first bracket is 1.
        negative_filter: Whether keys with the pseudo label of the anchor are left out
            of the negatives; False takes keys of every label.
        norm: Divisor Z: ``'selected'``, the number of anchors whose brackets are 1;
            ``'overlap'``, the number of cells in the overlap of an image, so that the
            loss is a mean over each image and then over the images.
    """

    def __init__(
        self,
        num_classes: int,
        temperature: float = 0.1,
        threshold: float | None = 0.75,
        direction: bool = True,
        negative_filter: bool = True,
        norm: str = 'selected',
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f'temperature must be > 0, but got {temperature}')
        check_numbers(1, threshold=0 if threshold is None else threshold)
        check_choices(norm=(norm, NORMS))
        self.num_classes = num_classes
        self.temperature = temperature
        self.threshold = threshold
        self.direction = direction
        self.negative_filter = negative_filter
        self.norm = norm

    @stage('contrast loss')
    def forward(
        self,
        anchors: Tensor,
        positives: Tensor,
        confidence: tuple[Tensor, Tensor],
        label: Tensor,
        overlap: Tensor,
        keys: Tensor,
        key_label: Tensor,
        places: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            anchors: Embeddings (A, D) of unit length that learn.
            positives: Embeddings (A, D) of unit length of the same cells in the other
                crop.
            confidence: Confidences (A,) of the anchors, and (A,) of the positives.
            label: Pseudo labels (A,) int64 of the anchors.
            overlap: Map (N, A / N) bool with a row for each image, False where an
                anchor has no positive.
            keys: Embeddings (K, D) of unit length, the candidates for negatives.
            key_label: Pseudo labels (K,) int64 of the keys; a key outside of 0 to C - 1
                is never a negative.
            places: Keys that are no negatives of an anchor, because they show the same
                place: the index (A,) int64 of the anchor itself among the keys, and the
                index (A,) of its positive; -1 where it is not among them. None: no key
                is left out for its place.

        Returns:
            The loss, 0 if no anchor is selected; and the share of the overlap that is
            selected.
        """
        mine, theirs = confidence
        selected = overlap.flatten()
        if self.direction:
            selected = selected & (mine < theirs)
        if self.threshold is not None:
            selected = selected & (theirs > self.threshold)
        number = selected.sum()
        share = number / overlap.sum().clamp(min=1)
        weight = self._weight(overlap, number)
        rows = (anchors, positives.detach(), label, weight, selected)
        kept = valid_indices(selected)
        rows = [take_rows(row, kept) for row in rows]
        places = places and [take_rows(place, kept) for place in places]
        anchors, positives, label, weight, selected = rows
        positive = paired_logit(anchors, positives, self.temperature)
        losses = self._losses(anchors, positive, label, keys, key_label, places)
        return torch.where(selected, weight * losses, 0).sum(), share

    def _weight(self, overlap: Tensor, number: Tensor) -> Tensor:
        """Factor 1 / Z of each anchor, (A,)."""
        if self.norm == 'overlap':
            count = overlap.sum(1, keepdim=True).clamp(min=1) * len(overlap)
        else:
            count = number.clamp(min=1)
        return (1 / count).expand(overlap.shape).flatten()

    def _losses(self, anchors, positive, label, keys, key_label, places) -> Tensor:
        group = label if self.negative_filter else torch.full_like(label, -1)
        args = (anchors, keys.detach(), group, key_label)
        args = (*args, self.num_classes, self.temperature)
        if places is None or len(keys) == 0:
            return info_nce(group_logsumexp(*args), positive)
        if not self.negative_filter:
            return info_nce(logsumexp_without(*args, torch.stack(places, 1)), positive)
        # The filter leaves out the anchor itself. A sum of negatives that has the
        # positive is the whole denominator
        lse, theirs = group_logsumexp(*args), places[1]
        theirs_label = key_label[theirs.clamp(min=0)]
        known = (theirs >= 0) & (theirs_label >= 0) & (theirs_label < self.num_classes)
        whole = info_nce(lse, positive, include_positive=False)
        return torch.where(
            known & (theirs_label != label), whole, info_nce(lse, positive)
        )
