import pytest
import torch

from mmsemiseg.functional import tiles_by_group


@pytest.mark.parametrize('height', [1, 3, 8])
@pytest.mark.parametrize(('n', 'groups'), [(0, 2), (1, 1), (40, 3), (40, 60)])
def test_every_row_is_in_one_tile_of_its_group(n, groups, height):
    generator = torch.Generator().manual_seed(n + groups)
    group = torch.randint(-1, groups + 2, (n,), generator=generator)
    group[group == groups + 1] = 255
    tiles = tiles_by_group(group, groups, height)
    assert tiles.index.shape == tiles.filled.shape == (n // height + groups, height)
    found = tiles.index[tiles.filled]
    known = ((group >= 0) & (group < groups)).nonzero()[:, 0]
    assert sorted(found.tolist()) == known.tolist()
    tile_of = tiles.group[:, None].expand_as(tiles.index)[tiles.filled]
    assert torch.equal(tile_of, group[found])
    assert (tiles.group.diff() >= 0).all()
    assert (tiles.index[~tiles.filled] == 0).all()
    # Within a group in the order of the rows, as a stable sort gives it
    for c in range(groups):
        assert found[tile_of == c].tolist() == (group == c).nonzero()[:, 0].tolist()


def test_no_more_tiles_than_in_the_worst_case():
    """Each of G groups may fill its last tile with a single row."""
    group = torch.arange(3).repeat(5)  # 5 rows each: two tiles of 4 each
    tiles = tiles_by_group(group, 3, 4)
    assert tiles.filled.any(1).sum() == 6
    assert len(tiles.group) == 15 // 4 + 3
