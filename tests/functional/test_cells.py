"""Rows of a feature map, and the classes of their pixels."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmsemiseg.functional import at_cells, logits_at_cells, to_rows, valid_labels


def test_rows_go_through_the_images_line_by_line():
    features = torch.randn(2, 3, 4, 5)
    rows = to_rows(features)
    assert rows.shape == (40, 3)
    for n, y, x in ((0, 0, 0), (0, 3, 1), (1, 2, 4)):
        assert_close(rows[n * 20 + y * 5 + x], features[n, :, y, x])


@pytest.mark.parametrize(
    'values', [torch.arange(36), torch.arange(36) % 3 == 0, torch.linspace(0, 1, 36)]
)
def test_cells_have_a_pixel_of_theirs(values):
    values = values.view(1, 6, 6)
    cells = at_cells(values, (3, 2))
    assert cells.dtype == values.dtype
    assert_close(cells, values[:, ::2, ::3])


def test_cells_may_be_more_than_the_pixels():
    label = torch.tensor([[[1, 255]]])
    assert at_cells(label, (2, 4)).tolist() == [[[1, 1, 255, 255]] * 2]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    ('source', 'pixels', 'size'),
    [
        ((5, 6), (33, 40), (5, 6)),  # the usual one: features as large as logits
        ((5, 6), (33, 41), (9, 11)),  # features finer than the logits
        ((9, 11), (33, 41), (5, 6)),  # and coarser, as after a pooling
        ((5, 6), (5, 6), (5, 6)),
        ((9, 8), (4, 3), (2, 2)),  # logits finer than the image
        ((1, 1), (7, 1), (3, 4)),
        ((41, 41), (321, 321), (41, 41)),
    ],
)
def test_logits_of_cells_are_those_of_their_pixels(source, pixels, size, align_corners):
    logits = torch.randn(2, 4, *source, generator=torch.Generator().manual_seed(0))
    full = F.interpolate(logits, pixels, mode='bilinear', align_corners=align_corners)
    expected = torch.stack([at_cells(full[:, c], size) for c in range(4)], 1)
    found = logits_at_cells(logits, pixels, size, align_corners)
    assert_close(found, expected, rtol=1e-4, atol=1e-4)
    confidence, label = full.softmax(1).max(1)
    assert torch.equal(found.argmax(1), at_cells(label, size))
    assert_close(found.softmax(1).max(1).values, at_cells(confidence, size))


def test_logits_of_cells_pass_the_gradient_on_and_are_never_half():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    found = logits_at_cells(logits.bfloat16(), (12, 12), (3, 3))
    assert found.dtype == torch.float32
    found.sum().backward()
    assert logits.grad.sum().item() == pytest.approx(18)
    assert logits_at_cells(logits.double(), (6, 6), (3, 3)).dtype == torch.float64


def test_cells_are_of_the_same_pixels_for_all_types():
    """PyTorch rounds the places of 74 cells in 6 pixels otherwise in float64."""
    number = torch.arange(6)[None, None]
    expected = at_cells(number, (1, 74))[0]
    for dtype in (torch.float32, torch.float64):
        found = logits_at_cells(number[None].to(dtype), (1, 6), (1, 74))
        assert torch.equal(found[0, 0].round().long(), expected)


def test_logits_of_cells_are_not_as_large_as_the_image(monkeypatch):
    sizes, interpolate = [], F.interpolate

    def record(*args, **kwargs):
        sizes.append(interpolate(*args, **kwargs).numel())
        return interpolate(*args, **kwargs)

    monkeypatch.setattr(F, 'interpolate', record)
    logits_at_cells(torch.randn(2, 21, 5, 5), (33, 40), (5, 5))
    assert sizes and max(sizes) <= 40


@pytest.mark.parametrize(
    ('ignore_index', 'expected'), [(255, [-1, 0, 1, -1, -1]), (1, [-1, 0, -1, -1, -1])]
)
def test_group_is_a_class_or_none(ignore_index, expected):
    label = torch.tensor([-1, 0, 1, 2, 255])
    assert valid_labels(label, 2, ignore_index).tolist() == expected
