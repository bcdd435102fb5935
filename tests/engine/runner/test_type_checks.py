import pytest
from mmengine.config import Config
from mmengine.optim import OptimWrapper

import mmsemiseg  # noqa: F401, fills the registries
from mmsemiseg.engine.runner import SemiRunner
from mmsemiseg.engine.runner.type_checks import check_types


@pytest.mark.parametrize(
    ('cfg', 'text'),
    [
        (
            dict(optim_wrapper=dict(optimizer=dict(type='AdmW', lr=1))),
            r"optim_wrapper.optimizer.type .* optimizer, but got 'AdmW' .*'AdamW'",
        ),
        (
            dict(optim_wrapper=dict(type='AmpOptimizerWrapper')),
            "^optim_wrapper.type .*got 'AmpOptimizerWrapper'.*'AmpOptimWrapper'",
        ),
        (dict(param_scheduler=[dict(type='PolLR')]), r"param_scheduler\[0\].*'PolyLR'"),
        (dict(param_scheduler=dict(type='PolLR')), 'param_scheduler.type'),
        (
            dict(default_hooks=dict(checkpoint=dict(type='SaveCheckpointHook'))),
            'default_hooks.checkpoint.type .*SafeCheckpointHook',
        ),
        (dict(custom_hooks=[dict(type='MeanTeacher')]), r'custom_hooks\[0\].type'),
        (dict(train_cfg=dict(type='SemiTrainlop')), "mean 'SemiTrainLoop'"),
        (dict(val_evaluator=[dict(type='IouMetric')]), "mean 'IoUMetric'"),
        (dict(model=dict(type='MeanTeachr')), "model.type .* mean 'MeanTeacher'"),
    ],
)
def test_unknown_types(cfg, text):
    with pytest.raises(ValueError, match=text):
        check_types(cfg)
    with pytest.raises(ValueError, match=text):  # as the tools read it
        check_types(Config(cfg))
    with pytest.raises(ValueError, match=text):
        SemiRunner.from_cfg(cfg)


def test_known_types():
    check_types(
        dict(
            default_scope='mmseg',
            model=dict(type='mmseg.EncoderDecoder'),
            optim_wrapper=dict(type=OptimWrapper, optimizer=dict(type='SGD')),
            param_scheduler=[dict(type='PolyLR')],
            default_hooks=dict(timer=dict(type='IterTimerHook'), checkpoint=None),
            custom_hooks=[dict(type='MeanTeacherHook')],
            train_cfg=dict(by_epoch=False, max_iters=3),
            val_evaluator=None,
        )
    )
    check_types({})
