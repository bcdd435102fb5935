"""Semantic inference against loops and numbers worked by hand."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from mmsemiseg.functional import pseudo_label, score_logits, semantic_scores


def queries(seed=0, n=2, count=5, classes=3, size=(2, 3)):
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(n, count, classes + 1, generator=generator)
    return scores, 3 * torch.randn(n, count, *size, generator=generator)


def reference(class_logits, mask_logits):
    n, count, columns = class_logits.shape
    height, width = mask_logits.shape[2:]
    found = torch.zeros(n, columns - 1, height, width)
    for i in range(n):
        for q in range(count):
            shares = [math.exp(v) for v in class_logits[i, q].tolist()]
            for c in range(columns - 1):
                for y in range(height):
                    for x in range(width):
                        inside = 1 / (1 + math.exp(-mask_logits[i, q, y, x].item()))
                        found[i, c, y, x] += shares[c] / sum(shares) * inside
    return found


def test_scores_are_those_of_loops():
    for seed in range(3):
        assert_close(semantic_scores(*queries(seed)), reference(*queries(seed)))


def test_two_queries_by_hand():
    """Classes (1/2, 1/4) with the mask 1/2, classes (1/3, 1/3) with the mask 3/4."""
    classes = torch.tensor([[[0.5, 0.25, 0.25], [1.0, 1.0, 1.0]]]).log()
    masks = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)
    scores = semantic_scores(classes, masks)
    assert_close(scores.flatten(), torch.tensor([0.5, 0.375]))
    pseudo = pseudo_label(score_logits(scores))  # 1/8 is claimed by none
    assert pseudo.label.item() == 0
    assert_close(pseudo.confidence.item(), 0.5 + 0.125 / 2, rtol=0, atol=1e-5)


@pytest.mark.parametrize('factor', [0.01, 0.3, 1.0, 10.0])
def test_softmax_of_the_logits(factor):
    scores = factor * semantic_scores(*queries())
    expected = torch.empty_like(scores)
    for n, y, x in itertools.product(*map(range, scores[:, 0].shape)):
        total = scores[n, :, y, x].sum().item()
        rest = max(0.0, 1 - total)
        for c in range(3):
            share = scores[n, c, y, x].item() + rest / 3
            expected[n, c, y, x] = share / (total + rest)
    assert_close(score_logits(scores).softmax(1), expected, rtol=0, atol=1e-5)
    assert torch.equal(score_logits(scores).argmax(1), scores.argmax(1))


def test_where_no_query_has_a_class_all_are_equally_likely_and_gradients_finite():
    classes = torch.tensor([[[0.0, 0.0, 200.0]]], requires_grad=True)
    masks = torch.full((1, 1, 1, 1), -200.0, requires_grad=True)
    logits = score_logits(semantic_scores(classes, masks))
    assert_close(logits.softmax(1).flatten(), torch.tensor([0.5, 0.5]))
    logits.log_softmax(1)[0, 0].sum().backward()
    assert torch.isfinite(classes.grad).all()
    assert torch.isfinite(masks.grad).all()


def test_gradients_are_those_of_autograd_in_float64():
    classes, masks = (x.double().requires_grad_() for x in queries(size=(1, 2)))
    label = torch.tensor([[[0, 2]], [[1, 255]]])

    def loss(classes, masks):
        probs = classes.softmax(-1)[..., :-1]
        scores = (probs[..., None, None] * masks.sigmoid()[:, :, None]).sum(1)
        total = scores.sum(1, keepdim=True)
        rest = (1 - total).clamp_min(0)
        log_probs = ((scores + rest / 3) / (total + rest) + 1e-6).log().log_softmax(1)
        return torch.nn.functional.nll_loss(log_probs, label, ignore_index=255)

    with torch.no_grad():
        total = semantic_scores(classes, masks).sum(1)
    assert (total < 1).any()
    assert (total > 1).any()
    expected = torch.autograd.grad(loss(classes, masks), (classes, masks))
    logits = score_logits(semantic_scores(classes, masks))
    found = torch.nn.functional.cross_entropy(logits, label, ignore_index=255)
    grads = torch.autograd.grad(found, (classes, masks))
    for one, other in zip(grads, expected, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert grads[1][1, :, 0, 1].eq(0).all()  # the ignored pixel


def test_in_fp32_under_autocast():
    expected = semantic_scores(*queries())
    with torch.autocast('cpu', torch.bfloat16):
        found = semantic_scores(*queries())
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
