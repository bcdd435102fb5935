"""Write files so that a crash or a full disk leaves the old or the new one whole."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[str]:
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
