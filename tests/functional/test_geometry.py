import pytest
import torch

from mmsemiseg.functional import move


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
