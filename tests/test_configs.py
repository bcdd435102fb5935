"""Every config loads, and its model and its pipelines build."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import HOOKS, LOOPS, MODELS, RUNNERS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image

from mmsemiseg.datasets import StreamDataset

ROOT = Path(__file__).resolve().parents[1] / 'configs'
PATHS = sorted(p for p in ROOT.rglob('*.py') if '_base_' not in p.parts)


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


@pytest.mark.parametrize('path', PATHS, ids=lambda p: p.stem)
def test_config(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    cfg.model.student.backbone.init_cfg = None
    cfg.model.student.pretrained = None
    with torch.device('meta'):  # shapes without numbers, so that large nets are quick
        model = MODELS.build(cfg.model)
    classes = {head['num_classes'] for head in heads(cfg.model.student)}
    assert classes == {model.num_classes}

    loaders = [*cfg.train_dataloader.values(), cfg.val_dataloader, cfg.test_dataloader]
    found = list(pipelines(loaders))
    assert len(found) == len(loaders)
    for pipeline in found:
        assert len(Compose(pipeline).transforms) > 1

    assert RUNNERS.get(cfg.runner_type) is not None
    assert LOOPS.get(cfg.train_cfg.type) is not None
    hooks = [HOOKS.build(dict(hook)) for hook in cfg.get('custom_hooks', [])]
    has_teacher = any(pair.teacher is not None for pair in model.pairs)
    names = [type(hook).__name__ for hook in hooks]
    assert has_teacher == ('MeanTeacherHook' in names)
    assert ('MemoryHook' in names) == (getattr(model, 'queue', None) is not None)
    if cfg.runner_type == 'SelfTrainingRunner':
        cfg.work_dir = 'unused'
        RUNNERS.build(cfg)


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
    height, width = (size // model.pool for size in features.shape[2:])
    assert (height * crops.stride, width * crops.stride) == crops.crop_size
    assert model.views == crops.views
    cells = stream.batch_size * height * width
    assert (model.num_negatives or cells) <= cells
    assert model.start_iter < cfg.train_cfg.max_iters


METHODS = ('cac-', 'cac_', 'self-training_', 'sup-only_')
METAFILES = sorted(ROOT.glob('*/metafile.yml'))


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda p: p.parent.name)
def test_metafile_lists_every_config(metafile):
    folder = metafile.parent
    models = yaml.safe_load(metafile.read_text(encoding='utf-8'))['Models']
    assert [(m['Name'], m['Config']) for m in models] == [
        (path.stem, f'configs/{folder.name}/{path.name}')
        for path in sorted(folder.glob('*.py'), key=lambda p: p.stem)
    ]


def test_readme_of_cac_names_every_config():
    text = (ROOT / 'cac' / 'README.md').read_text(encoding='utf-8')
    named = {name.removesuffix('.py') for name in re.findall(r'`([\w.<>-]+)`', text)}
    stems = {path.stem for path in PATHS if path.parent.name == 'cac'}
    single = {name for name in named if name.startswith(METHODS) and '<' not in name}
    assert single - stems == set()
    splits = ('1-16', '1-8', '1-4', 'full')
    tables = {name.replace('<split>', split) for name in named for split in splits}
    assert stems - tables == set()


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


def city_frames(root):
    for number in range(4):
        stem = f'aachen/aachen_00000{number}_000019'
        image = root / 'leftImg8bit' / 'train' / f'{stem}_leftImg8bit.png'
        write_image(image, (64, 128, 3), 100)
        mask = root / 'gtFine' / 'train' / f'{stem}_gtFine_labelTrainIds.png'
        write_image(mask, (64, 128), 1)
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
    for stem in stems:
        link = root / 'trainaug' / f'{stem}.jpg'
        link.symlink_to(f'../JPEGImages/{stem}.jpg')
    return root / 'trainaug'


@pytest.mark.parametrize(
    ('stem', 'make'),
    [
        ('cac_pspnet-r50_voc-aug-1-8', voc_images),
        ('cac_deeplabv3plus-r50_cityscapes-1-8', city_frames),
    ],
)
def test_streams_of_cac_take_the_lists_of_make_split(stem, make, tmp_path):
    images = make(tmp_path)
    split = tmp_path / 'splits' / '1-8_0'
    words = ['--images', images, '--count', 1, '--out', split]
    tool = runpy.run_path(str(ROOT.parent / 'tools' / 'make_split.py'))
    assert tool['main']([str(word) for word in words]) == 0
    labeled = (split / 'labeled.txt').read_text()
    masks = labeled.replace('_leftImg8bit', '')  # README: sed
    (split / 'labeled-masks.txt').write_text(masks)
    cfg = Config.fromfile(ROOT / 'cac' / f'{stem}.py')
    init_default_scope(cfg.default_scope)
    streams = {}
    for name, loader in cfg.train_dataloader.items():
        loader.dataset.data_root = str(tmp_path)
        streams[name] = StreamDataset(loader.dataset, name)
    assert {name: len(stream) for name, stream in streams.items()} == {
        'labeled': 1,
        'unlabeled': 3,
    }
    labeled, unlabeled = streams['labeled'][0], streams['unlabeled'][0]
    assert labeled['inputs'].shape[1:] == cfg.crop_size
    assert set(labeled['data_samples'].gt_sem_seg.data.unique().tolist()) <= {1, 255}
    assert sorted(unlabeled) == ['view1', 'view2']
    for view in unlabeled.values():
        assert view['inputs'].shape[1:] == cfg.crop_size
        assert view['data_samples'].valid_map.data.any()


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
