import copy
import io
import random
from collections import deque

import pytest
import torch
from no_sync import NoHostSync
from torch._subclasses.fake_tensor import FakeTensorMode

from mmsemiseg.functional import group_logsumexp
from mmsemiseg.models import StepQueue

EMPTY = -1


def rows(*values):
    """One row for each value, and the value as its label."""
    return torch.tensor(values).float()[:, None], torch.tensor(values).long()


def by_age(queue):
    """Rows and labels, the oldest first."""
    features, labels = (x.roll(-queue.pointer.item(), 0) for x in queue.keys())
    pairs = zip(features.tolist(), labels.tolist(), strict=True)
    return [(row, label) for row, label in pairs if label != EMPTY]


def test_exact_content_over_the_end():
    queue = StepQueue(steps=5, rows=1, dim=1)
    assert queue.size == 5
    for values, expected in [
        ((1, 2, 3), [1, 2, 3, EMPTY, EMPTY]),
        ((), [1, 2, 3, EMPTY, EMPTY]),
        ((4, 5, 6), [6, 2, 3, 4, 5]),
        ((7,), [6, 7, 3, 4, 5]),
        ((8, 9, 10, 11, 12), [11, 12, 8, 9, 10]),
    ]:
        queue.enqueue(*rows(*values))
        features, labels = queue.keys()
        assert labels.tolist() == expected
        assert features[:, 0].tolist() == [max(x, 0) for x in expected]
    assert queue.pointer == 2


def test_random_steps_equal_a_deque():
    rng = random.Random(0)
    for size in (1, 2, 5, 16):
        queue, expected = StepQueue(size, 1, 2), deque(maxlen=size)
        for _ in range(1000):
            n = rng.choice([0, 1, 2, 3, 5, 6, 16, 40])
            features = torch.tensor([rng.random() for _ in range(2 * n)]).view(n, 2)
            labels = [rng.randrange(9) for _ in range(n)]
            queue.enqueue(features, torch.tensor(labels).long())
            expected.extend(zip(features.tolist(), labels, strict=True))
            assert by_age(queue) == list(expected)


def test_rows_without_a_class_take_a_place():
    queue = StepQueue(steps=2, rows=1, dim=1)
    queue.enqueue(*rows(1, 2))
    queue.enqueue(*rows(255))
    assert queue.labels.tolist() == [255, 2]


def test_empty_places_are_no_negatives():
    queue = StepQueue(steps=6, rows=1, dim=3)
    keys = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    queue.enqueue(keys, torch.tensor([0, 1, 255]))
    anchors, group = keys.clone().requires_grad_(), torch.tensor([0, 1, 2])
    found = group_logsumexp(anchors, queue.keys()[0], group, queue.keys()[1], 3)
    logits = keys @ keys[:2].T
    expected = [logits[0, 1], logits[1, 0], logits[2].logsumexp(0)]
    torch.testing.assert_close(found, torch.stack(expected))
    found.sum().backward()
    queue.enqueue(keys, group)  # the values of this step are no longer needed


def test_a_resumed_queue_continues_bit_by_bit():
    g = torch.Generator().manual_seed(0)
    queue = StepQueue(steps=7, rows=1, dim=3)
    for _ in range(4):
        step = torch.randn(3, 3, generator=g), torch.randint(9, (3,), generator=g)
        queue.enqueue(*step)
    file = io.BytesIO()
    torch.save(queue.state_dict(), file)
    file.seek(0)
    resumed = StepQueue(steps=7, rows=1, dim=3)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(6):
        assert_same(queue, resumed)
        step = torch.randn(2, 3, generator=g), torch.randint(9, (2,), generator=g)
        queue.enqueue(*step)
        resumed.enqueue(*step)


def assert_same(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert list(one) == list(other) == ['features', 'labels', 'pointer']
    assert all(one[name].equal(other[name]) for name in one)


def test_a_copy_is_of_its_own():
    """What a loss uses that wants the rows of its own step in the queue."""
    queue = StepQueue(steps=3, rows=1, dim=1)
    queue.enqueue(*rows(1))
    preview = copy.deepcopy(queue)
    preview.enqueue(*rows(2))
    assert preview.labels.tolist() == [1, 2, EMPTY]
    assert queue.labels.tolist() == [1, EMPTY, EMPTY]


def test_no_gradient_is_kept():
    queue = StepQueue(steps=3, rows=1, dim=2)
    features = torch.randn(2, 2, requires_grad=True)
    queue.enqueue(features * 2, torch.zeros(2).long())
    kept, _ = queue.keys()
    assert not kept.requires_grad
    assert kept.grad_fn is None
    assert kept[:2].equal(features.detach() * 2)
    with torch.no_grad():
        features.zero_()
    assert kept[:2].ne(0).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_rows_are_kept_in_float32(dtype):
    queue = StepQueue(steps=2, rows=1, dim=2)
    features = torch.tensor([[0.1, 0.7]], dtype=dtype)
    with torch.autocast('cpu', torch.bfloat16):
        queue.enqueue(features, torch.zeros(1, dtype=torch.uint8))
    assert queue.features.dtype == torch.float32
    assert queue.labels.dtype == torch.int64
    assert queue.features[:1].equal(features.float())


def test_no_host_sync():
    queue = StepQueue(steps=6, rows=1, dim=2)
    features, labels = torch.randn(4, 2), torch.zeros(4).long()
    with NoHostSync():
        for n in (4, 4, 0, 3):
            queue.enqueue(features[:n], labels[:n])
            queue.keys()
    with FakeTensorMode():
        fake = StepQueue(steps=6, rows=1, dim=2)
        fake.enqueue(torch.empty(9, 2), torch.empty(9).long())
        assert fake.keys()[0].shape == (6, 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_cuda_is_as_the_cpu_and_does_not_wait():
    g = torch.Generator().manual_seed(0)
    queue = StepQueue(steps=7, rows=1, dim=3)
    other = StepQueue(steps=7, rows=1, dim=3).cuda()
    for n in (3, 0, 5, 9, 2):
        step = torch.randn(n, 3, generator=g), torch.randint(9, (n,), generator=g)
        queue.enqueue(*step)
        step = [x.cuda() for x in step]
        torch.cuda.set_sync_debug_mode('error')
        try:
            other.enqueue(*step)
        finally:
            torch.cuda.set_sync_debug_mode('default')
        assert_same(queue, copy.deepcopy(other).cpu())


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(steps=0), 'steps must be an integer >= 1, but got 0'),
        (dict(steps=2.0), 'steps must be an integer >= 1, but got 2.0'),
        (dict(rows=0), 'rows must be an integer >= 1, but got 0'),
        (dict(dim=-3), 'dim must be an integer >= 1, but got -3'),
    ],
)
def test_bad_settings_are_named(settings, rule):
    with pytest.raises(ValueError, match=rule):
        StepQueue(**{**dict(steps=2, rows=1, dim=2), **settings})


@pytest.mark.parametrize(
    ('features', 'labels'),
    [((3, 4), (3,)), ((3, 2), (2,)), ((3,), (3,)), ((3, 2), (3, 1))],
)
def test_wrong_shapes_are_refused(features, labels):
    queue = StepQueue(steps=4, rows=1, dim=2)
    with pytest.raises(ValueError, match=r'must be \(n, 2\) and \(n,\), but got'):
        queue.enqueue(torch.zeros(features), torch.zeros(labels).long())
    assert queue.pointer == 0


@pytest.mark.parametrize('size', [2, 3, 4, 7])
def test_checkpoint_of_another_size_gives_the_newest_rows(size):
    old = StepQueue(2, 2, 1)
    for value in range(6):
        old.enqueue(torch.full((1, 1), float(value)), torch.tensor([value]))
    new = StepQueue(size, 1, 1)
    new.load_state_dict(old.state_dict(), strict=True)
    features, labels = new.keys()
    kept = sorted(labels[labels >= 0].tolist())
    assert kept == [2, 3, 4, 5][-size:]
    assert features[labels >= 0, 0].long().tolist() == labels[labels >= 0].tolist()
    new.enqueue(torch.full((1, 1), 6.0), torch.tensor([6]))
    assert sorted(new.labels[new.labels >= 0].tolist()) == [2, 3, 4, 5, 6][-size:]


def test_fill_counts_rows_of_a_class():
    queue = StepQueue(steps=2, rows=2, dim=1)
    assert queue.fill(3).tolist() == [0]
    queue.enqueue(torch.ones(3, 1), torch.tensor([2, -1, 3]))
    with NoHostSync():
        fill = queue.fill(3)
    assert fill.tolist() == [0.25]
