"""Rows chosen within their groups, for all groups at once and without a host sync."""

import torch
from torch import Tensor


def rank_in_group(
    group: Tensor, score: Tensor | None = None, lowest: bool = False
) -> Tensor:
    """How many rows of the same group come before each row.

    Args:
        group: Group (n,) of each row, integers of any value.
        score: Score (n,) of each row; higher ones come first. Ties, and all rows
            without a score, are in the order of the rows. NaN comes last.
        lowest: Whether lower scores come first.

    Returns:
        (n,) int64.

    >>> rank_in_group(torch.tensor([3, 7, 3, 3])).tolist()
    [0, 0, 1, 2]
    >>> rank_in_group(torch.tensor([3, 7, 3, 3]), torch.tensor([5, 0, 9, 5])).tolist()
    [1, 0, 0, 2]
    """
    rows = torch.arange(len(group), device=group.device)
    order = rows if score is None else _order(score, lowest)
    order = order[group[order].sort(stable=True).indices]
    ordered = group[order]
    start = torch.ones_like(ordered, dtype=torch.bool)
    start[1:] = ordered[1:] != ordered[:-1]
    first = torch.where(start, rows, 0).cummax(0).values
    return torch.empty_like(rows).scatter_(0, order, rows - first)


def select_per_group(
    group: Tensor,
    num_groups: int,
    per_group: int,
    score: Tensor | None = None,
    lowest: bool = False,
    best_last: bool = False,
) -> tuple[Tensor, Tensor]:
    """At most ``per_group`` rows of each group: those of the best score, or the first.

    How many there are depends on the data, their shape does not: where there are fewer,
    the end is filled with rows of group -1, which banks and losses leave out.

    Args:
        group: Group (n,) of each row, integers; rows outside of 0 to ``num_groups`` - 1
            are left out.
        num_groups: Number of groups G >= 1.
        per_group: Largest number of rows k >= 1 of a group.
        score, lowest: Score of each row and its order, see :func:`rank_in_group`.
        best_last: Whether the rows of a group are returned from its worst to its best,
            for a queue that forgets first what entered it first. A group of k rows or
            fewer, where none had to be better, is returned from its last row to its
            first.

    Returns:
        Index of the chosen rows, in the order of the rows unless ``best_last``, and
        their group, both (min(n, G * k),) int64.

    >>> group = torch.tensor([0, 1, 0, 255, 0])
    >>> index, chosen = select_per_group(group, 2, 2)
    >>> index[chosen >= 0].tolist(), chosen.tolist()
    ([0, 1, 2], [0, 1, 0, -1])
    >>> score = torch.tensor([7, 1, 5, 0, 9])
    >>> index, chosen = select_per_group(group, 2, 2, score, best_last=True)
    >>> index[chosen == 0].tolist()  # 7, then 9, which is the best
    [0, 4]
    """
    for name, value in (('num_groups', num_groups), ('per_group', per_group)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f'{name} must be an integer >= 1, but got {value}')
    _check(group, score)
    rank = rank_in_group(group, score, lowest)
    known = (group >= 0) & (group < num_groups)
    chosen = known & (rank < per_group)
    size = min(len(group), num_groups * per_group)
    index = chosen.byte().sort(stable=True, descending=True).indices[:size]
    found = group.long().masked_fill(~chosen, -1)[index]
    if best_last:
        number = rank.new_zeros(num_groups)
        number.scatter_add_(0, group.long().masked_fill(~known, 0), known.long())
        whole = number[found.clamp(min=0)] <= per_group
        rank = torch.where(whole, rank_in_group(found), rank[index])
        order = rank.masked_fill(found < 0, -1).sort(stable=True, descending=True)
        index, found = index[order.indices], found[order.indices]
    return index, found


def _order(score: Tensor, lowest: bool) -> Tensor:
    if score.is_floating_point():
        inf = torch.inf
        worst = inf if lowest else -inf
        score = score.nan_to_num(nan=worst, posinf=inf, neginf=-inf)
    return score.sort(stable=True, descending=not lowest).indices


def _check(group: Tensor, score: Tensor | None) -> None:
    if group.dim() != 1 or group.is_floating_point() or group.dtype == torch.bool:
        raise ValueError(
            f'group must be (n,) integers, but got {tuple(group.shape)} {group.dtype}'
        )
    if score is not None and score.shape != group.shape:
        raise ValueError(
            f'score must be ({len(group)},) as group, but got {tuple(score.shape)}'
        )
