"""Queries of a student beside the pseudo segments that they are matched with."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .segments import Segments


@dataclass
class Regions:
    """What the losses of regions read, for a batch; P = h * w pixels of the masks.

    Args:
        class_logits: Class logits (N, Q, C + 1) of the student's queries; the last one
            is "no object".
        mask_logits: Mask logits (N, Q, h, w) of the student's queries.
        segments: Pseudo segments of the same images.
        query: Query (N, S) int64 that each segment is matched with; -1: none.
            None: not needed.
        valid: Mask (N, h, w) bool of the pixels that count.
        features: Features (N, D, h, w) of the student's pixels; None: not needed.
        target_features: Features (N, D, h, w) of the teacher's pixels; None: not
            needed.
    """

    class_logits: Tensor
    mask_logits: Tensor
    segments: Segments
    query: Tensor | None
    valid: Tensor
    features: Tensor | None = None
    target_features: Tensor | None = None

    @cached_property
    def matched(self) -> Tensor:
        """Which segments have a query, (N, S) bool."""
        return self.segments.exists & (self.query >= 0)

    @cached_property
    def inside(self) -> Tensor:
        """Valid pixels (N, 1, P), 1 or 0."""
        return self.valid.flatten(1)[:, None].to(self._dtype)

    @cached_property
    def matched_logits(self) -> Tensor:
        """Mask logits (N, S, P) of the matched queries, in fp32 at least."""
        return at_least_float(self.of_query(self.mask_logits).flatten(2))

    @cached_property
    def matched_masks(self) -> Tensor:
        """Soft masks (N, S, P) of the matched queries, 0 on pixels that do not count.

        All 0 where there is no match.
        """
        masks = self.matched_logits.sigmoid() * self.inside
        return torch.where(self.matched[..., None], masks, 0)

    @cached_property
    def targets(self) -> Tensor:
        """Masks (N, S, P) of the segments, 1 or 0."""
        masks = self.segments.masks & self.valid[:, None]
        return masks.flatten(2).to(self._dtype)

    @property
    def _dtype(self) -> torch.dtype:
        return torch.promote_types(self.mask_logits.dtype, torch.float32)

    def of_query(self, values: Tensor) -> Tensor:
        """Values (N, Q, ...) of the matched queries, (N, S, ...); any if unmatched."""
        index = self.query.clamp(min=0)
        index = index.view(*index.shape, *[1] * (values.dim() - 2))
        return values.gather(1, index.expand(-1, -1, *values.shape[2:]))


def at_least_float(x: Tensor) -> Tensor:
    """Half precision as fp32; others as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
