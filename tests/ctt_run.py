"""Tiny runs of CTT, in one process and in two."""

import method_run
import tiny_run
from forked import distributed

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


class Left(method_run.Left):
    def look(self, runner, outputs):
        losses = [float(outputs[f'loss_{part}'].detach()) for part in PARTS]
        return dict(rows=method_run.remembered(runner), losses=losses)


def trained(cfg, stop_after=None):
    return method_run.trained(cfg, Left(stop_after))


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
    return method_run.two_processes(runs, folder)


def run(folder, name, stop_after=None, **settings):
    cfg = config(folder / 'data', folder / name, **settings)
    return trained(distributed(cfg), stop_after)


def runs(folder):
    recomputed = dict(checkpointing=True, contrast=dict(ready='all'))
    return dict(
        whole=run(folder, 'whole'),
        stopped=run(folder, 'stopped', stop_after=STOP),
        resumed=run(folder, 'stopped', resume='auto'),
        accumulated=run(folder, 'two', max_iters=2, train_cfg=dict(accumulation=2)),
        recomputed=run(folder, 'recomputed', max_iters=2, model=recomputed),
        three=run(folder, 'three', max_iters=2, model=dict(num_pairs=3)),
    )
