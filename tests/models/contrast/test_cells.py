"""Cells without padding, against the pixels in them."""

import pytest
import torch
from cac_crops import crop_pair
from mmengine.structures import PixelData

from mmsemiseg.models.contrast.cells import whole_cells

SIZE = (24, 40)


@pytest.mark.parametrize('cell', [1, 4, 8])
def test_a_cell_with_one_padded_pixel_is_not_whole(cell):
    valid = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0)) > 0.02
    valid[1], valid[2] = True, False
    size = (SIZE[0] // cell, SIZE[1] // cell)
    expected = torch.zeros(3, *size, dtype=torch.bool)
    for image in range(3):
        for row in range(size[0]):
            for col in range(size[1]):
                block = valid[image, row * cell :, col * cell :][:cell, :cell]
                expected[image, row, col] = block.all()
    assert torch.equal(whole_cells(valid, size), expected)
    assert 0 < expected[0].sum() < expected[0].numel()


def test_validity_of_a_batch():
    view = crop_pair([[(0, 0), (0, 8)]], [[False, False]], SIZE, real=[(20, 33)])[0]
    whole = whole_cells(view.valid, (3, 5))
    expected = torch.zeros(3, 5, dtype=torch.bool)
    expected[:2, :4] = True
    assert torch.equal(whole[0], expected)
    view.data_samples[0].valid_map = PixelData(
        data=~view.data_samples[0].valid_map.data
    )
    assert not whole_cells(view.valid, (3, 5))[0, 0, 0]
