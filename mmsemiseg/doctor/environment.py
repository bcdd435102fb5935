"""The machine and the packages."""

import importlib
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch

from ..utils.cpu import busy_cores, has_bfloat16, usable_cores
from ..utils.memory import available_memory
from ..version import __version__
from .findings import Finding

PACKAGES = {  # import name -> names of the distributions, continuation first
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}
BUSY = 0.25  # share of the cores, kept busy by others, that is warned of
ABOUT = 'environment'


class Machine(NamedTuple):
    """What the machine has: bytes of memory and of the disk of the work folder.

    ``busy`` cores were in use by others; ``gpu_memory`` is that of the first GPU. None
    stands for what is not known, or not there.
    """

    device: str
    cores: int
    threads: int
    busy: float | None
    memory: int | None
    gpu_memory: int | None
    disk: int
    bfloat16: bool


def look_at_machine(work_dir: str) -> Machine:
    """The machine as it is now."""
    gpu = torch.cuda.is_available()
    return Machine(
        device='cuda' if gpu else 'cpu',
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        busy=busy_cores(),
        memory=available_memory(),
        gpu_memory=torch.cuda.mem_get_info()[0] if gpu else None,
        disk=shutil.disk_usage(_existing(work_dir)).free,
        bfloat16=torch.cuda.is_bf16_supported() if gpu else has_bfloat16(),
    )


def describe(machine: Machine) -> dict[str, str]:
    """What is there, by name."""
    packages = [f'mmsemiseg {__version__}', f'torch {torch.__version__}']
    for name in PACKAGES:
        found = distributions(name)
        packages.append(' and '.join(found) if found else f'no {name}')
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    busy = ''
    if machine.busy is not None:
        busy = f', others keep {machine.busy:.1f} of them busy'
    memory = 'not known'
    if machine.memory is not None:
        memory = f'{gigabytes(machine.memory)} available'
    if machine.gpu_memory is not None:
        memory += f', {gigabytes(machine.gpu_memory)} free on the GPU'
    return {
        'system': f'Python {platform.python_version()}, {platform.platform()}',
        'packages': ', '.join(packages),
        'compiled ops': 'there' if has_ops() else 'not there: no MaskFormer, no RC2L',
        'device': ', '.join(gpus) or f'CPU, {platform.machine()}',
        'cores': f'{machine.cores}{busy}; {machine.threads} threads',
        'bfloat16': 'in hardware' if machine.bfloat16 else 'not in hardware',
        'memory': memory,
        'disk': f'{gigabytes(machine.disk)} free for the work folder',
    }


def environment_findings(machine: Machine) -> list[Finding]:
    """What is wrong with the machine or the packages."""
    found = []
    for name in PACKAGES:
        if len(both := distributions(name)) > 1:
            found.append(
                Finding(
                    'warning',
                    ABOUT,
                    f'{name} is installed twice, by {" and by ".join(both)}: which of '
                    'them is imported is chance',
                    'Uninstall both, then install one (docs/compatibility.md).',
                )
            )
    families = {
        distributions(name)[0].startswith('onedl-')
        for name in PACKAGES
        if distributions(name)
    }
    if len(families) > 1:
        found.append(
            Finding(
                'warning',
                ABOUT,
                'packages of OpenMMLab and of their continuation (onedl-...) are mixed',
                'Install one family (docs/compatibility.md).',
            )
        )
    busy = machine.busy is not None and machine.busy > BUSY * machine.cores
    if busy:
        found.append(
            Finding(
                'warning',
                ABOUT,
                f'other programs keep {machine.busy:.1f} of {machine.cores} cores '
                'busy: what is timed here is slower than on a free machine',
                'Look again when they have ended. Until then threads wait for each '
                'other: OMP_NUM_THREADS=1 may be faster.',
            )
        )
    if machine.device == 'cpu' and machine.threads < machine.cores and not busy:
        found.append(
            Finding(
                'note',
                ABOUT,
                f'PyTorch takes {machine.threads} of {machine.cores} cores',
                'OMP_NUM_THREADS sets the number.',
            )
        )
    return found


def has_ops() -> bool:
    """Whether mmcv has its compiled operators."""
    try:
        importlib.import_module('mmcv._ext')
    except ImportError:
        return False
    return True


def distributions(name: str) -> list[str]:
    """Installed distributions that have this package, with their versions."""
    found = []
    for distribution in PACKAGES[name]:
        try:
            found.append(f'{distribution} {version(distribution)}')
        except PackageNotFoundError:
            continue
    return found


def gigabytes(size: float) -> str:
    """A size as text.

    >>> gigabytes(3 * 2**29), gigabytes(2**20)
    ('1.5 GB', '1 MB')
    """
    if size < 2**29:
        return f'{size / 2**20:.0f} MB'
    return f'{size / 2**30:.1f} GB'


def _existing(folder: str) -> Path:
    """The folder, or the nearest one above that exists."""
    path = Path(os.path.abspath(folder))
    return next(one for one in (path, *path.parents) if one.exists())
