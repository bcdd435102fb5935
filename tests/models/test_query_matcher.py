"""Queries and segments: the cheapest assignment of all, and who has none."""

import itertools
import subprocess
import sys

import pytest
import torch
from op_heads import needs_ops
from rc2l_reference import mask_loss

from mmsemiseg.functional import segments_of_map
from mmsemiseg.models import QueryMatcher


def example(seed=0, queries=4, classes=3, size=(3, 4)):
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(3, queries, classes + 1, generator=generator)
    masks = 2 * torch.randn(3, queries, *size, generator=generator)
    index = torch.randint(0, classes, (3, *size), generator=generator)
    valid = torch.ones(3, *size, dtype=torch.bool)
    valid[1] = torch.rand(size, generator=generator) < 0.6
    index[2] = 1
    index = torch.where(valid, index, -1)
    return scores, masks, segments_of_map(index, torch.arange(classes)), valid


def cost(scores, masks, target, label, valid, weights):
    """Cost of one pair, up to what all pairs of the segment share."""
    share = scores.double().softmax(-1)[label].item()
    shares = masks.double().sigmoid()[valid].tolist()
    target = target[valid].double().tolist()
    total = -weights[0] * share
    total += weights[1] * mask_loss(shares, target, 1, 0)
    return total + weights[2] * mask_loss(shares, target, 0, 1)


@needs_ops
@pytest.mark.parametrize('weights', [(1, 20, 1), (0, 20, 1), (1, 0, 1), (0, 1, 0)])
@pytest.mark.parametrize('seed', range(3))
def test_no_assignment_is_cheaper(seed, weights):
    scores, masks, segments, valid = example(seed)
    names = ('class_weight', 'focal_weight', 'dice_weight')
    matcher = QueryMatcher(**dict(zip(names, weights, strict=True)))
    found = matcher(scores, masks, segments, valid)
    for n in range(3):
        count = segments.exists[n].sum().item()
        costs = [
            [
                cost(
                    scores[n, q],
                    masks[n, q],
                    segments.masks[n, s],
                    segments.label[n, s],
                    valid[n],
                    weights,
                )
                for q in range(4)
            ]
            for s in range(count)
        ]
        best = min(
            itertools.permutations(range(4), count),
            key=lambda order: sum(row[q] for row, q in zip(costs, order, strict=True)),
        )
        assert found[n, :count].tolist() == list(best)
        assert found[n, count:].eq(-1).all()


@needs_ops
def test_more_segments_than_queries():
    scores, masks, segments, valid = example(queries=2)
    found = QueryMatcher()(scores, masks, segments, valid)
    assert sorted(found[0].tolist()) == [-1, 0, 1]


@needs_ops
def test_no_segments():
    scores, masks, _, valid = example()
    segments = segments_of_map(torch.full((3, 3, 4), -1), torch.arange(3))
    assert QueryMatcher()(scores, masks, segments, valid & False).shape == (3, 0)


@needs_ops
def test_bfloat16():
    scores, masks, segments, valid = example()
    with torch.autocast('cpu', torch.bfloat16):
        found = QueryMatcher()(scores.bfloat16(), masks.bfloat16(), segments, valid)
    rounded = scores.bfloat16().float(), masks.bfloat16().float()
    assert torch.equal(found, QueryMatcher()(*rounded, segments, valid))


def test_settings():
    with pytest.raises(ValueError, match='class_weight must be a number >= 0'):
        QueryMatcher(class_weight=-1)
    with pytest.raises(ValueError, match='must not both be 0'):
        QueryMatcher(focal_weight=0, dice_weight=0)


def test_without_compiled_operators():
    """A child in which ``mmcv._ext`` cannot be imported."""
    code = (
        'import sys\n'
        "sys.modules['mmcv._ext'] = None\n"
        'from mmsemiseg.models import QueryMatcher\n'
        'try:\n'
        '    QueryMatcher()\n'
        'except ImportError as error:\n'
        '    print(error)\n'
    )
    child = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True
    )
    assert 'make ops' in child.stdout, child.stderr
