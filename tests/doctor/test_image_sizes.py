import numpy as np
import pytest
from mmcv.transforms import RandomResize, Resize

from mmsemiseg.doctor.image_sizes import (
    highest_ratio,
    padded_share,
    padded_to,
    resized,
    size_and_crop,
)

LOAD = dict(type='LoadImageFromFile')


def as_mmcv(step, size):
    kind = dict(Resize=Resize, RandomResize=RandomResize)[step['type']]
    settings = {key: value for key, value in step.items() if key != 'type'}
    image = np.zeros((size[1], size[0], 3), np.uint8)
    height, width = kind(**settings)(dict(img=image))['img'].shape[:2]
    return width, height


@pytest.mark.parametrize('size', [(640, 480), (33, 70), (500, 500)])
@pytest.mark.parametrize(
    'step',
    [
        dict(type='Resize', scale=(320, 320), keep_ratio=True),
        dict(type='Resize', scale=(200, 400), keep_ratio=True),
        dict(type='Resize', scale=(200, 400)),
        dict(type='Resize', scale_factor=1.5, keep_ratio=True),
        dict(type='RandomResize', scale=(96, 64), ratio_range=(1, 1), keep_ratio=True),
    ],
)
def test_sizes_are_those_of_mmcv(step, size):
    assert resized(size, step) == as_mmcv(step, size)


def test_what_is_not_known():
    assert resized((9, 9), dict(type='RandomResize', scale=[(1, 2), (3, 4)])) is None
    crop = dict(type='RandomCrop', crop_size=(4, 6))
    unknown = dict(type='ResizeShortestEdge', scale=8)
    assert size_and_crop((9, 9), [LOAD, unknown, crop]) is None
    assert size_and_crop((9, 9), [LOAD]) is None


def test_crops_within_steps_that_views_share():
    resize = dict(
        type='RandomResize', scale=(20, 10), ratio_range=(0.5, 2.0), keep_ratio=True
    )
    crop = dict(type='RandomCrop', crop_size=(8, 12))
    views = dict(type='MultiView', shared=[resize, crop], views=dict(weak=[]))
    assert size_and_crop((40, 20), [LOAD, views]) == ((20, 10), (12, 8))
    overlap = dict(type='OverlapCrops', crop_size=16, shared=[resize])
    assert size_and_crop((40, 20), [LOAD, overlap], 2.0) == ((40, 20), (16, 16))
    assert highest_ratio([LOAD, views]) == 2.0


@pytest.mark.parametrize(
    ('step', 'size'),
    [
        (dict(type='Pad', size=(96, 64)), (96, 64)),
        (dict(type='Pad', size=64), (64, 64)),
        (dict(type='Pad', size_divisor=32), None),
        (dict(type='Resize', size=8), None),
    ],
)
def test_padding(step, size):
    assert padded_to([dict(type='MultiView', shared=[step])]) == size


def test_share_of_padding():
    assert padded_share((200, 200), (100, 100)) == 0
    assert padded_share((50, 50), (100, 100)) == 0.75
