"""Whole runs of CAC: its memory from step to step, killed and resumed, in parallel."""

import pytest
import torch
from cac_run import (
    NUMBER,
    STEPS,
    config,
    entered,
    trained,
    two_processes,
    write_data,
)
from killed_run import content, different, finish, killed
from tiny_run import differing, train

ITERS = 6
START = 2


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


# Memory


@pytest.mark.parametrize('accumulation', [1, 2])
def test_the_queue_holds_the_rows_of_the_last_batches(accumulation, data, tmp_path):
    settings = dict(train_cfg=dict(accumulation=accumulation))
    left = trained(config(data, tmp_path / 'run', **settings))
    assert [len(rows) for rows in left['rows']] == [0] * START + [accumulation] * 4
    assert left['losses'][:START] == [0] * START
    assert all(loss > 0 for loss in left['losses'][START:])
    batches = [rows for batches in left['rows'] for rows in batches]
    for name, found in entered(left['state']).items():
        expected = torch.cat([rows[name] for rows in batches[-STEPS:]])
        assert expected.shape[0] == STEPS * 2 * NUMBER
        assert torch.equal(found, expected)


def test_without_a_hook_that_fills_it(data, tmp_path):
    cfg = config(data, tmp_path / 'run')
    cfg.custom_hooks = []
    cfg.pop('runner_type')  # SemiRunner adds one
    with pytest.raises(ValueError, match='CAC has a memory bank, but no hook fills it'):
        train(cfg)


def test_without_a_memory_no_hook_is_needed(data, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=3)
    cfg.model.contrast.update(bank=None, num_negatives=None)
    cfg.custom_hooks = []
    left = trained(cfg)
    assert left['losses'][2] > 0
    assert not any('bank' in key for key in left['state'])


# Resume


def finished(data, work_dir, **settings):
    finish(config(data, work_dir, **settings))
    return content(work_dir / f'iter_{ITERS}.pth')


@pytest.mark.parametrize(
    ('settings', 'moment'),
    [
        ({}, ('step', 5)),
        ({}, ('backward', 3)),
        (dict(train_cfg=dict(accumulation=2)), ('forward', 6)),
        (dict(optim_wrapper=dict(type='Bf16OptimWrapper')), ('write', 4)),
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
    labels = whole["['state_dict']['contrast.bank.labels']"]
    assert labels.shape == (STEPS * 2 * NUMBER,)
    assert len(labels.unique()) > 1
    assert labels.min() >= 0


# Two processes


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    return two_processes(tmp_path_factory.mktemp('two'))


@pytest.mark.parametrize('name', ['whole', 'resumed', 'accumulated'])
def test_equal_on_both_ranks(name, ranks):
    """Before its start the projector has no part in the loss."""
    first, second = (result['state'] for result in ranks[name])
    assert differing(first, second) == []
    for result in ranks[name]:
        before = 0 if name == 'resumed' else START
        assert result['losses'][:before] == [0] * before
        assert all(loss > 0 for loss in result['losses'][before:])


def test_the_queue_holds_the_rows_of_both_ranks(ranks):
    first, second = (result['rows'] for result in ranks['whole'])
    for name, found in entered(ranks['whole'][0]['state']).items():
        expected = torch.cat(
            [
                rows[name]
                for mine, theirs in zip(first[-STEPS:], second[-STEPS:], strict=True)
                for rows in (*mine, *theirs)
            ]
        )
        assert len(found) == STEPS * 2 * 2 * NUMBER
        assert torch.equal(found, expected)
    assert not first[-1][0]['contrast.features'].equal(
        second[-1][0]['contrast.features']
    )


def test_one_accumulated_step_fills_a_queue_of_two(ranks):
    """Two batches of both ranks: each rank's one after the other."""
    left = [result['rows'][-1] for result in ranks['accumulated']]
    expected = torch.cat(
        [batch['contrast.features'] for rank in left for batch in rank]
    )
    found = entered(ranks['accumulated'][0]['state'])['contrast.features']
    assert torch.equal(found, expected)


def test_resumed_equals_the_uninterrupted_run(ranks):
    for rank in (0, 1):
        whole, stopped, resumed = (
            ranks[name][rank] for name in ('whole', 'stopped', 'resumed')
        )
        assert differing(whole['state'], resumed['state']) == []
        assert len(stopped['rows']) == 5
        assert whole['losses'][4:] == resumed['losses']


def test_places_of_own_cells_among_the_keys_of_both(ranks):
    first, second = ranks['places']
    assert torch.equal(first['keys'], second['keys'])
    assert first['keys'].shape == (2 * 2 * NUMBER * (1 + STEPS), 6)
    for result in ranks['places']:
        for keys, cells in result['found']:
            assert len(keys) == NUMBER
            assert torch.equal(keys, cells)
    assert not first['found'][0][0].equal(second['found'][0][0])
