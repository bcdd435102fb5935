"""What every method inherits, on the methods themselves."""

import copy
import inspect

import pytest
import torch
from helpers import (
    batch,
    build,
    frozen_copy,
    sample,
    spread,
    streams,
    student_cfg,
    total,
)
from mmengine.optim import build_optim_wrapper
from mmengine.runner import load_checkpoint, save_checkpoint
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from torch.testing import assert_close

from mmsemiseg.models import SemiSegmentor

METHODS = ('MeanTeacher', 'FixMatch', 'SupOnly')
STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


def make(method='MeanTeacher', student=None, **settings):
    if method != 'SupOnly':
        settings.setdefault('pseudo_loss', dict(threshold=None))
    return build(dict(type=method, student=student or student_cfg(), **settings))


# loss() changes no state


@pytest.mark.parametrize('method', METHODS)
def test_loss_and_backward_change_batch_norm_statistics_alone(method):
    model = make(method).train()
    before = frozen_copy(model)
    total(model.loss(streams())).backward()
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.endswith(STATISTICS) for key in changed)
    assert all('.student.' in key for key in changed)
    assert before.keys() == after.keys()


def test_a_train_mode_teacher_changes_its_own_statistics_alone():
    model = make(teacher=dict(mode='train', buffers='own')).train()
    before = frozen_copy(model.teacher)
    model.loss(streams())
    after = model.teacher.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key in before if key.endswith(STATISTICS)}


@pytest.mark.parametrize('method', METHODS)
def test_loss_is_a_function_of_the_seed(method):
    student = student_cfg(decode_head=dict(dropout_ratio=0.5))
    model = make(method, student).train()
    state = frozen_copy(model)

    def run(seed):
        model.load_state_dict(state)
        torch.manual_seed(seed)
        return total(model.loss(streams(4))).item()

    assert run(1) == run(1)
    assert run(1) != run(2)


# The optimizer


@pytest.mark.parametrize(
    'paramwise', [None, dict(norm_decay_mult=0.0), dict(custom_keys={'head': {}})]
)
def test_no_teacher_in_the_optimizer(paramwise):
    model = make()
    cfg = dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5))
    if paramwise:
        cfg['paramwise_cfg'] = paramwise
    wrapper = build_optim_wrapper(model, cfg)
    held = [id(p) for group in wrapper.optimizer.param_groups for p in group['params']]
    assert sorted(held) == sorted(id(p) for p in model.student.parameters())

    teacher = frozen_copy(model.teacher)
    wrapper.update_params(total(model.train().loss(streams())))
    assert all(
        torch.equal(v, teacher[k]) for k, v in model.teacher.state_dict().items()
    )


@pytest.mark.parametrize('paramwise', [None, dict(norm_decay_mult=0.0)])
def test_frozen_student_parameters_never_move(paramwise):
    model = make(student=student_cfg(backbone=dict(frozen_stages=1))).train()
    spread(model.student)
    frozen = {k: p for k, p in model.student.named_parameters() if not p.requires_grad}
    assert any(k.startswith('backbone.stem') for k in frozen)
    cfg = dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.5))
    if paramwise:
        cfg['paramwise_cfg'] = paramwise
    wrapper = build_optim_wrapper(model, cfg)
    before = {k: p.clone() for k, p in model.student.named_parameters()}
    wrapper.update_params(total(model.loss(streams())))
    for key, value in model.student.named_parameters():
        assert torch.equal(value, before[key]) is (key in frozen), key


def test_named_parameters_and_moves_still_reach_the_teacher():
    model = make()
    assert any('.teacher.' in name for name, _ in model.named_parameters())
    model.double()
    assert {p.dtype for p in model.teacher.parameters()} == {torch.double}


# Prediction


def probs_of(net, images):
    logits = net.encode_decode(images, [sample().metainfo] * len(images))
    return logits.softmax(1)


def different_networks(**settings):
    model = make(**settings).eval()
    spread(model.student, seed=1)
    spread(model.teacher, seed=2)
    return model


@pytest.mark.parametrize('name', ['student', 'teacher'])
def test_predict_with_one_network(name):
    model = different_networks(predict_with=name)
    images, samples = batch(2)
    with torch.no_grad():
        got = [s.seg_logits.data for s in model.predict(images, samples)]
        other = {'student': model.teacher, 'teacher': model.student}[name]
        expected = model.networks[name].predict(images, copy.deepcopy(samples))
        wrong = other.predict(images, copy.deepcopy(samples))
    for mine, net, bad in zip(got, expected, wrong, strict=True):
        assert torch.equal(mine, net.seg_logits.data)
        assert not torch.allclose(mine, bad.seg_logits.data)


def test_mean_is_the_average_of_the_probabilities():
    model = different_networks(predict_with='mean')
    images, samples = batch(2)
    with torch.no_grad():
        got = model.predict(images, samples)
        mean = (probs_of(model.student, images) + probs_of(model.teacher, images)) / 2
    for result, expected in zip(got, mean, strict=True):
        assert_close(result.seg_logits.data.softmax(0), expected)
        assert torch.equal(result.pred_sem_seg.data[0], expected.argmax(0))


def test_mean_by_hand(monkeypatch):
    model = make(predict_with='mean').eval()
    for net, p in (
        (model.student, [0.9, 0.05, 0.05]),
        (model.teacher, [0.2, 0.7, 0.1]),
    ):
        logits = torch.tensor(p).log().view(1, 3, 1, 1).expand(1, 3, 4, 4) + 7
        monkeypatch.setattr(net, 'inference', lambda *_, value=logits: value)
    (result,) = model.predict(torch.zeros(1, 3, 4, 4))
    assert_close(
        result.seg_logits.data.softmax(0)[:, 0, 0], torch.tensor([0.55, 0.375, 0.075])
    )


def test_mean_without_teacher_is_the_student():
    model = make('FixMatch', predict_with='mean').eval()
    spread(model.student)
    images, samples = batch(1)
    with torch.no_grad():
        (got,) = model.predict(images, samples)
        assert_close(got.seg_logits.data.softmax(0), probs_of(model.student, images)[0])


def test_prediction_without_samples():
    model = different_networks(predict_with='mean')
    with torch.no_grad():
        results = model.predict(batch(2).inputs)
    assert [r.pred_sem_seg.data.shape for r in results] == [(1, 32, 32)] * 2


@pytest.mark.parametrize(
    ('method', 'name', 'allowed'),
    [
        ('MeanTeacher', 'ema', r"\['student', 'teacher', 'mean'\]"),
        ('FixMatch', 'teacher', r"\['student', 'mean'\]"),
        ('SupOnly', 'teacher', r"\['student', 'mean'\]"),
    ],
)
def test_wrong_predict_with_names_the_allowed(method, name, allowed):
    message = f"predict_with of {method} must be in {allowed}, but got '{name}'"
    with pytest.raises(ValueError, match=message):
        make(method, predict_with=name)


# Checkpoints


def plain_checkpoint(path, seed=3):
    plain = spread(build(student_cfg()), seed)
    save_checkpoint(dict(state_dict=plain.state_dict()), str(path))
    return plain.state_dict()


@pytest.mark.parametrize('strict', [False, True])
@pytest.mark.parametrize('method', ['MeanTeacher', 'FixMatch'])
def test_a_plain_checkpoint_fills_every_network(tmp_path, method, strict):
    plain = plain_checkpoint(tmp_path / 'plain.pth')
    model = make(method)
    load_checkpoint(model, str(tmp_path / 'plain.pth'), 'cpu', strict=strict)
    for net in model.networks.values():
        for key, value in net.state_dict().items():
            assert torch.equal(value, plain[key]), key


def test_a_plain_checkpoint_starts_a_new_count_of_steps(tmp_path):
    plain_checkpoint(tmp_path / 'plain.pth')
    model = make()
    model.update_teacher(0.5)
    load_checkpoint(model, str(tmp_path / 'plain.pth'), 'cpu', strict=True)
    assert model.pairs[0].steps == 0


def test_strict_loading_still_refuses_other_keys(tmp_path):
    plain = plain_checkpoint(tmp_path / 'plain.pth')
    plain['decode_head.other.weight'] = torch.zeros(1)
    with pytest.raises(RuntimeError, match='decode_head.other.weight'):
        load_state_dict(make(), plain, strict=True)
    del plain['decode_head.other.weight'], plain['decode_head.conv_seg.weight']
    with pytest.raises(RuntimeError, match='student.decode_head.conv_seg.weight'):
        load_state_dict(make(), plain, strict=True)


def test_a_pair_checkpoint_loads_back(tmp_path):
    model = different_networks()
    model.update_teacher(0.5)
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'pair.pth'))
    other = make()
    load_checkpoint(other, str(tmp_path / 'pair.pth'), 'cpu', strict=True)
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
    assert other.pairs[0].steps == 1
    assert not torch.equal(
        other.student.decode_head.conv_seg.weight,
        other.teacher.decode_head.conv_seg.weight,
    )


def test_a_deep_copy_loads_plain_checkpoints_into_itself(tmp_path):
    plain = plain_checkpoint(tmp_path / 'plain.pth')
    model = make()
    weight = model.student.decode_head.conv_seg.weight.clone()
    twin = copy.deepcopy(model)
    load_checkpoint(twin, str(tmp_path / 'plain.pth'), 'cpu', strict=True)
    key = 'decode_head.conv_seg.weight'
    assert torch.equal(twin.student.state_dict()[key], plain[key])
    assert torch.equal(model.student.state_dict()[key], weight)


# Construction


def test_unsupported_heads_are_an_error():
    MODELS.register_module(name='TestOwnHead', force=True)(
        type('TestOwnHead', (torch.nn.Module,), {'__init__': own_head})
    )
    student = student_cfg()
    student['decode_head'] = dict(type='TestOwnHead')
    with pytest.raises(ValueError, match='decode_head TestOwnHead is not supported'):
        MODELS.build(dict(type='MeanTeacher', student=student))


def own_head(self):
    torch.nn.Module.__init__(self)
    self.align_corners, self.num_classes, self.out_channels = False, 3, 3


@pytest.mark.parametrize(
    'student',
    [
        student_cfg(
            backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='no.pth'))
        ),
        student_cfg(pretrained='no.pth'),
    ],
    ids=['init_cfg', 'pretrained'],
)
def test_a_missing_pretrained_file_is_named_at_construction(student):
    with pytest.raises(FileNotFoundError, match=r'no\.pth.*model\.student'):
        MODELS.build(dict(type='MeanTeacher', student=student))


def test_unknown_teacher_settings():
    with pytest.raises(ValueError, match="teacher has no setting 'decay'"):
        make(teacher=dict(decay=0.9))


def test_the_students_preprocessor_becomes_the_models():
    preprocessor = dict(type='SegDataPreProcessor', mean=[1, 2, 3], std=[1, 1, 1])
    student = student_cfg(data_preprocessor=preprocessor)
    model = make(student=student)
    assert type(model.data_preprocessor).__name__ == 'SemiDataPreProcessor'
    assert model.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]
    assert student['data_preprocessor'] is preprocessor


# The supervised loss is the student's own


def variants():
    head = student_cfg()['decode_head']
    ohem = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=50)
    weights = dict(type='CrossEntropyLoss', class_weight=[0.2, 1.0, 5.0])
    auxiliary = {**head, 'in_channels': 32, 'in_index': 2}
    auxiliary['loss_decode'] = dict(type='CrossEntropyLoss', loss_weight=0.4)
    return {
        'plain': student_cfg(),
        'auxiliary': student_cfg(auxiliary_head=auxiliary),
        'ohem': student_cfg(decode_head=dict(sampler=ohem)),
        'class_weight': student_cfg(decode_head=dict(loss_decode=weights)),
    }


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('name', variants())
def test_the_supervised_losses_are_those_of_plain_mmseg(method, name):
    cfg = variants()[name]
    model, plain = make(method, cfg).train(), build(cfg)
    spread(model.student)
    spread(plain).train()
    data = streams()
    losses = model.loss(data)
    expected = plain.loss(*data['labeled'])
    assert {k for k in losses if k.startswith('sup.')} == {f'sup.{k}' for k in expected}
    for key, value in expected.items():
        assert_close(losses[f'sup.{key}'], value)
    if name == 'auxiliary':
        assert losses['sup.aux.loss_ce'] > 0
    if name in ('ohem', 'class_weight'):
        other = spread(build(student_cfg())).train().loss(*data['labeled'])
        assert losses['sup.decode.loss_ce'] != other['decode.loss_ce']


def test_a_plain_batch_is_supervised():
    model = make().train()
    data = batch(2)
    losses = model(data.inputs, data.data_samples, mode='loss')
    assert set(losses) == {'sup.decode.loss_ce', 'sup.decode.acc_seg'}
    assert model.step_outputs == {}


def test_the_signature_of_a_method_has_its_settings():
    names = list(inspect.signature(MODELS.get('SupOnly')).parameters)
    assert names == ['student', 'streams', 'teacher', 'segmentor']


def test_a_method_needs_a_step():
    class Incomplete(SemiSegmentor):
        pass

    with pytest.raises(TypeError, match="'?step'?"):
        Incomplete(student_cfg())
