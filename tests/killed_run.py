"""Runs in processes of their own, which SIGKILL ends where a test wants it."""

import os
import random
import resource
import signal
from pathlib import Path

import forked
import numpy as np
import torch
from forked import end
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from tiny_run import build

from mmsemiseg.engine.hooks import SafeCheckpointHook
from mmsemiseg.engine.runner import mask_writer
from mmsemiseg.utils.model import unwrap

# What differs between two runs that are the same: times, and names of places
VOLATILE = (
    "['meta']['time']",
    "['meta']['cfg']",
    "['experiment_name']",
    "['mmengine_version']",  # with the commit of the current folder
    "['runtime_info']['cfg']",
    "['runtime_info']['eta']",
    "['runtime_info']['last_ckpt']",
    "['runtime_info']['best_ckpt']",
    "time']",
)


# Hooks register by force: pytest, looking for doctests, imports this file once more


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module(force=True)
class Kill(Hook):
    """End the process, as the system does it, at a moment of an iteration.

    Args:
        moment: One of ``start`` (of the iteration), ``forward`` (done for its last
            batch), ``backward`` (done, before the optimizer steps), ``step`` (done,
            before the teacher moves); ``write`` (half of the checkpoint), ``rename``
            (before it gets its name), ``pointer`` (before ``last_checkpoint`` names
            it), ``delete`` (before an older one goes), ``best`` (half of a best one);
            ``val`` (done for one image), ``validated``; ``mask`` (half of one).
            None: never.
        iteration: Counted from 1; of ``mask`` the number of the mask.
        stage: End of the name of the work folder.
    """

    priority = 'HIGHEST'

    def __init__(self, moment=None, iteration=0, stage=''):
        self.moment = moment
        self.iteration = iteration
        self.stage = stage

    def before_train(self, runner):
        if not runner.work_dir.endswith(self.stage):
            self.moment = None
        patch = getattr(self, f'_patch_{self.moment}', None)
        if patch is not None:
            patch(runner)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self._kill('start', runner.iter + 1)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._kill('step', runner.iter + 1)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._kill('val', runner.iter)

    def after_val(self, runner):
        self._kill('validated', runner.iter)

    def _kill(self, moment, iteration):
        if (moment, iteration) == (self.moment, self.iteration):
            kill()

    def _patch_forward(self, runner):
        loop = runner.train_loop

        def is_last(losses):
            batch = len(loop.step_outputs) + 1
            return (loop.iter + 1, batch) == (self.iteration, loop.accumulation)

        kill_before(unwrap(runner.model), 'parse_losses', is_last)

    def _patch_backward(self, runner):
        optimizer = runner.optim_wrapper.optimizer
        kill_before(optimizer, 'step', lambda: runner.iter + 1 == self.iteration)

    def _patch_write(self, runner):
        kill_in_write(f'/iter_{self.iteration}.pth')

    def _patch_best(self, runner):
        kill_in_write(f'mIoU_iter_{self.iteration}.pth')

    def _patch_rename(self, runner):
        name = f'iter_{self.iteration}.pth'
        kill_before(os, 'replace', lambda part, path: str(path).endswith(name))

    def _patch_pointer(self, runner):
        def names_it(part, path):
            is_pointer = str(path).endswith('last_checkpoint')
            return is_pointer and f'iter_{self.iteration}.' in Path(part).read_text()

        kill_before(os, 'replace', names_it)

    def _patch_delete(self, runner):
        now = runner.train_loop
        kill_before(
            SafeCheckpointHook, '_delete', lambda *_: now.iter + 1 >= self.iteration
        )

    def _patch_mask(self, runner):
        written = []

        def write_half(path, content):
            written.append(path)
            if len(written) == self.iteration:
                Path(f'{path}.1.part').write_bytes(content[: len(content) // 2])
                kill()
            write(path, content)

        write, mask_writer._write = mask_writer._write, write_half


def kill_before(owner, name, applies):
    """Before the call ``owner.name(...)`` for whose arguments ``applies`` is true."""
    function = getattr(owner, name)

    def killing(*args, **settings):
        if applies(*args):
            kill()
        return function(*args, **settings)

    setattr(owner, name, killing)


def kill_in_write(name):
    write = LocalBackend.put

    def write_half(self, content, path):
        if name in str(path):
            write(self, content[: len(content) // 2], path)
            kill()
        write(self, content, path)

    LocalBackend.put = write_half


@HOOKS.register_module(force=True)
class Draws(Hook):
    """Draws from every generator in training, into the log, and in validation."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for name, value in draw().items():
            runner.message_hub.update_scalar(f'train/{name}', value)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        draw()


def draw():
    return dict(
        python=random.random(), numpy=np.random.rand(), torch=torch.rand(1).item()
    )


@HOOKS.register_module(force=True)
class FullDisk(Hook):
    """From an iteration on, no file can grow beyond ``limit`` bytes."""

    def __init__(self, iteration, limit=2**16):
        self.iteration = iteration
        self.limit = limit

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, hard))


@HOOKS.register_module(force=True)
class Signal(Hook):
    """Makes a file when an iteration begins; does not get past the last one."""

    def __init__(self, path, iteration):
        self.path = Path(path)
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            self.path.touch()
        if runner.iter + 1 == runner.max_iters:
            signal.pause()


# Processes


def start(cfg, **environment):
    """The process of a run."""
    report = f'{cfg.work_dir}.error{environment.get("RANK", "")}'
    return forked.start(_train, cfg.to_dict(), report=report, **environment)


def _train(cfg):
    build(Config(cfg)).train()


def finish(cfg):
    """Run to the end in a process of its own."""
    code = end(start(cfg))
    report = Path(f'{cfg.work_dir}.error')
    assert code == 0, report.read_text() if report.exists() else code


def pair(cfg):
    """Exit codes of the two processes of a distributed run, both at their ends."""
    cfg = Config(cfg.to_dict())
    cfg.launcher = 'pytorch'
    cfg.env_cfg = dict(dist_cfg=dict(timeout=100))
    shared = dict(forked.surroundings(), WORLD_SIZE='2')
    ranks = [start(cfg, RANK=rank, LOCAL_RANK=rank, **shared) for rank in ('0', '1')]
    return [end(process) for process in ranks]


def failure(cfg):
    """The traceback of a run that fails."""
    assert end(start(cfg)) == 1
    return Path(f'{cfg.work_dir}.error').read_text()


def killed(cfg, moment, iteration, stage=''):
    """Run until it is killed."""
    cfg = Config(cfg.to_dict())
    cfg.custom_hooks.append(
        dict(type='Kill', moment=moment, iteration=iteration, stage=stage)
    )
    code = end(start(cfg))
    report = Path(f'{cfg.work_dir}.error')
    assert code == -signal.SIGKILL, report.read_text() if report.exists() else code


# Comparing


def content(path):
    """All that a checkpoint holds, by place, but what is :data:`VOLATILE`."""
    leaves = {}
    _collect(torch.load(path, map_location='cpu', weights_only=True), '', leaves)
    return leaves


def _collect(value, place, leaves):
    if place.endswith(VOLATILE):
        return
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        leaves[f'{place}:'] = type(value), len(value)
        for key, item in items:
            _collect(item, f'{place}[{key!r}]', leaves)
    else:
        leaves[place] = value


def different(one, other):
    """Places where two checkpoints are not the same bits."""
    places = {**one, **other}
    return [place for place in places if not _same(one.get(place), other.get(place))]


def _same(one, other):
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return type(one) is type(other) and one == other
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and one.reshape(-1).view(torch.uint8).equal(other.reshape(-1).view(torch.uint8))
    )
