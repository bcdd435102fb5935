"""What ESL's teacher sees of a batch, and the object parts in it."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...functional import PseudoLabel, at_cells, valid_labels
from ..data_preprocessor import Batch


class PartView(NamedTuple):
    """A batch of images, as the teacher sees it.

    Args:
        features: Features (N, D, h, w) that embeddings are made of, and features
            (N, D', h', w') that are grouped into parts.
        label: Class (N, H, W) int64 of each pixel, by its label or by the teacher; -1
            where it has none.
        confidence: Confidence (N, H, W) of the teacher in that class; None for labeled
            images.
    """

    features: tuple[Tensor, Tensor]
    label: Tensor
    confidence: Tensor | None = None

    @classmethod
    def of_labels(
        cls, model, features: tuple[Tensor, Tensor] | None, labeled: Batch
    ) -> 'PartView':
        label = valid_labels(labeled.labels, model.num_classes, model.ignore_index)
        return cls(features, label)

    @classmethod
    def of_pseudo(
        cls, model, features: tuple[Tensor, Tensor], pseudo: PseudoLabel
    ) -> 'PartView':
        label = valid_labels(pseudo.label, model.num_classes, model.ignore_index)
        return cls(features, label.where(pseudo.valid, -1), pseudo.confidence)

    def trusted(self, threshold: float) -> Tensor:
        """Mask (N, H, W) of labeled pixels, and of unlabeled ones at the threshold."""
        if self.confidence is None:
            return torch.ones_like(self.label, dtype=torch.bool)
        return self.confidence >= threshold


class Parts(NamedTuple):
    """Object parts of the images of a step.

    Args:
        maps: Part c * K + k (N, h, w) int64 of each cell, -1 where it has none; one map
            for each view.
        means: Mean embeddings (n, D), of unit length, of the parts of each image.
        group: Part (n,) int64 of each mean, -1 where the image has no such part.
    """

    maps: list[Tensor]
    means: Tensor
    group: Tensor

    def mixed(self, source: Tensor) -> 'Parts':
        """The last map mixed as the images were.

        Args:
            source: Number (N, H, W) of the image that each pixel was taken from.
        """
        *others, last = self.maps
        source = at_cells(source, last.shape[1:])
        return self._replace(maps=[*others, last.gather(0, source)])
