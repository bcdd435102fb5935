import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmsemiseg.models.heads import BankContrastHead, ClassAttention

CLASSES, DIM = 3, 8


def published(attention):
    """The same as C modules of their own."""
    modules = []
    for c in range(attention.num_classes):
        first = nn.Linear(DIM, attention.first.shape[2])
        norm = nn.BatchNorm1d(attention.first.shape[2])
        last = nn.Linear(attention.first.shape[2], 1)
        with torch.no_grad():
            first.weight.copy_(attention.first[c].T)
            norm.weight.copy_(attention.norm_weight[c])
            norm.bias.copy_(attention.norm_bias[c])
            norm.running_mean.copy_(attention.running_mean[c] + first.bias)
            norm.running_var.copy_(attention.running_var[c])
            last.weight.copy_(attention.second[c][None])
            last.bias.copy_(attention.second_bias[c])
        layers = (first, norm, nn.LeakyReLU(0.2), last, nn.Sigmoid())
        modules.append(nn.Sequential(*layers).train(attention.training))
    return modules


def attention():
    torch.manual_seed(0)
    module = ClassAttention(CLASSES, DIM, 12)
    with torch.no_grad():
        module.norm_weight.uniform_(-1, 2)
        module.norm_bias.uniform_(-1, 1)
    return module


def case(seed, n=50):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, DIM, generator=generator) + 1
    group = torch.randint(CLASSES + 1, (n,), generator=generator)
    return x, torch.where(group == CLASSES, 255, group)


@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
def test_equals_a_module_for_each_class(training):
    ours = attention().train(training)
    for seed in range(3):  # the running statistics move
        reference = published(ours)
        rows, group = case(seed)
        got = ours(rows, group)
        for c, module in enumerate(reference):
            mine = group == c
            assert_close(got[mine], module(rows[mine])[:, 0])
            statistics = module[1].running_mean - module[0].bias
            assert_close(ours.running_mean[c], statistics, atol=1e-6, rtol=1e-5)
            assert_close(ours.running_var[c], module[1].running_var)
        assert (got[group == 255] == 0).all()


@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
def test_of_keys_equals_a_module_for_each_class(training):
    ours = attention().train(training)
    reference = published(ours)
    keys = torch.randn(CLASSES, 6, DIM)
    filled = torch.arange(6) < torch.tensor([6, 2, 4])[:, None]
    got = ours.of_keys(keys, filled)
    for c, module in enumerate(reference):
        assert_close(got[c][filled[c]], module(keys[c][filled[c]])[:, 0])
    assert (got[~filled] == 0).all()


def test_a_class_without_a_second_row_keeps_its_statistics():
    ours = attention()
    rows, group = case(0)
    group[group == 1] = 255
    group[0] = 1
    before = ours.running_mean.clone(), ours.running_var.clone()
    weights = ours(rows, group)
    assert weights.isfinite().all()
    for old, new in zip(before, (ours.running_mean, ours.running_var), strict=True):
        assert torch.equal(old[1], new[1])
        assert not torch.equal(old[0], new[0])


@pytest.mark.parametrize('absent', range(CLASSES))
def test_few_rows_without_those_of_a_class(absent):
    """There are as many tiles as classes then, but not one of each class."""
    ours = attention()
    reference = published(ours)
    rows, group = case(0, n=12)
    group = torch.arange(12) % CLASSES
    group[group == absent] = 255
    got = ours(rows, group)
    for c, module in enumerate(reference):
        if c != absent:
            assert_close(got[group == c], module(rows[group == c])[:, 0])


def test_every_parameter_gets_a_gradient_of_its_class_alone():
    ours = attention()
    rows, group = case(0)
    group[group == 2] = 255
    ours(rows.requires_grad_(), group).sum().backward()
    assert rows.grad is None
    for name, param in ours.named_parameters():
        assert (param.grad[:2] != 0).any(), name
        assert (param.grad[2] == 0).all(), name


def test_no_rows_at_all():
    ours = attention()
    weights = ours(torch.zeros(0, DIM), torch.zeros(0, dtype=torch.int64))
    assert weights.shape == (0,)


def test_starts_as_linear_layers_do():
    module = ClassAttention(200, 16, 9)
    for values, fan_in in ((module.first, 16), (module.second, 9)):
        bound = fan_in**-0.5
        assert values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_head_has_the_selectors_that_are_asked_for():
    head = BankContrastHead(5, CLASSES, 6, DIM, selectors=('prediction',))
    assert list(head.attention) == ['prediction']
    assert list(BankContrastHead(5, CLASSES, 6, DIM).attention) == [
        'projection',
        'prediction',
    ]


def test_unit_keys_do_not_see_the_length():
    torch.manual_seed(0)
    keys, filled = torch.randn(CLASSES, 5, DIM), torch.ones(CLASSES, 5) > 0
    factors = torch.tensor([1, 2, 3, 4, 5.0])[:, None]
    for unit_keys in (True, False):
        head = BankContrastHead(5, CLASSES, 6, DIM, unit_keys=unit_keys)
        first = head.key_weights(keys, filled)
        equal = torch.allclose(first, head.key_weights(factors * keys, filled))
        assert equal == unit_keys


@pytest.mark.parametrize('name', ['num_classes', 'in_channels', 'hidden_channels'])
def test_settings_are_checked(name):
    settings = dict(num_classes=2, in_channels=2, hidden_channels=2)
    with pytest.raises(ValueError, match=f'{name} must be at least 1, but got 0'):
        ClassAttention(**dict(settings, **{name: 0}))
