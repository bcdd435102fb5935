"""Base of the losses of regions."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ...functional import Regions
from ...utils.settings import check_numbers


class RegionLoss(nn.Module, ABC):
    """A loss that is a sum over the pseudo segments of a batch, divided by a number.

    Subclasses implement :meth:`total`. Nothing loops over segments, images or classes.
    In fp32 under autocast; 0, attached to the logits, where there is no segment.
    ``weight`` must be a setting of each subclass: the presets of
    :class:`RegionLosses` set it.

    Args:
        weight: Weight of the loss.

    Attributes:
        reads_match: Whether the loss reads which query a segment has; queries are
            matched only if some loss does.
        reads_target_features: Whether the loss reads the features of the teacher.
    """

    reads_match = True
    reads_target_features = False

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        check_numbers(weight=weight)
        self.weight = weight

    def forward(
        self, regions: Regions, divisor: 'Tensor | float | None' = None
    ) -> Tensor:
        """Weighted loss, a scalar.

        Args:
            divisor: Number that the sum is divided by; None: the number of pseudo
                segments of the batch, at least 1.
        """
        if divisor is None:
            divisor = regions.segments.exists.sum().clamp(min=1)
        with torch.autocast(regions.mask_logits.device.type, enabled=False):
            return self.weight * (self.total(regions) / divisor)

    @abstractmethod
    def total(self, regions: Regions) -> Tensor:
        """Sum over the segments of all images."""
