"""Rows of a feature map, and the classes of their pixels."""

import pytest
import torch
from torch.testing import assert_close

from mmsemiseg.functional import at_cells, to_group, to_rows


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


@pytest.mark.parametrize(
    ('ignore_index', 'expected'), [(255, [-1, 0, 1, -1, -1]), (1, [-1, 0, -1, -1, -1])]
)
def test_group_is_a_class_or_none(ignore_index, expected):
    label = torch.tensor([-1, 0, 1, 2, 255])
    assert to_group(label, 2, ignore_index).tolist() == expected
