"""Tiny runs of ESL, in one process and in two."""

from unittest import mock

import method_run
import tiny_run
from forked import distributed
from helpers import frozen_copy
from mmengine.dist import get_rank

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


class Left(method_run.Left):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        prototypes = unwrap(runner.model).contrast.prototypes
        self.left.setdefault('begun', frozen_copy(prototypes))

    def look(self, runner, outputs):
        loss = outputs['loss_ctr'].item()
        return dict(rows=method_run.remembered(runner), losses=loss)


def trained(cfg, stop_after=None):
    return method_run.trained(cfg, Left(stop_after))


# Two processes


def two_processes(folder):
    """{run: [what it left on rank 0, on rank 1]}"""
    write_data(folder / 'data')
    return method_run.two_processes(runs, folder)


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


def runs(folder):
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
    return results
