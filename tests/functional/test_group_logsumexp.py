import importlib
import math
import random
import subprocess
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmsemiseg.functional import group_logsumexp

module = importlib.import_module('mmsemiseg.functional.group_logsumexp')
BACKENDS = ('attention', 'chunked')
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
INF = math.inf
TIGHT = dict(rtol=1e-11, atol=1e-11)


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    """Chunks so small that there are several of them."""
    monkeypatch.setattr(module, 'ANCHORS_PER_CHUNK', 4)
    monkeypatch.setattr(module, 'KEYS_PER_CHUNK', 3)
    return request.param


def draw(seed, dtype=torch.float64):
    """Anchors, keys (1 to 9 of each), groups and their number. Some are too large."""
    rng = random.Random(seed)
    g = torch.Generator().manual_seed(seed)
    dim, groups = rng.randint(1, 6), rng.randint(1, 4)
    rows = [rng.randint(1, 9) for _ in range(2)]
    anchors, keys = (torch.randn(n, dim, generator=g).to(dtype) for n in rows)
    mine, theirs = (torch.randint(-2, groups + 2, (n,), generator=g) for n in rows)
    return anchors, keys, mine, theirs, groups, rng.choice([0.1, 0.5, 1.0, 3.0])


def slow(anchors, keys, mine, theirs, groups, temperature):
    """In plain Python: values and gradients of their sum."""
    anchors, keys = anchors.double().tolist(), keys.double().tolist()
    mine, theirs = mine.tolist(), theirs.tolist()
    values = []
    grad_anchors = [[0.0] * len(anchor) for anchor in anchors]
    grad_keys = [[0.0] * len(key) for key in keys]
    for i, anchor in enumerate(anchors):
        kept = [j for j, h in enumerate(theirs) if 0 <= h < groups and h != mine[i]]
        logits = {
            j: sum(p * q for p, q in zip(anchor, keys[j], strict=True)) / temperature
            for j in kept
        }
        top = max(logits.values(), default=0.0)
        exps = {j: math.exp(x - top) for j, x in logits.items()}
        total = sum(exps.values())
        values.append(top + math.log(total) if kept else -INF)
        for j, value in exps.items():
            for d in range(len(anchor)):
                weight = value / total / temperature
                grad_anchors[i][d] += weight * keys[j][d]
                grad_keys[j][d] += weight * anchor[d]
    return values, grad_anchors, grad_keys


def finite_sum(lse):
    return lse[lse > -INF].sum()


# Values and gradients


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_equals_the_slow_reference(backend, dtype):
    tolerance = TIGHT if dtype == torch.float64 else dict(rtol=1e-4, atol=1e-4)
    empty = 0
    for seed in range(300):
        case = draw(seed, dtype)
        anchors, keys = (x.requires_grad_() for x in case[:2])
        lse = group_logsumexp(*case, backend=backend)
        assert lse.dtype == dtype
        finite_sum(lse).backward()
        for found, expected in zip(
            (lse, anchors.grad, keys.grad), slow(*case), strict=True
        ):
            expected = torch.tensor(expected, dtype=dtype).view_as(found)
            assert_close(found, expected, **tolerance)
        empty += int(lse.eq(-INF).sum())
    assert empty > 100


def test_by_hand(backend):
    """Anchor 0: keys 1 and 2, exp 2 and 3 times; anchor 1: key 0; anchor 2: all."""
    keys = torch.tensor([[1.0], [2.0], [3.0]]).log()
    lse = group_logsumexp(
        torch.ones(3, 1),
        keys,
        torch.tensor([0, 1, 9]),
        torch.tensor([0, 1, 1]),
        2,
        backend=backend,
    )
    assert_close(lse.exp(), torch.tensor([5.0, 1.0, 6.0]))


def test_gradients(backend):
    for seed in range(12):
        anchors, keys, *rest = draw(seed)

        def function(anchors, keys, rest=rest):
            lse = group_logsumexp(anchors, keys, *rest, backend=backend)
            return lse[lse > -INF]

        assert torch.autograd.gradcheck(
            function, (anchors.requires_grad_(), keys.requires_grad_())
        )
        assert torch.autograd.gradcheck(function, (anchors, keys.detach()))
        assert torch.autograd.gradcheck(function, (anchors.detach(), keys))


def test_a_second_derivative_is_refused(backend):
    """It would be wrong: the backward pass is not written in differentiable steps."""
    anchors = torch.randn(3, 2, requires_grad=True)
    groups = torch.zeros(3, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    lse = group_logsumexp(anchors, torch.randn(4, 2), *groups, 2, backend=backend)
    (grad,) = torch.autograd.grad(lse.square().sum(), anchors, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


def test_the_gradient_of_each_row_is_scaled(backend):
    """d (w . lse) = w times the gradient of each row, also where w is 0."""
    anchors, keys, *rest = draw(5)
    weights = torch.arange(len(anchors), dtype=torch.float64)
    rest[0] = torch.full((len(anchors),), -1)
    rest[1] = torch.zeros(len(keys), dtype=torch.int64)
    anchors.requires_grad_()
    keys.requires_grad_()
    lse = group_logsumexp(anchors, keys, *rest, backend=backend)
    single = [torch.autograd.grad(x, (anchors, keys), retain_graph=True) for x in lse]
    (weights * lse).sum().backward()
    for grad, parts in zip(
        (anchors.grad, keys.grad), zip(*single, strict=True), strict=True
    ):
        expected = sum(w * part for w, part in zip(weights, parts, strict=True))
        assert_close(grad, expected, **TIGHT)
    assert anchors.grad[0].eq(0).all()


def test_exact_zeros_of_gradients(backend):
    """Anchors without keys, with weight 0; keys that no anchor takes."""
    anchors = torch.randn(4, 3, requires_grad=True)
    keys = torch.randn(6, 3, requires_grad=True)
    mine = torch.tensor([0, 1, 1, 0])
    theirs = torch.tensor([1, 1, -1, 2, 7, 1])
    lse = group_logsumexp(anchors, keys, mine, theirs, 2, 0.5, backend)
    assert lse.isinf().tolist() == [False, True, True, False]
    torch.where(torch.tensor([True, True, True, False]), lse, 0).sum().backward()
    assert anchors.grad[1:].eq(0).all() and anchors.grad[0].ne(0).all()
    assert keys.grad[[2, 3, 4]].eq(0).all() and keys.grad[[0, 1, 5]].ne(0).all()


def test_keys_without_requires_grad(backend):
    case = draw(3)
    anchors = case[0].requires_grad_()
    lse = group_logsumexp(*case, backend=backend)
    # no copy of the keys is kept
    assert [len(x) for x in lse.grad_fn.saved_tensors] == [len(anchors)]
    assert len(anchors) != len(case[1])
    finite_sum(lse).backward()
    assert case[1].grad is None
    assert_close(
        anchors.grad, torch.tensor(slow(*case)[1], dtype=torch.float64), **TIGHT
    )


@pytest.mark.parametrize(('dim', 'name'), [(8, 'attention'), (12, 'chunked')])
def test_wide_rows_on_a_cpu_take_plain_products(dim, name, monkeypatch):
    used = []
    plain = module.ATTENTION['chunked']
    for key in BACKENDS:

        def spy(*args, key=key):
            used.append(key)
            return plain(*args)

        monkeypatch.setitem(module.ATTENTION, key, spy)
    monkeypatch.setattr(module, 'WIDE', 12)
    monkeypatch.setattr(module, '_backend', lambda *args: 'attention')
    group = torch.tensor([0, 1])
    group_logsumexp(torch.randn(2, dim), torch.randn(2, dim), group, group, 2)
    assert used == [name]


def test_anchors_without_requires_grad(backend):
    case = draw(3)
    keys = case[1].requires_grad_()
    finite_sum(group_logsumexp(*case, backend=backend)).backward()
    assert case[0].grad is None
    assert_close(keys.grad, torch.tensor(slow(*case)[2], dtype=torch.float64), **TIGHT)
    with torch.no_grad():
        assert not group_logsumexp(*case, backend=backend).requires_grad


def test_inputs_stay_as_they_are(backend):
    case = draw(9)
    before = [x.clone() for x in case[:4]]
    case[0].requires_grad_()
    finite_sum(group_logsumexp(*case, backend=backend)).backward()
    for x, y in zip(case, before, strict=False):
        assert torch.equal(x, y)


# Groups


@pytest.mark.parametrize('name', [-(2**62), -2, -1, 3, 4, 255, 2**40])
def test_groups_may_be_any_integers(backend, name):
    """Outside of the range: keys are nobody's, anchors have none in common."""
    anchors, keys = torch.randn(2, 3), torch.randn(4, 3)
    theirs = torch.tensor([0, 1, name, 2])
    known = [0, 1, 3]
    lse = group_logsumexp(
        anchors, keys, torch.tensor([1, name]), theirs, 3, backend=backend
    )
    logits = anchors @ keys.T
    assert_close(lse[0], logits[0, [0, 3]].logsumexp(0))
    assert_close(lse[1], logits[1, known].logsumexp(0))


@pytest.mark.parametrize('dtype', [torch.int32, torch.uint8])
def test_groups_of_other_integer_types(backend, dtype):
    anchors, keys, mine, theirs, groups, temperature = draw(11)
    mine, theirs = mine.clamp(min=0), theirs.clamp(min=0)
    args = dict(num_groups=groups, temperature=temperature, backend=backend)
    expected = group_logsumexp(anchors, keys, mine, theirs, **args)
    found = group_logsumexp(anchors, keys, mine.to(dtype), theirs.to(dtype), **args)
    assert torch.equal(found, expected)


def test_many_groups(backend):
    """As parts of classes: 21 x 5, more of them than keys."""
    g = torch.Generator().manual_seed(0)
    anchors, keys = (torch.randn(n, 7, generator=g).double() for n in (20, 50))
    mine, theirs = (torch.randint(0, 105, (n,), generator=g) for n in (20, 50))
    lse = group_logsumexp(anchors, keys, mine, theirs, 105, 0.5, backend)
    logits = (anchors @ keys.T / 0.5).masked_fill(mine[:, None] == theirs, -INF)
    assert_close(lse, logits.logsumexp(1), **TIGHT)


@pytest.mark.parametrize(
    'theirs', [[-1, -1, -1], [3, -7, 90], [2, 2, 2]], ids=['never', 'range', 'own']
)
def test_all_keys_masked(backend, theirs):
    anchors = torch.randn(5, 4, requires_grad=True)
    keys = torch.randn(3, 4, requires_grad=True)
    mine = torch.full((5,), 2)
    lse = group_logsumexp(anchors, keys, mine, torch.tensor(theirs), 3, 0.01, backend)
    assert lse.eq(-INF).all()
    (3 * lse).sum().backward()
    assert anchors.grad.eq(0).all() and keys.grad.eq(0).all()


# Precision and sizes


@pytest.mark.parametrize('dim', [1, 33, 128, 617, 1024, 2067, 2304])
def test_feature_dims(backend, dim):
    g = torch.Generator().manual_seed(dim)
    anchors, keys = (
        F.normalize(torch.randn(n, dim, generator=g), dim=1).requires_grad_()
        for n in (13, 40)
    )
    mine, theirs = (torch.randint(-1, 21, (n,), generator=g) for n in (13, 40))
    lse = group_logsumexp(anchors, keys, mine, theirs, 21, 0.1, backend)
    lse.sum().backward()
    exact = [x.detach().double().requires_grad_() for x in (anchors, keys)]
    masked = (mine[:, None] == theirs) | (theirs < 0)
    logits = (exact[0] @ exact[1].T / 0.1).masked_fill(masked, -INF)
    logits.logsumexp(1).sum().backward()
    assert_close(lse.double(), logits.logsumexp(1), rtol=1e-5, atol=1e-5)
    for x, y in zip((anchors, keys), exact, strict=True):
        assert_close(x.grad.double(), y.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', BACKENDS)
def test_more_rows_than_a_block_of_the_kernel(name):
    """1 100 x 9 000: several blocks of anchors and keys, the last ones not full."""
    g = torch.Generator().manual_seed(1)
    anchors, keys = (torch.randn(n, 8, generator=g) for n in (1100, 9000))
    mine, theirs = (torch.randint(-1, 4, (n,), generator=g) for n in (1100, 9000))
    anchors.requires_grad_()
    lse = group_logsumexp(anchors, keys, mine, theirs, 4, 0.5, name)
    lse.sum().backward()
    exact = anchors.detach().double().requires_grad_()
    masked = (mine[:, None] == theirs) | (theirs < 0)
    expected = (exact @ keys.double().T / 0.5).masked_fill(masked, -INF).logsumexp(1)
    expected.sum().backward()
    assert_close(lse.double(), expected, rtol=1e-5, atol=1e-5)
    assert_close(anchors.grad.double(), exact.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('scale', [1.0, 30.0])
def test_large_logits(backend, scale):
    """Up to 90 000, where exp() is far beyond the largest number."""
    g = torch.Generator().manual_seed(0)
    anchors, keys = (
        scale * F.normalize(torch.randn(n, 16, generator=g), dim=1) for n in (6, 50)
    )
    anchors.requires_grad_()
    keys.requires_grad_()
    mine, theirs = (torch.randint(0, 3, (n,), generator=g) for n in (6, 50))
    lse = group_logsumexp(anchors, keys, mine, theirs, 3, 0.01, backend)
    logits = (anchors.double() @ keys.double().T / 0.01).detach()
    expected = logits.masked_fill(mine[:, None] == theirs, -INF).logsumexp(1)
    assert_close(lse.double(), expected, rtol=1e-5, atol=0)
    lse.sum().backward()
    assert anchors.grad.isfinite().all() and keys.grad.isfinite().all()
    # the weights of the keys add up to 1
    bound = keys.detach().norm(dim=1).max() / 0.01 * 1.001
    assert (anchors.grad.norm(dim=1) <= bound).all()


def test_a_near_key_of_the_own_group_does_not_swamp_far_ones(backend):
    """The largest logit, 1000, is masked; those that count are at -1000."""
    anchors = torch.tensor([[1.0, 0.0]])
    keys = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    theirs = torch.tensor([1, 0, 0])
    lse = group_logsumexp(anchors, keys, torch.tensor([1]), theirs, 2, 1e-3, backend)
    assert lse.item() == pytest.approx(-1000 + math.log(2), abs=1e-3)


@pytest.mark.parametrize(
    'dtypes',
    [
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float16),
    ],
    ids=str,
)
def test_half_precision_is_computed_in_float32(backend, dtypes):
    g = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(n, 32, generator=g).to(t).requires_grad_()
        for n, t in zip((6, 50), dtypes, strict=True)
    ]
    groups = [torch.randint(0, 3, (n,), generator=g) for n in (6, 50)]
    lse = group_logsumexp(*inputs, *groups, 3, 0.1, backend)
    assert lse.dtype == torch.float32
    lse.sum().backward()
    floats = [x.detach().float().requires_grad_() for x in inputs]
    expected = group_logsumexp(*floats, *groups, 3, 0.1, backend)
    expected.sum().backward()
    assert torch.equal(lse, expected)
    for x, y in zip(inputs, floats, strict=True):
        assert x.grad.dtype == x.dtype
        assert torch.equal(x.grad, y.grad.to(x.dtype))


def test_one_float64_input_makes_float64(backend):
    anchors, keys, *rest = draw(3)
    lse = group_logsumexp(anchors, keys.float(), *rest, backend=backend)
    assert lse.dtype == torch.float64
    expected = group_logsumexp(anchors, keys.float().double(), *rest, backend=backend)
    assert_close(lse, expected, **TIGHT)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_autocast_changes_nothing(backend, dtype):
    found = []
    for autocast in (False, True):
        case = draw(21, dtype)
        anchors, keys = (x.requires_grad_() for x in case[:2])
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
            lse = group_logsumexp(*case, backend=backend)
            assert lse.dtype == torch.float32
        finite_sum(lse).backward()
        found.append((lse, anchors.grad, keys.grad))
    for x, y in zip(*found, strict=True):
        assert torch.equal(x, y)


def test_strided_inputs(backend):
    """Views that are not contiguous, rows that are expanded."""
    anchors, keys, *rest = draw(7)
    expected = group_logsumexp(anchors, keys, *rest, backend=backend)
    found = group_logsumexp(
        anchors.T.contiguous().T, keys.T.contiguous().T, *rest, backend=backend
    )
    assert torch.equal(found, expected)
    leaf = anchors[:1].clone().requires_grad_()
    groups = torch.full((3,), -1), torch.zeros(len(keys), dtype=torch.int64)
    lse = group_logsumexp(leaf.expand(3, -1), keys, *groups, *rest[2:], backend)
    lse.sum().backward()
    one = leaf.detach().clone().requires_grad_()
    single = group_logsumexp(one, keys, groups[0][:1], groups[1], *rest[2:], backend)
    single.sum().backward()
    assert_close(leaf.grad, 3 * one.grad, **TIGHT)


# Empty sets: a mistake here kills the process

EMPTY = """
import itertools, torch
from mmsemiseg.functional import group_logsumexp
for backend, dtype, a, k in itertools.product(
    ('attention', 'chunked', None),
    (torch.bfloat16, torch.float32, torch.float64),
    (0, 3),
    (0, 2),
):
    for group in (0, 1, -1):
        anchors = torch.randn(a, 5, dtype=dtype, requires_grad=True)
        keys = torch.randn(k, 5, dtype=dtype, requires_grad=True)
        mine = torch.zeros(a, dtype=torch.int64)
        theirs = torch.full((k,), group)
        lse = group_logsumexp(anchors, keys, mine, theirs, 2, 0.1, backend)
        double = dtype == torch.float64
        assert lse.dtype == (torch.float64 if double else torch.float32)
        assert lse.shape == (a,)
        if k == 0 or group != 1:
            assert lse.eq(-torch.inf).all()
        else:
            assert lse.isfinite().all()
        assert lse.requires_grad
        torch.where(lse > -torch.inf, lse, 0).sum().backward()
        assert anchors.grad.isfinite().all()
        if k == 0 or group != 1:
            assert anchors.grad.eq(0).all()
            assert keys.grad is None or keys.grad.eq(0).all()
print('all finite')
"""


def test_empty_sets():
    done = subprocess.run(
        [sys.executable, '-W', 'error::UserWarning:mmsemiseg', '-c', EMPTY],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == 'all finite'


# The choice of the backend


@pytest.fixture
def fresh_choice():
    module._backend.cache_clear()
    yield
    module._backend.cache_clear()


@pytest.mark.usefixtures('fresh_choice')
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_the_kernel_is_taken_where_it_works(dtype):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert module._backend('cpu', dtype) == 'attention'


@pytest.mark.usefixtures('fresh_choice')
def test_other_devices_take_plain_pytorch():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert module._backend('xpu', torch.float32) == 'chunked'


def absent(query, key):
    return torch.ops.aten._no_such_attention(query, key)


def other_arguments(query, key):
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, key, 7
    )


def wrong_mean(query, key):
    mean, lse = module._chunked_attention(query, key)
    return mean + 1, lse


def wrong_lse(query, key):
    mean, lse = module._chunked_attention(query, key)
    return mean, lse * 1.4427


def other_shape(query, key):
    mean, lse = module._chunked_attention(query, key)
    return mean, lse[:-1]


def not_finite(query, key):
    mean, lse = module._chunked_attention(query, key)
    return mean, lse * math.nan


@pytest.mark.usefixtures('fresh_choice')
@pytest.mark.parametrize(
    'kernel',
    [absent, other_arguments, wrong_mean, wrong_lse, other_shape, not_finite],
)
def test_a_missing_or_wrong_kernel_is_not_taken(monkeypatch, kernel):
    monkeypatch.setattr(module, '_attention', kernel)
    case = draw(2, torch.float32)
    with pytest.warns(UserWarning, match='for cpu and torch.float32 cannot be used'):
        found = group_logsumexp(*case)
    expected = group_logsumexp(*case, backend='chunked')
    assert torch.equal(found, expected)
    with warnings.catch_warnings():  # once is enough
        warnings.simplefilter('error')
        group_logsumexp(*case)


# Wrong arguments


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(anchors=torch.ones(3)), r'anchors and keys must be .* got \(3,\)'),
        (dict(keys=torch.ones(4, 3)), r'got \(2, 5\) and \(4, 3\)'),
        (dict(anchor_group=torch.zeros(3)), r'anchor_group must be \(2,\)'),
        (dict(key_group=torch.zeros(4, 1)), r'key_group must be \(4,\)'),
        (dict(num_groups=0), 'num_groups must be at least 1, but got 0'),
        (dict(temperature=0.0), 'temperature must be > 0, but got 0.0'),
        (dict(temperature=math.nan), 'temperature must be > 0, but got nan'),
    ],
)
def test_wrong_arguments(change, message):
    args = dict(
        anchors=torch.ones(2, 5),
        keys=torch.ones(4, 5),
        anchor_group=torch.zeros(2, dtype=torch.int64),
        key_group=torch.zeros(4, dtype=torch.int64),
        num_groups=2,
    )
    with pytest.raises(ValueError, match=message):
        group_logsumexp(**{**args, **change})


# CUDA


@CUDA
@pytest.mark.parametrize('name', BACKENDS)
@pytest.mark.parametrize('dim', [1, 33, 128, 617, 2048])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_cuda_equals_cpu(name, dim, dtype):
    g = torch.Generator().manual_seed(dim)
    inputs = [
        F.normalize(torch.randn(n, dim, generator=g), dim=1).to(dtype)
        for n in (300, 1000)
    ]
    groups = [torch.randint(-1, 21, (n,), generator=g) for n in (300, 1000)]
    found = []
    for device in ('cpu', 'cuda'):
        anchors, keys = (x.to(device).requires_grad_() for x in inputs)
        lse = group_logsumexp(
            anchors, keys, *(x.to(device) for x in groups), 21, 0.1, name
        )
        lse.sum().backward()
        found.append([x.cpu().float() for x in (lse, anchors.grad, keys.grad)])
    for x, y in zip(*found, strict=True):
        assert_close(x, y, rtol=2e-2 if dtype == torch.bfloat16 else 1e-3, atol=1e-3)


@CUDA
def test_cuda_empty_sets_and_autocast():
    for a, k in ((0, 0), (0, 3), (3, 0), (3, 3)):
        anchors = torch.randn(a, 5, device='cuda', requires_grad=True)
        keys = torch.randn(k, 5, device='cuda')
        groups = [torch.zeros(n, dtype=torch.int64, device='cuda') for n in (a, k)]
        with torch.autocast('cuda', dtype=torch.float16):
            lse = group_logsumexp(anchors, keys, *groups, 2)
        assert lse.dtype == torch.float32 and lse.eq(-INF).all()
        lse.sum().backward()
        assert anchors.grad.eq(0).all()


@CUDA
@pytest.mark.usefixtures('fresh_choice')
def test_cuda_takes_the_kernel():
    assert module._backend('cuda', torch.float32) == 'attention'
