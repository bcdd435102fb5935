"""Peak memory, and the mIoU by which a teacher is ahead of its student."""

import re
import sys
from contextlib import suppress
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ...utils.settings import check_integers


@HOOKS.register_module()
class RunMonitorHook(Hook):
    """Log the peak memory, and how far the teacher is ahead of its student.

    - ``train/peak_memory_mb``, every ``interval`` iterations: the most memory so far;
      on CUDA that of tensors, on a CPU the resident memory of this process (without
      its data workers).
    - ``val/gap``, after each validation of both: the teacher's mIoU minus the
      student's, so that it is negative where the teacher is behind (``val/gap0``, ...
      for several pairs).

    The package's base runtime (``configs/_base_/default_runtime.py``) has this hook; a
    config without it needs it in ``custom_hooks``.

    Args:
        interval: Number of iterations between two values of the memory.
    """

    priority = 'NORMAL'

    def __init__(self, interval: int = 50) -> None:
        check_integers(1, interval=interval)
        self.interval = interval
        self._peak = 0.0

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        # read in every iteration: mmengine's log resets CUDA's peak
        device = next(runner.model.parameters()).device
        self._peak = max(self._peak, peak_memory_mb(device))
        if self.every_n_train_iters(runner, self.interval):
            runner.message_hub.update_scalar(
                'train/peak_memory_mb', round(self._peak, 1), resumed=False
            )

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        metrics = metrics or {}
        for key, teacher in metrics.items():
            match = re.fullmatch(r'teacher(\d*)/mIoU', key)
            student = metrics.get(f'student{match[1]}/mIoU') if match else None
            if student is not None:
                gap = float(teacher) - float(student)
                runner.message_hub.update_scalar(f'val/gap{match[1]}', gap)


def peak_memory_mb(device: torch.device) -> float:
    """The most memory, in MiB, that tensors (CUDA) or this process (CPU) had."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == 'win32':
        return 0.0  # Python's standard library cannot tell
    with suppress(OSError, TypeError):
        # of this process alone, where getrusage begins with its parent's
        status = Path('/proc/self/status').read_text()
        return int(re.search(r'VmHWM:\s*(\d+)', status)[1]) / 2**10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == 'darwin' else 2**10)
