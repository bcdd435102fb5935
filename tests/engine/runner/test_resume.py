"""Runs that are killed and resumed equal the uninterrupted one bit by bit."""

import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest
import torch
from killed_run import content, different, end, failure, finish, killed, pair, start
from mmengine.hooks import Hook
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model
from tiny_run import (
    build,
    config,
    differing,
    labeled_set,
    mean_teacher,
    sup_only,
    tiny_student,
    train,
    weights,
    write_data,
)

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.engine.checkpoints.run_state import ResumeError

ITERS = 12
MAIN = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def run(data, work_dir, model=None, resume=False, **settings):
    """Config: a checkpoint every 2 iterations, 2 are kept; validation every 3.

    CutMix, dropout, BatchNorm, PhotoMetricDistortion, a schedule and momentum; a hook
    that uses all generators of the process.
    """
    cfg = config(data, work_dir, model, max_iters=ITERS)
    cfg.custom_hooks.append(dict(type='Draws'))
    cfg.param_scheduler = [dict(type='PolyLR', by_epoch=False, end=ITERS)]
    cfg.train_cfg.val_interval = 3
    checkpoint = dict(interval=2, max_keep_ckpts=2, save_best='student/mIoU')
    cfg.default_hooks.checkpoint.update(checkpoint)
    cfg.resume = resume
    cfg.merge_from_dict(settings, allow_list_keys=True)
    return cfg


def last(work_dir):
    return content(work_dir / f'iter_{ITERS}.pth')


def log(work_dir):
    """Of all processes that went on with a run, in order."""
    return '\n'.join(file.read_text() for file in sorted(work_dir.rglob('*.log')))


@pytest.fixture(scope='module')
def whole_dir(data, tmp_path_factory):
    """Work folder of an uninterrupted run."""
    work_dir = tmp_path_factory.mktemp('whole') / 'run'
    finish(run(data, work_dir))
    return work_dir


@pytest.fixture(scope='module')
def whole(whole_dir):
    """Content of its last checkpoint."""
    return last(whole_dir)


def test_what_is_compared(whole, data, tmp_path):
    expected = [
        "['state_dict']['pairs.0.teacher.backbone.stem.1.running_var']",
        "['state_dict']['pairs.0.steps']",
        "['optimizer']['state'][0]['momentum_buffer']",
        "['optimizer']['param_groups'][0]['lr']",
        "['param_schedulers'][0]['last_step']",
        "['message_hub']['log_scalars']['train/loss']['log_history']",
        "['message_hub']['log_scalars']['val/teacher/mIoU']['log_history']",
        "['message_hub']['runtime_info']['best_score']",
        "['message_hub']['runtime_info']['keep_ckpt_ids'][1]",
        "['meta']['run_state']['random'][0]['torch']",
        "['meta']['run_state']['random'][0]['numpy'][1]",
        "['meta']['run_state']['random'][0]['python'][1][0]",
        "['meta']['run_state']['streams']['unlabeled']['drawn']",
    ]
    assert [place for place in expected if place not in whole] == []
    drawn = whole["['message_hub']['log_scalars']['train/numpy']['log_history']"]
    assert drawn.unique().numel() == ITERS
    finish(run(data, tmp_path / 'run', randomness=dict(seed=6)))
    other = different(last(tmp_path / 'run'), whole)
    assert set(expected[:1] + expected[9:10]) <= set(other)
    assert expected[3] not in other


# Where it is killed

INSIDE = ('start', 'forward', 'backward', 'step')
CHANCE = random.Random(20)
ANYWHERE = [
    (CHANCE.choice(INSIDE), iteration, CHANCE.choice([0, 2]))
    for iteration in sorted(CHANCE.sample(range(1, ITERS + 1), 10))
]


@pytest.mark.parametrize(('moment', 'iteration', 'workers'), ANYWHERE)
def test_killed_in_any_iteration(moment, iteration, workers, data, whole, tmp_path):
    loaders = {
        f'train_dataloader.{name}.num_workers': workers
        for name in ('labeled', 'unlabeled')
    }
    killed(run(data, tmp_path / 'run', **loaders), moment, iteration)
    there = sorted(path.name for path in (tmp_path / 'run').glob('iter_*.pth'))
    assert bool(there) == (iteration > 2)
    loaders = {name: 2 - workers for name in loaders}
    finish(run(data, tmp_path / 'run', resume='auto', **loaders))
    assert different(last(tmp_path / 'run'), whole) == []


@pytest.mark.parametrize(
    ('moment', 'iteration'),
    [
        ('write', 2),
        ('write', 6),
        ('rename', 6),
        ('pointer', 6),
        ('delete', 6),
        ('best', 3),
        ('val', 3),
        ('val', 6),
        ('validated', 6),
        ('validated', 9),
        ('write', ITERS),
        ('val', ITERS),
        ('validated', ITERS),
    ],
)
def test_killed_while_it_saves_or_validates(moment, iteration, data, whole, tmp_path):
    work_dir = tmp_path / 'run'
    killed(run(data, work_dir), moment, iteration)
    parts = [path.name for path in work_dir.glob('*.part')]
    assert bool(parts) == (moment in ('write', 'rename', 'best', 'pointer'))
    finish(run(data, work_dir, resume='auto'))
    assert different(last(work_dir), whole) == []
    assert not list(work_dir.glob('*.part'))


def test_killed_in_the_first_validation(data, whole, tmp_path):
    """Long before the first interval ends."""
    settings = {'default_hooks.checkpoint.interval': ITERS}
    killed(run(data, tmp_path / 'run', **settings), 'val', 3)
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_3.pth']
    finish(run(data, tmp_path / 'run', resume='auto', **settings))
    places = different(last(tmp_path / 'run'), whole)
    assert [place for place in places if 'keep_ckpt_ids' not in place] == []


def test_killed_again_and_again(data, whole, tmp_path):
    work_dir = tmp_path / 'run'
    killed(run(data, work_dir), 'forward', 4)
    for moment, iteration in [('write', 4), ('step', 5), ('val', 6), ('start', 11)]:
        killed(run(data, work_dir, resume='auto'), moment, iteration)
    finish(run(data, work_dir, resume='auto'))
    assert different(last(work_dir), whole) == []


def test_two_processes_killed_together(data, tmp_path):
    """At the moments of ANYWHERE, one after the other and each time resumed."""
    assert pair(run(data, tmp_path / 'whole')) == [0, 0]
    work_dir = tmp_path / 'run'
    for moment, iteration, workers in ANYWHERE:
        cfg = run(data, work_dir, resume='auto')
        cfg.train_dataloader.unlabeled.num_workers = workers
        kill = dict(type='Kill', moment=moment, iteration=iteration, stage='')
        cfg.custom_hooks.append(kill)
        assert pair(cfg) == [-signal.SIGKILL] * 2
    assert pair(run(data, work_dir, resume='auto')) == [0, 0]
    assert different(last(work_dir), last(tmp_path / 'whole')) == []


def test_killed_from_outside(data, whole, tmp_path):
    """At a moment that nobody has chosen."""
    begun = tmp_path / 'begun'
    cfg = run(data, tmp_path / 'run')
    cfg.train_dataloader.unlabeled.num_workers = 2
    cfg.custom_hooks.append(dict(type='Signal', path=str(begun), iteration=5))
    process = start(cfg)
    while not begun.exists() and process.is_alive():
        time.sleep(0.001)
    process.kill()
    assert end(process) == -9
    finish(run(data, tmp_path / 'run', resume='auto'))
    assert different(last(tmp_path / 'run'), whole) == []


# What is trained

ADAMW = dict(type='AdamW', lr=0.01, weight_decay=0.1, _delete_=True)
STEPS = dict(type='MultiStepLR', by_epoch=False, milestones=[4, 9], gamma=0.3)
WARMUP = dict(type='LinearLR', by_epoch=False, start_factor=0.1, end=5)
FIXMATCH = dict(
    type='FixMatch', student=tiny_student(), pseudo_loss=dict(threshold=0.0)
)
SETTINGS = {
    'accumulation': dict(train_cfg=dict(accumulation=2)),
    'AdamW': dict(optim_wrapper=dict(optimizer=ADAMW)),
    'clipped': dict(optim_wrapper=dict(clip_grad=dict(max_norm=0.1))),
    'schedules': dict(param_scheduler=[WARMUP, STEPS]),
    'bf16': dict(optim_wrapper=dict(type='Bf16OptimWrapper')),
    'ClassMix': dict(model=mean_teacher(mix=dict(type='ClassMix'))),
    'FixMatch': dict(model=FIXMATCH),
    'SupOnly': dict(model=sup_only()),
}


def with_settings(name, data, work_dir, **more):
    settings = copy.deepcopy(SETTINGS[name])
    model = settings.pop('model', None)
    cfg = run(data, work_dir, model, **settings, **more)
    if name == 'ClassMix':
        cfg.custom_hooks.append(dict(type='MeanTeacherHook', anneal='cosine'))
    if name == 'SupOnly':
        cfg.train_dataloader.pop('unlabeled')
    return cfg


@pytest.mark.parametrize('name', SETTINGS)
def test_settings(name, data, whole, tmp_path):
    cfg = with_settings(name, data, tmp_path / 'whole')
    finish(cfg)
    expected = last(tmp_path / 'whole')
    assert different(expected, whole) != []
    killed(with_settings(name, data, tmp_path / 'run'), 'forward', 8)
    finish(with_settings(name, data, tmp_path / 'run', resume='auto'))
    assert different(last(tmp_path / 'run'), expected) == []


def test_data_and_work_folder_elsewhere(data, whole, tmp_path):
    shutil.copytree(data, tmp_path / 'data')
    killed(run(tmp_path / 'data', tmp_path / 'run'), 'backward', 8)
    (tmp_path / 'other').mkdir()
    shutil.move(tmp_path / 'run', tmp_path / 'other/moved')
    shutil.move(tmp_path / 'data', tmp_path / 'other/data')
    work_dir = tmp_path / 'other/moved'
    finish(run(tmp_path / 'other/data', work_dir, resume='auto'))
    assert different(last(work_dir), whole) == []
    assert not (tmp_path / 'run').exists()


def test_a_seed_that_was_drawn(data, whole, tmp_path):
    killed(run(data, tmp_path / 'run', randomness=dict(seed=None)), 'step', 7)
    seed = content(tmp_path / 'run/iter_6.pth')["['meta']['seed']"]
    finish(run(data, tmp_path / 'run', randomness=dict(seed=None), resume='auto'))
    finish(run(data, tmp_path / 'whole', randomness=dict(seed=seed)))
    found = last(tmp_path / 'run')
    assert different(found, last(tmp_path / 'whole')) == []
    assert different(found, whole) != []


# Validation


def test_validation_changes_nothing_in_training(data, whole, tmp_path):
    """Though in :func:`run` it draws from all generators."""
    finish(run(data, tmp_path / 'run', train_cfg=dict(val_interval=1000)))
    other = different(last(tmp_path / 'run'), whole)
    assert any("'val/student/mIoU'" in place for place in other)
    assert not any("'train/" in place for place in other)
    others = [place for place in other if "['message_hub']" not in place]
    assert others == ["['meta']['run_state']['validated']"]


def validated(work_dir):
    text = log(work_dir)
    return text.count('evaluation protocol')


def test_validation_that_was_due_is_done(data, tmp_path):
    settings = dict(default_hooks=dict(checkpoint=dict(save_best=None)))
    killed(run(data, tmp_path / 'run', **settings), 'val', ITERS)
    before = validated(tmp_path / 'run')
    finish(run(data, tmp_path / 'run', resume='auto', **settings))
    assert (before, validated(tmp_path / 'run')) == (4, 5)
    assert 'Iter(val) [3/3]' in log(tmp_path / 'run').rpartition('resumed epoch')[2]


def test_validation_is_not_done_twice(data, tmp_path):
    """The first one is the best so far, which saves the checkpoint again."""
    killed(run(data, tmp_path / 'run'), 'start', 4)
    assert (tmp_path / 'run/iter_3.pth').is_file()
    assert validated(tmp_path / 'run') == 1
    finish(run(data, tmp_path / 'run', resume='auto'))
    assert 'resumed epoch: 0, iter: 3' in log(tmp_path / 'run')
    assert validated(tmp_path / 'run') == 4


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob('*.pth')}


def test_resuming_a_finished_run(whole_dir, data, tmp_path):
    shutil.copytree(whole_dir, tmp_path / 'run')
    before = files(tmp_path / 'run')
    finish(run(data, tmp_path / 'run', resume='auto'))
    assert files(tmp_path / 'run') == before
    killed(run(data, tmp_path / 'run'), 'start', 3)  # and anew, without resume
    assert content(tmp_path / 'run/iter_2.pth')["['meta']['iter']"] == 2


# What is on disk


@pytest.fixture(scope='module')
def killed_dir(data, tmp_path_factory):
    """Work folder of a run that was killed in iteration 7: iter_4 and iter_6."""
    work_dir = tmp_path_factory.mktemp('killed') / 'run'
    killed(run(data, work_dir), 'start', 7)
    return work_dir


@pytest.fixture
def work_dir(killed_dir, tmp_path):
    """A copy; its ``last_checkpoint`` names the original."""
    shutil.copytree(killed_dir, tmp_path / 'run')
    return tmp_path / 'run'


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def test_a_truncated_checkpoint_is_passed_over(work_dir, data, whole):
    cut(work_dir / 'iter_6.pth')
    finish(run(data, work_dir, resume='auto'))
    assert different(last(work_dir), whole) == []
    text = log(work_dir)
    name = work_dir / 'iter_6.pth'
    assert f'WARNING - not resumed: {name} is damaged or incomplete' in text
    assert f'resuming from {work_dir / "iter_4.pth"}' in text


def test_the_one_before_is_kept_until_a_new_one_is_there(work_dir, data, whole):
    cut(work_dir / 'iter_6.pth')
    killed(run(data, work_dir, resume='auto'), 'write', 6)
    finish(run(data, work_dir, resume='auto'))
    assert different(last(work_dir), whole) == []


def refuse(cfg, error, *texts):
    with pytest.raises(error) as caught:
        train(cfg)
    for text in texts:
        assert str(text) in str(caught.value)


def test_no_good_checkpoint(work_dir, data):
    before = set(files(work_dir))
    for path in work_dir.glob('iter_*.pth'):
        cut(path)
    cfg = run(data, work_dir, resume='auto')
    names = work_dir / 'iter_4.pth', work_dir / 'iter_6.pth'
    refuse(cfg, CheckpointError, 'none that can be resumed', *names)
    assert set(files(work_dir)) == before


def test_a_named_checkpoint_must_be_good(work_dir, data):
    path = work_dir / 'iter_6.pth'
    cut(path)
    cfg = run(data, work_dir, resume=True, load_from=str(path))
    refuse(cfg, CheckpointError, f'{path} is damaged or incomplete')
    cfg.load_from = str(work_dir / 'gone.pth')
    refuse(cfg, FileNotFoundError, 'gone.pth')
    best = str(next(work_dir.glob('best_*')))
    cfg.load_from = best
    refuse(cfg, CheckpointError, f'{best} cannot be resumed: it has no optimizer')


def test_a_named_checkpoint_is_taken(work_dir, data, whole, tmp_path):
    """It need not be the newest, nor lie in the work folder."""
    path = str(work_dir / 'iter_4.pth')
    finish(run(data, tmp_path / 'other', resume=True, load_from=path))
    assert different(last(tmp_path / 'other'), whole) == []
    assert f'resuming from {path}' in log(tmp_path / 'other')


def test_checkpoint_of_another_model(work_dir, data):
    model = mean_teacher()
    model['student']['backbone']['base_channels'] = 4
    cfg = run(data, work_dir, resume='auto')
    cfg.model = model
    name = 'pairs.0.student.backbone.layer1.0.conv1.weight'
    refuse(cfg, CheckpointError, 'is not of this MeanTeacher', 'of another shape', name)
    cfg = run(data, work_dir, sup_only(), resume='auto')
    cfg.train_dataloader.pop('unlabeled')
    text = ' unknown (pairs.0.teacher.backbone.stem.0.weight,'
    refuse(cfg, CheckpointError, 'is not of this SupOnly', text)


def one_step(data, work_dir, **settings):
    """Trained for one iteration without learning: the weights are those it began with.

    They are the student's, whose teacher is a copy of it.
    """
    cfg = config(data, work_dir, max_iters=1, **settings)
    cfg.optim_wrapper.optimizer.lr = 0.0
    runner = train(cfg)
    return {k: v for k, v in weights(runner).items() if k.endswith('weight')}


def test_auto_with_nothing_there(killed_dir, data, tmp_path):
    path = killed_dir / 'iter_6.pth'
    saved = torch.load(path, weights_only=True)['state_dict']
    saved = {k: v for k, v in saved.items() if k.endswith('weight')}
    fresh = one_step(data, tmp_path / 'fresh')
    auto = one_step(data, tmp_path / 'auto', resume='auto')
    assert differing(fresh, auto) == []
    assert 'has no checkpoint yet: a new run starts' in log(tmp_path / 'auto')
    loaded = one_step(data, tmp_path / 'load', resume='auto', load_from=str(path))
    student = [name for name in saved if '.student.' in name]
    assert len(student) > 5
    assert all(loaded[name].equal(saved[name]) for name in student)
    assert not any(fresh[name].equal(saved[name]) for name in student)
    # and now that there is something, it goes on from there
    cfg = config(data, tmp_path / 'load', max_iters=2, resume='auto')
    cfg.load_from = str(path)
    assert train(cfg).iter == 2
    assert f'resuming from {tmp_path}/load/iter_1.pth' in log(tmp_path / 'load')


def test_a_full_disk(data, whole, tmp_path):
    work_dir = tmp_path / 'run'
    cfg = run(data, work_dir)
    cfg.custom_hooks.append(dict(type='FullDisk', iteration=5))
    text = failure(cfg)
    path = work_dir / 'iter_6.pth'
    assert f'OSError: [Errno 27] {path} could not be written: File too large' in text
    assert 'What was there before still is' in text
    assert {'iter_3.pth', 'iter_4.pth'} <= set(files(work_dir))
    assert not list(work_dir.glob('*.part'))
    finish(run(data, work_dir, resume='auto'))
    assert 'resumed epoch: 0, iter: 4' in log(work_dir)
    assert different(last(work_dir), whole) == []


def test_files_are_plain(whole_dir):
    """torch alone reads them, with nothing of MMEngine imported."""
    code = 'import sys, torch\nfor path in sys.argv[1:]:\n'
    code += '    print(len(torch.load(path, weights_only=True)))'
    paths = sorted(whole_dir.glob('*.pth'))
    command = [sys.executable, '-c', code, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lengths = [3 if path.name.startswith('best') else 5 for path in paths]
    assert list(map(int, done.stdout.split())) == lengths
    assert {3, 5} == set(lengths)


def test_stock_tools_read_them(whole_dir, data):
    path = str(whole_dir / f'iter_{ITERS}.pth')
    saved = torch.load(path, weights_only=True)['state_dict']
    cfg = run(data, whole_dir)
    model = init_model(cfg, path, device='cpu')
    assert differing(dict(model.state_dict()), dict(saved)) == []
    assert model.dataset_meta['classes'] == ('a', 'b', 'c')
    model = build(cfg).model
    load_checkpoint(model, path, map_location='cpu', strict=True)
    assert differing(dict(model.state_dict()), dict(saved)) == []


# What must be as it was


@pytest.fixture(scope='module')
def short_dir(data, tmp_path_factory):
    """Work folder of two iterations of this process."""
    work_dir = tmp_path_factory.mktemp('short') / 'run'
    train(config(data, work_dir, max_iters=2))
    return work_dir


@pytest.fixture
def again(short_dir, data, tmp_path):
    """Config that goes on with them for two more."""
    shutil.copytree(short_dir, tmp_path / 'run')
    return config(data, tmp_path / 'run', max_iters=4, resume='auto')


def change_threads(cfg, monkeypatch):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 17)


STATE = 'mmsemiseg.engine.checkpoints.run_state'


def change_processes(cfg, monkeypatch):
    monkeypatch.setattr(f'{STATE}.get_world_size', lambda: 3)


def change_device(cfg, monkeypatch):
    monkeypatch.setattr(f'{STATE}.get_device', lambda: 'cuda')


def change_batch(cfg, monkeypatch):
    cfg.train_dataloader.unlabeled.batch_size = 2


def change_images(cfg, monkeypatch):
    cfg.train_dataloader.labeled.dataset.indices = 1


def change_accumulation(cfg, monkeypatch):
    cfg.train_cfg.accumulation = 2


def change_streams(cfg, monkeypatch):
    root = Path(cfg.train_dataloader.labeled.dataset.data_root).parent
    more = dict(batch_size=1, dataset=labeled_set(root, 'val'))
    cfg.train_dataloader.source = more


CHANGES = [
    (change_threads, 'threads was 1, now 17'),
    (change_processes, 'processes was 1, now 3'),
    (change_device, "device was 'cpu', now 'cuda'"),
    (change_batch, "batch_size of the stream 'unlabeled' was 3, now 2"),
    (change_images, "images of the stream 'labeled' was 2, now 1"),
    (change_accumulation, 'accumulation was 1, now 2'),
    (change_streams, "the stream 'source' was not there"),
]


@pytest.mark.parametrize(('change', 'text'), CHANGES)
def test_a_change_is_refused(change, text, again, monkeypatch):
    change(again, monkeypatch)
    refuse(again, ResumeError, 'not the one that was saved', text, 'exact_resume=False')


# As it need not be


class Names(Hook):
    """Images of the unlabeled stream, and the first pixel of each strong view."""

    def __init__(self):
        self.images = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        views = data_batch['unlabeled']['strong']
        for image, sample in zip(views['inputs'], views['data_samples'], strict=True):
            name = sample.img_path.rpartition('/')[2]
            self.images.append((name, image[:, 0, 0].tolist()))


def images(cfg):
    hook = Names()
    return hook.images, train(cfg, hook)


@pytest.fixture(scope='module')
def all_images(data, tmp_path_factory):
    """Those of four iterations."""
    cfg = config(data, tmp_path_factory.mktemp('images') / 'run', max_iters=4)
    return images(cfg)[0]


WARNING = 'the resumed run will not equal the uninterrupted one bit by bit: '


def test_other_batches_take_the_images_not_yet_seen(again, all_images):
    again.exact_resume = False
    again.train_dataloader.unlabeled.batch_size = 2
    found, runner = images(again)
    assert (runner.iter, len(found)) == (4, 4)
    assert found == all_images[6:10]
    assert runner.train_loop.drawn == dict(labeled=8, unlabeled=10)
    text = "batch_size of the stream 'unlabeled' was 3, now 2"
    assert f'{WARNING}{text}\n' in log(Path(again.work_dir))


@pytest.mark.parametrize(('change', 'text'), CHANGES)
def test_a_change_is_a_warning(change, text, again, monkeypatch):
    again.exact_resume = False
    change(again, monkeypatch)
    runner = train(again)
    assert runner.iter == 4
    assert WARNING + text in log(Path(again.work_dir))


def test_other_versions_are_a_warning_alone(again, monkeypatch):
    place = f'{STATE}._cpu_instructions'
    monkeypatch.setattr(place, lambda: 'SOME')
    assert train(again).iter == 4
    text = log(Path(again.work_dir))
    assert WARNING in text
    assert ', now SOME\n' in text


def test_without_a_change_there_is_no_warning(again, all_images):
    found, _ = images(again)
    assert found == all_images[6:]
    assert WARNING not in log(Path(again.work_dir))


def test_checkpoint_of_the_stock_runner(data, all_images, tmp_path):
    """Its state of the generators is not there, but the iteration is."""
    stock = config(data, tmp_path / 'run', max_iters=2)
    stock.pop('runner_type')
    train(stock)
    cfg = config(data, tmp_path / 'run', max_iters=4, resume='auto')
    path = tmp_path / 'run/iter_2.pth'
    refuse(
        cfg,
        CheckpointError,
        f'{path} was not saved by SemiRunner',
        'With exact_resume=False the run goes on',
    )
    cfg.exact_resume = False
    found, runner = images(cfg)
    assert runner.iter == 4
    assert found == all_images[6:]
    assert f'{WARNING}the checkpoint has no state of the run' in log(tmp_path / 'run')


# Several stages, and the command line


def self_training(data, work_dir, **settings):
    """Config: 4 iterations a stage, a checkpoint after each second one."""
    cfg = config(data, work_dir, sup_only(), max_iters=4)
    cfg.runner_type = 'SelfTrainingRunner'
    cfg.train_dataloader.pop('unlabeled')
    cfg.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=1)
    cfg.custom_hooks.append(dict(type='Draws'))
    cfg.self_training = dict(
        unlabeled=dict(
            type='UnlabeledDataset', data_root=str(data), images='unlabeled/images'
        ),
        batch_size=1,
    )
    cfg.merge_from_dict(settings)
    return cfg


def stages(work_dir):
    """Checkpoints of both stages, and the masks between them."""
    teacher, student = (
        content(work_dir / stage / 'iter_4.pth') for stage in ('teacher', 'student')
    )
    masks = {p.name: p.read_bytes() for p in (work_dir / 'pseudo_masks').iterdir()}
    return teacher, student, masks


@pytest.fixture(scope='module')
def whole_stages(data, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('stages') / 'run'
    finish(self_training(data, work_dir))
    return stages(work_dir)


@pytest.mark.parametrize(
    ('stage', 'moment', 'iteration'),
    [
        ('teacher', 'forward', 4),
        ('teacher', 'validated', 4),
        ('teacher', 'mask', 1),
        ('teacher', 'mask', 3),
        ('teacher', 'mask', 5),  # the index of them
        ('student', 'start', 1),
        ('student', 'write', 4),
    ],
)
def test_self_training(stage, moment, iteration, data, whole_stages, tmp_path):
    work_dir = tmp_path / 'run'
    killed(self_training(data, work_dir), moment, iteration, stage)
    index = work_dir / 'pseudo_masks/index.json'
    assert index.exists() == (stage == 'student')
    finish(self_training(data, work_dir, resume='auto'))
    teacher, student, masks = stages(work_dir)
    assert different(teacher, whole_stages[0]) == []
    assert {k: v for k, v in masks.items() if '.part' not in k} == whole_stages[2]
    assert different(student, whole_stages[1]) == []


def test_command_line(data, whole, tmp_path):
    work_dir = tmp_path / 'run'
    cfg = run(data, tmp_path / 'unused')
    cfg.custom_imports = dict(imports=['mmsemiseg', 'killed_run'])
    cfg.custom_hooks.append(dict(type='Kill'))
    cfg.dump(tmp_path / 'some.py')
    words = [tmp_path / 'some.py', '--work-dir', work_dir, '--resume']
    kill = ['--cfg-options', 'custom_hooks.2.moment=rename']
    kill += ['custom_hooks.2.iteration=8']
    report = tmp_path / 'error'
    for more, code in ((kill, -9), ([], 0)):
        call = [MAIN / 'tools/train.py', [*words, *more], tmp_path]
        found = end(forked.start(forked.run_tool, *call, report=report))
        assert found == code, report.read_text() if report.exists() else found
    assert 'resumed epoch: 0, iter: 6' in log(work_dir)
    assert different(last(work_dir), whole) == []
