"""FixMatch: the student is the labeler."""

import pytest
import torch
from helpers import build, frozen_copy, spread, streams, student_cfg
from torch.testing import assert_close

STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


def make(student=None, **settings):
    settings = {'mix': None, 'pseudo_loss': dict(threshold=None), **settings}
    cfg = dict(type='FixMatch', student=student or student_cfg(), **settings)
    model = build(cfg)
    spread(model.student, seed=1)
    return model.train()


def test_there_is_no_teacher():
    model = make()
    assert model.teacher is None
    assert list(model.networks) == ['student']
    assert model.predict_with == 'student'
    assert not any('teacher' in key for key in model.state_dict())


def test_a_teacher_in_the_config_is_an_error():
    with pytest.raises(ValueError, match='FixMatch has no teacher: .* None'):
        make(teacher=dict(mode='eval'))


def test_pseudo_labels_come_from_eval_mode():
    model = make(student_cfg(decode_head=dict(dropout_ratio=0.5)))
    weak = streams()['unlabeled']['weak']
    got = model.pseudo_labels(*args(weak))
    again = model.pseudo_labels(*args(weak))
    assert torch.equal(got.confidence, again.confidence)  # no dropout
    model.eval()
    with torch.no_grad():
        logits = model.student.encode_decode(
            weak.inputs, [s.metainfo for s in weak.data_samples]
        )
    probs = logits.softmax(1)
    assert_close(got.confidence, probs.amax(1))
    assert torch.equal(got.label, probs.argmax(1))
    model.train()
    with torch.no_grad():
        maps = model.student.decode_head(model.student.extract_feat(weak.inputs))
    small = torch.nn.functional.interpolate(logits, maps.shape[2:])
    assert not torch.allclose(small, maps)


def args(weak):
    return weak.inputs, weak.valid


def test_labelling_restores_all_modes_and_touches_no_statistics():
    student = student_cfg(backbone=dict(norm_eval=True, frozen_stages=1))
    model = make(student)
    modes = {name: m.training for name, m in model.named_modules()}
    assert set(modes.values()) == {True, False}
    before = frozen_copy(model)
    model.pseudo_labels(*args(streams()['unlabeled']['weak']))
    assert {name: m.training for name, m in model.named_modules()} == modes
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_modes_are_restored_after_an_error(monkeypatch):
    model = make()
    monkeypatch.setattr(model.student, 'extract_feat', lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.pseudo_labels(*args(streams()['unlabeled']['weak']))
    assert all(m.training for m in model.student.modules())


def test_a_step_moves_statistics_once_a_batch_seen_in_train_mode():
    model = make()
    counters = [k for k in model.state_dict() if k.endswith('num_batches_tracked')]
    before = frozen_copy(model)
    model.loss(streams())
    state = model.state_dict()
    # the labeled and the strong batch, not the weak one
    assert {(state[key] - before[key]).item() for key in counters} == {2}


def test_the_loss_is_that_of_a_teacher_equal_to_the_student():
    fix_match = make(pseudo_loss=dict(threshold=0.8))
    mean_teacher = build(
        dict(
            type='MeanTeacher',
            student=student_cfg(),
            mix=None,
            pseudo_loss=dict(threshold=0.8),
        )
    )
    spread(mean_teacher.student, seed=1)
    mean_teacher.copy_to_teacher()
    for module in (*fix_match.modules(), *mean_teacher.modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0  # else the labeled pass moves those of the labeler
    data = streams()
    expected = mean_teacher.train().loss(data)['loss_unsup']
    got = fix_match.loss(data)['loss_unsup']
    assert expected > 0
    assert_close(got, expected)


def test_the_label_has_no_gradient():
    model = make(pseudo_label=dict(type='SoftLabel'))
    pseudo = model.pseudo_labels(*args(streams()['unlabeled']['weak']))
    assert not pseudo.probs.requires_grad
    assert not pseudo.confidence.requires_grad
