import multiprocessing
import shutil

import mmengine.runner.loops
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import MODELS
from tiny_run import (
    build,
    config,
    differing,
    labeled_set,
    sup_only,
    train,
    weights,
    write_data,
)

from mmsemiseg.engine.runner import SemiTrainLoop
from mmsemiseg.models.segmentors import SupOnly


class Drawn(Hook):
    """Names of the images of each iteration, and when to stop."""

    def __init__(self, stop_after=None):
        self.names = []
        self.batches = []
        self.stop_after = stop_after

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append(data_batch)
        self.names.append({name: names(part) for name, part in data_batch.items()})

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.stop_after:
            raise KeyboardInterrupt


def names(part):
    part = part.get('weak', part)
    return [sample.img_path.rpartition('/')[2] for sample in part['data_samples']]


def drawn(cfg, stop_after=None):
    """The hook that saw the run, and the runner, None where it was stopped."""
    hook = Drawn(stop_after)
    runner = None
    try:
        runner = train(cfg, hook)
    except KeyboardInterrupt:
        assert stop_after is not None
    return hook, runner


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def test_one_batch_of_each_stream_without_end(data, tmp_path):
    hook, runner = drawn(config(data, tmp_path / 'run', max_iters=8))
    assert len(hook.names) == 8
    for batch in hook.names:
        assert (len(batch['labeled']), len(batch['unlabeled'])) == (2, 3)
    # 8 iterations are 6 passes over the 4 unlabeled images, each a permutation
    stream = [name for batch in hook.names for name in batch['unlabeled']]
    passes = [tuple(stream[i : i + 4]) for i in range(0, 24, 4)]
    every = ('u0.png', 'u1.png', 'u2.png', 'u3.png')
    assert {tuple(sorted(p)) for p in passes} == {every}
    assert len(set(passes)) > 1
    samplers = {n: loader.sampler for n, loader in runner.train_loop.streams.items()}
    assert samplers['labeled'].seed == samplers['unlabeled'].seed == 5
    samplers['labeled'].size = 100
    samplers['unlabeled'].size = 100
    assert (samplers['labeled'].order(0) != samplers['unlabeled'].order(0)).any()


def test_unlabeled_views_hold_no_label(data, tmp_path):
    hook, _ = drawn(config(data, tmp_path / 'run', max_iters=1))
    batch = hook.batches[0]
    for view in ('weak', 'strong'):
        for sample in batch['unlabeled'][view]['data_samples']:
            assert 'gt_sem_seg' not in sample
            assert 'seg_map_path' not in sample
    assert 'gt_sem_seg' in batch['labeled']['data_samples'][0]


@MODELS.register_module(force=True)
class SeesStreams(SupOnly):
    seen = ()

    def step(self, streams):
        type(self).seen = {name: len(part[0]) for name, part in streams.items()}
        return super().step(streams)


def test_a_third_stream_reaches_the_model(data, tmp_path):
    cfg = config(data, tmp_path / 'run', dict(sup_only(), type='SeesStreams'), 1)
    cfg.train_dataloader.source = dict(batch_size=1, dataset=labeled_set(data, 'val'))
    del cfg.train_dataloader.unlabeled
    train(cfg)
    assert SeesStreams.seen == dict(labeled=2, source=1)


def test_passes_are_logged(data, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=4, train_cfg=dict(log_interval=2))
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=2)
    hub = train(cfg).message_hub
    assert hub.get_scalar('train/passes_labeled').data[0].tolist() == [2, 4]
    assert hub.get_scalar('train/passes_unlabeled').data[0].tolist() == [1.5, 3]
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert "stream 'unlabeled': 4 images, 3 a step on each of 1 process(es)" in log
    assert '3.0 passes in 4 iterations' in log
    assert 'passes_unlabeled: 1.5' in log.partition('[2/4]')[2].partition('[4/4]')[0]
    assert 'passes_unlabeled: 3.0' in log.partition('[4/4]')[2]


@pytest.mark.parametrize('counts', [(4, 1), (1, 1), (1, 4)])
def test_any_number_of_images(counts, tmp_path):
    root = write_data(tmp_path / 'data', *counts)
    hook, _ = drawn(config(root, tmp_path / 'run', max_iters=2))
    assert [len(part) for part in hook.names[1].values()] == [2, 3]


@pytest.fixture(scope='module')
def reference(data, tmp_path_factory):
    """An uninterrupted run in one process, with validations in between."""
    cfg = config(data, tmp_path_factory.mktemp('run'), max_iters=6)
    cfg.train_cfg.val_interval = 2
    hook, runner = drawn(cfg)
    return hook.names, weights(runner)


def test_workers_change_nothing(data, reference, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=6, workers=2)
    cfg.train_cfg.val_interval = 2
    hook, runner = drawn(cfg)
    assert hook.names == reference[0]
    assert differing(weights(runner), reference[1]) == []


def test_workers_end_with_the_training(data, tmp_path):
    before = set(multiprocessing.active_children())
    runner = train(config(data, tmp_path / 'run', max_iters=1, workers=2))
    assert set(multiprocessing.active_children()) <= before
    assert runner.iter == 1


def test_place_of_the_data_and_validation_change_nothing(data, reference, tmp_path):
    shutil.copytree(data, tmp_path / 'elsewhere')
    hook, runner = drawn(config(tmp_path / 'elsewhere', tmp_path / 'run', max_iters=6))
    assert hook.names == reference[0]
    assert differing(weights(runner), reference[1]) == []


def test_another_seed_is_another_run(data, reference, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=6, randomness=dict(seed=6))
    hook, _ = drawn(cfg)
    assert hook.names != reference[0]


@pytest.mark.parametrize('workers', [0, 2])
def test_eager_iterator_of_older_mmengine(
    workers, data, reference, tmp_path, monkeypatch
):
    class Eager:
        def __init__(self, dataloader):
            self.iterator = iter(dataloader)

    monkeypatch.setattr(mmengine.runner.loops, '_InfiniteDataloaderIterator', Eager)
    hook, runner = drawn(config(data, tmp_path / 'run', max_iters=6, workers=workers))
    assert hook.names == reference[0]
    assert differing(weights(runner), reference[1]) == []


@pytest.mark.parametrize(('workers', 'seed'), [(0, 5), (2, 5), (0, None)])
def test_resumed_run_draws_what_was_not_yet_drawn(workers, seed, data, tmp_path):
    def cfg(name, seed, **settings):
        cfg = config(data, tmp_path / name, max_iters=6, workers=workers, **settings)
        cfg.randomness.seed = seed
        cfg.default_hooks.checkpoint.interval = 2
        return cfg

    stopped, _ = drawn(cfg('run', seed), stop_after=3)
    resumed, runner = drawn(cfg('run', seed, resume=True))
    whole, _ = drawn(cfg('whole', runner.seed))
    assert stopped.names == whole.names[:3]
    assert resumed.names == whole.names[2:]
    assert len(resumed.batches) == 4
    for one, other in zip(resumed.batches, whole.batches[2:], strict=True):
        mine, theirs = (
            batch['unlabeled']['strong']['inputs'] for batch in (one, other)
        )
        assert torch.stack(mine).equal(torch.stack(theirs))


def test_a_stream_keeps_its_own_seed(data, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=1)
    cfg.train_dataloader.unlabeled.sampler = dict(type='InfiniteSampler', seed=77)
    runner = train(cfg)
    seeds = {n: loader.sampler.seed for n, loader in runner.train_loop.streams.items()}
    assert seeds == dict(labeled=5, unlabeled=77)


def test_plain_runner(data, reference, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=6)
    cfg.pop('runner_type')
    hook, runner = drawn(cfg)
    assert type(runner) is Runner
    assert hook.names == reference[0]
    assert differing(weights(runner), reference[1]) == []


# Errors at the start


def refuse(cfg, match, error=ValueError):
    with pytest.raises(error, match=match):
        train(cfg)


def test_overlap(data, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=1)
    images = ['unlabeled/images', 'labeled/images']
    cfg.train_dataloader.unlabeled.dataset.images = images
    refuse(cfg, "2 images are in the streams 'labeled' and 'unlabeled'")
    cfg.train_cfg.allow_overlap = True
    train(cfg)


def test_empty_and_missing(data, tmp_path):
    cfg = config(data, tmp_path / 'empty')
    cfg.train_dataloader.unlabeled.dataset.images = 'unlabeled/*.png'
    refuse(cfg, 'gives no image')
    cfg = config(data, tmp_path / 'missing')
    cfg.train_dataloader.unlabeled.dataset.images = 'gone'
    refuse(cfg, "images='gone' does not exist", FileNotFoundError)


def test_unreadable_image_is_found_before_training(tmp_path):
    root = write_data(tmp_path / 'data')
    (root / 'unlabeled/images/u1.png').write_bytes(b'garbage')
    refuse(config(root, tmp_path / 'a'), "'unlabeled': 1 images cannot be read.*u1.png")
    cfg = config(root, tmp_path / 'b', train_cfg=dict(check_data=False))
    refuse(cfg, 'u1.png')  # by the sample


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d: d.pop('labeled'), r"'labeled' among them, but has \['unlabeled'\]"),
        (lambda d: d.update(d.pop('labeled')), 'must map stream names to dataloaders'),
        (
            lambda d: d.labeled.pop('batch_size'),
            "'labeled'.*needs the key 'batch_size'",
        ),
        (lambda d: d.unlabeled.pop('dataset'), "'unlabeled'.*needs the key 'dataset'"),
        (lambda d: d.unlabeled.update(batch_size=0), 'must be >= 1, but got 0'),
        (
            lambda d: d.unlabeled.update(sampler=dict(type='DefaultSampler')),
            r"'unlabeled'.*\.sampler must be a StreamSampler.*is DefaultSampler",
        ),
    ],
)
def test_wrong_dataloaders(change, message, data, tmp_path):
    cfg = config(data, tmp_path / 'run')
    change(cfg.train_dataloader)
    refuse(cfg, message)


def test_a_plain_loader_is_refused():
    class FakeRunner:
        auto_scale_lr = None
        optim_wrapper = None

    loader = torch.utils.data.DataLoader([1])
    with pytest.raises(ValueError, match='must map stream names to dataloaders'):
        SemiTrainLoop(FakeRunner(), loader, max_iters=1)


@pytest.mark.parametrize('times', [1, 5])
def test_the_model_is_told_the_number_of_labeled_images(times, data, tmp_path):
    """Before training; each counts once where the data set is repeated."""
    cfg = config(data, tmp_path / 'run')
    labeled = cfg.train_dataloader.labeled
    labeled.dataset = dict(type='RepeatDataset', dataset=labeled.dataset, times=times)
    runner = build(cfg)
    assert runner.model.num_labeled is None
    assert isinstance(runner.train_loop, SemiTrainLoop)
    assert runner.model.num_labeled == 2


def test_teacher_and_hook_need_each_other(data, tmp_path):
    cfg = config(data, tmp_path / 'teacher', custom_hooks=None)
    refuse(cfg, 'MeanTeacher has a teacher, but no hook moves it')
    cfg = config(data, tmp_path / 'hook', sup_only())
    cfg.custom_hooks = [dict(type='MeanTeacherHook')]
    refuse(cfg, 'MeanTeacherHook moves a teacher, but SupOnly has none')


def test_early_stopping_leaves_a_last_checkpoint(data, tmp_path):
    """And the first validation has one, though ``interval`` is the whole run."""
    cfg = config(data, tmp_path / 'run', sup_only(), max_iters=8)
    del cfg.train_dataloader.unlabeled
    cfg.train_cfg.val_interval = 2
    stop = dict(type='EarlyStoppingHook', monitor='student/mIoU', min_delta=1000)
    cfg.custom_hooks = [dict(stop, patience=1)]
    runner = train(cfg)
    assert runner.iter == 4
    names = sorted(path.name for path in (tmp_path / 'run').glob('*.pth'))
    assert names == ['iter_2.pth', 'iter_4.pth']
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert 'the first checkpoint is saved after iteration 2 of 8' in log
    assert log.index('a first checkpoint at 2 iter') < log.index('Iter(val)')
