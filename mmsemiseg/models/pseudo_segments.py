"""Pseudo segments from the queries of a teacher: registered parts."""

from abc import ABC, abstractmethod

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ..functional import (
    PseudoLabel,
    Segments,
    keep_mask,
    query_claims,
    score_logits,
    segments_of_map,
    semantic_scores,
)
from ..utils.settings import check_integers, check_numbers


class PseudoSegments(ABC):
    """Divides images into disjoint segments with a class each.

    A subclass implements :meth:`number`. Maps of segment numbers, which can be mixed as
    labels are, come first; :meth:`cut` makes segments of them.

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

    @torch.no_grad()
    def __call__(
        self, class_logits: Tensor, mask_logits: Tensor, valid: Tensor
    ) -> tuple[PseudoLabel, Tensor]:
        """Maps (N, h, w) whose label is the number of a segment, and their classes.

        Args:
            class_logits: Class logits (N, Q, C + 1) of the teacher's queries.
            mask_logits: Mask logits (N, Q, h, w) of the teacher's queries.
            valid: Validity map (N, h, w) bool.

        Returns:
            Pseudo labels with the number of the segment of each pixel as label, -1
            where there is none; and the class (M,) of each number.
        """
        number, classes, confidence = self.number(class_logits, mask_logits)
        number = torch.where(valid, number, -1)
        return PseudoLabel(number, confidence, valid), classes

    @abstractmethod
    def number(
        self, class_logits: Tensor, mask_logits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Number (N, h, w) of each pixel's segment, classes (M,), confidence."""

    def cut(self, pseudo: PseudoLabel, classes: Tensor) -> tuple[Segments, Tensor]:
        """Segments of maps, mixed ones perhaps, and the pixels (N, h, w) that count."""
        counts = pseudo.valid
        if self.threshold is not None:
            counts = keep_mask(pseudo, self.threshold)
        number = torch.where(counts, pseudo.label, -1)
        return segments_of_map(number, classes, self.min_area), counts

    @property
    def filters(self) -> dict[str, float]:
        """The threshold if there is one."""
        return {} if self.threshold is None else dict(threshold=self.threshold)

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
