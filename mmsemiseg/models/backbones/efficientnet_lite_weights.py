"""Published weights of EfficientNet-Lite under the names of our backbone."""

import re

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from ...utils.package_weights import PACKAGE_WEIGHTS, find_package_weights
from .efficientnet_lite import stage_layout

STEM = {'_conv_stem': 'conv', '_bn0': 'bn'}
BLOCK = {
    '_expand_conv': 'expand.conv',
    '_bn0': 'expand.bn',
    '_depthwise_conv': 'depthwise.conv',
    '_bn1': 'depthwise.bn',
    '_project_conv': 'project.conv',
    '_bn2': 'project.bn',
}
BLOCK_NAME = re.compile(r'_blocks\.(\d+)\.(\w+)\.(\w+)')


def arch_of(names: list[str]) -> str:
    """The size of the network that has tensors of these names.

    Lite1 and Lite2 have equal names, of tensors of different shapes; what is said of
    the one holds of the other.

    >>> arch_of(['_blocks.15._project_conv.weight'])
    'lite0'
    """
    numbers = [int(m[1]) for m in map(BLOCK_NAME.match, names) if m]
    return 'lite0' if max(numbers, default=0) < 16 else 'lite1'


def new_name(name: str, arch: str = 'lite0') -> str | None:
    """The name of a published tensor in :class:`EfficientNetLite`; None if it has none.

    >>> new_name('_blocks.2._depthwise_conv.weight')
    'stages.1.1.depthwise.conv.weight'
    >>> new_name('_fc.bias') is None
    True
    """
    part, _, rest = name.partition('.')
    if part in STEM:
        return f'stem.{STEM[part]}.{rest}'
    match = BLOCK_NAME.fullmatch(name)
    if match is None or match[2] not in BLOCK:
        return None
    number = int(match[1])
    for stage, (blocks, _) in enumerate(stage_layout(arch)):
        if number < blocks:
            return f'stages.{stage}.{number}.{BLOCK[match[2]]}.{match[3]}'
        number -= blocks
    return None


def backbone_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors under our names, without the classifier."""
    arch = arch_of(list(weights))
    named = {new_name(name, arch): value for name, value in weights.items()}
    return {name: value for name, value in named.items() if name is not None}


def load_package_weights(filename: str, map_location='cpu') -> dict[str, Tensor]:
    """What MMEngine loads where a checkpoint's name is one of ``PACKAGE_WEIGHTS``."""
    path = find_package_weights(filename)
    weights = torch.load(path, map_location=map_location, weights_only=True)
    return backbone_weights(weights)


# Patterns of the whole name: a file such as ./efficientnet-lite0.pth stays a file
CheckpointLoader.register_scheme(
    prefixes=[f'{name}$' for name in PACKAGE_WEIGHTS], loader=load_package_weights
)
