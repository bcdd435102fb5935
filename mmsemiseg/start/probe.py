"""A few steps of a config: how long one takes, and how much memory.

Runs in a process of its own (`python -m mmsemiseg.start.probe SETTINGS.json`), so that
memory and the time to start are those of a training.
"""

import dataclasses
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.hooks import Hook
from mmseg.registry import RUNNERS

from ..utils import launch
from ..utils.quiet import ConsoleFilter

AT_THE_END = ('BatchNormReestimationHook',)
"""Hooks that are left out: they pass over many batches when a training ends."""

_EVER = 10**9


@dataclasses.dataclass
class Extent:
    """How much of a config is tried.

    Args:
        steps: Largest number of steps.
        warm: Steps that are not counted: images that were loaded ahead, before the
            first step, make these faster or slower than the others. Fewer, but one at
            least, where they take longer than ``seconds``.
        seconds: Time of counted steps that is enough.
        val_batches: Validation batches; the first of them is counted only if it is
            alone.
    """

    steps: int = 200
    warm: int = 6
    seconds: float = 30.0
    val_batches: int = 4


class Probe(NamedTuple):
    """Seconds of a step, of a validation image (all networks), until the first step.

    ``memory`` is the peak in bytes, of the device on a GPU, else of the process;
    ``save`` are the seconds of a checkpoint of ``size`` bytes; ``counted`` steps were
    timed; ``warnings`` are those that the run has logged.
    """

    step: float
    val_image: float
    start: float
    memory: int
    save: float = 0.0
    size: int = 0
    counted: int = 0
    warnings: tuple[str, ...] = ()


class ProbeError(RuntimeError):
    """The steps could not be done; the message is that of the process."""


class OutOfMemory(ProbeError):
    """A step needs more memory than the device has."""


def probe(config: str, extent: Extent | None = None) -> Probe:
    """Time a few steps of a config, the validation of some images, a checkpoint.

    Args:
        config: Config file; nothing is written into its work folder.
        extent: How much is tried.

    Raises:
        OutOfMemory: The batch does not fit.
        ProbeError: The config cannot be trained.
    """
    extent = extent or Extent()
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / 'result.json'
        settings = dict(config=config, folder=folder, out=str(result))
        settings['extent'] = dataclasses.asdict(extent)
        (Path(folder) / 'settings.json').write_text(json.dumps(settings))
        command = [sys.executable, '-m', __name__, f'{folder}/settings.json']
        done = subprocess.run(
            command, capture_output=True, text=True, env=package_env(), check=False
        )
        if not result.is_file():
            text = (done.stderr.strip() or done.stdout.strip())[-3000:]
            killed = done.returncode == -9  # by the system, where memory ends
            memory = 'OutOfMemoryError' in text or "can't allocate memory" in text
            if killed:
                text = 'the system has ended the process: perhaps memory was short'
            raise (OutOfMemory if memory or killed else ProbeError)(_essence(text))
        found = json.loads(result.read_text())
    start = found.pop('first_step') - began
    warnings = tuple(found.pop('warnings'))
    return Probe(start=start, warnings=warnings, **found)


def package_env() -> dict[str, str]:
    """Environment in which Python finds this very package."""
    package = str(launch.PACKAGE.parent)
    paths = [package, *filter(None, [os.environ.get('PYTHONPATH')])]
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}


def _essence(text: str) -> str:
    """The message of an error, without the traceback before it."""
    lines = text.splitlines()
    at = [i for i, line in enumerate(lines) if 'Error: ' in line and line[0] != ' ']
    return '\n'.join(lines[at[-1] :] if at else lines[-5:])


class StepTimes(Hook):
    """Times of steps; ends the training when it is enough.

    Args:
        extent: How much is enough.
    """

    priority = 'VERY_LOW'

    def __init__(self, extent: Extent) -> None:
        self.extent = extent
        self.ends: list[float] = []
        self.first = 0.0
        self.warmed = 0  # steps that are not counted

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.first = self.first or time.time()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.time())
        done = len(self.ends)
        if not self.counted:
            long = self.ends[-1] - self.first > self.extent.seconds
            if done >= self.extent.warm or long:
                self.warmed = done
        enough = self.counted and self._spent() > self.extent.seconds
        if enough or done >= self.extent.steps:
            runner.train_loop.stop_training = True

    @property
    def counted(self) -> int:
        """Number of steps that are counted; 0 while it warms up."""
        return len(self.ends) - self.warmed if self.warmed else 0

    def step(self) -> float:
        """Seconds of a step, those of loading included."""
        if not self.counted:  # a short run: its last step
            return self.ends[-1] - [self.first, *self.ends][-2]
        return self._spent() / self.counted

    def _spent(self) -> float:
        """Seconds of the counted steps."""
        return self.ends[-1] - self.ends[self.warmed - 1]


class Warnings(logging.Handler):
    """Keeps the warnings of a logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self.addFilter(ConsoleFilter())  # known chatter of MMEngine

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def short_config(path: str, folder: str):
    """The config as a run that can be stopped after some steps, and keeps nothing.

    Lengths stay, as schedules and warm-ups follow them. Of a self-training it is the
    first stage.
    """
    cfg = launch.load_config(path, work_dir=folder)
    cfg.experiment_name = f'probe_{os.getpid()}'
    if cfg.get('runner_type') == 'SelfTrainingRunner':
        cfg.runner_type = 'SemiRunner'
        cfg.pop('self_training', None)
    if cfg.get('runner_type') is None:
        cfg.runner_type = 'QuietRunner'
    kind = cfg.train_cfg.get('type')
    if cfg.train_cfg.get('by_epoch') or kind == 'EpochBasedTrainLoop':
        length = dict(max_iters=_EVER, val_interval=_EVER)
        cfg.train_cfg = dict(type='IterBasedTrainLoop', **length)
        cfg.pop('param_scheduler', None)
    else:
        cfg.train_cfg.val_begin = _EVER  # batches are validated apart
    cfg.default_hooks = cfg.get('default_hooks') or {}
    cfg.default_hooks.checkpoint = None
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [hook for hook in hooks if hook.get('type') not in AT_THE_END]
    cfg.resume = False
    cfg.log_level = 'ERROR'
    return cfg


def run(path: str, extent: Extent, folder: str) -> dict:
    """Train for some steps in this process."""
    runner = RUNNERS.build(short_config(path, folder))
    warnings = Warnings()
    runner.logger.addHandler(warnings)
    times = StepTimes(extent)
    runner.register_hook(times)
    runner.train()
    found = dict(
        step=times.step(),
        counted=max(times.counted, 1),
        val_image=_val_image(runner, extent.val_batches),
        first_step=times.first,
        warnings=list(warnings.texts),
    )
    began = time.time()
    runner.save_checkpoint(folder, 'probe.pth', by_epoch=False)
    size = (Path(folder) / 'probe.pth').stat().st_size
    found.update(save=time.time() - began, size=size)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated()
    return dict(found, memory=memory)


def _val_image(runner, batches: int) -> float:
    """Seconds of a validation image; the first batch, slower, counts only alone."""
    if runner.val_loop is None:
        return 0.0
    runner.model.eval()
    loader = runner.val_loop.dataloader
    images, ends = [], [time.time()]
    for index, batch in enumerate(islice(loader, batches)):
        runner.val_loop.run_iter(index, batch)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        images.append(len(batch['inputs']))
        ends.append(time.time())
    first = 1 if len(images) > 1 else 0
    return (ends[-1] - ends[first]) / max(sum(images[first:]), 1)


def main(argv: Sequence[str]) -> None:
    settings = json.loads(Path(argv[0]).read_text())
    extent = Extent(**settings['extent'])
    found = run(settings['config'], extent, settings['folder'])
    Path(settings['out']).write_text(json.dumps(found))


if __name__ == '__main__':
    main(sys.argv[1:])
