"""Whole runs of RC²L: killed and resumed, in parallel."""

import pytest
from killed_run import content, different, finish, killed
from op_heads import MASKS, needs_ops
from rc2l_run import ITERS, STOP, config, trained, two_processes, write_data
from tiny_run import differing

pytestmark = needs_ops


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def test_it_begins_when_its_ramp_up_does(data, tmp_path):
    late = dict(ramp_up=dict(kind='step', length=2))
    left = trained(config(data, tmp_path / 'run', model=late))
    assert ['loss_rcc' in losses for losses in left['losses']] == [False] * 2 + [
        True
    ] * 2
    assert len(left['segments']) == 2


# Resume


def finished(data, work_dir, **settings):
    finish(config(data, work_dir, **settings))
    return content(work_dir / f'iter_{ITERS}.pth')


@pytest.mark.parametrize('head', MASKS)
@pytest.mark.parametrize(
    ('settings', 'moment'),
    [({}, ('step', 3)), (dict(train_cfg=dict(accumulation=2)), ('forward', 4))],
    ids=['plain', 'accumulation'],
)
def test_killed_and_resumed(head, settings, moment, data, tmp_path):
    settings = dict(settings, head=head)
    whole = finished(data, tmp_path / 'whole' / 'run', **settings)
    work_dir = tmp_path / 'killed' / 'run'
    killed(config(data, work_dir, **settings), *moment)
    assert (work_dir / 'iter_2.pth').exists()
    assert not (work_dir / f'iter_{ITERS}.pth').exists()
    resumed = finished(data, work_dir, resume='auto', **settings)
    assert different(resumed, whole) == []


# Two processes


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    return two_processes(tmp_path_factory.mktemp('two'))


@pytest.mark.parametrize('name', ['whole', 'resumed', 'late', 'accumulated'])
def test_weights_are_equal_on_both_ranks(name, ranks):
    """But the statistics of BatchNorm, which each process has for itself."""
    first, second = (result['state'] for result in ranks[name])
    norms = ('running_mean', 'running_var')
    assert [k for k in differing(first, second) if not k.endswith(norms)] == []
    assert all(value.isfinite().all() for value in first.values())


@pytest.mark.parametrize('name', ['whole', 'accumulated'])
def test_the_divisor_counts_the_segments_of_both_ranks(name, ranks):
    first, second = (result['segments'] for result in ranks[name])
    assert len(first) == len(second) == 4
    for (mine, one), (theirs, other) in zip(first, second, strict=True):
        assert one == other == max((mine + theirs) / 2, 1)
    assert any(mine for mine, _ in first)


def test_resumed_equals_the_uninterrupted_run(ranks):
    for rank in (0, 1):
        whole, stopped, resumed = (
            ranks[name][rank] for name in ('whole', 'stopped', 'resumed')
        )
        assert differing(whole['state'], resumed['state']) == []
        assert len(stopped['losses']) == STOP
        assert whole['losses'][:STOP] == stopped['losses']
        assert whole['losses'][2:] == resumed['losses']
