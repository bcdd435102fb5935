"""Queries and segments: the cheapest assignment of all, and who has none."""

import itertools

import pytest
import torch
from mmengine.structures import InstanceData
from op_heads import needs_ops
from rc2l_reference import mask_loss
from torch.testing import assert_close

from mmsemiseg.functional import segments_of_map
from mmsemiseg.models import QueryMatcher

NAMES = ('class_weight', 'focal_weight', 'dice_weight')
WEIGHTS = [(1, 20, 1), (0, 20, 1), (1, 0, 1), (0, 1, 0)]


def example(seed=0, queries=4, classes=3, size=(3, 4), scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(3, queries, classes + 1, generator=generator)
    masks = scale * torch.randn(3, queries, *size, generator=generator)
    index = torch.randint(0, classes, (3, *size), generator=generator)
    valid = torch.ones(3, *size, dtype=torch.bool)
    valid[1] = torch.rand(size, generator=generator) < 0.6
    index[2] = 1
    index = torch.where(valid, index, -1)
    return scores, masks, segments_of_map(index, torch.arange(classes)), valid


def make(weights):
    return QueryMatcher(**dict(zip(NAMES, weights, strict=True)))


def cost(scores, masks, target, label, valid, weights):
    """Cost of one pair, up to what all pairs of the segment share."""
    share = scores.double().softmax(-1)[label].item()
    shares = masks.double().sigmoid()[valid].tolist()
    target = target[valid].double().tolist()
    total = -weights[0] * share
    total += weights[1] * mask_loss(shares, target, 1, 0)
    return total + weights[2] * mask_loss(shares, target, 0, 1)


@pytest.mark.parametrize('weights', WEIGHTS)
@pytest.mark.parametrize('seed', range(3))
def test_no_assignment_is_cheaper(seed, weights):
    scores, masks, segments, valid = example(seed)
    found = make(weights)(scores, masks, segments, valid)
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


def mmdets(scores, masks, segments, valid, weights):
    """Costs (Q, S_n) of each image and queries (N, S), by mmdet's assigner."""
    from mmdet.models import task_modules

    kinds = [
        dict(type='mmdet.ClassificationCost'),
        dict(type='mmdet.FocalLossCost', binary_input=True),
        dict(type='mmdet.DiceCost', pred_act=True, eps=1.0),
    ]
    parts = zip(kinds, weights, strict=True)
    assigner = task_modules.HungarianAssigner(
        [dict(kind, weight=weight) for kind, weight in parts if weight]
    )
    query, costs = torch.full_like(segments.label, -1), []
    for n, count in enumerate(segments.exists.sum(1).tolist()):
        inside = valid[n].flatten()
        own = InstanceData(scores=scores[n], masks=masks[n].flatten(1)[:, inside])
        targets = segments.masks[n, :count].flatten(1)[:, inside]
        other = InstanceData(labels=segments.label[n, :count], masks=targets)
        costs.append(sum(part(own, other) for part in assigner.match_costs))
        segment = assigner.assign(own, other).gt_inds - 1
        for q, s in enumerate(segment.tolist()):
            if s >= 0:
                query[n, s] = q
    return costs, query


@needs_ops
@pytest.mark.parametrize('weights', WEIGHTS)
@pytest.mark.parametrize(
    'settings',
    [
        dict(seed=3),
        dict(seed=4, queries=50, classes=21, size=(20, 20)),
        dict(seed=5, queries=6, classes=10, size=(8, 8)),  # fewer queries
        dict(seed=6, queries=9, scale=40.0),  # masks of 0 and 1
    ],
)
def test_it_is_the_assignment_of_mmdet(settings, weights):
    inputs = example(**settings)
    costs, query = mmdets(*inputs, weights)
    matcher = make(weights)
    found = matcher.costs(*inputs)
    for one, expected in zip(found, costs, strict=True):
        assert_close(one[:, : expected.shape[1]], expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(matcher(*inputs), query)


def test_the_device_is_waited_for_once(monkeypatch):
    inputs, waits = example(), []
    cpu = torch.Tensor.cpu

    def watched(tensor):
        waits.append(tensor.shape)
        return cpu(tensor)

    for name in ('item', 'tolist', 'nonzero', '__bool__', '__int__'):
        monkeypatch.setattr(torch.Tensor, name, None)
    monkeypatch.setattr(torch.Tensor, 'cpu', watched)
    QueryMatcher()(*inputs)
    assert waits == [(3, 4, 3)]


def test_more_segments_than_queries():
    scores, masks, segments, valid = example(queries=2)
    found = QueryMatcher()(scores, masks, segments, valid)
    assert sorted(found[0].tolist()) == [-1, 0, 1]


def test_no_segments():
    scores, masks, _, valid = example()
    segments = segments_of_map(torch.full((3, 3, 4), -1), torch.arange(3))
    assert QueryMatcher()(scores, masks, segments, valid & False).shape == (3, 0)


def test_an_image_without_segments():
    scores, masks, _, valid = example()
    index = torch.full((3, 3, 4), -1)
    index[1] = 2
    segments = segments_of_map(index, torch.arange(3))
    found = QueryMatcher()(scores, masks, segments, valid)
    assert found[[0, 2]].eq(-1).all()
    assert found[1] >= 0


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_too_large(value):
    """The loss is for the optimizer to skip; each segment still has its own query."""
    scores, masks, segments, valid = example()
    scores[0], masks[0, 1] = value, value
    found = QueryMatcher()(scores, masks, segments, valid)
    own = found[0][segments.exists[0]].tolist()
    assert min(own) >= 0
    assert len(set(own)) == len(own)


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
    assert repr(QueryMatcher(dice_weight=2)) == (
        'QueryMatcher(class_weight=1.0, focal_weight=20.0, dice_weight=2)'
    )
