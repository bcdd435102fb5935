"""Sizes of images on their way through a pipeline, from its config alone."""

from collections.abc import Iterator, Mapping, Sequence

Size = tuple[int, int]
"""(width, height)."""

CROPS = ('RandomCrop', 'OverlapCrops', 'LabeledOverlapCrops')
KNOWN = ('Resize', 'RandomResize')
UNKNOWN = (  # after these the size is not known here
    'RandomChoiceResize',
    'ResizeShortestEdge',
    'ResizeToMultiple',
    'RandomMosaic',
    'CenterCropEval',
    'TestTimeAug',
)


def flat_steps(pipeline: Sequence[Mapping]) -> Iterator[Mapping]:
    """Steps of a pipeline, those that its steps share between views first.

    >>> flat = flat_steps([dict(type='MultiView', shared=[dict(type='Resize')])])
    >>> [step['type'] for step in flat]
    ['Resize', 'MultiView']
    """
    for step in pipeline or ():
        yield from flat_steps(step.get('shared') or ())
        yield step


def resized(size: Size, step: Mapping, ratio: float = 1.0) -> Size | None:
    """Size after a step that resizes; None where it cannot be told.

    >>> resized((640, 480), dict(type='Resize', scale=(320, 320), keep_ratio=True))
    (320, 240)
    """
    scale, factor = step.get('scale'), step.get('scale_factor')
    if factor is not None and not isinstance(factor, Sequence):
        return _scaled(size, factor)
    pair = isinstance(scale, Sequence) and len(scale) == 2
    if not pair or not all(isinstance(side, (int, float)) for side in scale):
        return None
    wide, tall = (side * ratio for side in scale)
    if not step.get('keep_ratio', False):
        return int(wide), int(tall)
    long, short = max(wide, tall), min(wide, tall)
    return _scaled(size, min(long / max(size), short / min(size)))


def size_and_crop(
    size: Size, pipeline: Sequence[Mapping], ratio: float = 1.0
) -> tuple[Size, Size] | None:
    """(size of the resized image, size of the crop); None without a crop.

    Args:
        size: Width and height of the image as it is read.
        pipeline: Config of the pipeline.
        ratio: Factor of random resizes, 1 in their middle.
    """
    for step in flat_steps(pipeline):
        kind = str(step.get('type'))
        if kind in UNKNOWN:
            return None
        if kind in KNOWN:
            found = resized(size, step, ratio if kind == 'RandomResize' else 1.0)
            if found is None:
                return None
            size = found
        if kind in CROPS and step.get('crop_size') is not None:
            crop = step['crop_size']
            crop = (crop, crop) if isinstance(crop, int) else tuple(crop)[:2]
            return size, crop[::-1]
    return None


def padded_to(pipeline: Sequence[Mapping]) -> Size | None:
    """Size to which crops are padded; None where that cannot be told.

    mmseg's ``Pad`` takes (width, height), its ``RandomCrop`` (height, width).

    >>> padded_to([dict(type='Pad', size=(96, 128))])
    (96, 128)
    """
    for step in flat_steps(pipeline):
        size = step.get('size')
        if step.get('type') == 'Pad' and size is not None:
            return (size, size) if isinstance(size, int) else tuple(size)
    return None


def highest_ratio(pipeline: Sequence[Mapping]) -> float:
    """The largest factor of the random resizes of a pipeline."""
    found = 1.0
    for step in flat_steps(pipeline):
        if step.get('type') == 'RandomResize' and step.get('ratio_range'):
            found *= max(step['ratio_range'])
    return found


def padded_share(size: Size, crop: Size) -> float:
    """Share of a crop that no pixel of the image fills.

    >>> padded_share((50, 100), (100, 100))
    0.5
    """
    seen = min(size[0], crop[0]) * min(size[1], crop[1])
    return 1 - seen / (crop[0] * crop[1])


def _scaled(size: Size, factor: float) -> Size:
    return int(size[0] * factor + 0.5), int(size[1] * factor + 0.5)
