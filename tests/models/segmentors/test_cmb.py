"""CMB: against its equations written with loops, its memory, gradients, settings."""

import copy

import numpy as np
import pytest
import torch
from cmb_reference import Reference, kept, record
from cmb_tiny import (
    BALANCE,
    SETTINGS,
    SIZE,
    bank_of,
    candidates,
    chosen,
    contrast,
    entered,
    filled,
    geometry,
    head_pairs,
    make,
    merged,
    streams,
    tiny_student,
)
from helpers import batch, build, frozen_copy, student_cfg, total
from mmengine.config import ConfigDict
from no_sync import NoHostSync
from torch.testing import assert_close
from zoo import ZOO

from mmsemiseg.functional import PseudoLabel, compact
from mmsemiseg.models.contrast import Pass
from mmsemiseg.models.losses import balanced


def gradients(loss, tensors):
    found = torch.autograd.grad(loss, tensors, allow_unused=True, retain_graph=True)
    return [0 * p if g is None else g for p, g in zip(tensors, found, strict=True)]


# Against loops

HEADS = 'contrast.head_pairs.0.'
STREAMS = {
    'whole': {},
    'padded': dict(padded=True),
    'source': dict(source=True),
}


def compared(name, at, iterations, classes=3, **of_streams):
    """(iteration, losses, reference's losses) of the steps, after all checks."""
    settings = chosen(**SETTINGS[name])
    model = make(**settings, classes=classes, predicted=3)
    reference = Reference(model, settings)
    torch.manual_seed(3)
    for iteration in iterations:
        record(model, geometry(classmix=0.5), geometry(classmix=1))
        at(iteration)
        inputs = streams(iteration, **of_streams)
        reference.before(model)
        losses = model.loss(inputs)
        wanted = reference.losses(model, inputs, iteration)
        assert {k for k in losses if 'loss' in k} == set(wanted)
        for key, value in wanted.items():
            assert_close(losses[key], value.to(losses[key]), rtol=1e-4, atol=1e-6)
        compare_gradients(model, reference, losses, wanted)
        compare_statistics(model, reference)
        if model.has_memory:
            model.update_memory(**model.step_outputs['memory'])
        if model.contrast is not None:
            bank = kept(bank_of(model))
            for rows, expected in zip(bank, reference.bank, strict=True):
                expected = torch.stack([*expected]) if expected else rows[:0]
                assert_close(rows, expected, rtol=1e-4, atol=1e-5)
        model.update_teacher(0.8)
        yield iteration, losses, reference


def compare_gradients(model, reference, losses, wanted):
    """Of the contrast, and of all losses; what is frozen has none."""
    params = {k: p for k, p in model.named_parameters() if p.requires_grad}
    for keys in ({'loss_contrast'} & set(wanted), set(wanted)):
        mine, theirs = (sum(values[key] for key in keys) for values in (losses, wanted))
        if not keys:
            continue
        found = dict(zip(params, gradients(mine, [*params.values()]), strict=True))
        if not theirs.requires_grad:
            assert all((grad == 0).all() for grad in found.values())
            continue
        expected = expected_gradients(model, reference, theirs)
        scale = max(grad.abs().max().item() for grad in expected.values())
        assert scale > 0
        for name, grad in expected.items():
            got = found.get(name, torch.zeros_like(grad))
            assert_close(got, grad, rtol=1e-3, atol=1e-4 * scale, msg=name)


def expected_gradients(model, reference, loss):
    names, tensors = zip(*reference.nets['student'].named_parameters(), strict=True)
    found = dict(zip(names, gradients(loss, tensors), strict=True))
    found = {f'pairs.0.student.{name}': grad for name, grad in found.items()}
    if model.contrast is not None:
        named = reference.heads['student'].named(lambda x: gradient(loss, x))
        named = {k: v for k, v in named.items() if 'running' not in k}
        found.update({f'{HEADS}student.{k}': v for k, v in named.items()})
    return found


def gradient(loss, tensor):
    if not tensor.requires_grad:  # statistics
        return tensor
    return gradients(loss, [tensor])[0]


def compare_statistics(model, reference):
    """Running ones of both networks and all heads."""
    parts = {f'pairs.0.{kind}.': net for kind, net in reference.nets.items()}
    expected = {
        prefix + name: value
        for prefix, net in parts.items()
        for name, value in net.named_buffers()
    }
    for kind, heads in reference.heads.items():
        named = heads.named(torch.Tensor.detach)
        named = {k: v for k, v in named.items() if 'running' in k}
        expected.update({f'{HEADS}{kind}.{k}': v for k, v in named.items()})
    state = model.state_dict()
    for key, value in expected.items():
        assert_close(state[key], value, rtol=1e-4, atol=1e-5, msg=key)


FEW = ['paper', 'official', 'base', 'random', 'per image', 'from the student']
CASES = [(name, 'masked') for name in SETTINGS] + [(name, 'compact') for name in FEW]


@pytest.mark.parametrize(('name', 'device'), CASES, indirect=['device'])
def test_against_loops(name, at, device):
    """Of steps with pseudo labels alone, with a bank, with all, with ClassMix."""
    for iteration, losses, reference in compared(name, at, range(4)):
        assert losses.get('loss_entropy', 1) > 0
        if 'loss_contrast' in losses:
            assert (losses['loss_contrast'] > 0) == (iteration >= 2)
            filled = [len(rows) for rows in reference.bank]
            assert sum(filled) >= 3 * (iteration > 0)


@pytest.mark.parametrize('kind', ['padded', 'source'])
@pytest.mark.parametrize('name', ['paper', 'official, balanced'])
def test_against_loops_on_other_streams(name, kind, at, device):
    for iteration, losses, _ in compared(name, at, range(1, 5), **STREAMS[kind]):
        assert (losses['loss_contrast'] > 0) == (iteration >= 2)


@pytest.mark.parametrize('name', ['balanced', 'official, balanced'])
def test_against_loops_with_classes_that_never_occur(name, at):
    for iteration, _, reference in compared(name, at, range(4, 7), classes=5):
        if iteration == 6:
            counts = np.sum(reference.label_window + reference.pseudo_window, 0)
            assert (counts == 0).tolist() == [False] * 3 + [True] * 2


def test_the_settings_matter(at):
    """Or the comparisons above would show less than they seem to."""
    names = {}
    for name, settings in SETTINGS.items():
        if 'augment' in name or 'stage' in name:
            continue
        torch.manual_seed(3)
        model = make(**settings, classes=5, predicted=3)
        values = ()
        filled(model, at, 2, padded=True)
        for iteration in (2, 3):
            at(iteration)
            losses = model.loss(streams(iteration, padded=True))
            values += tuple(v.item() for k, v in sorted(losses.items()) if 'loss' in k)
            if model.has_memory:
                model.update_memory(**model.step_outputs['memory'])
        mean = model.student.decode_head.convs[0].bn.running_mean
        names.setdefault((*values, *mean.tolist()), []).append(name)
    assert [same for same in names.values() if len(same) > 1] == []


# Vectors of the specification


def pixels():
    """Logits (1, 3, 1, 4), labels and confidences."""
    probs = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3], [0.25, 0.5, 0.25]]
    logits = torch.tensor(probs).log().T[None, :, None]
    label = torch.tensor([[[0, 2, 255, 1]]])
    confidence = torch.tensor([[[0.7, 0.6, 0.5, 0.5]]])
    return logits, PseudoLabel(label, confidence, label != 255)


def test_vectors_of_the_pseudo_labels(at):
    at(9)
    alpha = torch.tensor([1, 2, 0.5])
    for norm, expected in (('classes', 0.831196), ('nats', 0.831196 * 1.0986123)):
        model = make(entropy=dict(norm=norm, weight=1.0), contrast=None)
        losses = model.unlabeled_losses(*pixels(), alpha)
        assert losses['loss_pseudo'].item() == pytest.approx(0.018885, abs=1e-6)
        assert losses['loss_entropy'].item() == pytest.approx(expected, abs=1e-6)
    logits, pseudo = pixels()
    pseudo = pseudo._replace(valid=torch.ones_like(pseudo.valid))
    loss = model.unlabeled_losses(logits, pseudo, alpha)['loss_entropy']
    assert loss.item() == pytest.approx(0.942285, abs=1e-6)


def test_vectors_of_the_labels(at):
    logits, pseudo = pixels()
    model = make(contrast=None, class_balance=BALANCE)
    head = model.student.decode_head
    with balanced(model.student, torch.tensor([1, 2, 0.5])):
        loss = head.loss_decode(logits, pseudo.label, ignore_index=255)
    assert loss.item() == pytest.approx(0.570966, abs=1e-6)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(kind='exp', length=2000), [0.006738, 0.286505, 0.999999, 1]),
        (dict(kind='step', length=2000), [0, 0, 0, 1]),
        (None, [1, 1, 1, 1]),
    ],
)
def test_ramp(settings, expected):
    loss = make(pseudo_loss=dict(ramp_up=settings)).pseudo_loss
    for iteration, value in zip((0, 1000, 1999, 2000), expected, strict=True):
        assert loss.factor(iteration) == pytest.approx(value, abs=1e-6)


# Gradients


def learned(model, key='loss_contrast', **of_streams):
    """Names of the parameters that a loss moves."""
    loss = model.loss(streams(9, **of_streams))[key]
    model.zero_grad()
    loss.backward()
    return {
        name
        for name, param in model.named_parameters()
        if param.grad is not None and param.grad.ne(0).any()
    }


def parts_of(names):
    return {name.removeprefix(f'{HEADS}student.').split('.')[0] for name in names}


def attentions(names):
    return {name.split('.')[5] for name in names if '.attention.' in name}


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('default', {'projection', 'prediction'}),
        ('paper', {'projection', 'prediction'}),
        ('official', {'prediction'}),
        ('no memory attention', {'prediction'}),
        ('no attention', set()),
    ],
)
def test_attention_that_learns(name, expected, at):
    model = filled(make(**SETTINGS[name]), at)
    names = learned(model)
    assert attentions(names) == expected
    for one in expected:  # all of it
        prefix = f'{HEADS}student.attention.{one}.'
        assert {k for k in names if k.startswith(prefix)} == {
            k for k, _ in model.named_parameters() if k.startswith(prefix)
        }
    assert {'projection', 'prediction'} <= parts_of(names)


@pytest.mark.parametrize('name', ['default', 'paper', 'official', 'base'])
def test_every_parameter_has_a_gradient_in_each_iteration(name, at):
    """Else distributed training would wait for it."""
    model = make(**SETTINGS[name])
    for iteration in range(4):
        at(iteration)
        model.zero_grad(set_to_none=True)
        total(model.loss(streams(iteration))).backward()
        model.update_memory(**model.step_outputs['memory'])
        for key, param in model.named_parameters():
            assert (param.grad is not None) == param.requires_grad, key
            assert param.requires_grad == ('teacher' not in key) or 'official' in name


def test_the_teacher_and_its_labels_get_no_gradient(at):
    model = filled(make(), at)
    losses = model.loss(streams(9))
    for rows in model.step_outputs['memory'].values():
        assert not rows.requires_grad
    assert not bank_of(model).features.requires_grad
    total(losses).backward()
    for name, param in model.named_parameters():
        assert (param.grad is None) == ('.teacher.' in name)


# State


@pytest.mark.parametrize('name', ['default', 'base', 'balanced'])
def test_the_loss_changes_statistics_alone(name, at):
    model = filled(make(**SETTINGS[name]), at)
    before = frozen_copy(model)
    model.loss(streams(9))
    changed = [k for k, v in model.state_dict().items() if not v.equal(before[k])]
    assert all('running' in key or 'num_batches' in key for key in changed)
    assert any(key.startswith('pairs.0.teacher.') for key in changed)
    moved = any(key.startswith(f'{HEADS}teacher.') for key in changed)
    assert moved == (name != 'base')


@pytest.mark.parametrize('buffers', ['own', 'copy', 'average'])
def test_the_teacher_in_train_mode_moves_its_own_statistics(buffers, at):
    model = filled(make(teacher=dict(buffers=buffers)), at)
    key = 'backbone.stem.1.running_mean'
    before = model.teacher.state_dict()[key].clone()
    inputs = streams(9)
    model.loss(inputs)
    after = model.teacher.state_dict()[key].clone()
    assert not after.equal(before)
    model.update_teacher(0.5)
    kept_own = model.teacher.state_dict()[key].equal(after)
    assert kept_own == (buffers == 'own')


def test_a_teacher_in_eval_mode(at):
    model = filled(make(teacher=dict(mode='eval', buffers='copy')), at)
    before = frozen_copy(model)
    losses = model.loss(streams(9))
    assert losses['loss_contrast'] > 0
    for key, value in model.state_dict().items():
        if '.teacher.' in key:
            assert value.equal(before[key]), key


def test_heads_follow_as_the_networks_do(at):
    model = make()
    at(3)
    before = frozen_copy(model)
    model.update_teacher(0.75)
    after = model.state_dict()
    key = 'attention.projection.first'
    student, old = (before[f'{HEADS}{kind}.{key}'] for kind in model.networks)
    new = after[f'{HEADS}teacher.{key}']
    assert_close(new, 0.75 * old + 0.25 * student)
    assert not new.equal(old)


# Warm-up


def test_warm_up(at, monkeypatch):
    model = make(mix_start=3, num_augments=1)
    record(model, None, geometry(classmix=1.0)[:1])
    calls = []
    forward = model.adapter.__class__.__call__
    monkeypatch.setattr(
        model.adapter.__class__,
        '__call__',
        lambda self, network, *args: (
            calls.append(network) or forward(self, network, *args)
        ),
    )
    for iteration in range(5):
        at(iteration)
        calls.clear()
        inputs = streams(iteration)
        losses = model.loss(inputs)
        memory = entered(model)
        assert calls.count(model.teacher) == 1 + (iteration >= 1)
        assert (len(memory['label']) > 0) == (iteration >= 1)
        assert memory['features'].shape == (len(memory['label']), 6)
        assert (losses['loss_contrast'] > 0) == (iteration >= 2)
        (images, _) = model.strong_augment.calls[-1].result
        assert images.equal(inputs['unlabeled'].inputs) == (iteration < 3)
        model.update_memory(**model.step_outputs['memory'])
        assert (bank_of(model).count > 0).any() == (iteration >= 1)


def counts_of(model):
    """Counts of the classes that a step left."""
    left = model.step_outputs['memory']
    names = ('label_counts', 'pseudo_counts')
    return {name: left[f'class_balance.{name}'] for name in names}


def test_class_weights_start_with_both_windows_full(at):
    model = make(class_balance=dict(labels=1, pseudo=3, start=3))
    for iteration in range(6):
        at(iteration)
        model.loss(streams(iteration))
        weights = model.class_balance.weights(counts_of(model), iteration)
        assert (weights != 1).any() == (iteration >= 3)
        model.update_memory(**model.step_outputs['memory'])
    early = make(class_balance=dict(labels=1, pseudo=3, start=0))
    for iteration in range(4):
        at(iteration)
        early.loss(streams(iteration))
        weights = early.class_balance.weights(counts_of(early), iteration)
        assert (weights != 1).any() == (iteration >= 2)
        early.update_memory(**early.step_outputs['memory'])


def test_without_contrast_there_is_no_bank(at):
    model = make(contrast=None)
    at(5)
    losses = model.loss(streams(9))
    assert 'loss_contrast' not in losses
    assert 'memory' not in model.step_outputs
    assert model.contrast is None
    assert not model.has_memory
    assert not any('bank' in key or 'head_pairs' in key for key in model.state_dict())


# Streams


def test_the_bank_never_sees_the_source(at):
    model = make(source_ratio=1.0, **candidates(threshold=None))
    at(3)
    inputs = streams(9, source=True)
    for sample in inputs['source'].data_samples:
        sample.gt_sem_seg.data[:] = 1
    for sample in inputs['labeled'].data_samples:
        sample.gt_sem_seg.data[:] = 2
    losses = model.loss(inputs)
    assert set(entered(model)['label'].tolist()) - {-1} == {2}
    wanted = inputs['source']
    student = copy.deepcopy(model.student)
    expected = student.loss(wanted.inputs, wanted.data_samples)['decode.loss_ce']
    assert_close(losses['sup.decode.loss_ce'], expected)


def test_a_stream_of_views():
    model = make()
    inputs = streams(0)
    inputs['unlabeled'] = dict(weak=inputs['unlabeled'], strong=inputs['unlabeled'])
    with pytest.raises(ValueError, match=r"one view.*\['strong', 'weak'\].*MultiView"):
        model.loss(inputs)


def test_plain_labeled_images():
    model, labeled = make(), batch(2, size=SIZE)
    losses = model.loss(labeled.inputs, labeled.data_samples)
    assert set(losses) == {'sup.decode.loss_ce', 'sup.decode.acc_seg'}


# Nothing there


def unlabeled_everywhere(inputs):
    for sample in inputs['labeled'].data_samples:
        sample.gt_sem_seg.data[:] = 255


def one_class(inputs):
    for sample in inputs['labeled'].data_samples:
        sample.gt_sem_seg.data[:] = 1


def one_cell_of_a_class(inputs):
    """All of class 1 but the first cell of the first image, which is of class 0."""
    one_class(inputs)
    inputs['labeled'].data_samples[0].gt_sem_seg.data[:, :4, :4] = 0


def one_cell(inputs):
    unlabeled_everywhere(inputs)
    inputs['labeled'].data_samples[0].gt_sem_seg.data[:, :4, :4] = 0


def all_padding(inputs):
    unlabeled_everywhere(inputs)
    for part in inputs.values():
        for sample in part.data_samples:
            sample.valid_map.data[:] = False


LITTLE = [unlabeled_everywhere, one_class, one_cell_of_a_class, one_cell, all_padding]


@pytest.mark.parametrize('name', ['default', 'paper', 'official', 'base', 'balanced'])
@pytest.mark.parametrize('case', LITTLE)
def test_little_or_nothing(case, name, at, device):
    model = filled(make(**merged(SETTINGS[name], candidates(threshold=None))), at)
    inputs = streams(9)
    case(inputs)
    losses = model.loss(inputs)
    assert all(value.isfinite() for value in losses.values())
    total(losses).backward()
    for param in model.parameters():
        assert not param.requires_grad or param.grad.isfinite().all()
    before = [rows.clone() for rows in kept(bank_of(model))]
    model.update_memory(**model.step_outputs['memory'])
    assert all(value.isfinite().all() for value in model.state_dict().values())
    after = kept(bank_of(model))
    changed = [not a.equal(b) for a, b in zip(before, after, strict=True)]
    enters = {
        unlabeled_everywhere: [False] * 3,
        one_class: [False, True, False],
        one_cell_of_a_class: [True, True, False],
        one_cell: [False] * 3,
        all_padding: [False] * 3,
    }
    assert changed == enters[case]
    if case is all_padding:
        assert losses['loss_contrast'] == losses['loss_entropy'] == 0
        assert losses['sup.decode.loss_ce'] == losses['loss_pseudo'] == 0


@pytest.mark.parametrize('name', ['default', 'paper', 'official'])
@pytest.mark.parametrize(('classes', 'present'), [(2, 2), (150, 3), (150, 150)])
def test_other_numbers_of_classes(name, classes, present, at):
    model = make(classes=classes, **merged(SETTINGS[name], candidates(threshold=None)))
    filled(model, at, classes=present)
    inputs = streams(9, classes=present)
    losses = model.loss(inputs)
    assert losses['loss_contrast'] > 0
    total(losses).backward()
    assert all(p.grad.isfinite().all() for p in model.student.parameters())
    count = bank_of(model).count
    assert (count[present:] == 0).all()
    assert (count > 0).sum() > min(present, 40) - 1


@pytest.mark.parametrize('name', ['default', 'paper', 'official'])
def test_one_image_each(name, at):
    model = filled(make(**SETTINGS[name]), at, labeled=1, unlabeled=1)
    losses = model.loss(streams(9, 1, 1))
    assert losses['loss_contrast'] > 0
    total(losses).backward()


# Precision


@pytest.mark.parametrize('name', ['default', 'paper', 'official'])
def test_bf16_autocast(name, at):
    model = make(**merged(SETTINGS[name], candidates(threshold=None)))
    for iteration in range(4):
        at(iteration)
        with torch.autocast('cpu', torch.bfloat16):
            losses = model.loss(streams(iteration))
        model.update_memory(**model.step_outputs['memory'])
    assert losses['loss_contrast'].dtype == torch.float32
    assert losses['loss_contrast'] > 0
    total(losses).backward()
    assert all(p.grad.isfinite().all() for p in model.student.parameters())


# Without waiting for the device


@pytest.mark.parametrize('name', ['default', 'paper', 'official', 'base', 'balanced'])
def test_no_host_sync(name, at, monkeypatch):
    """After the networks: what enters the bank, the contrast, the class weights."""
    monkeypatch.setattr(compact, 'DEVICES', ())
    model = filled(make(**SETTINGS[name]), at)
    inputs = streams(9)
    pseudo = model.pseudo_labels(inputs['unlabeled'])
    output = model.adapter(model.student, inputs['unlabeled'].inputs)
    with NoHostSync() as seen:
        weights = None
        if model.class_balance is not None:
            weights = model.class_balance(model, inputs['labeled'], pseudo)
        losses = model.unlabeled_losses(output.logits, pseudo, weights)
        passes = [Pass(output, output)]
        losses |= model.contrast(model, inputs['labeled'], passes, [pseudo])
        total(losses).backward()
        model.update_memory(**model.step_outputs['memory'])
    assert 'bmm' in seen.ops
    assert losses['loss_contrast'] > 0


# Heads


# PIDNet's head gives its loss the label 255 without saying that it is ignored
@pytest.mark.parametrize('name', [name for name in ZOO if name != 'pidnet'])
def test_trains_on_each_head(name, at):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    settings = chosen(**candidates(threshold=None))
    model = build(dict(type='CMB', student=student, **settings)).train()
    optimizer = torch.optim.SGD(
        [param for param in model.parameters() if param.requires_grad], 0.01
    )
    before = frozen_copy(model)
    size = (64, 96)
    for iteration in (1, 2):
        at(iteration)
        labeled = batch(2, iteration, size)
        inputs = dict(labeled=labeled, unlabeled=batch(2, iteration, size, False))
        losses = model.loss(inputs)
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        model.update_memory(**model.step_outputs['memory'])
    assert losses['loss_contrast'] > 0
    after = model.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    for key in (f'{HEADS}student.projection.first.weight', 'contrast.banks.0.features'):
        assert not after[key].equal(before[key])
    backbone = [k for k, _ in model.named_parameters() if 'student.backbone.' in k]
    assert any(not after[key].equal(before[key]) for key in backbone)


@pytest.mark.parametrize('name', ['fcn', 'deeplabv3plus', 'segformer'])
def test_features_of_the_fourth_stage(name, at):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    settings = merged(contrast(feature='stage4'), candidates(threshold=None))
    settings = chosen(**settings)
    model = build(dict(type='CMB', student=student, **settings)).train()
    filled(model, at, size=(96, 96))
    width = head_pairs(model)[0].student.projection.first.in_features
    assert width == model.student.extract_feat(torch.zeros(2, 3, 64, 64))[3].shape[1]
    assert model.loss(streams(9, size=(96, 96)))['loss_contrast'] > 0
    names = learned(model, size=(96, 96))
    assert not any('conv_seg' in name for name in names)


# Settings


FLIP = dict(type='BatchFlip', prob=0.5)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(entropy=dict(norm='bits')), "model.entropy.norm must be in .* 'bits'"),
        (dict(entropy=dict(over='some')), "model.entropy.over must be in .* 'some'"),
        (dict(entropy=dict(weight='1')), "entropy.weight must be a number .* '1'"),
        (dict(num_augments=0), 'num_augments must be an integer >= 1, but got 0'),
        (dict(num_augments=1.5), 'num_augments must be an integer >= 1, but got 1.5'),
        (dict(mix_start=None), 'mix_start must be an integer >= 0, but got None'),
        (dict(sup_weight=-1), 'sup_weight must be a number >= 0, .* -1'),
        (
            dict(pseudo_loss=dict(weight=float('nan'))),
            'model.pseudo_loss.weight must be a number >= 0, .* nan',
        ),
        (
            dict(pseudo_loss=dict(confidence_power=-6)),
            'pseudo_loss.confidence_power must be a number >= 0, .* -6',
        ),
        (
            dict(pseudo_loss=dict(ramp_up=dict(kind='log', length=9))),
            "model.pseudo_loss: ramp-up kind .* 'log'",
        ),
        (dict(pseudo_loss=dict(ramp_up=dict(length=-9))), 'ramp-up length .* -9'),
        (dict(source_ratio=1.1), 'source_ratio must be in .* 1.1'),
        (dict(teacher=dict(mode='off')), "model.teacher.mode must be in .* 'off'"),
        (
            dict(teacher=dict(mode='eval')),
            "model.teacher.mode must be 'train' with buffers='own'",
        ),
        (dict(teacher=dict(decay=0.9)), "model.teacher has no setting 'decay'"),
        (dict(predict_with='mean_of'), "predict_with of CMB must be in .* 'mean_of'"),
        (
            dict(weak_augment=[dict(type='BatchFlip', prob=2)]),
            r'^model.weak_augment\[0\].prob must be in \[0, 1\], but got 2',
        ),
        (
            dict(strong_augment=[FLIP, dict(type='BatchBlur', prob=1, sigma=(2, 1))]),
            r'^model.strong_augment\[1\].sigma must .* \(2, 1\)',
        ),
        (
            dict(strong_augment=dict(flip_prob=0.5)),
            '^model.strong_augment must be a list of operations',
        ),
        (
            dict(class_balance=dict(labels=0, pseudo=1)),
            "model.class_balance.labels must be an integer >= 1 or 'labeled', .* 0",
        ),
        (
            dict(class_balance=dict(labels=1, pseudo=1.5)),
            "class_balance.pseudo must be an integer >= 1 or 'unlabeled', .* 1.5",
        ),
        (
            dict(class_balance=dict(start=-1)),
            'class_balance.start must be an integer >= 0, but got -1',
        ),
        (
            dict(class_balance=dict(median='mean')),
            "class_balance.median must be in .* 'mean'",
        ),
        (
            dict(class_balance=dict(keep_labels='all')),
            "class_balance.keep_labels must be in .* 'all'",
        ),
        (dict(class_balance={}), 'model.class_balance: .*BalancedCrossEntropy'),
        (
            dict(weak_augment=[dict(FLIP, flip=0.5)]),
            r"weak_augment\[0\] has no setting 'flip'",
        ),
        (dict(class_balance=dict(begin=2)), "class_balance has no setting 'begin'"),
        (dict(entropy=dict(norms='nats')), r"entropy .* 'norms' \(did you mean 'norm'"),
        (dict(contrast='BankContrast'), r'model.contrast must be dict\(type'),
        (
            dict(pseudo_loss=dict(type='EntropyLoss')),
            "model.pseudo_loss.type must be in .* 'EntropyLoss'",
        ),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='CMB', student=student_cfg(), **settings))


def test_former_settings():
    with pytest.raises(ValueError, match="model has no setting 'bank_size'"):
        build(dict(type='CMB', student=tiny_student(), bank_size=256))
    with pytest.raises(ValueError, match='did you mean pseudo_loss.confidence_power'):
        build(dict(type='CMB', student=tiny_student(), confidence_power=6))


def test_a_checkpoint_of_the_plain_segmentor_fills_both_networks():
    model, plain = make(), build(tiny_student(), seed=4)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert {key.split('.')[0] for key in missing} == {'contrast'}
    key = 'decode_head.conv_seg.weight'
    for network in model.networks.values():
        assert torch.equal(network.state_dict()[key], plain.state_dict()[key])


def test_prediction_needs_no_head():
    model = make().eval()
    assert list(model.networks) == ['student', 'teacher']
    assert model.predict_with == 'student'
    model.contrast = None
    assert model.predict(batch(1).inputs)[0].pred_sem_seg.shape == (32, 32)


def test_images_of_one_band_have_no_colours():
    student = tiny_student(
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[120.0], std=[60.0])
    )
    student['backbone']['in_channels'] = 1
    jitter = dict(type='BatchColorJitter', prob=0.5, brightness=0.1)
    rule = r'model.strong_augment\[1\].prob=0.5 .* 1 band'
    with pytest.raises(ValueError, match=rule):
        build(dict(type='CMB', student=student, strong_augment=[FLIP, jitter]))
    others = [*geometry(classmix=1.0), dict(type='BatchBlur', prob=1.0)]
    model = build(dict(type='CMB', student=student, strong_augment=others))
    images = torch.rand(2, 1, 16, 16)
    maps = torch.zeros(2, 16, 16)
    pseudo = PseudoLabel(maps.long(), maps + 1, maps == 0)
    views, _ = model.strong_augment.unlabeled(model, images, pseudo, number=2)
    assert len(views) == 4
    assert views.shape[1:] == images.shape[1:]
