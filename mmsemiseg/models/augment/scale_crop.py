"""Scaling, then a crop or padding to the size before."""

import torch
from mmseg.registry import MODELS

from ...functional.augment import scale_crop
from ...utils.settings import check_ranges
from .image_op import ImageOp


@MODELS.register_module()
class BatchScaleCrop(ImageOp):
    """Scales an image and keeps its size (H, W).

    A larger image is cropped at a random place; a smaller one lies whole at a random
    place, and the rest is padding.

    Args:
        prob: Probability that an image is scaled.
        scale: Least and greatest factor; it is drawn uniformly.
        per: Unit of the draws: ``'image'``, or ``'batch'``, where all images share the
            factor and the place too.
    """

    def __init__(
        self,
        prob: float,
        scale: tuple[float, float] = (0.75, 1.75),
        per: str = 'image',
    ) -> None:
        super().__init__(prob, per)
        check_ranges(scale=scale)
        self.scale = tuple(scale)

    def apply(self, images, maps, context):
        factor, *place = self.rand(3, len(images))
        low, high = self.scale
        factor = low + (high - low) * factor
        return scale_crop(images, maps, context.fills, factor, torch.stack(place))
