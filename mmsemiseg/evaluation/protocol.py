"""The evaluation protocol in words, as it stands beside every reported number."""

from torch import nn


def describe_protocol(dataset, model: nn.Module) -> str:
    """How images are prepared and predicted, e.g. ``'whole image, half size'``.

    Read off the transforms of ``dataset`` and the ``test_cfg`` of the student.
    """
    student = getattr(model, 'student', model)
    test_cfg = getattr(student, 'test_cfg', None) or {}
    mode = test_cfg.get('mode', 'whole')
    if mode == 'slide':
        how = f'slide, window {test_cfg["crop_size"]}, stride {test_cfg["stride"]}'
    else:
        how = 'whole image'
    sizes = [_size(t) for t in dataset.pipeline.transforms]
    size = ', '.join(size for size in sizes if size) or 'original size'
    return f'{how}, {size}, single scale'


def _size(transform) -> str:
    name = type(transform).__name__
    if name == 'Resize':
        factor = getattr(transform, 'scale_factor', None)
        if factor:
            factor = factor if isinstance(factor, (int, float)) else tuple(factor)
            return f'input x {factor}, logits back to the original size'
        return f'input resized to {transform.scale}'
    if name == 'CenterCropEval':
        return f'centre crop {transform.crop_size}'
    if name == 'Pad':
        return 'padded'
    return ''
