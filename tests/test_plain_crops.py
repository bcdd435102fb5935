"""The base configs of plain crops and of DeepLabV2, on files of a few pixels more."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmsemiseg.datasets import StreamDataset
from mmsemiseg.models import SegmentorAdapter

BASES = Path(__file__).resolve().parents[1] / 'configs' / '_base_'


def write(path, size, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


def voc(root):
    lists = root / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    sizes = dict(wide=(100, 400), large=(340, 330), small=(30, 40))
    for name, size in sizes.items():
        write(root / 'JPEGImages' / f'{name}.jpg', (*size, 3), 200)
        for folder in ('SegmentationClassAug', 'SegmentationClass'):
            write(root / folder / f'{name}.png', size, 3)
    for part in ('trainaug', 'val'):
        (lists / f'{part}.txt').write_text('\n'.join(sizes))


def cityscapes(root):
    for part, count in dict(train=2, val=1).items():
        for number in range(count):
            stem = f'{part}/aachen/aachen_00000{number}_000019'
            write(root / 'leftImg8bit' / f'{stem}_leftImg8bit.png', (1030, 1060, 3), 50)
            write(root / 'gtFine' / f'{stem}_gtFine_labelTrainIds.png', (1030, 1060), 5)


def gta5(root):
    write(root / 'images' / '00001.png', (1052, 1914, 3), 90)
    write(root / 'labels' / '00001.png', (1052, 1914), 26)


def photographs(root):
    """A wide and an upright one in each part; the first of training has a label."""
    sizes = dict(wide=(213, 320), upright=(320, 202))
    for part in ('train', 'val', 'unlabeled'):
        for name, size in sizes.items():
            stem = f'{part}/{name}_{part}'
            write(root / 'images' / f'{stem}.jpg', (*size, 3), 200)
            write(root / 'labels' / f'{stem}.png', size, 3)
    for split in ('38', '60'):
        (root / 'splits' / split).mkdir(parents=True)
        (root / 'splits' / split / 'labeled.txt').write_text('wide_train')


def validation_of(data):
    """The atom of validation and testing that goes with one of streams, if any."""
    if data.startswith('voc'):
        return ['datasets/voc_val']
    if 'cityscapes' in data:
        return ['datasets/cityscapes_val' + ('-half' if 'half' in data else '')]
    return []


def load(tmp_path, model, data):
    leaf = tmp_path / 'leaf.py'
    names = [f'models/{model}', f'datasets/{data}', *validation_of(data)]
    names.append('default_runtime')
    leaf.write_text(f'_base_ = {[str(BASES / f"{name}.py") for name in names]}\n')
    cfg = Config.fromfile(leaf)
    init_default_scope('mmseg')
    makers = {
        'data/VOCdevkit/VOC2012/': voc,
        'data/cityscapes/': cityscapes,
        'data/gta5/': gta5,
        'data/msrc21/': photographs,
        'data/ccp/': photographs,
    }
    if 'unlabeled' in cfg:
        cfg.train_dataloader.unlabeled = cfg.unlabeled
    loaders = [*cfg.train_dataloader.values(), cfg.val_dataloader, cfg.test_dataloader]
    for loader in loaders:
        make = makers[loader.dataset.data_root]
        root = tmp_path / make.__name__
        if not root.exists():
            make(root)
        loader.dataset.data_root = str(root)
    return cfg


def samples(cfg, times=1):
    """name -> all samples of a stream, each drawn so often."""
    streams = {
        name: StreamDataset(loader.dataset, name)
        for name, loader in cfg.train_dataloader.items()
    }
    return {n: [s[i] for i in [*range(len(s))] * times] for n, s in streams.items()}


def test_voc_pads_what_is_smaller_than_the_crop(tmp_path):
    cfg = load(tmp_path, 'deeplabv2_r101-d8', 'voc-aug_crop321_unlabeled')
    found = samples(cfg)
    assert sorted(found) == ['labeled', 'unlabeled']
    areas = sorted([100 * 321, 321 * 321, 30 * 40])
    for stream in found.values():
        assert {s['inputs'].shape for s in stream} == {(3, 321, 321)}
    labels = [s['data_samples'].gt_sem_seg.data for s in found['labeled']]
    assert sorted(int((label == 3).sum()) for label in labels) == areas
    assert all(set(label.unique().tolist()) <= {3, 255} for label in labels)
    valid = [s['data_samples'].valid_map.data for s in found['unlabeled']]
    assert sorted(int(v.sum()) for v in valid) == areas
    assert all(
        (s['inputs'][:, v[0]] == 200).all()
        for s, v in zip(found['unlabeled'], valid, strict=True)
    )
    assert all('gt_sem_seg' not in s['data_samples'] for s in found['unlabeled'])


@pytest.mark.parametrize(
    ('data', 'model', 'size'),
    [
        ('cityscapes_crop512_unlabeled', 'deeplabv3plus_r50-d16_cmb', (1030, 1060)),
        ('cityscapes_half512_unlabeled', 'deeplabv2_r101-d8_coco', (515, 530)),
    ],
)
def test_cityscapes_at_full_and_at_half_size(tmp_path, data, model, size):
    cfg = load(tmp_path, model, data)
    found = samples(cfg)
    assert {name: len(stream) for name, stream in found.items()} == {
        'labeled': 2,
        'unlabeled': 2,
    }
    for stream in found.values():
        for sample in stream:
            assert sample['inputs'].shape == (3, 512, 512)
            assert (sample['inputs'] == 50).all()
    assert all((s['data_samples'].gt_sem_seg.data == 5).all() for s in found['labeled'])
    assert all(s['data_samples'].valid_map.data.all() for s in found['unlabeled'])
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        tested = DATASETS.build(loader.dataset)[0]
        assert tested['inputs'].shape == (3, *size)
        assert tested['data_samples'].gt_sem_seg.shape == (1030, 1060)


def test_gta5_is_a_third_stream_with_the_classes_of_cityscapes(tmp_path):
    cfg = load(tmp_path, 'deeplabv2_r101-d8', 'gta5-cityscapes_half512')
    found = samples(cfg)
    assert {name: len(stream) for name, stream in found.items()} == {
        'labeled': 2,
        'unlabeled': 2,
        'source': 1,
    }
    sample = found['source'][0]
    assert sample['inputs'].shape == (3, 512, 512)
    assert (sample['data_samples'].gt_sem_seg.data == 13).all()  # a car
    streams = {
        name: StreamDataset(cfg.train_dataloader[name].dataset, name)
        for name in ('labeled', 'source')
    }
    classes = {tuple(stream.metainfo['classes']) for stream in streams.values()}
    assert len(classes) == 1


@pytest.mark.parametrize('kind', ['', '_plain', '_overlap'])
@pytest.mark.parametrize(('data', 'unlabeled'), [('msrc21', 1), ('ccp', 3)])
def test_photographs_are_padded_to_the_crop_and_tested_whole(
    tmp_path, data, unlabeled, kind
):
    cfg = load(tmp_path, 'deeplabv3plus_r18-d16', data + kind)
    np.random.seed(0)
    found = samples(cfg, times=12)
    assert [len(stream) for stream in found.values()] == [12, 12 * unlabeled]
    padded = dict(labeled=0, unlabeled=0)
    for name, stream in found.items():
        views = [v for s in stream for v in ([s] if 'inputs' in s else s.values())]
        for view in views:
            assert view['inputs'].shape == (3, 128, 128)
            sample = view['data_samples']
            if name == 'labeled':
                label = sample.gt_sem_seg.data[0]
                assert set(label.unique().tolist()) <= {3, 255}
                assert (view['inputs'][:, label == 255] == 127).all()
                padded[name] += int((label == 255).sum())
            else:
                padded[name] += int((~sample.valid_map.data).sum())
    assert (padded['labeled'] > 0) == (padded['unlabeled'] > 0) == (kind != '_plain')
    tested = list(DATASETS.build(cfg.val_dataloader.dataset))
    assert [s['inputs'].shape[1:] for s in tested] == [(208, 131), (138, 208)]
    labels = [s['data_samples'].gt_sem_seg.shape for s in tested]
    assert labels == [(320, 202), (213, 320)]


def small(cfg):
    """The model of a config with a sixteenth of its width."""
    backbone = cfg.model.student.backbone
    backbone.update(init_cfg=None, depth=50, base_channels=4)
    head = dict(in_channels=128)
    if cfg.model.student.decode_head.type == 'DeepLabV3PlusHead':
        head.update(channels=4, c1_in_channels=16, c1_channels=2)
    cfg.model.student.decode_head.update(head)
    torch.manual_seed(0)
    return revert_sync_batchnorm(MODELS.build(cfg.model))


@pytest.mark.parametrize(
    ('model', 'striding', 'first', 'last'),
    [
        ('deeplabv2_r101-d8', 'conv2', (3 - 123.675) / 58.395, (1 - 103.53) / 57.375),
        ('deeplabv2_r101-d8_coco', 'conv1', (1 - 104.00699) / 255, (3 - 122.679) / 255),
    ],
)
def test_images_become_what_the_weights_expect(tmp_path, model, striding, first, last):
    built = small(load(tmp_path, model, 'voc-aug_crop321'))
    blue, red = 1, 3
    image = torch.tensor([blue, 2, red], dtype=torch.uint8)[:, None, None]
    data = dict(inputs=[image.expand(3, 8, 8)], data_samples=None)
    found = built.data_preprocessor(data, False)['inputs'][0, [0, 2], 0, 0]
    assert found.tolist() == pytest.approx([first, last], abs=1e-5)
    block = built.student.backbone.layer2[0]
    assert getattr(block, striding).stride == (2, 2)


@pytest.mark.parametrize(
    ('model', 'data', 'features'),
    [
        ('deeplabv2_r101-d8', 'voc-aug_crop321', (128, 41, 41)),
        ('deeplabv3plus_r50-d16_cmb', 'voc-aug_crop321', (4, 81, 81)),
    ],
)
def test_backbone_has_fixed_affine_maps_and_statistics_that_follow(
    tmp_path, model, data, features
):
    student = small(load(tmp_path, model, data)).student.train()
    images = torch.randn(2, 3, 321, 321)
    norms = [m for m in student.backbone.modules() if hasattr(m, 'running_mean')]
    assert not any(p.requires_grad for norm in norms for p in norm.parameters())
    before = [norm.running_mean.clone() for norm in norms]
    output = SegmentorAdapter(student)(student, images)
    assert output.features.shape == (2, *features)
    pairs = zip(norms, before, strict=True)
    assert all(not torch.equal(norm.running_mean, old) for norm, old in pairs)
    if model.startswith('deeplabv3plus'):
        assert all(p.requires_grad for p in student.decode_head.parameters())
        layer4 = student.backbone.layer4
        assert [block.conv2.dilation for block in layer4] == [(2, 2)] * 3


@pytest.mark.parametrize(
    ('model', 'data', 'size'),
    [
        ('deeplabv2_r101-d8', 'cityscapes_half512', (515, 530)),
        ('deeplabv3plus_r50-d16_cmb', 'voc-aug_crop321', (30, 40)),
    ],
)
def test_prediction_has_the_size_of_the_labels(tmp_path, model, data, size):
    cfg = load(tmp_path, model, data)
    built = small(cfg).eval()
    seen = []
    built.student.backbone.register_forward_pre_hook(
        lambda module, args: seen.append(tuple(args[0].shape[2:]))
    )
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    sample = dataset[len(dataset) - 1]
    result = built.test_step(pseudo_collate([sample]))[0]
    assert seen == [size]  # nothing is padded
    assert result.pred_sem_seg.shape == result.gt_sem_seg.shape
