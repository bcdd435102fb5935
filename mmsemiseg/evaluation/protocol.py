"""The evaluation protocol in words, as it stands beside every reported number."""

from torch import nn

from ..datasets.checks import leaf_datasets

BACK = 'logits back to the original size'


def describe_protocol(dataset, model: nn.Module) -> str:
    """How images are prepared and predicted, e.g. ``'whole image, original size'``.

    Read off the transforms of ``dataset`` (wrappers too) and the ``test_cfg`` of the
    student.
    """
    student = getattr(model, 'student', model)
    test_cfg = getattr(student, 'test_cfg', None) or {}
    how = 'whole image'
    if test_cfg.get('mode') == 'slide':
        window, stride = (tuple(test_cfg[key]) for key in ('crop_size', 'stride'))
        how = f'slide, window {window}, stride {stride}'
    sizes = dict.fromkeys(_sizes(leaf) for leaf in leaf_datasets(dataset))
    return f'{how}, {" | ".join(sizes)}'


def _sizes(dataset) -> str:
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if transforms is None:
        return 'unknown size'
    names = [type(transform).__name__ for transform in transforms]
    scales = 'several scales' if 'TestTimeAug' in names else 'single scale'
    sizes = [_size(*pair) for pair in zip(names, transforms, strict=True)]
    return f'{", ".join(filter(None, sizes)) or "original size"}, {scales}'


def _size(name: str, transform) -> str:
    if name == 'Resize' and transform.scale:
        width, height = transform.scale
        how = 'within' if transform.keep_ratio else 'to'
        return f'input resized {how} {width} x {height}, {BACK}'
    if name == 'Resize':
        factors = dict.fromkeys(transform.scale_factor)
        return f'input x {" x ".join(map(str, factors))}, {BACK}'
    if name == 'CenterCropEval':
        return 'centre crop {} x {}'.format(*reversed(transform.crop_size))
    return name if name.startswith('Resize') or name == 'Pad' else ''
