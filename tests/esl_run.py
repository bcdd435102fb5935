"""Tiny runs of ESL, in one process and, as a script, in two."""

import faulthandler
import os
import sys
import traceback
from pathlib import Path
from unittest import mock

import mmengine.runner.runner
import tiny_run
import torch
from distributed_run import SECONDS, distributed, environment, finish, start
from helpers import frozen_copy
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from mmsemiseg.engine.runner.processes import init_processes
from mmsemiseg.functional import kmeans
from mmsemiseg.models import PartContrast
from mmsemiseg.models.memories import part_prototypes
from mmsemiseg.utils.model import unwrap

ITERS, STOP = 4, 3
FEATURES = 20  # of a class, that are clustered


def write_data(folder):
    return tiny_run.write_data(folder, labeled=5, unlabeled=7)


def config(data, work_dir, max_iters=ITERS, contrast=None, hook=None, **settings):
    """Everything draws random numbers; queues overflow from the second step on."""
    model = dict(
        type='ESL',
        student=tiny_run.tiny_student(),
        contrast=dict(
            num_parts=2,
            threshold=0.34,  # networks of a few steps are not surer
            num_negatives=7,
            anchor_share=0.2,
            projector=dict(channels=5, hidden_channels=4),
            bank=dict(size=3),
            prototypes=dict(decay=0.7),
            **(contrast or {}),
        ),
    )
    cfg = tiny_run.config(data, work_dir, model, max_iters=max_iters)
    init = dict(type='PrototypeInitHook', features_per_class=FEATURES)
    cfg.custom_hooks = [
        dict(type='MeanTeacherHook', decay=0.9),
        init if hook is None else hook,
    ]
    cfg.default_hooks.checkpoint.interval = 2
    cfg.optim_wrapper.optimizer.lr = 0.01
    cfg.merge_from_dict(settings)
    return cfg


class Left(Hook):
    """What each batch of each step left for the memory; stops after one."""

    priority = 'VERY_LOW'

    def __init__(self, stop_after=None):
        self.rows, self.losses, self.stop_after = [], [], stop_after
        self.begun = None

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.begun is None:
            self.begun = frozen_copy(unwrap(runner.model).contrast.prototypes)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.rows.append([left['memory'] for left in runner.train_loop.step_outputs])
        self.losses.append(outputs['loss_ctr'].item())
        if runner.iter + 1 == self.stop_after:
            raise KeyboardInterrupt


def trained(cfg, stop_after=None):
    hook = Left(stop_after)
    runner = tiny_run.build(cfg)
    runner.register_hook(hook)
    try:
        runner.train()
    except KeyboardInterrupt:
        assert stop_after is not None
    state = frozen_copy(unwrap(runner.model))
    return dict(state=state, rows=hook.rows, losses=hook.losses, begun=hook.begun)


# Two processes


def two_processes(folder):
    """{run: [what it left on rank 0, on rank 1]}"""
    write_data(folder / 'data')
    here = Path(__file__).parent
    env = environment(
        WORLD_SIZE='2', PYTHONPATH=os.pathsep.join(map(str, (here, here.parent)))
    )
    finish(
        [
            start((sys.executable, __file__, folder), dict(env, RANK=r, LOCAL_RANK=r))
            for r in ('0', '1')
        ]
    )
    results = [
        torch.load(folder / f'results.{rank}.pt', weights_only=False) for rank in (0, 1)
    ]
    return {name: [result[name] for result in results] for name in results[0]}


def run(folder, name, stop_after=None, **settings):
    cfg = config(folder / 'data', folder / name, **settings)
    return trained(distributed(cfg), stop_after)


def clustered_by(run, *args, **settings):
    """What a run left, and the number of rows of each K-means of this process."""
    counts = []

    def watched(rows, k, **more):
        counts.append(len(rows))
        return kmeans(rows, k, **more)

    with mock.patch.object(part_prototypes, 'kmeans', watched):
        return dict(run(*args, **settings), counts=counts)


def uneven(self, model, batch, features=PartContrast.prototype_features):
    """The second process has few features."""
    rows, label = features(self, model, batch)
    return rows[: 9 if get_rank() else None], label[: 9 if get_rank() else None]


def main(folder):
    # These take longer than a tiny run
    Config.dump = lambda cfg, path: None
    mmengine.runner.runner.collect_env = dict
    init_processes('pytorch', dict(timeout=120))  # seconds; then a hang is an error
    faulthandler.dump_traceback_later(SECONDS - 50, exit=True)  # and shows its place
    no_init = dict(type='MemoryHook')
    results = dict(
        whole=run(folder, 'whole'),
        stopped=run(folder, 'stopped', stop_after=STOP),
        resumed=run(folder, 'stopped', resume='auto'),
        accumulated=run(folder, 'two', max_iters=2, train_cfg=dict(accumulation=2)),
        late=clustered_by(run, folder, 'late', max_iters=2, hook=no_init),
        before=run(folder, 'before', max_iters=2, contrast=dict(enqueue='before')),
    )
    with mock.patch.object(PartContrast, 'prototype_features', uneven):
        results['uneven'] = clustered_by(run, folder, 'uneven', max_iters=1)
    torch.save(results, folder / f'results.{get_rank()}.pt')


if __name__ == '__main__':
    try:
        main(Path(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # do not wait for the other process
