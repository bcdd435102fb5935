"""The pipeline of test-time augmentation that follows from a test pipeline."""

from collections.abc import Mapping, Sequence
from typing import Any

# Sizes of the input relative to those of testing, as in the configs of MMSegmentation
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
RESIZES = ('Resize', 'ResizeShortestEdge')
ANNOTATIONS = 'LoadAnnotations'


def can_augment(pipeline: list) -> bool:
    """Whether masks stay as they are: only packing follows after they are loaded.

    >>> load, resize, mask, pack = (dict(type=name) for name in (
    ...     'LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackSegInputs'))
    >>> can_augment([load, resize, mask, pack]), can_augment([load, mask, resize, pack])
    (True, False)
    """
    types = step_types(pipeline)
    return ANNOTATIONS not in types[:-2] and types[-1].startswith('Pack')


def augmented(pipeline: list, scales: Sequence[float] = SCALES) -> list:
    """A test pipeline at several scales of its size, each flipped as well."""
    *steps, pack = pipeline
    loads = [step for step in steps if step['type'] == ANNOTATIONS]
    steps = [step for step in steps if step['type'] != ANNOTATIONS]
    places = [i for i, step in enumerate(steps) if step['type'] in RESIZES]
    place = places[0] if places else len(steps)
    whole = dict(type='Resize', scale_factor=1.0, keep_ratio=True)
    resize, *rest = steps[place:] or [whole]
    flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
    branches = [[_scaled(resize, scale) for scale in scales], flips]
    branches += [[step] for step in (*rest, *loads, pack)]
    return [*steps[:place], dict(type='TestTimeAug', transforms=branches)]


def without_masks(steps: list) -> list:
    """Remove the loading of masks from a pipeline and its branches."""
    kept = []
    for step in steps:
        if isinstance(step, (list, tuple)):
            step = without_masks(step)
        elif step['type'] == 'TestTimeAug':
            step = dict(step, transforms=without_masks(step['transforms']))
        elif step['type'] == ANNOTATIONS:
            continue
        if step:
            kept.append(step)
    return kept


def step_types(pipeline) -> list[str]:
    return [step['type'] for step in pipeline]


def _scaled(resize: Mapping, scale: float) -> dict:
    """A resizing transform to ``scale`` times its size."""
    given = {k: v for k, v in resize.items() if k in ('scale', 'max_size') and v}
    sizes = {key: _times(value, scale) for key, value in given.items()}
    factor = resize.get('scale_factor')
    if isinstance(factor, (tuple, list)):
        sizes['scale_factor'] = tuple(one * scale for one in factor)
    elif factor:
        sizes['scale_factor'] = float(factor * scale)
    return dict(resize, **sizes)


def _times(pixels: Any, scale: float) -> Any:
    if isinstance(pixels, (tuple, list)):
        return tuple(_times(side, scale) for side in pixels)
    if isinstance(pixels, int) and pixels > 0:
        return max(1, round(pixels * scale))
    return pixels  # -1 or infinite: this side follows from the other one
