import math

import pytest
import torch
from no_sync import NoHostSync

from mmsemiseg.functional import draw_anchors


@pytest.mark.parametrize('most', [None, 1, 4])
@pytest.mark.parametrize('share', [0.01, 0.1, 0.5, 1])
@pytest.mark.parametrize('classes', [1, 3, 150])
def test_the_share_of_each_class_is_drawn(classes, share, most):
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        label = torch.randint(-1, classes + 1, (seed * 40,), generator=g)
        index, drawn = draw_anchors(label, classes, share, most, g)
        real = drawn >= 0
        assert index[real].unique().numel() == real.sum()
        assert drawn[real].equal(label[index[real]])
        for c in range(classes):
            count = (label == c).sum().item()
            number = math.ceil(share * count)
            assert (drawn == c).sum() == min(number, most or number)


def test_cells_of_a_class_are_drawn_as_often():
    label = torch.tensor([0] * 10 + [1] * 5)
    times = torch.zeros(15)
    g = torch.Generator().manual_seed(0)
    for _ in range(4000):
        index, drawn = draw_anchors(label, 2, 0.2, generator=g)
        times[index[drawn >= 0]] += 1
    assert (times / 4000 - 0.2).abs().max() < 0.02


def test_no_host_sync_and_shapes_without_the_data():
    shapes = set()
    for label in (torch.zeros(50).long(), torch.full((50,), 255)):
        with NoHostSync():
            index, drawn = draw_anchors(label, 3)
        shapes.add((index.shape, drawn.shape))
    assert shapes == {((8,), (8,))}
    assert draw_anchors(label[:0], 3)[0].shape == (0,)


def test_a_bad_share_is_named():
    for share in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match=rf'share must .* but got {share}'):
            draw_anchors(torch.zeros(2).long(), 2, share)
