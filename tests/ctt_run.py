"""Tiny runs of CTT, in one process and, as a script, in two."""

import faulthandler
import os
import sys
import traceback
from pathlib import Path

import mmengine.runner.runner
import tiny_run
import torch
from distributed_run import SECONDS, distributed, environment, finish, start
from helpers import frozen_copy
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from mmsemiseg.engine.runner.processes import init_processes
from mmsemiseg.utils.model import unwrap

ITERS, STOP = 4, 3
SIZE = 4  # of a queue
ENTER = 3  # of a class in a step
PARTS = ('hc0', 'hc1', 'lc0', 'lc1')


def write_data(folder):
    return tiny_run.write_data(folder, labeled=5, unlabeled=7)


def config(data, work_dir, max_iters=ITERS, model=None, **settings):
    """Everything draws random numbers; queues overflow from the second step on.

    Settings of ``model`` replace those here; those of ``contrast`` are merged.
    """
    ctt = dict(
        type='CTT',
        student=tiny_run.tiny_student(),
        mix=dict(type='CutMix'),
        contrast=dict(
            threshold=0.34,  # networks of a few steps are not surer
            projector=dict(channels=5),
            max_anchors=100,
            bank=dict(size=SIZE),
            ready='class',
            enqueue_number=ENTER,
            enqueue_select='random',
        ),
    )
    model = dict(model or {})
    if model.get('contrast'):
        model['contrast'] = {**ctt['contrast'], **model['contrast']}
    ctt.update(model)
    cfg = tiny_run.config(data, work_dir, ctt, max_iters=max_iters)
    cfg.custom_hooks = [
        dict(type='MeanTeacherHook', decay=0.9),
        dict(type='MemoryHook'),
    ]
    cfg.default_hooks.checkpoint.interval = 2
    cfg.optim_wrapper.optimizer.lr = 0.01
    cfg.merge_from_dict(settings)
    return cfg


class Left(Hook):
    """What each batch of each step left for the banks; stops after one."""

    priority = 'VERY_LOW'

    def __init__(self, stop_after=None):
        self.rows, self.losses, self.stop_after = [], [], stop_after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.rows.append([left['memory'] for left in runner.train_loop.step_outputs])
        values = [outputs[f'loss_{part}'] for part in PARTS]
        self.losses.append(torch.stack(values).detach().tolist())
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
    return dict(state=state, rows=hook.rows, losses=hook.losses)


def queue(state, pair, label):
    """Rows of one queue, the oldest first."""
    bank = f'contrast.banks.{pair}'
    count = int(state[f'{bank}.count'][label])
    rows = state[f'{bank}.features'][label]
    if count < SIZE:
        return rows[:count]
    return rows.roll(-int(state[f'{bank}.pointer'][label]), 0)


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


def main(folder):
    # These take longer than a tiny run
    Config.dump = lambda cfg, path: None
    mmengine.runner.runner.collect_env = dict
    init_processes('pytorch', dict(timeout=120))  # seconds; then a hang is an error
    faulthandler.dump_traceback_later(SECONDS - 50, exit=True)  # and shows its place
    recomputed = dict(checkpointing=True, contrast=dict(ready='all'))
    results = dict(
        whole=run(folder, 'whole'),
        stopped=run(folder, 'stopped', stop_after=STOP),
        resumed=run(folder, 'stopped', resume='auto'),
        accumulated=run(folder, 'two', max_iters=2, train_cfg=dict(accumulation=2)),
        recomputed=run(folder, 'recomputed', max_iters=2, model=recomputed),
        three=run(folder, 'three', max_iters=2, model=dict(num_pairs=3)),
    )
    torch.save(results, folder / f'results.{get_rank()}.pt')


if __name__ == '__main__':
    try:
        main(Path(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # do not wait for the other process
