"""The contrast with a bank: numbers by hand, gradients, and in other methods."""

import pytest
import torch
from cmb_reference import kept
from cmb_tiny import (
    NO_ATTENTION,
    OFFICIAL,
    bank_of,
    contrast,
    filled,
    head_pairs,
    make,
    merged,
    streams,
    tiny_student,
)
from helpers import build, frozen_copy, student_cfg, total
from helpers import streams as two_views
from torch.testing import assert_close

from mmsemiseg.functional import pseudo_label
from mmsemiseg.models.contrast import BankContrast, Candidates, Pass
from mmsemiseg.models.contrast.bank_candidates import labeled_cells


class Fixed(torch.nn.Module):
    """Vectors are what they are, weights are given."""

    def __init__(self, weights=None, key_weights=None):
        super().__init__()
        self.attention = dict(prediction=lambda rows, label: weights)
        self.given = key_weights

    def forward(self, rows, mask):
        return rows

    def key_weights(self, keys, filled):
        return self.given


def nothing(width):
    none = torch.zeros(0).long()
    return Candidates(torch.zeros(0, width), none, none)


# Vectors of the specification


def two_classes(**settings):
    """A contrast with a bank Z, and rows P with their labels."""
    sizes = contrast(weight=1.0, bank=dict(size=3), proj_channels=2)
    part = make(**merged(settings, sizes)).contrast
    bank = part.banks[0]
    bank.features[0, :2] = torch.tensor([[3.0, 0], [0, 2]])
    bank.features[1] = torch.tensor([[0.0, 1], [-2, 0], [1, 1]])
    bank.count[:] = torch.tensor([2, 3, 0])
    rows = torch.tensor([[1, 0], [0.6, 0.8], [2, 2], [0, 1], [-1, 1]])
    return part, (rows, torch.tensor([0, 0, 0, 1, 1]))


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ({}, 0.261813),
        (contrast(memory_attention=False), 0.284598),
        (OFFICIAL, 0.284598),
        (NO_ATTENTION, 0.281359),
    ],
)
def test_vectors_of_the_contrast(settings, expected, monkeypatch):
    part, cells = two_classes(**settings)
    weights = torch.tensor([0.9, 0.5, 0.4, 0.6, 0.2])
    keys = torch.tensor([[0.8, 0.4, 9], [0.3, 0.3, 0.9], [9, 9, 9]])
    monkeypatch.setattr(part.head_pairs[0], 'student', Fixed(weights, keys))
    loss = part.compared(0, cells, new=nothing(2))
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    twice = part.compared(0, cells, cells, new=nothing(2))
    assert twice.item() == pytest.approx(2 * expected, abs=1e-6)


def test_rows_of_this_step_are_compared_with(monkeypatch):
    part, cells = two_classes(**NO_ATTENTION)
    monkeypatch.setattr(part.head_pairs[0], 'student', Fixed())
    before = frozen_copy(part.banks[0])
    new = Candidates(torch.ones(1, 2), torch.tensor([0]), torch.tensor([0]))
    loss = part.compared(0, cells, new=new)
    assert loss != part.compared(0, cells, new=nothing(2))
    assert all(before[k].equal(v) for k, v in part.banks[0].state_dict().items())
    part.update_memory(**{f'{name}0': rows for name, rows in new._asdict().items()})
    assert loss == part.compared(0, cells, new=nothing(2))


def test_attention_does_not_move_the_features(at, monkeypatch):
    """The same gradients of features where its weights are constants."""
    model = filled(make(), at)
    head = head_pairs(model)[0].student
    rows = torch.randn(128, 10, requires_grad=True)
    label = torch.arange(128) % 3

    def grad():
        loss = model.contrast.compared(0, (rows, label), new=nothing(6))
        return torch.autograd.grad(loss, rows)[0]

    expected = grad()
    prediction, keys = head.attention['prediction'], head.key_weights
    weights = []
    monkeypatch.setattr(
        prediction,
        'forward',
        lambda *args: (
            weights.append(type(prediction).forward(prediction, *args))
            or weights[-1].detach()
        ),
    )
    monkeypatch.setattr(head, 'key_weights', lambda *args: keys(*args).detach())
    assert_close(grad(), expected)
    assert weights[0].requires_grad
    assert expected.ne(0).any()


def test_a_step_of_several_batches_enters_by_rank():
    """Also if it has more than the bank keeps: the best of each batch stay."""
    model = make(**contrast(bank=dict(size=4), proj_channels=1))
    rows = torch.tensor([[1.0], [2], [3], [11], [12], [13]])
    step = Candidates(rows, torch.ones(6).long(), torch.tensor([2, 1, 0] * 2))
    model.contrast.update_memory(
        **{f'{name}0': value for name, value in step._asdict().items()}
    )
    assert kept(bank_of(model))[1].flatten().tolist() == [2, 12, 3, 13]
    assert bank_of(model).count.tolist() == [0, 4, 0]
    assert [fill.tolist() for fill in model.bank_fill()] == [[0, 1, 0]]
    assert model.unready_classes() == [0, 2]


def test_cells_of_no_class():
    """The ignored label may be any."""
    model = make()
    features = torch.arange(2 * 3 * 4.0).view(2, 3, 2, 2)
    label = torch.tensor([[[0, 9, 1, 9], [9] * 4, [255, 9, 3, 9], [9] * 4]] * 2)
    rows, found = labeled_cells(model, features, label)
    assert found.tolist() == [0, 1, -1, -1] * 2
    assert rows[1].tolist() == features[0, :, 0, 1].tolist()
    model.student.decode_head.ignore_index = 0
    assert labeled_cells(model, features, label)[1].tolist() == [-1, 1, -1, -1] * 2


# In other methods, by config alone

TINY = dict(
    type='BankContrast',
    start=2,
    proj_hidden=7,
    proj_channels=6,
    bank=dict(size=8),
    candidates=dict(threshold=None, number=2, start=1),
)


@pytest.mark.parametrize('network', ['teacher', 'student'])
def test_in_a_mean_teacher(network, at):
    part = dict(TINY, candidates=dict(TINY['candidates'], network=network))
    model = make(student_cfg(), type='MeanTeacher', contrast=part)
    assert model.has_memory
    plain = make(student_cfg(), type='MeanTeacher')
    plain.load_state_dict(model.state_dict(), strict=False)
    for iteration in range(4):
        at(iteration)
        inputs = two_views(seed=iteration)
        torch.manual_seed(0)
        losses = model.loss(inputs)
        torch.manual_seed(0)
        without = plain.loss(inputs)
        assert set(losses) - set(without) == {'loss_contrast'}
        if iteration == 0:
            assert all(losses[key].equal(value) for key, value in without.items())
        assert (losses['loss_contrast'] > 0) == (iteration >= 2)
        model.zero_grad()
        total(losses).backward()
        for key, param in model.named_parameters():
            assert (param.grad is not None) == ('.teacher.' not in key)
        model.update_memory(**model.step_outputs['memory'])
        assert (bank_of(model).count > 0).any() == (iteration >= 1)
    before = frozen_copy(model)
    model.update_teacher(0.5)
    key = 'contrast.head_pairs.0.{}.projection.first.weight'
    old, student = (before[key.format(name)] for name in ('teacher', 'student'))
    assert_close(model.state_dict()[key.format('teacher')], (old + student) / 2)


def test_each_pair_has_heads_and_a_bank(at):
    """Two pairs whose step asks for the contrast of both."""
    settings = dict(num_pairs=2, predict_with='mean')
    model = make(student_cfg(), type='MeanTeacher', contrast=TINY, **settings)
    assert len(model.contrast.banks) == len(model.contrast.head_pairs) == 2
    at(3)
    inputs = streams()
    images = inputs['labeled'].inputs
    outputs = [model.adapter(pair.student, images) for pair in model.pairs]
    valid = torch.ones(2, 32, 32, dtype=torch.bool)
    pseudo = pseudo_label(torch.randn(2, 3, 32, 32), valid)
    passes = [Pass(output, output) for output in outputs]
    losses = model.contrast(model, inputs['labeled'], passes, [pseudo, pseudo])
    assert set(losses) == {'loss_contrast0', 'loss_contrast1'}
    assert losses['loss_contrast0'] != losses['loss_contrast1']
    model.update_memory(**model.step_outputs['memory'])
    first, second = (bank.features for bank in model.contrast.banks)
    assert first.ne(0).any() and second.ne(0).any() and not first.equal(second)


def test_in_cross_teaching():
    """In place of the peer contrast: each pair against a bank of its own."""
    part = dict(TINY, start=0, candidates=dict(TINY['candidates'], start=0))
    model = build(dict(type='CTT', student=student_cfg(), contrast=part)).train()
    losses = model.loss(streams())
    for index in (0, 1):
        assert losses[f'loss_contrast{index}'] > 0
        assert losses[f'loss_ct{index}'] > 0
    total(losses).backward()
    for pair in model.contrast.head_pairs:
        assert any(param.grad.ne(0).any() for param in pair.student.parameters())
    model.update_memory(**model.step_outputs['memory'])
    assert all((bank.count > 0).all() for bank in model.contrast.banks)


# Settings


def broken(**settings):
    return dict(type='CMB', student=tiny_student(), contrast=settings)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(weight=-0.1), 'contrast.weight must be a number >= 0, .* -0.1'),
        (dict(start=-1), 'contrast.start must be an integer >= 0, but got -1'),
        (dict(attention_input='key'), "attention_input must be in .* 'key'"),
        (dict(proj_hidden=0), 'proj_hidden must be an integer >= 1, but got 0'),
        (dict(proj_channels=0), 'proj_channels must be an integer >= 1, but got 0'),
        (dict(feature=None), 'model.contrast.feature must not be None'),
        (dict(feature='neck'), 'model.contrast.feature must be'),
        (
            dict(feature=['stage1', 'pre_cls']),
            'model.contrast: feature must be one',
        ),
        (dict(bank=dict(size=1)), r'model.contrast.bank.size must .* >= 2, but got 1'),
        (dict(bank=dict(size=0)), r'model.contrast.bank.size must .* >= 1, but got 0'),
        (dict(bank=dict(length=9)), "model.contrast.bank has no setting 'length'"),
        (dict(bank=dict(groups=9)), "model.contrast.bank has no setting 'groups'"),
        (dict(bank=9), r'model.contrast.bank must be dict\(type'),
        (
            dict(attention=False),
            "contrast.attention=False .* candidates.rank='random', .* 'highest'",
        ),
        (
            dict(candidates=dict(rank='top')),
            "model.contrast.candidates.rank must be in .* 'top'",
        ),
        (dict(candidates=dict(quality=1)), "contrast.candidates has no setting 'qual"),
        (dict(wieght=1), r"contrast has no setting 'wieght' \(did you mean 'weight'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(broken(**settings))


def test_features_of_the_teacher_need_one():
    model = build(dict(type='SupOnly', student=student_cfg()))
    with pytest.raises(ValueError, match="network must be 'student' .* 'teacher'"):
        BankContrast(model)
