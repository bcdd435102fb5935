"""The high- and the low-level contrastive loss of CTT."""

from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import (
    class_shares,
    group_logsumexp,
    info_nce,
    multi_positive_info_nce,
    paired_logit,
    take_rows,
    valid_indices,
)
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_numbers

NORMS = ('all', 'masked')


class Anchors(NamedTuple):
    """Features of A cells of one student, with label and confidence."""

    features: Tensor  # (A, D)
    label: Tensor  # (A,) int64 class, -1: no anchor
    confidence: Tensor  # (A,)


class Keys(NamedTuple):
    """Keys of a bank: C queues of N features each, without gradient."""

    features: Tensor  # (C, N, D)
    filled: Tensor  # (C, N) bool
    ready: Tensor | None = None  # (C,) bool, classes that are contrasted; None: all

    def flat(self) -> tuple[Tensor, Tensor]:
        """All keys (C * N, D) and their label (C * N,), -1 where there is no key."""
        classes = torch.arange(len(self.features), device=self.filled.device)
        label = torch.where(self.filled, classes[:, None], -1)
        return self.features.flatten(0, 1), label.flatten()


def ready_together(banks: list[Keys]) -> list[Keys]:
    """Banks that are ready only for the classes that all of them are ready for."""
    ready = torch.stack([bank.ready for bank in banks]).all(0)
    return [bank._replace(ready=ready) for bank in banks]


@MODELS.register_module()
class PeerContrastLoss(nn.Module):
    r"""Contrast of confident cells with a bank, of others with a more confident peer.

    An anchor i is a cell of a student, with feature z_i, class c and confidence p_i.
    Z_c are the anchors of class c, Q_c the keys k of that class in the bank, and
    :math:`n_i = \log \sum_k e^{z_i \cdot k / \tau}` over the keys k of other classes.

    High level, for the anchors with :math:`p_i > \phi`:

    .. math:: L_{hc} = \frac1C \sum_c \frac{1}{|Z_c|}
              \sum_{i \in Z_c,\, p_i > \phi} \frac{1}{|Q_c|} \sum_{k \in Q_c}
              \mathrm{softplus}(n_i - z_i \cdot k / \tau)

    Low level, for the others: the positive is the feature :math:`z_i'` of the same cell
    of another student, the peer, if its confidence :math:`p_i'` is greater. The sum in
    :math:`n_i` is over the keys of several banks.

    .. math:: L_{lc} = \frac1C \sum_c \frac{1}{|Z_c|}
              \sum_{i \in Z_c,\, p_i \le \phi} [p_i < p_i'] \,
              \mathrm{softplus}(n_i - z_i \cdot z_i' / \tau)

    Xiao et al., Neurocomputing 2022, equations 6 to 9. The gradient reaches the anchors
    alone.

    Args:
        num_classes: Number of classes C.
        temperature: Temperature tau > 0.
        threshold: Confidence phi in [0, 1] above which a cell is at the high level.
        direction: Whether a cell at the low level learns only from a more confident
            peer; False: from any peer, without the bracket [p_i < p_i'].
        norm: Divisor |Z_c|: the number of ``'all'`` anchors of the class, or of the
            ``'masked'`` ones, those that the level contrasts.
    """

    def __init__(
        self,
        num_classes: int,
        temperature: float = 0.5,
        threshold: float = 0.75,
        direction: bool = True,
        norm: str = 'all',
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f'temperature must be > 0, but got {temperature}')
        check_numbers(1, threshold=threshold)
        check_choices(norm=(norm, NORMS))
        self.num_classes = num_classes
        self.temperature = temperature
        self.threshold = threshold
        self.direction = direction
        self.norm = norm

    @stage('contrast loss, high level')
    def high_level(self, anchors: Anchors, bank: Keys) -> Tensor:
        """Loss of the confident anchors, a scalar; 0 if there is nothing to compare."""
        anchors = _of_ready(anchors, [bank])
        active = (anchors.confidence > self.threshold) & (anchors.label >= 0)
        places = valid_indices(active)
        features = take_rows(anchors.features, places)
        label = take_rows(_acting(anchors.label, active), places)
        terms = multi_positive_info_nce(
            features, label, bank.features, bank.filled, self.temperature
        )
        return self._mean(terms, places, anchors, active)

    @stage('contrast loss, low level')
    def low_level(
        self,
        anchors: Anchors,
        peer: Anchors,
        banks: list[Keys],
        excluded_label: Tensor | None = None,
    ) -> Tensor:
        """Loss of the other anchors, a scalar; 0 if there is nothing to compare.

        Args:
            anchors: Cells of a student.
            peer: Positives: the same cells of another student.
            banks: Banks whose keys are the negatives.
            excluded_label: Class (A,) whose keys are no negatives of an anchor, -1: all
                keys are negatives; None: the class of the anchor itself.
        """
        anchors = _of_ready(anchors, banks)
        active = (anchors.confidence <= self.threshold) & (anchors.label >= 0)
        if self.direction:
            active &= anchors.confidence < peer.confidence
        places = valid_indices(active)
        features = take_rows(anchors.features, places)
        label = anchors.label if excluded_label is None else excluded_label
        label = take_rows(_acting(label, active), places)
        negatives = self._negatives(features, label, banks)
        others = take_rows(peer.features.detach(), places)
        terms = info_nce(negatives, paired_logit(features, others, self.temperature))
        return self._mean(terms, places, anchors, active)

    def _negatives(self, features: Tensor, label: Tensor, banks: list[Keys]) -> Tensor:
        rows, labels = zip(*(bank.flat() for bank in banks), strict=True)
        return group_logsumexp(
            features,
            torch.cat(rows).detach(),
            label,
            torch.cat(labels),
            self.num_classes,
            self.temperature,
        )

    def _mean(self, terms: Tensor, places, anchors: Anchors, active: Tensor) -> Tensor:
        """Mean over the classes and Z_c of the terms, which are of ``places``."""
        counted = (
            anchors.label if self.norm == 'all' else _acting(anchors.label, active)
        )
        share = class_shares(counted, self.num_classes, terms.dtype)
        return (terms * take_rows(torch.where(active, share, 0), places)).sum()


def _of_ready(anchors: Anchors, banks: list[Keys]) -> Anchors:
    """Set the label of an anchor to -1 where some bank is not ready for it."""
    label = anchors.label
    for bank in banks:
        if bank.ready is not None:
            label = _acting(label, bank.ready[anchors.label.clamp(min=0)])
    return anchors._replace(label=label)


def _acting(label: Tensor, active: Tensor) -> Tensor:
    """Label (A,) of the active anchors, -1 for the others."""
    return torch.where(active, label, -1)
