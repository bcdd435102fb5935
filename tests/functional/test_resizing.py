import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmsemiseg.functional import resize_logits
from mmsemiseg.functional.resizing import MOST_CELLS

SIZES = [((3, 5), (12, 20)), ((4, 4), (7, 9)), ((6, 8), (3, 8)), ((1, 1), (4, 5))]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('cells', 'size'), SIZES)
def test_values_and_gradients_are_those_of_interpolate(cells, size, align_corners):
    x = torch.randn(2, 3, *cells, dtype=torch.float64, requires_grad=True)
    for layout in (torch.contiguous_format, torch.channels_last):
        y = x.contiguous(memory_format=layout)
        expected = F.interpolate(y, size, mode='bilinear', align_corners=align_corners)
        found = resize_logits(y, size, align_corners)
        assert_close(found, expected)
        seed = torch.randn_like(expected)
        grads = [torch.autograd.grad(z, x, seed)[0] for z in (found, expected)]
        assert_close(*grads)


def test_it_is_exact_under_autocast():
    x = torch.randn(1, 2, 4, 4)
    with torch.autocast('cpu', torch.bfloat16):
        found = resize_logits(x, (16, 16))
    assert found.dtype == torch.float32
    assert_close(found, F.interpolate(x, (16, 16), mode='bilinear'))


def test_half_precision_large_maps_and_no_images():
    half = torch.randn(1, 2, 3, 3).bfloat16()
    expected = F.interpolate(half.float(), (6, 6), mode='bilinear')
    assert_close(resize_logits(half, (6, 6)), expected)
    large = torch.randn(1, 1, MOST_CELLS + 1, 2)
    expected = F.interpolate(large, (MOST_CELLS + 2, 4), mode='bilinear')
    assert resize_logits(large, (MOST_CELLS + 2, 4)).equal(expected)
    assert resize_logits(torch.zeros(0, 2, 3, 3), (6, 6)).shape == (0, 2, 6, 6)


def test_a_first_call_in_inference_mode_does_not_spoil_training():
    with torch.inference_mode():
        resize_logits(torch.randn(1, 1, 11, 13), (17, 19))
    x = torch.randn(1, 1, 11, 13, requires_grad=True)
    resize_logits(x, (17, 19)).sum().backward()
    assert x.grad.abs().sum() > 0
