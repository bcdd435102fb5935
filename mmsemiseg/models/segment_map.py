"""Maps of the pseudo segments of images, which can be mixed as labels are."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..functional import PseudoLabel, image_numbers, nearest_map
from ..functional.pseudo_label import IGNORE_INDEX
from .mixing import Mixing


class SegmentMap(NamedTuple):
    """The segment that each pixel belongs to.

    Args:
        number: Number (N, h, w) int64 of the segment that a pixel belongs to, an index
            of ``classes``; -1: none.
        confidence: Confidence (N, h, w) float32 of that.
        valid: Mask (N, h, w) bool, False on padding.
        classes: Class (M,) int64 of each number.
    """

    number: Tensor
    confidence: Tensor
    valid: Tensor
    classes: Tensor

    def resized(self, size: tuple[int, int]) -> 'SegmentMap':
        """The maps at another size, each place from the nearest centre."""
        *maps, classes = self
        return SegmentMap(*(nearest_map(one, size) for one in maps), classes)

    def pseudo_label(self) -> PseudoLabel:
        """Classes of the pixels; 255 where one is not valid or in no segment."""
        known = self.valid & (self.number >= 0)
        label = self.classes[self.number.clamp(min=0)]
        label = label.masked_fill(~known, IGNORE_INDEX)
        return PseudoLabel(label, self.confidence, self.valid)

    @torch.no_grad()
    def mixed(
        self,
        images: Tensor,
        mix: Mixing | None,
        num_classes: int,
        features: Tensor | None = None,
    ) -> tuple[Tensor, 'SegmentMap', Tensor | None]:
        """Images, their maps and their features, mixed by one mask.

        The maps go up to the size of the images for that, and down again.

        Args:
            images: Images (N, 3, H, W) that the segments are of.
            mix: Component that mixes; ClassMix chooses classes of the segments. None:
                nothing is mixed.
            num_classes: Number of classes C.
            features: Features (N, D, h, w) of the same images; None: not needed.
        """
        if mix is None:
            return images, self, features
        size = self.number.shape[1:]
        *maps, classes = large = self.resized(images.shape[2:])
        label = large.pseudo_label()
        given = [label, maps, image_numbers(label.label)]
        images, (_, maps, source) = mix(images, given, num_classes)
        found = SegmentMap(*maps, classes).resized(size)
        if features is not None:
            source = nearest_map(source, size)[:, None]
            features = features.gather(0, source.expand_as(features))
        return images, found, features
