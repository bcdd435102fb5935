"""Soft labels of the dominant classes of a pixel."""

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
    if not on_cpu(rows):  # elsewhere a smaller sort would wait for the device
        return _shaped(_dominant(rows, ties, top_p=top_p), probs)
    top, label = rows.max(1, keepdim=True)
    found = torch.zeros_like(rows).scatter_(1, label, 1.0)
    soft = ((top < top_p) | (rows == top).sum(1, keepdim=True).gt(1))[:, 0]
    soft = soft.nonzero()[:, 0]
    found[soft] = _dominant(rows[soft], ties, top_p=top_p)
    return _shaped(found, probs)


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
    return _shaped(_dominant(_rows(probs), ties, top_k=top_k), probs)


def _dominant(
    rows: Tensor, ties: str, top_p: float | None = None, top_k: int | None = None
) -> Tensor:
    """Rows (n, C) -> the same with their dominant classes alone, which sum to 1."""
    ordered, index = rows.sort(dim=1, descending=True, stable=True)
    if top_k is None:
        number = _below(ordered[:, :-1], top_p).sum(1, keepdim=True) + 1
    else:
        number = index.new_full((1, 1), top_k).expand(len(rows), 1)
    if ties == 'all':
        kept = rows >= ordered.gather(1, number - 1)
    else:
        ranks = torch.arange(rows.shape[1], device=rows.device)
        kept = torch.zeros_like(rows, dtype=torch.bool)
        kept.scatter_(1, index, ranks < number)
    rows = torch.where(kept, rows, 0)
    return rows / rows.sum(1, keepdim=True)


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


def _shaped(rows: Tensor, like: Tensor) -> Tensor:
    """(n, C) -> (N, C, ...)."""
    return rows.view(like.movedim(1, -1).shape).movedim(-1, 1).contiguous()


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
