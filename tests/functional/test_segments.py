"""Segments of maps and the pixels that queries claim, against loops."""

import math

import pytest
import torch

from mmsemiseg.functional import query_claims, segments_of_map


@pytest.mark.parametrize('min_area', [0, 1, 3, 99])
@pytest.mark.parametrize('seed', range(4))
def test_segments_are_those_of_loops(seed, min_area):
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(-1, 6, (3, 4, 5), generator=generator)
    index[1] = -1
    label = torch.randint(0, 3, (6,), generator=generator)
    found = segments_of_map(index, label, min_area)
    expected = []
    for image in index.tolist():
        area = [sum(row.count(i) for row in image) for i in range(6)]
        expected.append([i for i in range(6) if area[i] >= max(min_area, 1)])
    number = max(map(len, expected))
    assert found.masks.shape == (3, number, 4, 5)
    for n, kept in enumerate(expected):
        assert found.exists[n].tolist() == [s < len(kept) for s in range(number)]
        for s, i in enumerate(kept):
            assert torch.equal(found.masks[n, s], index[n] == i)
            assert found.label[n, s] == label[i]
        assert not found.masks[n, len(kept) :].any()
        assert found.label[n, len(kept) :].eq(0).all()
    assert found.masks.sum(1).max() <= 1


def test_no_segment_at_all():
    found = segments_of_map(torch.full((2, 3, 4), -1), torch.arange(5))
    assert [x.shape for x in found] == [(2, 0, 3, 4), (2, 0), (2, 0)]
    found = segments_of_map(torch.full((2, 3, 4), -1), torch.arange(0))
    assert found.masks.shape == (2, 0, 3, 4)


def claims(classes, masks):
    """Query of each pixel and its product, with loops."""
    count, columns = classes.shape
    shares = classes.double().softmax(-1).tolist()
    label = [max(range(columns), key=row.__getitem__) for row in shares]
    query = torch.full(masks.shape[1:], -1)
    best = torch.zeros(masks.shape[1:])
    for y in range(masks.shape[1]):
        for x in range(masks.shape[2]):
            for q in range(count):
                if label[q] == columns - 1:
                    continue
                value = shares[q][label[q]] / (1 + math.exp(-masks[q, y, x].item()))
                if value > best[y, x]:
                    query[y, x], best[y, x] = q, value
    return query, best, label


@pytest.mark.parametrize('seed', range(4))
def test_claims_are_those_of_loops(seed):
    generator = torch.Generator().manual_seed(seed)
    classes = 2 * torch.randn(2, 5, 4, generator=generator)
    masks = 3 * torch.randn(2, 5, 3, 4, generator=generator)
    classes[1, :, -1] = 9  # no object anywhere
    query, label, best = query_claims(classes, masks)
    for n in range(2):
        expected = claims(classes[n], masks[n])
        assert torch.equal(query[n], expected[0])
        torch.testing.assert_close(best[n], expected[1])
        assert label[n].tolist() == expected[2]
    assert query[1].eq(-1).all()
    assert best[1].eq(0).all()
