"""Features of object parts: means of images, sums for the prototypes, first features.

All are of one view of the teacher. Parts are numbered c * K + k.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...functional import (
    assign_parts,
    at_cells,
    logits_at_cells,
    part_sums,
    select_per_group,
    to_rows,
)
from ...functional.regions import at_least_float
from ..heads.split_head import RowFunction
from ..memories import PartPrototypes
from .part_view import Parts, PartView

FIRST_FEATURES = 256  # of a class and view, to begin its prototypes in training


class PartRows(NamedTuple):
    """What a view has of each part.

    Args:
        part: Part (N, h, w) int64 of each cell of the embeddings, -1 where it has none.
        means: Mean embeddings (n, D) of the parts of each image, of unit length.
        group: Part (n,) int64 of each mean, -1 where the image has no such part.
        sums: Sums (C * K, D') of the features of each part, over all images.
        counts: Numbers (C * K,) of features in them.
    """

    part: Tensor
    means: Tensor
    group: Tensor
    sums: Tensor
    counts: Tensor


def part_rows(
    view: PartView,
    features: Tensor,
    end: RowFunction,
    prototypes: PartPrototypes,
    threshold: float = 0.0,
    grid: str = 'encoder',
    align_corners: bool = False,
) -> PartRows:
    """Group the cells of a view into parts.

    Args:
        features: Features (N, F, h, w) of the view in front of the projector's end.
        end: The projector's end, which is linear: rows (n, F) -> embeddings (n, D).
        threshold: Least confidence of the unlabeled pixels in means and sums.
        grid: Whether the sums are over the cells of the ``'encoder'``, or over those of
            the ``'embedding'``.
    """
    classes, parts, _ = prototypes.vectors.shape
    number, deep = classes * parts, view.features[1]
    part = part_map(view, prototypes, features.shape[2:], align_corners)
    trusted = _trusted_parts(part, view, threshold)
    means, group = image_means(features, trusted, number, end)
    if grid == 'encoder':
        cells = part_map(view, prototypes, deep.shape[2:], align_corners)
        cells = _trusted_parts(cells, view, threshold)
        sums, counts = (x.sum(0) for x in part_sums(deep, cells, number))
    else:
        sums, counts = sums_of_enlarged(view, trusted, number, align_corners)
    return PartRows(part, means, group, sums, counts)


def read_parts(
    views: Sequence[PartView],
    features: list[Tensor],
    end: RowFunction,
    prototypes: PartPrototypes,
    threshold: float,
    first_threshold: float,
    grid: str = 'encoder',
    align_corners: bool = False,
) -> tuple[Parts, dict[str, Tensor]]:
    """Parts of several views, and what of them enters queues and prototypes.

    Args:
        views: Views of the teacher.
        features, end: Features of each view in front of the projector's end, and this
            end, see :func:`part_rows`.
        threshold: Least confidence of the unlabeled pixels in means and sums.
        first_threshold: Least confidence of those that begin the prototypes of a class.
        grid: Cells that are summed for the prototypes, see :func:`part_rows`.
    """
    settings = threshold, grid, align_corners
    found = [
        part_rows(view, one, end, prototypes, *settings)
        for view, one in zip(views, features, strict=True)
    ]
    maps, means, group, sums, counts = zip(*found, strict=True)
    parts = Parts(list(maps), torch.cat(means), torch.cat(group))
    rows = dict(
        features=parts.means,
        group=parts.group,
        sums=torch.stack(sums).sum(0, keepdim=True),
        counts=torch.stack(counts).sum(0, keepdim=True),
    )
    if not prototypes.complete:
        first = [first_features(view, prototypes, first_threshold) for view in views]
        features, label = map(torch.cat, zip(*first, strict=True))
        rows.update(first=features, first_label=label)
    return parts, rows


def part_map(
    view: PartView,
    prototypes: PartPrototypes,
    size: tuple[int, int],
    align_corners: bool = False,
) -> Tensor:
    """Part (N, h, w) of each cell of a grid, -1 where it has none.

    A cell has the part of the pixel that :func:`at_cells` takes.
    """
    return assign_parts(
        view.features[1],
        prototypes.vectors,
        at_cells(view.label, size),
        view.label.shape[1:],
        prototypes.known,
        align_corners,
    )


def _trusted_parts(part: Tensor, view: PartView, threshold: float) -> Tensor:
    """A part map without the unlabeled cells below the threshold."""
    return part.where(at_cells(view.trusted(threshold), part.shape[1:]), -1)


def image_means(
    features: Tensor,
    part: Tensor,
    number: int,
    end: RowFunction | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean embedding of each part of each image, and its part.

    Args:
        features: Features (N, F, h, w).
        part: Part (N, h, w) of each cell, of ``number`` parts.
        end: Linear function that makes embeddings of features, rows (n, F) -> (n, D);
            it sees the mean features alone. None: features are embeddings.

    Returns:
        Means (N * number, D) of unit length, and their parts (N * number,), -1 where an
        image does not have it.
    """
    sums, count = part_sums(features, part, number)
    means = (sums / count.clamp(min=1)[..., None]).flatten(0, 1)
    if end is not None:
        means = at_least_float(end(means.to(features.dtype)))
    numbers = torch.arange(number, device=part.device)
    return F.normalize(means, dim=1), numbers.where(count > 0, -1).flatten()


def sums_of_enlarged(
    view: PartView, part: Tensor, number: int, align_corners: bool = False
) -> tuple[Tensor, Tensor]:
    """Sums of the features of each part, enlarged to a finer grid of cells.

    Args:
        part: Part (N, h, w) of each cell of the finer grid.

    Returns:
        Sums (number, D') and numbers (number,) of cells, over all images.
    """
    deep = view.features[1]
    sums = deep.new_zeros(number, deep.shape[1], dtype=torch.float32)
    count = sums.new_zeros(number)
    pixels = view.label.shape[1:]
    for image, of in zip(deep.split(1), part.split(1), strict=True):
        # As in part_map, at the same pixels; memory of one image
        image = logits_at_cells(image, pixels, of.shape[1:], align_corners)
        own, cells = part_sums(image, of, number)
        sums += own[0]
        count += cells[0]
    return sums, count


def first_features(
    view: PartView, prototypes: PartPrototypes, threshold: float
) -> tuple[Tensor, Tensor]:
    """Some features of the classes that have no prototypes yet, and their class.

    At most a fixed number of each class. It waits for the device, to leave no rows but
    these.

    Args:
        threshold: Least confidence of unlabeled pixels.

    Returns:
        Rows (n, D') float32 and their classes (n,).
    """
    deep, missing = view.features[1], prototypes.missing_classes()
    number = torch.full((len(prototypes.begun) + 1,), -1)  # -1 is the last
    number[missing] = torch.arange(len(missing))
    label = view.label.where(view.trusted(threshold), -1)
    label = at_cells(label, deep.shape[2:]).flatten()
    label = number.to(label.device)[label]
    generator = Generator().manual_seed(0)  # the random numbers of a step stay
    score = torch.rand(len(label), generator=generator).to(label.device)
    index, label = select_per_group(label, len(missing), FIRST_FEATURES, score)
    kept = (label >= 0).nonzero()[:, 0]
    classes = torch.tensor(missing, device=label.device)[label[kept]]
    return to_rows(deep.float())[index[kept]], classes
