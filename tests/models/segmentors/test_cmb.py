"""CMB: against its equations written with loops, its memory, gradients, settings."""

import copy

import numpy as np
import pytest
import torch
from cmb_reference import Reference, kept, record
from helpers import batch, build, frozen_copy, spread, student_cfg, total
from mmengine.config import ConfigDict
from no_sync import NoHostSync
from torch.testing import assert_close
from zoo import ZOO

from mmsemiseg.functional import PseudoLabel, compact
from mmsemiseg.models import CMB
from mmsemiseg.models.losses import balanced

SIZE = (32, 32)  # 8 x 8 cells
BALANCE = dict(labels=2, pseudo=3, start=3)


def tiny_student(classes=3, **settings):
    """One stage of a ResNet, at stride 4."""
    return student_cfg(
        backbone=dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)),
        decode_head=dict(
            in_channels=8,
            in_index=0,
            channels=10,
            num_classes=classes,
            loss_decode=dict(type='BalancedCrossEntropy'),
        ),
        **settings,
    )


def chosen(**settings):
    """Everything runs from the third iteration on, banks of 8 overflow."""
    return {
        **dict(
            ramp_up=dict(kind='exp', length=4),
            quality_threshold=0.4,
            bank_size=8,
            enqueue_number=2,
            bank_start=1,
            contrast_start=2,
            mix_start=3,
            proj_hidden=7,
            proj_channels=6,
        ),
        **settings,
    }


def make(student=None, classes=3, seed=1, predicted=None, **settings):
    """With a teacher that is not its student; only so many classes are predicted."""
    student = student or tiny_student(classes)
    model = build(dict(type='CMB', student=student, **chosen(**settings)))
    spread(model.student, seed)
    spread(model.teacher, seed + 1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for pair in model.head_pairs:
            for head in (pair.student, pair.teacher):
                for param in head.parameters():
                    noise = torch.rand(param.shape, generator=generator) - 0.5
                    param += noise
        for network in model.networks.values():
            network.decode_head.conv_seg.bias[predicted or classes :] = -1000
    return model.train()


def streams(
    seed=0, labeled=2, unlabeled=2, classes=3, padded=False, source=False, size=SIZE
):
    """Some pixels have no label."""
    found = dict(labeled=batch(labeled, 3 * seed, size))
    valid = torch.ones(size, dtype=torch.bool)
    valid[:, 20:] = not padded
    found['unlabeled'] = batch(unlabeled, 3 * seed + 1, size, False, valid)
    if source:
        found['source'] = batch(labeled, 3 * seed + 2, size)
    for name in sorted(set(found) - {'unlabeled'}):
        for index, sample in enumerate(found[name].data_samples):
            label = sample.gt_sem_seg.data
            number = seed + index + 100 * (name == 'source')
            generator = torch.Generator().manual_seed(number)
            label[:] = torch.randint(classes, label.shape, generator=generator)
            label[:, :5] = 255
            if padded:
                sample.valid_map.data[:, 25:] = False
                label[:, 25:] = 255
    return found


@pytest.fixture
def at(monkeypatch):
    """Sets the iteration."""

    def set_iteration(value):
        monkeypatch.setattr(CMB, 'iteration', property(lambda self: value))

    return set_iteration


@pytest.fixture(params=['masked', 'compact'])
def device(request, monkeypatch):
    """Rows of no class are masked, as on a GPU, or left out, as on a CPU."""
    devices = ('cpu',) if request.param == 'compact' else ()
    monkeypatch.setattr(compact, 'DEVICES', devices)


def gradients(loss, tensors):
    found = torch.autograd.grad(loss, tensors, allow_unused=True, retain_graph=True)
    return [0 * p if g is None else g for p, g in zip(tensors, found, strict=True)]


def filled(model, at, iterations=3, **settings):
    """After some steps, with vectors in the bank."""
    for iteration in range(iterations):
        at(iteration)
        model.loss(streams(iteration, **settings))
        if model.has_memory:
            model.update_memory(**model.step_outputs['memory'])
    at(iterations)
    return model


# Against loops

SPATIAL = dict(flip_prob=0.5, scale_prob=0.5)
PAPER = dict(
    entropy_norm='nats',
    ramp_up=dict(kind='step', length=3),
    contrast_joint=True,
    enqueue_per='image',
    entropy_over='all',
    read_at='cell',
)
OFFICIAL = dict(
    memory_attention=False,
    selector_input='unit_keys',
    bank_rank='lowest',
    rank_selector='prediction',
    unlabeled_first=True,
)
PUBLISHED_BALANCE = dict(BALANCE, median='all', keep_labels='first')
SETTINGS = {
    'default': {},
    'paper': PAPER,
    'official': OFFICIAL,
    'official, balanced': dict(OFFICIAL, class_balance=PUBLISHED_BALANCE),
    'base': dict(
        attention=False, bank_rank='random', quality_filter=False, bank_from='student'
    ),
    'no attention': dict(attention=False, bank_rank='random'),
    'no memory attention': dict(memory_attention=False),
    'no memory attention, random': dict(memory_attention=False, bank_rank='random'),
    'unit keys': dict(selector_input='unit_keys'),
    'joint': dict(contrast_joint=True),
    'from the student': dict(bank_from='student'),
    'no filter': dict(quality_filter=False),
    'prediction of the cell': dict(read_at='cell'),
    'unlabeled first': dict(unlabeled_first=True),
    'entropy over all': dict(entropy_over='all'),
    'lowest': dict(bank_rank='lowest'),
    'lowest of the prediction': dict(bank_rank='lowest', rank_selector='prediction'),
    'highest of the prediction': dict(rank_selector='prediction'),
    'random': dict(bank_rank='random'),
    'per image': dict(enqueue_per='image'),
    'lowest per image': dict(enqueue_per='image', bank_rank='lowest'),
    'more than the bank holds': dict(enqueue_number=9),
    'a large bank': dict(bank_size=50),
    'nats': dict(entropy_norm='nats'),
    'step': dict(ramp_up=dict(kind='step', length=3)),
    'no ramp': dict(ramp_up=None),
    'balanced': dict(class_balance=BALANCE),
    'balanced, first labels': dict(class_balance=dict(BALANCE, keep_labels='first')),
    'balanced, all classes': dict(class_balance=dict(BALANCE, median='all')),
    'balanced from the start': dict(class_balance=dict(BALANCE, start=0)),
    'balanced, no contrast': dict(class_balance=BALANCE, contrast_weight=0.0),
    'no contrast': dict(contrast_weight=0.0),
    'one augmentation': dict(num_augments=1),
    'three augmentations': dict(num_augments=3),
    'other weights': dict(
        sup_weight=0.5,
        pseudo_weight=2.0,
        entropy_weight=0.3,
        contrast_weight=1.5,
        confidence_power=2.0,
    ),
    'features of a stage': dict(feature='stage1'),
}
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
        record(model, dict(SPATIAL, classmix_prob=0.5), dict(SPATIAL, classmix_prob=1))
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
        if model.bank is not None:
            for rows, expected in zip(kept(model.bank), reference.bank, strict=True):
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
    if model.head_pairs:
        named = reference.heads['student'].named(lambda x: gradient(loss, x))
        named = {k: v for k, v in named.items() if 'running' not in k}
        found.update({f'head_pairs.0.student.{k}': v for k, v in named.items()})
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
        expected.update({f'head_pairs.0.{kind}.{k}': v for k, v in named.items()})
    state = model.state_dict()
    for key, value in expected.items():
        assert_close(state[key], value, rtol=1e-4, atol=1e-5, msg=key)


FEW = ['paper', 'official', 'base', 'random', 'per image', 'from the student']
CASES = [(name, 'masked') for name in SETTINGS] + [(name, 'compact') for name in FEW]


@pytest.mark.parametrize(('name', 'device'), CASES, indirect=['device'])
def test_against_loops(name, at, device):
    """Of steps with pseudo labels alone, with a bank, with all, with ClassMix."""
    for iteration, losses, reference in compared(name, at, range(4)):
        assert losses['loss_entropy'] > 0
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


class Fixed(torch.nn.Module):
    """Vectors are what they are, weights are given."""

    def __init__(self, weights=None, key_weights=None, scores=None):
        super().__init__()
        self.attention = dict(
            prediction=lambda rows, group: weights,
            projection=lambda rows, group: scores,
        )
        self.given = key_weights

    def scores(self, rows, group, selector):
        return self.attention[selector](rows, group)

    def forward(self, rows, mask):
        return rows

    def key_weights(self, keys, filled):
        return self.given


def two_classes(**settings):
    """Rows P and their classes, the bank Z, its rows' weights."""
    model = make(bank_size=3, proj_channels=2, contrast_weight=1.0, **settings)
    bank = model.bank
    bank.features[0, :2] = torch.tensor([[3.0, 0], [0, 2]])
    bank.features[1] = torch.tensor([[0.0, 1], [-2, 0], [1, 1]])
    bank.count[:] = torch.tensor([2, 3, 0])
    features = torch.tensor([[1, 0], [0.6, 0.8], [2, 2], [0, 1], [-1, 1]])
    label = torch.tensor([0, 0, 0, 1, 1])
    return model, (features.T[None, :, None], label[None, None])


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ({}, 0.261813),
        (dict(memory_attention=False), 0.284598),
        (OFFICIAL, 0.284598),
        (dict(attention=False, bank_rank='random'), 0.281359),
    ],
)
def test_vectors_of_the_contrast(settings, expected, at, monkeypatch):
    at(2)
    model, cells = two_classes(**settings)
    weights = torch.tensor([0.9, 0.5, 0.4, 0.6, 0.2])
    keys = torch.tensor([[0.8, 0.4, 9], [0.3, 0.3, 0.9], [9, 9, 9]])
    monkeypatch.setattr(model.head_pairs[0], 'student', Fixed(weights, keys))
    nothing = dict(features=torch.zeros(0, 2), group=torch.zeros(0).long())
    assert model.contrast((cells,), nothing).item() == pytest.approx(expected, abs=1e-6)
    twice = model.contrast((cells, cells), nothing)
    if not model.contrast_joint:
        assert twice.item() == pytest.approx(2 * expected, abs=1e-6)


@pytest.mark.parametrize(
    ('rank', 'kept_rows'), [('highest', [3, 1]), ('lowest', [2, 0])]
)
@pytest.mark.parametrize('per', ['batch', 'image'])
def test_vectors_of_the_selection(rank, kept_rows, per):
    model = make(bank_rank=rank, enqueue_per=per, enqueue_number=2)
    head = Fixed(scores=torch.tensor([0.2, 0.9, 0.5, 0.7]))
    rows, group = torch.arange(4.0)[:, None], torch.ones(4).long()
    found = model.selected(head, rows, group, torch.zeros(4).long(), images=1)
    taken = found['group'] >= 0
    assert found['features'][taken].flatten().tolist() == kept_rows  # the best last
    assert found['group'][taken].tolist() == [1, 1]


@pytest.mark.parametrize('rank', ['highest', 'lowest'])
def test_a_full_bank_keeps_what_a_list_keeps(rank):
    """New vectors go to its front, ranked if they are too many; its end falls out."""
    model = make(bank_rank=rank, enqueue_number=3, bank_size=8, proj_channels=1)
    lists = {c: [] for c in range(3)}
    generator = torch.Generator().manual_seed(0)
    for step in range(12):
        group = torch.randint(-1, 3, (12,), generator=generator)
        scores = torch.rand(12, generator=generator)
        rows = torch.arange(12.0)[:, None] + 100 * step
        image = torch.zeros(12).long()
        new = model.selected(Fixed(scores=scores), rows, group, image, images=1)
        model.update_memory(**new)
        for c, kept_rows in lists.items():
            found = (group == c).nonzero().flatten().tolist()
            if len(found) > 3:
                found.sort(key=lambda i: scores[i].item(), reverse=rank == 'highest')
            lists[c] = (rows[found[:3], 0].tolist() + kept_rows)[:8]
    for c, queue in enumerate(kept(model.bank)):
        assert len(queue) == 8
        assert queue.flatten().tolist() == lists[c][::-1]


def test_a_step_of_several_batches_enters_by_rank():
    """Also if it has more than the bank keeps: the best of each batch stay."""
    model = make(enqueue_number=3, bank_size=4, proj_channels=1)
    batches = []
    for first in (0, 10):
        rows = torch.arange(4.0)[:, None] + first
        head, image = Fixed(scores=torch.arange(4.0)), torch.zeros(4).long()
        new = model.selected(head, rows, torch.ones(4).long(), image, images=1)
        assert new['rank'][new['group'] == 1].tolist() == [2, 1, 0]
        batches.append(new)
    step = {name: torch.cat([new[name] for new in batches]) for name in batches[0]}
    model.update_memory(**step)
    assert kept(model.bank)[1].flatten().tolist() == [2, 12, 3, 13]
    assert model.bank.count.tolist() == [0, 4, 0]


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
        model = make(entropy_norm=norm, entropy_weight=1.0, contrast_weight=0.0)
        losses = model.unlabeled_losses(*pixels(), alpha)
        assert losses['loss_pseudo'].item() == pytest.approx(0.018885, abs=1e-6)
        assert losses['loss_entropy'].item() == pytest.approx(expected, abs=1e-6)
    logits, pseudo = pixels()
    pseudo = pseudo._replace(valid=torch.ones_like(pseudo.valid))
    loss = model.unlabeled_losses(logits, pseudo, alpha)['loss_entropy']
    assert loss.item() == pytest.approx(0.942285, abs=1e-6)


def test_vectors_of_the_labels(at):
    logits, pseudo = pixels()
    model = make(contrast_weight=0.0, class_balance=BALANCE)
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
def test_ramp(settings, expected, at):
    model = make(ramp_up=settings)
    for iteration, value in zip((0, 1000, 1999, 2000), expected, strict=True):
        at(iteration)
        assert model.ramp(model.ramp_up) == pytest.approx(value, abs=1e-6)


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
    return {name.removeprefix('head_pairs.0.student.').split('.')[0] for name in names}


def attentions(names):
    return {name.split('.')[4] for name in names if '.attention.' in name}


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
        prefix = f'head_pairs.0.student.attention.{one}.'
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
    assert not model.bank.features.requires_grad
    total(losses).backward()
    for name, param in model.named_parameters():
        assert (param.grad is None) == ('.teacher.' in name)


def test_attention_does_not_move_the_features(at, monkeypatch):
    """The same gradients of features where its weights are constants."""
    model = filled(make(contrast_weight=1.0), at)
    head = model.head_pairs[0].student
    rows = torch.randn(2, 10, 8, 8, requires_grad=True)
    label = torch.arange(2 * 64).view(2, 8, 8) % 3
    nothing = dict(features=torch.zeros(0, 6), group=torch.zeros(0).long())

    def grad():
        return torch.autograd.grad(model.contrast(((rows, label),), nothing), rows)[0]

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


# State


@pytest.mark.parametrize('name', ['default', 'base', 'balanced'])
def test_the_loss_changes_statistics_alone(name, at):
    model = filled(make(**SETTINGS[name]), at)
    before = frozen_copy(model)
    model.loss(streams(9))
    changed = [k for k, v in model.state_dict().items() if not v.equal(before[k])]
    assert all('running' in key or 'num_batches' in key for key in changed)
    assert any(key.startswith('pairs.0.teacher.') for key in changed)
    moved = any(key.startswith('head_pairs.0.teacher.') for key in changed)
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
    student, old = (before[f'head_pairs.0.{kind}.{key}'] for kind in model.networks)
    new = after[f'head_pairs.0.teacher.{key}']
    assert_close(new, 0.75 * old + 0.25 * student)
    assert not new.equal(old)


# Warm-up


def test_warm_up(at, monkeypatch):
    model = make(mix_start=3, num_augments=1)
    record(model, {}, dict(classmix_prob=1.0))
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
        memory = model.step_outputs['memory']
        assert calls.count(model.teacher) == 1 + (iteration >= 1)
        assert (len(memory['group']) > 0) == (iteration >= 1)
        assert memory['features'].shape == (len(memory['group']), 6)
        assert (losses['loss_contrast'] > 0) == (iteration >= 2)
        (images, _) = model.strong_augment.calls[-1].result
        assert images.equal(inputs['unlabeled'].inputs) == (iteration < 3)
        model.update_memory(**memory)
        assert (model.bank.count > 0).any() == (iteration >= 1)


def test_class_weights_start_with_both_windows_full(at):
    model = make(class_balance=dict(labels=1, pseudo=3, start=3))
    for iteration in range(6):
        at(iteration)
        model.loss(streams(iteration))
        counts = {
            k: v for k, v in model.step_outputs['memory'].items() if 'counts' in k
        }
        weights = model.balance.weights(counts, iteration)
        assert (weights != 1).any() == (iteration >= 3)
        model.update_memory(**model.step_outputs['memory'])
    early = make(class_balance=dict(labels=1, pseudo=3, start=0))
    for iteration in range(4):
        at(iteration)
        early.loss(streams(iteration))
        counts = {
            k: v for k, v in early.step_outputs['memory'].items() if 'counts' in k
        }
        weights = early.balance.weights(counts, iteration)
        assert (weights != 1).any() == (iteration >= 2)
        early.update_memory(**early.step_outputs['memory'])


def test_without_contrast_there_is_no_bank(at):
    model = make(contrast_weight=0.0)
    at(5)
    losses = model.loss(streams(9))
    assert 'loss_contrast' not in losses
    assert 'memory' not in model.step_outputs
    assert model.bank is None
    assert not model.has_memory
    assert len(model.head_pairs) == 0


# Streams


@pytest.mark.parametrize(
    ('ratio', 'expected'),
    [(0.5, [0, 1, 0, 1, 0, 1]), (0.0, [0] * 6), (1.0, [1] * 6), (1 / 3, [0, 0, 1] * 2)],
)
def test_steps_that_learn_from_the_source(ratio, expected, at):
    model = make(source_ratio=ratio)
    for iteration, value in enumerate(expected):
        at(iteration)
        assert model.is_source_step(dict(source=None)) == value
        assert not model.is_source_step({})


def test_the_bank_never_sees_the_source(at):
    model = make(source_ratio=1.0, quality_filter=False)
    at(3)
    inputs = streams(9, source=True)
    for sample in inputs['source'].data_samples:
        sample.gt_sem_seg.data[:] = 1
    for sample in inputs['labeled'].data_samples:
        sample.gt_sem_seg.data[:] = 2
    losses = model.loss(inputs)
    groups = set(model.step_outputs['memory']['group'].tolist())
    assert groups - {-1} == {2}
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
    model = filled(make(**dict(SETTINGS[name], quality_filter=False)), at)
    inputs = streams(9)
    case(inputs)
    losses = model.loss(inputs)
    assert all(value.isfinite() for value in losses.values())
    total(losses).backward()
    for param in model.parameters():
        assert not param.requires_grad or param.grad.isfinite().all()
    before = [rows.clone() for rows in kept(model.bank)]
    model.update_memory(**model.step_outputs['memory'])
    assert all(value.isfinite().all() for value in model.state_dict().values())
    changed = [not a.equal(b) for a, b in zip(before, kept(model.bank), strict=True)]
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


def test_a_single_candidate_of_a_class_enters(at):
    model = make(quality_filter=False, bank_size=50)
    at(1)
    inputs = streams(9)
    one_cell_of_a_class(inputs)
    model.loss(inputs)
    model.update_memory(**model.step_outputs['memory'])
    assert model.bank.count.tolist() == [1, 4, 0]  # K * images of class 1


def test_nobody_is_confident_enough(at):
    model = make(quality_threshold=1.0)
    for iteration in range(4):
        at(iteration)
        losses = model.loss(streams(iteration))
        model.update_memory(**model.step_outputs['memory'])
        assert losses['loss_contrast'] == 0
    assert (model.bank.count == 0).all()
    total(losses).backward()
    assert all(p.grad.eq(0).all() for p in model.head_pairs[0].student.parameters())


def test_wrong_predictions_do_not_enter(at):
    at(1)
    inputs = streams(9)
    for right in (True, False):
        model = make(quality_threshold=0.0)
        with torch.no_grad():  # which is always class 1
            model.teacher.decode_head.conv_seg.bias[1] += 1000
        for sample in inputs['labeled'].data_samples:
            sample.gt_sem_seg.data[:] = 1 if right else 2
        model.loss(inputs)
        entered = set(model.step_outputs['memory']['group'].tolist()) - {-1}
        assert entered == ({1} if right else set())


@pytest.mark.parametrize('name', ['default', 'paper', 'official'])
@pytest.mark.parametrize(('classes', 'present'), [(2, 2), (150, 3), (150, 150)])
def test_other_numbers_of_classes(name, classes, present, at):
    model = make(classes=classes, **dict(SETTINGS[name], quality_filter=False))
    filled(model, at, classes=present)
    inputs = streams(9, classes=present)
    losses = model.loss(inputs)
    assert losses['loss_contrast'] > 0
    total(losses).backward()
    assert all(p.grad.isfinite().all() for p in model.student.parameters())
    assert (model.bank.count[present:] == 0).all()
    assert (model.bank.count > 0).sum() > min(present, 40) - 1


@pytest.mark.parametrize('name', ['default', 'paper', 'official'])
def test_one_image_each(name, at):
    model = filled(make(**SETTINGS[name]), at, labeled=1, unlabeled=1)
    losses = model.loss(streams(9, 1, 1))
    assert losses['loss_contrast'] > 0
    total(losses).backward()


def test_cells_of_no_class():
    """The ignored label may be any."""
    model = make()
    features = torch.arange(2 * 3 * 4.0).view(2, 3, 2, 2)
    label = torch.tensor([[[0, 9, 1, 9], [9] * 4, [255, 9, 3, 9], [9] * 4]] * 2)
    rows, group = model.cells(features, label)
    assert group.tolist() == [0, 1, -1, -1] * 2
    assert rows[1].tolist() == features[0, :, 0, 1].tolist()
    model.student.decode_head.ignore_index = 0
    assert model.cells(features, label)[1].tolist() == [-1, 1, -1, -1] * 2


# Precision


@pytest.mark.parametrize('name', ['default', 'paper', 'official'])
def test_bf16_autocast(name, at):
    model = make(**dict(SETTINGS[name], quality_filter=False))
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
    pseudo = model.label(inputs['unlabeled'])
    output = model.adapter(model.student, inputs['unlabeled'].inputs)
    maps = ((output.features, pseudo.label),) * 2
    with NoHostSync() as seen:
        counts, weights = {}, None
        if model.balance is not None:
            labels = inputs['labeled'].labels
            counts = model.balance.counts(labels, pseudo.label, model.ignore_index)
            weights = model.balance.weights(counts, model.iteration)
        losses = model.unlabeled_losses(output.logits, pseudo, weights)
        new = model.candidates(inputs['labeled'])
        losses['loss_contrast'] = model.contrast(maps, new)
        total(losses).backward()
        model.update_memory(**new, **counts)
    assert 'bmm' in seen.ops
    assert losses['loss_contrast'] > 0


# Heads


# PIDNet's head gives its loss the label 255 without saying that it is ignored
@pytest.mark.parametrize('name', [name for name in ZOO if name != 'pidnet'])
def test_trains_on_each_head(name, at):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    settings = chosen(quality_filter=False)
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
    for key in ('head_pairs.0.student.projection.first.weight', 'bank.features'):
        assert not after[key].equal(before[key])
    backbone = [k for k, _ in model.named_parameters() if 'student.backbone.' in k]
    assert any(not after[key].equal(before[key]) for key in backbone)


@pytest.mark.parametrize('name', ['fcn', 'deeplabv3plus', 'segformer'])
def test_features_of_the_fourth_stage(name, at):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    settings = chosen(feature='stage4', quality_filter=False)
    model = build(dict(type='CMB', student=student, **settings)).train()
    filled(model, at, size=(96, 96))
    width = model.head_pairs[0].student.projection.first.in_features
    assert width == model.student.extract_feat(torch.zeros(2, 3, 64, 64))[3].shape[1]
    assert model.loss(streams(9, size=(96, 96)))['loss_contrast'] > 0
    names = learned(model, size=(96, 96))
    assert not any('conv_seg' in name for name in names)


# Settings


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(entropy_norm='bits'), "entropy_norm must be in .* 'bits'"),
        (dict(selector_input='unit'), "selector_input must be in .* 'unit'"),
        (dict(read_at='both'), "read_at must be in .* 'both'"),
        (dict(entropy_over='some'), "entropy_over must be in .* 'some'"),
        (dict(bank_from='both'), "bank_from must be in .* 'both'"),
        (dict(bank_rank='top'), "bank_rank must be in .* 'top'"),
        (dict(rank_selector='bank'), "rank_selector must be in .* 'bank'"),
        (dict(enqueue_per='class'), "enqueue_per must be in .* 'class'"),
        (dict(num_augments=0), 'num_augments must be an integer >= 1, but got 0'),
        (dict(num_augments=1.5), 'num_augments must be an integer >= 1, but got 1.5'),
        (dict(bank_size=1), 'bank_size must be an integer >= 2, but got 1'),
        (dict(enqueue_number=0), 'enqueue_number must be an integer >= 1, but got 0'),
        (dict(enqueue_number=2.5), 'enqueue_number must be an integer >= 1'),
        (dict(bank_start=-1), 'bank_start must be an integer >= 0, but got -1'),
        (dict(contrast_start=-1), 'contrast_start must be an integer >= 0, but got -1'),
        (dict(mix_start=None), 'mix_start must be an integer >= 0, but got None'),
        (dict(proj_hidden=0), 'proj_hidden must be an integer >= 1, but got 0'),
        (dict(proj_channels=0), 'proj_channels must be an integer >= 1, but got 0'),
        (dict(sup_weight=-1), 'sup_weight must be a number >= 0, .* -1'),
        (
            dict(pseudo_weight=float('nan')),
            'pseudo_weight must be a number >= 0, .* nan',
        ),
        (dict(entropy_weight='0.1'), "entropy_weight must be a number >= 0, .* '0.1'"),
        (dict(contrast_weight=-0.1), 'contrast_weight must be a number >= 0, .* -0.1'),
        (dict(confidence_power=-6), 'confidence_power must be a number >= 0, .* -6'),
        (dict(quality_threshold=95), 'quality_threshold must be in .* 95'),
        (dict(source_ratio=1.1), 'source_ratio must be in .* 1.1'),
        (dict(feature=None), 'feature must not be None'),
        (dict(feature='neck'), 'feature must be'),
        (dict(attention=False), "attention=False .* bank_rank='random'.* 'highest'"),
        (dict(ramp_up=dict(kind='log', length=9)), "ramp-up kind .* 'log'"),
        (dict(ramp_up=dict(length=-9)), 'ramp-up length .* -9'),
        (dict(teacher=dict(mode='off')), "teacher_mode must be in .* 'off'"),
        (dict(teacher=dict(mode='eval')), "buffers='own' needs teacher_mode='train'"),
        (dict(teacher=dict(decay=0.9)), r"teacher has .* \['decay'\]"),
        (dict(predict_with='mean_of'), "predict_with of CMB must be in .* 'mean_of'"),
        (dict(weak_augment=dict(flip_prob=2)), r'flip_prob must be in .* 2'),
        (dict(strong_augment=dict(per='step')), "per must be 'image' or .* 'step'"),
        (
            dict(class_balance=dict(labels=0, pseudo=1)),
            'class_balance: labels must be an integer >= 1, but got 0',
        ),
        (
            dict(class_balance=dict(labels=1, pseudo=1.5)),
            'class_balance: pseudo must be an integer >= 1, but got 1.5',
        ),
        (
            dict(class_balance=dict(labels=1, pseudo=1, start=-1)),
            'class_balance: start must be an integer >= 0, but got -1',
        ),
        (
            dict(class_balance=dict(labels=1, pseudo=1, median='mean')),
            "class_balance: median must be in .* 'mean'",
        ),
        (
            dict(class_balance=dict(labels=1, pseudo=1, keep_labels='all')),
            "class_balance: keep_labels must be in .* 'all'",
        ),
        (dict(class_balance=dict(labels=1, pseudo=1)), 'BalancedCrossEntropy'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='CMB', student=student_cfg(), **settings))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(bank=256), "'bank'"),
        (dict(weak_augment=dict(flip=0.5)), "weak_augment: .*'flip'"),
        (dict(ramp_up=dict(kind='exp')), "'length'"),
        (dict(class_balance=dict(labels=3)), "class_balance: .*'pseudo'"),
        (dict(class_balance=dict(labels=3, pseudo=3, begin=2)), "'begin'"),
    ],
)
def test_misspelt_settings(settings, message):
    with pytest.raises(TypeError, match=message):
        build(dict(type='CMB', student=tiny_student(), **settings))


def test_a_checkpoint_of_the_plain_segmentor_fills_both_networks():
    model, plain = make(), build(tiny_student(), seed=4)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert {key.split('.')[0] for key in missing} == {'head_pairs', 'bank'}
    key = 'decode_head.conv_seg.weight'
    for network in model.networks.values():
        assert torch.equal(network.state_dict()[key], plain.state_dict()[key])


def test_prediction_needs_no_head():
    model = make().eval()
    assert list(model.networks) == ['student', 'teacher']
    assert model.predict_with == 'student'
    model.head_pairs = None
    assert model.predict(batch(1).inputs)[0].pred_sem_seg.shape == (32, 32)


def test_images_of_one_band_have_no_colours():
    student = tiny_student(
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[120.0], std=[60.0])
    )
    student['backbone']['in_channels'] = 1
    jitter = dict(jitter_prob=0.5, brightness=0.1)
    with pytest.raises(ValueError, match=r'strong_augment: jitter_prob=0.5 .* 1 band'):
        build(dict(type='CMB', student=student, strong_augment=jitter))
    geometry = dict(flip_prob=1.0, scale_prob=1.0, classmix_prob=1.0, blur_prob=1.0)
    model = build(dict(type='CMB', student=student, strong_augment=geometry))
    images = torch.rand(2, 1, 16, 16)
    maps = torch.zeros(2, 16, 16)
    pseudo = PseudoLabel(maps.long(), maps + 1, maps == 0)
    views, _ = model.strongly(images, pseudo)
    assert views.shape[1:] == images.shape[1:]
