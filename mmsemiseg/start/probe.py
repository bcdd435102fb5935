"""A few steps of a config: how long one takes, and how much memory.

Runs in a process of its own (`python -m mmsemiseg.start.probe SETTINGS.json`), so that
memory and the time to start are those of a training.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.hooks import Hook
from mmseg.registry import RUNNERS

from ..utils import launch

STEPS = 12
WARM = 3  # steps that are not counted
LONGEST = 30.0  # seconds of steps that are enough
VAL_IMAGES = 4


class Probe(NamedTuple):
    """Seconds of a step, of a validation image (all networks), until the first step.

    ``memory`` is the peak in bytes, of the device on a GPU, else of the process.
    """

    step: float
    val_image: float
    start: float
    memory: int


class ProbeError(RuntimeError):
    """The steps could not be done; the message is that of the process."""


class OutOfMemory(ProbeError):
    """A step needs more memory than the device has."""


def probe(config: str, steps: int = STEPS) -> Probe:
    """Time a few steps of a config, and the validation of some images.

    Raises:
        OutOfMemory: The batch does not fit.
        ProbeError: The config cannot be trained.
    """
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / 'result.json'
        settings = dict(config=config, steps=steps, folder=folder, out=str(result))
        (Path(folder) / 'settings.json').write_text(json.dumps(settings))
        command = [sys.executable, '-m', __name__, f'{folder}/settings.json']
        done = subprocess.run(
            command, capture_output=True, text=True, env=package_env(), check=False
        )
        if not result.is_file():
            text = (done.stderr.strip() or done.stdout.strip())[-3000:]
            memory = 'OutOfMemoryError' in text or "can't allocate memory" in text
            raise (OutOfMemory if memory else ProbeError)(_essence(text))
        found = json.loads(result.read_text())
    start = found['first_step'] - began
    return Probe(found['step'], found['val_image'], start, found['memory'])


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
    """Times of steps and of validation images; ends the training when it is enough."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.images: list[float] = []
        self.first = 0.0
        self._began = 0.0

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.first = self.first or time.time()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.steps.append(time.time())
        counted = self.steps[-1] - self.steps[min(WARM, len(self.steps)) - 1]
        if len(self.steps) > WARM + 1 and counted > LONGEST:
            runner.train_loop.stop_training = True

    def before_val(self, runner) -> None:
        self._began = time.time()

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.images.append(time.time())

    def step(self) -> float:
        """Seconds of a step, those of loading included."""
        warm = min(WARM, len(self.steps) - 2)
        return (self.steps[-1] - self.steps[warm]) / (len(self.steps) - 1 - warm)

    def image(self) -> float:
        """Seconds of a validation image; the first one, slower, counts only alone."""
        if len(self.images) < 2:
            return self.images[0] - self._began if self.images else 0.0
        return (self.images[-1] - self.images[0]) / (len(self.images) - 1)


def short_config(path: str, steps: int, folder: str):
    """The config with few iterations, few validation images, and nothing kept."""
    cfg = launch.load_config(path, work_dir=folder)
    cfg.experiment_name = f'probe_{os.getpid()}'
    interval = dict(max_iters=steps, val_interval=steps, check_data=False)
    cfg.train_cfg.update(interval)
    cfg.default_hooks = cfg.get('default_hooks') or {}
    for name in ('visualization', 'losses', 'run', 'pseudo_labels', 'predictions'):
        cfg.default_hooks.pop(name, None)
    cfg.default_hooks.checkpoint = None
    cfg.pop('param_scheduler', None)  # a warm-up may be longer than these steps
    cfg.vis_backends = []
    if 'visualizer' in cfg:
        cfg.visualizer.vis_backends = []
    if cfg.get('val_dataloader'):
        cfg.val_dataloader.dataset.indices = VAL_IMAGES
    cfg.log_level = 'ERROR'
    return cfg


def run(path: str, steps: int, folder: str) -> dict:
    """Train for some steps in this process."""
    runner = RUNNERS.build(short_config(path, steps, folder))
    times = StepTimes()
    runner.register_hook(times)
    runner.train()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated()
    return dict(
        step=times.step(),
        val_image=times.image(),
        first_step=times.first,
        memory=memory,
    )


def main(argv: Sequence[str]) -> None:
    settings = json.loads(Path(argv[0]).read_text())
    found = run(settings['config'], settings['steps'], settings['folder'])
    Path(settings['out']).write_text(json.dumps(found))


if __name__ == '__main__':
    main(sys.argv[1:])
