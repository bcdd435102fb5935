"""The checkpoints in the folder of a run: the newest, unfinished, earlier ones."""

import os
import re
from contextlib import suppress
from pathlib import Path

from .fitting import check_resumable
from .reading import CheckpointError, read_checkpoint
from .writing import atomic_write

POINTER = 'last_checkpoint'  # the file that names the newest one


def find_resumable(
    folder: str | os.PathLike,
) -> tuple[str | None, list[CheckpointError]]:
    """The newest checkpoint in ``folder`` from which a run can be continued.

    That is the one ``last_checkpoint`` names, in ``folder`` (which may be a copy of
    the run's) or else in its place; then every other ``*.pth`` but ``best_*`` and
    ``bn_*``, newest first.

    Returns:
        Its path, None if there is none, and what is wrong with those before it.
    """
    refused = []
    for path in _candidates(Path(folder)):
        try:
            check_resumable(read_checkpoint(path), path)
        except CheckpointError as error:
            refused.append(error)
        except FileNotFoundError as error:
            reason = f'{error}, though {POINTER} in {folder} names it'
            refused.append(CheckpointError(reason))
        else:
            return str(path), refused
    return None, refused


def _candidates(folder: Path) -> list[Path]:
    found = [p for p in folder.glob('*.pth') if not p.name.startswith(('best_', 'bn_'))]
    found.sort(key=_age)
    named = _last_checkpoint(folder)
    if named is None:
        return found
    place = os.path.abspath(named)
    return [named, *(path for path in found if os.path.abspath(path) != place)]


def _age(path: Path) -> tuple:
    numbers = [int(number) for number in re.findall(r'\d+', path.stem)]
    return -path.stat().st_mtime_ns, [-number for number in numbers], path.name


def _last_checkpoint(folder: Path) -> Path | None:
    try:
        text = (folder / POINTER).read_text(errors='replace').strip('\0 \n\r\t')
    except OSError:
        return None
    if not text:
        return None
    own = folder / Path(text).name  # first: the folder may be a copy, or was moved
    return own if os.path.exists(own) else Path(text)


def note_last_checkpoint(folder: str | os.PathLike, path: str) -> None:
    """Let ``last_checkpoint`` in ``folder`` name the checkpoint ``path``."""
    with atomic_write(os.path.join(folder, POINTER)) as part:
        Path(part).write_text(path)


def remove_unfinished(folder: str | os.PathLike, out_dir: str | os.PathLike) -> None:
    """Remove what a killed run had begun to write.

    Args:
        folder: Work folder, with the file ``last_checkpoint``.
        out_dir: Folder of the checkpoints.
    """
    parts = [*Path(out_dir).glob('*.pth.part'), *Path(folder).glob(f'{POINTER}.part')]
    for part in parts:
        part.unlink()


def move_earlier_checkpoints(
    folder: str | os.PathLike, name: str, keep: str | None = None
) -> list[str]:
    """Move the checkpoints of an earlier run in ``folder`` to its folder ``name``.

    So a later resume cannot take them for those of the run that starts now, and this
    run does not overwrite them. Files with other names than a run gives them stay.

    Args:
        keep: Path of a file that stays.

    Returns:
        The new paths.
    """
    folder = Path(folder)
    patterns = ('iter_*', 'epoch_*', 'best_*', 'bn_reestimated')
    files = [path for name in patterns for path in folder.glob(f'{name}.pth')]
    files = sorted([*files, *folder.glob(POINTER)])
    moved = []
    for file in files:
        if keep is not None and os.path.realpath(file) == os.path.realpath(keep):
            continue
        (folder / name).mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another process was faster
            moved.append(str(file.rename(folder / name / file.name)))
    return moved


def describe_way_on(folder: str | os.PathLike) -> str:
    """Advice for a run that broke: a checkpoint in ``folder`` that is whole and finite.

    The file is read, so that a message never names one that is broken as well.
    """
    path, refused = find_resumable(folder)
    if path is not None:
        start = f'Go on from {path} (--resume)'
    elif refused:
        start = (
            f'None of the {len(refused)} checkpoints in {folder} is whole and finite: '
            'start again'
        )
    else:
        start = 'There is no checkpoint of this run yet: start again'
    return (
        f'{start} with a smaller learning rate, clipped gradients '
        '(optim_wrapper.clip_grad), or without mixed precision.'
    )
