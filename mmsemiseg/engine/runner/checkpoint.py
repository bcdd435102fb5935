"""Checkpoint files: written whole, read without running code that they hold."""

import logging
import os
import re
import shutil
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor, nn

from . import stock_pickle
from .finite import describe_broken


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: which file, what is wrong, what to do."""


# What is saved


def plain(value: Any, where: str = 'checkpoint') -> Any:
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
        message_hub: State of a MessageHub as :func:`plain` or MMEngine left it.
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


# Reading


def is_local(path: str | os.PathLike) -> bool:
    """Whether ``path`` names a file of this machine, not a URL or a storage server."""
    return '://' not in os.fspath(path)


def read_checkpoint(path: str | os.PathLike, map_location='cpu') -> dict:
    """What a local checkpoint file holds. Code in it never runs.

    Checkpoints of MMEngine hold HistoryBuffers and NumPy values, which are rebuilt
    from their numbers; this needs torch >= 2.6.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is empty, incomplete, damaged, no checkpoint, or holds code.
    """
    path = os.fspath(path)
    _check_file(path)
    try:
        with _stock_values():
            content = torch.load(path, map_location=map_location, weights_only=True)
        content = stock_pickle.rebuilt(content)
    except UnpicklingError as error:
        raise CheckpointError(
            f'{path} is refused: it holds code or Python objects, not only tensors and '
            f'plain values ({_first_reason(error)}). Nothing of it was run. If you '
            "trust its origin, save a copy of its 'state_dict' alone"
        ) from error
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # damaged bytes raise nearly anything
        raise CheckpointError(
            f'{path} cannot be read, it is damaged or incomplete '
            f'({type(error).__name__}: {_first_reason(error)}). Take an older one'
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{path} is not a checkpoint: it holds a {type(content).__name__}, no dict'
        )
    return content


def _stock_values():
    # Before, torch took no stand-ins under the name of another object
    if torch.__version__ < (2, 6):
        return nullcontext()
    return torch.serialization.safe_globals(stock_pickle.STAND_INS)


def _first_reason(error: Exception) -> str:
    """torch's reason without its advice to switch the protection off."""
    text = str(error)
    named = re.search(r'nsupported (?:global: )?(?:GLOBAL|class) (\S+)', text)
    if named:
        return named.group(1)
    return text.rpartition('WeightsUnpickler error: ')[2].strip().split('\n')[0]


def _check_file(path: str) -> None:
    if not os.path.exists(path):
        raise FileNotFoundError(f'the checkpoint {path} does not exist')
    if os.path.isdir(path):
        raise CheckpointError(f'{path} is a folder: name a checkpoint file in it')
    try:
        with open(path, 'rb') as file:
            start = file.read(64)
        if start.startswith(b'PK\x03\x04'):
            return _check_archive(path)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be opened: {error}') from error
    if not start:
        raise CheckpointError(
            f'{path} is empty, its writing was interrupted. Take an older one'
        )
    # Files of torch < 1.6 begin with this number
    if 0x1950A86A20F9469CFC6C.to_bytes(10, 'little') not in start:
        raise CheckpointError(
            f'{path} is not a checkpoint: torch.save did not write it'
        )


def _check_archive(path: str) -> None:
    """torch does not look at the checksums itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise CheckpointError(
            f'{path} is damaged or incomplete, as after a full disk or a stop while it '
            f'was written or copied ({error}). Take an older one'
        ) from error
    if damaged is not None:
        raise CheckpointError(
            f'{path} is damaged: wrong checksum of {damaged}. Take an older one'
        )
    if not any(name.endswith('/data.pkl') for name in names):
        raise CheckpointError(
            f'{path} is not a checkpoint: torch.save did not write it'
        )


# Resuming


def check_resumable(checkpoint: dict, path: str | os.PathLike) -> None:
    """Raise CheckpointError unless a run can be continued from ``checkpoint``.

    It must be whole, and its weights, buffers and moments finite.
    """
    needed = ('meta', 'state_dict', 'optimizer', 'message_hub')
    missing = [name for name in needed if not isinstance(checkpoint.get(name), dict)]
    if 'meta' not in missing and not isinstance(checkpoint['meta'].get('iter'), int):
        missing.append('meta.iter')
    if missing:
        raise CheckpointError(
            f'{os.fspath(path)} cannot be resumed: it has no {", ".join(missing)}. '
            'Take a checkpoint of the run itself, or start a new run from its weights '
            'with load_from and without resume'
        )
    if broken := describe_broken(checkpoint):
        raise CheckpointError(
            f'{os.fspath(path)} cannot be resumed: {broken}. Take an older one'
        )


def require_fit(
    model: nn.Module, checkpoint: dict, path: str | os.PathLike, strict: bool = False
) -> None:
    """Raise CheckpointError if the weights in ``checkpoint`` do not fit ``model``.

    Loading reports tensors that do not fit in a warning only. Without this check a
    wrong file would quietly mean random weights. Weights that are not finite fit none.

    Args:
        strict: No tensor may be missing, left over or of another shape; else at least
            one has to fit.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, dict):
        kind = type(weights).__name__
        raise CheckpointError(f"{os.fspath(path)}: its 'state_dict' is a {kind}")
    if broken := describe_broken(dict(state_dict=weights)):
        raise CheckpointError(f'{os.fspath(path)} is of no use: {broken}')
    weights = {str(key).removeprefix('module.'): weights[key] for key in weights}
    for hook in model._load_state_dict_pre_hooks.values():  # may rename
        hook(weights, '', {}, False, [], [], [])
    own = {
        key: getattr(value, 'shape', None) for key, value in model.state_dict().items()
    }
    shapes = {key: getattr(value, 'shape', None) for key, value in weights.items()}
    fits = {key for key in own if key in shapes and shapes[key] == own[key]}
    if not fits:
        raise CheckpointError(
            f'{os.fspath(path)}: none of its {len(weights)} entries ({_some(weights)}) '
            f'fits {type(model).__name__} ({_some(own)})'
        )
    if not strict:
        return
    missing = [k for k in own if k not in shapes and 'num_batches_tracked' not in k]
    left_over = [k for k in shapes if k not in own]
    other = [k for k in own if k in shapes and k not in fits]
    problems = dict(missing=missing, unknown=left_over) | {'of another shape': other}
    found = [f'{len(k)} {name} ({_some(k)})' for name, k in problems.items() if k]
    if found:
        raise CheckpointError(
            f'{os.fspath(path)} is not of this {type(model).__name__}: its weights are '
            f'{", ".join(found)}'
        )


def _some(names) -> str:
    names = list(names)
    return ', '.join(names[:3]) + ', ...' * (len(names) > 3)


# Writing


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[str]:
    """Yield ``<path>.part`` to write to; at the end it takes the place of ``path``.

    At every moment, also after a crash, ``path`` is the whole old or the whole new
    file. After an exception it is the old one, and the part is gone.

    Raises:
        OSError: The part could not be written.
    """
    path = os.fspath(path)
    part = f'{path}.part'
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        yield part
        with open(part, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            os.remove(part)
        cause = _failed_write(error)
        if cause is None:
            raise
        raise _write_error(path, cause) from error
    _sync_folder(os.path.dirname(path) or '.')


def _failed_write(error: BaseException) -> Exception | None:
    """The failure to write behind ``error``; torch's own writer has RuntimeErrors."""
    if isinstance(error, OSError):
        return error
    if not isinstance(error, RuntimeError):
        return None
    if isinstance(error.__context__, OSError):
        return error.__context__
    torch_writer = r'PytorchStreamWriter|inline_container|iostream error'
    return error if re.search(torch_writer, str(error)) else None


def _write_error(path: str, cause: Exception) -> OSError:
    reason = getattr(cause, 'strerror', None) or str(cause)
    with suppress(OSError):
        free = shutil.disk_usage(os.path.dirname(path) or '.').free // 2**20
        reason += f' ({free} MiB are free on the disk)'
    text = f'{path} could not be written: {reason}. What was there before still is'
    number = getattr(cause, 'errno', None)
    return OSError(text) if number is None else OSError(number, text)


def _sync_folder(folder: str) -> None:
    """Let the new name outlast a power cut, where the system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
