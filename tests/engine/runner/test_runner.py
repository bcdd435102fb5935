import pytest
from tiny_run import config, sup_only, train, write_data

from mmsemiseg.engine.runner import SemiRunner

SCALE = dict(enable=True, base_batch_size=10)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def learning_rate(runner):
    return runner.optim_wrapper.get_lr()['lr']


def test_lr_follows_the_summed_batch(data, tmp_path):
    runner = train(config(data, tmp_path / 'a', max_iters=1, auto_scale_lr=SCALE))
    assert learning_rate(runner) == pytest.approx([0.1 * (2 + 3) / 10])
    assert sorted(runner._train_dataloader) == ['labeled', 'unlabeled']


def test_lr_follows_the_processes(data, tmp_path, monkeypatch):
    monkeypatch.setattr(SemiRunner, 'world_size', 4)
    runner = train(config(data, tmp_path / 'a', max_iters=1, auto_scale_lr=SCALE))
    assert learning_rate(runner) == pytest.approx([0.1 * 4 * (2 + 3) / 10])


def test_lr_stays_without_being_asked(data, tmp_path):
    scale = dict(enable=False, base_batch_size=10)
    runner = train(config(data, tmp_path / 'a', max_iters=1, auto_scale_lr=scale))
    assert learning_rate(runner) == [0.1]


@pytest.mark.parametrize('runner_type', ['SemiRunner', None])
def test_plain_loader_as_in_mmengine(runner_type, data, tmp_path):
    cfg = config(data, tmp_path / 'a', sup_only(), max_iters=1, auto_scale_lr=SCALE)
    cfg.train_dataloader = dict(
        cfg.train_dataloader.labeled, sampler=dict(type='InfiniteSampler')
    )
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1)
    if runner_type is None:
        cfg.pop('runner_type')
    runner = train(cfg)
    assert learning_rate(runner) == pytest.approx([0.1 * 2 / 10])


def test_plain_runner_cannot_scale(data, tmp_path):
    cfg = config(data, tmp_path / 'a', auto_scale_lr=SCALE)
    cfg.pop('runner_type')
    with pytest.raises(ValueError, match="set runner_type='SemiRunner'"):
        train(cfg)
