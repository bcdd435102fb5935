"""CTT: against its equations written with loops, gradients, banks, settings."""

import copy
import warnings

import pytest
import torch
from ctt_models import SIZE, fill, gradients, inputs_of, make, mixed_up, tiny_student
from ctt_reference import Reference
from helpers import batch, build, frozen_copy, spread, student_cfg, total
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.runner import load_checkpoint, save_checkpoint
from no_sync import NoHostSync
from torch.testing import assert_close
from zoo import ZOO

from mmsemiseg.functional import PseudoLabel, compact
from mmsemiseg.models.contrast import Pass
from mmsemiseg.models.teaching import targets_of

BASE = dict(contrast=None)
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


# Against loops

SETTINGS = {
    'default': {},
    'weights': dict(
        sup_weight=2.0,
        pseudo_loss=dict(weight=0.5),
        contrast=dict(hc_weight=0.3, lc_weight=0.7),
    ),
    'three pairs': dict(num_pairs=3),
    'three pairs, sum': dict(
        num_pairs=3, ct_reduce='sum', contrast=dict(lc_reduce='sum')
    ),
    'one pair': dict(num_pairs=1, contrast=dict(lc_weight=0)),
    'one pair, no contrast': dict(num_pairs=1, mix=dict(type='ClassMix'), **BASE),
    'mutual': dict(type='CPS', **BASE),
    'mutual, three': dict(type='CPS', num_pairs=3, **BASE),
    'mutual, cutmix': dict(type='CPS', mix=dict(type='CutMix'), **BASE),
    'mutual, contrast': dict(type='CPS'),
    'mutual, projector': dict(
        type='CPS', contrast=dict(projector=dict(channels=5), anchor_label='pseudo')
    ),
    'mutual, three, classmix, contrast': dict(
        type='CPS', num_pairs=3, mix=dict(type='ClassMix')
    ),
    'separate pairs': dict(teaching='own'),
    'separate pairs, three': dict(teaching='own', num_pairs=3, **BASE),
    'ensemble': dict(teaching='ensemble'),
    'ensemble, three': dict(teaching='ensemble', num_pairs=3, **BASE),
    'dual': dict(teaching='dual'),
    'dual, three, sum': dict(teaching='dual', num_pairs=3, ct_reduce='sum', **BASE),
    'cutmix': dict(mix=dict(type='CutMix')),
    'classmix': dict(mix=dict(type='ClassMix')),
    'high level alone': dict(contrast=dict(lc_weight=0)),
    'low level alone': dict(contrast=dict(hc_weight=0)),
    'no pseudo labels': dict(pseudo_loss=dict(weight=0)),
    'own classes': dict(contrast=dict(anchor_label='self')),
    'classes of the teacher': dict(contrast=dict(anchor_label='pseudo')),
    'classes of the first teacher': dict(
        num_pairs=3, contrast=dict(anchor_label='pseudo')
    ),
    'classes of the own teacher': dict(
        teaching='dual', contrast=dict(anchor_label='pseudo')
    ),
    'classes of the teacher, no pseudo labels': dict(
        pseudo_loss=dict(weight=0), contrast=dict(anchor_label='pseudo')
    ),
    'classmix, no pseudo labels': dict(
        mix=dict(type='ClassMix'), pseudo_loss=dict(weight=0)
    ),
    'cutmix, no pseudo labels': dict(
        mix=dict(type='CutMix'), pseudo_loss=dict(weight=0)
    ),
    'all are confident': dict(contrast=dict(threshold=0)),
    'none is confident': dict(contrast=dict(threshold=1)),
    'masked': dict(contrast=dict(norm='masked')),
    'no direction': dict(contrast=dict(lc_direction=False)),
    'class of the peer': dict(contrast=dict(lc_class='peer', lc_direction=False)),
    'temperature': dict(contrast=dict(temperature=0.2)),
    'not normalized': dict(contrast=dict(normalize=False)),
    'projector': dict(contrast=dict(projector=dict(channels=5))),
    'drawn': dict(contrast=dict(max_anchors=20)),
    'any': dict(contrast=dict(ready='any', bank=dict(size=4))),
    'class': dict(contrast=dict(ready='class', bank=dict(size=4))),
    'one bank ahead': dict(contrast=dict(ready='class', bank=dict(size=4))),
    'one bank ahead, apart': dict(
        contrast=dict(ready='class', bank=dict(size=4), levels_begin='apart')
    ),
    'read at the cell': dict(contrast=dict(read_at='cell')),
    'read at the cell, own classes': dict(
        contrast=dict(read_at='cell', anchor_label='self')
    ),
    'many enter': dict(contrast=dict(enqueue_number=3)),
    'random ones enter': dict(contrast=dict(enqueue_number=2, enqueue_select='random')),
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
    full, got = (
        fill(make(**s)).loss(inputs_of())
        for s in ({}, dict(pseudo_loss=dict(ramp_up=ramp)))
    )
    assert full['loss_ct0'] > 0 and full['loss_ct1'] > 0
    for name, value in got.items():
        scale = factor if name.startswith('loss_ct') else 1
        assert_close(value, scale * full[name])


def test_features_that_are_larger_than_the_logits():
    student = student_cfg(decode_head=dict(align_corners=True))
    contrast = dict(feature='stage1', max_anchors=60, lc_direction=False)
    model = make(student, contrast=contrast)
    reference = Reference(model)
    fill(model, None, reference)
    inputs = inputs_of(1, size=(32, 32))
    assert model.contrast.banks[0].dim == 8
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
    pseudo = [
        PseudoLabel(torch.tensor([[label]]), ones, ones.bool())
        for label in ([0, 2], [1, 1])
    ]
    logits = [torch.tensor(p).log().T.reshape(1, 3, 1, 2) for p in probs]
    loss = sum(
        model.taught(x, targets_of(model.teaching, pseudo, i))
        for i, x in enumerate(logits)
    )
    assert loss.item() == pytest.approx(1.585043, abs=1e-6)


def test_names_of_the_losses():
    for count, suffixes in ((1, ('',)), (2, '01'), (3, '012')):
        model = make(num_pairs=count, contrast=dict(lc_weight=0.1 * (count > 1)))
        names = set(model.loss(inputs_of()))
        kinds = ['loss_ct', 'loss_hc', 'loss_lc'][: 3 if count > 1 else 2]
        expected = {f'{kind}{end}' for kind in kinds for end in suffixes}
        for end in suffixes:
            expected |= {f'sup{end}.decode.loss_ce', f'sup{end}.decode.acc_seg'}
        assert names == expected


def test_a_plain_batch_is_supervised():
    losses = make()(*inputs_of()['labeled'], mode='loss')
    assert {key.split('.')[0] for key in losses} == {'sup0', 'sup1'}


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
        (dict(mix=dict(type='CutMix')), ['1', '0']),
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
    model, inputs, seen = make(mix=dict(type='ClassMix'), **BASE), inputs_of(n=4), []
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


@pytest.mark.parametrize(
    ('settings', 'students', 'teachers'),
    [
        (dict(), 2, 2),
        (BASE, 2, 1),
        (dict(pseudo_loss=dict(weight=0)), 2, 1),
        (dict(mix=dict(type='CutMix'), pseudo_loss=dict(weight=0)), 2, 1),
        (dict(mix=dict(type='ClassMix'), pseudo_loss=dict(weight=0)), 2, 2),
        (dict(pseudo_loss=dict(weight=0), contrast=dict(anchor_label='pseudo')), 2, 2),
        (dict(pseudo_loss=dict(weight=0), **BASE), 1, 0),
        (dict(mix=dict(type='ClassMix'), pseudo_loss=dict(weight=0), **BASE), 1, 0),
        (dict(type='CPS', pseudo_loss=dict(weight=0), **BASE), 1, 0),
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
        'pseudo_loss' not in settings or (students == teachers == 2)
    )
    if students == 1:
        assert {key.split('.')[0] for key in losses} == {'sup0', 'sup1'}


def test_a_batch_of_one_is_not_mixed_and_says_so_once():
    model, inputs = make(mix=dict(type='CutMix'), **BASE), inputs_of(n=1)
    model.pairs[1].student.eval()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        model.loss(inputs)
        model.loss(inputs)
    told = [str(w.message) for w in caught if 'batch_size=1' in str(w.message)]
    assert len(told) == 1
    assert 'CutMix has no effect' in told[0]


# Gradients


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(num_pairs=3, contrast=dict(projector=dict(channels=5))),
        dict(type='CPS', **BASE),
        dict(teaching='ensemble', mix=dict(type='CutMix')),
        dict(checkpointing=True, contrast=dict(lc_direction=False, lc_class='peer')),
    ],
)
def test_a_loss_reaches_its_own_student_alone(settings):
    model = fill(make(**settings))
    losses = model.loss(inputs_of(1))
    parts = [list(pair.student.parameters()) for pair in model.pairs]
    heads = model.contrast.head_pairs if model.contrast else []
    for params, head in zip(parts, heads, strict=False):
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
    followed = [pair.teacher for pair in (*model.pairs, *heads)]
    for teacher in filter(None, followed):
        assert not any(p.requires_grad for p in teacher.parameters())
        assert all(p.grad is None for p in teacher.parameters())


def test_what_is_left_has_no_gradient():
    model = fill(make(contrast=dict(projector=dict(channels=5))))
    model.loss(inputs_of(1))
    for value in (
        *model.step_outputs['memory'].values(),
        *model.step_outputs['pseudo'],
    ):
        assert not value.requires_grad
    assert not any(buffer.requires_grad for buffer in model.contrast.banks.buffers())


def test_every_parameter_gets_a_gradient():
    """Also before the banks are full, or distributed training would wait."""
    for settings in (
        dict(contrast=dict(projector=dict(channels=5))),
        dict(pseudo_loss=dict(weight=0), contrast=dict(projector=dict(channels=5))),
    ):
        model = make(**settings)
        losses = model.loss(inputs_of(1))
        assert losses['loss_hc0'] == losses['loss_lc1'] == 0
        total(losses).backward()
        for name, param in model.named_parameters():
            assert (param.grad is None) == ('.teacher.' in name), name
        assert all(
            p.grad.eq(0).all()
            for p in model.contrast.head_pairs[0].student.parameters()
        )


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
        dict(type='CPS', num_pairs=3, **BASE),
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
        make(predict_with=key, **settings)


@pytest.mark.parametrize('name', NAMES)
def test_wrong_predict_with_names_the_allowed(name):
    settings, networks, means = NAMES[name]
    wrong = 'student' if len(networks) > 2 else 'student0'
    with pytest.raises(ValueError, match=r'predict_with of C\w+ must be in') as error:
        make(predict_with=wrong, **settings)
    assert str([*networks, *means]) in str(error.value)


# State


@pytest.mark.parametrize(
    'settings',
    [
        dict(mix=dict(type='ClassMix'), contrast=dict(projector=dict(channels=5))),
        dict(checkpointing=True),
        dict(num_pairs=3),
        dict(type='CPS', **BASE),
        dict(teaching='ensemble', contrast=dict(max_anchors=10)),
    ],
)
def test_loss_and_backward_change_batch_norm_statistics_alone(settings):
    model = fill(make(**settings))
    before = frozen_copy(model)
    total(model.loss(inputs_of())).backward()
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    expected = {key for key in before if '.student.' in key and key.startswith('pairs')}
    assert changed == {key for key in expected if key.endswith(STATISTICS)}


def test_recomputing_changes_nothing():
    """With dropout: losses, gradients, statistics, random numbers that follow."""
    student = tiny_student(decode_head=dict(dropout_ratio=0.5))
    first = fill(
        make(
            student, mix=dict(type='CutMix'), contrast=dict(projector=dict(channels=5))
        )
    )
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
    model = fill(make(contrast=dict(projector=dict(channels=5))))
    model.loss(inputs_of(1))
    rows = model.step_outputs['memory']
    names = ('features', 'label', 'score')
    assert set(rows) == {f'contrast.{name}{i}' for name in names for i in (0, 1)}
    before = frozen_copy(model)
    model.update_memory(**rows)
    model.update_teacher(0.5)
    after = model.state_dict()
    for index in (0, 1):
        for part in ('pairs', 'contrast.head_pairs'):
            key = f'{part}.{index}'
            name = next(
                k for k in before if k.startswith(f'{key}.teacher') and 'weight' in k
            )
            student = before[name.replace('.teacher.', '.student.')]
            assert_close(after[name], (before[name] + student) / 2)
        changed = not torch.equal(
            before[f'contrast.banks.{index}.features'],
            after[f'contrast.banks.{index}.features'],
        )
        assert changed == bool((rows[f'contrast.label{index}'] >= 0).any())
    for c in range(3):
        new = rows['contrast.features0'][rows['contrast.label0'] == c]
        for row in new:
            assert (model.contrast.banks[0].features[c] == row).all(1).any()


def test_statistics_of_the_pseudo_labels_of_all_pairs():
    model, inputs = make(**BASE), inputs_of(1)
    model.loss(inputs)
    stats = model.step_outputs['pseudo']
    valid = inputs['unlabeled']['weak'].valid
    assert stats.total.sum() == stats.count.sum() == 2 * valid.sum()
    weak = inputs['unlabeled']['weak'].inputs
    logits = [model.adapter.inference(pair.teacher, weak) for pair in model.pairs]
    counts = [one.argmax(1)[valid].bincount(minlength=3) for one in logits]
    assert torch.equal(stats.total, sum(counts))
    assert not torch.equal(*counts)


def test_without_contrast_there_are_no_banks():
    model = make(**BASE)
    assert not model.has_memory
    assert model.unready_classes() == []
    assert model.bank_fill() == []
    assert not any('bank' in key for key in model.state_dict())
    model.loss(inputs_of())
    assert 'memory' not in model.step_outputs


# Precision, device, heads


@pytest.mark.parametrize(
    'settings',
    [{}, dict(checkpointing=True, contrast=dict(projector=dict(channels=5)))],
)
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
        dict(contrast=dict(projector=dict(channels=5))),
        dict(num_pairs=3, contrast=dict(ready='class', norm='masked', lc_class='peer')),
        dict(contrast=dict(ready='any', enqueue_select='random', max_anchors=20)),
        dict(contrast=dict(read_at='cell', levels_begin='apart')),
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
        pseudo = model.pseudo_labels(weak.inputs, weak.valid & strong.valid)
        losses = model.unlabeled_losses(inputs['labeled'], passes, pseudo)
        total(losses).backward()
        model.update_memory(**model.step_outputs['memory'])
    assert 'addmm' in seen.ops
    assert losses['loss_hc0'] > 0
    assert losses['loss_ct0'] > 0


@pytest.mark.parametrize('name', ['deeplabv3plus', 'segformer', 'ocrnet'])
def test_trains_on_other_heads(name):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    settings = dict(contrast=dict(bank=dict(size=1), ready='any', enqueue_number=1))
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
    assert sum(bank.count.sum() for bank in model.contrast.banks) > 0


# Settings


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(teaching='self'), "teaching must be in .* 'self'"),
        (dict(teaching='mutual'), "teaching must be in .* 'mutual'"),
        (dict(mix='cutmix'), r"model\.mix must be dict\(type=.* 'cutmix'"),
        (dict(ct_reduce='max'), "ct_reduce must be in .* 'max'"),
        (
            dict(pseudo_loss=dict(weight=-0.1)),
            r'model\.pseudo_loss\.weight must be a number >= 0, but got -0.1',
        ),
        (dict(sup_weight=-1), 'sup_weight must be a number >= 0, but got -1'),
        (dict(num_pairs=0), 'num_pairs must be an integer >= 1, but got 0'),
        (dict(num_pairs=1.5), 'num_pairs must be an integer >= 1, but got 1.5'),
        (dict(num_pairs=1), r'model\.contrast\.lc_weight must be 0 with one student'),
        (dict(teacher=dict(decay=0.9)), "teacher has no setting 'decay'"),
        (dict(contrast=dict(type='CutMix')), r'model\.contrast\.type must be in'),
        (dict(views='ab'), "views must be 2 names, but got 'ab'"),
        (dict(views=('weak',)), r"views must be 2 names, but got \('weak',\)"),
        (dict(predict_with='student'), "predict_with of CTT must be in .* 'student'"),
        (dict(ct_weight=0.5), "model has no setting 'ct_weight'"),
        (dict(bank_size=9), "model has no setting 'bank_size'"),
        (dict(temperature=9), r'did you mean contrast\.temperature'),
        (dict(threshold=0.9), r'pseudo_loss\.threshold or contrast\.threshold'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='CTT', student=tiny_student(), **settings))


def test_missing_views_are_named():
    model = make(views=('weak', 'stronger'))
    with pytest.raises(ValueError, match=r"needs \['stronger'\]"):
        model.loss(inputs_of())
