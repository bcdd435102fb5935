"""Focal and Dice loss against loops and mmdet's, unions of classes."""

import pytest
import torch
from op_heads import needs_ops
from rc2l_reference import mask_loss
from torch.testing import assert_close

from mmsemiseg.functional import dice_terms, focal_terms, union_of_classes


def example(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 2, (2, 3, 7), generator=generator).double()
    inside = (torch.rand(2, 1, 7, generator=generator) < 0.7).double()
    return logits, targets, inside


def test_terms_are_those_of_loops():
    logits, targets, inside = example()
    focal, dice = (f(logits, targets, inside) for f in (focal_terms, dice_terms))
    for n in range(2):
        places = inside[n, 0].nonzero()[:, 0]
        for s in range(3):
            rows = (x[n, s, places].tolist() for x in (logits.sigmoid(), targets))
            shares, target = rows
            assert_close(focal[n, s].item(), mask_loss(shares, target, 1, 0))
            assert_close(dice[n, s].item(), mask_loss(shares, target, 0, 1))


@needs_ops
def test_they_are_the_losses_of_maskformer():
    from mmdet.models.losses import DiceLoss, FocalLoss

    logits, targets, _ = example()
    inside = torch.ones(2, 1, 7).double()
    focal = FocalLoss(use_sigmoid=True, gamma=2.0, alpha=0.25)
    expected = focal(logits.reshape(-1, 1), 1 - targets.reshape(-1).long())
    assert_close(focal_terms(logits, targets, inside).mean(), expected)
    dice = DiceLoss(activate=True, naive_dice=True, eps=1.0)
    expected = dice(logits.flatten(0, 1), targets.flatten(0, 1))
    assert_close(dice_terms(logits, targets, inside).mean(), expected)


def test_extreme_logits_are_finite():
    logits = torch.tensor([[[200.0, -200.0, 200.0, -200.0]]], requires_grad=True)
    targets = torch.tensor([[[1.0, 0.0, 0.0, 1.0]]])
    loss = focal_terms(logits, targets, torch.ones(1, 1, 4))
    assert_close(loss, torch.tensor([[200 * (0.75 + 0.25) / 4]]))
    loss.sum().backward()
    assert_close(logits.grad, torch.tensor([[[0.0, 0.0, 0.75 / 4, -0.25 / 4]]]))


@pytest.mark.parametrize('seed', range(3))
def test_unions_are_those_of_loops(seed):
    logits, _, _ = example(seed)
    label = torch.randint(0, 4, (2, 3), generator=torch.Generator().manual_seed(seed))
    union, some = union_of_classes(logits, label, 3)
    for n in range(2):
        for c in range(3):
            rows = logits[n, label[n] == c]
            assert some[n, c].item() == (len(rows) > 0)
            expected = rows.max(0).values if len(rows) else torch.zeros(7).double()
            assert torch.equal(union[n, c], expected)


def test_the_gradient_of_a_union():
    logits = example()[0].requires_grad_()
    label = torch.tensor([[0, 0, 2], [1, 3, 1]])
    torch.autograd.gradcheck(lambda x: union_of_classes(x, label, 3)[0], logits)
    union_of_classes(logits, label, 3)[0].sum().backward()
    assert torch.equal(logits.grad[0, :2].sum(0), torch.ones(7).double())
    assert logits.grad[1, 1].eq(0).all()


def test_a_logit_of_0_has_its_whole_gradient():
    logits = torch.tensor([[[0.0, -3.0], [-1.0, 0.0], [5.0, 5.0]]], requires_grad=True)
    union, _ = union_of_classes(logits, torch.tensor([[0, 0, 2]]), 2)
    assert torch.equal(union, torch.zeros(1, 2, 2))
    union.sum().backward()
    expected = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    assert torch.equal(logits.grad, expected)
