"""Samples that depend on their own seed alone, and errors that name the image."""

import random

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import ConcatDataset, RepeatDataset, pseudo_collate
from mmengine.dataset.utils import worker_init_fn
from mmseg.datasets import BaseSegDataset
from mmseg.registry import TRANSFORMS
from mmseg.utils import register_all_modules
from PIL import Image
from torch.utils.data import DataLoader

from mmsemiseg.datasets import (
    CheckLabels,
    SampleIndex,
    StreamDataset,
    StreamSampler,
    UnlabeledDataset,
)

register_all_modules()
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
AUGMENT = [
    dict(type='RandomResize', scale=(32, 24), ratio_range=(0.8, 1.5)),
    dict(type='RandomCrop', crop_size=(16, 16)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
]
PACK = [dict(type='PackSegInputs')]
NAMES = [f'image{i}' for i in range(5)]


@TRANSFORMS.register_module(force=True)
class NoiseForTests(BaseTransform):
    """Draws from all three generators."""

    def transform(self, results):
        results['img'] = results['img'] + (
            torch.rand(1).item() + np.random.rand() + random.random()
        )
        return results


@TRANSFORMS.register_module(force=True)
class FailsForTests(BaseTransform):
    """Fails, or returns None, on one image."""

    def __init__(self, name, how):
        self.name, self.how = name, how

    def transform(self, results):
        if self.name not in results['img_path']:
            return results
        if self.how == 'none':
            return None
        raise RuntimeError('too dark')


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        image = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        mask = rng.integers(0, 3, (24, 32), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f'images/{name}.png')
        Image.fromarray(mask).save(tmp_path / f'masks/{name}.png')
    return tmp_path


def labeled(root, pipeline=None, **settings):
    return BaseSegDataset(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        img_suffix='.png',
        metainfo=dict(classes=('a', 'b', 'c')),
        pipeline=[*LOAD, *AUGMENT, dict(type='NoiseForTests'), *PACK]
        if pipeline is None
        else pipeline,
        **settings,
    )


def batches(dataset, num_workers, n=4):
    """The first n batches, of a loader such as mmengine's runner builds."""
    stream = StreamDataset(dataset)
    loader = DataLoader(
        stream,
        batch_size=3,
        sampler=StreamSampler(stream, seed=1),
        num_workers=num_workers,
        collate_fn=pseudo_collate,
        worker_init_fn=None
        if num_workers == 0
        else lambda i: worker_init_fn(i, num_workers, rank=0, seed=num_workers),
    )
    iterator = iter(loader)
    return [next(iterator) for _ in range(n)]


def assert_equal_batches(first, second):
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a['inputs'], b['inputs'], strict=True):
            assert torch.equal(x, y)
        for x, y in zip(a['data_samples'], b['data_samples'], strict=True):
            assert torch.equal(x.gt_sem_seg.data, y.gt_sem_seg.data)
            assert x.img_path == y.img_path


WRAPPERS = {
    'plain': lambda root: labeled(root),
    'concat': lambda root: ConcatDataset([labeled(root), labeled(root)]),
    'repeat': lambda root: RepeatDataset(labeled(root), times=2),
}


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_samples_do_not_depend_on_the_workers(root, wrapper):
    torch.manual_seed(1)
    alone = batches(WRAPPERS[wrapper](root), 0)
    torch.manual_seed(2)
    np.random.seed(2)
    again = batches(WRAPPERS[wrapper](root), 0)
    assert_equal_batches(alone, again)
    assert_equal_batches(alone, batches(WRAPPERS[wrapper](root), 2))


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_the_seed_of_a_draw_decides(root, wrapper):
    stream = StreamDataset(WRAPPERS[wrapper](root))

    def image(seed):
        return stream[SampleIndex(2, seed)]['inputs']

    assert torch.equal(image(1), image(1))
    assert not torch.equal(image(1), image(2))


def test_what_was_drawn_before_has_no_effect(root):
    stream = StreamDataset(labeled(root))
    wanted = SampleIndex(3, 9)
    first = stream[wanted]['inputs']
    stream[SampleIndex(0, 4)], stream[1]
    assert torch.equal(stream[wanted]['inputs'], first)


def test_the_generators_of_the_process_are_left_alone(root):
    pipeline = [
        *LOAD,
        dict(type='NoiseForTests'),
        dict(type='FailsForTests', name='image4', how='x'),
    ]
    stream = StreamDataset(labeled(root, pipeline))
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    stream[SampleIndex(1, 5)]
    with pytest.raises(ValueError):
        stream[SampleIndex(4, 6)]
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected


@pytest.mark.parametrize('nested', [False, True])
@pytest.mark.parametrize(
    ('how', 'message'),
    [
        ('error', r"FailsForTests failed on image '.*image4\.png': too dark"),
        ('none', r"FailsForTests returned None for image '.*image4\.png'"),
    ],
)
def test_a_failing_transform_is_named_with_its_image(root, how, message, nested):
    pipeline = [dict(type='FailsForTests', name='image4', how=how)]
    if nested:
        pipeline = [dict(type='MultiView', views=dict(weak=pipeline))]
    dataset = UnlabeledDataset(
        'images', str(root), pipeline=[dict(type='LoadImageFromFile'), *pipeline]
    )
    stream = StreamDataset(dataset)
    assert stream[SampleIndex(0, 1)]
    with pytest.raises(ValueError, match=f'^{message}'):
        stream[SampleIndex(4, 1)]


def test_garbage_is_named(root):
    (root / 'images/image2.png').write_bytes(b'no image at all')
    stream = StreamDataset(labeled(root))
    with pytest.raises(ValueError, match=r'LoadImageFromFile.*image2\.png'):
        stream[SampleIndex(2, 1)]


def test_a_garbage_mask_is_named(root):
    (root / 'masks/image2.png').write_bytes(b'no mask at all')
    stream = StreamDataset(labeled(root))
    with pytest.raises(ValueError, match=r'LoadAnnotations.*image2\.png'):
        stream[SampleIndex(2, 1)]


# CheckLabels


def kinds(dataset):
    return [type(t).__name__ for t in dataset.pipeline.transforms]


def test_labels_are_checked_after_loading_and_only_once(root):
    dataset = labeled(root)
    plain = kinds(dataset)
    for _ in range(2):  # a data set may be wrapped twice
        stream = StreamDataset(dataset)
        after = kinds(stream.dataset)
        place = after.index('LoadAnnotations') + 1
        assert after[place] == 'CheckLabels'
        assert after[:place] + after[place + 1 :] == plain
    check = stream.dataset.pipeline.transforms[place]
    assert (check.num_classes, check.ignore_index) == (3, 255)


def test_own_check_labels_stay(root):
    own = CheckLabels(3, 7)
    dataset = labeled(root, [*LOAD, own, *PACK])
    StreamDataset(dataset)
    checks = [t for t in dataset.pipeline.transforms if isinstance(t, CheckLabels)]
    assert checks == [own]


def test_every_leaf_is_checked(root):
    leaves = [labeled(root), labeled(root, ignore_index=9)]
    StreamDataset(ConcatDataset(leaves))
    found = [
        t.ignore_index
        for leaf in leaves
        for t in leaf.pipeline.transforms
        if isinstance(t, CheckLabels)
    ]
    assert found == [255, 9]


def test_unlabeled_data_is_not_checked(root):
    dataset = UnlabeledDataset(
        'images', str(root), pipeline=[dict(type='LoadImageFromFile')]
    )
    StreamDataset(dataset)
    assert kinds(dataset) == ['LoadImageFromFile']


def test_a_wrong_value_names_the_mask(root):
    wrong = np.full((24, 32), 3, np.uint8)
    Image.fromarray(wrong).save(root / 'masks/image1.png')
    stream = StreamDataset(labeled(root))
    stream[SampleIndex(0, 1)]
    with pytest.raises(ValueError, match=r'masks/image1\.png has the values 3'):
        stream[SampleIndex(1, 1)]


# What mmengine asks of a data set


def test_it_answers_for_the_data_set(root):
    stream = StreamDataset(labeled(root))
    assert len(stream) == 5
    assert stream.metainfo['classes'] == ('a', 'b', 'c')
    assert stream.get_data_info(SampleIndex(2, 1))['img_path'].endswith('image2.png')
    assert stream.full_init() is None


def test_plain_indices_work_unseeded(root):
    stream = StreamDataset(labeled(root, [*LOAD, *PACK]))
    assert stream[0]['inputs'].shape == (3, 24, 32)


def test_it_builds_from_a_config(root):
    cfg = dict(
        type='UnlabeledDataset',
        images='images',
        data_root=str(root),
        pipeline=[dict(type='LoadImageFromFile')],
    )
    assert len(StreamDataset(cfg)) == 5
