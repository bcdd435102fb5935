"""The network that is trained: the package's default, or the user's config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from ..utils import launch
from ..utils.package_weights import find_package_weights
from ..utils.pretrained import find_pretrained, without_pretrained

DEFAULT_MODEL = 'models/deeplabv3plus_lite0-d16.py'
MASK_MODEL = 'models/maskformer_lite0-d32.py'
DEFAULT_WEIGHTS = 'efficientnet-lite0'


class Student(NamedTuple):
    """What configs say of the network.

    ``base`` is a file of ``configs/_base_``; None: ``model`` is a config of its own.
    ``imports`` are modules of the user's; ``pretrained`` says whether weights are
    loaded; ``mean`` is that of the images, as they are read (BGR); ``masks`` says that
    a network of the package is a MaskFormer.
    """

    name: str
    base: str | None
    model: dict | None
    imports: tuple[str, ...]
    pretrained: bool
    mean: tuple[int, ...]
    optimizer: dict | None
    said: list[str]
    masks: bool = False


def default_student(from_scratch: bool, masks: bool = False) -> Student:
    """DeepLabV3+ with EfficientNet-Lite0, or MaskFormer with it.

    Raises:
        FileNotFoundError: The package with the weights is missing.
    """
    kind = 'MaskFormer' if masks else 'DeepLabV3+'
    network = f'{kind} with EfficientNet-Lite0'
    said = [f'{network}: fast on a CPU, and its weights']
    if from_scratch:
        said = [f'{network} from random weights: --from-scratch']
    else:
        try:
            find_package_weights(DEFAULT_WEIGHTS)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{error}. Or go on without: --from-scratch (worse with few labels), '
                'or with a network of your own: --student CONFIG --pretrained FILE'
            ) from None
        said[0] += ' of ImageNet come in a Python package (--student for another)'
    if masks:
        said.append('both runs train it: the method needs a network that gives masks')
    return Student(
        name='maskformer-lite0' if masks else 'deeplabv3plus-lite0',
        base=MASK_MODEL if masks else DEFAULT_MODEL,
        model=None,
        imports=(),
        pretrained=not from_scratch,
        mean=(127, 127, 127),
        optimizer=None,
        said=said,
        masks=masks,
    )


def own_student(
    path: str,
    num_classes: int,
    crop: tuple[int, int],
    pretrained: str | None,
    from_scratch: bool,
    rate: float | None = None,
) -> Student:
    """The segmentor of a config, with the classes of the data.

    Args:
        path: Config of MMSegmentation, or of this package.
        crop: Height and width of a training image.
        pretrained: File of the weights of the backbone.
        rate: Learning rate in place of that of the config's optimizer.

    Raises:
        ValueError: It has no segmentor with a backbone, or would download weights and
            none are given.
    """
    cfg = launch.read_config(path)
    if 'model' not in cfg:
        raise ValueError(f'--student {path} has no model')
    model = cfg.model.to_dict()
    student = dict((model.get('students') or [model.get('student', model)])[0])
    if 'backbone' not in student:
        raise ValueError(
            f'--student {path}: model must be a segmentor with a backbone, but has '
            f'{sorted(student)}'
        )
    processor = _preprocessor(cfg, model, student, crop)
    heads = set_classes(student, num_classes)
    said = [f'the network of {path}, {num_classes} classes in {", ".join(heads)}']
    if from_scratch:
        student = without_pretrained(student)
        said.append('random weights: --from-scratch')
    elif pretrained is not None:
        launch.use_pretrained(Config(dict(model=student)).model, pretrained)
        student.pop('pretrained', None)
        student['backbone'].pop('pretrained', None)
        weights = dict(type='Pretrained', checkpoint=str(pretrained))
        student['backbone']['init_cfg'] = weights
        said.append(f'weights of the backbone: {pretrained}')
    elif asked := find_pretrained(student, 'student'):
        said.append(
            'weights as the config says: ' + ', '.join(map(str, asked.values()))
        )
    else:
        said.append('random weights: the config names none (--pretrained FILE)')
    return Student(
        Path(path).stem,
        None,
        dict(type='SupOnly', data_preprocessor=processor, student=student),
        _imports(cfg),
        bool(find_pretrained(student)),
        _mean(processor),
        _optimizer(cfg, rate),
        said,
    )


def set_classes(student: dict, num_classes: int) -> list[str]:
    """Give every head this number of classes; returns the heads' settings."""
    found = []
    for kind in ('decode_head', 'auxiliary_head'):
        heads = student.get(kind)
        several = isinstance(heads, (list, tuple))
        for number, head in enumerate(heads if several else [heads]):
            if isinstance(head, Mapping):
                _set_head(head, num_classes)
                found.append(f'{kind}[{number}]' if several else kind)
    if not found:
        raise ValueError(f'the student has no decode_head, but {sorted(student)}')
    return found


def _set_head(head: dict, num_classes: int) -> None:
    old = head.get('num_classes')
    head['num_classes'] = num_classes
    if 'out_channels' in head:  # one sigmoid has no pseudo label
        head['out_channels'] = num_classes
    losses = [head.get('loss_decode'), head.get('loss_cls')]
    for loss in losses:
        for one in loss if isinstance(loss, (list, tuple)) else [loss]:
            if not isinstance(one, Mapping):
                continue
            weights = one.get('class_weight')
            if isinstance(weights, list) and len(weights) == (old or 0) + 1:
                one['class_weight'] = [1.0] * num_classes + [weights[-1]]
            elif isinstance(weights, list) and len(weights) != num_classes:
                one.pop('class_weight')


def _preprocessor(
    cfg: Config, model: dict, student: dict, crop: tuple[int, int]
) -> dict:
    given = (
        student.pop('data_preprocessor', None)
        or model.get('data_preprocessor')
        or cfg.get('data_preprocessor')
        or dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    )
    kept = {k: v for k, v in dict(given).items() if k not in ('size', 'size_divisor')}
    kept.setdefault('bgr_to_rgb', True)
    return {**kept, 'type': 'SemiDataPreProcessor', 'size': tuple(crop)}


def _mean(processor: Mapping[str, Any]) -> tuple[int, ...]:
    mean = [round(value) for value in processor.get('mean') or (0, 0, 0)]
    return tuple(reversed(mean) if processor.get('bgr_to_rgb') else mean)


def _imports(cfg: Config) -> tuple[str, ...]:
    names = (cfg.get('custom_imports') or {}).get('imports') or []
    names = [names] if isinstance(names, str) else names
    return tuple(name for name in names if name != 'mmsemiseg')


def _optimizer(cfg: Config, rate: float | None) -> dict | None:
    """Optimizer and its rules for parameters, where the config has them."""
    wrapper = cfg.get('optim_wrapper') or {}
    if 'optimizer' not in wrapper:
        return None
    names = ('optimizer', 'paramwise_cfg', 'constructor', 'clip_grad')
    kept = {name: wrapper[name] for name in names if name in wrapper}
    if rate is not None:
        kept['optimizer'] = {**kept['optimizer'], 'lr': rate}
    return kept
