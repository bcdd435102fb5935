"""CutMix and ClassMix on batches: masks, and one mask for all tensors.

Random numbers are drawn on the CPU, from ``generator`` or torch's default
one, and moved to the device: a seed gives the same masks on every device.
"""

from typing import Any

import torch
from torch import Generator, Tensor


def partners(
    n: int, device: torch.device | None = None, generator: Generator | None = None
) -> Tensor:
    """Draw for each of n images another one, by a random cyclic shift.

    Returns:
        (n,) int64, a permutation that maps no image to itself.

    Raises:
        ValueError: When n < 2: an image is never mixed with itself.

    >>> partners(2).tolist()
    [1, 0]
    """
    if n < 2:
        raise ValueError(
            'mixing needs at least 2 images per batch and '
            f'process, but got {n}: raise batch_size of the '
            'unlabeled stream'
        )
    shift = torch.randint(1, n, (1,), generator=generator)
    partner = (torch.arange(n) + shift) % n
    return partner.to(device, non_blocking=True)


def cutmix_masks(
    n: int,
    height: int,
    width: int,
    area: tuple[float, float] = (0.5, 0.5),
    aspect: tuple[float, float] = (0.5, 2.0),
    device: torch.device | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Draw one box per image; True inside the box.

    The share of the area is uniform in ``area``, the ratio of height to width
    (in pixels) log-uniform in ``aspect``, the place uniform among those
    inside the image. Where no box of that share and ratio fits into the image,
    the ratio is changed. The share is exact up to half a row or column.

    Returns:
        (n, 1, height, width) bool.

    Raises:
        ValueError: For ranges that are not 0 < low <= high (area: <= 1).
    """
    for name, (low, high) in dict(area=area, aspect=aspect).items():
        if not 0 < low <= high or (name == 'area' and high > 1):
            rule = '0 < low <= high' + ' <= 1' * (name == 'area')
            raise ValueError(
                f'{name} must be (low, high) with {rule}, but got {(low, high)}'
            )
    share, ratio, y, x = torch.rand(4, n, generator=generator, dtype=torch.float64)
    pixels = (area[0] + share * (area[1] - area[0])) * height * width
    low, high = torch.tensor(aspect, dtype=torch.float64).log()
    ratio = (low + ratio * (high - low)).exp()
    rows = (pixels * ratio).sqrt().maximum(pixels / width)
    rows = rows.round().clamp(1, height)
    cols = (pixels / rows).round().clamp(1, width)
    top = (y * (height - rows + 1)).floor()
    left = (x * (width - cols + 1)).floor()
    box = torch.stack([top, top + rows, left, left + cols]).long()
    box = box.to(device, non_blocking=True).view(4, n, 1, 1, 1)
    h = torch.arange(height, device=device).view(-1, 1)
    w = torch.arange(width, device=device)
    return (h >= box[0]) & (h < box[1]) & (w >= box[2]) & (w < box[3])


def classmix_masks(
    label: Tensor,
    num_classes: int,
    ignore_index: int = 255,
    extra: int = 0,
    generator: Generator | None = None,
) -> Tensor:
    """Choose floor(k / 2) + extra of the k classes of each image that is pasted.

    Args:
        label: Labels (N, H, W) of the donors, ``label[partner]``.
        num_classes: Number of classes C. Pixels whose label is ``ignore_index`` or
            outside of 0 to C - 1 are never chosen and count as no class.
        ignore_index: Label of pixels without a label.
        extra: Number of classes beyond half of them, 0 (ClassMix) or 1; never more than
            the k classes are chosen.

    Returns:
        (N, 1, H, W) bool, True on the pixels of the chosen classes.
    """
    if extra not in (0, 1):
        raise ValueError(f'extra must be 0 or 1, but got {extra}')
    n = len(label)
    known = (label >= 0) & (label < num_classes) & (label != ignore_index)
    index = label.long().masked_fill(~known, num_classes).view(n, -1)
    present = torch.zeros(n, num_classes + 1, dtype=torch.bool, device=label.device)
    present = present.scatter(1, index, True)
    present[:, num_classes] = False
    scores = torch.rand(n, num_classes + 1, generator=generator)
    scores = scores.to(label.device, non_blocking=True)
    rank = scores.masked_fill(~present, 2.0).argsort(1).argsort(1)
    number = present.sum(1, keepdim=True) // 2 + extra
    chosen = present & (rank < number)
    return chosen.gather(1, index).view(n, 1, *label.shape[1:])


def mix(mask: Tensor, partner: Tensor, *values: Any) -> Any:
    """Paste the partner's pixels: out = where(mask, value[partner], value).

    One mask serves images (N, C, H, W), labels, confidences and validity
    (N, H, W), of any type; a pasted pixel so brings its own validity. None
    stays None; a dict, list or (named) tuple is mixed item by item.

    Args:
        mask: Mask (N, 1, H, W) bool, True where the partner's pixel is taken.
        partner: Index (N,) of each image's donor.
        values: Images, maps, or containers of them that are mixed.

    Returns:
        The mixed value for one value, else the tuple of mixed values.

    >>> mask = torch.tensor([True, False]).view(1, 1, 1, 2).expand(2, 1, 1, 2)
    >>> label = torch.tensor([[[1, 2]], [[3, 4]]])
    >>> mix(mask, torch.tensor([1, 0]), label).tolist()
    [[[3, 2]], [[1, 4]]]
    """
    mixed = tuple(_mix(mask, partner, value) for value in values)
    return mixed[0] if len(mixed) == 1 else mixed


def image_numbers(label: Tensor) -> Tensor:
    """Number of the image at each place of maps (N, H, W).

    Mixed as the images are, it says which image a pixel is from.

    >>> image_numbers(torch.zeros(2, 1, 3)).tolist()
    [[[0, 0, 0]], [[1, 1, 1]]]
    """
    numbers = torch.arange(len(label), device=label.device)
    return numbers[:, None, None].expand(label.shape)


def _mix(mask: Tensor, partner: Tensor, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, Tensor):
        shape = (len(mask), *mask.shape[2:])
        if (len(value), *value.shape[-2:]) != shape or value.dim() > 4:
            raise ValueError(
                f'a mask for (N, H, W) = {shape} cannot mix {tuple(value.shape)}'
            )
        mask = mask if value.dim() == 4 else mask[:, 0]
        return torch.where(mask, value[partner], value)
    if isinstance(value, dict):
        return {key: _mix(mask, partner, v) for key, v in value.items()}
    if hasattr(value, '_fields'):
        return type(value)(*(_mix(mask, partner, v) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_mix(mask, partner, v) for v in value)
    raise ValueError(
        'mix takes tensors, None, and dicts, lists and tuples '
        f'of them, but got {type(value).__name__}'
    )
