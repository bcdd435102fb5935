"""A few steps of a config: memory, time, and how long the whole training takes."""

import os
from typing import NamedTuple

from mmengine.config import Config

from ..start.options import duration
from ..start.probe import Extent, OutOfMemory, Probe, ProbeError, probe
from ..utils.pretrained import without_pretrained
from .environment import Machine, gigabytes
from .findings import Finding
from .run_checks import RunLength

ABOUT = 'dry run'
FULL = 0.9  # share of the memory that is warned of


class DryRun(NamedTuple):
    """What was measured; None where the steps could not be done."""

    probe: Probe | None
    findings: list[Finding]


def dry_run(
    cfg: Config, folder: str, machine: Machine, steps: int, length: RunLength
) -> DryRun:
    """Train some steps and validate some images, in a process of their own.

    Args:
        cfg: Config of a run.
        folder: Folder for temporary files.
        machine: The machine, as it was before.
        steps: Number of steps that are timed, after one to warm up.
        length: Length of the whole training.
    """
    short = Config(cfg.to_dict())
    short.model = without_pretrained(short.model)  # time and memory are the same
    path = os.path.join(folder, 'config.py')
    short.dump(path)
    try:
        found = probe(path, Extent(steps + 1, 1, float('inf'), val_batches=2))
    except OutOfMemory as error:
        remedy = (
            'Take smaller batches (train_cfg.accumulation makes up for them), smaller '
            'crops, or mixed precision (--amp).'
        )
        text = f'a step needs more memory than there is: {error}'
        return DryRun(None, [Finding('error', ABOUT, text, remedy)])
    except ProbeError as error:
        return DryRun(None, [Finding('error', ABOUT, f'a step fails: {error}')])
    return DryRun(found, _findings(cfg, found, machine, length))


def seconds_of(found: Probe, length: RunLength, val_images: int) -> dict[str, float]:
    """Seconds of the parts of a whole training."""
    return dict(
        start=found.start,
        training=length.iterations * found.step,
        validation=length.validations * val_images * found.val_image,
        checkpoints=length.checkpoints * found.save,
    )


def describe(
    found: Probe, length: RunLength, val_images: int, machine: Machine
) -> dict[str, str]:
    """What was measured, and what follows from it."""
    parts = seconds_of(found, length, val_images)
    steps = 'step' if found.counted == 1 else 'steps'
    memory = 'of the GPU' if machine.device == 'cuda' else 'of the process that trains'
    rows = {
        'step': f'{found.step:.3g} s, the mean of {found.counted} {steps} after one to '
        'warm up',
        'validation': f'{found.val_image:.3g} s an image, all networks; {val_images} '
        'images',
        'start': f'{duration(found.start)} until the first step',
        'checkpoint': f'{gigabytes(found.size)}, {found.save:.1f} s to write',
        'memory': f'{gigabytes(found.memory)} {memory}',
    }
    shown = [f'{length.iterations} steps {duration(parts["training"])}']
    if length.validations:
        number = length.validations
        times = f'{number} validation{"" if number == 1 else "s"}'
        shown.append(f'{times} {duration(parts["validation"])}')
    if length.checkpoints:
        number = length.checkpoints
        times = f'{number} checkpoint{"" if number == 1 else "s"}'
        shown.append(f'{times} {duration(parts["checkpoints"])}')
    rows['training'] = f'about {duration(sum(parts.values()))}: {", ".join(shown)}'
    if machine.busy is not None:
        rows['assumed'] = (
            f'that the machine stays as it was: others kept {machine.busy:.1f} of '
            f'{machine.cores} cores busy'
        )
    return rows


def _findings(
    cfg: Config, found: Probe, machine: Machine, length: RunLength
) -> list[Finding]:
    findings = [
        Finding('warning', ABOUT, text.removeprefix('NOTE: '))
        for text in found.warnings
    ]
    room = machine.gpu_memory if machine.device == 'cuda' else machine.memory
    if room is not None and found.memory > FULL * room:
        findings.append(
            Finding(
                'warning',
                ABOUT,
                f'a step takes {gigabytes(found.memory)} of the {gigabytes(room)} of '
                'memory that are free',
                'Take smaller batches or crops, or end other programs.',
            )
        )
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    kept = hook.get('max_keep_ckpts', -1)
    files = length.checkpoints if kept < 1 else min(kept, length.checkpoints)
    files += 1 + bool(hook.get('save_best'))  # one is written before one is deleted
    if length.checkpoints and files * found.size > machine.disk:
        findings.append(
            Finding(
                'error',
                ABOUT,
                f'the checkpoints of the run take {gigabytes(files * found.size)} '
                f'({files} of {gigabytes(found.size)}; default_hooks.checkpoint.'
                f'max_keep_ckpts={kept}), but {gigabytes(machine.disk)} of the disk '
                'are free',
                'Keep fewer, or take another --work-dir.',
            )
        )
    return findings
