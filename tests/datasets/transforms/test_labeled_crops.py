import numpy as np
import pytest
import torch
from mmseg.registry import TRANSFORMS
from mmseg.utils import register_all_modules

import mmsemiseg  # noqa: F401, fills the registry

FLIP = [dict(type='RandomFlip', prob=0.5)]


def crops(**settings):
    register_all_modules()
    settings = {'crop_size': (16, 24), 'pipeline': FLIP, **settings}
    return TRANSFORMS.build(dict(type='LabeledOverlapCrops', **settings))


def results(size=(40, 50), seed=0):
    """The mask is a function of the image."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = image[..., 0] % 5
    mask[image[..., 1] < 40] = 255
    return dict(
        img_path='a.png',
        seg_map_path='a_mask.png',
        img=image,
        gt_seg_map=mask,
        seg_fields=['gt_seg_map'],
        img_shape=size,
        ori_shape=size,
    )


@pytest.mark.parametrize('size', [(40, 50), (10, 50), (12, 13)])
def test_masks_move_with_the_crops(size):
    transform = crops(pad_val=7)
    flips = set()
    for seed in range(6):
        np.random.seed(seed)
        views = transform(results(size, seed))
        assert sorted(views) == ['view1', 'view2']
        for view in views.values():
            image, sample = view['inputs'], view['data_samples']
            mask, valid = sample.gt_sem_seg.data[0], sample.valid_map.data[0]
            expected = image[0].long() % 5
            expected[image[1] < 40] = 255
            expected[~valid] = 255
            assert mask.dtype == torch.int64
            assert torch.equal(mask, expected)
            rows, cols = min(size[0], 16), min(size[1], 24)
            if size != (40, 50):
                assert valid.sum() == rows * cols
                assert image[:, ~valid].eq(7).all()
            assert {0, 1, 2, 3, 4, 255} == set(mask.unique().tolist())
            flips.add(bool(sample.flip))
    assert flips == {True, False}


def test_draws_are_those_of_crops_without_masks():
    register_all_modules()
    shared = [
        dict(
            type='RandomResize',
            scale=(60, 60),
            ratio_range=(0.5, 2.0),
            keep_ratio=True,
        )
    ]
    settings = dict(crop_size=(16, 24), pipeline=FLIP, shared=shared)
    plain = TRANSFORMS.build(dict(type='OverlapCrops', **settings))
    labeled = crops(shared=shared)
    for seed in range(5):
        found = []
        for transform in (plain, labeled):
            np.random.seed(seed)
            start = results(seed=seed)
            if transform is plain:
                start = {k: start[k] for k in ('img_path', 'img', 'img_shape')}
                start['ori_shape'] = start['img_shape']
            found.append(transform(start))
        for name in ('view1', 'view2'):
            one, other = (views[name] for views in found)
            assert torch.equal(one['inputs'], other['inputs'])
            one, other = one['data_samples'], other['data_samples']
            assert torch.equal(one.valid_map.data, other.valid_map.data)
            assert one.crop_offset == other.crop_offset
            assert 'gt_sem_seg' not in one and 'gt_sem_seg' in other


def test_settings_are_checked_as_those_of_the_base():
    with pytest.raises(ValueError, match='multiples of stride=8'):
        crops(crop_size=(15, 24))
    with pytest.raises(ValueError, match='put it into shared'):
        crops(pipeline=[dict(type='Resize', scale=(8, 8))])


def test_no_mask():
    start = results()
    del start['gt_seg_map']
    with pytest.raises(ValueError, match='LoadAnnotations must stand before'):
        crops()(start)


def test_a_label_too_high():
    start = results()
    start['gt_seg_map'][0, 0] = 254
    with pytest.raises(ValueError, match='below 254, or 255, but one is 254'):
        crops()(start)


def test_another_ignored_label():
    start = results((10, 50))
    start['gt_seg_map'][start['gt_seg_map'] == 255] = 9
    np.random.seed(0)
    for view in crops(ignore_index=9)(start).values():
        sample = view['data_samples']
        mask, valid = sample.gt_sem_seg.data[0], sample.valid_map.data[0]
        assert mask[~valid].eq(9).all() and not valid.all()
        assert {0, 1, 2, 3, 4, 9} == set(mask.unique().tolist())
