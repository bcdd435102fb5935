import pytest
import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS, OPTIM_WRAPPERS
from tiny_run import config, sup_only, train, write_data

from mmsemiseg.engine.hooks import StepHook
from mmsemiseg.models import SupOnly


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


@pytest.mark.parametrize('accumulation', [1, 2])
def test_once_per_optimizer_step(accumulation, data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only(), max_iters=5)
    cfg.train_cfg.accumulation = accumulation
    assert steps(cfg) == [1, 2, 3, 4, 5]


def test_micro_batches_of_another_loop(data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only(), max_iters=5)
    cfg.train_dataloader = dict(
        cfg.train_dataloader.labeled, sampler=dict(type='InfiniteSampler')
    )
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=5)
    cfg.optim_wrapper.accumulative_counts = 2
    assert steps(cfg) == [2, 4, 5]


@MODELS.register_module()
class Overflowing(SupOnly):
    """The gradients of some iterations are too large for fp16."""

    iters = (0, 3)

    def loss(self, inputs, data_samples=None):
        losses = super().loss(inputs, data_samples)
        scale = 1e38 if self.iteration in self.iters else 1.0
        return {k: v * scale if 'loss' in k else v for k, v in losses.items()}


@OPTIM_WRAPPERS.register_module()
class ScaledOptimWrapper(OptimWrapper):
    """fp16's loss scale on a CPU, as in mmengine's AmpOptimWrapper."""

    def __init__(self, loss_scale=None, **settings):
        super().__init__(**settings)
        self.fixed = loss_scale
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=loss_scale or 1e4)

    def backward(self, loss, **settings):
        self.loss_scaler.scale(loss).backward(**settings)
        self._inner_count += 1

    def step(self, **settings):
        self.loss_scaler.step(self.optimizer, **settings)
        self.loss_scaler.update(self.fixed)


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('loss_scale', [None, 1e4])
def test_not_after_a_skipped_step(loss_scale, fused, data, tmp_path):
    model = dict(sup_only(), type='Overflowing')
    cfg = config(data, tmp_path / 'run', model, max_iters=5)
    cfg.optim_wrapper = dict(
        type='ScaledOptimWrapper',
        loss_scale=loss_scale,
        optimizer=dict(type='SGD', lr=1e-3, fused=fused),
    )
    assert steps(cfg) == [2, 3, 5]
