"""Configs of CMB against its tables, its text and its published code."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from config_files import PATHS, ROOT, load, named, stem_of
from mmseg.registry import HOOKS, MODELS

from mmsemiseg.models import LabeledCandidates
from mmsemiseg.models.parts import build_part

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
    cfg = named(stem)
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


@pytest.mark.parametrize('path', CMB, ids=stem_of)
def test_windows_and_bank_of_cmb_fit_the_split(path):
    cfg = load(path)
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


@pytest.mark.parametrize('path', PRESETS['official'], ids=stem_of)
def test_official_presets_of_cmb_are_as_published(path):
    cfg = load(path)
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


@pytest.mark.parametrize('path', PRESETS['paper'], ids=stem_of)
def test_paper_presets_of_cmb_are_as_the_text(path):
    model = load(path).model
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


def test_dropout_of_the_official_presets_of_cmb_is_of_elements():
    """Where they have one: DeepLabV2 has none."""
    kinds = {}
    for path in sorted(ROOT.glob('cmb/cmb-official_*.py')):
        head = load(path).model.student.decode_head
        ratio = head.get('dropout_ratio', 0)
        kinds[head.type, ratio, head.get('dropout_per')] = path.stem
    assert set(kinds) == {
        ('DeepLabV2Head', 0, None),
        ('DeepLabV3PlusHead', 0.1, 'element'),
    }
