import io
import random
from collections import deque

import pytest
import torch
from no_sync import NoHostSync
from torch._subclasses.fake_tensor import FakeTensorMode

from mmsemiseg.functional import balance_weights, class_counts
from mmsemiseg.models import FrequencyWindow


def test_exact_content_over_the_end():
    window = FrequencyWindow(length=3, num_classes=2)
    for entered, counts, filled in [
        ([[1, 0], [2, 0]], [[1, 0], [2, 0], [0, 0]], 2),
        ([], [[1, 0], [2, 0], [0, 0]], 2),
        ([[3, 1], [4, 1]], [[4, 1], [2, 0], [3, 1]], 3),
        # the last three of four
        ([[5, 0], [6, 0], [7, 0], [8, 0]], [[8, 0], [6, 0], [7, 0]], 3),
    ]:
        window.enqueue(torch.tensor(entered).long().view(-1, 2))
        assert window.counts.tolist() == counts
        assert window.total().tolist() == [sum(c) for c in zip(*counts, strict=True)]
        assert window.filled == filled
        assert window.full().item() == (filled == 3)
    assert window.full().dtype == torch.bool
    assert window.total().dtype == torch.int64


def test_random_steps_equal_a_deque():
    rng = random.Random(0)
    for length in (1, 2, 5, 16):
        window, kept = FrequencyWindow(length, 3), deque(maxlen=length)
        for _ in range(300):
            n = rng.choice([0, 1, 1, 2, 3, 6, 16, 40])
            rows = [[rng.randrange(10**6) for _ in range(3)] for _ in range(n)]
            window.enqueue(torch.tensor(rows).long().view(n, 3))
            kept.extend(rows)
            expected = [sum(row[c] for row in kept) for c in range(3)]
            assert window.total().tolist() == expected
            assert window.full().item() == (len(kept) == length)
            by_age = window.counts.roll(-window.pointer.item(), 0)[length - len(kept) :]
            assert by_age.tolist() == list(kept)
            assert 0 <= window.pointer < length


def test_the_first_batches_stay():
    rng = random.Random(0)
    for length in (1, 3, 8):
        window, kept = FrequencyWindow(length, 2, keep='first'), []
        for _ in range(9):
            rows = [[rng.randrange(99) for _ in range(2)]] * rng.choice([0, 1, 2, 5])
            window.enqueue(torch.tensor(rows).long().view(-1, 2))
            kept = (kept + rows)[:length]
            assert window.counts[: len(kept)].tolist() == kept
            assert (window.counts[len(kept) :] == 0).all()
            assert window.pointer == window.filled == len(kept)
            assert window.full().item() == (len(kept) == length)


@pytest.mark.parametrize('keep', ['last', 'first'])
def test_rows_at_once_are_rows_one_by_one(keep):
    rows = torch.arange(22).view(11, 2)
    for length in (1, 4, 11, 20):
        one, other = (FrequencyWindow(length, 2, keep) for _ in range(2))
        one.enqueue(rows)
        for row in rows:
            other.enqueue(row[None])
        assert one.total().equal(other.total())
        assert one.full().equal(other.full())


def test_counts_of_labels_give_weights():
    window = FrequencyWindow(length=2, num_classes=3)
    for label in ([0] * 9 + [1], [0] * 8 + [255] * 2, [1] * 3 + [0] * 7):
        window.enqueue(class_counts(torch.tensor(label), 3)[None])
    # the first batch has left: 15 and 3, median 9
    assert window.total().tolist() == [15, 3, 0]
    expected = [(9 / 15) ** 0.5, 3**0.5, 3**0.5]
    assert balance_weights(window.total()).tolist() == pytest.approx(expected)


def test_sums_are_exact_beyond_float32():
    window = FrequencyWindow(length=1000, num_classes=2)
    window.enqueue(torch.full((999, 2), 2**24 + 1))
    window.enqueue(torch.ones(1, 2, dtype=torch.uint8))
    assert window.total().tolist() == [999 * (2**24 + 1) + 1] * 2
    assert window.half().counts.dtype == torch.int64


@pytest.mark.parametrize(('keep', 'steps'), [('last', 4), ('first', 2), ('first', 4)])
def test_a_resumed_window_continues_bit_by_bit(keep, steps):
    g = torch.Generator().manual_seed(0)
    window = FrequencyWindow(length=5, num_classes=3, keep=keep)
    for _ in range(steps):
        window.enqueue(torch.randint(99, (2, 3), generator=g))
    file = io.BytesIO()
    torch.save(window.state_dict(), file)
    file.seek(0)
    resumed = FrequencyWindow(length=5, num_classes=3, keep=keep)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(6):
        one, other = window.state_dict(), resumed.state_dict()
        assert list(one) == list(other) == ['counts', 'pointer', 'filled']
        assert all(one[name].equal(other[name]) for name in one)
        rows = torch.randint(99, (3, 3), generator=g)
        window.enqueue(rows)
        resumed.enqueue(rows)


def test_what_is_entered_is_copied():
    window = FrequencyWindow(length=2, num_classes=2)
    rows = torch.tensor([[1, 2]])
    window.enqueue(rows)
    total = window.total()
    rows.zero_()
    window.enqueue(torch.tensor([[1, 1]]))
    assert window.total().tolist() == [2, 3]
    assert total.tolist() == [1, 2]


@pytest.mark.parametrize('keep', ['last', 'first'])
def test_no_host_sync(keep):
    window = FrequencyWindow(length=6, num_classes=2, keep=keep)
    rows = torch.ones(9, 2).long()
    with NoHostSync():
        for n in (4, 0, 3, 9):
            window.enqueue(rows[:n])
            window.total(), window.full()
    with FakeTensorMode():
        fake = FrequencyWindow(length=6, num_classes=2)
        fake.enqueue(torch.empty(9, 2, dtype=torch.int64))
        assert fake.total().shape == (2,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_cuda_does_not_wait():
    window = FrequencyWindow(length=6, num_classes=2).cuda()
    rows = torch.ones(9, 2, device='cuda').long()
    torch.cuda.set_sync_debug_mode('error')
    try:
        for n in (4, 0, 3, 9):
            window.enqueue(rows[:n])
            total, full = window.total(), window.full()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert total.tolist() == [6, 6]
    assert full


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(length=0), 'length must be an integer >= 1, but got 0'),
        (dict(length=2.0), 'length must be an integer >= 1, but got 2.0'),
        (dict(keep='newest'), "keep must be in .*, but got 'newest'"),
        (dict(num_classes=0), 'num_classes must be an integer >= 1, but got 0'),
    ],
)
def test_bad_settings_are_named(settings, rule):
    with pytest.raises(ValueError, match=rule):
        FrequencyWindow(**{**dict(length=2, num_classes=2), **settings})


@pytest.mark.parametrize(
    ('rows', 'rule'),
    [
        (torch.ones(2).long(), r'rows must be \(n, 2\), but got \(2,\)'),
        (torch.ones(1, 3).long(), r'rows must be \(n, 2\), but got \(1, 3\)'),
        (torch.ones(1, 2), 'rows must be integers, but got torch.float32'),
    ],
)
def test_wrong_rows_are_refused(rows, rule):
    window = FrequencyWindow(length=4, num_classes=2)
    with pytest.raises(ValueError, match=rule):
        window.enqueue(rows)
    assert window.filled == 0
