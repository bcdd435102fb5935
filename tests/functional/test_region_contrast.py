"""Overlap of masks and contrast of pairs, by hand and with loops."""

import math

import pytest
import torch
from rc2l_reference import contrast, cosine, dice, iou2
from torch.testing import assert_close

from mmsemiseg.functional import mask_similarity, pair_contrast, pooled_features


@pytest.mark.parametrize(('kind', 'slow'), [('dice', dice), ('iou2', iou2)])
def test_similarity_is_that_of_loops(kind, slow):
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(2, 3, 7, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 2, (2, 4, 7), generator=generator).double()
    found = mask_similarity(masks, targets, kind)
    for n in range(2):
        for t in range(4):
            for s in range(3):
                expected = slow(targets[n, t].tolist(), masks[n, s].tolist())
                assert_close(found[n, t, s].item(), expected)


def test_empty_masks_are_not_alike():
    masks = torch.zeros(1, 2, 3, requires_grad=True)
    found = mask_similarity(masks, torch.zeros(1, 2, 3))
    assert found.eq(0).all()
    found.sum().backward()
    assert masks.grad.isfinite().all()
    with pytest.raises(ValueError, match="kind must be in .*'dice'.* got 'iou'"):
        mask_similarity(masks, masks, 'iou')


def test_the_cosine_of_pooled_features():
    generator = torch.Generator().manual_seed(1)
    masks = torch.rand(1, 2, 5, generator=generator, dtype=torch.float64)
    features = torch.randn(1, 3, 5, generator=generator, dtype=torch.float64)
    rows = [
        [(mask * channel).sum().item() for channel in features[0]] for mask in masks[0]
    ]
    pooled = pooled_features(masks, features)
    assert_close((pooled[0, 0] @ pooled[0, 1]).item(), cosine(*rows))
    assert_close(pooled, pooled_features(masks / 5, features))
    assert pooled_features(torch.zeros(1, 1, 5).double(), features).eq(0).all()


@pytest.mark.parametrize('include_positive', [False, True])
def test_pairs_are_those_of_loops(include_positive):
    generator = torch.Generator().manual_seed(2)
    similarity = torch.rand(4, 5, 5, generator=generator, dtype=torch.float64)
    counts = torch.rand(4, 5, generator=generator) < 0.6
    counts[1] = False
    counts[2] = torch.arange(5) == 3
    found = pair_contrast(similarity, counts, 0.3, include_positive)
    for n in range(4):
        rows = counts[n].nonzero()[:, 0].tolist()
        expected = contrast(
            [(i, i) for i in rows],
            lambda i, j, n=n: similarity[n, i, j].item(),
            0.3,
            include_positive,
        )
        assert_close(found[n].sum().item(), expected)
        assert found[n, ~counts[n]].eq(0).all()
    assert found[1:3].eq(0).all()


def test_a_pair_by_hand():
    """d = (3/4, 1/4; 0, 1/2) at tau = 1/4: -2 and -2; InfoNCE ln(1 + e^-2)."""
    similarity = torch.tensor([[[0.75, 0.25], [0.0, 0.5]]], requires_grad=True)
    counts = torch.ones(1, 2, dtype=torch.bool)
    found = pair_contrast(similarity, counts, 0.25)
    assert_close(found, torch.tensor([[-2.0, -2.0]]))
    found.sum().backward()
    assert_close(similarity.grad, torch.tensor([[[-4.0, 4.0], [4.0, -4.0]]]))
    found = pair_contrast(similarity, counts, 0.25, include_positive=True)
    assert_close(found, torch.full((1, 2), math.log1p(math.exp(-2))))
