"""Two crops of one image: where they lie, what they show, and what is padding."""

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import Compose, pseudo_collate
from mmengine.structures import PixelData
from mmseg.registry import TRANSFORMS
from mmseg.utils import register_all_modules
from PIL import Image
from tiny_run import config, differing, labeled_set, train, weights, write_data

from mmsemiseg.datasets import SampleIndex, StreamDataset, UnlabeledDataset
from mmsemiseg.datasets.stream_dataset import sample_rng
from mmsemiseg.datasets.transforms import OverlapCrops, PackUnlabeledInputs
from mmsemiseg.models import SemiDataPreProcessor

register_all_modules()
LOAD = dict(type='LoadImageFromFile')
FLIP = dict(type='RandomFlip', prob=0.5)
COLOUR = [
    dict(type='GaussianBlur'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    dict(
        type='RandomGrayscale',
        prob=0.2,
        keep_channels=True,
        channel_weights=(0.114, 0.587, 0.299),
    ),
]
NAMES = ('view1', 'view2')


def image_of(height, width):
    """Every pixel has a colour of its own, and none is 0 or 255."""
    rows, cols = np.mgrid[:height, :width]
    return np.stack([rows + 1, cols + 1, (rows + 2 * cols) % 200 + 1], -1).astype('u1')


def crops(image, crop_size, seed=0, **settings):
    transform = OverlapCrops(crop_size, **settings)
    with sample_rng(seed):
        return transform(dict(img=image.copy(), img_path='a.png'))


def box_of(view):
    top, left = view['data_samples'].crop_offset
    height, width = view['inputs'].shape[1:]
    return top, left, top + height, left + width


def iou(out):
    one, other = (box_of(out[name]) for name in out)
    sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    common = max(0, sides[0]) * max(0, sides[1])
    area = (one[2] - one[0]) * (one[3] - one[1])
    return common / (2 * area - common)


def valid_of(view):
    return view['data_samples'].valid_map.data[0]


def unflipped(view):
    """Image (3, h, w) and validity, as they were cropped."""
    flip = [2] if view['data_samples'].flip else []
    return view['inputs'].flip(flip), valid_of(view)[None].flip(flip)[0]


def overlap(out):
    """The overlap of both crops, cut out of each: two of (image, validity)."""
    boxes = [box_of(out[name]) for name in out]
    top, left = (max(box[i] for box in boxes) for i in (0, 1))
    bottom, right = (min(box[i] for box in boxes) for i in (2, 3))
    parts = []
    for box, name in zip(boxes, out, strict=True):
        image, valid = unflipped(out[name])
        window = np.s_[top - box[0] : bottom - box[0], left - box[1] : right - box[1]]
        parts.append((image[(slice(None), *window)], valid[window]))
    return parts


# Where the crops lie


@pytest.mark.parametrize('iou_range', [(0.1, 1.0), (0.3, 0.7), (0.05, 0.2), (0.9, 1.0)])
def test_iou_is_in_the_range(iou_range):
    found = []
    for seed in range(150):
        out = crops(
            image_of(90, 120), (48, 32), seed, iou_range=iou_range, tries=10_000
        )
        found.append(iou(out))
    assert iou_range[0] <= min(found) and max(found) <= iou_range[1]
    if iou_range[0] < 0.9:
        middle = np.mean(iou_range)
        assert min(found) < middle < max(found)


@pytest.mark.parametrize('stride', [1, 4, 8, 16])
def test_offsets_differ_by_whole_strides(stride):
    firsts, shifts = set(), set()
    for seed in range(150):
        out = crops(image_of(91, 123), (48, 32), seed, stride=stride)
        boxes = [box_of(out[name]) for name in NAMES]
        for box in boxes:
            assert min(box[:2]) >= 0 and box[2] <= 91 and box[3] <= 123
        shift = (boxes[1][0] - boxes[0][0], boxes[1][1] - boxes[0][1])
        assert shift[0] % stride == 0 and shift[1] % stride == 0
        firsts.add(boxes[0][:2])
        shifts.add(shift)
    assert len(firsts) > 100  # the first crop lies anywhere
    assert {np.sign(s[i]) for s in shifts for i in (0, 1)} == {-1, 0, 1}
    assert len(shifts) > 8


def test_every_place_is_drawn():
    """24x16 in an image of 29x21, in steps of 1: rows 0..5 and columns 0..5."""
    places = {name: set() for name in NAMES}
    for seed in range(300):
        out = crops(image_of(29, 21), (24, 16), seed, stride=1)
        for name in NAMES:
            places[name].add(box_of(out[name])[:2])
    assert all(len(places[name]) == 36 for name in NAMES)


def test_crops_are_the_same_when_no_draw_fits(monkeypatch):
    # one step of 16 of 32 in each axis: IoUs of 1, 1/3 and 1/7, none in the range
    asked, iou_of = [], OverlapCrops._iou
    monkeypatch.setattr(
        OverlapCrops, '_iou', lambda self, s: asked.append(s) or iou_of(self, s)
    )
    for seed in range(20):
        asked.clear()
        out = crops(
            image_of(48, 48), (32, 32), seed, iou_range=(0.4, 0.9), stride=16, tries=7
        )
        assert box_of(out['view1']) == box_of(out['view2'])
        assert len(asked) == 7


@pytest.mark.parametrize('seed', range(10))
def test_range_of_one_gives_the_same_box(seed):
    out = crops(image_of(60, 70), (32, 32), seed, iou_range=(1, 1))
    assert iou(out) == 1
    assert torch.equal(out['view1']['inputs'], out['view2']['inputs'])


def test_an_image_of_the_size_of_the_crop_has_one_place():
    out = crops(image_of(32, 40), (32, 40))
    assert box_of(out['view1']) == box_of(out['view2']) == (0, 0, 32, 40)
    assert all(valid_of(out[name]).all() for name in NAMES)


# What they show


@pytest.mark.parametrize('seed', range(12))
def test_a_crop_is_a_part_of_the_image(seed):
    image = image_of(60, 70)
    out = crops(image, (32, 24), seed, pipeline=[FLIP])
    for view in out.values():
        top, left, bottom, right = box_of(view)
        shown, valid = unflipped(view)
        expected = torch.from_numpy(image[top:bottom, left:right]).permute(2, 0, 1)
        assert torch.equal(shown, expected) and valid.all()
        assert view['inputs'].shape == (3, 32, 24)


def test_the_overlap_shows_the_same_pixels_for_all_flips():
    seen = set()
    for seed in range(60):
        out = crops(image_of(50, 40), (32, 24), seed, pipeline=[FLIP])
        (one, _), (other, _) = overlap(out)
        assert one.numel() > 0 and torch.equal(one, other)
        flips = tuple(out[name]['data_samples'].flip for name in NAMES)
        for name, flip in zip(NAMES, flips, strict=True):
            direction = out[name]['data_samples'].flip_direction
            assert direction == ('horizontal' if flip else None)
        seen.add(flips)
    assert seen == {(False, False), (False, True), (True, False), (True, True)}


@pytest.mark.parametrize(
    'flip',
    [
        dict(type='RandomApply', transforms=[dict(FLIP, prob=1.0)], prob=0.5),
        dict(type='RandomFlip', prob=[0.5], direction=['horizontal']),
        dict(type='mmcv.RandomFlip', prob=0.5),
    ],
    ids=['within another', 'list', 'of mmcv'],
)
def test_flips_are_recorded_wherever_they_come_from(flip):
    seen = set()
    for seed in range(30):
        out = crops(image_of(50, 40), (32, 24), seed, pipeline=[flip])
        (one, _), (other, _) = overlap(out)
        assert torch.equal(one, other)
        seen.update(out[name]['data_samples'].flip for name in NAMES)
    assert seen == {False, True}


def test_a_shared_flip_is_not_a_flip_of_the_crops():
    image = image_of(50, 40)
    out = crops(image, (32, 24), shared=[dict(FLIP, prob=1.0)])
    for view in out.values():
        assert view['data_samples'].flip is False
        assert view['data_samples'].flip_direction is None
        top, left, bottom, right = box_of(view)
        expected = image[:, ::-1][top:bottom, left:right].transpose(2, 0, 1)
        assert np.array_equal(view['inputs'], expected)


def test_colours_are_drawn_anew_for_each_crop():
    plain = crops(image_of(50, 40), (32, 24), iou_range=(1, 1))
    changed = 0
    for seed in range(10):
        out = crops(image_of(50, 40), (32, 24), seed, iou_range=(1, 1), pipeline=COLOUR)
        images = [out[name]['inputs'] for name in NAMES]
        assert all(image.dtype == torch.uint8 for image in images)
        changed += not torch.equal(*images)
        assert all(valid_of(out[name]).all() for name in NAMES)
    assert changed == 10
    assert torch.equal(plain['view1']['inputs'], plain['view2']['inputs'])


class PaintInPlace(BaseTransform):
    """Changes what it is given: the image, its validity and a list."""

    def transform(self, results):
        results['img'][:] = 7
        results['gt_seg_map'][:] = 255
        results['scale_factor'].append(1)
        return results


def test_one_crop_does_not_change_the_other():
    seen = []

    class Look(BaseTransform):
        def transform(self, results):
            seen.append((results['img'].copy(), list(results['scale_factor'])))
            return results

    transform = OverlapCrops((32, 24), pipeline=[Look(), PaintInPlace()])
    image = image_of(33, 25)
    results = dict(img=image, img_path='a.png', scale_factor=[])
    with sample_rng(0):
        transform(results)
    assert [rest for _, rest in seen] == [[], []]
    assert all((shown != 7).any() for shown, _ in seen)
    assert np.array_equal(image, image_of(33, 25))


def test_offsets_are_in_the_resized_image(tmp_path):
    Image.fromarray(image_of(30, 40)[..., ::-1].copy()).save(tmp_path / 'a.png')
    resize = dict(type='Resize', scale=(80, 60), interpolation='nearest')
    pipeline = Compose(
        [TRANSFORMS.build(LOAD), OverlapCrops((32, 24), shared=[resize])]
    )
    beyond = 0
    for seed in range(10):
        with sample_rng(seed):
            out = pipeline(dict(img_path=str(tmp_path / 'a.png')))
        for view in out.values():
            sample = view['data_samples']
            top, left, bottom, right = box_of(view)
            beyond += bottom > 30 and right > 40
            large = image_of(30, 40).repeat(2, 0).repeat(2, 1)
            expected = large[top:bottom, left:right].transpose(2, 0, 1)
            assert np.array_equal(view['inputs'], expected)
            assert sample.ori_shape == (30, 40) and sample.img_shape == (32, 24)
            assert sample.pad_shape == (32, 24)
    assert beyond


# Padding


@pytest.mark.parametrize('size', [(20, 24), (50, 13), (20, 13)])
@pytest.mark.parametrize('seed', range(6))
def test_padding_is_recorded(size, seed):
    image = image_of(*size)
    out = crops(image, (32, 24), seed, pipeline=[FLIP])
    for view in out.values():
        assert view['inputs'].shape == (3, 32, 24)
        shown, valid = unflipped(view)
        assert torch.equal(valid, shown.amax(0) > 0)  # padded with 0
        height, width = min(size[0], 32), min(size[1], 24)
        assert valid[:height, :width].all() and valid.sum() == height * width
        top, left = view['data_samples'].crop_offset
        assert top == 0 or size[0] > 32
        assert left == 0 or size[1] > 24
    (one, valid), (other, other_valid) = overlap(out)
    assert torch.equal(one, other) and torch.equal(valid, other_valid)
    assert valid.any() and not valid.all()


def test_padding_is_never_counted():
    """The preprocessor gives the same validity, also next to a larger crop."""
    out = [crops(image_of(20, 13), (32, 24), seed, pipeline=[FLIP]) for seed in (1, 2)]
    batch = pseudo_collate(out)
    views = SemiDataPreProcessor(size=(32, 40))(dict(unlabeled=batch), True)['inputs']
    for name in NAMES:
        valid = views['unlabeled'][name].valid
        assert valid.shape == (2, 32, 40)
        assert valid.sum() == 2 * 20 * 13
        for mask, view in zip(valid, out, strict=True):
            assert torch.equal(mask[:, :24], valid_of(view[name]))


def test_padding_of_shared_transforms_is_recorded():
    pad = dict(type='Pad', size=(40, 60))
    out = crops(image_of(30, 35), (32, 24), 3, shared=[pad], stride=4)
    for view in out.values():
        top, left, bottom, right = box_of(view)
        assert torch.equal(valid_of(view), view['inputs'].amax(0) > 0)
        count = (min(bottom, 60) - top) if bottom <= 30 else 30 - top
        assert valid_of(view).sum() == count * max(0, min(right, 35) - left)


@pytest.mark.parametrize(
    ('pad_val', 'expected'), [(9, (9, 9, 9)), ((1.2, 200, 30.7), (1, 200, 31))]
)
def test_value_of_the_padding(pad_val, expected):
    view = crops(image_of(20, 24), (32, 24), pad_val=pad_val)['view2']
    padding = view['inputs'][:, ~valid_of(view)]
    assert padding.shape == (3, 12 * 24)
    assert [set(channel.tolist()) for channel in padding] == [{v} for v in expected]


def test_a_mask_is_refused():
    results = dict(img_path='a.png', seg_map_path='m.png', img=image_of(9, 9))
    with pytest.raises(ValueError, match=r'unlabeled images, .*a\.png.*m\.png'):
        OverlapCrops((8, 8))(results)


# In a stream


@pytest.fixture
def root(tmp_path):
    return write_data(tmp_path, size=(40, 48))


def unlabeled(root, **settings):
    resize = dict(type='RandomResize', scale=(48, 40), ratio_range=(0.5, 1.5))
    transform = dict(
        type='OverlapCrops',
        crop_size=(32, 24),
        shared=[dict(resize, keep_ratio=True)],
        pipeline=[FLIP, *COLOUR],
    )
    return dict(
        type='UnlabeledDataset',
        data_root=str(root),
        images='unlabeled/images',
        pipeline=[LOAD, dict(transform, **settings)],
    )


def test_the_seed_of_a_draw_decides(root):
    stream = StreamDataset(unlabeled(root))

    def draw(seed):
        views = stream[SampleIndex(1, seed)].values()
        return [
            (view['inputs'], valid_of(view), view['data_samples'].crop_offset)
            for view in views
        ]

    offsets = set()
    for seed in range(8):
        first = draw(seed)
        stream[SampleIndex(0, 99)]  # what was drawn before has no effect
        np.random.rand()
        for one, other in zip(first, draw(seed), strict=True):
            assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
            assert one[2] == other[2]
        offsets.add(first[0][2])
    assert len(offsets) > 2


def test_the_image_is_decoded_once(root, monkeypatch):
    calls, load = [], LoadImageFromFile.transform

    def count(self, results):
        calls.append(results['img_path'])
        return load(self, results)

    monkeypatch.setattr(LoadImageFromFile, 'transform', count)
    out = StreamDataset(unlabeled(root, views=['a', 'b']))[SampleIndex(0, 1)]
    assert len(calls) == 1 and list(out) == ['a', 'b']
    for view in out.values():
        assert set(view) == {'inputs', 'data_samples'}
        assert 'gt_sem_seg' not in view['data_samples']
        assert view['data_samples'].img_path == calls[0]


def test_a_failing_view_names_the_image(root):
    class Shrink(BaseTransform):
        def transform(self, results):
            results['img'] = results['img'][:-8]
            return results

    cfg = unlabeled(root, pipeline=[Shrink()])
    stream = StreamDataset(UnlabeledDataset(**{k: cfg[k] for k in cfg if k != 'type'}))
    with pytest.raises(ValueError, match=r'u1\.png.*keep the size.*\(24, 24\)'):
        stream[SampleIndex(1, 1)]


def test_a_run_trains_on_the_crops(root, tmp_path):
    """The crops as views of a mean teacher: losses ask for the same shapes."""

    def run(name):
        cfg = config(root, tmp_path / name)
        cfg.model.views = list(NAMES)
        cfg.train_dataloader.unlabeled.dataset = unlabeled(root, iou_range=(1, 1))
        crop = dict(type='RandomCrop', crop_size=(32, 24))
        labeled = labeled_set(root)
        labeled['pipeline'].insert(2, crop)
        cfg.train_dataloader.labeled.dataset = labeled
        return weights(train(cfg))

    once = run('once')
    assert all(value.isfinite().all() for value in once.values())
    assert differing(once, run('again')) == []


# Settings


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(crop_size=(32, 20)), r'multiples of stride=8, but got \(32, 20\)'),
        (dict(crop_size=(0, 8)), r'multiples of stride=8, but got \(0, 8\)'),
        (dict(crop_size=(8, 8, 8)), r'crop_size must be \(height, width\)'),
        (dict(stride=0), 'stride must be at least 1, but got 0'),
        (dict(iou_range=(0, 1)), r'0 < low <= high <= 1, but got \(0, 1\)'),
        (dict(iou_range=(0.5, 0.4)), r'0 < low <= high <= 1, but got \(0.5, 0.4\)'),
        (dict(iou_range=(0.5, 1.1)), r'0 < low <= high <= 1, but got \(0.5, 1.1\)'),
        (dict(iou_range=(0.5,)), r'0 < low <= high <= 1, but got \(0.5,\)'),
        (dict(tries=0), 'tries must be at least 1, but got 0'),
        (dict(views=('a', 'a')), r"two different names, but got \('a', 'a'\)"),
        (dict(views=('a',)), 'two different names'),
        (dict(views='ab'), "two different names, but got 'ab'"),
        (dict(pad_val=(1, 2)), r'pad_val must be one or three values, .*\(1, 2\)'),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        OverlapCrops(**{**dict(crop_size=(16, 16)), **settings})


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='Resize', scale=(8, 8)),
        dict(type='RandomResize', scale=(8, 8), ratio_range=(1, 2)),
        dict(type='RandomChoiceResize', scales=[(8, 8)]),
        dict(type='ResizeShortestEdge', scale=8, max_size=9),
        dict(type='ResizeToMultiple'),
        dict(type='SegRescale'),
        dict(type='RandomCrop', crop_size=(8, 8)),
        dict(type='CenterCrop', crop_size=(8, 8)),
        dict(type='CenterCropEval', crop_size=(8, 8)),
        dict(type='Pad', size=(20, 20)),
        dict(type='RandomRotate', prob=0.5, degree=9.0),
        dict(type='RandomRotFlip'),
        dict(type='RandomMosaic', prob=0.5),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_geometry_of_a_crop_is_refused(cfg):
    nested = dict(type='RandomChoice', transforms=[[FLIP], [cfg]])
    inner = dict(type='RandomApply', transforms=[nested])
    for pipeline in ([*COLOUR, cfg], [inner]):
        with pytest.raises(ValueError, match=f'has {cfg["type"]}: put it into shared'):
            OverlapCrops((16, 16), pipeline=pipeline)


def test_own_kinds_of_geometry_are_refused():
    class MyCrop(type(TRANSFORMS.build(dict(type='RandomCrop', crop_size=(8, 8))))):
        pass

    with pytest.raises(ValueError, match='has MyCrop: put it into shared'):
        OverlapCrops((16, 16), pipeline=[MyCrop((8, 8))])


@pytest.mark.parametrize('direction', ['vertical', 'diagonal', ['vertical']])
def test_other_flips_are_refused(direction):
    flip = dict(FLIP, direction=direction)
    with pytest.raises(ValueError, match='must be horizontal, .*(vertical|diagonal)'):
        OverlapCrops((16, 16), pipeline=[flip])
    both = dict(FLIP, direction=['horizontal', 'vertical'])
    with pytest.raises(ValueError, match='must be horizontal'):
        OverlapCrops((16, 16), pipeline=[both])


def test_two_flips_are_refused():
    pipeline = [FLIP, *COLOUR, dict(type='RandomApply', transforms=[FLIP])]
    with pytest.raises(ValueError, match='one RandomFlip, .* but has 2'):
        OverlapCrops((16, 16), pipeline=pipeline)


@pytest.mark.parametrize('kind', ['PackSegInputs', 'PackUnlabeledInputs'])
def test_packing_is_refused(kind):
    with pytest.raises(ValueError, match=f'has {kind}, but OverlapCrops packs itself'):
        OverlapCrops((16, 16), pipeline=[dict(type=kind)])


def test_it_tells_its_settings():
    assert repr(OverlapCrops([16, 8], views=['a', 'b'])) == (
        'OverlapCrops(crop_size=(16, 8), iou_range=(0.1, 1.0), stride=8, '
        "views=('a', 'b'))"
    )


def test_packing_takes_the_offset_where_there_is_one():
    results = dict(img=image_of(4, 4), img_path='a.png')
    plain = PackUnlabeledInputs()(dict(results))['data_samples']
    assert 'crop_offset' not in plain and plain.img_path == 'a.png'
    packed = PackUnlabeledInputs()(dict(results, crop_offset=(3, 4)))['data_samples']
    assert packed.crop_offset == (3, 4)
    chosen = PackUnlabeledInputs(('crop_offset',))(dict(results, crop_offset=(3, 4)))
    assert chosen['data_samples'].metainfo_keys() == ['crop_offset']
    assert isinstance(chosen['data_samples'].valid_map, PixelData)
