from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS

from mmsemiseg.engine.hooks.run_monitor import RunMonitorHook, peak_memory_mb


def make_runner(name):
    return SimpleNamespace(
        model=torch.nn.Linear(1, 1),
        iter=0,
        message_hub=MessageHub.get_instance(f'test_run_monitor_{name}'),
    )


def test_peak_memory_is_written_at_the_interval():
    runner = make_runner('memory')
    hook = RunMonitorHook(interval=2)
    hook.after_train_iter(runner, 0)
    assert 'train/peak_memory_mb' not in runner.message_hub.log_scalars
    runner.iter = 1
    hook.after_train_iter(runner, 1)
    peak = runner.message_hub.get_scalar('train/peak_memory_mb').current()
    # torch alone needs more than 50 MB, and no test machine has 10 TB
    assert 50 < peak < 10**7
    # it is of this machine and moment: a resumed run has its own
    assert 'train/peak_memory_mb' not in runner.message_hub.state_dict()['log_scalars']


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory_mb(torch.device('cpu'))
    held = torch.ones(int(2**20 * (before + 64) / 4))
    assert peak_memory_mb(torch.device('cpu')) >= before + 32
    assert held.sum() > 0


def test_gap_of_teacher_and_student():
    runner = make_runner('gap')
    metrics = {
        'student/mIoU': np.float32(40.5),
        'teacher/mIoU': 42.0,
        'teacher/mAcc': 1,
    }
    RunMonitorHook().after_val_epoch(runner, metrics)
    assert runner.message_hub.get_scalar('val/gap').current() == 1.5


def test_gap_of_each_pair_and_none_without_both():
    runner = make_runner('pairs')
    hook = RunMonitorHook()
    hook.after_val_epoch(runner, None)
    hook.after_val_epoch(runner, {'mIoU': 3.0, 'teacher/mIoU': 4.0})
    assert not runner.message_hub.log_scalars
    pairs = {'student0/mIoU': 1.0, 'student1/mIoU': 2.0}
    hook.after_val_epoch(runner, {**pairs, 'teacher0/mIoU': 4.0, 'teacher1/mIoU': 1.0})
    assert runner.message_hub.get_scalar('val/gap0').current() == 3
    assert runner.message_hub.get_scalar('val/gap1').current() == -1


def test_settings_are_checked():
    with pytest.raises(ValueError, match='interval must be an integer >= 1, but got 0'):
        RunMonitorHook(interval=0)
    assert isinstance(HOOKS.build({'type': 'RunMonitorHook'}), RunMonitorHook)
