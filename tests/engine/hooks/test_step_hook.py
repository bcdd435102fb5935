import pytest
from mmengine.hooks import Hook
from tiny_run import config, sup_only, train, write_data

from mmsemiseg.engine.hooks import StepHook


class Steps(StepHook):
    def __init__(self):
        self.iters = []

    def after_step(self, runner):
        self.iters.append(runner.iter + 1)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def steps(cfg, *hooks):
    hook = Steps()
    train(cfg, *hooks, hook)
    return hook.iters


@pytest.mark.parametrize(
    ('accumulation', 'expected'), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (8, [5])]
)
def test_once_per_optimizer_step(accumulation, expected, data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only(), max_iters=5)
    cfg.optim_wrapper.accumulative_counts = accumulation
    assert steps(cfg) == expected


class FakeScaler:
    """As torch.amp.GradScaler: an overflow halves the scale, success may double it."""

    def __init__(self):
        self.scale = 1024.0

    def is_enabled(self):
        return True

    def get_scale(self):
        return self.scale


class Overflows(Hook):
    priority = 'VERY_HIGH'

    def __init__(self, iters):
        self.iters = iters

    def before_train(self, runner):
        runner.optim_wrapper.loss_scaler = FakeScaler()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        overflow = runner.iter + 1 in self.iters
        runner.optim_wrapper.loss_scaler.scale *= 0.5 if overflow else 2


def test_not_after_a_skipped_step(data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only(), max_iters=5)
    assert steps(cfg, Overflows([1, 4])) == [2, 3, 5]
