import math
import statistics

import numpy as np
import pytest
import torch
from no_sync import NoHostSync
from torch.testing import assert_close

from mmsemiseg.functional import balance_weights, class_counts, label_weights


def slow_weights(frequency):
    occurs = [f for f in frequency if f > 0]
    if not occurs:
        return [1.0] * len(frequency)
    median = statistics.median(occurs)
    largest = math.sqrt(median / min(occurs))
    return [math.sqrt(median / f) if f > 0 else largest for f in frequency]


@pytest.mark.parametrize('dtype', [torch.int64, torch.uint8, torch.int32])
@pytest.mark.parametrize('seed', range(4))
def test_counts_equal_the_slow_reference(seed, dtype):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(7, (2, 5, 6), generator=g)
    label[torch.rand(label.shape, generator=g) < 0.3] = 255
    expected = [label.flatten().tolist().count(c) for c in range(7)]
    found = class_counts(label.to(dtype), 7)
    assert found.dtype == torch.int64
    assert found.tolist() == expected
    # fewer classes than the labels have: those above are left out
    assert class_counts(label.to(dtype), 4).tolist() == expected[:4]


def test_counts_of_an_ignored_class():
    label = torch.tensor([[0, 1, 1], [-1, 255, 2]])
    assert class_counts(label, 3).tolist() == [1, 2, 1]
    assert class_counts(label, 3, ignore_index=1).tolist() == [1, 0, 1]


def test_counts_of_all_classes_that_a_byte_can_name():
    label = torch.arange(256).byte()
    assert class_counts(label, 256, ignore_index=-1).tolist() == [1] * 256
    assert class_counts(label, 300).tolist() == [1] * 255 + [0] * 45


def test_counts_of_nothing():
    assert class_counts(torch.zeros(0, 4, 4).long(), 3).tolist() == [0, 0, 0]
    assert class_counts(torch.full((1, 2, 2), 255), 3).tolist() == [0, 0, 0]


def test_weights_of_the_vector():
    frequency = torch.tensor([100, 400, 25])
    assert balance_weights(frequency).tolist() == [1, 0.5, 2]


@pytest.mark.parametrize(
    ('frequency', 'expected'),
    [
        ([4, 0, 1, 0], [math.sqrt(2.5 / 4)] + 3 * [math.sqrt(2.5)]),
        ([0, 9], [1, 1]),
        ([7], [1]),
        ([0, 0, 0], [1, 1, 1]),
        ([0], [1]),
        ([5, 5, 5, 5], [1, 1, 1, 1]),
        ([1, 4, 9, 16], [math.sqrt(6.5) / root for root in (1, 2, 3, 4)]),
    ],
)
def test_weights_by_hand(frequency, expected):
    found = balance_weights(torch.tensor(frequency)).tolist()
    assert found == pytest.approx(expected, rel=1e-6)
    assert found == pytest.approx(slow_weights(frequency), rel=1e-6)


@pytest.mark.parametrize('classes', [1, 2, 3, 8, 19, 21])
@pytest.mark.parametrize('absent', [0, 0.3, 0.9])
def test_weights_equal_the_slow_reference(classes, absent):
    g = torch.Generator().manual_seed(classes)
    for _ in range(5):
        frequency = torch.randint(1, 10**9, (classes,), generator=g)
        frequency[torch.rand(classes, generator=g) < absent] = 0
        found = balance_weights(frequency)
        assert found.dtype == torch.float32
        expected = torch.tensor(slow_weights(frequency.tolist()))
        assert_close(found, expected, rtol=1e-6, atol=0)
        # shares say the same as counts
        shares = frequency / frequency.sum().clamp(min=1)
        assert_close(balance_weights(shares), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ('frequency', 'expected'),
    [
        ([100, 400, 25], [1, 0.5, 2]),  # all occur: no difference
        ([100, 400, 36, 0, 0], [0.6, 0.3, 1, 1, 1]),  # median 36, not 100
        ([4, 0, 16, 36], [math.sqrt(10 / 4)] * 2 + [math.sqrt(10) / 4, 10**0.5 / 6]),
        ([9, 0, 0, 0], [1, 1, 1, 1]),  # the median is 0: as those that occur
        ([4, 36, 0, 0, 0], [math.sqrt(5), math.sqrt(20 / 36)] + [math.sqrt(5)] * 3),
        ([16, 0], [math.sqrt(0.5), 1]),  # the largest of the others is below 1
        ([0, 0], [1, 1]),
    ],
)
def test_median_of_all_classes_by_hand(frequency, expected):
    found = balance_weights(torch.tensor(frequency), median='all').tolist()
    assert found == pytest.approx(expected, rel=1e-6)


def test_median_of_all_classes_as_published_where_that_is_finite():
    g = torch.Generator().manual_seed(0)
    for _ in range(50):
        frequency = torch.randint(1, 1000, (7,), generator=g)
        frequency[torch.rand(7, generator=g) < 0.4] = 0
        median = np.median(frequency.numpy())
        if median == 0:
            continue
        with np.errstate(divide='ignore'):
            ratio = median / frequency.numpy()
        absent = np.isinf(ratio)
        ratio[absent] = 1
        ratio[absent] = ratio.max()
        found = balance_weights(frequency, median='all')
        assert_close(
            found.double(), torch.from_numpy(np.sqrt(ratio)), rtol=1e-6, atol=0
        )


def test_wrong_median_is_refused():
    with pytest.raises(ValueError, match="median must be in .*, but got 'mean'"):
        balance_weights(torch.ones(2), median='mean')


def test_large_counts():
    big = 2**40
    found = balance_weights(torch.tensor([big, 4 * big, big // 4]))
    assert found.tolist() == [1, 0.5, 2]


@pytest.mark.parametrize('shape', [(), (0,), (2, 3)])
def test_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r'frequency must be \(C,\), but got'):
        balance_weights(torch.ones(shape))


def test_weights_of_labels():
    label = torch.tensor([[[0, 2, 255], [1, 255, 0]]])
    weights = torch.tensor([1.0, 2.0, 0.5])
    expected = [[[1, 0.5, 0], [2, 0, 1]]]
    assert label_weights(weights, label).tolist() == expected
    assert label_weights(weights, label.byte()).tolist() == expected
    found = label_weights(weights, label.masked_fill(label == 255, 2), ignore_index=2)
    assert found.tolist() == [[[1, 0, 0], [2, 0, 1]]]


def test_no_host_sync():
    label = torch.tensor([[[0, 2, 255], [1, 255, 0]]])
    with NoHostSync():
        counts = class_counts(label, 3)
        label_weights(balance_weights(counts), label)
        balance_weights(counts, median='all')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_cuda_is_as_the_cpu_and_does_not_wait():
    g = torch.Generator().manual_seed(0)
    label = torch.randint(19, (2, 64, 64), generator=g)
    label[label == 3] = 255
    counts = class_counts(label, 19)
    weights = balance_weights(counts)
    pixels = label_weights(weights, label)
    label = label.cuda()
    torch.cuda.set_sync_debug_mode('error')
    try:
        found = class_counts(label, 19)
        found_weights = balance_weights(found)
        found_pixels = label_weights(found_weights, label)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert found.cpu().equal(counts)
    assert_close(found_weights.cpu(), weights)
    assert_close(found_pixels.cpu(), pixels)
