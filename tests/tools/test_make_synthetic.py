import hashlib

import numpy as np
import pytest
from PIL import Image

from mmsemiseg.datasets import FolderSegDataset, UnlabeledDataset
from mmsemiseg.datasets.checks import check_streams
from mmsemiseg.datasets.synthetic import SyntheticShapesDataset, make_sample


def make(tool, out, *options):
    sizes = ['--labeled', '5', '--unlabeled', '3', '--val', '2', '--size', '48']
    assert tool.main(['--out', str(out), *sizes, *options]) == 0


def pixels(folder):
    return {p.name: np.asarray(Image.open(p)) for p in sorted(folder.iterdir())}


def test_layout_has_no_mask_of_an_unlabeled_image(tmp_path, load_tool):
    make(load_tool('make_synthetic'), tmp_path)
    images = pixels(tmp_path / 'JPEGImages')
    masks = pixels(tmp_path / 'SegmentationClass')
    assert len(images) == 10
    assert sorted(masks) == sorted(n for n in images if not n.startswith('unlabeled'))
    assert all(image.shape == (48, 48, 3) for image in images.values())
    assert all(m.shape == (48, 48) and m.max() <= 5 for m in masks.values())
    assert not (tmp_path / 'HiddenClass').exists()
    lists = tmp_path / 'ImageSets/Segmentation'
    assert (lists / 'val.txt').read_text() == 'val_00000\nval_00001\n'
    with Image.open(tmp_path / 'SegmentationClass/val_00000.png') as mask:
        palette = mask.getpalette()[:18]
    assert palette == sum(SyntheticShapesDataset.METAINFO['palette'], [])


def test_hidden_masks_lie_apart(tmp_path, load_tool):
    make(load_tool('make_synthetic'), tmp_path, '--hidden')
    hidden = pixels(tmp_path / 'HiddenClass')
    assert list(hidden) == [f'unlabeled_0000{i}.png' for i in range(3)]
    assert not set(hidden) & set(pixels(tmp_path / 'SegmentationClass'))
    expected = make_sample((0, 1, 2), 48).mask
    assert (hidden['unlabeled_00002.png'] == expected).all()


def test_the_datasets_read_it(tmp_path, load_tool):
    make(load_tool('make_synthetic'), tmp_path)
    labeled = SyntheticShapesDataset(
        data_root=str(tmp_path),
        ann_file='ImageSets/Segmentation/labeled.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    )
    unlabeled = UnlabeledDataset(
        'ImageSets/Segmentation/unlabeled.txt', str(tmp_path), image_dir='JPEGImages'
    )
    assert isinstance(labeled, FolderSegDataset)
    assert (len(labeled), len(unlabeled)) == (5, 3)
    assert len(labeled.metainfo['classes']) == 6
    check_streams(dict(labeled=labeled, unlabeled=unlabeled))


def test_same_settings_give_the_same_pixels(tmp_path, load_tool):
    tool = load_tool('make_synthetic')
    for name, options in dict(a=(), b=(), c=('--seed', '1')).items():
        make(tool, tmp_path / name, *options)
    make(tool, tmp_path / 'more', '--unlabeled', '9', '--labeled', '7')
    names = ('a', 'b', 'c', 'more')
    a, b, c, more = (pixels(tmp_path / n / 'JPEGImages') for n in names)
    assert all((a[name] == b[name]).all() for name in a)
    assert not any((a[name] == c[name]).all() for name in a)
    assert all((a[name] == more[name]).all() for name in a)
    assert len({image.tobytes() for image in a.values()}) == len(a)


def test_the_pixels_of_a_seed_are_fixed_for_ever():
    sample = make_sample((3, 1, 4), 64, 0.5)
    digest = hashlib.sha256(sample.image.tobytes() + sample.mask.tobytes()).hexdigest()
    assert digest[:16] == '400d099e2127109e'


def test_every_class_occurs_in_a_few_images():
    masks = np.stack([make_sample((0, 0, i)).mask for i in range(10)])
    images_with = [(masks == label).any((1, 2)).sum() for label in range(6)]
    assert min(images_with) >= 2 and images_with[0] == 10


def test_difficulty_adds_noise():
    def roughness(difficulty):
        images = [make_sample((0, 0, i), 48, difficulty).image for i in range(8)]
        steps = np.diff(np.stack(images).astype(int), axis=2)
        return np.abs(steps).mean()

    assert roughness(0.0) < roughness(0.5) < roughness(1.0)


def test_bad_settings(tmp_path, load_tool):
    with pytest.raises(ValueError, match=r'difficulty must be in \[0, 1\], but got 2'):
        make_sample((0,), difficulty=2)
    with pytest.raises(ValueError, match='size must be at least 32, but got 16'):
        make_sample((0,), size=16)
    with pytest.raises(SystemExit):
        load_tool('make_synthetic').main(['--out', str(tmp_path), '--labeled', '0'])
