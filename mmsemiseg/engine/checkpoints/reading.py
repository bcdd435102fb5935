"""Read a checkpoint file without running code that it holds."""

import os
import re
import zipfile
import zlib
from contextlib import nullcontext
from pickle import UnpicklingError

import torch

from . import stock_pickle


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: which file, what is wrong, what to do."""


def is_local(path: str | os.PathLike) -> bool:
    """Whether ``path`` names a file of this machine, not a URL or a storage server."""
    return '://' not in os.fspath(path)


def read_checkpoint(path: str | os.PathLike, map_location='cpu') -> dict:
    """Content of a local checkpoint file. Code in it never runs.

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
