import pytest
import torch

from mmsemiseg.functional import matching_cells, move


def grid(height, width):
    rows, cols = torch.arange(height), torch.arange(width)
    return torch.stack(torch.meshgrid(rows, cols, indexing='ij'))


LABEL = torch.arange(30 * 40).view(30, 40)


def nearest(coords, height, width):
    scaled = torch.nn.functional.interpolate(coords[None].float(), (height, width))
    return scaled[0].long()


@pytest.mark.parametrize(
    'view',
    [
        lambda x: x,
        lambda x: x.flip(-1),
        lambda x: x.flip(-2),
        lambda x: x.transpose(-1, -2),
        lambda x: x[..., 4:20, 7:30],
        lambda x: x[..., 4:20, 7:30].flip(-1).rot90(1, (-2, -1)),
    ],
)
def test_exact_between_views_of_whole_pixels(view):
    coords = grid(30, 40)
    assert torch.equal(move(LABEL, coords, view(coords)), view(LABEL))
    shown = torch.zeros(30, 40, dtype=torch.bool)
    shown[tuple(view(coords).flatten(1))] = True
    back = move(view(LABEL), view(coords), coords, fill=-7)
    assert torch.equal(back, LABEL.where(shown, -7))


@pytest.mark.parametrize('size', [(60, 80), (15, 20), (45, 30)])
def test_resized_views(size):
    coords = nearest(grid(30, 40), *size)
    source = torch.zeros(30, 40, dtype=torch.long)
    source[10:, 12:] = 1
    there = move(source, grid(30, 40), coords)
    assert torch.equal(there, source[tuple(coords)])
    back = move(there, coords, grid(30, 40))
    assert (back != source).sum() <= 70  # one pixel along the 48 pixels of the edge


def test_padding_is_filled_on_both_sides():
    coords = grid(30, 40)
    padded = coords.clone()
    padded[:, :, 35:] = -1
    assert torch.equal(
        move(LABEL, coords, padded), LABEL.where(padded[0] >= 0, torch.tensor(255))
    )
    assert (move(LABEL, padded, coords)[:, 35:] == 255).all()
    assert torch.equal(move(LABEL, padded, coords)[:, :35], LABEL[:, :35])


def test_all_padding_and_disjoint_views():
    coords = grid(30, 40)
    nothing = torch.full_like(coords, -1)
    assert move(LABEL, nothing, coords).eq(255).all()
    assert move(LABEL, coords, nothing).eq(255).all()
    left, right = coords[..., :20], coords[..., 20:]
    assert move(LABEL[:, :20], left, right).eq(255).all()


def test_leading_axes_and_types_are_kept():
    coords = grid(30, 40)
    values = torch.rand(2, 3, 30, 40)
    moved = move(values, coords, coords.flip(2), fill=0)
    assert torch.equal(moved, values.flip(3))
    valid = torch.ones(30, 40, dtype=torch.bool)
    moved = move(valid, coords, coords[:, :5], fill=False)
    assert moved.dtype == torch.bool and moved.shape == (5, 40)


# Cells of two crops


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
