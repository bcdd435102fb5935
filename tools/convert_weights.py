"""Convert initial weights of other libraries to a checkpoint of MMSegmentation.

Reads a ResNet with the names of torchvision, Caffe ports or detectron2, a DeepLabV2
with `layer5.conv2d_list`, also below `module.` or `Scale.`, or an EfficientNet-Lite.
Writes `backbone.*` and, for DeepLabV2, `decode_head.conv_seg.*`, and says what the
images must look like. Code in a file never runs. docs/pretrained.md says where the
files are.

examples:
  # DeepLabV2 from COCO, checked against a config's student
  python tools/convert_weights.py resnet101COCO-41f33a49.pth \\
      --student configs/_base_/models/deeplabv2_r101-d8_coco.py \\
      --out pretrained/deeplabv2_r101_coco.pth

  # an ImageNet backbone of Caffe's kind
  python tools/convert_weights.py resnet101_msra.pth --kind caffe \\
      --out pretrained/resnet101_caffe.pth

  # weights inside an installed Python package, by their name
  python tools/convert_weights.py efficientnet-lite0 --out pretrained/lite0.pth
"""

import argparse
import os
import re
from collections import Counter

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor

from mmsemiseg.engine.checkpoints import (
    CheckpointError,
    atomic_write,
    read_checkpoint,
)
from mmsemiseg.models.backbones import efficientnet_lite_weights as lite
from mmsemiseg.utils import launch
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.package_weights import PACKAGE_WEIGHTS, find_package_weights

# What the weights expect: how blocks stride, where there is a choice, and the images.
KINDS = dict(
    lite=dict(
        style=None,
        preprocess=dict(mean=[127] * 3, std=[128] * 3, bgr_to_rgb=True),
    ),
    coco=dict(
        style='caffe',
        preprocess=dict(
            mean=[104.00698793, 116.66876762, 122.67891434],
            std=[255, 255, 255],
            bgr_to_rgb=False,
        ),
    ),
    caffe=dict(
        style='caffe',
        preprocess=dict(
            mean=[103.53, 116.28, 123.675], std=[1, 1, 1], bgr_to_rgb=False
        ),
    ),
    torchvision=dict(
        style='pytorch',
        preprocess=dict(
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
        ),
    ),
)
PREFIX = re.compile(r'^(?:(?:module|model|Scale|backbone|bottom_up)\.)+')
RESNET = re.compile(
    r'^(?:conv1|bn1|layer[1-4]\.\d+\.(?:conv[123]|bn[123]|downsample\.[01]))'
    r'\.(?:weight|bias|running_mean|running_var|num_batches_tracked)$'
)
BRANCH = re.compile(r'^layer5\.conv2d_list\.(\d+\.(?:weight|bias))$')
DETECTRON = (
    (r'^stem\.conv1\.norm\.', 'bn1.'),
    (r'^stem\.conv1\.', 'conv1.'),
    (r'^res(\d)\.', lambda match: f'layer{int(match[1]) - 1}.'),
    (r'\.conv(\d)\.norm\.', r'.bn\1.'),
    (r'\.shortcut\.norm\.', '.downsample.1.'),
    (r'\.shortcut\.', '.downsample.0.'),
)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'weights',
        help='file of the other library, or one of the names '
        + ', '.join(PACKAGE_WEIGHTS),
    )
    parser.add_argument('--out', required=True, help='the checkpoint to write')
    parser.add_argument(
        '--kind',
        choices=sorted(KINDS),
        help='what the file is; needed where its names leave it open',
    )
    parser.add_argument('--student', help='config whose student must take the weights')
    parser.add_argument(
        '--backbone-only', action='store_true', help='leave the decode head out'
    )
    return parser.parse_args(argv)


def read_weights(path):
    """name -> tensor of a file, whatever it is wrapped in."""
    if path in PACKAGE_WEIGHTS:
        path = find_package_weights(path)
    content = read_checkpoint(path)
    for key in ('state_dict', 'model'):
        if isinstance(content.get(key), dict):
            content = content[key]
    weights = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if not weights:
        raise ValueError(f'{path} has no tensors')
    return weights


def new_name(name, arch='lite0'):
    """A tensor's name in MMSegmentation, or None.

    `arch` is the size of an EfficientNet-Lite.

    >>> new_name('Scale.layer5.conv2d_list.1.bias')
    'decode_head.conv_seg.convs.1.bias'
    >>> new_name('res3.0.shortcut.norm.weight')
    'backbone.layer2.0.downsample.1.weight'
    >>> new_name('fc.bias') is None
    True
    """
    name = PREFIX.sub('', name)
    light = lite.new_name(name, arch)
    if light is not None:
        return f'backbone.{light}'
    branch = BRANCH.match(name)
    if branch:
        return f'decode_head.conv_seg.convs.{branch[1]}'
    if name.startswith(('stem.', 'res')):
        for pattern, new in DETECTRON:
            name = re.sub(pattern, new, name)
    return f'backbone.{name}' if RESNET.match(name) else None


def kind_of(weights, kind=None):
    """What a file is, by the names in it; ``kind`` where they leave it open."""
    names = [PREFIX.sub('', name) for name in weights]
    found = None
    if any(BRANCH.match(name) for name in names):
        found = 'coco'
    elif any(name.startswith('stem.conv1.') for name in names):
        found = 'caffe'
    elif any(name.startswith('_conv_stem.') for name in names):
        found = 'lite'
    if found is None and kind is None:
        raise ValueError(
            'files with the names of torchvision are of two kinds, which have other '
            'blocks and other images: set --kind torchvision or --kind caffe'
        )
    if found and kind and found != kind:
        raise ValueError(f'--kind {kind}, but the names in the file are of {found!r}')
    return found or kind


def convert(weights, backbone_only=False):
    """Tensors under new names, and the old names of those that are left out."""
    renamed, left_out = {}, []
    arch = lite.arch_of([PREFIX.sub('', name) for name in weights])
    for name, value in weights.items():
        new = new_name(name, arch)
        if new is None or (backbone_only and not new.startswith('backbone.')):
            left_out.append(name)
        else:
            renamed.setdefault(new, []).append((name, value))
    twice = [
        [name for name, _ in found] for found in renamed.values() if len(found) > 1
    ]
    if twice:
        raise ValueError(f'the file has tensors twice: {", ".join(twice[0])}')
    if not any(name.startswith('backbone.') for name in renamed):
        raise ValueError(
            'the file has no backbone: none of its tensors is named as in torchvision, '
            'detectron2, DeepLabV2 or EfficientNet-Lite. It has '
            f'{some(left_out)}'
        )
    return {new: found[0][1] for new, found in renamed.items()}, left_out


def student_of(path):
    """The student of a config, shapes without numbers, and the model's settings."""
    cfg = launch.read_config(path)
    init_default_scope('mmseg')
    model = cfg.model
    student = model.get('student', model)
    student.backbone.init_cfg = None
    student.pretrained = None
    student.pop('data_preprocessor', None)
    with torch.device('meta'):
        built = MODELS.build(student)
    return built, student, model.get('data_preprocessor') or {}


def fit(state, student):
    """Tensors that the student has; the others are named.

    Raises:
        ValueError: A tensor of the backbone is missing, or one has another shape.
    """
    own = {name: tuple(value.shape) for name, value in student.state_dict().items()}
    other = [
        f'{name} {tuple(value.shape)}, student {own[name]}'
        for name, value in state.items()
        if name in own and own[name] != tuple(value.shape)
    ]
    if other:
        head = all(text.startswith('decode_head.') for text in other)
        hint = '; --backbone-only leaves the head out' if head else ''
        raise ValueError(f'{len(other)} tensors of other shape: {some(other)}{hint}')
    missing = [
        name
        for name in own
        if name.startswith('backbone.')
        and name not in state
        and not name.endswith('num_batches_tracked')
    ]
    if missing:
        raise ValueError(
            f'{len(missing)} tensors of the backbone are not in the file: '
            f'{some(missing)}'
        )
    kept = {name: value for name, value in state.items() if name in own}
    return kept, [name for name in state if name not in own]


def differences(kind, student_cfg, preprocess):
    """What in a config the weights do not expect."""
    expected = KINDS[kind]
    found = []
    style = student_cfg.backbone.get('style', 'pytorch')
    if expected['style'] not in (None, style):
        found.append(f'backbone style={style!r}, not {expected["style"]!r}')
    for key, value in expected['preprocess'].items():
        given = preprocess.get(key, False if key == 'bgr_to_rgb' else None)
        if given != value:
            found.append(f'data_preprocessor {key}={given}, not {value}')
    return found


def some(names, count=4):
    return ', '.join(names[:count]) + ', ...' * (len(names) > count)


def main(argv=None):
    args = parse_args(argv)
    weights = read_weights(args.weights)
    kind = kind_of(weights, args.kind)
    state, left_out = convert(weights, args.backbone_only)
    notes = []
    if args.student:
        student, student_cfg, preprocess = student_of(args.student)
        state, unused = fit(state, student)
        left_out += unused
        notes = differences(kind, student_cfg, preprocess)
    expected = KINDS[kind]
    meta = dict(source=os.path.basename(args.weights), kind=kind, **expected)
    with atomic_write(args.out) as part:
        torch.save(dict(meta=meta, state_dict=state), part)
    parts = Counter(name.partition('.')[0] for name in state)
    counts = ', '.join(f'{count} tensors of {part}' for part, count in parts.items())
    print(f'{args.out}: {counts}')
    if left_out:
        print(f'left out: {len(left_out)} tensors: {some(left_out)}')
    settings = ', '.join(f'{k}={v}' for k, v in expected['preprocess'].items())
    blocks = (
        f'backbone=dict(style={expected["style"]!r}), ' if expected['style'] else ''
    )
    print(f'kind {kind}: {blocks}data_preprocessor=dict({settings})')
    for note in notes:
        print(f'{args.student} differs: {note}')
    return 0


if __name__ == '__main__':
    exit_with(main, CheckpointError)
