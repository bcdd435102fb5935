import math
import random

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmsemiseg.functional import (
    class_mean,
    contrast,
    group_logsumexp,
    info_nce,
    logsumexp_without,
    masked_mean,
    multi_positive_info_nce,
    paired_logit,
    sampled_logsumexp,
)

CASES = range(200)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
INF = math.inf


def draw(seed, dtype=torch.float64, dim=None):
    """Anchors, keys (0 to 7 of each) and their groups, of -1 to 3; 3 groups."""
    rng = random.Random(seed)
    g = torch.Generator().manual_seed(seed)
    a, k = rng.randrange(8), rng.randrange(8)
    dim = dim or rng.randint(1, 5)
    anchors, keys = (torch.randn(n, dim, generator=g).to(dtype) for n in (a, k))
    groups = (torch.randint(-1, 4, (n,), generator=g) for n in (a, k))
    return anchors, keys, *groups, rng.choice([0.1, 0.5, 1.0, 2.0])


def dot(x, y):
    return sum(p * q for p, q in zip(x, y, strict=True))


def slow_lse(values):
    values = list(values)
    if not values:
        return -INF
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def slow_info_nce(negative, positive, include=True):
    if negative == -INF:
        return 0.0
    if not include:
        return negative - positive
    return -positive + slow_lse([negative, positive])


def close(found, expected, dtype=torch.float64):
    expected = torch.tensor(expected, dtype=dtype)
    tolerance = dict(rtol=1e-12, atol=1e-12) if dtype == torch.float64 else {}
    assert_close(found, expected, **tolerance)


@pytest.fixture(params=[1, 3, 1000])
def anchors_per_chunk(request, monkeypatch):
    monkeypatch.setattr(contrast, 'ANCHORS_PER_CHUNK', request.param)


# Slow references


@pytest.mark.parametrize('include', [True, False])
@pytest.mark.parametrize('seed', range(20))
def test_info_nce_is_the_fraction(seed, include):
    g = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(6, 5, generator=g, dtype=torch.float64)
    positive = 4 * torch.randn(6, generator=g, dtype=torch.float64)
    loss = info_nce(logits.logsumexp(1), positive, include)
    for row, p, found in zip(logits, positive, loss, strict=True):
        below = row.exp().sum() + (p.exp() if include else 0)
        assert_close(found, -(p.exp() / below).log(), rtol=1e-12, atol=1e-12)


def test_info_nce_by_hand():
    negatives = torch.tensor([0.0, math.log(3), -INF, 200.0, -200.0])
    positive = torch.tensor([0.0, 0.0, 5.0, 0.0, 0.0])
    expected = torch.tensor([math.log(2), math.log(4), 0, 200, 0])
    assert_close(info_nce(negatives, positive), expected)
    expected = torch.tensor([0, math.log(3), 0, 200, -200])
    assert_close(info_nce(negatives, positive, include_positive=False), expected)


@pytest.mark.parametrize('include', [True, False])
def test_no_negative_no_gradient(include):
    negatives = torch.tensor([-INF, 1.0], requires_grad=True)
    positive = torch.tensor([3.0, 2.0], requires_grad=True)
    info_nce(negatives, positive, include).sum().backward()
    slope = torch.sigmoid(torch.tensor(-1.0)) if include else torch.tensor(1.0)
    assert_close(negatives.grad, slope * torch.tensor([0.0, 1.0]))
    assert_close(positive.grad, -slope * torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_paired_logit(dtype):
    for seed in range(50):
        anchors, _, _, _, temperature = draw(seed, dtype)
        others = anchors.flip(0) + 1
        found = paired_logit(anchors, others, temperature)
        pairs = zip(anchors.tolist(), others.tolist(), strict=True)
        close(found, [dot(x, y) / temperature for x, y in pairs], dtype)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.usefixtures('anchors_per_chunk')
def test_sampled_logsumexp_equals_the_slow_reference(dtype):
    for seed in CASES:
        anchors, keys, _, _, temperature = draw(seed, dtype)
        g = torch.Generator().manual_seed(seed)
        high, number = max(len(keys), 1), seed % 5
        index = torch.randint(-2, high, (len(anchors), number), generator=g)
        found = sampled_logsumexp(anchors, keys, index, temperature)
        expected = [
            slow_lse(
                dot(anchor, keys[j].tolist()) / temperature
                for j in row
                if j >= 0 and len(keys)
            )
            for anchor, row in zip(anchors.tolist(), index.tolist(), strict=True)
        ]
        close(found, expected, dtype)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.usefixtures('anchors_per_chunk')
def test_logsumexp_without_equals_the_slow_reference(dtype):
    for seed in CASES:
        anchors, keys, mine, theirs, temperature = draw(seed, dtype)
        g = torch.Generator().manual_seed(seed)
        high, number = max(len(keys), 1), seed % 4
        excluded = torch.randint(-2, high, (len(anchors), number), generator=g)
        args = (anchors, keys, mine, theirs, 3, temperature)
        expected = [
            slow_lse(
                dot(anchor, key) / temperature
                for j, key in enumerate(keys.tolist())
                if theirs[j] in (0, 1, 2)
                and theirs[j] != mine[i]
                and j not in excluded[i].tolist()
            )
            for i, anchor in enumerate(anchors.tolist())
        ]
        close(logsumexp_without(*args, excluded), expected, dtype)
        nothing = torch.full_like(excluded, -1)
        tolerance = dict(rtol=1e-12, atol=1e-12) if dtype == torch.float64 else {}
        assert_close(
            logsumexp_without(*args, nothing), group_logsumexp(*args), **tolerance
        )


@pytest.mark.parametrize('weighted', [False, True])
def test_class_mean_equals_the_loop_over_classes(weighted):
    for seed in CASES:
        g = torch.Generator().manual_seed(seed)
        number, classes = seed % 12, seed % 4 + 1
        loss = torch.randn(number, generator=g, dtype=torch.float64)
        group = torch.randint(-2, classes + 2, (number,), generator=g)
        weight = torch.rand(number, generator=g, dtype=torch.float64).round(decimals=1)
        expected = 0.0
        for c in range(classes):
            members = [i for i in range(number) if group[i] == c]
            terms = [(weight[i] if weighted else 1) * loss[i] for i in members]
            expected += float(sum(terms)) / max(len(members), 1) / classes
        found = class_mean(loss, group, classes, weight if weighted else None)
        close(found, expected)


def test_class_mean_by_hand():
    loss = torch.tensor([1.0, 3.0, 5.0, 7.0, 100.0])
    group = torch.tensor([0, 0, 2, 0, 255])
    # class 0: 11 / 3, class 1: absent, class 2: 5
    assert_close(class_mean(loss, group, 3), torch.tensor((11 / 3 + 5) / 3))
    weight = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])
    assert_close(class_mean(loss, group, 3, weight), torch.tensor((1 / 3 + 5) / 3))


def test_class_mean_ignores_what_has_no_class():
    loss = torch.tensor([2.0, INF, math.nan], requires_grad=True)
    total = class_mean(loss, torch.tensor([1, -1, 2]), 2)
    total.backward()
    assert total == 1
    assert loss.grad.tolist() == [0.5, 0, 0]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_means_of_half_precision_are_float32(dtype):
    """The sum, 350 000, is beyond float16, and the count beyond bfloat16."""
    loss = torch.full((5000,), 70.0, dtype=dtype)
    group = torch.zeros(5000, dtype=torch.int64)
    assert_close(class_mean(loss, group, 2), torch.tensor(35.0))
    assert_close(masked_mean(loss, group == 0), torch.tensor(70.0))


def test_masked_mean():
    loss = torch.tensor([1.0, 2.0, math.nan, 6.0], requires_grad=True)
    mask = torch.tensor([True, False, False, True])
    found = masked_mean(loss, mask)
    found.backward()
    assert found == 3.5
    assert loss.grad.tolist() == [0.5, 0, 0, 0.5]
    assert masked_mean(loss, mask, count=torch.tensor(14)) == 0.5
    assert masked_mean(loss, ~mask & mask) == 0
    assert masked_mean(loss, mask, count=torch.tensor(0)) == 7
    assert masked_mean(loss[:0], mask[:0]) == 0


# Gradients


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.usefixtures('anchors_per_chunk')
def test_gradients(seed):
    """Against differences; of anchors, keys and the other inputs that have one."""
    anchors, keys, mine, theirs, temperature = draw(seed + 100)
    if len(anchors) == 0 or len(keys) == 0:
        anchors, keys = (torch.ones(1, 3, dtype=torch.float64) for _ in range(2))
        mine, theirs = torch.tensor([0]), torch.tensor([1])
    g = torch.Generator().manual_seed(seed)
    negatives = torch.randn(len(anchors), generator=g, dtype=torch.float64)
    index = torch.randint(-1, len(keys), (len(anchors), 3), generator=g)
    inputs = [x.requires_grad_() for x in (anchors, keys, negatives)]

    def finite(lse):
        return lse[lse > -INF]

    def all_functions(anchors, keys, negatives):
        groups = mine, theirs
        positive = paired_logit(anchors, keys[:1].expand_as(anchors), temperature)
        sampled = sampled_logsumexp(anchors, keys, index, temperature)
        without = logsumexp_without(
            anchors, keys, *groups, 3, temperature, index[:, :1]
        )
        losses = [info_nce(negatives, positive), info_nce(without, positive)]
        return (
            *losses,
            info_nce(sampled, positive, include_positive=False),
            finite(sampled),
            finite(without),
            class_mean(losses[1], mine, 3, weight=losses[0]),
            masked_mean(losses[0], mine > 0),
        )

    assert torch.autograd.gradcheck(all_functions, inputs)


def test_exact_zeros_of_gradients():
    """Rows without a key or without a weight, and keys that nobody uses."""
    anchors = torch.randn(4, 3, requires_grad=True)
    keys = torch.randn(5, 3, requires_grad=True)
    mine, theirs = torch.tensor([0, 1, 0, 2]), torch.tensor([1, 1, 9, -1, 1])
    excluded = torch.tensor([[0], [1], [4], [-1]])
    lse = logsumexp_without(anchors, keys, mine, theirs, 3, 0.5, excluded)
    assert lse[1] == -INF and lse[[0, 2, 3]].isfinite().all()
    loss = info_nce(lse, paired_logit(anchors, torch.randn(4, 3), 0.5))
    class_mean(loss, mine, 3, weight=torch.tensor([1.0, 1.0, 0.0, 1.0])).backward()
    assert anchors.grad[[1, 2]].eq(0).all() and anchors.grad[[0, 3]].ne(0).all()
    assert keys.grad[[2, 3]].eq(0).all() and keys.grad[[0, 1, 4]].ne(0).all()

    anchors.grad = keys.grad = None
    index = torch.tensor([[0, 4], [-1, -1], [0, 0], [4, -1]])
    sampled = sampled_logsumexp(anchors, keys, index, 0.5)
    info_nce(sampled, torch.zeros(4)).sum().backward()
    assert anchors.grad[1].eq(0).all() and anchors.grad[[0, 2, 3]].ne(0).all()
    assert keys.grad[[1, 2, 3]].eq(0).all() and keys.grad[[0, 4]].ne(0).all()


def test_gradients_stop_where_callers_detach():
    anchors = torch.randn(4, 3, requires_grad=True)
    others = torch.randn(4, 3, requires_grad=True)
    keys = torch.randn(5, 3)
    groups = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 0, 1, 1])
    negatives = group_logsumexp(anchors, keys, *groups, 2, 0.5)
    positive = paired_logit(anchors, others.detach(), 0.5)
    info_nce(negatives, positive).sum().backward()
    assert others.grad is None and keys.grad is None
    assert anchors.grad.ne(0).any(1).all()


# Precision, sizes, empty sets


def lse_functions():
    """(anchors, keys, temperature) -> (A,) for each function over many keys."""

    def groups(anchors, keys):
        return torch.arange(len(anchors)) % 2, torch.arange(len(keys)) % 2

    def some(anchors, number):
        return torch.arange(number).repeat(len(anchors), 1)

    return dict(
        sampled=lambda a, k, t: sampled_logsumexp(a, k, some(a, min(2, len(k))), t),
        without=lambda a, k, t: logsumexp_without(
            a, k, *groups(a, k), 2, t, some(a, min(1, len(k)))
        ),
    )


@pytest.mark.parametrize('name', lse_functions())
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    function = lse_functions()[name]
    anchors, keys = (8 * torch.randn(n, 16).to(dtype) for n in (5, 6))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = function(anchors, keys, 0.1)
    assert found.dtype == torch.float32
    assert_close(found, function(anchors.float(), keys.float(), 0.1))
    assert paired_logit(anchors, anchors, 0.1).isfinite().all()


def test_the_backward_pass_of_autocast_is_float32_too():
    """The logits that checkpoints make again must be those of the forward pass."""
    found = []
    for autocast in (False, True):
        torch.manual_seed(0)
        anchors = torch.randn(5, 16, requires_grad=True)
        keys, index = torch.randn(6, 16), torch.arange(6).repeat(5, 1)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
            total = sampled_logsumexp(anchors, keys, index, 0.1).sum()
        total.backward()
        found.append(anchors.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize('name', lse_functions())
@pytest.mark.parametrize(('a', 'k'), [(0, 0), (0, 3), (3, 0)])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32, torch.float64])
def test_no_anchors_or_no_keys(name, a, k, dtype):
    anchors = torch.randn(a, 4, dtype=dtype, requires_grad=True)
    found = lse_functions()[name](anchors, torch.randn(k, 4, dtype=dtype), 0.1)
    assert found.shape == (a,)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert found.eq(0 if name == 'positives' else -INF).all()
    losses = found if name == 'positives' else info_nce(found, torch.zeros(a))
    loss = class_mean(losses, torch.arange(a), 3)
    loss.backward()
    assert loss == 0
    assert anchors.grad.eq(0).all()


@pytest.mark.parametrize('name', lse_functions())
def test_large_logits(name):
    anchors = F.normalize(torch.randn(6, 8), dim=1).requires_grad_()
    keys = F.normalize(torch.randn(9, 8), dim=1)
    found = lse_functions()[name](anchors, keys, 1e-3)
    found.sum().backward()
    assert found.isfinite().all() and found.abs().max() > 100
    assert anchors.grad.isfinite().all()


def test_chunks_are_smaller_where_there_are_many_keys(monkeypatch):
    """At most LOGITS_PER_CHUNK numbers of the anchors x keys matrix at once."""
    monkeypatch.setattr(contrast, 'LOGITS_PER_CHUNK', 100)
    sizes = []
    function = contrast.checkpoint
    monkeypatch.setattr(
        contrast,
        'checkpoint',
        lambda run, first, *rest, **options: [
            sizes.append(len(first)),
            function(run, first, *rest, **options),
        ][1],
    )
    for keys, expected in ((30, [3, 3, 3, 1]), (100, 10 * [1]), (200, 10 * [1])):
        sizes.clear()
        index = torch.zeros(10, 1, dtype=torch.int64)
        sampled_logsumexp(torch.randn(10, 2), torch.randn(keys, 2), index, 1.0)
        assert sizes == expected


# CAC, eq 6


CAC = dict(
    first=[(2.0, 0.0), (0.6, 0.8), (-1.0, 1.0)],
    second=[(1.0, 1.0), (0.0, 2.0), (-3.0, 0.0)],
    confidence=([0.9, 0.6, 0.7], [0.8, 0.95, 0.74]),
    label=([0, 1, 2], [0, 1, 1]),
    keys=[(0.0, 1.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.6, -0.8)],
    key_label=[1, 2, 0, 2, 1],
)


def directional(
    forward=True, direction=True, negative_filter=True, threshold=0.75, norm='selected'
):
    """One direction of CAC's loss for the cells above; tau = 0.5."""
    order = 1 if forward else -1
    embeddings = [torch.tensor(CAC[name]) for name in ('first', 'second')]
    anchors, positives = (F.normalize(x, dim=1) for x in embeddings[::order])
    mine, theirs = (torch.tensor(c) for c in CAC['confidence'][::order])
    label = torch.tensor(CAC['label'][::order][0])
    selected = torch.ones(3, dtype=torch.bool)
    if direction:
        selected &= mine < theirs
    if threshold is not None:
        selected &= theirs > threshold
    group = label if negative_filter else torch.full_like(label, -1)
    keys, key_label = torch.tensor(CAC['keys']), torch.tensor(CAC['key_label'])
    lse = group_logsumexp(anchors, keys, group, key_label, 3, 0.5)
    losses = info_nce(lse, paired_logit(anchors, positives, 0.5))
    return masked_mean(losses, selected, torch.tensor(3) if norm == 'overlap' else None)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(norm='overlap'), 0.468527),
        (dict(norm='selected'), 1.405580),
        (
            dict(
                norm='overlap', direction=False, negative_filter=False, threshold=None
            ),
            2.375345,
        ),
        (dict(norm='overlap', negative_filter=False, threshold=None), 1.134206),
        (dict(norm='overlap', threshold=None), 0.714675),
        (dict(norm='overlap', direction=False), 0.749955),
    ],
    ids=['paper', 'official', 'II', 'III', 'IV', 'V'],
)
def test_cac_vectors(settings, expected):
    there, back = (directional(forward, **settings) for forward in (True, False))
    assert (there + back).item() == pytest.approx(expected, abs=1e-6)


def test_cac_vectors_of_each_direction():
    assert directional(True).item() == pytest.approx(0.572048, abs=1e-6)
    assert directional(False).item() == pytest.approx(0.833532, abs=1e-6)


def published_form(positive, logits, negative):
    """CAC's released numerics for one anchor: the maximum is also over keys of its own
    class, and 1e-8 is added to the denominator and inside of the logarithm."""
    top = max(positive, *logits)
    own = math.exp(positive - top)
    others = sum(
        math.exp(x - top) for x, used in zip(logits, negative, strict=True) if used
    )
    return -math.log(own / (own + others + 1e-8) + 1e-8)


def test_the_published_epsilons_are_wrong_and_ours_are_not():
    """Positive and negative at -9, a key of the own class at +10: log 2."""
    assert published_form(-9, [-9, 10], [True, False]) == pytest.approx(
        1.330999, abs=1e-6
    )
    keys = torch.tensor([[-0.9], [1.0]])
    group, key_group = torch.tensor([1]), torch.tensor([0, 1])
    anchors = torch.ones(1, 1)
    lse = group_logsumexp(anchors, keys, group, key_group, 2, 0.1)
    loss = info_nce(lse, paired_logit(anchors, keys[:1], 0.1))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    # without such a key the two agree
    assert published_form(-9, [-9], [True]) == pytest.approx(math.log(2), abs=1e-6)


# CTT, eq 6, 8 and 9


CTT = dict(
    anchors=[(0.6, 0.8), (1.0, 0.0), (0.0, 1.0), (-0.8, 0.6)],
    label=[0, 0, 1, 1],
    confidence=[0.9, 0.6, 0.8, 0.7],
    peers=[(0.8, 0.6), (0.6, 0.8), (0.0, 1.0), (-0.6, 0.8)],
    peer_confidence=[0.95, 0.9, 0.5, 0.65],
    bank_a=[(1.0, 0), (0.8, 0.6), (0, 1.0), (-0.6, 0.8), (-1.0, 0), (0, -1.0)],
    bank_b=[(0.6, 0.8), (1.0, 0), (-0.8, 0.6), (0, 1.0), (0.6, -0.8), (-1.0, 0)],
)


def ctt():
    tensors = {name: torch.tensor(value) for name, value in CTT.items()}
    groups = torch.arange(3).repeat_interleave(2)
    return tensors, groups


@pytest.mark.parametrize(
    ('threshold', 'norm', 'expected'),
    [
        (0.75, 'all', 0.264209),
        (0.75, 'masked', 0.528418),
        (0.0, 'all', 0.460324),
    ],
)
def test_ctt_high_level_vectors(threshold, norm, expected):
    data, _ = ctt()
    anchors, label, keys = data['anchors'], data['label'], data['bank_a']
    filled = torch.ones(3, 2, dtype=torch.bool)
    losses = multi_positive_info_nce(anchors, label, keys.view(3, 2, -1), filled, 0.5)
    mask = data['confidence'] > threshold
    if norm == 'masked':
        found = class_mean(losses, label.masked_fill(~mask, -1), 3)
    else:
        found = class_mean(losses, label, 3, weight=mask.float())
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ('direction', 'expected'), [(True, 0.190525), (False, 0.362574)]
)
def test_ctt_low_level_vectors(direction, expected):
    data, groups = ctt()
    anchors, label = data['anchors'], data['label']
    keys = torch.cat([data['bank_a'], data['bank_b']])
    lse = group_logsumexp(anchors, keys, label, groups.repeat(2), 3, 0.5)
    losses = info_nce(lse, paired_logit(anchors, data['peers'], 0.5))
    mask = data['confidence'] <= 0.75
    if direction:
        mask &= data['confidence'] < data['peer_confidence']
    found = class_mean(losses, label, 3, weight=mask.float())
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_esl_negatives_are_other_parts():
    """Eq 10: keys of other parts of the same class are negatives; a part without an
    anchor or a class without one adds 0."""
    g = torch.Generator().manual_seed(0)
    classes, parts = 3, 2
    anchors = F.normalize(torch.randn(5, 4, generator=g), dim=1)
    keys = F.normalize(torch.randn(12, 4, generator=g), dim=1)
    part, key_part = torch.tensor([0, 0, 1, 4, 5]), torch.arange(12) // 2
    positive = keys[[0, 1, 2, 8, 11]]
    lse = group_logsumexp(anchors, keys, part, key_part, classes * parts, 0.5)
    losses = info_nce(lse, paired_logit(anchors, positive, 0.5))
    expected = {c: [] for c in range(classes)}
    for i in range(5):
        logits = [
            dot(anchors[i].tolist(), keys[j].tolist()) / 0.5
            for j in range(12)
            if key_part[j] != part[i]
        ]
        assert len(logits) == 10
        own = dot(anchors[i].tolist(), positive[i].tolist()) / 0.5
        expected[part[i].item() // parts].append(slow_info_nce(slow_lse(logits), own))
    means = [sum(x) / len(x) for x in expected.values() if x]
    found = class_mean(losses, part // parts, classes).item()
    assert found == pytest.approx(sum(means) / classes, abs=1e-6)


@CUDA
@pytest.mark.parametrize('name', lse_functions())
def test_cuda_equals_cpu(name):
    torch.manual_seed(0)
    inputs = torch.randn(30, 17), torch.randn(40, 17)
    found = []
    for device in ('cpu', 'cuda'):
        anchors, keys = (x.to(device).requires_grad_() for x in inputs)
        with torch.device(device):
            values = lse_functions()[name](anchors, keys, 0.5)
        values.sum().backward()
        found.append([x.cpu() for x in (values, anchors.grad, keys.grad)])
    for a, b in zip(*found, strict=True):
        assert_close(a, b, rtol=1e-3, atol=1e-3)
