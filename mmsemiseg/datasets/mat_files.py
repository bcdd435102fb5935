"""Variables of MATLAB files, as old data sets keep their masks in them."""

import os
from typing import Any

from scipy.io import loadmat

from .files import name_some


def read_mat(path: str, *names: str) -> list[Any]:
    """The variables ``names`` of a MAT file, without axes of length one.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or a variable is not in it.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'there is no file {path}')
    try:
        found = loadmat(path, squeeze_me=True)
    except Exception as error:  # of many kinds: the reader trusts its input
        raise ValueError(f'{path} cannot be read as a MAT file: {error}') from error
    missing = [name for name in names if name not in found]
    if missing:
        others = [name for name in found if not name.startswith('__')]
        raise ValueError(
            f'{path} has no variable {name_some(missing)}, but has '
            f'{name_some(others) or "none"}'
        )
    return [found[name] for name in names]
