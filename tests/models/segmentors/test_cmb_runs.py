"""Whole runs of CMB: its memory from step to step, killed and resumed, in parallel."""

import pytest
from cmb_run import (
    BANK_START,
    BASE,
    CONTRAST_START,
    LABELS,
    OFFICIAL,
    PAPER,
    PSEUDO,
    SIZE,
    config,
    kept,
    memory_of,
    trained,
    two_processes,
    write_data,
)
from helpers import CLASSES
from killed_run import content, different, finish, killed
from tiny_run import differing, train

ITERS = 6


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


# Memory


@pytest.mark.parametrize('accumulation', [1, 2])
def test_bank_and_windows_take_all_batches(accumulation, data, tmp_path):
    settings = dict(train_cfg=dict(accumulation=accumulation))
    left = trained(config(data, tmp_path / 'run', **settings))
    assert [len(batches) for batches in left['rows']] == [accumulation] * ITERS
    for iteration, batches in enumerate(left['rows']):
        for rows in batches:
            for name in ('label_counts', 'pseudo_counts'):
                assert len(rows[f'class_balance.{name}']) == 1
            assert (len(rows['contrast.label0']) > 0) == (iteration >= BANK_START)
    assert differing(kept(left['state']), memory_of([left['rows']])) == []
    assert left['state']['contrast.banks.0.count'].tolist() == [SIZE] * CLASSES
    assert left['losses'][:CONTRAST_START] == [0] * CONTRAST_START
    assert all(loss > 0 for loss in left['losses'][CONTRAST_START:])


def test_without_a_hook_that_fills_it(data, tmp_path):
    cfg = config(data, tmp_path / 'run')
    cfg.custom_hooks.pop()
    cfg.pop('runner_type')  # SemiRunner adds one
    with pytest.raises(ValueError, match='CMB has a memory bank, but no hook fills it'):
        train(cfg)


def test_without_a_memory_no_hook_is_needed(data, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=1)
    cfg.model.update(contrast=None, class_balance=None)
    cfg.custom_hooks.pop()
    runner = train(cfg)
    assert not any(
        'bank' in key or 'window' in key for key in runner.model.state_dict()
    )


def test_sizes_that_follow_from_the_data(data, tmp_path):
    """5 labeled images in batches of 2, 7 unlabeled ones in batches of 3."""
    cfg = config(data, tmp_path / 'run', max_iters=1)
    cfg.model.class_balance = dict(start=2)
    cfg.model.contrast.candidates.number = 'size/labeled'
    model = train(cfg).model
    assert model.num_labeled == 5
    assert model.contrast.candidates.number_for(model, SIZE) == 4
    windows = model.class_balance.label_window, model.class_balance.pseudo_window
    assert [len(window.counts) for window in windows] == [2, 2]


# Resume


def finished(data, work_dir, **settings):
    finish(config(data, work_dir, **settings))
    return content(work_dir / f'iter_{ITERS}.pth')


@pytest.mark.parametrize(
    ('settings', 'moment'),
    [
        (dict(source=True), ('step', 5)),
        (dict(model=PAPER, train_cfg=dict(accumulation=2)), ('forward', 6)),
        (dict(model=OFFICIAL), ('backward', 4)),
        (
            dict(model=BASE, optim_wrapper=dict(type='Bf16OptimWrapper')),
            ('write', 4),
        ),
    ],
    ids=['default', 'paper', 'official', 'base'],
)
def test_killed_and_resumed(settings, moment, data, tmp_path):
    whole = finished(data, tmp_path / 'whole' / 'run', **settings)
    work_dir = tmp_path / 'killed' / 'run'
    killed(config(data, work_dir, **settings), *moment)
    assert (work_dir / 'iter_2.pth').exists()
    assert not (work_dir / f'iter_{ITERS}.pth').exists()
    resumed = finished(data, work_dir, resume='auto', **settings)
    assert different(resumed, whole) == []
    state = {
        name: whole[f"['state_dict']['{name}']"]
        for name in (
            'contrast.banks.0.count',
            'class_balance.label_window.filled',
            'class_balance.pseudo_window.filled',
        )
    }
    assert state['contrast.banks.0.count'].tolist() == [SIZE] * CLASSES
    assert state['class_balance.label_window.filled'] == LABELS
    assert state['class_balance.pseudo_window.filled'] == PSEUDO
    assert any('contrast.head_pairs.0.teacher.' in place for place in whole)


# Two processes


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    return two_processes(tmp_path_factory.mktemp('two'))


RUNS = ['whole', 'resumed', 'paper', 'official', 'base', 'accumulated']


@pytest.mark.parametrize('name', RUNS)
def test_equal_on_both_ranks(name, ranks):
    """From the first iteration on, where heads have no part in the loss yet."""
    first, second = (result['state'] for result in ranks[name])
    assert differing(first, second) == []
    for result in ranks[name]:
        before = 0 if name == 'resumed' else CONTRAST_START
        assert result['losses'][:before] == [0] * before
        assert all(loss > 0 for loss in result['losses'][before:])


@pytest.mark.parametrize('name', [name for name in RUNS if name != 'resumed'])
def test_bank_and_windows_hold_the_rows_of_both_ranks(name, ranks):
    rows = [result['rows'] for result in ranks[name]]
    expected = memory_of(rows, 'first' if name == 'official' else 'last')
    assert differing(kept(ranks[name][0]['state']), expected) == []
    first, second = (of_rank[-1] for of_rank in rows)
    assert len(first) == len(second) == 1 + (name == 'accumulated')
    for mine, theirs in zip(first, second, strict=True):
        # K = 2 vectors of each of two images, on each rank
        for left in (mine, theirs):
            assert len(left['contrast.label0']) == 2 * 2 * CLASSES
        assert not mine['contrast.features0'].equal(theirs['contrast.features0'])


def test_resumed_equals_the_uninterrupted_run(ranks):
    for rank in (0, 1):
        whole, stopped, resumed = (
            ranks[name][rank] for name in ('whole', 'stopped', 'resumed')
        )
        assert differing(whole['state'], resumed['state']) == []
        assert len(stopped['rows']) == 5
        assert whole['losses'][4:] == resumed['losses']
