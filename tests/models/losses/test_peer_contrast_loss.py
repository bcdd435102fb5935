"""CTT's contrast against its equations, written with loops over cells and keys."""

import math

import pytest
import torch
from ctt_reference import high_loops, low_loops
from mmseg.registry import MODELS
from no_sync import NoHostSync
from torch.testing import assert_close

from mmsemiseg.functional import compact
from mmsemiseg.models import PeerContrastLoss
from mmsemiseg.models.losses import Anchors, Keys, ready_together

TAU = 0.5


# Worked by hand: two banks, four cells, of which nothing is of class 2
def keys(rows):
    return Keys(torch.tensor(rows), torch.ones(3, 2, dtype=torch.bool))


MINE = Anchors(
    torch.tensor([[0.6, 0.8], [1, 0], [0, 1], [-0.8, 0.6]]),
    torch.tensor([0, 0, 1, 1]),
    torch.tensor([0.9, 0.6, 0.8, 0.7]),
)
PEER = Anchors(
    torch.tensor([[0.8, 0.6], [0.6, 0.8], [0, 1], [-0.6, 0.8]]),
    torch.tensor([0, 0, 1, 1]),
    torch.tensor([0.95, 0.9, 0.5, 0.65]),
)
BANK = keys([[[1, 0], [0.8, 0.6]], [[0, 1], [-0.6, 0.8]], [[-1.0, 0], [0, -1]]])
PEER_BANK = keys([[[0.6, 0.8], [1, 0]], [[-0.8, 0.6], [0, 1]], [[0.6, -0.8], [-1, 0]]])


@pytest.fixture(params=[True, False], ids=['compact', 'dense'])
def form(request, monkeypatch):
    """Cells that are not active are left out on a CPU, kept elsewhere."""
    if not request.param:
        monkeypatch.setattr(compact, 'DEVICES', ())
    return request.param


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [({}, 0.264209), (dict(norm='masked'), 0.528418), (dict(threshold=0), 0.460324)],
)
def test_vectors_of_the_high_level(form, settings, expected):
    loss = PeerContrastLoss(3, TAU, **settings)
    got = loss.high_level(MINE, BANK)
    assert got.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ({}, 0.190525),
        (dict(norm='masked'), 0.381050),
        (dict(direction=False), 0.362574),
    ],
)
def test_vectors_of_the_low_level(form, settings, expected):
    loss = PeerContrastLoss(3, TAU, **settings)
    got = loss.low_level(MINE, PEER, [BANK, PEER_BANK])
    assert got.item() == pytest.approx(expected, abs=1e-6)


def test_banks_that_are_ready_together():
    """For a class where each of them is; their keys stay their own."""
    ready = [[True, True, False], [False, True, True]]
    banks = [
        bank._replace(ready=torch.tensor(x))
        for bank, x in zip((BANK, PEER_BANK), ready, strict=True)
    ]
    both = ready_together(banks)
    assert [bank.ready.tolist() for bank in both] == [[False, True, False]] * 2
    assert [
        bank.features is old.features for bank, old in zip(both, banks, strict=True)
    ] == [True] * 2
    loss = PeerContrastLoss(3, TAU)
    assert loss.high_level(MINE, banks[0]) > loss.high_level(MINE, both[0]) > 0


# Against loops


def random_anchors(generator, classes, dim, n, dtype):
    rows = torch.randn(n, dim, generator=generator, dtype=dtype)
    label = torch.randint(-1, classes, (n,), generator=generator)
    confidence = torch.rand(n, generator=generator, dtype=dtype)
    return Anchors(torch.nn.functional.normalize(rows), label, confidence)


def random_keys(generator, classes, dim, size, dtype):
    rows = torch.randn(classes, size, dim, generator=generator, dtype=dtype)
    count = torch.randint(0, size + 1, (classes, 1), generator=generator)
    filled = torch.arange(size) < count
    return Keys(torch.nn.functional.normalize(rows, dim=2), filled)


def random_case(seed, banks=2, n=None, dtype=torch.float64):
    """(cells, the peer's cells, banks); some cells of no class, some empty queues."""
    generator = torch.Generator().manual_seed(seed)
    classes, dim = 2 + seed % 4, 3 + seed % 3
    n = 5 + 6 * (seed % 5) if n is None else n
    mine, peer = (random_anchors(generator, classes, dim, n, dtype) for _ in range(2))
    stored = [
        random_keys(generator, classes, dim, 1 + (seed + i) % 4, dtype)
        for i in range(banks)
    ]
    return classes, mine, peer, stored


def cells(anchors):
    return list(zip(*(part.unbind() for part in anchors), strict=True))


def queues(bank):
    return [list(q[f]) for q, f in zip(bank.features, bank.filled, strict=True)]


def gradient(loss, anchors):
    features = anchors.features.detach().requires_grad_()
    value = loss(anchors._replace(features=features)) + features.sum() * 0
    (grad,) = torch.autograd.grad(value, features)
    return value.detach(), grad


@pytest.mark.parametrize('norm', ['all', 'masked'])
@pytest.mark.parametrize('threshold', [0, 0.5, 0.75, 1])
def test_high_level_against_loops(form, threshold, norm):
    settings = dict(temperature=0.3, threshold=threshold, norm=norm)
    values = []
    for seed in range(6):
        classes, mine, _, (bank, _) = random_case(seed)
        loss = PeerContrastLoss(classes, **settings)

        def fast(anchors, loss=loss, bank=bank):
            return loss.high_level(anchors, bank)

        def slow(anchors, bank=bank):
            return high_loops(cells(anchors), queues(bank), **settings)

        for got, expected in zip(
            gradient(fast, mine), gradient(slow, mine), strict=True
        ):
            assert_close(got, expected, atol=1e-10, rtol=1e-8)
        values.append(fast(mine))
    assert sum(value > 0 for value in values) > 3 or threshold == 1
    assert any(values) == (threshold < 1)


@pytest.mark.parametrize('norm', ['all', 'masked'])
@pytest.mark.parametrize('direction', [True, False])
@pytest.mark.parametrize('threshold', [0, 0.5, 0.75, 1])
def test_low_level_against_loops(form, threshold, direction, norm):
    settings = dict(
        temperature=0.3, threshold=threshold, direction=direction, norm=norm
    )
    values = []
    for seed in range(6):
        classes, mine, peer, banks = random_case(seed, banks=1 + seed % 3)
        loss = PeerContrastLoss(classes, **settings)

        def fast(anchors, loss=loss, peer=peer, banks=banks):
            return loss.low_level(anchors, peer, banks)

        def slow(anchors, peer=peer, banks=banks):
            stored = [queues(bank) for bank in banks]
            return low_loops(cells(anchors), cells(peer), stored, **settings)

        for got, expected in zip(
            gradient(fast, mine), gradient(slow, mine), strict=True
        ):
            assert_close(got, expected, atol=1e-10, rtol=1e-8)
        values.append(fast(mine))
    assert sum(value > 0 for value in values) > 3 or threshold == 0
    assert any(values) == (threshold > 0)


def test_both_levels_share_the_cells():
    """phi 0: all are confident; phi 1: none is; between them each is one or other."""
    classes, mine, peer, banks = random_case(4)
    known = mine.label >= 0
    for threshold in (0, 0.5, 1):
        loss = PeerContrastLoss(classes, threshold=threshold, direction=False)
        _, high = gradient(lambda x, loss=loss: loss.high_level(x, banks[0]), mine)
        _, low = gradient(lambda x, loss=loss: loss.low_level(x, peer, banks), mine)
        high, low = high.ne(0).any(1), low.ne(0).any(1)
        assert not (high & low).any()
        assert not ((high | low) & ~known).any()
        assert torch.equal(low, known & (mine.confidence <= threshold))
        full = banks[0].filled.any(1)[mine.label.clamp(min=0)]
        assert torch.equal(high, known & full & (mine.confidence > threshold))


def test_the_threshold_itself_is_low():
    for level, expected in (('high_level', False), ('low_level', True)):
        loss = PeerContrastLoss(3, threshold=0.5)
        mine = MINE._replace(confidence=torch.full((4,), 0.5))
        banks = (BANK,) if level == 'high_level' else (PEER, [BANK, PEER_BANK])
        assert (getattr(loss, level)(mine, *banks) > 0) == expected


def test_a_peer_as_confident_teaches_nothing():
    loss = PeerContrastLoss(3, threshold=1)
    same = PEER._replace(confidence=MINE.confidence)
    assert loss.low_level(MINE, same, [BANK]) == 0
    assert PeerContrastLoss(3, threshold=1, direction=False).low_level(
        MINE, same, [BANK]
    )


# Gradients


def learning(anchors):
    return anchors._replace(
        features=anchors.features.clone().requires_grad_(),
        confidence=anchors.confidence.clone().requires_grad_(),
    )


def test_only_active_cells_learn(form):
    mine, peer = learning(MINE), learning(PEER)
    banks = [
        bank._replace(features=bank.features.clone().requires_grad_())
        for bank in (BANK, PEER_BANK)
    ]
    loss = PeerContrastLoss(3, TAU)
    loss.high_level(mine, banks[0]).backward()
    assert mine.features.grad.ne(0).any(1).tolist() == [True, False, True, False]
    mine.features.grad = None
    loss.low_level(mine, peer, banks).backward()
    assert mine.features.grad.ne(0).any(1).tolist() == [False, True, False, False]
    for other in (mine.confidence, *peer, *(bank.features for bank in banks)):
        assert other.grad is None


def test_gradcheck(form):
    classes, mine, peer, banks = random_case(3, n=9)
    loss = PeerContrastLoss(classes, temperature=0.3, threshold=0.5)

    def both(features):
        anchors = mine._replace(features=features)
        return loss.high_level(anchors, banks[0]), loss.low_level(anchors, peer, banks)

    features = mine.features.requires_grad_()
    assert all(value > 0 for value in both(features))
    assert torch.autograd.gradcheck(both, features)


# Nothing there


def no_cells(mine, peer, banks):
    cut = [Anchors(*(x[:0] for x in one)) for one in (mine, peer)]
    return *cut, banks


def no_classes(mine, peer, banks):
    return mine._replace(label=torch.full_like(mine.label, -1)), peer, banks


def no_keys(mine, peer, banks):
    empty = [bank._replace(filled=torch.zeros_like(bank.filled)) for bank in banks]
    return mine, peer, empty


def no_negatives(mine, peer, banks):
    """All cells and all keys are of class 1."""
    filled = torch.arange(len(banks[0].filled)) == 1
    one = [bank._replace(filled=bank.filled & filled[:, None]) for bank in banks]
    return mine._replace(label=torch.ones_like(mine.label)), peer, one


def none_of_either_level(mine, peer, banks):
    """Confident at no high level; at the low one the peer is never ahead."""
    confidence = torch.full_like(mine.confidence, 0.3)
    return (
        mine._replace(confidence=confidence),
        peer._replace(confidence=confidence),
        banks,
    )


@pytest.mark.parametrize('norm', ['all', 'masked'])
@pytest.mark.parametrize(
    'empty', [no_cells, no_classes, no_keys, no_negatives, none_of_either_level]
)
def test_zero_and_attached(form, empty, norm):
    classes, mine, peer, banks = random_case(3, dtype=torch.float32)
    mine, peer, banks = empty(mine, peer, banks)
    mine = learning(mine)
    loss = PeerContrastLoss(classes, threshold=0.5, norm=norm)
    for value in (loss.high_level(mine, banks[0]), loss.low_level(mine, peer, banks)):
        assert value.shape == ()
        assert value == 0
        (grad,) = torch.autograd.grad(value, mine.features)
        assert grad.eq(0).all()


def test_a_class_without_keys_has_no_high_level_but_a_low_one(form):
    """There the positive is the peer's feature."""
    hidden = torch.tensor([False, True, True])[:, None]
    bank, other = (b._replace(filled=b.filled & hidden) for b in (BANK, PEER_BANK))
    mine = learning(MINE._replace(confidence=torch.tensor([0.9, 0.6, 0.8, 0.9])))
    loss = PeerContrastLoss(3, TAU)
    loss.high_level(mine, bank).backward()
    assert mine.features.grad.ne(0).any(1).tolist() == [False, False, True, True]
    mine.features.grad = None
    loss.low_level(mine, PEER, [bank, other]).backward()
    assert mine.features.grad.ne(0).any(1).tolist() == [False, True, False, False]


def test_an_absent_class_counts_in_the_mean_over_classes(form):
    """Class 2 has no cells; with it the mean is over 3 classes."""
    loss = PeerContrastLoss(3, TAU)
    wide = torch.zeros(1, 2, 2), torch.zeros(1, 2, dtype=torch.bool)
    bank = Keys(*(torch.cat(pair) for pair in zip(BANK[:2], wide, strict=True)))
    four = PeerContrastLoss(4, TAU).high_level(MINE, bank)
    assert_close(4 * four, 3 * loss.high_level(MINE, BANK))


@pytest.mark.parametrize('norm', ['all', 'masked'])
def test_a_class_is_contrasted_when_all_of_the_banks_are_ready(form, norm):
    """Until then its cells do not count at all, as if they were of no class."""
    classes, mine, peer, (bank, other) = random_case(7)
    loss = PeerContrastLoss(classes, TAU, 0.5, norm=norm)
    classes = torch.arange(classes)
    without = mine._replace(label=torch.where(mine.label == 1, -1, mine.label))
    ready, not_yet = (b._replace(ready=classes != 1) for b in (bank, other))
    every = other._replace(ready=classes >= 0)
    assert_close(loss.high_level(mine, ready), loss.high_level(without, bank))
    expected = loss.low_level(without, peer, [bank, other])
    for banks in ([ready, every], [bank, not_yet], [ready, not_yet]):
        assert_close(loss.low_level(mine, peer, banks), expected)
    assert loss.high_level(mine, bank) != loss.high_level(without, bank)
    assert loss.low_level(mine, peer, [bank, every]) != expected


def test_what_lies_in_empty_places_does_not_matter(form):
    classes, mine, peer, banks = random_case(6, dtype=torch.float32)
    loss = PeerContrastLoss(classes, threshold=0.5)
    noisy = [
        bank._replace(features=bank.features.masked_fill(~bank.filled[..., None], 50))
        for bank in banks
    ]
    assert not all(bank.filled.all() for bank in banks)
    for b in (banks, noisy):
        found = loss.high_level(mine, b[0]), loss.low_level(mine, peer, b)
        if b is banks:
            expected = found
            assert all(value > 0 for value in found)
    assert found == expected


# Precision, device


def test_fp32_under_autocast(form):
    classes, mine, peer, banks = random_case(6, dtype=torch.float32)
    loss = PeerContrastLoss(classes, temperature=0.05, threshold=0.5)
    expected = loss.high_level(mine, banks[0]), loss.low_level(mine, peer, banks)
    with torch.autocast('cpu', torch.bfloat16):
        got = loss.high_level(mine, banks[0]), loss.low_level(mine, peer, banks)
    assert all(value.dtype == torch.float32 for value in got)
    assert got == expected


def test_waits_for_no_device(monkeypatch):
    monkeypatch.setattr(compact, 'DEVICES', ())
    classes, mine, peer, banks = random_case(6, dtype=torch.float32)
    mine = learning(mine)
    loss = PeerContrastLoss(classes, threshold=0.5)
    loss.high_level(mine, banks[0])  # the attention kernel is tried out once
    with NoHostSync() as seen:
        value = loss.high_level(mine, banks[0]) + loss.low_level(mine, peer, banks)
        value.backward()
    assert 'mm' in seen.ops
    assert mine.features.grad.abs().sum() > 0


# Settings


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('temperature', (0, -1.0, math.nan)),
        ('threshold', (-0.1, 1.1, math.nan)),
        ('norm', ('valid', None)),
    ],
)
def test_wrong_settings(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f'{name} must be .*{value}'):
            PeerContrastLoss(3, **{name: value})


def test_it_is_registered():
    loss = MODELS.build(dict(type='PeerContrastLoss', num_classes=3))
    settings = loss.temperature, loss.threshold, loss.direction, loss.norm
    assert settings == (0.5, 0.75, True, 'all')
