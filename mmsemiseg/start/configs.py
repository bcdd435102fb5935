"""Readable configs: one of the data, and one for each method that starts from it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from ..utils.launch import CONTENT
from .classes import ClassTable
from .methods import BASELINE, Method, filled
from .plan import RATIO, SAVE_INTERVAL, Plan
from .students import Student

HEADS = ('decode_head', 'auxiliary_head')
TYPES = {'bf16': 'Bf16OptimWrapper', 'fp16': 'AmpOptimWrapper'}


class DataFiles(NamedTuple):
    """Folders and lists of the streams, as the config of the data names them."""

    images: str
    masks: str
    labeled: str
    unlabeled: str
    val_images: str
    val_masks: str
    val: str


def data_text(
    table: ClassTable,
    files: DataFiles,
    counts: Mapping[str, int],
    plan: Plan,
    mean: Sequence[int],
) -> str:
    """The config of the data: streams, pipelines, validation, metrics."""
    told = ', '.join(f'{number} {name}' for name, number in counts.items())
    side, ratio = plan.side, RATIO
    classes = _listed([repr(name) for name in table.names], '()')
    palette = _listed([str(colour) for colour in table.palette], '[]')
    return f"""# The data: {told} images.
classes = {classes}
palette = {palette}
scale = ({side}, {side})  # images are resized to fit
crop_size = {plan.crop}  # (height, width) of what is trained on
# ---------------------------------------------------------------------------
names = dict(classes=classes, palette=palette)
load = dict(type='LoadImageFromFile')
load_masks = dict(type='LoadAnnotations')
pack = dict(type='PackSegInputs')
resize = dict(type='RandomResize', scale=scale, ratio_range={ratio}, keep_ratio=True)
# Padding is the mean of the images; it is ignored in masks, and not valid elsewhere
pad = dict(
    type='Pad',
    size=crop_size[::-1],  # (width, height)
    pad_val=dict(img={tuple(mean)}, seg=255),
)
flip = dict(type='RandomFlip', prob=0.5)
colors = dict(type='PhotoMetricDistortion')
crop = dict(type='RandomCrop', crop_size=crop_size)
labeled_set = dict(
    type='FolderSegDataset',
    metainfo=names,
    data_prefix=dict(
        img_path={files.images!r},
        seg_map_path={files.masks!r},
    ),
    ann_file={files.labeled!r},
    pipeline=[
        load,
        load_masks,
        resize,
        dict(crop, cat_max_ratio=0.75),
        pad,
        flip,
        pack,
    ],
)
unlabeled_set = dict(
    type='UnlabeledDataset',
    images={files.unlabeled!r},
    pipeline=[
        load,
        dict(
            type='MultiView',
            shared=[resize, crop, pad, flip],
            views=dict(weak=[], strong=[colors]),
        ),
    ],
)
val_set = dict(
    type='FolderSegDataset',
    metainfo=names,
    data_prefix=dict(
        img_path={files.val_images!r},
        seg_map_path={files.val_masks!r},
    ),
    ann_file={files.val!r},
    pipeline=[
        load,
        dict(type='Resize', scale=scale, keep_ratio=True),
        load_masks,
        pack,
    ],
)
labeled = dict(
    batch_size={plan.batch},
    num_workers={plan.workers},
    dataset=labeled_set,
)
unlabeled = dict(
    batch_size={plan.batch},
    num_workers={plan.workers},
    dataset=unlabeled_set,
)
train_dataloader = dict(labeled=labeled)
val_dataloader = dict(
    batch_size=1,
    num_workers={plan.workers},
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=val_set,
)
test_dataloader = val_dataloader
val_evaluator = dict(type='PerClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
"""


def method_text(
    method: Method,
    student: Student,
    plan: Plan,
    num_classes: int,
    folder: str,
    seed: int,
) -> str:
    """The config of a method: model, optimizer, schedule.

    Args:
        folder: Folder that it will lie in, from which base configs are named.
    """
    bases = ['data.py', 'student.py']
    if student.base is not None:
        bases[1] = base_path(student.base, folder)
    bases += [base_path(name, folder) for name in method.bases]
    bases.append(base_path('default_runtime.py', folder))
    own = student.base is None
    settings = filled(method.lines('settings', own), plan)
    balanced = method.balanced and not own
    model = [
        f'type={method.name!r},',
        *settings,
        *_student_lines(student, num_classes, balanced),
    ]
    parts = [
        f'# {method.name}: {method.about}.',
        f'_base_ = {_listed([repr(base) for base in bases], "[]")}',
    ]
    if balanced:
        parts.append("loss = dict(_delete_=True, type='BalancedCrossEntropy')")
    parts.append(_dict('model', model))
    if streams := filled(method.lines('streams', own), plan):
        parts.append(_dict('train_dataloader', streams))
    parts += [
        _dict('optim_wrapper', _optimizer_lines(student, plan)),
        _schedule(plan),
        f"train_cfg = dict(type='SemiTrainLoop', max_iters={plan.iterations}, "
        f'val_interval={plan.val_interval})',
    ]
    if method.hooks:
        hooks = '\n'.join(f'    {hook}' for hook in filled(method.hooks, plan))
        parts.append(f'custom_hooks = [\n{hooks}\n]')
    interval = max(1, min(SAVE_INTERVAL, plan.val_interval))
    hooks = [
        f'logger=dict(interval={max(1, min(50, plan.iterations // 10))}),',
        f"checkpoint=dict(interval={interval}, save_best='{method.best}/mIoU'),",
    ]
    if method is not BASELINE:
        baseline = os.path.join(os.path.dirname(folder), BASELINE.folder)
        hooks.append(f'advice=dict(baseline={baseline!r}),')
    parts += [
        _dict('default_hooks', hooks),
        'channels_last = True',
        f'randomness = dict(seed={seed})',
    ]
    if student.imports:
        imports = ['mmsemiseg', *student.imports]
        parts.append(
            f'custom_imports = dict(imports={imports}, allow_failed_imports=False)'
        )
    return '\n'.join(parts) + '\n'


def student_text(student: Student) -> str:
    """The config of a network of the user's."""
    text = Config(dict(model=student.model)).pretty_text
    return f'# The network of {student.name}, with the classes of the data.\n{text}'


def base_path(name: str, folder: str) -> str:
    """Path of a file of ``configs/_base_``: relative where both lie in one clone."""
    for content in CONTENT:
        path = content / 'configs' / '_base_' / name
        if path.is_file():
            inside = Path(folder).resolve().is_relative_to(content.resolve())
            return os.path.relpath(path, folder) if inside else str(path)
    raise FileNotFoundError(f'the package has no configs/_base_/{name}')


def _student_lines(student: Student, num_classes: int, balanced: bool) -> list[str]:
    """Heads with the classes of the data, of a network of the package."""
    if student.base is None:
        return []
    heads = {name: [f'num_classes={num_classes},'] for name in HEADS}
    if student.masks:
        del heads['auxiliary_head']
        weights = f'class_weight=[1.0] * {num_classes} + [0.1]'
        heads['decode_head'].append(f'loss_cls=dict({weights}),  # no object: 0.1')
    elif balanced:
        heads['decode_head'].append('loss_decode=loss,')
        heads['auxiliary_head'].append('loss_decode=dict(loss_weight=0.4, **loss),')
    lines = []
    for name, settings in heads.items():
        if len(settings) == 1:
            lines.append(f'{name}=dict({settings[0][:-1]}),')
            continue
        lines += [f'{name}=dict(', *(f'    {line}' for line in settings), '),']
    if not student.pretrained:
        lines.append('backbone=dict(init_cfg=None),')
    return ['student=dict(', *(f'    {line}' for line in lines), '),']


def _optimizer_lines(student: Student, plan: Plan) -> list[str]:
    kind = TYPES.get(plan.precision, 'OptimWrapper')
    lines = [f"type='{kind}',"]
    if plan.precision == 'fp16':
        lines.append("loss_scale='dynamic',")
    if student.optimizer is not None:
        return lines + [f'{key}={value!r},' for key, value in student.optimizer.items()]
    lines.append(f"optimizer=dict(type='AdamW', lr={plan.rate:g}, weight_decay=0.01),")
    if plan.backbone_rate != 1:
        lines.append(
            'paramwise_cfg=dict('
            f'custom_keys=dict(backbone=dict(lr_mult={plan.backbone_rate:g}))),'
        )
    return lines


def _schedule(plan: Plan) -> str:
    return (
        'param_scheduler = [\n'
        "    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, "
        f'end={plan.warmup}),\n'
        "    dict(type='PolyLR', eta_min=0, power=0.9, by_epoch=False, "
        f'begin={plan.warmup}),\n]'
    )


def _dict(name: str, lines: Sequence[str]) -> str:
    body = '\n'.join(f'    {line}' for line in lines)
    return f'{name} = dict(\n{body}\n)'


def _listed(items: Sequence[str], brackets: str) -> str:
    one = ', '.join(items)
    if len(one) <= 60:
        return f'{brackets[0]}{one}{brackets[1]}'
    body = ''.join(f'    {item},\n' for item in items)
    return f'{brackets[0]}\n{body}{brackets[1]}'
