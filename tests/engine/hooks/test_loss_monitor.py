from types import SimpleNamespace

import pytest
import torch
from checkpoint_files import good
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS

from mmsemiseg.engine.hooks.loss_monitor import LossMonitorHook


class FakeLogger:
    def __init__(self):
        self.warnings = []

    def warning(self, text):
        self.warnings.append(text)


def make_runner(name, work_dir=None, **settings):
    model = torch.nn.Module()
    for key, value in settings.items():
        setattr(model, key, value)
    return SimpleNamespace(
        model=model,
        iter=0,
        work_dir=work_dir,
        logger=FakeLogger(),
        message_hub=MessageHub.get_instance(f'test_loss_monitor_{name}'),
    )


def feed(hook, runner, rows):
    for row in rows:
        outputs = {key: torch.tensor(float(value)) for key, value in row.items()}
        hook.after_train_iter(runner, runner.iter, outputs=outputs)
        runner.iter += 1


def test_warns_once_per_streak_and_names_loss_and_setting():
    runner = make_runner('streak', threshold=0.97)
    hook = LossMonitorHook(streak=3)
    zero, some = {'loss_unsup': 0, 'loss': 1}, {'loss_unsup': 0.1, 'loss': 1}
    feed(hook, runner, [zero] * 2)
    assert runner.logger.warnings == []
    feed(hook, runner, [zero] * 10)
    assert len(runner.logger.warnings) == 1
    text = runner.logger.warnings[0]
    assert 'loss_unsup was exactly 0 in the last 3 iterations (now 3)' in text
    assert 'threshold=0.97' in text
    feed(hook, runner, [some] + [zero] * 2)
    assert len(runner.logger.warnings) == 1
    feed(hook, runner, [zero])
    assert len(runner.logger.warnings) == 2


def test_terms_that_wait_for_a_memory_are_named_together():
    runner = make_runner('waiting', unready_classes=lambda: [1], num_classes=2)
    dataset = SimpleNamespace(metainfo=dict(classes=('road', 'sky')))
    runner.train_dataloader = SimpleNamespace(dataset=dataset)
    row = {'loss_hc0': 0, 'loss_lc0': 0, 'loss_ct0': 1, 'loss': 1}
    feed(LossMonitorHook(streak=2), runner, [row] * 5)
    assert len(runner.logger.warnings) == 1
    text = runner.logger.warnings[0]
    assert text.startswith('loss_hc0, loss_lc0 were exactly 0 in the last 2 iterations')
    assert "the memory of Module has too few rows of the classes 'sky' (1)" in text


def test_supervised_losses_the_sum_and_other_values_are_not_watched():
    runner = make_runner('watched')
    keys = ('loss', 'sup.decode.loss_ce', 'sup1.loss', 'mask_ratio', 'acc_seg')
    feed(LossMonitorHook(streak=1), runner, [dict.fromkeys(keys, 0)])
    assert runner.logger.warnings == []


def test_each_loss_has_its_own_streak():
    runner = make_runner('own')
    rows = [{'loss_a': 0, 'loss_b': 1}, {'loss_a': 0, 'loss_b': 0}]
    feed(LossMonitorHook(streak=2), runner, rows)
    assert len(runner.logger.warnings) == 1
    assert runner.logger.warnings[0].startswith('loss_a ')
    assert 'its threshold and loss weight' in runner.logger.warnings[0]


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_a_loss_that_is_not_finite_ends_the_run(value, tmp_path):
    runner = make_runner(f'broken{value}', tmp_path)
    runner.iter = 41
    row = {'loss': value, 'sup.loss_ce': 1.0, 'loss_unsup': value, 'acc': value}
    with pytest.raises(FloatingPointError) as error:
        feed(LossMonitorHook(), runner, [row])
    text = str(error.value)
    assert text.startswith(f'loss_unsup = {value} at iteration 42. ')
    assert 'sup.loss_ce' not in text
    assert 'no checkpoint of this run yet' in text
    torch.save(good(), tmp_path / 'iter_40.pth')
    torch.save(good(state_dict=dict(w=torch.tensor(value))), tmp_path / 'iter_41.pth')
    with pytest.raises(FloatingPointError, match=r'Go on from .*/iter_40.pth'):
        feed(LossMonitorHook(), runner, [row])


def test_a_sum_that_alone_is_not_finite_is_named(tmp_path):
    runner = make_runner('sum', tmp_path)
    with pytest.raises(FloatingPointError, match=r'^loss = inf at iteration 1'):
        feed(LossMonitorHook(), runner, [{'loss': float('inf'), 'loss_unsup': 1}])


def test_other_values_may_be_nan_and_outputs_missing():
    runner = make_runner('nan')
    feed(LossMonitorHook(), runner, [{'acc': float('nan'), 'loss': 1}])
    LossMonitorHook().after_train_iter(runner, 0)
    assert runner.logger.warnings == []


def test_settings_are_checked():
    with pytest.raises(ValueError, match='streak must be an integer >= 1, but got 0'):
        LossMonitorHook(streak=0)
    assert isinstance(HOOKS.build({'type': 'LossMonitorHook'}), LossMonitorHook)
