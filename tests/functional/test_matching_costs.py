"""Costs of all pairs of masks against loops."""

import pytest
import torch
from rc2l_reference import mask_loss
from torch.testing import assert_close

from mmsemiseg.functional import dice_costs, focal_costs


def example(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(2, 3, 7, generator=generator, dtype=dtype)
    inside = (torch.rand(2, 1, 7, generator=generator) < 0.7).to(dtype)
    targets = torch.randint(0, 2, (2, 4, 7), generator=generator) * inside
    return masks, targets, inside


@pytest.mark.parametrize(
    ('costs', 'weights'), [(focal_costs, (1, 0)), (dice_costs, (0, 1))]
)
def test_costs_are_those_of_loops(costs, weights):
    masks, targets, inside = example()
    found = costs(masks, targets, inside)
    assert found.shape == (2, 3, 4)
    for n in range(2):
        places = inside[n, 0].nonzero()[:, 0]
        for q in range(3):
            for s in range(4):
                rows = masks[n, q, places].tolist(), targets[n, s, places].tolist()
                expected = mask_loss(*rows, *weights)
                assert_close(found[n, q, s].item(), expected, rtol=1e-9, atol=1e-9)


def test_masks_of_0_and_1_are_finite():
    masks = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    targets = torch.tensor([[[0.0, 1.0]]])
    found = focal_costs(masks, targets, torch.ones(1, 1, 2))
    worst = 27.6310  # -log 1e-12
    expected = torch.tensor([[[0.0], [(0.25 + 0.75) * worst / 2]]])
    assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_without_a_pixel_that_counts():
    masks, targets, inside = example()
    for costs in (focal_costs, dice_costs):
        assert costs(masks, targets * 0, inside * 0).eq(0).all()
