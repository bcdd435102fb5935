"""Whole runs of ESL: prototypes before training, resumed, in parallel."""

import pytest
import torch
from esl_run import FEATURES, ITERS, STOP, config, trained, two_processes, write_data
from killed_run import content, different, finish, killed
from tiny_run import differing, train
from torch.testing import assert_close

from mmsemiseg.functional import kmeans
from mmsemiseg.models import PartContrast


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def check_prototypes(left):
    """They are the moving averages of what the steps left, of all batches."""
    vectors, known = (left['begun'][name].clone() for name in ('vectors', 'known'))
    assert known.all()
    for batches in left['rows']:
        sums = sum(batch['contrast.sums'][0] for batch in batches)
        counts = sum(batch['contrast.counts'][0] for batch in batches)
        means = (sums / counts.clamp(min=1)[:, None]).view_as(vectors)
        seen = (counts > 0).view(known.shape)[..., None]
        vectors = torch.where(seen, 0.7 * vectors + 0.3 * means, vectors)
    found = left['state']['contrast.prototypes.vectors']
    assert_close(found, vectors, atol=1e-5, rtol=1e-4)
    assert not found.equal(left['begun']['vectors'])


@pytest.mark.parametrize('accumulation', [1, 2])
def test_prototypes_follow_and_queues_fill(accumulation, data, tmp_path):
    cfg = config(data, tmp_path / 'run', train_cfg=dict(accumulation=accumulation))
    left = trained(cfg)
    assert [len(rows) for rows in left['rows']] == [accumulation] * ITERS
    check_prototypes(left)
    assert left['state']['contrast.bank.count'].eq(3).all()
    assert left['losses'][0] == 0
    assert all(value > 0 for value in left['losses'][1:])
    assert left['state']['contrast.head_pairs.0.steps'] == ITERS


def test_first_prototypes_are_clusters_of_the_labeled_features(
    data, tmp_path, capsys, monkeypatch
):
    clustered = []

    def watched(rows, k, **settings):
        clustered.append(rows)
        return kmeans(rows, k, **settings)

    module = 'mmsemiseg.models.memories.part_prototypes.kmeans'
    monkeypatch.setattr(module, watched)
    left = trained(config(data, tmp_path / 'run', max_iters=1))
    assert [len(rows) for rows in clustered] == [FEATURES] * 3
    for c, rows in enumerate(clustered):
        assert_close(kmeans(rows, 2, restarts=3).centres, left['begun']['vectors'][c])
    told = capsys.readouterr().out
    assert 'the encoder reads 5 images' in told
    assert f'prototypes of class 2: K-means of {FEATURES} features' in told


def test_the_hook_changes_nothing_but_the_prototypes(data, tmp_path, capsys):
    """Neither the order of the data, nor random numbers, nor BatchNorm."""
    with_hook = trained(config(data, tmp_path / 'with', max_iters=1))
    assert 'no hook begins them' not in capsys.readouterr().out
    other = dict(type='MemoryHook')
    without = trained(config(data, tmp_path / 'without', max_iters=1, hook=other))
    assert 'ESL has prototypes, but no hook begins them' in capsys.readouterr().out
    names = differing(with_hook['state'], without['state'])
    assert set(names) <= {
        'contrast.prototypes.vectors',
        'contrast.prototypes.known',
        'contrast.bank.features',
        'contrast.bank.count',
        'contrast.bank.pointer',
    }
    assert without['state']['contrast.prototypes.known'].any()


def test_each_image_of_a_repeated_data_set_is_read_once(data, tmp_path, monkeypatch):
    features, seen = PartContrast.prototype_features, []

    def watched(self, model, batch):
        seen.extend(sample.img_path for sample in batch.data_samples)
        return features(self, model, batch)

    monkeypatch.setattr(PartContrast, 'prototype_features', watched)
    cfg = config(data, tmp_path / 'run', max_iters=1)
    labeled = cfg.train_dataloader.labeled
    labeled.dataset = dict(type='RepeatDataset', times=7, dataset=labeled.dataset)
    left = trained(cfg)
    assert len(seen) == len(set(seen)) == 5
    assert left['begun']['known'].all()


def test_a_stream_that_is_not_there_is_named(data, tmp_path):
    hook = dict(type='PrototypeInitHook', stream='label')
    rule = "stream of PrototypeInitHook must be in .*'labeled'.* but got 'label'"
    with pytest.raises(ValueError, match=rule):
        trained(config(data, tmp_path / 'run', max_iters=1, hook=hook))


def test_a_method_without_prototypes_refuses_the_hook(data, tmp_path):
    cfg = config(data, tmp_path / 'run')
    cfg.model = dict(type='MeanTeacher', student=cfg.model.student)
    with pytest.raises(ValueError, match='but MeanTeacher has none'):
        trained(cfg)


def test_without_contrast_the_hook_has_nothing_to_do(data, tmp_path, capsys):
    cfg = config(data, tmp_path / 'run', max_iters=1)
    cfg.model.contrast = None
    state = train(cfg).model.state_dict()
    assert not any('contrast' in key for key in state)
    assert 'PrototypeInitHook has nothing to do' in capsys.readouterr().out


def test_classes_without_a_label_are_named(data, tmp_path, capsys, monkeypatch):
    features = PartContrast.prototype_features

    def without(self, *args):
        rows, label = features(self, *args)
        return rows, torch.where(label == 1, -1, label)

    monkeypatch.setattr(PartContrast, 'prototype_features', without)
    left = trained(config(data, tmp_path / 'run', max_iters=1))
    assert left['begun']['known'].any(1).tolist() == [True, False, True]
    assert left['state']['contrast.prototypes.known'].all()
    assert 'no labeled pixel of the classes [1]' in capsys.readouterr().out


# Resume


def finished(data, work_dir, **settings):
    finish(config(data, work_dir, **settings))
    return content(work_dir / f'iter_{ITERS}.pth')


@pytest.mark.parametrize(
    ('settings', 'moment'),
    [
        ({}, ('step', 3)),
        (dict(train_cfg=dict(accumulation=2)), ('forward', 4)),
        (dict(contrast=dict(negatives='anchor')), ('step', 3)),
    ],
)
def test_killed_and_resumed(settings, moment, data, tmp_path):
    whole = finished(data, tmp_path / 'whole' / 'run', **settings)
    work_dir = tmp_path / 'killed' / 'run'
    killed(config(data, work_dir, **settings), *moment)
    assert (work_dir / 'iter_2.pth').exists()
    assert not (work_dir / f'iter_{ITERS}.pth').exists()
    resumed = finished(data, work_dir, resume='auto', **settings)
    assert different(resumed, whole) == []
    assert whole["['state_dict']['contrast.bank.count']"].eq(3).all()
    assert whole["['state_dict']['contrast.prototypes.known']"].all()


# Two processes


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    return two_processes(tmp_path_factory.mktemp('two'))


@pytest.mark.parametrize(
    'name', ['whole', 'resumed', 'accumulated', 'late', 'before', 'uneven']
)
def test_equal_on_both_ranks(name, ranks):
    first, second = (result['state'] for result in ranks[name])
    assert differing(first, second) == []
    assert all(value.isfinite().all() for value in first.values())
    mine, theirs = (result['begun'] for result in ranks[name])
    assert mine['vectors'].equal(theirs['vectors'])


@pytest.mark.parametrize('name', ['whole', 'accumulated'])
def test_prototypes_follow_the_rows_of_both_ranks(name, ranks):
    first, second = (result['rows'] for result in ranks[name])
    steps = [[*mine, *theirs] for mine, theirs in zip(first, second, strict=True)]
    assert {len(step) for step in steps} == {4 if name == 'accumulated' else 2}
    check_prototypes(dict(ranks[name][0], rows=steps))
    assert not first[-1][0]['contrast.sums'].equal(second[-1][0]['contrast.sums'])


def test_resumed_equals_the_uninterrupted_run(ranks):
    for rank in (0, 1):
        whole, stopped, resumed = (
            ranks[name][rank] for name in ('whole', 'stopped', 'resumed')
        )
        assert differing(whole['state'], resumed['state']) == []
        assert len(stopped['rows']) == STOP
        assert whole['losses'][:STOP] == stopped['losses']
        assert whole['losses'][2:] == resumed['losses']


def test_the_first_process_alone_clusters(ranks):
    """Also classes that begin in training, with the rows of both."""
    first, second = ranks['late']
    assert len(first['counts']) == 3 and second['counts'] == []
    rows = [one['rows'][0][0]['contrast.first_label'] for one in (first, second)]
    assert sum(first['counts']) == sum(map(len, rows))
    assert min(map(len, rows)) > 0
    assert not rows[0].equal(rows[1])


def test_a_process_with_few_features_leaves_room_to_the_other(ranks):
    first, second = ranks['uneven']
    assert first['counts'] == [FEATURES] * 3 and second['counts'] == []


def test_queues_filled_before_the_loss(ranks):
    assert all(result['losses'][0] > 0 for result in ranks['before'])
