"""Tiny runs of RC²L, in one process and, as a script, in two."""

import faulthandler
import os
import sys
import traceback
from pathlib import Path

import mmengine.runner.runner
import tiny_run
import torch
from distributed_run import SECONDS, distributed, environment, finish, start
from helpers import CLASSES, frozen_copy
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from op_heads import mask_student

from mmsemiseg.engine.runner.processes import init_processes
from mmsemiseg.utils.model import unwrap

ITERS, STOP, SIZE = 4, 3, (64, 96)


def write_data(folder):
    return tiny_run.write_data(folder, labeled=5, unlabeled=7, size=SIZE)


def config(data, work_dir, max_iters=ITERS, head='maskformer', model=None, **settings):
    """With dropout and mixing: all generators are in use."""
    student = mask_student(head, CLASSES, drop=0.1)
    student.data_preprocessor = dict(
        type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3
    )
    rc2l = dict(
        type='RC2L',
        student=student,
        segments=dict(type='QuerySegments', min_area=2),
        region_losses=dict(aux_layers=True),
        **(model or {}),
    )
    cfg = tiny_run.config(data, work_dir, rc2l, max_iters=max_iters)
    cfg.custom_hooks = [dict(type='MeanTeacherHook', decay=0.9)]
    cfg.default_hooks.checkpoint.interval = 2
    cfg.optim_wrapper.optimizer = dict(type='AdamW', lr=1e-3)
    cfg.merge_from_dict(settings)
    return cfg


class Left(Hook):
    """Segments and divisor of each batch, losses of each step; stops after one."""

    priority = 'VERY_LOW'

    def __init__(self, stop_after=None):
        self.segments, self.losses, self.stop_after = [], [], stop_after

    def before_train(self, runner):
        part = unwrap(runner.model).region_losses
        divisor = type(part).divisor

        def watched(segments):
            found = divisor(part, segments)
            self.segments.append((segments.exists.sum().item(), found.item()))
            return found

        part.divisor = watched

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({k: v.item() for k, v in outputs.items() if 'loss' in k})
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
    return dict(state=state, segments=hook.segments, losses=hook.losses)


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
    late = dict(ramp_up=dict(kind='step', length=2))
    results = dict(
        whole=run(folder, 'whole'),
        stopped=run(folder, 'stopped', stop_after=STOP),
        resumed=run(folder, 'stopped', resume='auto'),
        late=run(folder, 'late', model=late, head='mask2former'),
        accumulated=run(folder, 'two', max_iters=2, train_cfg=dict(accumulation=2)),
    )
    torch.save(results, folder / f'results.{get_rank()}.pt')


if __name__ == '__main__':
    try:
        main(Path(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # do not wait for the other process
