import pytest
from helpers import student_cfg
from mmengine.config import Config
from mmseg.registry import MODELS
from tiny_run import config, mean_teacher, train, write_data

from mmsemiseg.utils.baseline import use_sup_only


def test_the_labels_alone_in_as_many_steps(tmp_path):
    cfg = config(write_data(tmp_path / 'data'), tmp_path / 'run', mean_teacher())
    cfg.custom_hooks = [
        dict(type='MeanTeacherHook'),
        dict(type='PrototypeInitHook'),
        dict(type='ReloadBestHook', patience=9, metric='teacher/mIoU'),
        dict(type='BatchNormReestimationHook', batches=1),
        dict(type='EMAHook'),
    ]
    cfg.default_hooks.checkpoint.save_best = 'teacher/mIoU'
    cfg.val_cfg.networks = ['teacher']
    cfg.resume = 'auto'
    use_sup_only(cfg)
    assert cfg.model.type == 'SupOnly' and 'threshold' not in cfg.model
    assert list(cfg.train_dataloader) == ['labeled']
    assert [hook.type for hook in cfg.custom_hooks] == ['EMAHook']
    assert cfg.default_hooks.checkpoint.save_best == 'student/mIoU'
    assert cfg.resume is False
    cfg.custom_hooks = []
    runner = train(cfg)
    assert (runner.iter, list(runner.model.networks)) == (4, ['student'])
    assert runner.optim_wrapper.param_groups[0]['lr'] == 0.1


def test_of_several_students_one():
    model = dict(type='CTT', students=[student_cfg(), student_cfg()])
    loaders = dict(labeled=dict(batch_size=2), unlabeled=dict(batch_size=2))
    cfg = Config(dict(model=model, train_dataloader=loaders))
    use_sup_only(cfg)
    assert cfg.model.student.type == 'EncoderDecoder'


def test_a_method_that_augments_labels_stays():
    flip = [dict(type='BatchFlip', prob=0.5)]
    model = dict(type='CMB', student=student_cfg(), weak_augment=flip)
    cfg = Config(dict(model=model, train_dataloader=dict(labeled={}, unlabeled={})))
    use_sup_only(cfg)
    assert cfg.model.type == 'CMB' and 'unlabeled' in cfg.train_dataloader
    assert cfg.model.pseudo_loss.weight == 0
    assert cfg.model.entropy is cfg.model.contrast is None
    assert not MODELS.build(cfg.model).learns_unlabeled


def test_self_training_is_one_run_then(tmp_path):
    cfg = Config(dict(model=dict(type='SupOnly', student=student_cfg())))
    cfg.merge_from_dict(dict(runner_type='SelfTrainingRunner', self_training=dict(a=1)))
    cfg.train_dataloader = dict(labeled=dict(batch_size=1))
    use_sup_only(cfg)
    assert cfg.runner_type == 'SemiRunner' and 'self_training' not in cfg


def test_without_the_stream_of_labels():
    cfg = Config(dict(model=student_cfg(), train_dataloader=dict(batch_size=2)))
    with pytest.raises(ValueError, match='--sup-only needs the stream'):
        use_sup_only(cfg)
