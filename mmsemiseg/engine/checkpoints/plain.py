"""What a checkpoint holds: tensors, numbers, text and plain containers alone."""

import logging
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor


def plain_values(value: Any, where: str = 'checkpoint') -> Any:
    """A copy of ``value`` that ``torch.load(weights_only=True)`` reads as it is.

    Tensors (their memory is shared with ``value``), str, int, float, bool, None, dict,
    OrderedDict, list, tuple, ``torch.Size`` and ``torch.dtype`` stay. Subclasses become
    the type they derive from, NumPy arrays nested lists, NumPy scalars Python's, and a
    HistoryBuffer becomes what :func:`restore_history` takes.

    Raises:
        TypeError: Anything else; ``where`` is the root of the place that is named. An
            entry of ``runtime_info`` of a ``message_hub``, where any hook may leave
            things, is left out instead, with a warning.
    """
    return _plain(value, (where,))


def _plain(value: Any, path: tuple) -> Any:
    if value is None or isinstance(value, (bool, torch.dtype, torch.Size)):
        return value
    for base in (int, float):
        if isinstance(value, base):
            return base(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Tensor):
        return value.detach().as_subclass(Tensor)
    if isinstance(value, HistoryBuffer):
        logs, counts = (_history_tensor(array) for array in value.data)
        limit = int(value.max_length)
        return dict(log_history=logs, count_history=counts, max_length=limit)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'biufUO':
        if value.dtype.kind == 'f':
            value = value.astype(np.float64)  # a longdouble stays NumPy's otherwise
        return _plain(value.tolist(), path)
    if isinstance(value, dict):
        return _plain_dict(value, path)
    if isinstance(value, (list, tuple)):
        items = [_plain(item, (*path, index)) for index, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    raise TypeError(
        f'{_place(path)} is a {type(value).__module__}.{type(value).__qualname__}, but '
        'a checkpoint holds tensors, numbers, str, None, dict, list and tuple alone, '
        'so that it can be read without running code'
    )


def _plain_dict(value: dict, path: tuple) -> dict:
    free = path[-2:] == ('message_hub', 'runtime_info')
    result = OrderedDict() if isinstance(value, OrderedDict) else {}
    left_out = []
    for key, item in value.items():
        try:
            result[_plain_key(key, path)] = _plain(item, (*path, key))
        except TypeError as error:
            if not free:
                raise
            left_out.append(str(error))
    if left_out:
        print_log(
            f'left out of the checkpoint: {"; ".join(left_out)}',
            logger='current',
            level=logging.WARNING,
        )
    if hasattr(value, '_metadata'):  # versions of the modules of a state dict
        result._metadata = _plain(value._metadata, (*path, '_metadata'))
    return result


def _plain_key(key: Any, path: tuple) -> Any:
    result = _plain(key, (*path, key))
    if not isinstance(result, (str, int, float, tuple, type(None))):
        kind = type(key).__qualname__
        raise TypeError(f'{_place(path)} has a key that is a {kind}: {key!r}')
    return result


def _place(path: tuple) -> str:
    return path[0] + ''.join(f'[{key!r}]' for key in path[1:])


def _history_tensor(array: np.ndarray) -> Tensor:
    if array.dtype not in (np.int64, np.float64):
        array = array.astype(np.float64)
    return torch.tensor(array)


def restore_history(message_hub: dict) -> dict:
    """HistoryBuffers as ``MessageHub.load_state_dict`` takes them.

    Args:
        message_hub: State of a MessageHub, as :func:`plain_values` or MMEngine left it.
    """
    scalars = message_hub.get('log_scalars', {})
    restored = ((key, _history_buffer(value)) for key, value in scalars.items())
    return dict(message_hub, log_scalars=OrderedDict(restored))


def _history_buffer(value: Any) -> Any:
    names = ('log_history', 'count_history', 'max_length')
    if not isinstance(value, dict) or set(value) != set(names):
        return value
    logs, counts, limit = (value[name] for name in names)
    return HistoryBuffer(logs.cpu().numpy(), counts.cpu().numpy(), limit)
