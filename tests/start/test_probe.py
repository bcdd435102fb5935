import logging
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmsemiseg.start import probe as probes
from mmsemiseg.start.probe import Extent, ProbeError, StepTimes, Warnings, short_config


@pytest.fixture
def run(monkeypatch):
    """``run(times, ends)``: a run whose steps end at these times; it begins at 0."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(probes, 'time', SimpleNamespace(time=lambda: clock.now))

    def steps(times, ends):
        runner = SimpleNamespace(train_loop=SimpleNamespace(stop_training=False))
        clock.now = 0.001
        for end in ends:
            times.before_train_iter(runner, 0)
            clock.now = end
            times.after_train_iter(runner, 0)
            if runner.train_loop.stop_training:
                break
        return times

    return steps


def test_steps_that_warm_up_are_not_counted(run):
    times = run(StepTimes(Extent(steps=5, warm=2)), [10, 20, 21, 22, 23, 99])
    assert (times.counted, times.step()) == (3, 1.0)


def test_enough_seconds(run):
    times = run(StepTimes(Extent(steps=99, warm=1, seconds=5)), range(4, 99, 3))
    assert (times.counted, times.step()) == (2, 3.0)


def test_a_run_that_is_shorter_counts_its_last_step(run):
    for ends, seconds in (([10, 12], 2), ([10], 10)):
        times = run(StepTimes(Extent(steps=99, warm=6)), ends)
        assert (times.counted, round(times.step())) == (0, seconds)


def test_slow_steps_are_warmed_up_by_fewer(run):
    times = run(StepTimes(Extent(steps=99, warm=6, seconds=5)), range(8, 99, 8))
    assert (times.warmed, times.counted, times.step()) == (1, 1, 8.0)


def test_warnings_without_the_known_chatter():
    logger = logging.Logger('run')
    logger.addHandler(kept := Warnings())
    logger.info('all is well')
    logger.warning('the crop is %d', 3)
    logger.warning('The prefix is not set in metric class IoUMetric.')
    assert kept.texts == ['the crop is 3']


@pytest.mark.parametrize(
    ('train_cfg', 'expected'),
    [
        (
            dict(type='SemiTrainLoop', max_iters=9, val_interval=3),
            dict(type='SemiTrainLoop', max_iters=9, val_interval=3),
        ),
        (dict(by_epoch=True, max_epochs=2), dict(type='IterBasedTrainLoop')),
        (
            dict(type='EpochBasedTrainLoop', max_epochs=2),
            dict(type='IterBasedTrainLoop'),
        ),
    ],
)
def test_a_short_config_keeps_the_length_and_saves_nothing(
    tmp_path, train_cfg, expected
):
    path = tmp_path / 'my.py'
    hooks = [dict(type='BatchNormReestimationHook'), dict(type='MeanTeacherHook')]
    cfg = dict(
        train_cfg=train_cfg,
        custom_hooks=hooks,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
        runner_type='SelfTrainingRunner',
        self_training=dict(unlabeled={}),
    )
    Config(cfg).dump(path)
    short = short_config(str(path), str(tmp_path))
    assert expected.items() <= dict(short.train_cfg).items()
    assert short.default_hooks.checkpoint is None
    assert [hook.type for hook in short.custom_hooks] == ['MeanTeacherHook']
    assert short.runner_type == 'SemiRunner' and 'self_training' not in short
    assert short.work_dir == str(tmp_path)


def test_what_cannot_be_trained_says_why(tmp_path):
    (tmp_path / 'my.py').write_text("train_cfg = dict(type='SemiTrainLoop')\n")
    with pytest.raises(ProbeError, match='model'):
        probes.probe(str(tmp_path / 'my.py'))
