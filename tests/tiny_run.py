"""A small data set on disk, and runs on it that take seconds."""

import copy
from pathlib import Path

import numpy as np
from helpers import CLASSES, student_cfg
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import RUNNERS
from PIL import Image

import mmsemiseg  # noqa: F401, fills the registries

METAINFO = dict(classes=('a', 'b', 'c'), palette=[[0, 0, 0], [9, 9, 9], [99, 99, 99]])
PACK = dict(type='PackSegInputs')
TEST_PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), PACK]


def write_data(root, labeled=2, unlabeled=4, val=3, size=(32, 32)):
    """``labeled/``, ``unlabeled/``, ``val/`` images, ``masks/``; (height, width).

    Masks of unlabeled images are there too, but are garbage.
    """
    rng = np.random.default_rng(0)
    for split, count in dict(labeled=labeled, unlabeled=unlabeled, val=val).items():
        for folder in (f'{split}/images', f'{split}/masks'):
            (Path(root) / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            mask = np.kron(rng.integers(0, CLASSES, (4, 4)), np.ones((8, 8)))
            mask = np.resize(mask, size).astype(np.uint8)
            image = 80 * mask[..., None] + rng.integers(0, 80, (*size, 3))
            folder = Path(root) / split
            name = f'{split[0]}{number}.png'
            Image.fromarray(image.astype(np.uint8)).save(folder / 'images' / name)
            if split == 'unlabeled':
                (folder / 'masks' / name).write_bytes(b'no image at all')
            else:
                Image.fromarray(mask).save(folder / 'masks' / name)
    return Path(root)


def labeled_set(root, split='labeled', pipeline=None):
    if pipeline is None:
        pipeline = [
            *TEST_PIPELINE[:2],
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            PACK,
        ]
    return dict(
        type='FolderSegDataset',
        data_root=str(root / split),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=METAINFO,
        pipeline=pipeline,
    )


def unlabeled_set(root):
    views = dict(weak=[], strong=[dict(type='PhotoMetricDistortion')])
    shared = [dict(type='RandomFlip', prob=0.5)]
    return dict(
        type='UnlabeledDataset',
        data_root=str(root),
        images='unlabeled/images',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='MultiView', shared=shared, views=views),
        ],
    )


def sup_only(**settings):
    return dict(type='SupOnly', student=tiny_student(), **settings)


def mean_teacher(**settings):
    loss = dict(threshold=0.0, **settings.pop('pseudo_loss', {}))
    model = dict(type='MeanTeacher', student=tiny_student(), pseudo_loss=loss)
    return dict(model, **settings)


def tiny_student():
    """One stage of the ResNet, with dropout: every generator is in use."""
    return student_cfg(
        backbone=dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)),
        decode_head=dict(in_channels=8, in_index=0, dropout_ratio=0.1),
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3
        ),
    )


def config(root, work_dir, model=None, max_iters=4, workers=0, **settings):
    """Config of a run; a mean teacher where the model is not given."""
    work_dir = Path(work_dir)
    train = dict(
        labeled=dict(batch_size=2, num_workers=workers, dataset=labeled_set(root)),
        unlabeled=dict(batch_size=3, num_workers=workers, dataset=unlabeled_set(root)),
    )
    validation = dict(
        batch_size=1,
        num_workers=workers,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=labeled_set(root, 'val', TEST_PIPELINE),
    )
    metric = dict(type='IoUMetric', iou_metrics=['mIoU'])
    checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=max_iters)
    hooks = [dict(type='MeanTeacherHook', decay=0.9)] if model is None else []
    cfg = dict(
        runner_type='SemiRunner',
        default_scope='mmseg',
        model=model or mean_teacher(),
        work_dir=str(work_dir),
        experiment_name='_'.join(work_dir.parts[-3:]),
        train_dataloader=train,
        train_cfg=dict(type='SemiTrainLoop', max_iters=max_iters, val_interval=1000),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        val_dataloader=validation,
        val_cfg=dict(type='TeacherStudentValLoop'),
        val_evaluator=metric,
        test_dataloader=copy.deepcopy(validation),
        test_cfg=dict(type='TestLoop'),
        test_evaluator=metric,
        default_hooks=dict(checkpoint=checkpoint),
        custom_hooks=hooks,
        randomness=dict(seed=5),
        log_processor=dict(by_epoch=False),
        visualizer=None,
    )
    cfg = Config(cfg)
    cfg.merge_from_dict(settings)
    return cfg


def build(cfg):
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def train(cfg, *hooks):
    """The runner, after it has trained."""
    runner = build(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def weights(runner):
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


def differing(one, other):
    """Names of the tensors that two state dicts do not share bit for bit."""
    assert one.keys() == other.keys()
    return [key for key in one if not one[key].equal(other[key])]


def shrink(part):
    """In a part of a config images of 400 x 400 become 80 x 80, crops of 320 64."""
    sizes = {(320, 320): (64, 64), (400, 400): (80, 80)}
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        if isinstance(value, (dict, list)):
            shrink(value)
        elif isinstance(value, tuple):
            part[key] = sizes.get(value, value)
