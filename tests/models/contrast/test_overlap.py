"""Cells that show the same, against the pixels that they show."""

import pytest
import torch
from cac_crops import crop_pair
from helpers import batch

from mmsemiseg.models import Batch
from mmsemiseg.models.contrast.overlap import match_crops

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
