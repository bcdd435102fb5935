"""Cells that show the same, against the pixels that they show."""

import pytest
import torch
from cac_crops import crop_pair
from helpers import batch
from mmengine.structures import PixelData

from mmsemiseg.models import Batch
from mmsemiseg.models.overlap import match_crops, whole_cells

SIZE = (24, 40)
FLIPS = [[False, False], [False, True], [True, False], [True, True]]


def pixels(view, cell):
    """For each image and cell the set of the image's pixels in it."""
    height, width = view.inputs.shape[2:]
    found = []
    for data in view.data_samples:
        top, left = data.crop_offset
        grid = torch.stack(
            torch.meshgrid(
                torch.arange(top, top + height),
                torch.arange(left, left + width),
                indexing='ij',
            )
        )
        if data.flip:
            grid = grid.flip(2)
        cells = grid.unfold(1, *[cell] * 2).unfold(2, *[cell] * 2)
        cells = cells.flatten(3).flatten(1, 2).permute(1, 2, 0).tolist()
        found.append([frozenset(map(tuple, one)) for one in cells])
    return found


@pytest.mark.parametrize('cell', [4, 8])
@pytest.mark.parametrize(
    'corners',
    [
        [(0, 0), (0, 0)],
        [(3, 5), (3, 5)],
        [(0, 0), (8, 16)],
        [(16, 1), (0, 33)],
        [(0, 16), (24, 16)],  # they touch
        [(0, 0), (16, 88)],  # they miss each other
    ],
)
def test_pairs_show_the_same_pixels(corners, cell):
    views = crop_pair([corners] * 4, FLIPS, SIZE)
    size = (SIZE[0] // cell, SIZE[1] // cell)
    shown = [pixels(view, cell) for view in views]
    for side, (index, found) in enumerate(match_crops(*views, size)):
        assert index.shape == found.shape == (4, size[0] * size[1])
        for image in range(4):
            mine, theirs = shown[side][image], shown[1 - side][image]
            expected = [theirs.index(one) if one in theirs else None for one in mine]
            got = zip(index[image].tolist(), found[image].tolist(), strict=True)
            assert [i if there else None for i, there in got] == expected
        assert index[~found].eq(0).all()


def test_images_have_offsets_of_their_own():
    views = crop_pair([[(0, 0), (0, 8)], [(8, 0), (0, 0)]], FLIPS[:2], SIZE)
    (_, found), _ = match_crops(*views, (3, 5))
    assert found.sum(1).tolist() == [3 * 4, 2 * 5]


# What cannot be matched


def test_samples_of_another_transform():
    with pytest.raises(ValueError, match='no crop_offset: they must come from Overlap'):
        match_crops(batch(2), batch(2), (4, 4))


@pytest.mark.parametrize(
    ('corner', 'size'),
    [((0, 4), (3, 5)), ((12, 0), (3, 5)), ((0, 8), (5, 7)), ((8, 0), (1, 1))],
)
def test_offsets_within_a_cell(corner, size):
    views = crop_pair([[(0, 0), (0, 0)], [(0, 0), corner]], FLIPS[:2], SIZE)
    with pytest.raises(ValueError, match='must be multiples of the size of a cell'):
        match_crops(*views, size)


def test_crops_that_the_preprocessor_padded():
    """A flipped crop would be un-flipped about another column."""
    views = []
    for view in crop_pair([[(0, 0), (0, 8)]] * 2, FLIPS[:2], SIZE):
        padded = torch.nn.functional.pad(view.inputs, (0, 24, 0, 8))
        views.append(Batch(padded, view.data_samples))
    with pytest.raises(
        ValueError, match=r'crops of \(24, 40\) were padded to \(32, 64'
    ):
        match_crops(*views, (4, 8))


# Cells without padding


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
    view = crop_pair([[(0, 0), (0, 8)]], FLIPS[:1], SIZE, real=[(20, 33)])[0]
    whole = whole_cells(view.valid, (3, 5))
    expected = torch.zeros(3, 5, dtype=torch.bool)
    expected[:2, :4] = True
    assert torch.equal(whole[0], expected)
    view.data_samples[0].valid_map = PixelData(
        data=~view.data_samples[0].valid_map.data
    )
    assert not whole_cells(view.valid, (3, 5))[0, 0, 0]
