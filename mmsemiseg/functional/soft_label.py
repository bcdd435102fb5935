"""Soft labels of the dominant classes of a pixel."""

import numpy as np
import torch
from torch import Tensor

TIES = ('all', 'first')
UNIT = 2**30  # a probability of 1 as an integer


@torch.no_grad()
def dynamic_soft_label(probs: Tensor, top_p: float = 0.95, ties: str = 'all') -> Tensor:
    r"""Dynamic soft label of ESL: a pixel keeps its most probable classes.

    These are the dominant classes: as few as reach the threshold :math:`\eta` when
    their probabilities are added. With :math:`C^*` their number, and :math:`\delta` the
    smallest of their probabilities,

    .. math:: y_c = h_c \Big/ \sum_{c'} h_{c'}, \qquad h_c = p_c [p_c \ge \delta]

    where the bracket is 1 if its condition holds, and 0 otherwise. So a pixel whose
    greatest probability is at least :math:`\eta` has a hard label. For
    :math:`\eta \ge 1` all classes are kept, whatever the sum was rounded to.

    Args:
        probs: Probabilities (N, C, ...) that sum to 1 over the C classes.
        top_p: Threshold eta >= 0 that the added probabilities reach.
        ties: Which classes are kept if several have the probability delta: ``'all'`` of
            them, as the paper's equation has it, or the ``'first'`` ones, so that C*
            classes are kept.

    Returns:
        (N, C, ...), at least float32, without gradient.

    >>> probs = torch.tensor([[0.5, 0.25, 0.25, 0.0]])
    >>> dynamic_soft_label(probs, 0.75).tolist()
    [[0.5, 0.25, 0.25, 0.0]]
    >>> dynamic_soft_label(probs, 0.75, ties='first')[0, 2:].tolist()
    [0.0, 0.0]
    >>> dynamic_soft_label(probs, 0.5).tolist()
    [[1.0, 0.0, 0.0, 0.0]]
    """
    if not top_p >= 0:
        raise ValueError(f'top_p must be >= 0, but got {top_p}')
    _check(probs, ties)
    probs = _at_least_float(probs)
    if top_p >= 1:
        return probs / probs.sum(1, keepdim=True)
    rows = _rows(probs)
    if on_cpu(rows):  # elsewhere a smaller sort would wait for the device
        least, number = rows.amax(1), rows.new_ones(len(rows), dtype=torch.int64)
        soft = (least < top_p).nonzero()[:, 0]
        least[soft], number[soft] = _last_class(rows.index_select(0, soft), top_p)
    else:
        least, number = _last_class(rows, top_p)
    return _dominant(probs, least, number, ties)


@torch.no_grad()
def top_k_soft_label(probs: Tensor, top_k: int = 5, ties: str = 'all') -> Tensor:
    """Soft label of the k most probable classes; see :func:`dynamic_soft_label`.

    Args:
        probs: Probabilities (N, C, ...) over the C classes.
        top_k: Number k >= 1 of classes that are kept; 1 makes a hard label where there
            is no tie.
        ties: Which classes are kept if several are as probable as the k-th: ``'all'``
            of them, or the ``'first'`` ones, so that k classes are kept.

    >>> top_k_soft_label(torch.tensor([[0.5, 0.25, 0.125, 0.125]]), 2)[0, 1:].tolist()
    [0.333..., 0.0, 0.0]
    """
    if not isinstance(top_k, int) or top_k < 1:
        raise ValueError(f'top_k must be an integer >= 1, but got {top_k!r}')
    _check(probs, ties)
    probs = _at_least_float(probs)
    if top_k >= probs.shape[1]:
        return probs / probs.sum(1, keepdim=True)
    least = _descending(_rows(probs))[:, top_k - 1]
    return _dominant(probs, least, torch.full_like(least, top_k), ties)


def _last_class(rows: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Probability (n,) of the last dominant class of rows (n, C), and their number."""
    ordered = _descending(rows)
    below = _below(ordered[:, :-1], top_p)
    before = below.float().sum(1).long()  # faster than a sum of bool
    return ordered.gather(1, before[:, None])[:, 0], before + 1


def _dominant(probs: Tensor, least: Tensor, number: Tensor, ties: str) -> Tensor:
    """Probabilities (N, C, ...) of the dominant classes alone, which sum to 1.

    Args:
        least: Probability (n,) of the last of them at each place.
        number: Number (n,) of them if each place has no more than that.
    """
    least, number = (x.view(probs[:, :1].shape) for x in (least, number))
    if ties == 'all':
        kept = probs >= least
    else:
        above, equal = probs > least, probs == least
        left = number - above.sum(1, keepdim=True)
        kept = above | equal & (equal.cumsum(1, dtype=torch.int32) <= left)
    found = torch.where(kept, probs, 0)
    return found.div_(found.sum(1, keepdim=True))


def _descending(rows: Tensor) -> Tensor:
    """Each row in descending order."""
    if on_cpu(rows):  # NumPy, as it needs no indices, takes a fraction of the time
        return torch.from_numpy(np.sort(-rows.numpy(), axis=1)).neg_()
    return rows.sort(dim=1, descending=True).values


def _below(ordered: Tensor, top_p: float) -> Tensor:
    """Whether each class and those before it, (n, C), have less than top_p in all."""
    if on_cpu(ordered):
        return ordered.cumsum(1) < top_p
    # Integers: PyTorch sums floats there in no fixed order
    limit = int(torch.tensor(top_p, dtype=ordered.dtype).item() * UNIT)
    return (ordered * UNIT).int().cumsum(1, dtype=torch.int32) < limit


def on_cpu(rows: Tensor) -> bool:
    return rows.device.type == 'cpu'


def _rows(probs: Tensor) -> Tensor:
    """(N, C, ...) -> (n, C)."""
    return probs.movedim(1, -1).reshape(-1, probs.shape[1])


def _check(probs: Tensor, ties: str) -> None:
    if ties not in TIES:
        raise ValueError(f'ties must be in {TIES}, but got {ties!r}')
    if probs.dim() < 2 or probs.shape[1] < 1 or not probs.is_floating_point():
        raise ValueError(
            f'probs must be (N, C, ...) floats, but got {tuple(probs.shape)} '
            f'{probs.dtype}'
        )


def _at_least_float(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
