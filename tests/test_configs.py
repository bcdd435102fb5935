"""Every config loads, and its model and its pipelines build."""

import ast
import math
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmseg.registry import HOOKS, LOOPS, MODELS, RUNNERS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image
from torch.optim import SGD

from mmsemiseg.datasets import StreamDataset
from mmsemiseg.engine.runner.schedules import (
    describe_schedules,
    describe_starts,
    is_warm_up,
    named_schedulers,
)
from mmsemiseg.models import LabeledCandidates
from mmsemiseg.models.parts import build_part

ROOT = Path(__file__).resolve().parents[1] / 'configs'
PATHS = sorted(p for p in ROOT.rglob('*.py') if '_base_' not in p.parts)


def bases(path):
    """The files that a config inherits from."""
    text = re.sub(r'\{\{.*?\}\}', 'None', path.read_text(encoding='utf-8'))
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            names = ast.literal_eval(node.value)
            names = [names] if isinstance(names, str) else names
            return [(path.parent / name).resolve() for name in names]
    return []


def levels(path):
    return 1 + max(map(levels, bases(path)), default=0)


@pytest.mark.parametrize('path', PATHS, ids=lambda p: p.stem)
def test_a_config_is_made_of_atoms_in_three_levels(path):
    assert levels(path) <= 3
    assert [base for base in bases(path) if ROOT / '_base_' not in base.parents] == []


def test_every_atom_is_used():
    """But those that a user adds to choose how to test."""
    found, new = set(), set(PATHS)
    while new:
        found |= new
        new = {base for path in new for base in bases(path)} - found
    atoms = {path for path in ROOT.rglob('*.py') if '_base_' in path.parts}
    unused = {path for path in atoms - found if path.parent.name != 'evaluation'}
    assert unused == set()


def test_names_of_configs_are_unique():
    """Then mim finds a config by its name, whatever folder it is in."""
    assert len({path.stem for path in PATHS}) == len(PATHS)


def pipelines(cfg):
    """All lists under the key ``pipeline``, wrapped data sets included."""
    if isinstance(cfg, dict):
        for key, value in cfg.items():
            yield from [value] if key == 'pipeline' else pipelines(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            yield from pipelines(value)


def heads(student):
    for name in ('decode_head', 'auxiliary_head'):
        head = student.get(name) or []
        yield from head if isinstance(head, list) else [head]


def pad_colours(part):
    """Colours that transforms of images fill in, BGR."""
    if isinstance(part, dict):
        value = part.get('pad_val')
        if value is not None:
            yield value['img'] if isinstance(value, dict) else value
        part = list(part.values())
    for value in part:
        if isinstance(value, (dict, list)):
            yield from pad_colours(value)


def left_over(part):
    """Names that stand for `{{_base_.name}}` in an expression: no value replaces them.

    >>> list(left_over(dict(a=['_data_root_c22e5acam/index.json', 'a_b_c'])))
    ['_data_root_c22e5acam/index.json']
    """
    if isinstance(part, str):
        if re.match(r'_\w+_[0-9a-f]{6}', part):
            yield part
    elif isinstance(part, (dict, list, tuple)):
        for value in part.values() if isinstance(part, dict) else part:
            yield from left_over(value)


@pytest.mark.parametrize('path', PATHS, ids=lambda p: p.stem)
def test_config(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    assert list(left_over(cfg)) == []
    cfg.model.student.backbone.init_cfg = None
    cfg.model.student.pretrained = None
    with torch.device('meta'):  # shapes without numbers, so that large nets are quick
        model = MODELS.build(cfg.model)
    classes = {head['num_classes'] for head in heads(cfg.model.student)}
    assert classes == {model.num_classes}
    network, _ = cfg.default_hooks.checkpoint.save_best.split('/')
    assert network in model.networks

    loaders = [*cfg.train_dataloader.values(), cfg.val_dataloader, cfg.test_dataloader]
    found = list(pipelines(loaders))
    assert len(found) == len(loaders)
    for pipeline in found:
        assert len(Compose(pipeline).transforms) > 1

    total = cfg.train_cfg.max_iters
    assert list(describe_starts(SimpleNamespace(model=model), total)) == []
    found = schedulers(cfg, total)
    lengths = [*DECAYS.values(), (0, epochs_of_esl(path))]
    assert (found[0].end if is_warm_up(found[0]) else 0, total) in lengths
    assert [s.end for s in found if not is_warm_up(s)] == [total]
    for length in (total, 3 * total):  # they follow a run of any length
        named = named_schedulers(schedulers(cfg, length))
        assert list(describe_schedules(named, length)) == []

    preprocessor = cfg.model.data_preprocessor
    mean = preprocessor.mean[:: -1 if preprocessor.bgr_to_rgb else 1]
    for colour in pad_colours([loader.dataset for loader in loaders]):
        assert colour == pytest.approx(mean, abs=1.5)

    assert RUNNERS.get(cfg.runner_type) is not None
    assert LOOPS.get(cfg.train_cfg.type) is not None
    hooks = [HOOKS.build(dict(hook)) for hook in cfg.get('custom_hooks', [])]
    has_teacher = any(pair.teacher is not None for pair in model.pairs)
    names = [type(hook).__name__ for hook in hooks]
    assert has_teacher == ('MeanTeacherHook' in names)
    assert model.has_memory or 'MemoryHook' not in names  # SemiRunner adds one
    if cfg.runner_type == 'SelfTrainingRunner':
        cfg.work_dir = 'unused'
        RUNNERS.build(cfg)


# Schedule -> iterations of the warm-up, and of the run; then poly 0.9 down to 0
DECAYS = {
    'adamw_800': (100, 800),
    'adamw-pretrained_1000': (100, 1000),
    'adamw-1e-4_120k': (0, 120000),
    'adamw-1e-4_160k': (0, 160000),
    'quickstart': (50, 1200),
    'quickstart_800': (50, 800),
    'sgd-1e-1_92560': (0, 92560),
    'sgd-1e-2_92560': (0, 92560),
    'sgd-25e-5_80k': (0, 80000),
    'sgd-2e-4_150k': (0, 150000),
    'sgd-4e-4_150k': (0, 150000),
}


ESL_LABELS = {
    'cityscapes': {'1-16': 186, '1-8': 372, '1-4': 744, '1-2': 1488},
    'voc-aug': {'1-16': 662, '1-8': 1323, '1-4': 2646, '1-2': 5291},
    'voc-classic': {'1-16': 92, '1-8': 183, '1-4': 366, '1-2': 732, 'full': 1464},
}
# Where another method's split of this name has another number of labels
ESL_SPLITS = {('voc-aug', '1-4'): '2646_0', ('cityscapes', '1-2'): '1488_0'}
OF_ESL = re.compile(r'.*esl.*_(cityscapes|voc-aug|voc-classic)-(full|1-\d+)')
ESL = [path for path in PATHS if OF_ESL.match(path.stem)]


def epochs_of_esl(path):
    """Iterations of a row of ESL's tables; None for other configs."""
    if path not in ESL:
        return None
    data, split = OF_ESL.match(path.stem).groups()
    images, epochs = (2975, 200) if data == 'cityscapes' else (10582, 80)
    return epochs * ((images - ESL_LABELS[data][split]) // 8)


@pytest.mark.parametrize('path', ESL, ids=lambda p: p.stem)
def test_streams_and_length_of_esl_fit_the_split(path):
    cfg = Config.fromfile(path)
    data, split = OF_ESL.match(path.stem).groups()
    streams = cfg.train_dataloader
    assert {stream.batch_size for stream in streams.values()} == {2}
    assert cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.train_cfg.max_iters == epochs_of_esl(path)
    assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
    assert ('unlabeled' in streams) == ('sup-only' not in path.stem)
    folder = ESL_SPLITS.get((data, split), f'{split}_0')
    if data == 'voc-classic':
        folder = f'classic-{split}'
    name = 'train.txt' if split == 'full' else f'splits/{folder}/'
    labeled = streams.labeled.dataset
    assert name in labeled.ann_file
    masks = labeled.data_prefix.seg_map_path
    if data != 'cityscapes':
        assert masks.endswith('Aug') == (data == 'voc-aug')
    if 'unlabeled' in streams:
        source = streams.unlabeled.dataset
        assert name in (source.exclude if data == 'voc-classic' else source['images'])
    loss = cfg.model.student.decode_head.loss_decode.type
    assert (loss == 'OHEMLoss') == (data == 'cityscapes')
    rates = dict(cityscapes=(0.1, 5e-4)).get(data, (0.01, 1e-4))
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == rates


def test_defaults_of_esl_are_those_of_the_paper():
    cfg = Config.fromfile(ROOT / 'esl/esl_deeplabv3plus-r101_voc-classic-full.py')
    init_default_scope(cfg.default_scope)
    cfg.model.student.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        assert model.feature_channels == (512, 2048)
    part = model.contrast
    assert (model.pseudo_loss.weight, model.pseudo_loss.threshold) == (0.2, None)
    assert (model.pseudo_label.top_p, part.weight, part.num_parts) == (0.95, 0.1, 5)
    assert (part.threshold, part.anchor_share, part.num_negatives) == (0.95, 0.1, 255)
    assert (part.temperature, part.prototypes.decay) == (0.5, 0.99)
    assert part.bank.features.shape == (21 * 5, 128, 512)
    assert part.prototypes.vectors.shape == (21, 5, 2048)
    blocks = model.student.decode_head.conv_seg
    assert (blocks.in_channels, blocks.channels) == (512, 21)
    assert model.align_corners


@pytest.mark.parametrize('stem', ['esl', 'sup-only-esl'])
def test_the_network_sees_the_centre_crop_of_esl_as_it_is(stem):
    cfg = Config.fromfile(ROOT / f'esl/{stem}_deeplabv3plus-r101_voc-classic-full.py')
    init_default_scope(cfg.default_scope)
    (crop,) = [
        step.crop_size
        for step in cfg.test_dataloader.dataset.pipeline
        if step.type == 'CenterCropEval'
    ]
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    item = dict(
        inputs=[torch.zeros(3, *crop, dtype=torch.uint8)],
        data_samples=[SegDataSample(metainfo=dict(img_shape=crop))],
    )
    assert preprocessor(item, False)['inputs'].shape[2:] == crop == (513, 513)


def schedulers(cfg, max_iters):
    """As the runner builds them, for a run of this length."""
    wrapper = OptimWrapper(SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    args = dict(optimizer=wrapper)
    settings = [dict(dict(end=max_iters), **one) for one in cfg.param_scheduler]
    return [PARAM_SCHEDULERS.build(one, default_args=args) for one in settings]


@pytest.mark.parametrize('name', DECAYS)
def test_schedule(name):
    warm_up, total = DECAYS[name]
    cfg = Config.fromfile(ROOT / f'_base_/schedules/{name}.py')
    *first, last = cfg.param_scheduler
    assert [(s.type, s.end) for s in first] == [('LinearLR', warm_up)] * bool(warm_up)
    assert cfg.train_cfg.max_iters == total
    decay = schedulers(cfg, total)[-1]
    assert (decay.begin, decay.end, decay.power, decay.eta_min) == (
        warm_up,
        total,
        0.9,
        0,
    )


def test_every_schedule_is_known():
    assert {p.stem for p in (ROOT / '_base_/schedules').glob('*.py')} == set(DECAYS)


CAC = [path for path in PATHS if path.stem.startswith('cac')]


@pytest.mark.parametrize('path', CAC, ids=lambda p: p.stem)
def test_cells_of_cac_fit_the_crops(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    cfg.model.student.backbone.init_cfg = None
    stream = cfg.train_dataloader.unlabeled
    crops = TRANSFORMS.build(stream.dataset.pipeline[-1])
    images = torch.empty(stream.batch_size, 3, *crops.crop_size, device='meta')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    features = model.adapter(model.student, images).features
    contrast = model.contrast
    height, width = (size // contrast.pool for size in features.shape[2:])
    assert (height * crops.stride, width * crops.stride) == crops.crop_size
    assert model.views == crops.views
    cells = stream.batch_size * height * width
    assert (contrast.num_negatives or cells) <= cells
    assert contrast.start < cfg.train_cfg.max_iters


def narrow(cfg):
    """The config's student with a narrow backbone: its head is that of the config."""
    student = cfg.model.student
    student.backbone.update(init_cfg=None, depth=50, base_channels=4)
    student.decode_head.update(in_channels=128)
    if 'c1_in_channels' in student.decode_head:
        student.decode_head.update(c1_in_channels=16)
    return student


@pytest.mark.parametrize(
    'stem',
    [
        'cac_deeplabv3plus-r50_cityscapes-1-8',
        'cac-paper_deeplabv3plus-r101_voc-aug-1-8',
        'sup-only_deeplabv3plus-r50_voc-aug-1-8',
        'cac_pspnet-r50_voc-aug-1-8',
    ],
)
def test_classifier_of_cac_is_as_published(stem):
    """Weights of Kaiming's deviation; MMSegmentation starts at 0.01."""
    cfg = Config.fromfile(ROOT / 'cac' / f'{stem}.py')
    init_default_scope(cfg.default_scope)
    narrow(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    head = model.student.decode_head
    weight = head.conv_seg.weight  # thousands of numbers
    psp = 'pspnet' in stem
    assert weight.shape[1] == (512 if psp else 256)
    largest = weight.abs().max().item()
    if psp:  # uniform: PyTorch's own start, which is Kaiming's with a = sqrt(5)
        assert weight.std().item() == pytest.approx((3 * 512) ** -0.5, rel=0.05)
        assert largest <= 512**-0.5
        assert head.dropout is None
    else:  # normal
        deviation = (2 / 256) ** 0.5
        assert weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert largest > 3 * deviation
        assert head.conv_seg.bias.eq(0).all()
        assert type(head.dropout) is torch.nn.Dropout and head.dropout.p == 0.1
    with torch.no_grad():
        first = head.bottleneck.conv.weight.std().item()
    assert first > 0.01  # the others stay as they were: not of a deviation of 0.01


def test_dropout_of_the_official_presets_of_cmb_is_of_elements():
    """Where they have one: DeepLabV2 has none."""
    kinds = {}
    for path in sorted(ROOT.glob('cmb/cmb-official_*.py')):
        head = Config.fromfile(path).model.student.decode_head
        ratio = head.get('dropout_ratio', 0)
        kinds[head.type, ratio, head.get('dropout_per')] = path.stem
    assert set(kinds) == {
        ('DeepLabV2Head', 0, None),
        ('DeepLabV3PlusHead', 0.1, 'element'),
    }


METHODS = ('cac-', 'cac_', 'cmb-', 'cmb_', 'ctt-', 'ctt_', 'cps_', 'mean-teacher_')
METHODS += ('esl-', 'esl_')
METHODS += ('rc2l-', 'rc2l_', 'self-training_', 'sup-only')
METAFILES = sorted(ROOT.glob('*/metafile.yml'))


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda p: p.parent.name)
def test_metafile_lists_every_config(metafile):
    folder = metafile.parent
    models = yaml.safe_load(metafile.read_text(encoding='utf-8'))['Models']
    assert [(m['Name'], m['Config']) for m in models] == [
        (path.stem, path.relative_to(ROOT.parent).as_posix())
        for path in sorted(folder.rglob('*.py'), key=lambda p: p.stem)
    ]


@pytest.mark.parametrize('method', ['cac', 'cmb', 'ctt', 'esl', 'rc2l'])
def test_readme_names_every_config(method):
    text = (ROOT / method / 'README.md').read_text(encoding='utf-8')
    stems = {path.stem for path in (ROOT / method).rglob('*.py')}
    found = set()
    for line in text.splitlines():
        names = re.findall(r'`([\w.<>-]+)`', line)
        for name in (name.removesuffix('.py') for name in names):
            if name.startswith(METHODS) and '<' not in name:
                found.add(name)
        # | `cac_..-<split>` | 1-8, full |, or the splits are the titles of the columns
        if line.startswith('| config, `<split>` of |'):
            splits = re.findall(r'[\w-]+', line.split('of |')[1])
        elif line.startswith('| config | `<split>` of |'):
            splits = None
        elif line.startswith('| `') and names and names[0].endswith('<split>'):
            own = splits or re.findall(r'[\w-]+', line.split('|')[2])
            found |= {names[0].replace('<split>', split) for split in own}
    assert found - stems == set()
    assert stems - found == set()


LABELS = {
    'cityscapes': {'1-30': 100, '1-15': 200, '1-8': 372, '1-6': 500, '1-4': 744}
    | {'1-3': 1000, 'full': 2975},
    'voc-aug': {'1-50': 212, '1-20': 530, '1-8': 1323, 'full': 10582},
}
OF_PAPER = re.compile(r'cmb(-\w+)?_.*(cityscapes|voc-aug)-(full|1-\d+)')
CMB = [path for path in PATHS if OF_PAPER.match(path.stem)]


def contrast_of(model):
    """Settings of the contrast; None where there is none."""
    found = model.get('contrast', {})
    return None if found is None else found


# Written by hand before they followed from the data: K, and batches in the windows
WRITTEN = {
    'cmb_deeplabv2-r101-coco_cityscapes-1-30': (3, 20, 1437),
    'cmb_deeplabv2-r101_cityscapes-1-15': (1, 40, 1387),
    'cmb_deeplabv2-r101_cityscapes-1-8': (1, 74, 1301),
    'cmb_deeplabv2-r101_cityscapes-1-6': (1, 100, 1237),
    'cmb_deeplabv2-r101_gta5-cityscapes-1-3': (1, 200, 987),
    'cmb_deeplabv2-r101_cityscapes-full': (1, 595, 1487),
    'cmb_deeplabv3plus-r50_cityscapes-1-30': (3, 14, 958),
    'cmb_deeplabv3plus-r50_cityscapes-1-4': (1, 106, 743),
    'cmb-bank512_deeplabv2-r101-coco_cityscapes-1-30': (5, 20, 1437),
    'cmb_deeplabv2-r101_voc-aug-1-50': (7, None, None),
    'cmb-paper_deeplabv3plus-r50_voc-aug-1-50': (1, None, None),
    'cmb_deeplabv3plus-lite0_camvid-seq24': (11, 3, 85),
    'cmb_deeplabv3plus-lite0_msrc21-60': (4, 7, 84),
    'cmb_deeplabv3plus-lite0_ccp-38': (7, 4, 453),
    'cmb_deeplabv3plus-r18-w16_quickstart': (4, None, None),
}
SMALL = {
    'camvid-seq24': (24, 343),
    'msrc21-60': (60, 337),
    'ccp-38': (38, 1815),
    'quickstart': (16, 0),
}


@pytest.mark.parametrize('stem', WRITTEN)
def test_numbers_of_cmb_are_those_that_were_written(stem):
    cfg = Config.fromfile(next(path for path in PATHS if path.stem == stem))
    small = SMALL.get(stem.rsplit('_', 1)[1])
    if small is None:
        _, data, split = OF_PAPER.match(stem).groups()
        labels = LABELS[data][split]
        rest = LABELS[data]['full'] - (0 if split == 'full' else labels)
        small = labels, rest
    settings = contrast_of(cfg.model)
    size = settings.get('bank', {}).get('size', 256)
    candidates = LabeledCandidates(**settings.get('candidates', {}))
    found = [candidates.number_for(SimpleNamespace(num_labeled=small[0]), size)]
    balance = cfg.model.get('class_balance')
    if balance is not None:
        default = dict(type='ClassBalance')
        balance = build_part(balance, 'balance', default=default, num_classes=2)
        sizes = {name: one.batch_size for name, one in cfg.train_dataloader.items()}
        balance.set_stream_sizes(dict(labeled=small[0], unlabeled=small[1]), sizes)
        found += [balance.label_window.length, balance.pseudo_window.length]
    assert found == [number for number in WRITTEN[stem] if number is not None]


@pytest.mark.parametrize('path', CMB, ids=lambda p: p.stem)
def test_windows_and_bank_of_cmb_fit_the_split(path):
    cfg = Config.fromfile(path)
    _, data, split = OF_PAPER.match(path.stem).groups()
    images, labels = LABELS[data]['full'], LABELS[data][split]
    rest = images if split == 'full' else images - labels
    streams = cfg.train_dataloader
    if split == 'full':
        assert 'exclude' not in streams.unlabeled.dataset
    else:
        assert f'splits/{split}_0/' in streams.labeled.dataset.ann_file
        assert f'splits/{split}_0/' in streams.unlabeled.dataset.images
    sizes = {name: stream.batch_size for name, stream in streams.items()}
    numbers = dict(labeled=labels, unlabeled=rest, source=24966)
    settings = contrast_of(cfg.model)
    if settings is not None:
        size = settings.get('bank', {}).get('size', 256)
        candidates = settings.get('candidates', {})
        number = max(1, round(size / labels))
        if data == 'voc-aug' and candidates.get('per', 'batch') == 'batch':
            number = max(1, 7 * round(256 / labels))
        told = SimpleNamespace(num_labeled=labels)
        assert 'number' not in candidates
        assert LabeledCandidates(**candidates).number_for(told, size) == number
    balance = cfg.model.get('class_balance')
    assert (balance is not None) == (data == 'cityscapes')
    if balance:
        balance = build_part(balance, 'class_balance', num_classes=19)
        balance.set_stream_sizes(numbers, sizes)
        assert balance.label_window.length == labels // sizes['labeled']
        assert balance.pseudo_window.length == rest // sizes['unlabeled']
    images_a_step = sum(stream.batch_size for stream in streams.values())
    assert cfg.auto_scale_lr.base_batch_size == images_a_step


PRESETS = {
    kind: [path for path in CMB if path.stem.startswith(f'cmb-{kind}_')]
    for kind in ('official', 'paper')
}


@pytest.mark.parametrize('path', PRESETS['official'], ids=lambda p: p.stem)
def test_official_presets_of_cmb_are_as_published(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    model, head = cfg.model, cfg.model.student.decode_head
    assert model.unlabeled_first
    assert model.contrast.candidates.get('read_at', 'pixel') == 'pixel'
    if 'class_balance' in model:
        balance = model.class_balance
        assert (balance.median, balance.keep_labels) == ('all', 'first')
    if head.type == 'DeepLabV3PlusHead':
        assert head.init_cfg == dict(type='Normal', layer='Conv2d', std=0.01)
    hooks = {hook.type: HOOKS.build(hook) for hook in cfg.custom_hooks}
    reload, statistics = (
        hooks[name] for name in ('ReloadBestHook', 'BatchNormReestimationHook')
    )
    assert (reload.patience, reload.teacher) == (30001, 'student')
    assert (statistics.batches, statistics.momentum) == (1000, 0.1)
    best = cfg.default_hooks.checkpoint.save_best
    assert best == reload.metric == statistics.best == 'student/mIoU'


@pytest.mark.parametrize('path', PRESETS['paper'], ids=lambda p: p.stem)
def test_paper_presets_of_cmb_are_as_the_text(path):
    model = Config.fromfile(path).model
    candidates = model.contrast.candidates
    assert (candidates.start, candidates.read_at) == (0, 'cell')
    assert model.entropy.over == 'all'
    if 'class_balance' in model:
        assert model.class_balance.median == 'all'
    loss = MODELS.build(model.student.decode_head.loss_decode)
    logits = torch.zeros(1, 4, 1, 8)  # log 4 at the 2 pixels that have a label
    label = torch.tensor([[[1, 0] + [255] * 6]])
    assert loss(logits, label, ignore_index=255).item() == pytest.approx(
        math.log(4) * 2 / 8
    )


CTT_LABELS = {
    'cityscapes': {'1-30': 100, '1-8': 372, '1-4': 744, '1-2': 1487},
    'voc-aug': {'1-50': 212, '1-20': 529, '1-8': 1322, '1-4': 2645},
    'voc-classic': {'1-16': 92, '1-8': 183, '1-4': 366, '1-2': 732},
}
# Where CMB or CAC takes one image more.
CTT_SPLITS = {('voc-aug', 529): '529_0', ('voc-aug', 1322): '1322_0'}
OF_CTT = re.compile(r'.*(cityscapes|voc-aug|voc-classic)-(full|1-\d+)')
CTT = [p for p in PATHS if ROOT / 'ctt' in p.parents and OF_CTT.match(p.stem)]


@pytest.mark.parametrize('path', CTT, ids=lambda p: p.stem)
def test_bank_and_batches_of_ctt_fit_the_split(path):
    cfg = Config.fromfile(path)
    data, split = OF_CTT.match(path.stem).groups()
    streams = cfg.train_dataloader
    sizes = [stream.batch_size for stream in streams.values()]
    self_training = 'self_training' in cfg
    if self_training:
        sizes.append(cfg.self_training.batch_size)
    assert set(sizes) == {2 if data == 'cityscapes' else 10}
    assert ('unlabeled' in streams or self_training) != ('sup-only' in path.stem)
    assert cfg.auto_scale_lr.base_batch_size == sum(sizes)
    if split == 'full':
        assert list(streams) == ['labeled'] and cfg.model.type == 'SupOnly'
        return
    labels = CTT_LABELS[data][split]
    folder = CTT_SPLITS.get((data, labels), f'{split}_0')
    if data == 'voc-classic':
        folder = f'classic-{split}'
    assert f'splits/{folder}/' in streams.labeled.dataset.ann_file
    source = streams.unlabeled.dataset if 'unlabeled' in streams else None
    source = cfg.self_training.unlabeled if self_training else source
    if source is not None:
        lists = source.exclude if data == 'voc-classic' else source['images']
        assert f'splits/{folder}/' in lists
    contrast = cfg.model.get('contrast') or {}
    if cfg.model.type == 'CTT':  # so k = max(1, labels // N)
        assert contrast.get('enqueue_number', 'ratio') == 'ratio'


@pytest.mark.parametrize(('level', 'threshold'), [('hc', 0), ('lc', 1)])
def test_one_level_of_ctt_alone_has_all_cells(level, threshold):
    """Rows of Table 4, which are those of Table 8 with phi = 0 and 1."""
    end = '_deeplabv2-r101-coco_cityscapes-1-8.py'
    for name in (f'ctt-{level}', f'ctt-ct-{level}'):
        model = Config.fromfile(ROOT / 'ctt/ablations' / f'{name}{end}').model
        other = {'hc': 'lc', 'lc': 'hc'}[level]
        assert model.contrast == {'threshold': threshold, f'{other}_weight': 0}
    name = f'ctt-hc-lc-phi{100 * threshold}'
    row = Config.fromfile(ROOT / 'ctt/ablations' / f'{name}{end}')
    assert row.model.contrast == dict(threshold=threshold)


def test_the_separate_pairs_of_ctt_meet_in_testing_alone():
    name = 'ctt-ensemble-separate_deeplabv2-r101-coco_cityscapes-1-8'
    model = Config.fromfile(ROOT / 'ctt/ablations' / f'{name}.py').model
    assert (model.teaching, model.predict_with) == ('own', 'mean_students')
    assert model.contrast is None


@pytest.mark.parametrize('data', ['camvid-half', 'quickstart'])
def test_an_evaluation_base_fits_a_data_set(data, tmp_path):
    bases = [
        str(ROOT / '_base_' / f'{name}.py')
        for name in (f'datasets/{data}', 'evaluation/half')
    ]
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(
        f'_base_ = {bases}\n'
        'val_dataloader = dict(dataset=dict(pipeline={{_base_.eval_pipeline}}))\n'
    )
    steps = [
        step.type for step in Config.fromfile(leaf).val_dataloader.dataset.pipeline
    ]
    assert steps == ['LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackSegInputs']


def write_image(path, size, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


def city_frames(root, size=(64, 128)):
    for number in range(4):
        stem = f'aachen/aachen_00000{number}_000019'
        image = root / 'leftImg8bit' / 'train' / f'{stem}_leftImg8bit.png'
        write_image(image, (*size, 3), 100)
        mask = root / 'gtFine' / 'train' / f'{stem}_gtFine_labelTrainIds.png'
        write_image(mask, size, 1)
    return root / 'leftImg8bit' / 'train'


def voc_images(root):
    lists = root / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    for number in range(6):
        write_image(root / 'JPEGImages' / f'2007_{number}.jpg', (40, 60, 3), 100)
        write_image(root / 'SegmentationClassAug' / f'2007_{number}.png', (40, 60), 1)
    (root / 'trainaug').mkdir()
    stems = [f'2007_{number}' for number in range(4)]  # the others are for testing
    (lists / 'trainaug.txt').write_text('\n'.join(stems))
    (root / 'SegmentationClass').symlink_to('SegmentationClassAug')
    for stem in stems:
        link = root / 'trainaug' / f'{stem}.jpg'
        link.symlink_to(f'../JPEGImages/{stem}.jpg')
    return root / 'trainaug'


def split_streams(config, images, root):
    """The config and its streams after ``make_split --count 1``, as the README does."""
    cfg = Config.fromfile(ROOT / f'{config}.py')
    init_default_scope(cfg.default_scope)
    split = (root / cfg.train_dataloader.labeled.dataset.ann_file).parent
    words = ['--images', images, '--count', 1, '--out', split]
    tool = runpy.run_path(str(ROOT.parent / 'tools' / 'make_split.py'))
    assert tool['main']([str(word) for word in words]) == 0
    labeled = (split / 'labeled.txt').read_text()
    masks = labeled.replace('_leftImg8bit', '')  # README: sed
    (split / 'labeled-masks.txt').write_text(masks)
    streams = {}
    for name, loader in cfg.train_dataloader.items():
        loader.dataset.data_root = str(root)
        streams[name] = StreamDataset(loader.dataset, name)
    sizes = {name: len(stream) for name, stream in streams.items()}
    assert (sizes['labeled'], sizes['unlabeled']) == (1, 3)
    return cfg, streams


@pytest.mark.parametrize(
    ('stem', 'make'),
    [
        ('cac_pspnet-r50_voc-aug-1-8', voc_images),
        ('cac_deeplabv3plus-r50_cityscapes-1-8', city_frames),
    ],
)
def test_streams_of_cac_take_the_lists_of_make_split(stem, make, tmp_path):
    cfg, streams = split_streams(f'cac/{stem}', make(tmp_path), tmp_path)
    labeled, unlabeled = streams['labeled'][0], streams['unlabeled'][0]
    assert labeled['inputs'].shape[1:] == cfg.crop_size
    assert set(labeled['data_samples'].gt_sem_seg.data.unique().tolist()) <= {1, 255}
    assert sorted(unlabeled) == ['view1', 'view2']
    for view in unlabeled.values():
        assert view['inputs'].shape[1:] == cfg.crop_size
        assert view['data_samples'].valid_map.data.any()


def city_and_gta5(root):
    for number in range(2):
        write_image(root / 'images' / f'0000{number}.png', (1052, 1914, 3), 100)
        write_image(root / 'labels' / f'0000{number}.png', (1052, 1914), 7)  # road
    return city_frames(root, (1024, 2048))


@pytest.mark.parametrize(
    ('stem', 'make'),
    [
        ('cmb_deeplabv2-r101_voc-aug-1-50', voc_images),
        ('cmb_deeplabv3plus-r50_cityscapes-1-30', city_and_gta5),
        ('cmb_deeplabv2-r101_gta5-cityscapes-1-30', city_and_gta5),
    ],
)
def test_streams_of_cmb_take_the_lists_of_make_split(stem, make, tmp_path):
    cfg, streams = split_streams(f'cmb/{stem}', make(tmp_path), tmp_path)
    for stream in streams.values():
        item = stream[0]
        assert item['inputs'].shape[1:] == cfg.crop_size
        sample = item['data_samples']
        if 'gt_sem_seg' in sample:
            found = sample.gt_sem_seg.data
            assert set(found.unique().tolist()) <= {0, 1, 255}
            inside = found != 255
        else:
            inside = sample.valid_map.data
        padded = 'voc' in stem
        assert inside.sum() == (40 * 60 if padded else 512 * 512)


@pytest.mark.parametrize(
    ('stem', 'make'),
    [
        ('ctt_deeplabv2-r101-coco_cityscapes-1-8', city_frames),
        ('ctt_deeplabv2-r101-coco_voc-aug-1-4', voc_images),
        ('ctt_deeplabv3plus-r101_voc-classic-1-16', voc_images),
        ('mean-teacher_classmix_deeplabv2-r101-coco_cityscapes-1-8', city_frames),
    ],
)
def test_streams_of_ctt_take_the_lists_of_make_split(stem, make, tmp_path):
    cfg, streams = split_streams(f'ctt/{stem}', make(tmp_path), tmp_path)
    labeled, unlabeled = streams['labeled'][0], streams['unlabeled'][0]
    views = list(unlabeled.values()) if 'weak' in unlabeled else [unlabeled]
    whole = cfg.crop_size if 'voc' in stem else (32, 64)  # half of the image
    for item in (labeled, *views):
        assert item['inputs'].shape[1:] == whole
    found = labeled['data_samples'].gt_sem_seg.data
    assert set(found.unique().tolist()) <= {1, 255}
    assert (found == 1).any()
    valid = views[0]['data_samples'].valid_map.data
    shown = (views[0]['inputs'] == 100).all(0, keepdim=True)  # not filled in
    assert valid.any()
    assert (shown != valid).float().mean() < 0.05  # mixed along the border


@pytest.mark.parametrize(
    ('stem', 'make'),
    [
        ('esl_deeplabv3plus-r101_cityscapes-1-8', city_frames),
        ('esl_deeplabv3plus-r101_voc-aug-1-8', voc_images),
        ('esl_deeplabv3plus-r101_voc-classic-1-16', voc_images),
    ],
)
def test_streams_of_esl_take_the_lists_of_make_split(stem, make, tmp_path):
    cfg, streams = split_streams(f'esl/{stem}', make(tmp_path), tmp_path)
    labeled, unlabeled = streams['labeled'][0], streams['unlabeled'][0]
    for item in (labeled, unlabeled):
        assert item['inputs'].shape[1:] == cfg.crop_size
    found = labeled['data_samples'].gt_sem_seg.data
    assert set(found.unique().tolist()) <= {1, 255}
    assert unlabeled['data_samples'].valid_map.data.any()


def test_testing_pads_to_multiples_of_8_and_cuts_it_off():
    cfg = Config.fromfile(ROOT / 'cac' / 'cac_deeplabv3plus-r50_voc-aug-1-8.py')
    init_default_scope(cfg.default_scope)
    cfg.model.student.backbone.update(init_cfg=None, depth=50, base_channels=4)
    head = dict(in_channels=128, channels=4, c1_in_channels=16, c1_channels=2)
    cfg.model.student.decode_head.update(head)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).eval()
    seen = []
    model.student.backbone.register_forward_pre_hook(
        lambda module, args: seen.append(tuple(args[0].shape[2:]))
    )
    sample = SegDataSample(metainfo=dict(img_shape=(37, 50), ori_shape=(37, 50)))
    image = torch.zeros(3, 37, 50, dtype=torch.uint8)
    result = model.test_step(dict(inputs=[image], data_samples=[sample]))[0]
    assert seen == [(40, 56)]
    assert result.pred_sem_seg.data.shape == (1, 37, 50)
