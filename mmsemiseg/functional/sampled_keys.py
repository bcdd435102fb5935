"""Random positives and negatives from the queues of a bank, as numbers of its places.

Random numbers are drawn on the CPU, from ``generator`` or torch's default one. No
function waits for the device, so shapes do not depend on how full the queues are.
"""

import torch
from torch import Generator, Tensor


def draw_positives(
    filled: Tensor, group: Tensor, generator: Generator | None = None
) -> Tensor:
    """Draw a key from the queue of each anchor's own group.

    Args:
        filled: Mask (G, q) bool, True where there is a key; each queue is filled from
            its first place on.
        group: Group (A,) int64 of each anchor; those outside of 0 to G - 1 have none.
        generator: Random generator on the CPU.

    Returns:
        Place g * q + i (A,) int64 of the key; -1 where the queue is empty.

    >>> filled = torch.tensor([[True, False], [False, False]])
    >>> draw_positives(filled, torch.tensor([0, 1, -1])).tolist()
    [0, -1, -1]
    """
    groups, size = filled.shape
    known = (group >= 0) & (group < groups)
    own = group.where(known, 0)
    count = filled.sum(1)[own]
    place = own * size + _below(count, _random(len(group), group, generator))
    return place.where(known & (count > 0), -1)


def draw_shared_negatives(
    filled: Tensor,
    number: int,
    queues_left_out: int = 1,
    generator: Generator | None = None,
) -> Tensor:
    """Draw keys for each group from the queues of other groups, for all its anchors.

    Keys are drawn without replacement. If there are fewer than ``number``, all are
    taken, and repeated in turn: each is drawn equally often, or once more than others.

    Args:
        filled: Mask (G, q) bool, True where there is a key; each queue is filled from
            its first place on.
        number: Number n of keys that are drawn for a group.
        queues_left_out: Number of queues that are left out together: 1 leaves out the
            queue of the group itself, K those of all K parts of its class.
        generator: Random generator on the CPU.

    Returns:
        Places (G, n) int64; -1 where no other queue has a key.

    >>> filled = torch.tensor([[True, True], [True, False], [False, False]])
    >>> draw_shared_negatives(filled, 2)[0].tolist()
    [2, 2]
    """
    groups, size = filled.shape
    block = queues_left_out * size
    there = filled.flatten()
    # One random order of the keys, read by each group from another place on
    order = _random(groups * size, filled, generator).masked_fill(~there, 2).argsort()
    total = there.sum().clamp(min=1)
    start = _below(total, _random(groups, filled, generator))
    length = min(number + block, groups * size)
    steps = torch.arange(length, device=filled.device)
    places = order[(start[:, None] + steps) % total]
    block_of = torch.arange(groups, device=filled.device)[:, None] // queues_left_out
    others = (places // block != block_of) & there[places] & (steps < total)
    found = others.byte().sort(dim=1, stable=True, descending=True).indices
    count = others.sum(1, keepdim=True)
    turn = torch.arange(number, device=filled.device) % count.clamp(min=1)
    places = places.gather(1, found.gather(1, turn.clamp(max=length - 1)))
    return places.where(count > 0, -1)


def draw_own_negatives(
    filled: Tensor,
    group: Tensor,
    number: int,
    queues_left_out: int = 1,
    generator: Generator | None = None,
) -> Tensor:
    """Draw keys for each anchor alone from the queues of other groups.

    Keys are drawn with replacement; if the bank is far larger than ``number``, few keys
    come twice.

    Args:
        filled, number, queues_left_out, generator: See :func:`draw_shared_negatives`.
        group: Group (A,) int64 of each anchor; those outside of 0 to G - 1 have none.

    Returns:
        Places (A, n) int64; -1 where there is no key.
    """
    groups, size = filled.shape
    known = (group >= 0) & (group < groups)
    block = group.where(known, 0) // queues_left_out
    count = filled.view(-1, queues_left_out * size).sum(1)
    first = (count.cumsum(0) - count)[block, None]  # own keys, among those that exist
    own = count[block, None]
    others = count.sum() - own
    numbers = _random(len(group) * number, group, generator).view(-1, number)
    drawn = _below(others, numbers)
    drawn = drawn + torch.where(drawn >= first, own, 0)
    order = filled.flatten().byte().sort(stable=True, descending=True).indices
    places = order[drawn.clamp(max=groups * size - 1)]
    return places.where(known[:, None] & (others > 0), -1)


def _random(n: int, like: Tensor, generator: Generator | None) -> Tensor:
    """(n,) float64 in [0, 1) on the device of ``like``."""
    numbers = torch.rand(n, generator=generator, dtype=torch.float64)
    return numbers.to(like.device, non_blocking=True)


def _below(count: Tensor, numbers: Tensor) -> Tensor:
    """Integers below ``count``, of numbers in [0, 1); 0 where it is 0."""
    return torch.minimum((numbers * count).long(), count - 1).clamp(min=0)
