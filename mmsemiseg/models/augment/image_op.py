"""Random operations that change each image by itself."""

from abc import abstractmethod

import torch
from torch import Tensor

from .base import AugmentContext, BatchOp


class ImageOp(BatchOp):
    """Random operation on single images; only those that are drawn are computed.

    A subclass implements :meth:`apply`.
    """

    def __call__(
        self, images: Tensor, maps: dict[str, Tensor], context: AugmentContext
    ) -> tuple[Tensor, dict[str, Tensor]]:
        drawn = self.drawn(len(images))
        if not drawn.any():
            return images, maps
        index = drawn.nonzero()[:, 0].to(images.device, non_blocking=True)
        part = {name: value[index] for name, value in maps.items()}
        changed, part = self.apply(images[index], part, context)
        return images.index_copy(0, index, changed), {
            name: value.index_copy(0, index, part[name]) for name, value in maps.items()
        }

    @abstractmethod
    def apply(
        self, images: Tensor, maps: dict[str, Tensor], context: AugmentContext
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Changed images (n, C, H, W) and maps (n, H, W) of those that are drawn."""


class PixelOp(ImageOp):
    """Random operation on the values of pixels: geometry, maps and padding stay.

    A subclass implements :meth:`change`.
    """

    def __call__(
        self, images: Tensor, maps: dict[str, Tensor], context: AugmentContext
    ) -> tuple[Tensor, dict[str, Tensor]]:
        images, _ = super().__call__(images, dict(valid=maps['valid']), context)
        return images, maps

    def apply(
        self, images: Tensor, maps: dict[str, Tensor], context: AugmentContext
    ) -> tuple[Tensor, dict[str, Tensor]]:
        changed = self.change(images, context)
        return torch.where(maps['valid'][:, None], changed, images), maps

    @abstractmethod
    def change(self, images: Tensor, context: AugmentContext) -> Tensor:
        """Changed images (n, C, H, W); their valid pixels are taken."""
