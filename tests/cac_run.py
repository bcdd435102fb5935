"""Tiny runs of CAC, in one process and, as a script, in two."""

import os
import sys
import traceback
from pathlib import Path

import mmengine.runner.runner
import tiny_run
import torch
from distributed_run import distributed, environment, finish, start
from helpers import frozen_copy
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from mmsemiseg.engine.runner.processes import init_processes
from mmsemiseg.utils.model import unwrap

NUMBER, STEPS = 12, 2  # cells of a crop's batch, earlier steps
CROPS = dict(
    type='OverlapCrops',
    crop_size=(32, 32),
    stride=8,
    pipeline=[
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
    ],
)


def write_data(folder):
    return tiny_run.write_data(folder, labeled=5, unlabeled=7, size=(48, 56))


def config(data, work_dir, max_iters=6, model=None, **settings):
    """Every cell teaches; the first iteration with a loss is the third one."""
    contrast = dict(
        type='OverlapContrast',
        projector=dict(type='ProjectionHead', channels=6),
        threshold=None,
        num_negatives=NUMBER,
        bank=dict(type='StepQueue', steps=STEPS),
        start=2,
    )
    cac = dict(type='CAC', student=tiny_run.tiny_student(), contrast=contrast)
    cac.update(model or {})
    cfg = tiny_run.config(data, work_dir, cac, max_iters=max_iters)
    cfg.train_dataloader.unlabeled.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        CROPS,
    ]
    cfg.train_dataloader.labeled.dataset.pipeline.insert(
        2, dict(type='RandomCrop', crop_size=(32, 32))
    )
    cfg.custom_hooks = [dict(type='MemoryHook')]
    cfg.default_hooks.checkpoint.interval = 2
    cfg.optim_wrapper.optimizer.lr = 0.01  # pseudo labels stay mixed
    cfg.merge_from_dict(settings)
    return cfg


class Left(Hook):
    """What each batch of each iteration left for the memory; stops after one."""

    priority = 'VERY_LOW'

    def __init__(self, stop_after=None):
        self.rows, self.losses, self.stop_after = [], [], stop_after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        step_outputs = runner.train_loop.step_outputs
        self.rows.append([left['memory'] for left in step_outputs if 'memory' in left])
        self.losses.append(float(outputs['loss_dc'].detach()))
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


def entered(state):
    """Rows of the bank, the oldest first."""
    place = int(state['contrast.bank.pointer'])
    return {
        f'contrast.{name}': state[f'contrast.bank.{name}'].roll(-place, 0)
        for name in ('features', 'labels')
    }


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


def own_places(folder):
    """Of the keys of both processes those at the places of this one's cells."""
    from cac_crops import cells_of, random_pair

    model = unwrap(tiny_run.build(config(folder / 'data', folder / 'places')).model)
    cells = [cells_of(model.train(), view) for view in random_pair(get_rank())]
    drawn = model.contrast.negatives(model.contrast.draw(cells))
    found = [
        (
            drawn.features[place[place >= 0]],
            c.embedding.flatten(0, 1)[place >= 0].detach(),
        )
        for place, c in zip(drawn.places, cells, strict=True)
    ]
    return dict(found=found, keys=drawn.features)


def main(folder):
    # These take longer than a tiny run
    Config.dump = lambda cfg, path: None
    mmengine.runner.runner.collect_env = dict
    init_processes('pytorch', dict(timeout=60))  # seconds; then a hang is an error
    results = dict(
        whole=run(folder, 'whole'),
        stopped=run(folder, 'stopped', stop_after=5),
        resumed=run(folder, 'stopped', resume='auto'),
        accumulated=run(folder, 'two', max_iters=4, train_cfg=dict(accumulation=2)),
        places=own_places(folder),
    )
    torch.save(results, folder / f'results.{get_rank()}.pt')


if __name__ == '__main__':
    try:
        main(Path(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # do not wait for the other process
