"""One run in a work folder at a time."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process

FILE = 'run.lock'
FIELDS = dict(pid=int, host=str, folder=str, taken=str)


class FolderInUseError(RuntimeError):
    """Another run writes into this work folder."""


@contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Hold ``<folder>/run.lock``, which names the main process and its machine.

    All processes of a run call it; the main one takes the lock, for all. The lock of
    a process that has ended, by SIGKILL too, gives way.

    Raises:
        FolderInUseError: The run that holds it goes on, or is on another machine,
            where one cannot tell.
    """
    path = Path(folder) / FILE
    failed: list[str | None] = [None]
    if is_main_process():
        try:
            _take(path)
        except FolderInUseError as error:
            failed = [str(error)]
    broadcast_object_list(failed)
    if failed[0] is not None:
        raise FolderInUseError(failed[0])
    try:
        yield
    finally:
        if is_main_process():
            with suppress(OSError):
                path.unlink()


def is_in_use(folder: str | os.PathLike) -> bool:
    """Whether a run that is not this process holds the lock of ``folder``."""
    path = Path(folder) / FILE
    holder = _read(path)
    if holder is None or _has_ended(holder, path):
        return False
    return (holder['host'], holder['pid']) != (socket.gethostname(), os.getpid())


def _take(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f'{FILE}.{socket.gethostname()}.{os.getpid()}')
    own.write_text(json.dumps(_this_process(path)))
    try:
        while True:
            try:
                return _put(own, path)
            except FileExistsError:
                _remove_stale(path, own)
    finally:
        with suppress(OSError):
            own.unlink()


def _put(own: Path, path: Path) -> None:
    """The whole file appears under its name, or FileExistsError."""
    try:
        os.link(own, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with open(path, 'x') as file:
            file.write(own.read_text())


def _remove_stale(path: Path, own: Path) -> None:
    """Take away the lock of a run that has ended.

    Raises:
        FolderInUseError: It has not, or one cannot tell.
    """
    holder = _read(path)
    if holder is not None and not _has_ended(holder, path):
        raise FolderInUseError(_describe(path, holder))
    # Of several processes that find it stale one renames it. Should another have taken
    # the lock in between, it is given back.
    aside = own.with_suffix('.stale')
    with suppress(FileNotFoundError):
        os.rename(path, aside)
        if _read(aside) != holder:
            with suppress(OSError):
                os.link(aside, path)
        aside.unlink()


def _describe(path: Path, holder: dict) -> str:
    since = f'process {holder["pid"]} on {holder["host"]}, since {holder["taken"]}'
    text = f'{path.parent} is in use by another run ({since}): '
    if holder['host'] == socket.gethostname():
        return text + 'wait for its end, or take another work_dir'
    return text + (
        'take another work_dir; if that run has ended, which cannot be seen from '
        f'here ({socket.gethostname()}), remove {path} and start again'
    )


def _read(path: Path) -> dict | None:
    """Who holds the lock; None where the file is gone or not ours."""
    try:
        holder = json.loads(path.read_text())
        good = all(isinstance(holder[name], kind) for name, kind in FIELDS.items())
        return holder if good else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _this_process(path: Path) -> dict:
    pid = os.getpid()
    return dict(
        pid=pid,
        host=socket.gethostname(),
        started=_started(pid),
        folder=os.path.realpath(path.parent),
        taken=time.strftime('%Y-%m-%d %H:%M:%S'),
    )


def _has_ended(holder: dict, path: Path) -> bool:
    """Whether its process is surely gone, or its number belongs to another one.

    The lock in a copy of a run's folder is not a lock of the copy.
    """
    if holder['host'] != socket.gethostname():
        return False
    if holder['folder'] != os.path.realpath(path.parent):
        return True
    try:
        os.kill(holder['pid'], 0)
    except ProcessLookupError:
        return True
    except OSError:  # of another user
        pass
    now = _started(holder['pid'])
    return None not in (now, holder.get('started')) and now != holder['started']


def _started(pid: int) -> str | None:
    """When a process started, by the kernel's clock; None where it does not tell."""
    try:
        # The name, in parentheses, may hold anything; the state is the 3rd field and
        # the start the 22nd
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        boot = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    except OSError:
        return None
    return 'ended' if fields[0] in 'ZX' else f'{boot} {fields[19]}'
