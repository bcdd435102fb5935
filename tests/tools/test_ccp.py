import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmsemiseg.datasets import CCPDataset, UnlabeledDataset

LABELED = [f'{i:04}' for i in range(1, 9)]
UNLABELED = ['1005', '1006']


@pytest.fixture
def tool(load_tool):
    return load_tool('dataset_converters/ccp')


def labels_of(tool):
    return ['null', *sorted(set(' '.join(tool.LABELS.values()).split()) - {'null'})]


def original(root, tool):
    """Upright photographs of 40 x 60 pixels; left background, right a bag."""
    (root / 'photos').mkdir(parents=True)
    (root / 'annotations/pixel-level').mkdir(parents=True)
    names = labels_of(tool)
    savemat(root / 'label_list.mat', dict(label_list=np.array([names], dtype=object)))
    generator = np.random.default_rng(0)
    for stem in LABELED + UNLABELED:
        image = generator.integers(0, 256, (60, 40, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / 'photos' / f'{stem}.jpg')
    for stem in LABELED:
        write_mask(root, stem, names.index('bag'))


def write_mask(root, stem, value, size=(60, 40)):
    mask = np.zeros(size, np.uint8)
    mask[:, 20:] = value
    savemat(root / f'annotations/pixel-level/{stem}.mat', dict(groundtruth=mask))


def convert(tool, tmp_path, *options):
    out = tmp_path / 'out'
    tool.main([str(tmp_path / 'ccp'), '--out', str(out), *options])
    return out


def test_labels_images_and_parts(tmp_path, tool, capsys):
    original(tmp_path / 'ccp', tool)
    out = convert(tool, tmp_path, '--long-side', '30')
    told = capsys.readouterr().out
    assert '8 images with labels instead of 1004: the split is not' in told
    assert f'7 train, 1 val, 2 unlabeled -> {out}' in told
    masks = sorted((out / 'labels').rglob('*.png'))
    assert sorted(path.stem for path in masks) == LABELED
    for path in masks:
        mask = np.asarray(Image.open(path))
        assert mask.shape == (30, 20)
        assert (mask[:, :10] == 0).all() and (mask[:, 10:] == 15).all()
        with Image.open(
            out / 'images' / path.parent.name / f'{path.stem}.jpg'
        ) as image:
            assert image.size == (20, 30)
    prefix = dict(img_path='images/train', seg_map_path='labels/train')
    dataset = CCPDataset(data_root=str(out), data_prefix=prefix)
    assert len(dataset) == 7 and dataset.metainfo['classes'][15] == 'bag'
    assert len(UnlabeledDataset('images/unlabeled', str(out))) == 2
    assert not (out / 'labels/unlabeled').exists()


def test_full_size_copies(tmp_path, tool):
    original(tmp_path / 'ccp', tool)
    out = convert(tool, tmp_path, '--full-size')
    for path in (out / 'images').rglob('*.jpg'):
        assert path.read_bytes() == (tmp_path / 'ccp/photos' / path.name).read_bytes()
    mask = np.asarray(Image.open(next((out / 'labels/train').iterdir())))
    assert mask.shape == (60, 40) and (mask[:, 20:] == 15).all()


def test_split_of_the_full_data_set(tool):
    chosen = sorted(tool.validation([f'{i:04}' for i in range(1004, 0, -1)]))
    digest = hashlib.sha256('\n'.join(chosen).encode()).hexdigest()
    assert len(chosen) == 245 and digest.startswith('c8771800cfa0194c')


def test_every_label_of_the_source_is_in_one_class(tool):
    labels = ' '.join(tool.LABELS.values()).split()
    assert len(labels) == len(set(labels)) == 59
    assert tuple(tool.LABELS) == CCPDataset.METAINFO['classes']


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(value=59), r'0001\.mat: groundtruth must .* below 59.* values up to 59'),
        (dict(value=2, size=(60, 41)), r'0001\.jpg has the size \(40, 60\), its mask'),
    ],
)
def test_bad_masks(tmp_path, tool, change, words):
    original(tmp_path / 'ccp', tool)
    write_mask(tmp_path / 'ccp', '0001', **change)
    with pytest.raises(ValueError, match=words):
        convert(tool, tmp_path)


def test_what_is_missing_is_named_before_anything_is_written(tmp_path, tool):
    root = tmp_path / 'ccp'
    with pytest.raises(FileNotFoundError, match='no folder .*photos; give the one'):
        convert(tool, tmp_path)
    original(root, tool)
    names = [*labels_of(tool)[:-1], 'hammer']
    savemat(root / 'label_list.mat', dict(label_list=np.array([names], dtype=object)))
    with pytest.raises(ValueError, match='must list the 59 labels.*: hammer, wedges'):
        convert(tool, tmp_path)
    (root / 'label_list.mat').unlink()
    with pytest.raises(FileNotFoundError, match=r'no file .*label_list\.mat'):
        convert(tool, tmp_path)
    (root / 'photos/0003.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='1 masks have no photograph .*: 0003'):
        convert(tool, tmp_path)
    assert not (tmp_path / 'out').exists()


def test_bad_settings(tool):
    for options in (['--long-side', '0'], ['--jpeg', '101']):
        with pytest.raises(SystemExit):
            tool.main(['x', *options])
