"""Anchors of ESL's contrast: some of the cells of each class."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...functional import can_drop_rows, draw_anchors, take_rows, valid_indices
from ...functional.regions import at_least_float
from ..heads.split_head import RowFunction


class PartAnchors(NamedTuple):
    """The A anchors of a step.

    Args:
        rows: Embeddings (A, D) of unit length, with gradient.
        part: Part c * K + k (A,) int64 of each anchor, -1 for rows that are none.
        scope: Set (A,) int64 of anchors over which a mean is taken, -1 for rows that
            are none: the class, or the class in an image.
        number: Number of these sets.
    """

    rows: Tensor
    part: Tensor
    scope: Tensor
    number: int


def part_anchors(
    features: Sequence[Tensor],
    end: RowFunction,
    maps: Sequence[Tensor],
    classes: int,
    parts: int,
    share: float,
    most: int | None = None,
    per_image: bool = False,
) -> PartAnchors:
    """Draw anchors among the cells that have a part.

    Args:
        features: Features (N, F, h, w) of the cells, of several batches of images.
        end: Function that makes embeddings of features, rows (n, F) -> (n, D); it sees
            the anchors alone.
        maps: Part (N, h, w) of each cell, -1 where it cannot be an anchor.
        classes: Number of classes C.
        parts: Number K of parts of a class.
        share: Share of the cells of a class that are anchors.
        most: Largest number of anchors of a class; None: no limit.
        per_image: Whether share, limit and mean are those of each image, and not of all
            images.
    """
    part = torch.cat([one.flatten() for one in maps])
    label = torch.div(part, parts, rounding_mode='floor')
    number = classes
    if per_image:
        images = sum(map(len, maps))
        image = torch.arange(images, device=part.device)
        cells = [image.new_full((len(m),), m[0].numel()) for m in maps]
        image = image.repeat_interleave(torch.cat(cells), output_size=len(part))
        label = torch.where(label < 0, -1, image * classes + label)
        number *= images
    index, scope = draw_anchors(label, number, share, most)
    places = valid_indices(scope >= 0)
    index, scope = take_rows(index, places), take_rows(scope, places)
    rows = F.normalize(at_least_float(end(_cells(features, index))), dim=1)
    return PartAnchors(rows, part[index].where(scope >= 0, -1), scope, number)


def _cells(maps: Sequence[Tensor], index: Tensor) -> Tensor:
    """Rows of the cells of all maps (N, D, h, w), numbered one map after the other.

    Where invalid rows are dropped, numbers are in ascending order.
    """
    if can_drop_rows(index):
        images = [image.flatten(1) for one in maps for image in one]
        area = [image.shape[1] for image in images]
        ends = torch.tensor(area).cumsum(0)
        counts = torch.searchsorted(index, ends).diff(prepend=ends.new_zeros(1))
        places = index.split(counts.tolist())
        starts = (ends - torch.tensor(area)).tolist()
        found = [
            image.index_select(1, place - start)
            for image, place, start in zip(images, places, starts, strict=True)
        ]
        return torch.cat(found, 1).T
    sizes = [len(one) * one[0, 0].numel() for one in maps]
    found, start = None, 0
    for one, size in zip(maps, sizes, strict=True):
        inside = (index >= start) & (index < start + size)
        place = (index - start) % size  # others spread out, for the backward pass
        area = size // len(one)
        rows = one.flatten(2).transpose(1, 2)[place // area, place % area]
        found = rows if found is None else torch.where(inside[:, None], rows, found)
        start += size
    return found
