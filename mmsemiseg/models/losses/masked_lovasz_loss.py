"""MMSegmentation's Lovasz loss for images that are all padding, or nearly."""

import torch
from mmseg.models.losses.lovasz_loss import (
    LovaszLoss,
    lovasz_softmax,
    lovasz_softmax_flat,
)
from mmseg.models.losses.utils import weight_reduce_loss
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class MaskedLovaszLoss(LovaszLoss):
    """:class:`LovaszLoss` that is 0 for an image without labeled pixels.

    MMSegmentation's multi-class loss has no value for an image whose pixels are all
    ignored: ``per_image=True`` raises, ``False`` gives an empty loss, whose mean is
    NaN; for a single labeled pixel both raise. Every student's ``LovaszLoss`` is
    replaced by this one. The settings are those of :class:`LovaszLoss`.
    """

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = 255,
    ) -> Tensor:
        """Loss of logits (N, C, H, W) and labels (N, H, W)."""
        if self.cls_criterion is not lovasz_softmax:
            return super().forward(
                cls_score,
                label,
                weight,
                avg_factor,
                reduction_override,
                ignore_index=ignore_index,
            )
        probs = cls_score.softmax(1).permute(0, 2, 3, 1)
        if not self.per_image:
            return self.loss_weight * self._flat(probs, label, ignore_index)
        losses = [
            self._flat(*image, ignore_index) for image in zip(probs, label, strict=True)
        ]
        reduction = reduction_override or self.reduction
        losses = weight_reduce_loss(torch.stack(losses), None, reduction, avg_factor)
        return self.loss_weight * losses

    def _flat(self, probs: Tensor, label: Tensor, ignore_index: int | None) -> Tensor:
        """Loss of the pixels that count in (..., C) probabilities, (...) labels."""
        valid = torch.ones_like(label, dtype=torch.bool)
        if ignore_index is not None:
            valid = label != ignore_index
        if not valid.any():
            return probs.sum() * 0
        weights = None
        if self.class_weight is not None:
            weights = probs.new_tensor(self.class_weight)
        return lovasz_softmax_flat(probs[valid], label[valid], self.classes, weights)
