"""Random change of the colours."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional.augment import color_jitter
from ...utils.settings import check_numbers
from .base import AugmentContext
from .image_op import PixelOp
from .kornia_needed import require_kornia

COLORS = ('brightness', 'contrast', 'saturation', 'hue')


@MODELS.register_module()
class BatchColorJitter(PixelOp):
    """Changes brightness, contrast, saturation and hue of RGB images in [0, 1].

    Values are clamped to [0, 1]. The changes come in an order that is drawn once per
    call (kornia's ``ColorJiggle``); their strengths are always drawn for each image.
    The normalisation of the preprocessor is undone for them. Needs kornia.

    Args:
        prob: Probability that the colours of an image change.
        brightness: Largest amount x in [0, 1] that is added or taken away, uniform in
            [-x, x].
        contrast: Largest change x in [0, 1] of the factor of the contrast, uniform in
            [1 - x, 1 + x].
        saturation: Largest change x in [0, 1] of the factor of the saturation in HSV,
            uniform in [1 - x, 1 + x].
        hue: Largest turn x of the hue in turns of the colour circle, uniform in [-x,
            x], x in [0, 0.5].
        per: Unit of the draw of the images: ``'image'`` or ``'batch'``.
    """

    bands = 3

    def __init__(
        self,
        prob: float,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        per: str = 'image',
    ) -> None:
        super().__init__(prob, per)
        self.strengths = dict(
            zip(COLORS, (brightness, contrast, saturation, hue), strict=True)
        )
        check_numbers(1, **self.strengths)
        check_numbers(0.5, hue=hue)
        if prob > 0:
            if not any(self.strengths.values()):
                raise ValueError(
                    f'prob above 0 needs one of {COLORS} above 0, but all are 0'
                )
            require_kornia(type(self).__name__)

    def change(self, images: Tensor, context: AugmentContext) -> Tensor:
        self.check_bands(images.shape[1])
        drawn = 2 * torch.rand(len(COLORS), len(images)) - 1
        order = [COLORS[i] for i in torch.randperm(len(COLORS)).tolist()]
        changes = {
            name: self.strengths[name] * drawn[COLORS.index(name)]
            for name in order
            if self.strengths[name] > 0
        }
        images = color_jitter(_to_rgb(images, context.preprocessor), changes)
        return _from_rgb(images, context.preprocessor)


def _to_rgb(images: Tensor, preprocessor) -> Tensor:
    """Normalised images -> RGB in [0, 1]; files are loaded as BGR in 0 to 255."""
    if preprocessor._enable_normalize:
        images = images * preprocessor.std + preprocessor.mean
    images = (images / 255).clamp(0, 1)
    return images if preprocessor.swaps_channels else images.flip(1)


def _from_rgb(images: Tensor, preprocessor) -> Tensor:
    images = images if preprocessor.swaps_channels else images.flip(1)
    images = images * 255
    if preprocessor._enable_normalize:
        images = (images - preprocessor.mean) / preprocessor.std
    return images
