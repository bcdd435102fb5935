"""The cells of two crops of one image that show the same place."""

import torch
from torch import Tensor

from ...functional import matching_cells
from ..data_preprocessor import Batch


def match_crops(
    first: Batch, second: Batch, size: tuple[int, int]
) -> list[tuple[Tensor, Tensor]]:
    """Match the cells of two crops by the geometry that ``OverlapCrops`` recorded.

    Args:
        size: Size (h, w) of the feature maps, M = h * w cells.

    Returns:
        For each cell of the first crops the index (N, M) of the cell of the second, and
        whether there is one (N, M); and the same from the second to the first.

    Raises:
        ValueError: The samples have no geometry, the preprocessor has padded them, or
            the offsets of two crops differ by a fraction of a cell.
    """
    offsets, flips = zip(*map(_geometry, (first, second)), strict=True)
    shape = tuple(first.inputs.shape[2:])
    cell = torch.tensor([shape[0] // size[0], shape[1] // size[1]])
    shift = offsets[0] - offsets[1]
    if (shift % cell).any() or shape[0] % size[0] or shape[1] % size[1]:
        raise ValueError(
            f'crops of {shape} have feature maps of {tuple(size)} cells, but the '
            f'offsets of two crops differ by {shift.tolist()}: crop_size and stride of '
            'OverlapCrops must be multiples of the size of a cell'
        )
    device = first.inputs.device
    shift = (shift // cell).to(device)
    flips = [flip.to(device) for flip in flips]
    origin = torch.zeros_like(shift)
    return [
        matching_cells((shift, origin), flips, size),
        matching_cells((origin, shift), flips[::-1], size),
    ]


def _geometry(batch: Batch) -> tuple[Tensor, Tensor]:
    """Offsets in pixels (N, 2) and horizontal flips (N,), on the CPU."""
    samples = batch.data_samples
    if not all('crop_offset' in sample for sample in samples):
        raise ValueError(
            'samples of the unlabeled stream have no crop_offset: they must come from '
            'OverlapCrops'
        )
    shape = tuple(batch.inputs.shape[2:])
    small = [tuple(s.img_shape) for s in samples if tuple(s.img_shape) != shape]
    if small:
        raise ValueError(
            f'crops of {small[0]} were padded to {shape}, where flipped ones no longer '
            'match: data_preprocessor must leave them as they are (size=None, and a '
            'size_divisor that divides crop_size of OverlapCrops)'
        )
    offsets = [sample.crop_offset for sample in samples]
    flips = [bool(sample.get('flip', False)) for sample in samples]
    return torch.tensor(offsets), torch.tensor(flips)
