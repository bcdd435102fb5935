import math

import pytest
import torch
from mmseg.registry import MODELS
from no_sync import NoHostSync
from torch.testing import assert_close

from mmsemiseg.functional import compact
from mmsemiseg.models.losses import DirectionalContrastLoss


def unit(rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float64))


# Worked by hand: three cells, five keys, tau = 0.5
FIRST = unit([[2, 0], [0.6, 0.8], [-1, 1]])
SECOND = unit([[1, 1], [0, 2], [-3, 0]])
CONFIDENCES = torch.tensor([0.9, 0.6, 0.7]), torch.tensor([0.8, 0.95, 0.74])
LABELS = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1])
KEYS = unit([[0, 1], [-1, 0], [1, 0], [0, -1], [0.6, -0.8]])
KEY_LABEL = torch.tensor([1, 2, 0, 2, 1])
OFF = dict(direction=False, threshold=None, negative_filter=False)


def both_ways(**settings):
    """(1 -> 2, 2 -> 1)"""
    loss = DirectionalContrastLoss(3, temperature=0.5, **settings)
    overlap = torch.ones(1, 3, dtype=torch.bool)
    args = (LABELS[0], overlap, KEYS, KEY_LABEL)
    there, share_there = loss(FIRST, SECOND, CONFIDENCES, *args)
    back, share_back = loss(SECOND, FIRST, CONFIDENCES[::-1], LABELS[1], *args[1:])
    return (there.item(), back.item()), (share_there.item(), share_back.item())


def test_each_direction():
    losses, shares = both_ways()
    assert losses == pytest.approx((0.572048, 0.833532), abs=1e-6)
    assert shares == pytest.approx((1 / 3, 1 / 3))


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(norm='selected'), 1.405580),
        (dict(norm='overlap'), 0.468527),
        (dict(norm='overlap', **OFF), 2.375345),  # II
        (dict(norm='overlap', **dict(OFF, direction=True)), 1.134206),  # III
        (dict(norm='overlap', threshold=None), 0.714675),  # IV
        (dict(norm='overlap', direction=False), 0.749955),  # V
    ],
)
def test_both_directions(settings, expected):
    assert sum(both_ways(**settings)[0]) == pytest.approx(expected, abs=1e-6)


def test_a_near_key_of_the_own_class_costs_no_precision():
    """Positive and negative at -9, a key of the own class at +10: log 2."""
    far = [-0.9, math.sqrt(0.19)]
    value, _ = DirectionalContrastLoss(2, temperature=0.1)(
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([far]),
        (torch.tensor([0.5]), torch.tensor([0.9])),
        torch.tensor([0]),
        torch.ones(1, 1, dtype=torch.bool),
        torch.tensor([far, [1.0, 0.0]]),
        torch.tensor([1, 0]),
    )
    assert value.item() == pytest.approx(math.log(2), abs=1e-6)


# Against loops


def case(seed=0, images=3, cells=7, keys=20, classes=4, dim=5, dtype=torch.float64):
    """Random arguments, some keys of no class; (arguments, places)."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(shape, generator=generator, dtype=dtype)

    def labels(n, low=0):
        return torch.randint(low, classes, (n,), generator=generator)

    def rows(n):
        return torch.nn.functional.normalize(rand(n, dim) - 0.5)

    count = images * cells
    anchors, positives, label = rows(count), rows(count), labels(count)
    confidence = rand(count), rand(count)
    overlap = rand(images, cells) < torch.linspace(0.9, 0.3, images)[:, None]
    key_rows, key_label = rows(keys), labels(keys, low=-1)
    key_label[-1] = classes
    # Some anchors and positives are keys themselves
    places = torch.full((2, count), -1)
    own = torch.randperm(count, generator=generator)[: keys // 4]
    theirs = torch.randperm(count, generator=generator)[: keys // 2]
    places[0, own] = torch.arange(len(own))
    places[1, theirs] = torch.arange(len(theirs)) + len(own)
    key_rows[places[0, own]], key_label[places[0, own]] = anchors[own], label[own]
    key_rows[places[1, theirs]] = positives[theirs]
    args = [anchors, positives, confidence, label, overlap, key_rows, key_label]
    return args, tuple(places)


def reference(
    args, places, classes, temperature, threshold, direction, negative_filter, norm
):
    """Equation 6 of the paper, cell by cell and key by key."""
    anchors, positives, (mine, theirs), label, overlap, keys, key_label = args
    images, cells = overlap.shape
    total, selected, per_image = 0, 0, [[] for _ in range(images)]
    for i in range(len(anchors)):
        image, cell = divmod(i, cells)
        if not overlap[image, cell] or direction and not mine[i] < theirs[i]:
            continue
        if threshold is not None and not theirs[i] > threshold:
            continue
        positive = (anchors[i] @ positives[i].detach() / temperature).exp()
        denominator = positive
        for j in range(len(keys)):
            if not 0 <= key_label[j] < classes:
                continue
            if negative_filter and key_label[j] == label[i]:
                continue
            if places is not None and j in (places[0][i], places[1][i]):
                continue
            logit = anchors[i] @ keys[j].detach() / temperature
            denominator = denominator + logit.exp()
        per_image[image].append(-(positive / denominator).log())
    selected = sum(map(len, per_image))
    if norm == 'selected':
        total = sum(map(sum, per_image)) / max(selected, 1)
    else:
        found = [max(row.sum().item(), 1) for row in overlap]
        means = [sum(t) / n for t, n in zip(per_image, found, strict=True)]
        total = sum(means) / images
    return total, selected / overlap.sum().item()


@pytest.fixture(params=[True, False], ids=['compact', 'dense'])
def form(request, monkeypatch):
    """Rows that are not selected are left out on a CPU, kept elsewhere."""
    if not request.param:
        monkeypatch.setattr(compact, 'DEVICES', ())
    return request.param


@pytest.mark.parametrize('norm', ['selected', 'overlap'])
@pytest.mark.parametrize('excluding', [False, True])
@pytest.mark.parametrize('negative_filter', [True, False])
@pytest.mark.parametrize('threshold', [0.4, None])
@pytest.mark.parametrize('direction', [True, False])
def test_against_loops(
    form, direction, threshold, negative_filter, excluding, norm, seed=1
):
    settings = dict(
        temperature=0.2,
        threshold=threshold,
        direction=direction,
        negative_filter=negative_filter,
        norm=norm,
    )
    args, places = case(seed)
    places = places if excluding else None
    anchors = args[0].requires_grad_()
    value, share = DirectionalContrastLoss(4, **settings)(*args, places)
    expected, expected_share = reference(args, places, 4, **settings)
    assert share.item() == pytest.approx(expected_share)
    assert 0 < share <= 1
    assert_close(value, expected)
    got, wanted = (
        torch.autograd.grad(loss, anchors, retain_graph=True)[0]
        for loss in (value, expected)
    )
    assert_close(got, wanted)
    assert got.abs().sum() > 0


def test_places_change_the_loss():
    """Or the comparison above would show nothing."""
    values = []
    for negative_filter in (True, False):
        loss = DirectionalContrastLoss(4, 0.2, None, False, negative_filter)
        args, places = case()
        values += [loss(*args)[0].item(), loss(*args, places)[0].item()]
    assert len(set(values)) == 4


def test_the_mean_over_images_weighs_them_alike(form):
    """One image with one cell of overlap, one with three, one with none."""
    args, _ = case(images=3, cells=3)
    args[4] = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 0, 0]]).bool()
    loss = DirectionalContrastLoss(4, 0.2, None, False, norm='overlap')
    values = []
    for image in range(3):
        one = args.copy()
        one[4] = args[4] & (torch.arange(3) == image)[:, None]
        values.append(loss(*one)[0].item())
    assert values[2] == 0
    assert loss(*args)[0].item() == pytest.approx(sum(values))
    cells = DirectionalContrastLoss(4, 0.2, None, False)
    one = args.copy()
    one[4] = args[4] & (torch.arange(3) == 1)[:, None]
    assert values[1] == pytest.approx(cells(*one)[0].item() / 3)


# Gradients


def test_only_selected_anchors_learn(form):
    args, places = case()
    for index in (0, 1, 5):
        args[index].requires_grad_()
    value, _ = DirectionalContrastLoss(4, 0.2, 0.4)(*args, places)
    value.backward()
    mine, theirs = args[2]
    selected = args[4].flatten() & (mine < theirs) & (theirs > 0.4)
    assert 0 < selected.sum() < len(selected)
    assert args[0].grad[~selected].eq(0).all()
    assert args[0].grad[selected].ne(0).any(1).all()
    assert args[1].grad is None
    assert args[5].grad is None


def test_equal_confidences_teach_nobody():
    args, _ = case()
    args[2] = args[2][0], args[2][0].clone()
    value, share = DirectionalContrastLoss(4, threshold=None)(*args)
    assert value == share == 0


def test_the_threshold_itself_does_not_teach():
    args, _ = case(dtype=torch.float32)
    zeros = torch.zeros_like(args[2][0])
    for confidence, expected in ((0.5, 0), (0.50001, 1)):
        args[2] = zeros, zeros + confidence
        assert DirectionalContrastLoss(4, threshold=0.5)(*args)[1] == expected


# Nothing there


def no_overlap(args):
    args[4] = torch.zeros_like(args[4])


def nobody_confident(args):
    args[2] = args[2][0] * 0, args[2][1] * 0 + 0.3


def one_class(args):
    args[3], args[6] = torch.zeros_like(args[3]), torch.zeros_like(args[6])


def unknown_keys(args):
    args[6] = torch.full_like(args[6], -1)


def no_keys(args):
    args[5], args[6] = args[5][:0], args[6][:0]


@pytest.mark.parametrize('norm', ['selected', 'overlap'])
@pytest.mark.parametrize('excluding', [False, True])
@pytest.mark.parametrize(
    'empty', [no_overlap, nobody_confident, one_class, unknown_keys, no_keys]
)
def test_zero_without_gradient(form, empty, excluding, norm):
    args, places = case(dtype=torch.float32)
    empty(args)
    if empty is no_keys:
        places = torch.full((2, len(args[0])), -1).unbind()
    if empty is unknown_keys:
        places = tuple(place.clamp(max=-1) for place in places)
    anchors = args[0].requires_grad_()
    loss = DirectionalContrastLoss(4, 0.1, 0.5, direction=False, norm=norm)
    value, share = loss(*args, places if excluding else None)
    assert value == 0
    assert share.isfinite()
    assert (share == 0) == (empty in (no_overlap, nobody_confident))
    value.backward()
    assert anchors.grad.eq(0).all()


# Precision, device


@pytest.mark.parametrize('excluding', [False, True])
def test_fp32_under_autocast(form, excluding):
    args, places = case(dtype=torch.float32)
    places = places if excluding else None
    loss = DirectionalContrastLoss(4, 0.05, 0.4)
    expected, _ = loss(*args, places)
    with torch.autocast('cpu', torch.bfloat16):
        value, _ = loss(*args, places)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


@pytest.mark.parametrize('negative_filter', [True, False])
@pytest.mark.parametrize('excluding', [False, True])
def test_the_dense_form_waits_for_no_device(monkeypatch, excluding, negative_filter):
    monkeypatch.setattr(compact, 'DEVICES', ())
    args, places = case(dtype=torch.float32)
    args[0].requires_grad_()
    loss = DirectionalContrastLoss(4, negative_filter=negative_filter)
    loss(*args)  # the attention kernel is tried out once
    with NoHostSync() as seen:
        value, _ = loss(*args, places if excluding else None)
        value.backward()
    assert 'where' in seen.ops


# Settings


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('temperature', (0, -1.0, math.nan)),
        ('threshold', (-0.1, 1.1, math.nan)),
        ('norm', ('places', None)),
    ],
)
def test_wrong_settings(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f'{name} must be .*{value}'):
            DirectionalContrastLoss(3, **{name: value})


def test_is_registered():
    built = MODELS.build(dict(type='DirectionalContrastLoss', num_classes=7))
    assert built.num_classes == 7
    assert (built.temperature, built.threshold, built.norm) == (0.1, 0.75, 'selected')
    assert built.direction and built.negative_filter
