"""Tiny runs of CMB, in one process and, as a script, in two."""

import os
import sys
import traceback
from pathlib import Path

import mmengine.runner.runner
import tiny_run
import torch
from cmb_tiny import BASE, OFFICIAL, candidates, contrast, merged
from distributed_run import distributed, environment, finish, start
from helpers import CLASSES, frozen_copy
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from mmsemiseg.engine.runner.processes import init_processes
from mmsemiseg.models import ClassQueueBank, FrequencyWindow
from mmsemiseg.utils.model import unwrap

SIZE, WIDTH = 20, 6  # of the bank
LABELS, PSEUDO = 3, 4  # batches in the windows
STATE = (
    'contrast.banks.0',
    'class_balance.label_window',
    'class_balance.pseudo_window',
)
BANK_START, CONTRAST_START = 1, 2
PAPER = merged(
    dict(
        pseudo_loss=dict(ramp_up=dict(kind='step', length=2)),
        entropy=dict(norm='nats', over='all'),
    ),
    contrast(joint=True),
    candidates(per='image', read_at='cell'),
)
OFFICIAL = dict(
    OFFICIAL,
    class_balance=dict(
        labels=LABELS, pseudo=PSEUDO, start=2, median='all', keep_labels='first'
    ),
)


def write_data(folder):
    return tiny_run.write_data(folder, labeled=5, unlabeled=7)


def config(data, work_dir, max_iters=6, model=None, source=False, **settings):
    """Two labeled and three unlabeled images; the third iteration contrasts first."""
    student = tiny_run.tiny_student()
    student['decode_head']['loss_decode'] = dict(type='BalancedCrossEntropy')
    spatial = dict(flip_prob=0.5, scale_prob=0.5)
    cmb = dict(
        type='CMB',
        student=student,
        weak_augment=dict(spatial, classmix_prob=0.3),
        strong_augment=dict(spatial, classmix_prob=0.8),
        pseudo_loss=dict(ramp_up=dict(kind='exp', length=4)),
        contrast=dict(
            start=CONTRAST_START,
            proj_hidden=7,
            proj_channels=WIDTH,
            bank=dict(size=SIZE),
            candidates=dict(threshold=None, number=2, start=BANK_START),
        ),
        mix_start=2,
        class_balance=dict(labels=LABELS, pseudo=PSEUDO, start=2),
    )
    cmb = merged(cmb, model or {})
    cfg = tiny_run.config(data, work_dir, cmb, max_iters=max_iters)
    loaders = cfg.train_dataloader
    loaders.labeled.dataset.pipeline = tiny_run.TEST_PIPELINE
    loaders.unlabeled.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='PackUnlabeledInputs'),
    ]
    if source:
        domain = tiny_run.labeled_set(data, 'val', tiny_run.TEST_PIPELINE)
        loaders.source = dict(batch_size=2, num_workers=0, dataset=domain)
    cfg.custom_hooks = [
        dict(type='MeanTeacherHook', decay=0.9),
        dict(type='MemoryHook'),
    ]
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
        self.rows.append([left['memory'] for left in step_outputs])
        self.losses.append(float(outputs['loss_contrast'].detach()))
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


def memory_of(rows_of_ranks, keep_labels='last'):
    """Bank and windows that took the rows of all steps: those of process 0 first.

    In the bank those of a step come by their rank, the best last.
    """
    bank = ClassQueueBank(CLASSES, SIZE, WIDTH)
    labels = FrequencyWindow(LABELS, CLASSES, keep_labels)
    pseudo = FrequencyWindow(PSEUDO, CLASSES)
    for step in zip(*rows_of_ranks, strict=True):
        batches = [rows for of_rank in step for rows in of_rank]
        joined = {k: torch.cat([rows[k] for rows in batches]) for k in batches[0]}
        rank = joined['contrast.rank0'].tolist()
        order = sorted(range(len(rank)), key=lambda row: -rank[row])
        rows = (joined[f'contrast.{name}0'][order] for name in ('features', 'label'))
        bank.enqueue(*rows)
        labels.enqueue(joined['class_balance.label_counts'])
        pseudo.enqueue(joined['class_balance.pseudo_counts'])
    return {
        f'{name}.{key}': value
        for name, part in zip(STATE, (bank, labels, pseudo), strict=True)
        for key, value in part.state_dict().items()
    }


def kept(state):
    """The entries of :func:`memory_of` in the state of a model."""
    return {k: v for k, v in state.items() if k.startswith(STATE)}


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
    init_processes('pytorch', dict(timeout=200))  # seconds; then a hang is an error
    results = dict(
        whole=run(folder, 'whole', source=True),
        stopped=run(folder, 'stopped', source=True, stop_after=5),
        resumed=run(folder, 'stopped', source=True, resume='auto'),
        paper=run(folder, 'paper', max_iters=4, model=PAPER),
        official=run(folder, 'official', max_iters=4, model=OFFICIAL),
        base=run(folder, 'base', max_iters=4, model=BASE),
        accumulated=run(folder, 'two', max_iters=4, train_cfg=dict(accumulation=2)),
    )
    torch.save(results, folder / f'results.{get_rank()}.pt')


if __name__ == '__main__':
    try:
        main(Path(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # do not wait for the other process
