"""Base of the random operations on a batch."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...utils.settings import check_choices, check_numbers

UNITS = ('image', 'batch')


class AugmentContext(NamedTuple):
    """What an operation is told of the batch."""

    fills: dict[str, float]  # value of each map on padding
    label: str  # name of the map of the classes
    ignore_index: int  # label of unlabeled pixels
    preprocessor: Any  # SemiDataPreProcessor that made the images


class BatchOp(ABC):
    """Random operation on a batch: images and their maps change together.

    A subclass is registered in ``MODELS`` of mmseg; then it can stand in the list of
    any :class:`BatchAugment`. It implements ``__call__``, or that of :class:`ImageOp`
    or :class:`PixelOp`. Random numbers come from torch's CPU generator: what they
    decide is known on the host, so nothing waits for the device.

    Args:
        prob: Probability that an image is changed. An image that is not comes back
            bit-equal.
        per: Unit of the draws: ``'image'``, or ``'batch'``, where all images of a call
            are changed or none.

    Attributes:
        mixes: Whether images of the batch are mixed with each other. A call of
            :class:`BatchAugment` may leave such operations out.
        bands: Number of bands that images must have; None: any.
    """

    mixes = False
    bands: int | None = None

    def __init__(self, prob: float, per: str = 'image') -> None:
        check_numbers(1, prob=prob)
        check_choices(per=(per, UNITS))
        self.prob = prob
        self.per = per

    @abstractmethod
    def __call__(
        self, images: Tensor, maps: dict[str, Tensor], context: AugmentContext
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """New images (N, C, H, W) and maps (N, H, W), of the same types and names.

        The inputs stay as they are. The bool map ``valid`` is always among the maps.
        """

    def drawn(self, n: int) -> Tensor:
        """Which of n images are changed: (n,) bool on the CPU."""
        return self.rand(n) < self.prob

    def rand(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), (..., N) on the CPU; one number for all N per batch."""
        *most, n = shape
        return torch.rand(*most, 1 if self.per == 'batch' else n).expand(*shape)

    def check_bands(self, bands: int) -> None:
        """ValueError if the operation cannot change images of so many bands."""
        if self.prob > 0 and self.bands not in (None, bands):
            raise ValueError(
                f'prob={self.prob} of {type(self).__name__} needs images of '
                f'{self.bands} bands, but they have {bands} band(s): leave the '
                'operation out, or load other images, such as three equal bands of '
                "one (color_type='color', and three means and stds)"
            )
