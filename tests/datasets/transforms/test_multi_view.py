"""Views of one image: one decoding, one geometry, padding recorded."""

import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import Compose, pseudo_collate
from mmseg.registry import TRANSFORMS
from mmseg.utils import register_all_modules
from PIL import Image

from mmsemiseg.datasets import (
    MultiView,
    SampleIndex,
    StreamDataset,
    UnlabeledDataset,
)
from mmsemiseg.datasets.stream_dataset import sample_rng
from mmsemiseg.datasets.transforms import RecordValidity
from mmsemiseg.models import SemiDataPreProcessor

register_all_modules()
GEOMETRY = [
    dict(type='RandomResize', scale=(40, 30), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=(24, 24)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomRotate', prob=0.7, degree=30),
    dict(type='Pad', size=(26, 28)),
]
COLOUR = [dict(type='PhotoMetricDistortion')]


@pytest.fixture
def path(tmp_path):
    """30x40; every value is above 50, so that black is padding."""
    rng = np.random.default_rng(0)
    image = rng.integers(50, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / 'a.png')
    return str(tmp_path / 'a.png')


def apply(path, views, shared=(), seed=0):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='MultiView', views=views, shared=shared),
    ]
    with sample_rng(seed):
        return Compose([TRANSFORMS.build(t) for t in pipeline])(dict(img_path=path))


def valid_of(view):
    return view['data_samples'].valid_map.data[0]


def test_views_are_packed_by_name(path):
    out = apply(path, dict(weak=[], strong=COLOUR, third=[dict(type='PackSegInputs')]))
    assert list(out) == ['weak', 'strong', 'third']
    assert all(set(view) == {'inputs', 'data_samples'} for view in out.values())
    assert out['weak']['inputs'].shape == (3, 30, 40)
    assert out['weak']['data_samples'].img_path == path
    assert valid_of(out['weak']).all() and valid_of(out['weak']).dtype == torch.bool
    assert 'gt_sem_seg' not in out['weak']['data_samples']


def test_the_image_is_decoded_once(path, monkeypatch):
    calls, load = [], LoadImageFromFile.transform

    def count(self, results):
        calls.append(results['img_path'])
        return load(self, results)

    monkeypatch.setattr(LoadImageFromFile, 'transform', count)
    apply(path, dict(weak=[], strong=COLOUR, other=GEOMETRY))
    assert calls == [path]


@pytest.mark.parametrize('seed', range(6))
def test_shared_geometry_is_the_same_pixel_by_pixel(path, seed):
    out = apply(path, dict(weak=[], strong=[]), GEOMETRY, seed)
    assert out['weak']['inputs'].shape == (3, 28, 26)
    assert torch.equal(out['weak']['inputs'], out['strong']['inputs'])
    assert torch.equal(valid_of(out['weak']), valid_of(out['strong']))


def test_a_photometric_view_keeps_geometry_and_changes_colours(path):
    out = apply(path, dict(weak=[], strong=COLOUR), GEOMETRY, seed=3)
    again = apply(path, dict(weak=[]), GEOMETRY, seed=3)
    assert torch.equal(out['weak']['inputs'], again['weak']['inputs'])
    assert not torch.equal(out['weak']['inputs'], out['strong']['inputs'])
    assert torch.equal(valid_of(out['weak']), valid_of(out['strong']))


def test_views_of_their_own_sizes(path):
    out = apply(
        path,
        dict(
            small=[dict(type='Resize', scale=(20, 15), keep_ratio=False)],
            crop=[dict(type='RandomCrop', crop_size=(8, 12))],
        ),
        [dict(type='Resize', scale=(80, 60))],
    )
    assert out['small']['inputs'].shape == (3, 15, 20)
    assert valid_of(out['small']).shape == (15, 20)
    assert out['crop']['inputs'].shape == (3, 8, 12)
    assert valid_of(out['crop']).shape == (8, 12)


@pytest.mark.parametrize(
    'geometry',
    [
        [dict(type='Pad', size=(50, 36))],
        [dict(type='Pad', size=(50, 36)), dict(type='RandomFlip', prob=1.0)],
        [
            dict(type='Pad', size=(50, 36)),
            dict(type='RandomFlip', prob=1.0, direction='vertical'),
        ],
        [
            dict(type='Pad', size=(50, 36)),
            dict(type='RandomCrop', crop_size=(30, 30)),
        ],
        [
            dict(type='RandomCrop', crop_size=(9, 9)),
            dict(type='Pad', size=(11, 12)),
        ],
    ],
    ids=lambda g: ' '.join(t['type'] for t in g),
)
@pytest.mark.parametrize('where', ['shared', 'view'])
def test_validity_moves_with_the_image(path, geometry, where):
    if where == 'shared':
        view = apply(path, dict(weak=[]), geometry)['weak']
    else:
        view = apply(path, dict(weak=geometry))['weak']
    padding = view['inputs'].amax(0) == 0
    assert padding.any() and not padding.all()
    assert torch.equal(valid_of(view), ~padding)


def test_validity_after_rotation(path):
    rotate = [dict(type='RandomRotate', prob=1.0, degree=(20, 20))]
    view = apply(path, dict(weak=rotate))['weak']
    padding = view['inputs'].amax(0) == 0
    assert padding[0, 0] and padding[-1, -1] and not padding[15, 20]
    # the image is interpolated, the map is not: they may differ along the edge
    assert (valid_of(view) == ~padding).float().mean() > 0.93
    assert valid_of(view)[~padding].float().mean() > 0.9
    assert not valid_of(view)[padding].any()


def test_validity_moves_with_resize(path):
    pad = dict(type='Pad', size=(40, 60))
    resize = dict(type='Resize', scale=(20, 30), keep_ratio=False)
    valid = valid_of(apply(path, dict(weak=[pad, resize]))['weak'])
    assert valid[:15].all() and not valid[15:].any()


def test_one_view_does_not_change_another(path):
    alone = apply(path, dict(weak=[]))['weak']
    crop = dict(type='RandomCrop', crop_size=(9, 9))
    after = apply(path, dict(strong=[crop, *COLOUR], weak=[]))['weak']
    assert torch.equal(alone['inputs'], after['inputs'])
    assert torch.equal(valid_of(alone), valid_of(after))


def test_a_mask_is_refused(path):
    view = MultiView(dict(weak=[]))
    results = dict(img_path=path, seg_map_path='a_mask.png', img=np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r'unlabeled images, .*a\.png.*a_mask\.png'):
        view(results)


def test_no_view_is_an_error():
    with pytest.raises(ValueError, match='views must name at least one view'):
        MultiView({})


def test_views_come_through_a_stream_in_batches(path, tmp_path):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='MultiView', views=dict(weak=[], strong=COLOUR), shared=GEOMETRY),
    ]
    stream = StreamDataset(UnlabeledDataset('a.png', str(tmp_path), pipeline=pipeline))
    batch = pseudo_collate([stream[SampleIndex(0, seed)] for seed in (1, 2, 3)])
    out = SemiDataPreProcessor(size_divisor=32)(dict(unlabeled=batch), training=True)
    views = out['inputs']['unlabeled']
    assert views['weak'].inputs.shape == (3, 3, 32, 32)
    assert torch.equal(views['weak'].valid, views['strong'].valid)
    assert not views['weak'].valid[:, 28:].any()
    assert not views['weak'].valid[:, :, 26:].any()
    assert views['weak'].valid.any()


# Geometry


def geometric(path, views, shared=(), seed=0):
    transform = MultiView(views, shared)
    transform.shared.transforms[0] = RecordValidity(record_geometry=True)
    with sample_rng(seed):
        results = LoadImageFromFile().transform(dict(img_path=path))
        image = torch.from_numpy(results['img'].copy()).permute(2, 0, 1)
        return image, transform(results)


def coords_of(view):
    return view['data_samples'].coords.data


def test_no_geometry_by_default(path):
    assert 'coords' not in apply(path, dict(weak=[]))['weak']['data_samples']


@pytest.mark.parametrize('seed', range(4))
def test_coords_tell_the_pixel_of_the_image(path, seed):
    exact = [
        dict(type='RandomCrop', crop_size=(24, 20)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='Pad', size=(30, 28)),
    ]
    image, out = geometric(path, dict(weak=exact, strong=exact), seed=seed)
    for view in out.values():
        coords, valid = coords_of(view), valid_of(view)
        assert coords.dtype == torch.int32 and coords.shape == (2, 28, 30)
        assert torch.equal(coords[0] >= 0, valid)
        assert torch.equal(valid, view['inputs'].amax(0) > 0)
        rows, cols = coords[:, valid].long()
        assert torch.equal(view['inputs'][:, valid], image[:, rows, cols])


@pytest.mark.parametrize('seed', range(4))
def test_validity_is_the_same_with_and_without_geometry(path, seed):
    rotate = [GEOMETRY[0], *GEOMETRY[2:3], dict(type='RandomRotate', prob=1, degree=30)]
    plain = apply(path, dict(weak=rotate), seed=seed)['weak']
    _, out = geometric(path, dict(weak=rotate), seed=seed)
    assert torch.equal(plain['inputs'], out['weak']['inputs'])
    assert torch.equal(valid_of(plain), valid_of(out['weak']))


def test_coords_are_padded_with_the_batch(path):
    _, out = geometric(path, dict(weak=[]))
    views = {k: pseudo_collate([v]) for k, v in out.items()}
    batch = SemiDataPreProcessor(size_divisor=32)(dict(u=views), True)['inputs']['u']
    coords = batch['weak'].data_samples[0].coords.data
    assert coords.shape == (2, 32, 64)
    assert (coords[:, 30:] == -1).all() and (coords[:, :, 40:] == -1).all()
    assert coords[:, 29, 39].tolist() == [29, 39]
