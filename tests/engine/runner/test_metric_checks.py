from types import SimpleNamespace

import pytest
from mmengine.evaluator import Evaluator
from mmengine.hooks import EarlyStoppingHook
from mmseg.evaluation import IoUMetric
from tiny_run import build, config, sup_only, write_data

from mmsemiseg.engine.runner.metric_checks import check_monitors


def loop(networks=None, *metrics):
    evaluator = Evaluator(list(metrics or [IoUMetric()]))
    return SimpleNamespace(networks=networks, evaluator=evaluator)


def test_early_stopping_and_schedules():
    runner = SimpleNamespace(
        hooks=[EarlyStoppingHook(monitor='mIoU')],
        param_schedulers=None,
        val_loop=loop(['student']),
    )
    with pytest.raises(ValueError, match='monitor of EarlyStoppingHook must be'):
        check_monitors(runner)
    runner.val_loop = None
    with pytest.raises(ValueError, match='there is no validation'):
        check_monitors(runner)
    runner.hooks = []
    plateau = SimpleNamespace(need_val_args=True, monitor='mIoU')
    runner.param_schedulers = dict(a=[SimpleNamespace()], b=[plateau])
    with pytest.raises(ValueError, match='monitor of SimpleNamespace must be'):
        check_monitors(runner)
    runner.val_loop = loop()
    check_monitors(runner)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


@pytest.mark.parametrize('name', ['student/mDice', 'student/IoU.a'])
def test_a_run_tells_before_it_trains(name, data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only(), max_iters=1)
    cfg.default_hooks.checkpoint.update(save_best=name, rule='greater')
    runner = build(cfg)
    with pytest.raises(ValueError, match='save_best of SafeCheckpointHook: validation'):
        runner.train()
    assert runner.iter == 0
