"""Which of several networks labels for which student."""

import torch
from torch import Tensor

from ..functional import PseudoLabel

TEACHING = ('cross', 'own', 'dual', 'ensemble')


def teacher_labels(teaching: str, logits: list[Tensor], valid: Tensor, make) -> list:
    """Pseudo labels by each of n networks; those of an ensemble are all the same.

    Args:
        teaching: Kind of teaching.
        logits: Logits (N, C, H, W) of each network, at the size of the labels.
        valid: Validity map (N, H, W).
        make: Part that makes pseudo labels: ``(logits, valid) -> PseudoLabel``.
    """
    if teaching != 'ensemble':
        return [make(one, valid) for one in logits]
    mean = torch.stack([one.softmax(1) for one in logits]).mean(0)
    return [make(mean.log(), valid)] * len(logits)


def targets_of(teaching: str, pseudo: list, index: int) -> list:
    """The pseudo labels that student ``index`` learns, of those by each network.

    >>> [targets_of(kind, ['a', 'b', 'c'], 1) for kind in ('cross', 'own', 'ensemble')]
    [['a', 'c'], ['b'], ['a']]
    """
    if teaching == 'ensemble' or len(pseudo) == 1:
        return pseudo[:1]
    if teaching == 'dual':
        return pseudo
    if teaching == 'own':
        return pseudo[index : index + 1]
    return pseudo[:index] + pseudo[index + 1 :]


def no_labels(valid: Tensor) -> PseudoLabel:
    """In place of pseudo labels (N, H, W) where only their validity map is read."""
    return PseudoLabel(torch.where(valid, 0, 255), valid.float(), valid)
