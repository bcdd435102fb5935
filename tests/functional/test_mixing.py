import pytest
import torch

from mmsemiseg.functional import (
    PseudoLabel,
    classmix_masks,
    cutmix_masks,
    mix,
    partners,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_no_image_is_its_own_partner():
    shifts = set()
    for seed in range(30):
        partner = partners(5, generator=seeded(seed))
        assert sorted(partner.tolist()) == list(range(5))
        assert partner.ne(torch.arange(5)).all()
        shifts.add(partner[0].item())
    assert shifts == {1, 2, 3, 4}


@pytest.mark.parametrize('n', [0, 1])
def test_one_image_has_no_partner(n):
    with pytest.raises(ValueError, match=rf'at least 2 images .* {n}: .* batch_size'):
        partners(n)


@pytest.mark.parametrize('size', [(40, 60), (33, 20), (64, 64)])
@pytest.mark.parametrize('area', [(0.5, 0.5), (0.02, 0.4), (0.9, 1.0)])
def test_boxes_have_the_area_and_lie_inside(size, area):
    height, width = size
    masks = cutmix_masks(200, height, width, area, (0.3, 3.0), generator=seeded())
    assert masks.shape == (200, 1, height, width)
    assert masks.dtype == torch.bool
    for mask in masks[:, 0]:
        rows, cols = mask.any(1).sum().item(), mask.any(0).sum().item()
        # one full box: True on rows x cols, which are each in one piece
        assert mask.sum() == rows * cols
        assert mask.any(1).byte().diff().ne(0).sum() <= 2
        assert mask.any(0).byte().diff().ne(0).sum() <= 2
        slack = max(rows, cols) / (height * width)
        share = mask.float().mean().item()
        assert area[0] - slack <= share <= area[1] + slack


def test_boxes_have_the_aspect_where_it_fits():
    masks = cutmix_masks(300, 100, 100, (0.1, 0.2), (0.5, 2.0), generator=seeded())
    rows, cols = masks[:, 0].any(2).sum(1), masks[:, 0].any(1).sum(1)
    ratio = rows / cols
    assert 0.45 < ratio.min() < 0.6
    assert 1.7 < ratio.max() < 2.2
    # log-uniform: as many lying as standing boxes
    assert 0.4 < (ratio > 1).float().mean() < 0.6


def test_a_box_that_does_not_fit_keeps_its_area():
    masks = cutmix_masks(20, 10, 100, (0.5, 0.5), (1.0, 1.0), generator=seeded())
    assert masks.any(3).all()  # all rows are needed
    assert masks.float().mean((1, 2, 3)).eq(0.5).all()


def test_boxes_reach_every_border():
    masks = cutmix_masks(400, 8, 8, (0.25, 0.25), (1.0, 1.0), generator=seeded())
    tops = masks[:, 0].any(2).byte().argmax(1)
    lefts = masks[:, 0].any(1).byte().argmax(1)
    assert set(tops.tolist()) == set(lefts.tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ('setting', 'rule'),
    [
        ({'area': (0.0, 0.5)}, r'area must .* \(0.0, 0.5\)'),
        ({'area': (0.5, 0.4)}, r'area must .* \(0.5, 0.4\)'),
        ({'area': (0.5, 1.1)}, r'area must .* <= 1, but got \(0.5, 1.1\)'),
        ({'aspect': (-1.0, 2.0)}, r'aspect must .* \(-1.0, 2.0\)'),
    ],
)
def test_bad_ranges_are_named(setting, rule):
    with pytest.raises(ValueError, match=rule):
        cutmix_masks(2, 8, 8, **setting)


def random_labels(seed, n=4, classes=5, size=6):
    g = seeded(seed)
    label = torch.randint(0, classes, (n, size, size), generator=g)
    # leave some classes out, so that k differs between images
    kept = torch.rand(n, classes, generator=g) < 0.6
    label[~kept.gather(1, label.flatten(1)).view_as(label)] = 255
    return label


@pytest.mark.parametrize('extra', [0, 1])
@pytest.mark.parametrize('seed', range(20))
def test_classmix_takes_whole_classes_and_half_of_them(seed, extra):
    label = random_labels(seed)
    masks = classmix_masks(label, 5, extra=extra, generator=seeded(seed))
    assert masks.shape == (4, 1, 6, 6)
    for one, mask in zip(label, masks[:, 0], strict=True):
        present = set(one.unique().tolist()) - {255}
        chosen = set(one[mask].unique().tolist())
        assert 255 not in chosen
        assert len(chosen) == min(len(present) // 2 + extra, len(present))
        for k in present:
            assert mask[one == k].all() == (k in chosen)
            assert mask[one == k].any() == (k in chosen)


def test_every_class_is_chosen_about_as_often():
    label = torch.arange(4).view(1, 2, 2).expand(2000, 2, 2)
    masks = classmix_masks(label, 4, generator=seeded())
    share = masks.float().mean(0).flatten()
    assert (share - 0.5).abs().max() < 0.05


def test_classmix_of_one_class_and_of_none():
    one = torch.zeros(2, 3, 3, dtype=torch.long)
    none = torch.full((2, 3, 3), 255)
    assert not classmix_masks(one, 3).any()
    assert classmix_masks(one, 3, extra=1).all()
    assert not classmix_masks(none, 3, extra=1).any()


def test_ignored_labels_may_be_any_value():
    label = torch.tensor([[[0, 7, -1, 2]]])
    mask = classmix_masks(label, 3, ignore_index=2, extra=1)
    assert mask.flatten().tolist() == [True, False, False, False]


def test_extra_is_checked():
    with pytest.raises(ValueError, match='extra must be 0 or 1, but got 2'):
        classmix_masks(torch.zeros(1, 2, 2, dtype=torch.long), 3, extra=2)


def test_one_seed_gives_one_draw_and_the_default_generator_serves():
    label = random_labels(0)

    def draw(generator):
        return (
            partners(5, generator=generator),
            cutmix_masks(3, 9, 9, (0.1, 0.9), generator=generator),
            classmix_masks(label, 5, generator=generator),
        )

    first, again, other = draw(seeded(1)), draw(seeded(1)), draw(seeded(2))
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not all(a.equal(b) for a, b in zip(first, other, strict=True))
    torch.manual_seed(1)
    assert all(a.equal(b) for a, b in zip(first, draw(None), strict=True))


@pytest.mark.parametrize('dtype', [torch.float32, torch.int64, torch.bool])
@pytest.mark.parametrize('channels', [None, 3])
def test_mix_equals_the_loop(dtype, channels):
    shape = (3, 4, 5) if channels is None else (3, channels, 4, 5)
    value = torch.randint(0, 9, shape, generator=seeded()).to(dtype)
    mask = torch.rand(3, 1, 4, 5, generator=seeded(1)) < 0.5
    partner = torch.tensor([2, 0, 1])
    out = mix(mask, partner, value)
    assert out.dtype == dtype
    for i in range(3):
        for y in range(4):
            for x in range(5):
                donor = partner[i] if mask[i, 0, y, x] else i
                assert out[i, ..., y, x].equal(value[donor, ..., y, x])


def test_one_mask_serves_all_and_validity_comes_with_the_pixel():
    g = seeded()
    label = torch.randint(0, 4, (2, 3, 3), generator=g)
    valid = torch.rand(2, 3, 3, generator=g) < 0.5
    label[~valid] = 255
    # images and soft labels that tell the label of their pixel
    images = label.unsqueeze(1).float().expand(2, 3, 3, 3)
    pseudo = PseudoLabel(label, label / 255, valid, None)
    mask = torch.rand(2, 1, 3, 3, generator=g) < 0.5
    mixed_images, mixed = mix(mask, partners(2), images, pseudo)
    assert isinstance(mixed, PseudoLabel)
    assert mixed_images[:, 0].equal(mixed.label.float())
    assert mixed.confidence.equal(mixed.label / 255)
    assert mixed.valid.equal(mixed.label != 255)
    assert mixed.probs is None
    assert not mixed.label.equal(label)


def test_containers_keep_their_type():
    mask = torch.ones(2, 1, 1, 1, dtype=torch.bool)
    value = torch.tensor([1, 2]).view(2, 1, 1)
    out = mix(mask, partners(2), {'a': value, 'b': [value, None]})
    assert out['a'].flatten().tolist() == [2, 1]
    assert out['b'][0].flatten().tolist() == [2, 1]
    assert out['b'][1] is None


def test_mix_moves_gradients_with_the_pixels():
    value = torch.zeros(2, 1, 1, 2, requires_grad=True)
    mask = torch.tensor([[True, False], [False, False]]).view(2, 1, 1, 2)
    mix(mask, partners(2), value)[0].sum().backward()
    assert value.grad.flatten().tolist() == [0, 1, 1, 0]


def test_shapes_and_types_are_checked():
    mask = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    for shape in ((2, 3, 8, 8), (3, 4, 4), (1, 4, 4)):
        with pytest.raises(ValueError, match=r'\(2, 4, 4\) cannot mix'):
            mix(mask, partners(2), torch.zeros(shape))
    with pytest.raises(ValueError, match='but got str'):
        mix(mask, partners(2), 'label')


def test_images_keep_their_layout():
    images = torch.rand(3, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    mixed = mix(cutmix_masks(3, 4, 5), partners(3), images)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
