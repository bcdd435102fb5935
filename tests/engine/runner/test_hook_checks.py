import pytest
from mmengine.hooks import CheckpointHook, Hook, LoggerHook, ParamSchedulerHook
from tiny_run import build, config, sup_only, write_data

from mmsemiseg.engine import hooks
from mmsemiseg.engine.runner.hook_checks import check_repeated


class OwnTeacher(hooks.MeanTeacherHook):
    """Counts as a MeanTeacherHook."""


class OwnStep(hooks.StepHook):
    def after_step(self, runner):
        """Does nothing."""


class OwnOnce(Hook):
    why_once = 'two would be one too many'


@pytest.mark.parametrize(
    ('one', 'other', 'text'),
    [
        (hooks.MeanTeacherHook, OwnTeacher, 'MeanTeacherHook is .* twice a step'),
        (OwnTeacher, OwnTeacher, r'2 times \(OwnTeacher, OwnTeacher\): the teacher'),
        (hooks.MemoryHook, hooks.MemoryHook, 'enter the memory bank twice'),
        (hooks.BatchNormSyncHook, hooks.BatchNormSyncHook, 'averaged twice a step'),
        (hooks.SafeCheckpointHook, hooks.SafeCheckpointHook, 'the files of the other'),
        (lambda: hooks.ReloadBestHook(1), lambda: hooks.ReloadBestHook(2), 'go back'),
        (hooks.BatchNormReestimationHook, hooks.BatchNormReestimationHook, 'undo'),
        (ParamSchedulerHook, ParamSchedulerHook, 'learning rates would change twice'),
        (OwnOnce, OwnOnce, 'OwnOnce is there 2 times .*one too many'),
    ],
)
def test_a_hook_that_acts_is_there_once(one, other, text):
    check_repeated([one(), LoggerHook()])
    with pytest.raises(ValueError, match=text):
        check_repeated([one(), LoggerHook(), other()])


def test_others_may_be_repeated():
    check_repeated(
        [
            *(hooks.LossMonitorHook(streak) for streak in (10, 100)),
            *(hooks.PseudoLabelMonitorHook(), hooks.PseudoLabelMonitorHook()),
            *(LoggerHook(), LoggerHook(), CheckpointHook(), CheckpointHook()),
            *(OwnStep(), OwnStep(), hooks.MeanTeacherHook()),
        ]
    )


def test_a_run_tells_before_it_moves_files(tmp_path):
    """Also of hooks that a base config has by another name."""
    data = write_data(tmp_path / 'data')
    earlier = tmp_path / 'run' / 'iter_1.pth'
    earlier.parent.mkdir()
    earlier.touch()
    cfg = config(data, tmp_path / 'run', max_iters=1)
    cfg.default_hooks.teacher = dict(type='MeanTeacherHook')
    with pytest.raises(ValueError, match='MeanTeacherHook is there 2 times'):
        build(cfg).train()
    cfg = config(data, tmp_path / 'run', sup_only(), max_iters=1)
    cfg.default_hooks.chekpoint = dict(type='SafeCheckpointHook', by_epoch=False)
    with pytest.raises(ValueError, match='SafeCheckpointHook is there 2 times'):
        build(cfg).train()
    assert earlier.exists()
