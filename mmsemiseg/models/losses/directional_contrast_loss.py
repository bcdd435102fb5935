"""The directional contrastive loss of CAC."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import (
    group_logsumexp,
    info_nce,
    logsumexp_without,
    masked_mean,
    paired_logit,
)

NORMS = ('selected', 'overlap')


@MODELS.register_module()
class DirectionalContrastLoss(nn.Module):
    r"""The less confident of two embeddings of one place learns from the other.

    .. math:: \ell = \frac{1}{Z} \sum_i [c_i < c_i^+]\,[c_i^+ > \gamma]\;
              \mathrm{softplus}\Big(\log\!\!\sum_{n: \hat y_n \ne \hat y_i}\!\!
              e^{\phi_i \cdot \phi_n / \tau} - \phi_i \cdot \phi_i^+ / \tau\Big)

    Lai et al., CVPR 2021, equation 6. The gradient reaches the anchors alone.

    Args:
        num_classes: C.
        temperature: tau > 0.
        threshold: gamma in [0, 1]: confidence above which a positive teaches; None: it
            always does.
        direction: False drops the first bracket.
        negative_filter: False takes keys of every label as negatives.
        norm: Z: ``'selected'``, the number of terms, or ``'overlap'``, of places.
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
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f'threshold must be in [0, 1] or None, got {threshold}')
        if norm not in NORMS:
            raise ValueError(f'norm must be in {NORMS}, but got {norm!r}')
        self.num_classes = num_classes
        self.temperature = temperature
        self.threshold = threshold
        self.direction = direction
        self.negative_filter = negative_filter
        self.norm = norm

    def forward(
        self,
        anchors: Tensor,
        positives: Tensor,
        confidence: tuple[Tensor, Tensor],
        label: Tensor,
        overlap: Tensor,
        keys: Tensor,
        key_label: Tensor,
        excluded: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            anchors: (A, D) of unit length.
            positives: (A, D) of unit length.
            confidence: (A,) of the anchors, (A,) of the positives.
            label: (A,) int64 pseudo labels of the anchors.
            overlap: (A,) bool, False where there is no pair.
            keys: (K, D) of unit length.
            key_label: (K,) int64; a key outside of 0 to C - 1 is never a negative.
            excluded: (A, m) int64: further keys that are no negatives of an anchor;
                negative numbers are none.

        Returns:
            The loss, 0 if nothing is selected, and the share of the overlap that is.
        """
        mine, theirs = confidence
        selected = overlap
        if self.direction:
            selected = selected & (mine < theirs)
        if self.threshold is not None:
            selected = selected & (theirs > self.threshold)
        total, number = overlap.sum(), selected.sum()
        share = number / total.clamp(min=1)
        rows = (anchors, positives.detach(), label, selected)
        if anchors.device.type == 'cpu':  # where it costs nothing to know how many
            rows = [row[selected] for row in rows]
            excluded = None if excluded is None else excluded[selected]
        anchors, positives, label, selected = rows
        lse = self._negatives(anchors, label, keys.detach(), key_label, excluded)
        losses = info_nce(lse, paired_logit(anchors, positives, self.temperature))
        count = total if self.norm == 'overlap' else number
        return masked_mean(losses, selected, count), share

    def _negatives(self, anchors, label, keys, key_label, excluded) -> Tensor:
        group = label if self.negative_filter else torch.full_like(label, -1)
        args = (anchors, keys, group, key_label, self.num_classes, self.temperature)
        if excluded is None:
            return group_logsumexp(*args)
        return logsumexp_without(*args, excluded)
