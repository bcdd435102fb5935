from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import student_cfg
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from tiny_run import labeled_set, write_data

from mmsemiseg.evaluation import describe_protocol
from mmsemiseg.models import SemiDataPreProcessor

BASES = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'evaluation'
SLIDE = dict(mode='slide', crop_size=(16, 16), stride=(8, 12))
BACK = 'logits back to the original size, single scale'
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'), size=(32, 40))


def base(name):
    return Config.fromfile(BASES / f'{name}.py')


def segmentor(test_cfg=None):
    model = MODELS.build(student_cfg()).eval()
    if test_cfg:
        model.test_cfg = Config(test_cfg)
    return model


def dataset(data, pipeline):
    return DATASETS.build(labeled_set(data, 'val', pipeline))


def predicted(samples, model):
    """The samples with predictions."""
    batch = dict(
        inputs=[sample['inputs'] for sample in samples],
        data_samples=[sample['data_samples'] for sample in samples],
    )
    with torch.no_grad():
        return model.predict(**SemiDataPreProcessor(mean=[0] * 3, std=[1] * 3)(batch))


@pytest.mark.parametrize(
    ('name', 'test_cfg', 'text'),
    [
        ('whole', None, 'whole image, original size, single scale'),
        ('half', None, f'whole image, input x 0.5, {BACK}'),
        ('center-crop', None, 'whole image, centre crop 24 x 20, single scale'),
        (
            'slide',
            SLIDE,
            'slide, window (16, 16), stride (8, 12), original size, single scale',
        ),
    ],
)
def test_each_base(name, test_cfg, text, data):
    pipeline = base(name).eval_pipeline
    for step in pipeline:
        if step['type'] == 'CenterCropEval':
            step.crop_size = (20, 24)
    images, model = dataset(data, pipeline), segmentor(test_cfg)
    assert describe_protocol(images, model) == text
    prediction = predicted([images[0]], model)[0]
    shape = (20, 24) if name == 'center-crop' else (32, 40)
    assert prediction.pred_sem_seg.data.shape[1:] == shape
    assert prediction.gt_sem_seg.data.shape[1:] == shape
    assert images[0]['inputs'].shape[1:] == ((16, 20) if name == 'half' else shape)


def test_slide_base_has_its_windows():
    assert base('slide').test_cfg_slide.mode == 'slide'
    model = segmentor(dict(base('slide').test_cfg_slide))
    assert describe_protocol(None, model).startswith('slide, window (512, 512), stride')


@pytest.mark.parametrize(
    ('steps', 'text'),
    [
        ([dict(type='Resize', scale=(20, 16))], f'input resized to 20 x 16, {BACK}'),
        (
            [dict(type='Resize', scale=(20, 99), keep_ratio=True)],
            f'input resized within 20 x 99, {BACK}',
        ),
        ([dict(type='Resize', scale_factor=(0.5, 1.5))], f'input x 0.5 x 1.5, {BACK}'),
        ([dict(type='ResizeToMultiple')], 'ResizeToMultiple, single scale'),
    ],
)
def test_other_sizes(steps, text, data):
    images = dataset(data, [LOAD[0], *steps, LOAD[1], dict(type='PackSegInputs')])
    assert describe_protocol(images, segmentor()) == f'whole image, {text}'


def test_wrapped_data_sets(data):
    whole, half = base('whole').eval_pipeline, base('half').eval_pipeline
    parts = [labeled_set(data, 'val', pipeline) for pipeline in (whole, half, whole)]
    joined = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    assert describe_protocol(joined, segmentor()) == (
        f'whole image, original size, single scale | input x 0.5, {BACK}'
    )
    repeated = dict(type='RepeatDataset', times=2, dataset=parts[0])
    text = describe_protocol(DATASETS.build(repeated), segmentor())
    assert text == 'whole image, original size, single scale'
    assert describe_protocol([1, 2], segmentor()) == 'whole image, unknown size'


def test_the_student_of_a_method_is_asked(data):
    class Method(torch.nn.Module):
        student = segmentor(SLIDE)

    images = dataset(data, base('slide').eval_pipeline)
    assert describe_protocol(images, Method()).startswith('slide, window (16, 16)')


# The transform of the centre crop


def crop(size, image, **keys):
    return TRANSFORMS.build(dict(type='CenterCropEval', crop_size=size))(
        dict(img=image, **keys)
    )


def test_crop_is_the_centre():
    image = np.arange(5 * 6 * 3).reshape(5, 6, 3)
    mask = np.arange(30).reshape(5, 6)
    results = crop((2, 4), image, gt_seg_map=mask, ori_shape=(5, 6), img_shape=(5, 6))
    np.testing.assert_array_equal(results['img'], image[1:3, 1:5])
    np.testing.assert_array_equal(results['gt_seg_map'], mask[1:3, 1:5])
    shapes = {results[key] for key in ('ori_shape', 'img_shape', 'pad_shape')}
    assert shapes == {(2, 4)}


def test_small_image_is_padded_with_ignored_pixels():
    image = np.full((2, 3, 3), 7, np.uint8)
    results = crop((5, 2), image, gt_seg_map=np.ones((2, 3), np.uint8))
    ignored, kept = [255, 255], [1, 1]
    assert results['gt_seg_map'].tolist() == [ignored, kept, kept, ignored, ignored]
    assert results['img'][..., 0].tolist() == [[0, 0], [7, 7], [7, 7], [0, 0], [0, 0]]
    assert results['img'].dtype == results['gt_seg_map'].dtype == np.uint8


def test_padding_has_the_ignored_label():
    cut = TRANSFORMS.build(dict(type='CenterCropEval', crop_size=(3, 1), seg_pad_val=9))
    results = cut(dict(img=np.ones((1, 1, 3)), gt_seg_map=np.ones((1, 1))))
    assert results['gt_seg_map'].tolist() == [[9], [1], [9]]


def test_crop_without_a_mask():
    results = crop((2, 2), np.zeros((4, 4, 3)))
    assert results['img'].shape == (2, 2, 3)
    assert 'gt_seg_map' not in results


def test_crop_refuses():
    with pytest.raises(ValueError, match='one size, but a.png is .4, 4. and its mask'):
        crop((2, 2), np.zeros((4, 4, 3)), gt_seg_map=np.zeros((8, 8)), img_path='a.png')
    for size in ((0, 2), (2, 2, 2)):
        with pytest.raises(ValueError, match='crop_size must be'):
            crop(size, np.zeros((4, 4, 3)))
