import copy
import logging
import os
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from mmsemiseg.engine.checkpoints import (
    atomic_write,
    plain_values,
    read_checkpoint,
)
from mmsemiseg.engine.checkpoints.run_folder import find_resumable
from mmsemiseg.engine.hooks import SafeCheckpointHook


class Run:
    """The part of a Runner that CheckpointHook uses. It notes what lies on disk while a
    checkpoint is written, and fails when asked to."""

    def __init__(self, work_dir, hub=None, start=0):
        work_dir.mkdir(exist_ok=True)
        self.work_dir = str(work_dir)
        self.timestamp, self._load_from = '20260101_000000', None
        self.logger = logging.getLogger('test_safe_checkpoint')
        self.message_hub = MessageHub('test_safe_checkpoint')
        if hub is not None:
            self.message_hub.load_state_dict(copy.deepcopy(hub))
        self.epoch, self.iter = 0, start
        self.train_loop = SimpleNamespace(stop_training=False)
        self.val_loop = None
        self.max_iters = 100
        self.seen = {}  # file name -> what was there while it was written
        self.fail_at = None

    def save_checkpoint(self, out_dir, filename, *args, meta, **settings):
        with atomic_write(os.path.join(out_dir, filename)) as part:
            self.seen[filename] = files(out_dir)
            state = dict(meta=dict(meta), message_hub=self.message_hub.state_dict())
            torch.save(plain_values(state), part)
            if filename == self.fail_at:
                raise OSError('disk full')

    def saved_hub(self, name):
        return read_checkpoint(os.path.join(self.work_dir, name))['message_hub']


@pytest.mark.parametrize('key', ['student/mIoU', 'mIoU', 'teacher2/mIoU', '/mIoU'])
def test_save_best_of_an_unknown_network(key, tmp_path):
    """Before training, not at the first validation."""
    run = Run(tmp_path / 'run')
    run.val_loop = SimpleNamespace(networks=['student0', 'teacher0'])
    with pytest.raises(ValueError, match=f'such as student0/mIoU, .* got {key!r}'):
        SafeCheckpointHook(save_best=[key], rule='greater').before_train(run)
    for known in ('student0/mIoU', 'teacher0/IoU.road'):
        SafeCheckpointHook(save_best=known, rule='greater').before_train(run)
    SafeCheckpointHook(save_best='auto', rule='greater').before_train(run)
    run.val_loop = SimpleNamespace()  # mmengine's own, with metrics of one model
    SafeCheckpointHook(save_best=key, rule='greater').before_train(run)


def files(folder):
    return sorted(name for name in os.listdir(folder) if name != 'last_checkpoint')


def pointer(folder):
    return (folder / 'last_checkpoint').read_text()


def make_hook(runner, **settings):
    hook = SafeCheckpointHook(by_epoch=False, interval=1, save_last=False, **settings)
    hook.before_train(runner)
    return hook


def step(hook, runner, miou=None, **metrics):
    """One iteration, and a validation when there is a metric."""
    hook.after_train_iter(runner, runner.iter)
    runner.iter += 1
    if miou is not None:
        hook.after_val_epoch(runner, dict(mIoU=miou, **metrics))


def test_registered_with_the_settings_of_mmengine():
    hook = HOOKS.build(
        dict(
            type='SafeCheckpointHook',
            interval=5,
            by_epoch=False,
            max_keep_ckpts=2,
            save_best='mIoU',
            published_keys='state_dict',
        )
    )
    assert isinstance(hook, CheckpointHook)
    assert (hook.interval, hook.max_keep_ckpts, hook.save_best) == (5, 2, ['mIoU'])
    assert hook.priority == CheckpointHook.priority


@pytest.mark.parametrize('keep', [1, 2, -1])
def test_old_files_outlast_the_writing_of_the_new(keep, tmp_path):
    runner = Run(tmp_path)
    hook = make_hook(runner, max_keep_ckpts=keep)
    names = [f'iter_{number}.pth' for number in range(1, 6)]
    for number, name in enumerate(names):
        step(hook, runner)
        kept = names[: number + 1][-keep if keep > 0 else 0 :]
        before = names[:number][-keep if keep > 0 else 0 :]
        assert runner.seen[name] == before
        assert files(tmp_path) == kept
        assert pointer(tmp_path) == str(tmp_path / name)
        info = runner.saved_hub(name)['runtime_info']
        assert info['last_ckpt'] == str(tmp_path / name)
        if keep > 0:
            assert [f'iter_{number}.pth' for number in info['keep_ckpt_ids']] == kept


def test_a_failed_save_takes_nothing_away(tmp_path):
    runner = Run(tmp_path)
    hook = make_hook(runner, max_keep_ckpts=1)
    step(hook, runner)
    runner.fail_at = 'iter_2.pth'
    with pytest.raises(OSError, match='disk full'):
        step(hook, runner)
    assert files(tmp_path) == ['iter_1.pth']
    assert pointer(tmp_path) == str(tmp_path / 'iter_1.pth')
    # the disk has room again: the next one takes the place of the last good one
    runner.fail_at = None
    step(hook, runner)
    assert files(tmp_path) == ['iter_2.pth']


@pytest.mark.parametrize('auto', [False, True])
def test_a_failed_save_keeps_the_best(auto, tmp_path):
    runner = Run(tmp_path)
    best = 'auto' if auto else 'mIoU'
    settings = dict(save_best=best, rule='greater', max_keep_ckpts=1)
    hook = make_hook(runner, **settings)
    step(hook, runner, 0.5)
    assert files(tmp_path) == ['best_mIoU_iter_1.pth', 'iter_1.pth']
    runner.fail_at = 'best_mIoU_iter_2.pth'
    with pytest.raises(OSError, match='disk full'):
        step(hook, runner, 0.6)
    assert files(tmp_path) == ['best_mIoU_iter_1.pth', 'iter_2.pth']
    assert hook.best_ckpt_path == str(tmp_path / 'best_mIoU_iter_1.pth')
    # resumed from what is there, it validates again
    again = Run(tmp_path, runner.saved_hub('iter_2.pth'), start=2)
    hook = make_hook(again, **settings)
    hook.last_ckpt = str(tmp_path / 'iter_2.pth')
    hook.after_val_epoch(again, dict(mIoU=0.6))
    assert files(tmp_path) == ['best_mIoU_iter_2.pth', 'iter_2.pth']


def test_former_best_outlasts_the_writing_of_the_new(tmp_path):
    runner = Run(tmp_path)
    hook = make_hook(runner, save_best='mIoU', max_keep_ckpts=1)
    step(hook, runner, 0.5)
    step(hook, runner, 0.6)
    assert runner.seen['best_mIoU_iter_2.pth'] == ['best_mIoU_iter_1.pth', 'iter_2.pth']
    assert files(tmp_path) == ['best_mIoU_iter_2.pth', 'iter_2.pth']
    info = runner.saved_hub('iter_2.pth')['runtime_info']
    assert info['best_ckpt'] == str(tmp_path / 'best_mIoU_iter_2.pth')
    assert info['best_score'] == 0.6
    # a worse one changes nothing
    step(hook, runner, 0.4)
    assert files(tmp_path) == ['best_mIoU_iter_2.pth', 'iter_3.pth']
    assert hook.best_ckpt_path == str(tmp_path / 'best_mIoU_iter_2.pth')


def test_best_of_two_metrics(tmp_path):
    runner = Run(tmp_path)
    hook = make_hook(
        runner, save_best=['mIoU', 'loss'], rule=['greater', 'less'], max_keep_ckpts=1
    )
    step(hook, runner, 0.5, loss=2.0)
    assert files(tmp_path) == [
        'best_loss_iter_1.pth',
        'best_mIoU_iter_1.pth',
        'iter_1.pth',
    ]
    step(hook, runner, 0.6, loss=3.0)
    assert files(tmp_path) == [
        'best_loss_iter_1.pth',
        'best_mIoU_iter_2.pth',
        'iter_2.pth',
    ]
    runner.fail_at = 'best_loss_iter_3.pth'
    with pytest.raises(OSError, match='disk full'):
        step(hook, runner, 0.7, loss=1.0)
    assert {'best_loss_iter_1.pth', 'best_mIoU_iter_2.pth'} < set(files(tmp_path))
    runner.fail_at = None
    step(hook, runner, 0.8, loss=0.5)
    assert set(files(tmp_path)) == {
        'best_loss_iter_4.pth',
        'best_mIoU_iter_3.pth',  # of the failed save: no hook knows of it
        'best_mIoU_iter_4.pth',
        'iter_4.pth',
    }


@pytest.mark.parametrize('save_best', ['mIoU', ['mIoU', 'mAcc']])
def test_saved_again_under_the_same_name(save_best, tmp_path):
    """The validation of the last iteration is repeated after a resume."""
    settings = dict(save_best=save_best, rule='greater', max_keep_ckpts=1)
    runner = Run(tmp_path)
    step(make_hook(runner, **settings), runner, 0.5, mAcc=0.5)
    before = files(tmp_path)
    again = Run(tmp_path, runner.saved_hub('iter_1.pth'), start=1)
    hook = make_hook(again, **settings)
    hook.last_ckpt = str(tmp_path / 'iter_1.pth')
    hook.after_val_epoch(again, dict(mIoU=0.6, mAcc=0.6))
    assert set(again.seen) == set(before), 'all were written again'
    assert files(tmp_path) == before
    assert again.saved_hub('iter_1.pth')['runtime_info']['keep_ckpt_ids'] == [1]


def test_resumed_run_goes_on_deleting(tmp_path):
    settings = dict(max_keep_ckpts=2, save_best='auto', rule='greater')
    runner = Run(tmp_path)
    hook = make_hook(runner, **settings)
    for _ in range(3):
        step(hook, runner)
    step(hook, runner, 0.5)
    again = Run(tmp_path, runner.saved_hub('iter_4.pth'), start=4)
    hook = make_hook(again, **settings)
    assert files(tmp_path) == ['best_mIoU_iter_4.pth', 'iter_3.pth', 'iter_4.pth']
    step(hook, again, 0.6)
    assert again.seen['best_mIoU_iter_5.pth'] == [
        'best_mIoU_iter_4.pth',
        'iter_4.pth',
        'iter_5.pth',
    ]
    assert files(tmp_path) == ['best_mIoU_iter_5.pth', 'iter_4.pth', 'iter_5.pth']


def test_a_copied_run_leaves_the_original_alone(tmp_path):
    settings = dict(max_keep_ckpts=1, save_best='mIoU')
    runner = Run(tmp_path / 'original')
    step(make_hook(runner, **settings), runner, 0.5)
    hub = runner.saved_hub('iter_1.pth')
    copied = tmp_path / 'copy'
    copied.mkdir()
    for name in files(runner.work_dir):
        content = (tmp_path / 'original' / name).read_bytes()
        (copied / name).write_bytes(content)
    again = Run(copied, hub, start=1)
    step(make_hook(again, **settings), again, 0.6)
    assert files(copied) == ['best_mIoU_iter_2.pth', 'iter_2.pth']
    assert files(tmp_path / 'original') == ['best_mIoU_iter_1.pth', 'iter_1.pth']


def test_stale_parts_are_removed(tmp_path):
    stale = ['iter_3.pth.part', 'best_mIoU_iter_3.pth.part', 'last_checkpoint.part']
    others = ['notes.part', 'iter_2.pth', 'x.pth.part.txt']
    for name in stale + others:
        (tmp_path / name).write_text('x')
    make_hook(Run(tmp_path, start=2))
    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_parts_in_another_folder(tmp_path):
    out = tmp_path / 'out' / 'run[1]'
    out.mkdir(parents=True)
    (out / 'iter_3.pth.part').write_text('x')
    runner = Run(tmp_path / 'run[1]')
    hook = make_hook(runner, out_dir=str(tmp_path / 'out'), max_keep_ckpts=1)
    assert files(out) == []
    step(hook, runner)
    step(hook, runner)
    assert files(out) == ['iter_2.pth']
    assert pointer(tmp_path / 'run[1]') == str(out / 'iter_2.pth')


def test_only_the_main_process_touches_files(tmp_path, monkeypatch):
    runner = Run(tmp_path)
    hook = make_hook(runner, max_keep_ckpts=1, save_best='mIoU')
    step(hook, runner, 0.5)
    (tmp_path / 'iter_9.pth.part').write_text('being written by the main process')
    before = pointer(tmp_path)
    for place in (
        'mmsemiseg.engine.hooks.safe_checkpoint',
        'mmengine.hooks.checkpoint_hook',
    ):
        monkeypatch.setattr(f'{place}.is_main_process', lambda: False)
    calls = []
    runner.save_checkpoint = lambda out_dir, filename, *args, **settings: calls.append(
        filename
    )
    hook.before_train(runner)
    step(hook, runner, 0.6)
    assert calls == ['iter_2.pth', 'best_mIoU_iter_2.pth', 'iter_2.pth']
    assert files(tmp_path) == [
        'best_mIoU_iter_1.pth',
        'iter_1.pth',
        'iter_9.pth.part',
    ]
    assert pointer(tmp_path) == before


def test_pointer_is_written_whole(tmp_path, monkeypatch):
    runner = Run(tmp_path)
    hook = make_hook(runner, max_keep_ckpts=1)
    step(hook, runner)
    replace = os.replace

    def stopped(source, target):
        if os.path.basename(target) == 'last_checkpoint':
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, 'replace', stopped)
    with pytest.raises(KeyboardInterrupt):
        step(hook, runner)
    # of the two, the one that it names is still there
    assert files(tmp_path) == ['iter_1.pth', 'iter_2.pth']
    assert pointer(tmp_path) == str(tmp_path / 'iter_1.pth')


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        (dict(max_keep_ckpt=2), "no setting 'max_keep_ckpt' .did you mean 'max_keep_c"),
        (dict(intervall=5), "no setting 'intervall'.*'interval'.*its settings are"),
        (dict(interval='500'), "interval must be an integer >= -1, but got '500'"),
        (dict(max_keep_ckpts=1.5), 'max_keep_ckpts must be an integer >= -1'),
    ],
)
def test_settings_are_checked(settings, text):
    with pytest.raises(ValueError, match=text):
        SafeCheckpointHook(**settings)


def test_epochs_of_a_loop_that_counts_iterations(tmp_path):
    runner = Run(tmp_path)
    runner.train_loop.streams = {}
    with pytest.raises(ValueError, match='set default_hooks.checkpoint.by_epoch=False'):
        SafeCheckpointHook(interval=500).before_train(runner)


def validating(tmp_path, at, start=0, hub=None):
    """A runner whose loop says after which iterations it validates."""
    runner = Run(tmp_path, hub, start)
    runner.train_loop.validates_after = lambda iters: iters == at
    return runner


def started(runner, interval=10, **settings):
    hook = SafeCheckpointHook(by_epoch=False, interval=interval, **settings)
    hook.before_train(runner)
    return hook


def test_the_first_validation_has_a_checkpoint(tmp_path, caplog):
    """It is there before the validation begins, which may be long."""
    caplog.set_level(logging.INFO)
    runner = validating(tmp_path, at=2)
    hook = started(runner)
    assert 'the first checkpoint is saved after iteration 2 of 100' in caplog.text
    step(hook, runner)
    assert files(tmp_path) == []
    step(hook, runner)
    assert files(tmp_path) == ['iter_2.pth']
    runner.train_loop.validates_after = lambda iters: True
    step(hook, runner, miou=0.5)
    assert files(tmp_path) == ['iter_2.pth'], 'the later ones wait for the interval'
    # nor is a resumed run given one
    hub = runner.saved_hub('iter_2.pth')
    again = validating(tmp_path, at=4, start=3, hub=hub)
    caplog.clear()
    step(started(again), again)
    assert files(tmp_path) == ['iter_2.pth']
    assert 'the first checkpoint' not in caplog.text


def test_a_loop_that_does_not_tell_when_it_validates(tmp_path):
    runner = Run(tmp_path)
    hook = started(runner, interval=-1)
    step(hook, runner, miou=0.5)
    assert files(tmp_path) == ['iter_1.pth']
    # a validation alone is no training
    other = Run(tmp_path / 'other')
    SafeCheckpointHook(by_epoch=False, interval=5).after_val_epoch(other, dict(mIoU=1))
    assert files(tmp_path / 'other') == []


def test_no_checkpoint_where_none_is_wanted(tmp_path, caplog):
    runner = validating(tmp_path, at=1)
    hook = started(runner, interval=-1, save_last=False)
    assert 'no checkpoint will be saved in 100 iterations' in caplog.text
    step(hook, runner, miou=0.5)
    assert files(tmp_path) == []


def test_the_last_checkpoint_of_a_run_that_is_stopped(tmp_path):
    runner = validating(tmp_path, at=1)
    hook = started(runner)
    for _ in range(3):
        step(hook, runner)
    runner.train_loop.stop_training = True
    hook.after_train_epoch(runner)
    hook.after_train(runner)
    assert files(tmp_path) == ['iter_1.pth', 'iter_3.pth']
    assert read_checkpoint(tmp_path / 'iter_3.pth')['meta'] == dict(epoch=0, iter=3)
    assert pointer(tmp_path) == str(tmp_path / 'iter_3.pth')
    # where it has just been saved it is not saved again
    runner = validating(tmp_path / 'b', at=1)
    hook = started(runner, interval=1)
    step(hook, runner)
    runner.seen.clear()
    runner.train_loop.stop_training = True
    hook.after_train_epoch(runner)
    assert runner.seen == {}
    # nor where no last one is wanted
    runner = validating(tmp_path / 'c', at=9)
    hook = started(runner, save_last=False)
    step(hook, runner)
    runner.train_loop.stop_training = True
    hook.after_train_epoch(runner)
    assert files(tmp_path / 'c') == []


# With mmengine's Runner


class TinyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.layer(inputs).square().mean())


class Numbers(torch.utils.data.Dataset):
    metainfo = dict(classes=('a',))

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.ones(1) * index)


def train(work_dir, hook, resume=False, max_iters=3):
    runner = Runner(
        model=TinyModel(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=Numbers(),
            sampler=dict(type=DefaultSampler, shuffle=False),
            batch_size=2,
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=False, max_iters=max_iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(checkpoint=hook),
        experiment_name=f'test_safe_checkpoint_{work_dir.name}_{max_iters}',
        resume=resume,
    )
    runner.train()
    return runner


@pytest.mark.parametrize('kind', [CheckpointHook, SafeCheckpointHook])
def test_run_of_mmengine(kind, tmp_path):
    """Its checkpoint, with logs and NumPy numbers, reads; so does mmengine from it."""
    hook = kind(interval=1, by_epoch=False, max_keep_ckpts=1)
    runner = train(tmp_path / kind.__name__, hook)
    path, refused = find_resumable(runner.work_dir)
    assert (os.path.basename(path), refused) == ('iter_3.pth', [])
    content = read_checkpoint(path)
    logged = content['message_hub']['log_scalars']['train/loss']
    assert len(logged.data[0]) == 3
    weight = runner.model.layer.weight
    assert torch.equal(content['state_dict']['layer.weight'], weight)
    torch.save(plain_values(content), path)
    content = read_checkpoint(path)
    assert set(content['message_hub']['log_scalars']['train/loss']) == {
        'log_history',
        'count_history',
        'max_length',
    }
