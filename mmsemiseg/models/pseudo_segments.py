"""Pseudo segments from the queries of a teacher: registered parts."""

from abc import ABC, abstractmethod

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..functional import (
    Segments,
    nearest_map,
    query_claims,
    score_logits,
    segments_of_map,
    semantic_scores,
)
from ..utils.profiling import stage
from ..utils.settings import check_integers, check_numbers
from .segment_map import SegmentMap


class PseudoSegments(ABC):
    """Divides images into disjoint segments with a class each.

    A subclass implements :meth:`number`. A call gives maps, which can be mixed;
    :meth:`cut` makes segments of them.

    Args:
        min_area: Least number of pixels of a segment, at the resolution of the masks.
        threshold: Least confidence of a pixel that counts, in [0, 1]; None: all valid
            pixels count.
    """

    def __init__(self, min_area: int = 16, threshold: float | None = None) -> None:
        check_integers(1, min_area=min_area)
        check_numbers(1, threshold=0 if threshold is None else threshold)
        self.min_area = min_area
        self.threshold = threshold

    @stage('pseudo labels')
    @torch.no_grad()
    def __call__(
        self, class_logits: Tensor, mask_logits: Tensor, valid: Tensor
    ) -> SegmentMap:
        """Map of the segments at the resolution of the masks.

        Args:
            class_logits: Class logits (N, Q, C + 1) of the teacher's queries.
            mask_logits: Mask logits (N, Q, h, w) of the teacher's queries.
            valid: Validity map (N, H, W) bool of any size.
        """
        valid = nearest_map(valid, mask_logits.shape[2:])
        number, classes, confidence = self.number(class_logits, mask_logits)
        number = torch.where(valid, number, -1)
        return SegmentMap(number, confidence, valid, classes)

    @abstractmethod
    def number(
        self, class_logits: Tensor, mask_logits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Number (N, h, w) of each pixel's segment, classes (M,), confidence."""

    @stage('pseudo labels')
    def cut(self, segment_map: SegmentMap) -> tuple[Segments, Tensor]:
        """Segments of a map, a mixed one perhaps, and the pixels (N, h, w) that count.

        Pixels that count but are in no segment are outside of all of them.
        """
        counts = segment_map.valid
        if self.threshold is not None:
            counts = counts & (segment_map.confidence >= self.threshold)
        number = torch.where(counts, segment_map.number, -1)
        return segments_of_map(number, segment_map.classes, self.min_area), counts

    @property
    def filters(self) -> dict[str, float]:
        """Settings that keep pixels out of segments, with their values."""
        found = dict(min_area=self.min_area) if self.min_area > 1 else {}
        if self.threshold is not None:
            found['threshold'] = self.threshold
        return found

    def __repr__(self) -> str:
        settings = f'min_area={self.min_area}, threshold={self.threshold}'
        return f'{type(self).__name__}({settings})'


@MODELS.register_module()
class SemanticSegments(PseudoSegments):
    r"""One segment for each class of the teacher's label map.

    The label of a pixel is the class with the greatest :math:`\sum_q p_q(c)\,
    \sigma(m_q)`; after mixing, pixels of one class are one segment, whichever image
    they are from.
    """

    def number(self, class_logits, mask_logits):
        logits = score_logits(semantic_scores(class_logits, mask_logits))
        confidence, label = logits.softmax(1).max(1)
        classes = torch.arange(logits.shape[1], device=logits.device)
        return label, classes, confidence


@MODELS.register_module()
class QuerySegments(PseudoSegments):
    """One segment for each query, several of which may have one class.

    A pixel belongs to the query with the greatest product of class probability and
    mask, among those that are not "no object"; the product is its confidence.
    """

    def number(self, class_logits, mask_logits):
        query, label, confidence = query_claims(class_logits, mask_logits)
        n, queries = label.shape
        first = queries * torch.arange(n, device=query.device).view(-1, 1, 1)
        number = torch.where(query < 0, -1, query + first)
        return number, label.flatten(), confidence
