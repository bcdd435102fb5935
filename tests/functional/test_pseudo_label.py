import math

import pytest
import torch
from torch.testing import assert_close

from mmsemiseg.functional import (
    PseudoLabel,
    keep_mask,
    most_confident,
    pixel_weights,
    pseudo_label,
    pseudo_label_loss,
    pseudo_label_stats,
)


def random_case(seed, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=g)

    n, c, h, w = (int(torch.randint(1, 5, (1,), generator=g)) for _ in range(4))
    c += 1
    logits = (6 * draw(n, c, h, w) - 3).to(dtype)
    student = 6 * draw(n, c, h, w) - 3
    valid = draw(n, h, w) < 0.8
    return logits, student, valid


def slow_label(logits, valid):
    """Label, confidence and probabilities of each pixel, by plain Python."""
    n, c, h, w = logits.shape
    label, confidence = {}, {}
    for i in range(n):
        for y in range(h):
            for x in range(w):
                exps = [math.exp(logits[i, k, y, x].item()) for k in range(c)]
                probs = [e / sum(exps) for e in exps]
                best = max(range(c), key=lambda k: probs[k])
                label[i, y, x] = best if valid[i, y, x] else 255
                confidence[i, y, x] = probs[best]
    return label, confidence


@pytest.mark.parametrize('seed', range(8))
def test_label_and_confidence_equal_the_slow_reference(seed):
    logits, _, valid = random_case(seed)
    pseudo = pseudo_label(logits, valid)
    label, confidence = slow_label(logits, valid)
    assert pseudo.label.dtype == torch.int64
    assert pseudo.probs is None
    for place, value in label.items():
        assert pseudo.label[place] == value
        assert pseudo.confidence[place].item() == pytest.approx(
            confidence[place], rel=1e-5
        )


def test_hand_numbers():
    logits = torch.tensor([math.log(3.0), 0.0]).view(1, 2, 1, 1)
    pseudo = pseudo_label(logits, temperature=0.5, keep_probs=True)
    assert pseudo.label.item() == 0
    assert_close(pseudo.confidence.item(), 0.75)
    # sharpened: 3^2 to 1^2
    assert_close(pseudo.probs.flatten(), torch.tensor([0.9, 0.1]))
    same = pseudo_label(logits, keep_probs=True)
    assert_close(same.probs.flatten(), torch.tensor([0.75, 0.25]))
    assert pseudo.valid.all()


def test_half_precision_is_read_in_fp32():
    logits = torch.tensor([12.0, 0.0, 0.0]).view(1, 3, 1, 1)
    pseudo = pseudo_label(logits.half(), keep_probs=True)
    assert pseudo.confidence.dtype == pseudo.probs.dtype == torch.float32
    assert pseudo.confidence.item() < 1  # in fp16 it is 1
    assert pseudo_label(logits.bfloat16()).confidence.dtype == torch.float32


def test_labels_carry_no_gradient():
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    pseudo = pseudo_label(logits, keep_probs=True)
    assert not pseudo.confidence.requires_grad
    assert not pseudo.probs.requires_grad


def case(confidence, label, valid):
    return PseudoLabel(
        torch.tensor([[label]]),
        torch.tensor([[confidence]]),
        torch.tensor([[valid]]),
    )


def test_threshold_is_kept_itself_and_padding_is_not():
    pseudo = case([0.5, 0.75, 1.0, 1.0], [0, 1, 1, 255], [True, True, True, False])
    assert keep_mask(pseudo, 0.75).tolist() == [[[False, True, True, False]]]
    assert keep_mask(pseudo, 1).tolist() == [[[False, False, True, False]]]
    assert keep_mask(pseudo, 0).tolist() == [[[True, True, True, False]]]


def test_weights_of_threshold_power_and_both():
    pseudo = case([0.5, 0.75, 1.0, 1.0], [0, 1, 1, 255], [True, True, True, False])
    assert pixel_weights(pseudo).tolist() == [[[1, 1, 1, 0]]]
    assert pixel_weights(pseudo, 0.75).tolist() == [[[0, 1, 1, 0]]]
    assert pixel_weights(pseudo, power=2).tolist() == [[[0.25, 0.5625, 1, 0]]]
    assert pixel_weights(pseudo, 0.75, 2).tolist() == [[[0, 0.5625, 1, 0]]]
    assert pixel_weights(pseudo, power=0).tolist() == [[[1, 1, 1, 0]]]


def slow_stats(pseudo, weights, num_classes):
    total, count, confidence = ([0] * num_classes for _ in range(3))
    for i, y, x in torch.ones_like(pseudo.valid).nonzero().tolist():
        if pseudo.valid[i, y, x] and pseudo.label[i, y, x] != 255:
            k = pseudo.label[i, y, x].item()
            total[k] += 1
            count[k] += int(weights[i, y, x] > 0)
            confidence[k] += pseudo.confidence[i, y, x].item()
    return total, count, confidence


@pytest.mark.parametrize('seed', range(8))
def test_stats_equal_the_slow_reference(seed):
    logits, _, valid = random_case(seed)
    pseudo = pseudo_label(logits, valid)
    weights = pixel_weights(pseudo, 0.6)
    classes = logits.shape[1]
    stats = pseudo_label_stats(pseudo, weights, classes)
    total, count, confidence = slow_stats(pseudo, weights, classes)
    assert stats.total.tolist() == total
    assert stats.count.tolist() == count
    assert stats.confidence.tolist() == pytest.approx(confidence)


def test_stats_of_an_invalid_batch_are_zero():
    logits = torch.randn(2, 3, 4, 4)
    pseudo = pseudo_label(logits, torch.zeros(2, 4, 4, dtype=torch.bool))
    stats = pseudo_label_stats(pseudo, torch.ones(2, 4, 4), 3)
    assert [s.tolist() for s in stats] == [[0, 0, 0]] * 3


def slow_loss(student, pseudo, weights, norm):
    n, _, h, w = student.shape
    loss, valid_pixels, weight_sum = 0.0, 0, 0.0
    for i in range(n):
        for y in range(h):
            for x in range(w):
                if not pseudo.valid[i, y, x]:
                    continue
                row = student[i, :, y, x].tolist()
                log_sum = math.log(sum(math.exp(v) for v in row))
                if pseudo.probs is None:
                    cross = log_sum - row[pseudo.label[i, y, x]]
                else:
                    probs = pseudo.probs[i, :, y, x].tolist()
                    cross = sum(
                        p * (log_sum - v) for p, v in zip(probs, row, strict=True)
                    )
                loss += weights[i, y, x].item() * cross
                valid_pixels += 1
                weight_sum += weights[i, y, x].item()
    size = {'valid': valid_pixels, 'weights': weight_sum, 'all': n * h * w}[norm]
    return loss / size if size else 0.0


@pytest.mark.parametrize('norm', ['valid', 'weights', 'all'])
@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('seed', range(5))
def test_loss_equals_the_slow_reference(seed, soft, norm):
    logits, student, valid = random_case(seed)
    pseudo = pseudo_label(logits, valid, temperature=0.7, keep_probs=soft)
    weights = pixel_weights(pseudo, 0.5, power=3)
    loss = pseudo_label_loss(student, pseudo, weights, norm)
    expected = slow_loss(student, pseudo, weights, norm)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_loss_by_hand():
    # two classes, equal student logits: each cross entropy is log 2
    pseudo = case([0.9, 0.6, 1.0], [0, 1, 255], [True, True, False])
    weights = pixel_weights(pseudo, power=1)
    logits = torch.zeros(1, 2, 1, 3)
    log2 = math.log(2)
    for norm, size in (('valid', 2), ('weights', 1.5), ('all', 3)):
        loss = pseudo_label_loss(logits, pseudo, weights, norm)
        assert_close(loss.item(), 1.5 * log2 / size)


@pytest.mark.parametrize('soft', [False, True])
def test_no_gradient_at_invalid_and_zero_weight_pixels(soft):
    logits, student, valid = random_case(3)
    pseudo = pseudo_label(logits, valid, keep_probs=soft)
    weights = pixel_weights(pseudo, 0.6)
    active = (weights > 0).unsqueeze(1).expand_as(student)
    assert active.any()
    assert not active.all()
    student.requires_grad_()
    pseudo_label_loss(student, pseudo, torch.ones_like(weights) * weights).backward()
    assert student.grad[~active].eq(0).all()
    assert student.grad[active].ne(0).all()


def test_a_weight_on_an_invalid_pixel_changes_nothing():
    logits, student, valid = random_case(3)
    pseudo = pseudo_label(logits, valid)
    assert not valid.all()
    for norm in ('valid', 'weights', 'all'):
        loss = pseudo_label_loss(student, pseudo, torch.ones(valid.shape), norm)
        assert_close(loss, pseudo_label_loss(student, pseudo, valid.float(), norm))


@pytest.mark.parametrize('norm', ['valid', 'weights', 'all'])
@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('empty', ['invalid', 'weightless', 'no image'])
def test_every_empty_set_gives_a_zero_with_a_gradient(empty, soft, norm):
    n = 0 if empty == 'no image' else 2
    student = torch.randn(n, 3, 2, 2, requires_grad=True)
    valid = torch.full((n, 2, 2), empty != 'invalid')
    pseudo = pseudo_label(torch.randn(n, 3, 2, 2), valid, keep_probs=soft)
    weights = torch.full((n, 2, 2), float(empty == 'invalid'))
    loss = pseudo_label_loss(student, pseudo, weights, norm)
    assert loss.item() == 0
    loss.backward()
    assert student.grad.eq(0).all()


@pytest.mark.parametrize('soft', [False, True])
def test_infinite_logits_of_an_unused_pixel_leave_the_loss_finite(soft):
    pseudo = pseudo_label(
        torch.zeros(1, 2, 1, 2), torch.tensor([[[True, False]]]), keep_probs=soft
    )
    student = torch.zeros(1, 2, 1, 2)
    student[..., 1] = float('inf')
    loss = pseudo_label_loss(student, pseudo, pixel_weights(pseudo))
    assert_close(loss.item(), math.log(2))


def test_soft_labels_that_are_one_hot_equal_hard_labels():
    logits, student, valid = random_case(1)
    hard = pseudo_label(logits, valid)
    one_hot = torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1)
    soft = hard._replace(probs=one_hot)
    weights = pixel_weights(hard)
    assert_close(
        pseudo_label_loss(student, hard, weights),
        pseudo_label_loss(student, soft, weights),
    )


def test_loss_is_fp32_under_autocast():
    student = torch.randn(1, 2, 3, 3, dtype=torch.bfloat16)
    pseudo = pseudo_label(torch.randn(1, 2, 3, 3), keep_probs=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = pseudo_label_loss(student, pseudo, pixel_weights(pseudo))
        assert loss.dtype == torch.float32
        assert_close(
            loss, pseudo_label_loss(student.float(), pseudo, pixel_weights(pseudo))
        )


def test_bad_settings_are_named():
    logits = torch.zeros(1, 2, 2, 2)
    pseudo = pseudo_label(logits)
    weights = pixel_weights(pseudo)
    with pytest.raises(ValueError, match=r'at least 2 logit channels.*out_channels=2'):
        pseudo_label(torch.zeros(1, 1, 2, 2))
    with pytest.raises(ValueError, match='at least 2 logit channels'):
        pseudo_label_loss(torch.zeros(1, 1, 2, 2), pseudo, weights)
    with pytest.raises(ValueError, match=r'\(N, C, H, W\), but got \(2, 2\)'):
        pseudo_label(torch.zeros(2, 2))
    with pytest.raises(ValueError, match='temperature must be above 0, but got 0'):
        pseudo_label(logits, temperature=0)
    with pytest.raises(ValueError, match=r'valid must .* \(1, 2, 2\), .* \(2, 2\)'):
        pseudo_label(logits, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r'threshold must .* but got 1.5'):
        pixel_weights(pseudo, 1.5)
    with pytest.raises(ValueError, match='power must be at least 0, but got -1'):
        pixel_weights(pseudo, power=-1)
    with pytest.raises(ValueError, match=r"norm must .* but got 'mean'"):
        pseudo_label_loss(logits, pseudo, weights, 'mean')
    with pytest.raises(ValueError, match='same N, H, W'):
        pseudo_label_loss(torch.zeros(1, 2, 4, 4), pseudo, weights)


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('class_share', [0.1, 0.5, 0.8, 1.0])
def test_most_confident_of_each_class(seed, class_share):
    logits, _, valid = random_case(seed)
    pseudo = pseudo_label(logits, valid)
    found = most_confident(pseudo, class_share)
    expected = torch.zeros_like(valid)
    for c in range(logits.shape[1]):
        places = ((pseudo.label == c) & valid).nonzero().tolist()
        if not places:
            continue
        places.sort(key=lambda i: -pseudo.confidence[tuple(i)].item())
        for place in places[: max(1, round(class_share * len(places)))]:
            expected[tuple(place)] = True
    assert found.equal(expected)
    weights = pixel_weights(pseudo, class_share=class_share)
    assert weights.equal(expected.float())
    both = pixel_weights(pseudo, 0.6, 2.0, class_share)
    kept = expected & (pseudo.confidence >= 0.6)
    assert_close(both, torch.where(kept, pseudo.confidence**2, 0.0))


def test_most_confident_keeps_a_class_that_is_never_confident():
    """Road at 0.9 and 0.8 and pavement at 0.5 and 0.4; a threshold has road alone."""
    label = torch.tensor([[[0, 0, 1, 1]]])
    confidence = torch.tensor([[[0.8, 0.9, 0.5, 0.4]]])
    pseudo = PseudoLabel(label, confidence, torch.ones_like(label, dtype=torch.bool))
    assert keep_mask(pseudo, 0.7).tolist() == [[[True, True, False, False]]]
    assert most_confident(pseudo, 0.5).tolist() == [[[False, True, True, False]]]


def test_most_confident_without_pixels_and_bad_shares():
    label = torch.full((1, 2, 2), 255)
    pseudo = PseudoLabel(label, torch.zeros(1, 2, 2), torch.ones_like(label).bool())
    assert not most_confident(pseudo, 0.5).any()
    for share in (0, 1.5, -1, float('nan')):
        with pytest.raises(ValueError, match=r'class_share must be in \(0, 1\]'):
            most_confident(pseudo, share)
