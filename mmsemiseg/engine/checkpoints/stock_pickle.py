"""Stand-ins for what checkpoints of MMEngine hold besides tensors and plain values.

The names that such a file may call (NumPy's, HistoryBuffer, getattr) lead to the
classes here, which only take numbers. NumPy's own would take a crafted dtype and with
it foreign memory, Python's getattr would reach any code.
"""

import re
from collections import OrderedDict
from pickle import UnpicklingError
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer


class _Dtype:
    """``numpy.dtype`` of numbers and text."""

    def __init__(self, name: str, align: bool = False, copy: bool = False) -> None:
        if not re.fullmatch(r'[biufc]\d{1,2}|U\d{1,6}', name):
            raise UnpicklingError(f'a NumPy array of dtype {name!r}')
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        # The rest is of structured types, which have none of the names above
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """``numpy.ndarray``."""

    def __setstate__(self, state: tuple) -> None:
        shape, dtype, fortran, data = state[-4:]
        self.array = _array(shape, dtype, data, 'F' if fortran else 'C')


class _History:
    """``HistoryBuffer``."""

    def __setstate__(self, state: dict) -> None:
        self.buffer = HistoryBuffer(
            state['_log_history'].array,
            state['_count_history'].array,
            int(state['max_length']),
        )


def _array(shape: tuple, dtype: _Dtype, data: bytes, order: str) -> np.ndarray:
    if type(dtype) is not _Dtype or type(data) is not bytes:
        raise UnpicklingError('a NumPy array of objects')
    array = np.ndarray(shape, dtype.dtype, buffer=data, order=order)
    return array.astype(dtype.dtype.newbyteorder('='))


def _reconstruct(kind: type, shape: tuple, code: bytes) -> _Array:
    return _Array()


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return _array((), dtype, data, 'C').item()


def _getattr(owner: Any, name: str) -> None:
    # The pickle of a HistoryBuffer lists its own methods so
    if owner is not _History:
        raise UnpicklingError(f'builtins.getattr of {name!r}')


def _no_bytes() -> bytes:
    return b''


STAND_INS = [
    (_Dtype, 'numpy.dtype'),
    (_Array, 'numpy.ndarray'),
    (_reconstruct, 'numpy.core.multiarray._reconstruct'),
    (_reconstruct, 'numpy._core.multiarray._reconstruct'),
    (_scalar, 'numpy.core.multiarray.scalar'),
    (_scalar, 'numpy._core.multiarray.scalar'),
    (_History, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_getattr, 'builtins.getattr'),
    (_no_bytes, 'builtins.bytes'),
]


def rebuilt(value: Any) -> Any:
    """``value`` with arrays and HistoryBuffers in the place of the stand-ins."""
    if type(value) is _Array:
        return value.array
    if type(value) is _History:
        return value.buffer
    if type(value) is _Dtype:
        return value.dtype
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            value[key] = rebuilt(item)
    elif type(value) is list:
        value[:] = [rebuilt(item) for item in value]
    elif type(value) is tuple:
        value = tuple(rebuilt(item) for item in value)
    elif callable(value) and any(value is own for own, _ in STAND_INS):
        raise UnpicklingError(f'{value.__name__.lstrip("_")} as a value')
    return value
