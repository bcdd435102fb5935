import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from no_sync import NoHostSync
from torch import nn
from torch.testing import assert_close

from mmsemiseg.functional import (
    PseudoLabel,
    balance_weights,
    label_weights,
    pseudo_label_loss,
)
from mmsemiseg.models.losses import BalancedCrossEntropy, OHEMLoss, balanced

NORMS = ('weights', 'valid', 'all')
WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 0.0])

# the vectors that go with CMB
PROBS = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3], [0.25, 0.5, 0.25]]
LOGITS = torch.tensor(PROBS).log().T.reshape(1, 3, 1, 4)
LABEL = torch.tensor([[[0, 2, 255, 1]]])
ALPHA = torch.tensor([1, 2, 0.5])
BETA = torch.tensor([0.7, 0.6, 0.5, 0.5]).view(1, 1, 4) ** 6


def batch(ignored=0.3, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 4, 5, 6, generator=generator)
    label = torch.randint(4, (2, 5, 6), generator=generator)
    label[torch.rand(label.shape, generator=generator) < ignored] = 255
    return logits.to(dtype), label


def slow(logits, label, norm, class_weight=None, weight=None, ignore=255):
    """Pixel by pixel, in plain Python."""
    n, c, h, w = logits.shape
    total, sizes = 0.0, {'weights': 0.0, 'valid': 0, 'all': n * h * w}
    for i in range(n):
        for y in range(h):
            for x in range(w):
                target = int(label[i, y, x])
                if target == ignore:
                    continue
                exps = [math.exp(logits[i, k, y, x].item()) for k in range(c)]
                factor = 1.0 if class_weight is None else class_weight[target].item()
                factor *= 1.0 if weight is None else weight[i, y, x].item()
                total -= factor * math.log(exps[target] / sum(exps))
                sizes['weights'] += factor
                sizes['valid'] += 1
    return total / sizes[norm] if sizes[norm] else 0.0


def value(loss, weights, *args, **kwargs):
    with balanced(loss, weights):
        return loss(*args, **kwargs)


@pytest.mark.parametrize('ignored', [0, 0.3, 0.97])
@pytest.mark.parametrize('weights', [None, WEIGHTS])
@pytest.mark.parametrize('norm', NORMS)
def test_slow_reference(norm, weights, ignored):
    for seed in range(3):
        logits, label = batch(ignored, seed)
        found = value(BalancedCrossEntropy(norm), weights, logits, label)
        expected = slow(logits, label, norm, weights)
        assert_close(found.item(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('norm', NORMS)
def test_pixel_weights_and_another_ignore_index(norm):
    logits, label = batch()
    label[label == 255] = 0  # 0 is what the head ignores
    weight = torch.rand(label.shape, generator=torch.Generator().manual_seed(0))
    loss = BalancedCrossEntropy(norm, loss_weight=0.3)
    found = value(loss, WEIGHTS, logits, label, weight=weight, ignore_index=0)
    expected = 0.3 * slow(logits, label, norm, WEIGHTS, weight, 0)
    assert_close(found.item(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ('norm', 'weight', 'expected'),
    [
        ('all', None, 0.499596),
        ('weights', None, 0.570966),
        ('valid', None, 0.666127),
        ('all', BETA, 0.018885),
    ],
)
def test_vectors(norm, weight, expected):
    found = value(BalancedCrossEntropy(norm), ALPHA, LOGITS, LABEL, weight=weight)
    assert_close(found.item(), expected, rtol=0, atol=1e-6)


def test_weights_of_the_vectors_from_frequencies():
    alpha = balance_weights(torch.tensor([100, 25, 400]))
    assert alpha.equal(ALPHA)


def test_pseudo_label_loss_with_label_weights_is_the_same():
    """What the unlabeled images use gives the numbers of the labeled ones."""
    confidence = BETA ** (1 / 6)
    pseudo = PseudoLabel(LABEL, confidence, torch.ones_like(LABEL).bool())
    weights = BETA * label_weights(ALPHA, LABEL)
    found = pseudo_label_loss(LOGITS, pseudo, weights, norm='all')
    expected = value(BalancedCrossEntropy('all'), ALPHA, LOGITS, LABEL, weight=BETA)
    assert_close(found, expected)


@pytest.mark.parametrize('weights', [None, WEIGHTS])
def test_norm_weights_is_the_weighted_mean_of_torch(weights):
    logits, label = batch()
    found = value(BalancedCrossEntropy(), weights, logits, label)
    assert_close(found, F.cross_entropy(logits, label, weights, ignore_index=255))


@pytest.mark.parametrize('norm', NORMS)
def test_gradcheck(norm):
    logits, label = batch(dtype=torch.float64)
    loss = BalancedCrossEntropy(norm)
    logits = logits[:, :, :2, :3].clone().requires_grad_()
    label = label[:, :2, :3]
    assert label.eq(255).any()
    with balanced(loss, WEIGHTS):
        assert torch.autograd.gradcheck(lambda x: loss(x, label), logits)


@pytest.mark.parametrize('norm', NORMS)
def test_only_labeled_pixels_get_a_gradient_and_weights_none(norm):
    logits, label = batch()
    logits.requires_grad_()
    weights = WEIGHTS.clone().requires_grad_()
    weight = torch.ones(label.shape, requires_grad=True)
    loss = BalancedCrossEntropy(norm)
    value(loss, weights, logits, label, weight=weight).backward()
    without = (label == 255) | (label == 3)  # class 3 weighs 0
    assert logits.grad.movedim(1, -1)[without].eq(0).all()
    assert logits.grad.movedim(1, -1)[~without].ne(0).all()
    assert weights.grad is None
    assert weight.grad is None


@pytest.mark.parametrize('weights', [None, WEIGHTS, torch.zeros(4)])
@pytest.mark.parametrize('norm', NORMS)
def test_nothing_to_learn_is_zero_and_on_the_graph(norm, weights):
    logits, label = batch()
    if weights is None or weights.any():
        label = torch.full_like(label, 255)
    logits.requires_grad_()
    loss = value(BalancedCrossEntropy(norm), weights, logits, label)
    assert loss == 0
    loss.backward()
    assert logits.grad.eq(0).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(dtype):
    logits, label = batch(dtype=dtype)
    expected = value(BalancedCrossEntropy(), WEIGHTS, logits.float(), label)
    for autocast in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            found = value(BalancedCrossEntropy(), WEIGHTS, logits, label)
        assert found.dtype == torch.float32
        assert found.equal(expected)


def build_head(*losses):
    register_all_modules(init_default_scope=True)
    return MODELS.build(
        ConfigDict(
            type='FCNHead',
            in_channels=4,
            channels=4,
            num_convs=0,
            concat_input=False,
            num_classes=4,
            loss_decode=list(losses),
        )
    )


def samples_of(label):
    return [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in label]


def test_as_loss_of_a_head():
    head = build_head(
        dict(type='BalancedCrossEntropy'),
        dict(type='CrossEntropyLoss', loss_name='loss_plain', avg_non_ignore=True),
    )
    logits, label = batch()
    with balanced(head, WEIGHTS):
        losses = head.loss_by_feat(logits, samples_of(label))
    expected = F.cross_entropy(logits, label, WEIGHTS, ignore_index=255)
    assert_close(losses['loss_ce'], expected)
    # without weights, and on another loss, nothing changes
    expected = F.cross_entropy(logits, label, ignore_index=255)
    assert_close(losses['loss_plain'], expected)
    losses = head.loss_by_feat(logits, samples_of(label))
    assert_close(losses['loss_ce'], expected)


def test_norm_all_without_weights_is_the_default_of_mmseg():
    register_all_modules(init_default_scope=True)
    logits, label = batch()
    theirs = MODELS.build(dict(type='CrossEntropyLoss'))
    found = BalancedCrossEntropy('all')(logits, label, ignore_index=255)
    assert_close(found, theirs(logits, label, ignore_index=255))


def test_every_loss_of_the_module_is_balanced_for_the_time_of_the_block():
    one, other = BalancedCrossEntropy(), BalancedCrossEntropy('all')
    model = nn.ModuleList([nn.ModuleList([one, OHEMLoss()]), other])
    with balanced(model, WEIGHTS):
        assert one.class_weight is other.class_weight is WEIGHTS
        with balanced(model[0], None):
            assert one.class_weight is None
            assert other.class_weight is WEIGHTS
        assert one.class_weight is WEIGHTS
    assert one.class_weight is other.class_weight is None


def test_an_error_leaves_no_weights_behind():
    loss = BalancedCrossEntropy()
    with pytest.raises(KeyError), balanced(loss, WEIGHTS):
        raise KeyError
    assert loss.class_weight is None


def test_without_such_a_loss():
    head = build_head(dict(type='CrossEntropyLoss'))
    rule = "loss_decode=dict.type='BalancedCrossEntropy'.*FCNHead has none"
    with pytest.raises(ValueError, match=rule), balanced(head, WEIGHTS):
        pass


def test_weights_are_in_no_checkpoint_and_no_parameter():
    loss = BalancedCrossEntropy()
    weights = nn.Parameter(WEIGHTS.clone())
    with balanced(loss, weights.detach()):
        assert loss.state_dict() == {}
        assert list(loss.parameters()) == []
        assert copy.deepcopy(loss).class_weight.equal(WEIGHTS)


def test_no_host_sync():
    logits, label = batch()
    logits.requires_grad_()
    for norm in NORMS:
        loss = BalancedCrossEntropy(norm)
        with NoHostSync(), balanced(loss, WEIGHTS):
            loss(logits, label).backward()


def test_misspelt_keyword_is_refused():
    with pytest.raises(TypeError, match='wieght'):
        BalancedCrossEntropy()(*batch(), wieght=None)
    with pytest.raises(TypeError, match='avg_non_ignore'):
        BalancedCrossEntropy(avg_non_ignore=True)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'norm': 'mean'}, r"norm must be one of \('weights', .* but got 'mean'"),
        ({'loss_weight': -1}, 'loss_weight must be >= 0, but got -1'),
        ({'loss_weight': math.nan}, 'loss_weight must be >= 0, but got nan'),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        BalancedCrossEntropy(**settings)


@pytest.mark.parametrize('shape', [(3,), (4, 1), ()])
def test_class_weight_of_another_number_of_classes(shape):
    rule = r'class_weight must be \(4,\), one for each class'
    with pytest.raises(ValueError, match=rule):
        value(BalancedCrossEntropy(), torch.ones(shape), *batch())
