"""Gaussian blur."""

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional.augment import gaussian_blur
from ...utils.settings import check_ranges
from .base import AugmentContext
from .image_op import PixelOp
from .kornia_needed import require_kornia


@MODELS.register_module()
class BatchBlur(PixelOp):
    """Blurs an image by a Gaussian. Needs kornia.

    Args:
        prob: Probability that an image is blurred.
        sigma: Least and greatest standard deviation in pixels, the same for both axes.
            It is always drawn for each image.
        axis_sigmas: Fixed ``(sigma_y, sigma_x)`` of every blur, as in CMB's published
            code, instead of ``sigma``; None: not used.
        kernel: Odd side of the kernel in pixels; a smaller image has a smaller one.
        per: Unit of the draw of the images: ``'image'`` or ``'batch'``.
    """

    def __init__(
        self,
        prob: float,
        sigma: tuple[float, float] = (0.1, 1.5),
        axis_sigmas: tuple[float, float] | None = None,
        kernel: int = 23,
        per: str = 'image',
    ) -> None:
        super().__init__(prob, per)
        check_ranges(sigma=sigma)
        if axis_sigmas is not None and (
            len(axis_sigmas) != 2 or not min(axis_sigmas) > 0
        ):
            raise ValueError(
                'axis_sigmas must be two numbers > 0 (vertical, horizontal) or None, '
                f'but got {axis_sigmas}'
            )
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f'kernel must be odd and > 0, but got {kernel}')
        if prob > 0:
            require_kornia(type(self).__name__)
        self.sigma = tuple(sigma)
        self.axis_sigmas = axis_sigmas and tuple(axis_sigmas)
        self.kernel = kernel

    def change(self, images: Tensor, context: AugmentContext) -> Tensor:
        n = len(images)
        if self.axis_sigmas is None:
            low, high = self.sigma
            sigmas = (low + (high - low) * torch.rand(n)).expand(2, n)
        else:
            sigmas = torch.tensor(self.axis_sigmas)[:, None].expand(2, n)
        return gaussian_blur(images, sigmas, self.kernel)
