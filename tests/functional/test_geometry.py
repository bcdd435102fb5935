import pytest
import torch

from mmsemiseg.functional import matching_cells


def crop_of(cells, corner, flip, size):
    """Numbers of the image's cells in a crop."""
    rows, cols = (slice(c, c + s) for c, s in zip(corner, size, strict=True))
    crop = cells[rows, cols]
    return (crop.flip(1) if flip else crop).flatten().tolist()


@pytest.mark.parametrize('second_flip', [False, True])
@pytest.mark.parametrize('first_flip', [False, True])
@pytest.mark.parametrize('size', [(1, 1), (2, 3), (4, 4)])
def test_matching_cells_at_every_offset(size, first_flip, second_flip):
    """The first crop in the middle, the second anywhere: from no overlap to all."""
    cells = torch.arange(13 * 13).view(13, 13)
    middle = (4, 5)
    corners = [
        (row, col)
        for row in range(middle[0] - size[0], middle[0] + size[0] + 1)
        for col in range(middle[1] - size[1], middle[1] + size[1] + 1)
    ]
    index, found = matching_cells(
        (torch.tensor([middle] * len(corners)), torch.tensor(corners)),
        tuple(torch.tensor([f] * len(corners)) for f in (first_flip, second_flip)),
        size,
    )
    assert index.dtype == torch.int64 and found.dtype == torch.bool
    overlaps = []
    for number, corner in enumerate(corners):
        mine = crop_of(cells, middle, first_flip, size)
        theirs = crop_of(cells, corner, second_flip, size)
        expected = [theirs.index(cell) if cell in theirs else 0 for cell in mine]
        assert index[number].tolist() == expected
        assert found[number].tolist() == [cell in theirs for cell in mine]
        overlaps.append(int(found[number].sum()))
    assert set(overlaps) >= {0, 1, size[0] * size[1]}


def test_matching_cells_back_and_forth():
    corners = torch.tensor([[0, 0], [3, 1]]), torch.tensor([[1, -2], [2, 3]])
    flips = torch.tensor([True, False]), torch.tensor([False, True])
    there, found = matching_cells(corners, flips, (4, 5))
    back, _ = matching_cells(corners[::-1], flips[::-1], (4, 5))
    places = torch.arange(20).expand(2, 20)
    assert torch.equal(back.gather(1, there)[found], places[found])
    assert found.sum(1).tolist() == [9, 9]


def test_matching_cells_of_no_images():
    none = torch.zeros(0, 2, dtype=torch.long)
    flips = torch.zeros(0, dtype=torch.bool)
    index, found = matching_cells((none, none), (flips, flips), (2, 3))
    assert index.shape == found.shape == (0, 6)
