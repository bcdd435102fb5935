"""Streams of configs take the lists that make_split writes, as their READMEs say."""

import runpy

import numpy as np
import pytest
from config_files import ROOT, load
from PIL import Image

from mmsemiseg.datasets import StreamDataset


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
    cfg = load(ROOT / f'{config}.py')
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
