import pytest
import torch
from no_sync import NoHostSync

from mmsemiseg.functional import (
    draw_own_negatives,
    draw_positives,
    draw_shared_negatives,
)


def bank(*count, size=4):
    return torch.arange(size) < torch.tensor(count)[:, None]


def others(filled, group, left_out):
    """Places of all keys that are not of the group's block of queues."""
    size = filled.shape[1]
    return [
        place
        for place in filled.flatten().nonzero()[:, 0].tolist()
        if place // size // left_out != group // left_out
    ]


def test_positives_are_uniform_in_the_own_queue():
    filled = bank(4, 1, 0, 3)
    group = torch.arange(4).repeat(9000)
    drawn = draw_positives(filled, group)
    assert drawn[group == 2].eq(-1).all()
    assert drawn[group == 1].eq(4).all()
    for own, count in ((0, 4), (3, 3)):
        counts = torch.bincount(drawn[group == own], minlength=16)
        assert counts.nonzero()[:, 0].tolist() == [4 * own + i for i in range(count)]
        assert (counts[counts > 0] / 9000 - 1 / count).abs().max() < 0.02
    assert draw_positives(filled, torch.tensor([-1, 4, 255])).tolist() == [-1] * 3


@pytest.mark.parametrize('count', [(4, 3, 4, 1), (0, 2, 0, 4), (4, 0, 0, 0), (0,) * 4])
@pytest.mark.parametrize('left_out', [1, 2, 4])
@pytest.mark.parametrize('number', [1, 3, 7, 40])
def test_shared_negatives_are_of_others_and_repeat_only_where_they_must(
    number, left_out, count
):
    filled = bank(*count)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        drawn = draw_shared_negatives(filled, number, left_out, generator)
        assert drawn.shape == (4, number)
        for group, row in enumerate(drawn.tolist()):
            allowed = others(filled, group, left_out)
            if not allowed:
                assert row == [-1] * number
                continue
            assert set(row) <= set(allowed)
            times = [row.count(place) for place in allowed]
            assert max(times) - min(times) <= 1


@pytest.mark.parametrize('left_out', [1, 2])
def test_every_set_of_shared_negatives_is_drawn_as_often(left_out):
    filled = bank(2, 1, 0, 3, size=3)
    sets = [{} for _ in range(4)]
    n = 6000
    generator = torch.Generator().manual_seed(0)
    for _ in range(n):
        for group, row in enumerate(
            draw_shared_negatives(filled, 2, left_out, generator).tolist()
        ):
            pair = tuple(sorted(row))
            sets[group][pair] = sets[group].get(pair, 0) + 1
    for group, found in enumerate(sets):
        number = len(others(filled, group, left_out))
        expected = number * (number - 1) // 2
        assert len(found) == expected
        assert max(abs(v / n - 1 / expected) for v in found.values()) < 0.025


@pytest.mark.parametrize('left_out', [1, 2, 4])
@pytest.mark.parametrize('count', [(4, 3, 4, 1), (0, 2, 0, 4), (4, 0, 0, 0)])
def test_own_negatives_are_uniform_over_others(count, left_out):
    filled = bank(*count)
    group = torch.tensor([0, 1, 2, 3, -1, 255])
    generator = torch.Generator().manual_seed(0)
    drawn = draw_own_negatives(filled, group, 20000, left_out, generator)
    for own, row in zip(group.tolist(), drawn, strict=True):
        allowed = others(filled, own, left_out) if 0 <= own < 4 else []
        if not allowed:
            assert row.eq(-1).all()
            continue
        counts = torch.bincount(row, minlength=16)
        assert counts.nonzero()[:, 0].tolist() == allowed
        assert (counts[allowed] / 20000 - 1 / len(allowed)).abs().max() < 0.02


def test_a_generator_or_else_the_seed_of_torch_repeats():
    filled, group = bank(4, 3, 4, 1), torch.arange(4)
    for function in (
        lambda g: draw_positives(filled, group.repeat(9), g),
        lambda g: draw_shared_negatives(filled, 5, generator=g),
        lambda g: draw_own_negatives(filled, group, 5, generator=g),
    ):
        torch.manual_seed(3)
        first = function(None)
        torch.manual_seed(3)
        assert function(None).equal(first)
        assert function(torch.Generator().manual_seed(3)).equal(first)


def test_no_anchor_and_no_host_sync():
    filled, group = bank(4, 3, 0, 1), torch.tensor([0, 2, -1])
    with NoHostSync():
        draw_positives(filled, group)
        draw_shared_negatives(filled, 5, 2)
        draw_own_negatives(filled, group, 5, 2)
    assert draw_positives(filled, group[:0]).shape == (0,)
    assert draw_own_negatives(filled, group[:0], 5).shape == (0, 5)
