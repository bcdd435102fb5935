"""Classes that have hardly a pixel: slips of a brush, say."""

import statistics
from collections.abc import Sequence

from .classes import ClassTable
from .formats import as_colour
from .mask_values import MaskValues

_FEW = 1e-3  # of the pixels of one mask


def strays(table: ClassTable, masks: Sequence[MaskValues]) -> list[str]:
    """What to do about classes with fewer pixels, in all masks, than 1/1000 of one."""
    if table.other == 'nearest' or not masks:
        return []  # most pixels have a value that only is near to that of their class
    few = _FEW * statistics.median(mask.size[0] * mask.size[1] for mask in masks)
    shown, values = [], []
    for entry in table.classes:
        pixels = {m.path: _count(m, entry.values, table.colours) for m in masks}
        holders = [path for path, count in pixels.items() if count]
        if holders and sum(pixels.values()) < few:
            more = f' and {len(holders) - 1} more' if len(holders) > 1 else ''
            shown.append(
                f'{entry.name} ({sum(pixels.values())} pixels, {holders[0]}{more})'
            )
            values += entry.values
    if not shown:
        return []
    texts = ' '.join(f'"{table.text(value)}"' for value in [*table.ignored, *values])
    return [
        f'hardly a pixel has {", ".join(shown)}: if that was not meant, --ignore '
        f'{texts} takes it out'
    ]


def _count(mask: MaskValues, values: Sequence[int], colours: bool) -> int:
    """Pixels of a mask with one of the values."""
    if not colours:
        return sum(mask.counts.get(value, 0) for value in values)
    return sum(
        count
        for value, count in mask.counts.items()
        if as_colour(mask.kind, value, mask.palette) in values
    )
