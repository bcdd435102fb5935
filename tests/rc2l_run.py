"""Tiny runs of RC²L, in one process and in two."""

import method_run
import tiny_run
from forked import distributed
from helpers import CLASSES
from op_heads import mask_student

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


class Left(method_run.Left):
    """Also the segments and the divisor of each batch."""

    def before_train(self, runner):
        segments = self.left['segments'] = []
        part = unwrap(runner.model).region_losses
        divisor = type(part).divisor

        def watched(given):
            found = divisor(part, given)
            segments.append((given.exists.sum().item(), found.item()))
            return found

        part.divisor = watched

    def look(self, runner, outputs):
        return dict(losses={k: v.item() for k, v in outputs.items() if 'loss' in k})


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


def runs(folder):
    late = dict(ramp_up=dict(kind='step', length=2))
    return dict(
        whole=run(folder, 'whole'),
        stopped=run(folder, 'stopped', stop_after=STOP),
        resumed=run(folder, 'stopped', resume='auto'),
        late=run(folder, 'late', model=late, head='mask2former'),
        accumulated=run(folder, 'two', max_iters=2, train_cfg=dict(accumulation=2)),
    )
