"""Tiny runs of CAC, in one process and in two."""

import method_run
import tiny_run
from forked import distributed
from mmengine.dist import get_rank

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


class Left(method_run.Left):
    def look(self, runner, outputs):
        loss = float(outputs['loss_dc'].detach())
        return dict(rows=method_run.remembered(runner), losses=loss)


def trained(cfg, stop_after=None):
    return method_run.trained(cfg, Left(stop_after))


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
    return method_run.two_processes(runs, folder)


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


def runs(folder):
    return dict(
        whole=run(folder, 'whole'),
        stopped=run(folder, 'stopped', stop_after=5),
        resumed=run(folder, 'stopped', resume='auto'),
        accumulated=run(folder, 'two', max_iters=4, train_cfg=dict(accumulation=2)),
        places=own_places(folder),
    )
