"""Whole runs of CTT: its banks from step to step, resumed, in parallel, exported."""

from collections import deque

import pytest
import torch
from ctt_run import (
    ENTER,
    ITERS,
    PARTS,
    SIZE,
    STOP,
    config,
    queue,
    trained,
    two_processes,
    write_data,
)
from helpers import batch, build
from killed_run import content, different, finish, killed
from tiny_run import differing, tiny_student, train

NETWORKS = ('student0', 'student1', 'teacher0', 'teacher1')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def check_banks(state, steps):
    """Each queue has the last rows of its class, of each step the best ones.

    A step is a list of batches.
    """
    for pair in range(sum(key.endswith('.pointer') for key in state)):
        queues = [deque(maxlen=SIZE) for _ in range(3)]
        for batches in steps:
            names = (f'contrast.{x}{pair}' for x in ('features', 'label', 'score'))
            rows, label, score = (
                torch.cat([b[name] for b in batches]) for name in names
            )
            for c, entered in enumerate(queues):
                own = (label == c).nonzero()[:, 0].tolist()
                best = sorted(own, key=lambda i: -score[i])[:ENTER]
                entered.extend(rows[i] for i in sorted(best))
        assert sum(map(len, queues)) > SIZE
        for c, expected in enumerate(queues):
            assert state[f'contrast.banks.{pair}.count'][c] == len(expected)
            found = queue(state, pair, c)
            assert all(map(torch.equal, found, expected))


# Banks


@pytest.mark.parametrize('accumulation', [1, 2])
def test_banks_hold_the_rows_of_the_last_batches(accumulation, data, tmp_path):
    cfg = config(data, tmp_path / 'run', train_cfg=dict(accumulation=accumulation))
    left = trained(cfg)
    assert [len(rows) for rows in left['rows']] == [accumulation] * ITERS
    check_banks(left['state'], left['rows'])
    assert left['state']['pairs.1.steps'] == ITERS
    assert left['state']['contrast.head_pairs.1.steps'] == ITERS
    totals = [sum(step[i] for step in left['losses']) for i in range(len(PARTS))]
    assert all(value > 0 for value in totals)


def test_without_a_hook_that_fills_them(data, tmp_path):
    cfg = config(data, tmp_path / 'run')
    cfg.custom_hooks.pop()
    cfg.pop('runner_type')  # SemiRunner adds one
    with pytest.raises(ValueError, match='CTT has a memory bank, but no hook fills it'):
        train(cfg)


def test_without_contrast_no_hook_is_needed(data, tmp_path):
    model = dict(type='CPS', contrast=None)
    cfg = config(data, tmp_path / 'run', max_iters=1, model=model)
    cfg.custom_hooks = []
    state = train(cfg).model.state_dict()
    assert not any('bank' in key or 'teacher' in key for key in state)


def test_classes_that_hold_the_contrast_back_are_named(data, tmp_path, capsys):
    model = dict(contrast=dict(ready='all', bank=dict(size=500)))
    cfg = config(data, tmp_path / 'run', max_iters=2, model=model)
    left = trained(cfg)
    assert left['losses'] == [[0] * 4] * 2
    told = 'after 1 iterations the memory of CTT has too few rows of the classes '
    assert capsys.readouterr().out.count(f"{told}'a' (0), 'b' (1), 'c' (2);") == 1


def test_repeated_labeled_images_count_once(data, tmp_path):
    """For k = labels / N."""
    cfg = config(
        data,
        tmp_path / 'run',
        max_iters=1,
        model=dict(contrast=dict(enqueue_number='labeled/size')),
    )
    labeled = cfg.train_dataloader.labeled
    labeled.dataset = dict(type='RepeatDataset', dataset=labeled.dataset, times=50)
    model = train(cfg).model
    assert (model.num_labeled, model.contrast.banks.number_to_enqueue()) == (5, 1)


# Checkpoints, export, validation


def test_each_network_in_the_checkpoint_and_by_itself(data, tmp_path):
    """Without prefix its weights are a checkpoint of the plain segmentor."""
    runner = train(config(data, tmp_path / 'run'))
    model = runner.model.eval()
    path = tmp_path / 'run' / f'iter_{ITERS}.pth'
    state = torch.load(path, map_location='cpu', weights_only=True)['state_dict']
    assert differing(dict(model.state_dict()), state) == []
    images, predictions = batch(2).inputs, []
    for name in NETWORKS:
        prefix = f'pairs.{name[-1]}.{name[:-1]}.'
        part = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        plain = build(tiny_student()).eval()
        plain.load_state_dict(part, strict=True)
        with torch.no_grad():
            expected = [one.seg_logits.data for one in plain.predict(images)]
            got = [one.seg_logits.data for one in model.predict_as(name, images, None)]
        assert all(map(torch.equal, got, expected))
        predictions.append(got[0])
    for i, one in enumerate(predictions):
        assert not any(torch.equal(one, other) for other in predictions[:i])
    metrics = runner.val()
    assert {f'{name}/mIoU' for name in NETWORKS} <= metrics.keys()


# Resume


def finished(data, work_dir, **settings):
    finish(config(data, work_dir, **settings))
    return content(work_dir / f'iter_{ITERS}.pth')


@pytest.mark.parametrize(
    ('settings', 'moment'),
    [
        ({}, ('step', 3)),
        (dict(train_cfg=dict(accumulation=2)), ('forward', 4)),
        (dict(model=dict(num_pairs=3)), ('step', 3)),
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
    for pair in range(settings.get('model', {}).get('num_pairs', 2)):
        assert whole[f"['state_dict']['contrast.banks.{pair}.count']"].sum() > SIZE


# Two processes


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    return two_processes(tmp_path_factory.mktemp('two'))


@pytest.mark.parametrize(
    'name', ['whole', 'resumed', 'accumulated', 'recomputed', 'three']
)
def test_equal_on_both_ranks(name, ranks):
    """Also where the contrast of a rank has not begun."""
    first, second = (result['state'] for result in ranks[name])
    assert differing(first, second) == []
    assert all(value.isfinite().all() for value in first.values())


@pytest.mark.parametrize('name', ['whole', 'accumulated', 'recomputed', 'three'])
def test_banks_hold_the_rows_of_both_ranks(name, ranks):
    """In each step those of the first rank, then those of the second."""
    first, second = (result['rows'] for result in ranks[name])
    steps = [[*mine, *theirs] for mine, theirs in zip(first, second, strict=True)]
    assert {len(step) for step in steps} == {4 if name == 'accumulated' else 2}
    check_banks(ranks[name][0]['state'], steps)
    assert not first[-1][0]['contrast.features0'].equal(
        second[-1][0]['contrast.features0']
    )


def test_resumed_equals_the_uninterrupted_run(ranks):
    for rank in (0, 1):
        whole, stopped, resumed = (
            ranks[name][rank] for name in ('whole', 'stopped', 'resumed')
        )
        assert differing(whole['state'], resumed['state']) == []
        assert len(stopped['rows']) == STOP
        assert whole['losses'][:STOP] == stopped['losses']
        assert whole['losses'][2:] == resumed['losses']
        assert any(value > 0 for value in resumed['losses'][-1])
