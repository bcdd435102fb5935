"""CTT: against its equations written with loops, gradients, banks, settings."""

import copy
import math
import warnings

import pytest
import torch
from ctt_reference import Reference
from helpers import batch, build, frozen_copy, spread, streams, student_cfg, total
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.runner import load_checkpoint, save_checkpoint
from no_sync import NoHostSync
from torch.testing import assert_close
from zoo import ZOO

from mmsemiseg.functional import PseudoLabel, compact
from mmsemiseg.models.adapter import SegmentorOutput
from mmsemiseg.models.data_preprocessor import Batch
from mmsemiseg.models.segmentors.ctt import Pass

SIZE = (16, 16)  # 4 x 4 cells
BASE = dict(hc_weight=0, lc_weight=0)  # no contrast
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


def tiny_student(**settings):
    """One stage of a ResNet, at stride 4."""
    head = dict(in_channels=8, in_index=0, channels=6)
    head.update(settings.pop('decode_head', {}))
    return student_cfg(
        backbone=dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)),
        decode_head=head,
        **settings,
    )


def make(student=None, **settings):
    """All networks differ; confidences are on both sides of phi."""
    settings = {**dict(threshold=0.6, bank_size=3, enqueue_number=1), **settings}
    model = build(dict(type='CTT', student=student or tiny_student(), **settings))
    for seed, network in enumerate(model.networks.values()):
        mixed_up(network, seed)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for pair in model.head_pairs:
            for param in (*pair.student.parameters(), *pair.teacher.parameters()):
                param += torch.rand(param.shape, generator=generator) - 0.5
    return model.train()


@torch.no_grad()
def mixed_up(network, seed):
    """Random weights, with which every class is predicted, more or less surely."""
    spread(network.eval(), seed)
    images = torch.randn(8, 3, *SIZE, generator=torch.Generator().manual_seed(seed))
    logits = network(images)
    classifier = network.decode_head.conv_seg
    classifier.weight *= 1.5 / logits.std()
    classifier.bias.zero_()
    classifier.bias -= network(images).mean((0, 2, 3))


def inputs_of(seed=0, n=2, one_view=False, size=SIZE):
    """Some pixels have no label, some unlabeled ones are padding."""
    valid = torch.ones(size, dtype=torch.bool)
    valid[:, 12:] = False
    found = streams(n, size, valid, seed=3 * seed)
    found['labeled'].data_samples[0].gt_sem_seg.data[:, :5] = 255
    if one_view:
        found['unlabeled'] = found['unlabeled']['strong']
    return found


def fill(model, counts=None, reference=None):
    """Unit vectors into each queue, as many as ``counts`` says for pair and class."""
    generator = torch.Generator().manual_seed(7)
    for index, bank in enumerate(model.banks):
        rows = torch.randn(model.num_classes * bank.size, bank.dim, generator=generator)
        rows = torch.nn.functional.normalize(rows)
        wanted = counts[index] if counts else [bank.size] * model.num_classes
        group = torch.arange(model.num_classes).repeat_interleave(bank.size)
        place = torch.arange(bank.size).repeat(model.num_classes)
        group = torch.where(place < torch.tensor(wanted)[group], group, -1)
        bank.enqueue(rows, group)
        if reference is not None:
            reference.enter(index, zip(rows, group.tolist(), strict=True))
    return model


def unlabeled_alone(inputs):
    """Nothing enters a bank."""
    for sample in inputs['labeled'].data_samples:
        sample.gt_sem_seg.data[:] = 255
    return inputs


def gradients(loss, params):
    params = list(params)
    found = torch.autograd.grad(loss, params, allow_unused=True, retain_graph=True)
    return [0 * p if g is None else g for p, g in zip(params, found, strict=True)]


# Against loops

SETTINGS = {
    'default': {},
    'weights': dict(sup_weight=2.0, ct_weight=0.5, hc_weight=0.3, lc_weight=0.7),
    'three pairs': dict(num_pairs=3),
    'three pairs, sum': dict(num_pairs=3, ct_reduce='sum'),
    'one pair': dict(num_pairs=1, lc_weight=0),
    'one pair, no contrast': dict(num_pairs=1, mix='classmix', **BASE),
    'mutual': dict(teaching='mutual', **BASE),
    'mutual, three': dict(teaching='mutual', num_pairs=3, **BASE),
    'mutual, cutmix': dict(teaching='mutual', mix='cutmix', **BASE),
    'separate pairs': dict(teaching='own'),
    'separate pairs, three': dict(teaching='own', num_pairs=3, **BASE),
    'ensemble': dict(teaching='ensemble'),
    'ensemble, three': dict(teaching='ensemble', num_pairs=3, **BASE),
    'dual': dict(teaching='dual'),
    'dual, three, sum': dict(teaching='dual', num_pairs=3, ct_reduce='sum', **BASE),
    'cutmix': dict(mix='cutmix'),
    'classmix': dict(mix='classmix'),
    'high level alone': dict(lc_weight=0),
    'low level alone': dict(hc_weight=0),
    'no pseudo labels': dict(ct_weight=0),
    'own classes': dict(anchor_label='self'),
    'classes of the teacher': dict(anchor_label='teacher'),
    'classes of the first teacher': dict(anchor_label='teacher', num_pairs=3),
    'classes of the own teacher': dict(anchor_label='teacher', teaching='dual'),
    'classes of the teacher, no pseudo labels': dict(
        anchor_label='teacher', ct_weight=0
    ),
    'classmix, no pseudo labels': dict(mix='classmix', ct_weight=0),
    'cutmix, no pseudo labels': dict(mix='cutmix', ct_weight=0),
    'all are confident': dict(threshold=0),
    'none is confident': dict(threshold=1),
    'masked': dict(norm='masked'),
    'no direction': dict(lc_direction=False),
    'class of the peer': dict(lc_class='peer', lc_direction=False),
    'temperature': dict(temperature=0.2),
    'not normalized': dict(normalize=False),
    'projector': dict(proj_channels=5),
    'drawn': dict(max_anchors=20),
    'any': dict(bank_ready='any', bank_size=4),
    'class': dict(bank_ready='class', bank_size=4),
    'one bank ahead': dict(bank_ready='class', bank_size=4),
    'one bank ahead, apart': dict(
        bank_ready='class', bank_size=4, levels_begin='apart'
    ),
    'read at the cell': dict(read_at='cell'),
    'read at the cell, own classes': dict(read_at='cell', anchor_label='self'),
    'many enter': dict(enqueue_number=3),
    'random ones enter': dict(enqueue_number=2, enqueue_select='random'),
    'recomputed': dict(checkpointing=True),
}
COUNTS = {
    'any': [(4, 1, 0), (0, 4, 2)],
    'class': [(4, 4, 0), (4, 4, 2)],
    'one bank ahead': [(4, 4, 0), (4, 4, 4)],
    'one bank ahead, apart': [(4, 4, 0), (4, 4, 4)],
    'three pairs': [(3, 3, 3)] * 3,
}
ZERO = {
    'all are confident': {'loss_lc0', 'loss_lc1'},
    'none is confident': {'loss_hc0', 'loss_hc1'},
}


@pytest.mark.parametrize('name', SETTINGS)
def test_against_loops(name):
    """Two steps: the second one sees what the first one left in the banks."""
    model = make(**SETTINGS[name])
    reference = Reference(model)
    fill(model, COUNTS.get(name), reference)
    for seed in (1, 2):
        inputs = inputs_of(seed, one_view=name.startswith('mutual') and seed == 2)
        results = []
        for losses_of in (lambda x: (model.loss(x), None), reference.losses):
            torch.manual_seed(seed)
            results.append(losses_of(inputs))
        (losses, _), (expected, entered) = results
        assert losses.keys() == expected.keys()
        for key, value in losses.items():
            assert_close(value, torch.as_tensor(expected[key]), rtol=1e-4, atol=1e-6)
        if model.has_memory:
            model.update_memory(**model.step_outputs['memory'])
        for index, rows in enumerate(entered):
            reference.enter(index, rows)
    silent = {key for key in losses if key.startswith('loss') and losses[key] == 0}
    assert silent == ZERO.get(name, set())
    params = [param for param in model.parameters() if param.requires_grad]
    got, wanted = (gradients(total(x), params) for x in (losses, expected))
    scale = max(grad.abs().max() for grad in wanted).item()
    for mine, theirs in zip(got, wanted, strict=True):
        assert_close(mine, theirs, rtol=1e-3, atol=1e-5 * scale)


def test_the_settings_matter():
    """Or the comparisons above would show less than they seem to."""
    values, inputs = {}, inputs_of(1)
    for name, settings in SETTINGS.items():
        if name in ('recomputed', 'random ones enter', 'many enter'):
            continue
        model = fill(make(**settings), COUNTS.get(name))
        torch.manual_seed(1)
        with torch.no_grad():
            values[name] = round(total(model.loss(inputs)).item(), 6)
    same = {n for n, v in values.items() if list(values.values()).count(v) > 1}
    assert same == set()


@pytest.mark.parametrize(
    ('iteration', 'factor'), [(0, 0.0), (25, 0.25), (100, 1.0), (500, 1.0)]
)
def test_ramp_up(monkeypatch, iteration, factor):
    """Of the pseudo labels alone."""
    hub = MessageHub.get_instance('ramp')
    hub.update_info('iter', iteration)
    monkeypatch.setattr(MessageHub, 'get_current_instance', lambda: hub)
    ramp = dict(kind='linear', length=100)
    full, got = (fill(make(**s)).loss(inputs_of()) for s in ({}, dict(ramp_up=ramp)))
    assert full['loss_ct0'] > 0 and full['loss_ct1'] > 0
    for name, value in got.items():
        scale = factor if name.startswith('loss_ct') else 1
        assert_close(value, scale * full[name])


def test_features_that_are_larger_than_the_logits():
    student = student_cfg(decode_head=dict(align_corners=True))
    model = make(student, feature='stage1', max_anchors=60, lc_direction=False)
    reference = Reference(model)
    fill(model, None, reference)
    inputs = inputs_of(1, size=(32, 32))
    assert model.banks[0].dim == 8
    torch.manual_seed(1)
    losses = model.loss(inputs)
    torch.manual_seed(1)
    expected, _ = reference.losses(inputs)
    for key, value in losses.items():
        assert_close(value, torch.as_tensor(expected[key]), rtol=1e-4, atol=1e-6)
    assert losses['loss_hc0'] > 0
    assert losses['loss_lc0'] > 0


def test_vector_of_cross_teaching():
    """Student A learns from teacher B's labels, B from those of A."""
    model = make(**BASE)
    probs = [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]], [[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]
    ones = torch.ones(1, 1, 2)
    said = [
        PseudoLabel(torch.tensor([[label]]), ones, ones.bool())
        for label in ([0, 2], [1, 1])
    ]
    logits = [torch.tensor(p).log().T.reshape(1, 3, 1, 2) for p in probs]
    loss = sum(model.taught(x, model.sources(i, said)) for i, x in enumerate(logits))
    assert loss.item() == pytest.approx(1.585043, abs=1e-6)


def test_names_of_the_losses():
    for count, suffixes in ((1, ('',)), (2, '01'), (3, '012')):
        model = make(num_pairs=count, lc_weight=0.1 * (count > 1))
        names = set(model.loss(inputs_of()))
        kinds = ['loss_ct', 'loss_hc', 'loss_lc'][: 3 if count > 1 else 2]
        expected = {f'{kind}{end}' for kind in kinds for end in suffixes}
        for end in suffixes:
            expected |= {f'sup{end}.decode.loss_ce', f'sup{end}.decode.acc_seg'}
        assert names == expected


def test_unsupervised_losses_and_a_plain_batch():
    model = make()
    inputs = inputs_of()
    unsupervised = model.unsupervised_loss(inputs)
    assert {key[:7] for key in unsupervised} == {'loss_ct', 'loss_hc', 'loss_lc'}
    supervised = model(*inputs['labeled'], mode='loss')
    assert {key.split('.')[0] for key in supervised} == {'sup0', 'sup1'}


# Who learns from whom


@pytest.mark.parametrize(
    ('settings', 'teachers'),
    [
        (dict(), ['1', '0']),
        (dict(num_pairs=3), ['12', '02', '01']),
        (dict(num_pairs=1), ['0']),
        (dict(teaching='dual'), ['01', '01']),
        (dict(teaching='dual', num_pairs=1), ['0']),
        (dict(teaching='own'), ['0', '1']),
        (dict(teaching='own', num_pairs=3), ['0', '1', '2']),
        (dict(teaching='ensemble'), ['01', '01']),
        (dict(mix='cutmix'), ['1', '0']),
    ],
)
def test_which_teachers_a_student_hears(settings, teachers):
    """Other weights of a teacher change the losses of those who listen to it alone."""
    model, inputs = make(**settings, **BASE), inputs_of()

    def losses():
        torch.manual_seed(1)
        found = model.loss(inputs)
        return [value.item() for key, value in found.items() if 'loss_ct' in key]

    before = losses()
    for index, pair in enumerate(model.pairs):
        state = frozen_copy(pair.teacher)
        mixed_up(pair.teacher, seed=50 + index)
        changed = [a != b for a, b in zip(losses(), before, strict=True)]
        assert changed == [str(index) in heard for heard in teachers]
        pair.teacher.load_state_dict(state)


def test_classmix_goes_by_the_first_teacher():
    """All students see the same image; another first teacher makes another one."""
    model, inputs, seen = make(mix='classmix', **BASE), inputs_of(n=4), []
    for pair in model.pairs:
        pair.student.backbone.register_forward_hook(
            lambda module, args, output: seen.append(args[0])
        )
    strong = inputs['unlabeled']['strong'].inputs
    torch.manual_seed(1)
    model.loss(inputs)
    assert len(seen) == 4
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[1], strong)
    pixels = torch.cat([strong.flip(0), strong]).flatten(2)
    assert torch.isin(seen[1].flatten(), pixels.flatten()).all()
    for index, same in ((1, True), (0, False)):
        mixed_up(model.pairs[index].teacher, seed=60)
        torch.manual_seed(1)
        model.loss(inputs)
        assert torch.equal(seen[-1], seen[1]) is same


def test_teachers_see_the_weak_view_and_students_the_strong_one():
    model, inputs, seen = make(), inputs_of(), {}
    for name, network in model.networks.items():
        seen[name] = []
        network.backbone.register_forward_hook(
            lambda module, args, output, name=name: seen[name].append(args[0])
        )
    model.loss(inputs)
    labeled = inputs['labeled'].inputs
    weak, strong = (inputs['unlabeled'][view].inputs for view in ('weak', 'strong'))
    for name, images in seen.items():
        expected = (labeled, strong) if 'student' in name else (weak, labeled)
        assert len(images) == 2
        assert all(map(torch.equal, images, expected))


def test_padding_of_either_view_teaches_nothing():
    inputs = inputs_of(1)
    weak, strong = (inputs['unlabeled'][view] for view in ('weak', 'strong'))
    samples = copy.deepcopy(strong.data_samples)
    inputs['unlabeled']['strong'] = strong._replace(data_samples=samples)
    for row, view in enumerate((weak.data_samples, samples)):
        for sample in view:
            sample.valid_map.data = sample.valid_map.data.clone()
            sample.valid_map.data[:, 4 * row : 4 * row + 4] = False
    model = make()
    reference = Reference(model)
    fill(model, None, reference)
    losses, (expected, _) = model.loss(inputs), reference.losses(inputs)
    for key, value in losses.items():
        assert_close(value, torch.as_tensor(expected[key]), rtol=1e-4, atol=1e-6)
    assert groups_of(model, inputs)[1][:, :2].eq(-1).all()


@pytest.mark.parametrize(
    ('settings', 'students', 'teachers'),
    [
        (dict(), 2, 2),
        (BASE, 2, 1),
        (dict(ct_weight=0), 2, 1),
        (dict(ct_weight=0, mix='cutmix'), 2, 1),
        (dict(ct_weight=0, mix='classmix'), 2, 2),
        (dict(ct_weight=0, anchor_label='teacher'), 2, 2),
        (dict(ct_weight=0, **BASE), 1, 0),
        (dict(ct_weight=0, mix='classmix', **BASE), 1, 0),
        (dict(ct_weight=0, teaching='mutual', **BASE), 1, 0),
    ],
)
def test_no_pass_is_in_vain(settings, students, teachers):
    model, inputs, seen = fill(make(**settings)), inputs_of(1), []
    for name, network in model.networks.items():
        network.backbone.register_forward_hook(
            lambda module, args, output, name=name: seen.append(name)
        )
    losses = model.loss(inputs)
    assert [seen.count(f'student{i}') for i in (0, 1)] == [students] * 2
    assert [seen.count(f'teacher{i}') for i in (0, 1)] == [teachers] * 2
    assert ('pseudo' in model.step_outputs) == (
        settings.get('ct_weight', 1) > 0 or (students == teachers == 2)
    )
    if students == 1:
        assert {key.split('.')[0] for key in losses} == {'sup0', 'sup1'}


@pytest.mark.parametrize(
    ('mix', 'one_view', 'passes'),
    [(None, True, 2), (None, False, 3), ('cutmix', True, 3), ('cutmix', False, 3)],
)
def test_mutual_teaching_reads_labels_where_it_learns_them(mix, one_view, passes):
    model, seen = make(teaching='mutual', mix=mix, **BASE), []
    model.student.backbone.register_forward_hook(lambda *args: seen.append(1))
    model.loss(inputs_of(one_view=one_view))
    assert len(seen) == passes
    assert list(model.networks) == ['student0', 'student1']


def test_a_batch_of_one_is_not_mixed_and_says_so_once():
    model, inputs = make(mix='cutmix', **BASE), inputs_of(n=1)
    model.pairs[1].student.eval()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        model.loss(inputs)
        model.loss(inputs)
    told = [str(w.message) for w in caught if 'batch_size=1' in str(w.message)]
    assert len(told) == 1
    assert "mix='cutmix' has no effect" in told[0]


# Gradients


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(num_pairs=3, proj_channels=5),
        dict(teaching='mutual', **BASE),
        dict(teaching='ensemble', mix='cutmix'),
        dict(lc_direction=False, lc_class='peer', checkpointing=True),
    ],
)
def test_a_loss_reaches_its_own_student_alone(settings):
    model = fill(make(**settings))
    losses = model.loss(inputs_of(1))
    parts = [list(pair.student.parameters()) for pair in model.pairs]
    for params, head in zip(parts, model.head_pairs, strict=False):
        params += head.student.parameters()
    checked = 0
    for name, value in losses.items():
        if 'loss' not in name:
            continue
        index = int(name[3] if name.startswith('sup') else name[-1])
        assert value > 0
        for other, params in enumerate(parts):
            moved = any(grad.ne(0).any() for grad in gradients(value, params))
            assert moved is (other == index), name
        checked += 1
    assert checked == len(model.pairs) * (4 if model.has_memory else 2)
    total(losses).backward()
    followed = [pair.teacher for pair in (*model.pairs, *model.head_pairs)]
    for teacher in filter(None, followed):
        assert not any(p.requires_grad for p in teacher.parameters())
        assert all(p.grad is None for p in teacher.parameters())


def test_what_is_left_has_no_gradient():
    model = fill(make(proj_channels=5))
    model.loss(inputs_of(1))
    for value in (
        *model.step_outputs['memory'].values(),
        *model.step_outputs['pseudo'],
    ):
        assert not value.requires_grad
    assert not any(buffer.requires_grad for buffer in model.banks.buffers())


def test_every_parameter_gets_a_gradient():
    """Also before the banks are full, or distributed training would wait."""
    for settings in (dict(proj_channels=5), dict(proj_channels=5, ct_weight=0)):
        model = make(**settings)
        losses = model.loss(inputs_of(1))
        assert losses['loss_hc0'] == losses['loss_lc1'] == 0
        total(losses).backward()
        for name, param in model.named_parameters():
            assert (param.grad is None) == ('.teacher.' in name), name
        assert all(p.grad.eq(0).all() for p in model.head_pairs[0].student.parameters())


# Anchors


def cells_of(model, label, said):
    """Class and confidence of the cells of student 0, and of its logits there."""
    n, side = 1, 2
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, 3, side, side, generator=generator)
    output = SegmentorOutput(logits, torch.ones(n, model.banks[0].dim, side, side))
    inputs = batch(n, size=(4, 4))
    inputs.data_samples[0].gt_sem_seg.data = label.repeat_interleave(
        2, 0
    ).repeat_interleave(2, 1)[None]
    said = said.repeat_interleave(2, 0).repeat_interleave(2, 1)[None]
    pseudo = PseudoLabel(said, torch.ones_like(said).float(), said != 255)
    anchors = model.anchors(0, inputs, Pass(output, output), pseudo)
    if model.read_at == 'pixel':  # the first of the four pixels of a cell
        logits = torch.nn.functional.interpolate(logits, (4, 4), mode='bilinear')
        logits = logits[:, :, ::2, ::2]
    return anchors, logits.softmax(1).max(1)


@pytest.mark.parametrize('read_at', ['pixel', 'cell'])
@pytest.mark.parametrize('rule', ['label', 'self', 'teacher'])
def test_classes_of_anchors(rule, read_at):
    model = make(anchor_label=rule, read_at=read_at)
    label, said = torch.tensor([[0, 255], [2, 1]]), torch.tensor([[1, 2], [255, 0]])
    anchors, (confidence, seen) = cells_of(model, label, said)
    assert_close(anchors.confidence, confidence.flatten().repeat(2))
    seen = seen.flatten().tolist()
    given = dict(
        label=[0, -1, 2, 1, *seen[:2], -1, seen[3]],
        self=[seen[0], -1, *seen[2:], *seen[:2], -1, seen[3]],
        teacher=[0, -1, 2, 1, 1, 2, -1, 0],
    )
    assert anchors.group.tolist() == given[rule]
    assert given['label'] != given['self']


def groups_of(model, inputs):
    """Classes of the cells of student 0, (labeled, unlabeled)."""
    found, anchors = [], model.anchors

    def spy(*args):
        found.append(anchors(*args))
        return found[-1]

    model.anchors = spy
    model.loss(inputs)
    model.anchors = anchors
    return found[0].group.view(2, -1, 4, 4)


def test_padded_cells_and_those_without_label_take_no_part():
    model = fill(make())
    labeled, unlabeled = groups_of(model, inputs_of(1))
    without = torch.zeros(2, 4, 4, dtype=torch.bool)
    without[0, :2] = True
    assert torch.equal(labeled < 0, without)
    padded = torch.zeros(2, 4, 4, dtype=torch.bool)
    padded[:, :, 3] = True
    assert torch.equal(unlabeled < 0, padded)


@pytest.mark.parametrize('rule', ['label', 'teacher'])
def test_another_ignored_label(rule):
    """A head whose ignored label is a class: its pixels are no anchors.

    In pseudo labels it is a class as any other.
    """
    student = tiny_student(decode_head=dict(ignore_index=0))
    inputs = inputs_of(1)
    inputs['labeled'].data_samples[0].gt_sem_seg.data[:, :5] = 0
    labeled, unlabeled = groups_of(fill(make(student, anchor_label=rule)), inputs)
    assert unlabeled[:, :, :3].ge(0).all()
    assert unlabeled.eq(0).any()
    label = torch.cat([s.gt_sem_seg.data for s in inputs['labeled'].data_samples])
    label = label[:, ::4, ::4]
    assert torch.equal(labeled, torch.where(label == 0, -1, label))


# Banks


def test_only_well_predicted_labeled_pixels_enter():
    model, inputs = make(enqueue_number=2), inputs_of(1)
    labeled = inputs['labeled']
    for right in (True, False):
        for index, pair in enumerate(model.pairs):
            logits = model.adapter.inference(pair.teacher, labeled.inputs)
            label = logits.argmax(1) if right else (logits.argmax(1) + 1) % 3
            for sample, one in zip(labeled.data_samples, label, strict=True):
                sample.gt_sem_seg.data = one[None]
            group = model.candidates(index, labeled)['group']
            if not right:
                assert group.eq(-1).all()
                continue
            present = label[:, ::4, ::4].unique(return_counts=True)
            for c, count in zip(*(x.tolist() for x in present), strict=True):
                assert (group == c).sum() == min(2, count)


@pytest.mark.parametrize('select', ['top', 'random'])
def test_which_ones_enter(select):
    """The most confident ones, or others from step to step."""
    model, inputs = make(enqueue_select=select, enqueue_number=2), inputs_of(1)
    found = []
    for seed in range(4):
        torch.manual_seed(seed)
        found.append(model.candidates(0, inputs['labeled'])['features'])
    same = [torch.equal(found[0], other) for other in found[1:]]
    assert all(same) if select == 'top' else not all(same)


@pytest.mark.parametrize(
    ('rule', 'labels', 'number'),
    [
        ('ratio', 3, 1),
        ('ratio', 24, 3),
        ('ratio', 31, 3),
        ('ratio', 9000, 8),
        ('inverse', 1, 8),
        ('inverse', 3, 2),
        ('inverse', 100, 1),
        (5, 100, 5),
        (5, None, 5),
    ],
)
def test_how_many_enter(rule, labels, number):
    """Of N = 8: labels / N or N / labels, at least 1 and never more than N."""
    model = make(bank_size=8, enqueue_number=rule)
    model.set_num_labeled(labels)
    assert model.number_to_enqueue() == number
    model.loss(inputs_of(n=4))
    rows = model.step_outputs['memory']
    most = max((rows['group0'] == c).sum() for c in range(3))
    assert most == min(number, most) and (most > 1) == (number > 1)


@pytest.mark.parametrize('rule', ['ratio', 'inverse'])
def test_a_rule_without_the_number_of_labels(rule):
    with pytest.raises(RuntimeError, match=f"enqueue_number='{rule}' needs the number"):
        make(enqueue_number=rule).loss(inputs_of())


def labeled_as_predicted(model, labeled):
    """By the first teacher, with all classes."""
    logits = model.adapter.inference(model.pairs[0].teacher, labeled.inputs)
    label = logits.argmax(1)
    assert set(label.unique().tolist()) == {0, 1, 2}
    for sample, one in zip(labeled.data_samples, label, strict=True):
        sample.gt_sem_seg.data = one[None]
    return labeled


@pytest.mark.parametrize('select', ['top', 'random'])
def test_of_several_batches_the_best_enter(select):
    """k of a class in a step, as if they were one batch; -1 is not entered."""
    model = make(bank_size=8, enqueue_number=2, enqueue_select=select)
    dim = model.banks[0].dim
    rows = torch.arange(6.0)[:, None].expand(6, dim)
    group = torch.tensor([0, 0, 1, -1, 0, 1])
    score = torch.tensor([0.5, 0.9, 0.7, 1.0, 0.6, 0.8])
    parts = dict(features=rows, group=group, score=score)
    both = {f'{name}{i}': part for name, part in parts.items() for i in (0, 1)}
    model.update_memory(**both)
    for bank in model.banks:
        assert bank.count.tolist() == [2, 2, 0]
        assert bank.features[0, :2, 0].tolist() == [1, 4]
        assert bank.features[1, :2, 0].tolist() == [2, 5]


def test_halves_of_a_batch_enter_what_the_whole_does():
    """As with accumulation, and with several processes."""
    model = make(bank_size=8, enqueue_number=2)
    labeled = labeled_as_predicted(model, inputs_of(1, n=4)['labeled'])
    halves = [
        Batch(labeled.inputs[part], labeled.data_samples[part])
        for part in (slice(2), slice(2, 4))
    ]
    whole, banks = model.candidates(0, labeled), []
    parts = [model.candidates(0, half) for half in halves]
    for new in (whole, {k: torch.cat([part[k] for part in parts]) for k in whole}):
        model.banks[0].count.zero_()
        model.banks[0].pointer.zero_()
        model.update_memory(
            **{f'{name}{i}': part for name, part in new.items() for i in (0, 1)}
        )
        banks.append(copy.deepcopy(model.banks[0]))
    assert banks[0].count.tolist() == banks[1].count.tolist() == [2, 2, 2]
    assert_close(banks[0].features, banks[1].features)
    assert sum((part['group'] >= 0).sum() for part in parts) > banks[0].count.sum()


def test_pixels_with_an_ignored_class_do_not_enter():
    """Though they are predicted as labeled."""
    student = tiny_student(decode_head=dict(ignore_index=0))
    model = make(student, enqueue_number=3)
    labeled = labeled_as_predicted(model, inputs_of(1)['labeled'])
    assert set(model.candidates(0, labeled)['group'].tolist()) == {-1, 1, 2}


FULL = (3, 3, 3)
GATES = [
    # counts of both banks, (hc0, hc1, lc) with 'all', 'any', 'class', levels apart;
    # whether they begin together
    ([FULL, FULL], (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
    ([(0, 0, 0), (0, 0, 0)], (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)),
    ([(2, 2, 2), FULL], (0, 1, 0), (0, 1, 0), (0, 1, 0), (0, 0, 0)),
    ([(3, 3, 0), FULL], (0, 1, 0), (1, 1, 1), (1, 1, 1), (0, 1, 1)),
    ([(3, 0, 0), FULL], (0, 1, 0), (0, 1, 1), (0, 1, 1), (0, 1, 1)),
    ([(3, 3, 2), (3, 2, 3)], (0, 0, 0), (1, 1, 1), (1, 1, 1), (0, 1, 1)),
]


@pytest.mark.parametrize('case', GATES, ids=lambda case: str(case[0]))
def test_when_the_contrast_begins(case):
    """One class alone, (3, 0, 0), has no negatives of its own bank."""
    counts, *expected, together = case
    settings = dict(lc_direction=False, threshold=0.5, anchor_label='self')
    inputs = unlabeled_alone(inputs_of(1, n=4))
    models = make(**settings)
    modes = zip(('all', 'any', 'class'), expected, together, strict=True)
    for mode, wanted, begun in modes:
        high0, high1, low = wanted
        for rule in ('apart', 'together'):
            model = fill(copy.deepcopy(models), counts)
            model.bank_ready, model.levels_begin = mode, rule
            losses = model.loss(inputs)
            found = [losses[f'loss_{key}'] > 0 for key in ('hc0', 'hc1', 'lc0', 'lc1')]
            held = rule == 'together' and not begun
            assert found == [held < x for x in (high0, high1, low, low)], (mode, rule)
        total(losses).backward()
        short = {c for row in counts for c, n in enumerate(row) if n < 3}
        if mode == 'any':
            none = [all(n < 3 for n in row) for row in counts]
            short = {0, 1, 2} if any(none) else set()
        assert model.unready_classes() == sorted(short)


def test_class_by_class_the_levels_begin_together():
    """No cell of a class learns before its queues are full in both banks."""
    counts = [(3, 3, 2), (3, 3, 3)]
    settings = dict(lc_direction=False, anchor_label='self', bank_ready='class')
    learning = {}
    for rule in ('apart', 'together'):
        model = fill(make(levels_begin=rule, **settings), counts)
        learning[rule] = []
        high_level = model.contrast_loss.high_level

        def spy(anchors, bank, seen=learning[rule], high_level=high_level):
            seen.append(bank.ready.tolist())
            return high_level(anchors, bank)

        model.contrast_loss.high_level = spy
        model.loss(unlabeled_alone(inputs_of(1)))
    assert learning['apart'] == [[True, True, False], [True, True, True]]
    assert learning['together'] == [[True, True, False]] * 2


def test_class_by_class_only_full_queues_are_keys():
    """What lies in a queue that is not full changes nothing."""
    model = make(bank_ready='class', lc_direction=False)
    fill(model, [(3, 3, 2), (3, 3, 1)])
    inputs = unlabeled_alone(inputs_of(1))
    found = []
    for _ in range(2):
        with torch.no_grad():
            losses = model.loss(inputs)
        found.append([v.item() for k, v in losses.items() if '_hc' in k or '_lc' in k])
        for bank in model.banks:
            bank.features[2].neg_()
    assert found[0] == found[1]
    model.bank_ready = 'any'
    with torch.no_grad():
        assert model.loss(inputs)['loss_hc0'].item() != found[0][0]


@pytest.mark.parametrize('mode', ['all', 'any', 'class'])
def test_a_bank_that_never_fills(mode):
    """No pixel is labeled as class 2."""
    model = make(bank_ready=mode, proj_channels=4, enqueue_number=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    values = []
    for seed in range(6):
        inputs = inputs_of(seed)
        for sample in inputs['labeled'].data_samples:
            label = sample.gt_sem_seg.data
            label[label == 2] = 0
        losses = model.loss(inputs)
        values.append([losses[f'loss_{key}'].item() for key in ('hc0', 'hc1', 'lc0')])
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        model.update_memory(**model.step_outputs['memory'])
        model.update_teacher(0.9)
    assert [bank.count.tolist() for bank in model.banks] == [[3, 3, 0]] * 2
    if mode == 'all':
        assert all(value == 0 for step in values for value in step)
        assert all(p.grad.eq(0).all() for p in model.head_pairs[0].student.parameters())
    else:
        assert all(value > 0 for value in values[-1][:2])
    assert model.unready_classes() == ([] if mode == 'any' else [2])
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_step_sees_its_own_rows():
    """The bank as it will be: full after this step, so contrasted in it."""
    model = fill(make(enqueue_number=3, levels_begin='apart'), [(2, 2, 2)] * 2)
    losses = model.loss(inputs_of(1, n=4))
    groups = [model.step_outputs['memory'][f'group{index}'] for index in (0, 1)]
    for index, group in enumerate(groups):
        entered = all((group == c).any() for c in range(3))
        assert (losses[f'loss_hc{index}'] > 0) == entered
        assert model.banks[index].count.tolist() == [2, 2, 2]
    assert any(all((group == c).any() for c in range(3)) for group in groups)


# Students that differ


def test_pairs_start_differently():
    model = build(dict(type='CTT', student=tiny_student(), num_pairs=3))
    weights = [pair.student.decode_head.conv_seg.weight for pair in model.pairs]
    for i, one in enumerate(weights):
        for other in weights[:i]:
            assert not torch.equal(one, other)
    for pair in model.pairs:
        for mine, theirs in zip(
            pair.student.parameters(), pair.teacher.parameters(), strict=True
        ):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize(('count', 'i', 'j'), [(2, 0, 1), (3, 0, 2), (3, 1, 2)])
def test_equal_students_are_an_error(count, i, j):
    model = make(num_pairs=count, **BASE)
    state = model.pairs[i].student.state_dict()
    model.pairs[j].student.load_state_dict(state)
    with pytest.raises(ValueError, match=f'students {i} and {j} start with equal'):
        model.loss(inputs_of())
    with torch.no_grad():
        model.pairs[j].student.decode_head.conv_seg.bias += 0.1
    model.loss(inputs_of())


def test_students_are_compared_once(monkeypatch):
    model = make(**BASE)
    model.loss(inputs_of())
    monkeypatch.setattr(torch, 'equal', None)
    model.loss(inputs_of())


@pytest.fixture
def plain(tmp_path):
    network = spread(build(tiny_student()), 3)
    save_checkpoint(dict(state_dict=network.state_dict()), str(tmp_path / 'plain.pth'))
    return str(tmp_path / 'plain.pth'), network.state_dict()


@pytest.mark.parametrize('load_heads', [False, True])
def test_a_plain_checkpoint_fills_backbones_and_heads_on_request(plain, load_heads):
    path, state = plain
    model = make(load_heads=load_heads, **BASE)
    before = {name: frozen_copy(net) for name, net in model.networks.items()}
    load_checkpoint(model, path, 'cpu', strict=True)
    for name, network in model.networks.items():
        own = before[name.replace('teacher', 'student')]
        filled = load_heads and name.endswith('0')
        for key, value in network.state_dict().items():
            kept = key.startswith('decode_head') and not filled
            assert torch.equal(value, own[key] if kept else state[key]), (name, key)
    model.loss(inputs_of())


def test_whole_networks_by_init_cfg_are_equal(plain):
    path, _ = plain
    student = tiny_student(init_cfg=dict(type='Pretrained', checkpoint=path))
    model = build(dict(type='CTT', student=student)).train()
    with pytest.raises(ValueError, match=r'by load_from, .* not by init_cfg'):
        model.loss(inputs_of())


# Prediction

NAMES = {
    'one': (dict(num_pairs=1, **BASE), ['student', 'teacher'], ['mean']),
    'two': (
        BASE,
        ['student0', 'student1', 'teacher0', 'teacher1'],
        ['mean', 'mean_students', 'mean_teachers'],
    ),
    'mutual': (
        dict(teaching='mutual', num_pairs=3, **BASE),
        ['student0', 'student1', 'student2'],
        ['mean', 'mean_students'],
    ),
}


@pytest.mark.parametrize('name', NAMES)
def test_predict_with_every_name(name):
    settings, networks, means = NAMES[name]
    model = make(**settings).eval()
    assert list(model.networks) == networks
    assert model.predict_with == networks[0]
    images, samples = batch(2, size=SIZE)
    metas = [sample.metainfo for sample in samples]
    with torch.no_grad():
        probs = {
            key: net.encode_decode(images, metas).softmax(1)
            for key, net in model.networks.items()
        }
        seen = []
        for key in networks + means:
            model.predict_with = key
            kind = key.removeprefix('mean_').rstrip('s') if key in means else key
            parts = [probs[n] for n in networks if kind in (n, n[:-1], 'mean')]
            mean = sum(parts) / len(parts)
            results = model.predict(images, copy.deepcopy(samples))
            for result, expected in zip(results, mean, strict=True):
                assert_close(result.seg_logits.data.softmax(0), expected)
                assert torch.equal(result.pred_sem_seg.data[0], expected.argmax(0))
            seen.append(round(mean[0, 0, 0, 0].item(), 5))
    assert len(set(seen)) >= len(networks) + 1
    for key in networks + means:
        build(dict(type='CTT', student=tiny_student(), predict_with=key, **settings))


@pytest.mark.parametrize('name', NAMES)
def test_wrong_predict_with_names_the_allowed(name):
    settings, networks, means = NAMES[name]
    wrong = 'student' if len(networks) > 2 else 'student0'
    with pytest.raises(ValueError, match='predict_with of CTT must be in') as error:
        make(predict_with=wrong, **settings)
    assert str([*networks, *means]) in str(error.value)


# State


@pytest.mark.parametrize(
    'settings',
    [
        dict(proj_channels=5, mix='classmix'),
        dict(checkpointing=True),
        dict(num_pairs=3),
        dict(teaching='mutual', **BASE),
        dict(teaching='ensemble', max_anchors=10),
    ],
)
def test_loss_and_backward_change_batch_norm_statistics_alone(settings):
    model = fill(make(**settings))
    before = frozen_copy(model)
    total(model.loss(inputs_of())).backward()
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    expected = {key for key in before if '.student.' in key and 'pairs.' in key}
    assert changed == {key for key in expected if key.endswith(STATISTICS)}


def test_recomputing_changes_nothing():
    """With dropout: losses, gradients, statistics, random numbers that follow."""
    student = tiny_student(decode_head=dict(dropout_ratio=0.5))
    first = fill(make(student, proj_channels=5, mix='cutmix'))
    results = []
    for checkpointing in (False, True):
        model, passes = copy.deepcopy(first), []
        model.checkpointing = checkpointing
        backbone = model.student.backbone
        backbone.register_forward_hook(lambda *args, seen=passes: seen.append(1))
        torch.manual_seed(4)
        losses = model.loss(inputs_of(1, n=4))
        assert len(passes) == 2
        total(losses).backward()
        assert len(passes) == (4 if checkpointing else 2)
        found = {f'grad {k}': p.grad for k, p in model.named_parameters()}
        found.update(frozen_copy(model), next=torch.rand(1))
        results.append({**found, **{k: v.detach() for k, v in losses.items()}})
    expected, got = results
    for key, value in got.items():
        if value is not None:
            assert torch.equal(value, expected[key]), key
    assert got['loss_hc0'] > 0


def test_memory_and_teachers_move_by_their_methods():
    model = fill(make(proj_channels=5))
    model.loss(inputs_of(1))
    rows = model.step_outputs['memory']
    names = ('features', 'group', 'score')
    assert set(rows) == {f'{name}{index}' for name in names for index in (0, 1)}
    before = frozen_copy(model)
    model.update_memory(**rows)
    model.update_teacher(0.5)
    after = model.state_dict()
    for index in (0, 1):
        for part in ('pairs', 'head_pairs'):
            key = f'{part}.{index}'
            name = next(
                k for k in before if k.startswith(f'{key}.teacher') and 'weight' in k
            )
            student = before[name.replace('.teacher.', '.student.')]
            assert_close(after[name], (before[name] + student) / 2)
        changed = not torch.equal(
            before[f'banks.{index}.features'], after[f'banks.{index}.features']
        )
        assert changed == bool((rows[f'group{index}'] >= 0).any())
    for c in range(3):
        new = rows['features0'][rows['group0'] == c]
        for row in new:
            assert (model.banks[0].features[c] == row).all(1).any()


def test_statistics_of_the_pseudo_labels_of_all_pairs():
    model, inputs = make(**BASE), inputs_of(1)
    model.loss(inputs)
    stats = model.step_outputs['pseudo']
    valid = inputs['unlabeled']['weak'].valid
    assert stats.total.sum() == stats.count.sum() == 2 * valid.sum()
    weak = inputs['unlabeled']['weak'].inputs
    said = [model.adapter.inference(pair.teacher, weak) for pair in model.pairs]
    counts = [one.argmax(1)[valid].bincount(minlength=3) for one in said]
    assert torch.equal(stats.total, sum(counts))
    assert not torch.equal(*counts)


def test_without_contrast_there_are_no_banks():
    model = make(**BASE)
    assert not model.has_memory
    assert model.unready_classes() == []
    assert not any('bank' in key for key in model.state_dict())
    model.loss(inputs_of())
    assert 'memory' not in model.step_outputs


# Precision, device, heads


@pytest.mark.parametrize('settings', [{}, dict(proj_channels=5, checkpointing=True)])
def test_bf16_autocast(settings):
    model = fill(make(**settings))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(inputs_of(1))
    for key in ('loss_hc0', 'loss_lc1', 'loss_ct0'):
        assert losses[key].dtype == torch.float32
        assert losses[key] > 0
    total(losses).backward()
    for pair in model.pairs:
        assert all(p.grad.isfinite().all() for p in pair.student.parameters())


@pytest.mark.parametrize(
    'settings',
    [
        dict(proj_channels=5),
        dict(num_pairs=3, bank_ready='class', norm='masked', lc_class='peer'),
        dict(bank_ready='any', enqueue_select='random', max_anchors=20),
        dict(read_at='cell', levels_begin='apart'),
    ],
)
def test_no_host_sync(settings, monkeypatch):
    """After the networks: pseudo labels, what enters the banks, the contrast."""
    monkeypatch.setattr(compact, 'DEVICES', ())
    model, inputs = fill(make(**settings)), inputs_of(1)
    weak, strong = (inputs['unlabeled'][view] for view in model.views)
    passes = [
        Pass(
            model.adapter(pair.student, inputs['labeled'].inputs),
            model.adapter(pair.student, strong.inputs),
        )
        for pair in model.pairs
    ]
    model.loss(inputs)  # the attention kernel is tried out once
    with NoHostSync() as seen:
        said = model.labels(weak, strong)
        losses = model.contrast(inputs['labeled'], passes, said)
        losses['loss_ct'] = model.taught(
            passes[0].unlabeled.logits, model.sources(0, said)
        )
        total(losses).backward()
        model.update_memory(**model.step_outputs['memory'])
    assert 'addmm' in seen.ops
    assert losses['loss_hc0'] > 0


@pytest.mark.parametrize('name', ['deeplabv3plus', 'segformer', 'ocrnet'])
def test_trains_on_other_heads(name):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    settings = dict(bank_size=1, bank_ready='any', enqueue_number=1)
    model = build(dict(type='CTT', student=student, **settings))
    optimizer = torch.optim.SGD(model.train().parameters(), 0.01)
    size = (32, 64)
    for seed in range(3):
        labeled, unlabeled = batch(2, seed, size), batch(2, seed, size, False)
        losses = model.loss(dict(labeled=labeled, unlabeled=unlabeled))
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        model.update_memory(**model.step_outputs['memory'])
        model.update_teacher(0.5)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert sum(bank.count.sum() for bank in model.banks) > 0


# Settings


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(teaching='self'), "teaching must be in .* 'self'"),
        (dict(mix='mixup'), "mix must be in .* 'mixup'"),
        (dict(ct_reduce='max'), "ct_reduce must be in .* 'max'"),
        (dict(ramp_up=dict(kind='log', length=9)), "ramp-up kind must be .* 'log'"),
        (dict(ramp_up=dict(length=-9)), 'ramp-up length must be .* -9'),
        (dict(lc_class='both'), "lc_class must be in .* 'both'"),
        (dict(anchor_label='peer'), "anchor_label must be in .* 'peer'"),
        (dict(bank_ready='none'), "bank_ready must be in .* 'none'"),
        (dict(levels_begin='now'), "levels_begin must be in .* 'now'"),
        (dict(read_at='image'), "read_at must be in .* 'image'"),
        (dict(enqueue_select='last'), "enqueue_select must be in .* 'last'"),
        (dict(sup_weight=-1), 'sup_weight must be a number >= 0, but got -1'),
        (dict(ct_weight=-0.1), 'ct_weight must be a number >= 0, but got -0.1'),
        (dict(hc_weight=math.nan), 'hc_weight must be a number >= 0, but got nan'),
        (dict(lc_weight=-1), 'lc_weight must be a number >= 0, but got -1'),
        (dict(num_pairs=0), 'num_pairs must be an integer >= 1, but got 0'),
        (dict(num_pairs=1.5), 'num_pairs must be an integer >= 1, but got 1.5'),
        (dict(num_pairs=1), 'with num_pairs=1 set lc_weight=0, but got 0.1'),
        (dict(teaching='mutual', num_pairs=1), 'needs num_pairs of at least 2'),
        (dict(teaching='mutual'), 'set hc_weight=0 and lc_weight=0, but got 0.1 and'),
        (
            dict(teaching='mutual', teacher=dict(mode='eval'), **BASE),
            'has no teachers: teacher must be None',
        ),
        (dict(teacher=dict(decay=0.9)), r"'mode' and 'buffers', but got \['decay'\]"),
        (dict(feature=None), 'feature must not be None'),
        (dict(feature='stage0'), "feature must be 'pre_cls'"),
        (dict(temperature=0), 'temperature must be > 0, but got 0'),
        (dict(threshold=1.5), r'threshold must be in \[0, 1\], but got 1.5'),
        (
            dict(threshold=1, lc_weight=0),
            'with lc_weight=0 threshold must be below 1, .* but got 1',
        ),
        (
            dict(threshold=0, hc_weight=0),
            'with hc_weight=0 threshold must be above 0, .* but got 0',
        ),
        (dict(norm='valid'), "norm must be in .* 'valid'"),
        (dict(proj_channels=0), 'proj_channels must be an integer >= 1, but got 0'),
        (dict(max_anchors=0), 'max_anchors must be an integer >= 1, but got 0'),
        (dict(max_anchors=0.5), 'max_anchors must be an integer >= 1, but got 0.5'),
        (dict(bank_size=0), 'bank_size must be an integer >= 1, but got 0'),
        (
            dict(enqueue_number=0),
            r"integer >= 1, or in \('ratio', 'inverse'\), but got 0",
        ),
        (dict(enqueue_number=1.5), 'enqueue_number must be an integer >= 1'),
        (dict(enqueue_number=True), 'enqueue_number must be an integer >= 1'),
        (dict(enqueue_number='half'), r"or in \('ratio', 'inverse'\), but got 'half'"),
        (dict(enqueue_number=129), 'must be at most bank_size=128, but got 129'),
        (dict(bank_size=-3, **BASE), 'bank_size must be an integer >= 1, but got -3'),
        (dict(hc_weight=math.inf), 'hc_weight must be a number >= 0, but got inf'),
        (dict(proj_channels=4, normalize=False), 'normalize must be True with a proj'),
        (dict(views='ab'), r"views must be \(weak, strong\), but got 'ab'"),
        (dict(views=('weak',)), r"views must be \(weak, strong\), but got \('weak',\)"),
        (dict(predict_with='student'), "predict_with of CTT must be in .* 'student'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='CTT', student=tiny_student(), **settings))


def test_missing_views_are_named():
    model = make(views=('weak', 'stronger'))
    with pytest.raises(ValueError, match=r"needs \['stronger'\]"):
        model.loss(inputs_of())
