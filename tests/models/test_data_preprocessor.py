"""Nested batches: padded, normalised, and equal to mmseg's where it has a say."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmsemiseg.models import Batch, SemiDataPreProcessor

MEAN, STD = [10.0, 20.0, 30.0], [2.0, 4.0, 8.0]


def image(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, height, width)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def data(*sizes, labels=True, valid_map=False):
    samples = []
    for size in sizes:
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
        if labels:
            sample.gt_sem_seg = PixelData(data=torch.ones(1, *size, dtype=torch.long))
        if valid_map:
            valid = torch.ones(1, *size, dtype=torch.bool)
            valid[:, 0] = False
            sample.valid_map = PixelData(data=valid)
        samples.append(sample)
    images = [image(*size, seed) for seed, size in enumerate(sizes)]
    return dict(inputs=images, data_samples=samples)


def run(batch, **settings):
    """One stream, through the nesting."""
    return SemiDataPreProcessor(**settings)({'labeled': batch}, True)['inputs'][
        'labeled'
    ]


def test_the_nesting_is_kept_and_every_leaf_has_a_size_of_its_own():
    nested = dict(
        labeled=data((8, 10), (12, 6)),
        unlabeled=dict(
            weak=data((20, 16), labels=False), strong=data((5, 5), labels=False)
        ),
    )
    out = SemiDataPreProcessor()(nested, training=True)
    assert set(out) == {'inputs'}
    out = out['inputs']
    assert {k: set(v) for k, v in out.items() if isinstance(v, dict)} == {
        'unlabeled': {'weak', 'strong'}
    }
    shapes = [
        out['labeled'],
        out['unlabeled']['weak'],
        out['unlabeled']['strong'],
    ]
    assert all(isinstance(leaf, Batch) for leaf in shapes)
    assert [tuple(leaf.inputs.shape) for leaf in shapes] == [
        (2, 3, 12, 10),
        (1, 3, 20, 16),
        (1, 3, 5, 5),
    ]


@pytest.mark.parametrize(
    ('settings', 'size'),
    [
        (dict(), (12, 10)),
        (dict(size=(16, 16)), (16, 16)),
        (dict(size=(4, 40)), (12, 40)),  # an image is never cut
        (dict(size_divisor=8), (16, 16)),
        (dict(size_divisor=5), (15, 10)),
        (dict(size=(17, 16), size_divisor=8), (24, 16)),
    ],
    ids=str,
)
def test_padded_sizes(settings, size):
    batch = run(data((8, 10), (12, 6)), **settings)
    assert tuple(batch.inputs.shape[2:]) == size
    for sample, (height, width) in zip(
        batch.data_samples, [(8, 10), (12, 6)], strict=True
    ):
        assert sample.gt_sem_seg.data.shape == (1, *size)
        assert sample.pad_shape == size
        assert sample.img_shape == (height, width)
        assert sample.padding_size == (0, size[1] - width, 0, size[0] - height)


def test_the_padding_in_all_maps():
    batch = run(data((8, 10), (12, 6)), pad_val=7, mean=MEAN, std=STD)
    for index, (height, width) in enumerate([(8, 10), (12, 6)]):
        inside = torch.zeros(12, 10, dtype=torch.bool)
        inside[:height, :width] = True
        sample = batch.data_samples[index]
        assert (batch.inputs[index][:, ~inside] == 7).all()
        assert torch.equal(sample.gt_sem_seg.data[0] == 255, ~inside)
        assert torch.equal(sample.gt_sem_seg.data[0] == 1, inside)
        assert torch.equal(batch.valid[index], inside)
    assert batch.valid.shape == (2, 12, 10)
    assert batch.valid.dtype == torch.bool


def test_a_valid_map_is_padded_not_replaced():
    batch = run(data((8, 10), (12, 6), labels=False, valid_map=True))
    expected = torch.zeros(2, 12, 10, dtype=torch.bool)
    expected[0, 1:8, :10] = True
    expected[1, 1:12, :6] = True
    assert torch.equal(batch.valid, expected)
    assert not any('gt_sem_seg' in sample for sample in batch.data_samples)


def test_edge_maps_are_padded_like_labels():
    batch = data((4, 4), (6, 6))
    for sample, size in zip(batch['data_samples'], (4, 6), strict=True):
        edges = torch.zeros(1, size, size, dtype=torch.long)
        sample.set_data(dict(gt_edge_map=PixelData(data=edges)))
    edges = run(batch).data_samples[0].gt_edge_map.data
    assert edges.shape == (1, 6, 6)
    assert (edges == 255).sum() == 36 - 16


@pytest.mark.parametrize(
    'colour', [dict(), dict(bgr_to_rgb=True), dict(rgb_to_bgr=True)], ids=str
)
@pytest.mark.parametrize('norm', [dict(), dict(mean=MEAN, std=STD)], ids=str)
def test_equal_to_mmseg(colour, norm):
    settings = dict(**colour, **norm, size_divisor=16, pad_val=3, seg_pad_val=255)
    ours = run(data((8, 10), (16, 6)), **settings)
    theirs = SegDataPreProcessor(**settings)(data((8, 10), (16, 6)), training=True)
    assert torch.equal(ours.inputs, theirs['inputs'])
    for a, b in zip(ours.data_samples, theirs['data_samples'], strict=True):
        assert torch.equal(a.gt_sem_seg.data, b.gt_sem_seg.data)
        assert tuple(a.pad_shape) == tuple(b.pad_shape)
        assert tuple(a.padding_size) == tuple(b.padding_size)


def test_normalisation_by_hand():
    batch = data((1, 1))
    batch['inputs'][0][:, 0, 0] = torch.tensor([14, 28, 46])  # blue, green, red
    out = run(batch, mean=MEAN, std=STD, bgr_to_rgb=True)
    assert_close(
        out.inputs[0, :, 0, 0],
        torch.tensor([36 / 2, 8 / 4, -16 / 8], dtype=torch.float),
    )


def test_a_plain_batch_trains():
    out = SemiDataPreProcessor(size=(16, 16))(data((8, 10)), training=True)
    assert set(out) == {'inputs', 'data_samples'}
    assert out['inputs'].shape == (1, 3, 16, 16)
    assert out['data_samples'][0].valid_map.data.sum() == 80


@pytest.mark.parametrize('test_cfg', [None, dict(size_divisor=16)])
def test_validation_is_mmsegs(test_cfg):
    settings = dict(mean=MEAN, std=STD, bgr_to_rgb=True, test_cfg=test_cfg)
    ours = SemiDataPreProcessor(**settings)(data((8, 10)), training=False)
    theirs = SegDataPreProcessor(size=(16, 16), **settings)(
        data((8, 10)), training=False
    )
    assert torch.equal(ours['inputs'], theirs['inputs'])
    sample = ours['data_samples'][0]
    assert 'valid_map' not in sample
    assert sample.gt_sem_seg.data.shape == (1, 8, 10)


def test_the_batch_of_the_loader_is_not_changed():
    nested = dict(labeled=data((8, 10), (12, 6), valid_map=True))
    preprocessor = SemiDataPreProcessor(size_divisor=16, mean=MEAN, std=STD)
    first = preprocessor(nested, training=True)['inputs']['labeled']
    samples = nested['labeled']['data_samples']
    assert samples[0].valid_map.data.shape == (1, 8, 10)
    assert samples[0].gt_sem_seg.data.shape == (1, 8, 10)
    assert nested['labeled']['inputs'][0].dtype == torch.uint8
    second = preprocessor(nested, training=True)['inputs']['labeled']
    assert torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.valid, second.valid)


def test_it_is_registered():
    cfg = dict(type='SemiDataPreProcessor', size=(4, 4))
    assert isinstance(MODELS.build(cfg), SemiDataPreProcessor)


def test_a_misspelt_setting_is_an_error():
    with pytest.raises(TypeError, match='size_divider'):
        SemiDataPreProcessor(size_divider=8)


@pytest.fixture
def told(monkeypatch):
    messages = []
    monkeypatch.setattr(
        'mmsemiseg.models.data_preprocessor.print_log',
        lambda message, *_: messages.append(message),
    )
    return messages


def test_a_stream_with_crops_below_size_is_warned_of_once(told):
    preprocessor = SemiDataPreProcessor(size=(16, 32))
    for _ in range(9):
        preprocessor(
            dict(
                labeled=data((16, 32)),
                unlabeled=dict(weak=data((16, 16)), strong=data((16, 16))),
            ),
            True,
        )
    (message,) = told
    assert message.startswith(
        "stream 'unlabeled': its images of 16 x 16 are padded to "
        'data_preprocessor.size, 16 x 32.'
    )


def test_small_images_of_many_sizes_are_padded_in_silence(told):
    preprocessor = SemiDataPreProcessor(size=(16, 32))
    for width in range(12, 30):
        batch = preprocessor(dict(labeled=data((16, width))), True)['inputs']
        assert batch['labeled'].inputs.shape[2:] == (16, 32)
    assert told == []


def test_validation_pads_by_test_cfg_and_not_by_size():
    settings = dict(size=(64, 64), test_cfg=dict(size_divisor=8))
    out = SemiDataPreProcessor(**settings)(data((12, 17)), training=False)
    plain = SegDataPreProcessor(**settings)(data((12, 17)), training=False)
    assert out['inputs'].shape[2:] == (16, 24)
    assert_close(out['inputs'], plain['inputs'])
    assert SemiDataPreProcessor(size=(64, 64))(data((12, 17)))['inputs'].shape[2:] == (
        12,
        17,
    )


def test_channels_last():
    nested = dict(labeled=data((8, 10), (12, 6)), unlabeled=dict(weak=data((5, 5))))
    plain, other = SemiDataPreProcessor(), SemiDataPreProcessor()
    other.channels_last = True
    for training, batch in ((True, nested), (False, data((8, 10), (8, 10)))):
        expected, found = (part(batch, training)['inputs'] for part in (plain, other))
        pairs = [(expected, found)]
        if training:
            weak = (part['unlabeled']['weak'].inputs for part in (expected, found))
            labeled = (part['labeled'].inputs for part in (expected, found))
            pairs = [tuple(weak), tuple(labeled)]
        for one, two in pairs:
            assert one.equal(two) and one.is_contiguous()
            assert two.is_contiguous(memory_format=torch.channels_last)
