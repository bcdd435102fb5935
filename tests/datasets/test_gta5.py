import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmsemiseg.datasets import GTA5Dataset, StreamDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
# By the label definitions of Cityscapes' own scripts
CLASS_OF = {
    7: 'road',
    8: 'sidewalk',
    11: 'building',
    12: 'wall',
    13: 'fence',
    17: 'pole',
    19: 'traffic light',
    20: 'traffic sign',
    21: 'vegetation',
    22: 'terrain',
    23: 'sky',
    24: 'person',
    25: 'rider',
    26: 'car',
    27: 'truck',
    28: 'bus',
    31: 'train',
    32: 'motorcycle',
    33: 'bicycle',
}


def write(root, labels, name='00001.png', mode='L'):
    labels = np.array(labels, np.uint8)
    mask = Image.fromarray(labels)
    if mode == 'P':
        mask.putpalette([7 * k % 256 for k in range(768)])
    if mode == 'RGB':
        mask = Image.fromarray(np.repeat(labels[:, :, None], 3, axis=2))
    image = Image.fromarray(np.zeros((*labels.shape, 3), np.uint8))
    for folder, picture in (('images', image), ('labels', mask)):
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(root / folder / name)


def build(root, **settings):
    return GTA5Dataset(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline=LOAD,
        **settings,
    )


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def read(dataset):
    return StreamDataset(dataset, 'source')[0]['gt_seg_map']


@pytest.mark.parametrize('mode', ['L', 'P'])
def test_numbers_in_the_files_become_those_of_cityscapes(tmp_path, mode):
    labels = np.arange(35).reshape(5, 7)
    write(tmp_path, labels, mode=mode)
    found = read(build(tmp_path))
    classes = CityscapesDataset.METAINFO['classes']
    for label, index in zip(labels.ravel(), found.ravel(), strict=True):
        name = CLASS_OF.get(label)
        assert index == (255 if name is None else classes.index(name)), label


def test_classes_and_colours_are_those_of_cityscapes(tmp_path):
    write(tmp_path, [[7]])
    dataset = build(tmp_path)
    for key in ('classes', 'palette'):
        assert dataset.metainfo[key] == CityscapesDataset.METAINFO[key]
    assert len(dataset.metainfo['classes']) == 19
    assert DATASETS.get('GTA5Dataset') is GTA5Dataset


def test_some_of_the_classes(tmp_path):
    write(tmp_path, [[7, 23, 26], [0, 34, 23]])
    dataset = build(tmp_path, metainfo=dict(classes=('car', 'sky')))
    assert read(dataset).tolist() == [[255, 1, 0], [255, 255, 1]]
    assert dataset.metainfo['palette'] == [[0, 0, 142], [70, 130, 180]]


def test_own_colours(tmp_path):
    write(tmp_path, [[26]])
    names = dict(classes=('car', 'sky'), palette=[[1, 1, 1], [2, 2, 2]])
    assert build(tmp_path, metainfo=names).metainfo['palette'] == names['palette']


def test_files_in_folders_and_lists(tmp_path):
    for name in ('train/2.png', 'train/1.png', 'val/3.png'):
        write(tmp_path, [[7]], name)
    assert len(build(tmp_path)) == 3
    (tmp_path / 'list.txt').write_text('val/3\ntrain/2\n')
    dataset = build(tmp_path, ann_file='list.txt')
    found = [dataset.get_data_info(k)['seg_map_path'] for k in range(len(dataset))]
    assert found == [str(tmp_path / 'labels' / n) for n in ('val/3.png', 'train/2.png')]


def test_a_number_that_no_label_has_is_refused(tmp_path):
    write(tmp_path, [[7, 35], [7, 7]])
    with pytest.raises(ValueError, match=r'00001\.png has the values 35 in 1 of 4'):
        read(build(tmp_path))


def test_labels_in_colours_are_refused(tmp_path):
    write(tmp_path, [[7, 8], [8, 7]], mode='RGB')
    with pytest.raises(ValueError, match='is it a picture in colours'):
        read(build(tmp_path))
