"""Tiny runs of CMB, in one process and in two."""

import method_run
import tiny_run
import torch
from cmb_tiny import BASE, OFFICIAL, candidates, contrast, geometry, merged
from forked import distributed
from helpers import CLASSES

from mmsemiseg.models import ClassQueueBank, FrequencyWindow

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
    cmb = dict(
        type='CMB',
        student=student,
        weak_augment=geometry(classmix=0.3),
        strong_augment=geometry(classmix=0.8),
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


class Left(method_run.Left):
    def look(self, runner, outputs):
        loss = float(outputs['loss_contrast'].detach())
        return dict(rows=method_run.remembered(runner), losses=loss)


def trained(cfg, stop_after=None):
    return method_run.trained(cfg, Left(stop_after))


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
    return method_run.two_processes(runs, folder)


def run(folder, name, stop_after=None, **settings):
    cfg = config(folder / 'data', folder / name, **settings)
    return trained(distributed(cfg), stop_after)


def runs(folder):
    return dict(
        whole=run(folder, 'whole', source=True),
        stopped=run(folder, 'stopped', source=True, stop_after=5),
        resumed=run(folder, 'stopped', source=True, resume='auto'),
        paper=run(folder, 'paper', max_iters=4, model=PAPER),
        official=run(folder, 'official', max_iters=4, model=OFFICIAL),
        base=run(folder, 'base', max_iters=4, model=BASE),
        accumulated=run(folder, 'two', max_iters=4, train_cfg=dict(accumulation=2)),
    )
