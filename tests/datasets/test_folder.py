import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

from mmsemiseg.datasets import (
    CamVidDataset,
    CCPDataset,
    FolderSegDataset,
    MSRC21Dataset,
)

META = dict(classes=('road', 'sky'), palette=[[0, 0, 0], [9, 9, 9]])
PREFIX = dict(img_path='images', seg_map_path='labels')


def write(root, *names, value=1):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 6), value, np.uint8)).save(path)


def build(root, **settings):
    settings = dict(data_prefix=PREFIX, metainfo=META) | settings
    return FolderSegDataset(data_root=str(root), **settings)


def pairs(dataset, root):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [
        tuple(info[k].removeprefix(f'{root}/') for k in ('img_path', 'seg_map_path'))
        for info in infos
    ]


def test_all_images_below_the_folder_with_any_suffix(tmp_path):
    write(tmp_path, 'images/s/1.JPG', 'images/2.png', 'labels/s/1.png', 'labels/2.PNG')
    assert pairs(build(tmp_path), tmp_path) == [
        ('images/2.png', 'labels/2.PNG'),
        ('images/s/1.JPG', 'labels/s/1.png'),
    ]


def test_list_keeps_its_order_and_skips_blank_lines(tmp_path):
    write(tmp_path, 'images/s/1.JPG', 'images/2.png', 'images/3.png')
    write(tmp_path, 'labels/s/1.png', 'labels/2.png')
    (tmp_path / 'split.txt').write_text('s/1\n\n# comment\n2.png\n')
    assert pairs(build(tmp_path, ann_file='split.txt'), tmp_path) == [
        ('images/s/1.JPG', 'labels/s/1.png'),
        ('images/2.png', 'labels/2.png'),
    ]


def test_what_is_missing_is_named(tmp_path):
    write(tmp_path, 'images/1.png', 'images/2.png', 'labels/1.png')
    with pytest.raises(FileNotFoundError, match=r'no mask for 1 of 2 images.*: 2\.png'):
        build(tmp_path)
    (tmp_path / 'split.txt').write_text('1\n9\n')
    with pytest.raises(
        FileNotFoundError, match=r'no image for 1 of 2 .*: 9 \(line 2\)'
    ):
        build(tmp_path, ann_file='split.txt')
    with pytest.raises(FileNotFoundError, match=r'list file does not exist.*none\.txt'):
        build(tmp_path, ann_file='none.txt')
    (tmp_path / 'empty.txt').write_text('\n\n')
    with pytest.raises(ValueError, match=r'no image: ann_file=.*empty\.txt'):
        build(tmp_path, ann_file='empty.txt')
    with pytest.raises(TypeError, match='img_suffx'):
        build(tmp_path, img_suffx='.jpg')


def test_long_suffixes_of_images_and_masks(tmp_path):
    write(tmp_path, 'images/a/x_img.png', 'labels/a/x_ids.png')
    dataset = build(tmp_path, suffixes=('_img.png',), seg_map_suffix='_ids.png')
    assert pairs(dataset, tmp_path) == [('images/a/x_img.png', 'labels/a/x_ids.png')]


def test_without_mask_folder_no_mask_is_asked_for(tmp_path):
    write(tmp_path, 'images/1.png')
    dataset = build(tmp_path, data_prefix=dict(img_path='images'))
    assert 'seg_map_path' not in dataset.get_data_info(0)


def test_stock_pipeline_loads_image_and_mask(tmp_path):
    write(tmp_path, 'images/1.PNG', 'labels/1.png')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='CheckLabels', num_classes=2),
        dict(type='PackSegInputs'),
    ]
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(
            dict(
                type='FolderSegDataset',
                data_root=str(tmp_path),
                data_prefix=PREFIX,
                metainfo=META,
                pipeline=pipeline,
            )
        )
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 4, 6)
    assert sample['data_samples'].gt_sem_seg.data.unique().tolist() == [1]


@pytest.mark.parametrize(
    'kind, number, first, last',
    [
        (CamVidDataset, 11, 'sky', 'bicyclist'),
        (CCPDataset, 18, 'background', 'accessories'),
        (MSRC21Dataset, 21, 'building', 'boat'),
    ],
)
def test_classes_have_a_colour_each(tmp_path, kind, number, first, last):
    write(tmp_path, 'images/train/0001TP_1.jpg', 'labels/train/0001TP_1.png')
    dataset = kind(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
    )
    meta = dataset.metainfo
    assert len(set(meta['classes'])) == number
    assert len({tuple(colour) for colour in meta['palette']}) == number
    assert (meta['classes'][0], meta['classes'][-1]) == (first, last)
    assert len(dataset) == 1


def test_images_and_masks_of_one_name_in_one_folder_are_refused(tmp_path):
    write(tmp_path, 'all/1.jpg', 'all/1.png', 'all/2.jpg', 'all/2.png')
    prefix = dict(img_path='all', seg_map_path='all')
    with pytest.raises(ValueError, match=r'2 stems more than once.*1\.jpg and 1\.png'):
        build(tmp_path, data_prefix=prefix)
    chosen = build(tmp_path, data_prefix=prefix, suffixes=['.jpg'])
    assert pairs(chosen, tmp_path)[0] == ('all/1.jpg', 'all/1.png')


def test_masks_that_are_told_by_their_names_are_no_images(tmp_path):
    write(tmp_path, 'all/1.png', 'all/1_mask.PNG', 'all/2.png', 'all/2_mask.png')
    prefix = dict(img_path='all', seg_map_path='all')
    dataset = build(tmp_path, data_prefix=prefix, seg_map_suffix='_mask.png')
    assert pairs(dataset, tmp_path) == [
        ('all/1.png', 'all/1_mask.PNG'),
        ('all/2.png', 'all/2_mask.png'),
    ]


def test_a_name_that_begins_with_the_sign_of_comments(tmp_path):
    write(tmp_path, 'images/#1.png', 'labels/#1.png')
    (tmp_path / 'split.txt').write_text('#1\n')
    with pytest.raises(ValueError, match=r"line 1: '#1' is read as .* '\./#1' to list"):
        build(tmp_path, ann_file='split.txt')
    (tmp_path / 'split.txt').write_text('./#1\n# 2\n')
    found = pairs(build(tmp_path, ann_file='split.txt'), tmp_path)
    assert found == [('images/#1.png', 'labels/#1.png')]


def test_without_a_palette_there_is_one(tmp_path):
    write(tmp_path, 'images/1.png', 'labels/1.png')
    dataset = build(tmp_path, metainfo=dict(classes=('road', 'sky')))
    assert np.shape(dataset.metainfo['palette']) == (2, 3)
    with pytest.raises(ValueError, match='palette does not match classes'):
        build(tmp_path, metainfo=dict(META, palette=[[0, 0, 0]]))
