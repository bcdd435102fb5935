import logging
from types import SimpleNamespace

import pytest
from mmengine.config import ConfigDict
from tiny_run import build, config, mean_teacher, sup_only, write_data

from mmsemiseg.engine.runner.loop_checks import (
    check_lengths,
    check_loop_reads,
    check_stream_names,
    names_streams,
)

DATA = dict(batch_size=1, dataset=dict(type='A'))
STREAMS = dict(labeled=DATA, unlabeled=DATA)


@pytest.mark.parametrize(
    ('train_cfg', 'name'),
    [
        (dict(by_epoch=True, max_epochs=3), 'EpochBasedTrainLoop'),
        (dict(type='EpochBasedTrainLoop', max_epochs=3), 'EpochBasedTrainLoop'),
        (dict(type='IterBasedTrainLoop', max_iters=3), 'IterBasedTrainLoop'),
        (dict(by_epoch=False, max_iters=3), 'IterBasedTrainLoop'),
    ],
)
def test_loops_of_mmengine_read_no_streams(train_cfg, name):
    with pytest.raises(ValueError, match=f"'unlabeled'.*{name} reads.*SemiTrainLoop"):
        check_loop_reads(ConfigDict(train_cfg), ConfigDict(STREAMS))
    check_loop_reads(ConfigDict(train_cfg), ConfigDict(DATA))
    check_loop_reads(None, None)


def test_which_dataloaders_name_streams():
    assert names_streams(STREAMS)
    for other in (DATA, {}, None, [DATA], dict(batch_size=1), SimpleNamespace()):
        assert not names_streams(other)
    check_loop_reads(dict(type='SemiTrainLoop'), STREAMS)
    check_loop_reads(dict(type='OwnLoop'), STREAMS)


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        (dict(max_iters=0), 'train_cfg.max_iters must be an integer >= 1, but got 0'),
        (dict(max_iters=-5), 'train_cfg.max_iters .* got -5'),
        (dict(max_iters=1.5), 'train_cfg.max_iters .* got 1.5'),
        (dict(max_iters='9'), "train_cfg.max_iters .* got '9'"),
        (dict(max_iters=9, val_interval=0), 'train_cfg.val_interval .* got 0'),
        (dict(max_iters=9, val_interval=None), 'train_cfg.val_interval .* got None'),
        (dict(max_iters=9, dynamic_intervals=[(3, 0)]), 'dynamic_intervals .* got 0'),
    ],
)
def test_lengths(settings, text):
    with pytest.raises(ValueError, match=text):
        check_lengths(**settings)
    check_lengths(1e3, [(500, 10)], val_interval=1)


def reader(needed=('labeled', 'unlabeled'), further=()):
    return SimpleNamespace(reads_streams=(needed, further))


@pytest.mark.parametrize(
    ('given', 'model', 'text'),
    [
        (
            ['labeled', 'unlabelled'],
            reader(),
            r"the stream 'unlabelled'.*did you mean 'unlabeled'\?",
        ),
        (
            ['labeled', 'unlabeled', 'sorce'],
            reader(further=['source']),
            "mean 'source'",
        ),
        (['labeled', 'pseudo', 'unlabeled'], reader(), "stream 'pseudo', but"),
        (['labeled'], reader(), "'unlabeled' is missing"),
        (['labeled'], reader(['labeled', 'weak']), "'weak' is missing"),
    ],
)
def test_names_of_streams(given, model, text):
    with pytest.raises(ValueError, match=text):
        check_stream_names(dict.fromkeys(given), model)


def test_streams_that_are_drawn_in_vain(caplog):
    logger = logging.getLogger('test_loop_checks')
    check_stream_names(STREAMS, reader(), logger)
    check_stream_names(dict(own=1), SimpleNamespace(), logger)
    check_stream_names(dict(own=1), SimpleNamespace(reads_streams=None), logger)
    assert caplog.messages == []
    check_stream_names(STREAMS, reader(['labeled']), logger)
    assert "does not read the streams ['unlabeled']: they are" in caplog.text


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        (dict(train_cfg=dict(val_interval=0)), 'train_cfg.val_interval'),
        (dict(train_cfg=dict(max_iters=0)), 'train_cfg.max_iters'),
        (dict(train_cfg=dict(type='IterBasedTrainLoop')), 'IterBasedTrainLoop reads'),
        (dict(train_dataloader=dict(unlabelled=DATA)), "mean 'unlabeled'"),
    ],
)
def test_a_run_tells_at_its_start(settings, text, data, tmp_path):
    model = mean_teacher()
    runner = build(config(data, tmp_path / 'run', model, max_iters=1, **settings))
    with pytest.raises(ValueError, match=text):
        runner.train()


def test_a_stream_that_the_model_needs(data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only(streams=('labeled', 'pseudo')))
    with pytest.raises(ValueError, match="'pseudo' is missing"):
        build(cfg).train()
