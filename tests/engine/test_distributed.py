"""Two processes against each other and against one.

The runs themselves are the cases of `distributed_run`.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from distributed_run import (
    BankTeacher,
    config,
    deterministic,
    trained,
    two_processes,
    validated,
)
from forked import end_all, run_tool, surroundings
from forked import start as start_fork
from mmengine.config import Config
from tiny_run import build, differing, mean_teacher

from mmsemiseg.engine.checkpoints.run_state import ResumeError

ROOT = Path(__file__).resolve().parents[2]
RUNS = (
    'bank',
    'reloaded',
    'without_seed',
    'split',
    'split_and_accumulated',
    'whole',
    'stopped',
    'resumed',
    'warm_up',
    'warm_up_accumulated',
    'warm_up_by_config',
    'one_unsure',
    'sync_bn',
    'self_training',
)
TEACHER = 'pairs.0.teacher.decode_head.conv_seg.weight'
OTHERS = ('validation', 'sync_buffers', 'undeclared')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('run')


@pytest.fixture(scope='module')
def ranks(folder):
    """{case: [result of rank 0, of rank 1]}"""
    return two_processes(folder, *RUNS, *OTHERS)


def single(cfg):
    """For one process."""
    cfg.launcher = 'none'
    return cfg


@pytest.mark.parametrize('name', RUNS)
def test_equal_on_both_ranks(ranks, name):
    """Students, teachers, BatchNorm statistics, banks: bit by bit."""
    first, second = (result['state'] for result in ranks[name])
    assert differing(first, second) == []
    assert all(value.isfinite().all() for value in first.values())


def test_both_go_back_to_the_best_weights(ranks):
    first, second = (result['reload'] for result in ranks['reloaded'])
    assert first == second
    assert 0 < first['best'] < first['reloaded']


# Random numbers


@pytest.mark.parametrize('name', ['bank', 'without_seed'])
def test_one_seed_and_one_model_but_different_generators(ranks, name):
    first, second = ranks[name]
    assert first['seed'] == second['seed']
    assert differing(first['first'], second['first']) == []
    for moment in ('start', 'end'):
        mine, theirs = first[moment], second[moment]
        assert mine['python'] != theirs['python']
        assert not mine['numpy'][1].equal(theirs['numpy'][1])
        assert not mine['torch'].equal(theirs['torch'])


def test_the_seed_is_the_one_of_the_config(ranks):
    assert ranks['bank'][0]['seed'] == 5


# Banks


def test_bank_has_the_rows_of_both_ranks_in_order(ranks):
    expected = [
        [rank, iteration, number]
        for iteration, counts in enumerate(BankTeacher.counts)
        for rank, count in enumerate(counts)
        for number in range(count)
    ]
    place, size = len(expected) % BankTeacher.size, BankTeacher.size
    assert len(expected) > size  # it went round
    for result in ranks['bank']:
        state = result['state']
        assert state['pointer'] == place
        entered = state['bank'].roll(-place, 0)  # the oldest first
        assert entered[:, :3].tolist() == expected[-size:]
    # The images differ, and no row is a mean of both
    means = {(r[0], r[1]): r[3] for r in entered.tolist()}
    assert means[0, 4] != means[1, 4]


# Streams


def test_streams_are_disjoint_and_complete(ranks, folder):
    """Draws 0, 2, 4, ... of one process are those of rank 0."""
    one = trained(deterministic(folder, 'one', (4, 6)))
    for step, both in enumerate(one['names']):
        for stream, drawn in both.items():
            parts = [ranks['split'][rank]['names'][step][stream] for rank in (0, 1)]
            assert parts == [drawn[0::2], drawn[1::2]]
    assert ranks['split'][0]['drawn'] == one['drawn'] == dict(labeled=16, unlabeled=24)


def close(one, other):
    assert one['state'].keys() == other['state'].keys()
    for key, value in one['state'].items():
        torch.testing.assert_close(value, other['state'][key], rtol=1e-4, atol=1e-5)
    assert one['lr'] == other['lr']
    moved = differing(one['state'], one['first'])
    assert {'pairs.0.steps', TEACHER} <= set(moved)


@pytest.mark.parametrize(
    ('name', 'images'),
    [('split', (4, 6)), ('split_and_accumulated', (4, 12))],
)
def test_as_one_process_with_the_summed_batch(ranks, folder, name, images):
    one = trained(deterministic(folder, f'summed_{name}', images))
    close(one, ranks[name][0])


@pytest.fixture(scope='module')
def accumulated(ranks, folder):
    """(one batch a step, the same images in two batches)"""
    return [
        trained(deterministic(folder, 'at_once', (4, 6))),
        trained(deterministic(folder, 'in_two', (2, 3), accumulation=2)),
    ]


def test_accumulation_is_a_larger_batch(accumulated):
    """Weights, teacher and its steps, schedule, log."""
    close(*accumulated)
    at_once, in_two = accumulated
    assert at_once['lr'] == in_two['lr'] == [pytest.approx(1e-3)]
    assert at_once['state']['pairs.0.steps'] == 4
    assert in_two['loss'] == pytest.approx(at_once['loss'], rel=1e-4)
    assert len(in_two['loss']) == 4
    assert in_two['drawn'] == at_once['drawn']


def test_validation_gives_the_metrics_of_one_process(ranks, folder):
    metrics = validated(single(config(folder, 'validated')))
    assert ranks['validation'] == [metrics, metrics]
    assert metrics['student/mIoU'] != metrics['teacher/mIoU']


# Resume


def test_resumed_equals_the_uninterrupted_run(ranks):
    for rank in (0, 1):
        whole, stopped, resumed = (
            ranks[name][rank] for name in ('whole', 'stopped', 'resumed')
        )
        assert differing(whole['state'], resumed['state']) == []
        assert whole['names'][:3] == stopped['names']
        assert whole['names'][2:] == resumed['names']
        assert whole['drawn'] == resumed['drawn']
        mine, other = whole['end'], resumed['end']
        assert mine['python'] == other['python']
        assert mine['numpy'][1].equal(other['numpy'][1])
        assert mine['torch'].equal(other['torch'])


def test_checkpoint_holds_the_generators_of_both(ranks, folder):
    path = folder / 'whole' / 'iter_4.pth'
    state = torch.load(path, weights_only=True)['meta']['run_state']
    assert state['processes'] == 2
    first, second = state['random']
    assert not first['torch'].equal(second['torch'])
    assert first['python'] != second['python']


@pytest.fixture
def continued(ranks, folder, tmp_path):
    """Config of one process in a copy of the folder of two."""
    shutil.copytree(folder / 'stopped', tmp_path / 'run')
    cfg = single(config(folder, 'stopped', max_iters=5, resume=True))
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'run'), tmp_path.name
    cfg.load_from = str(tmp_path / 'run' / 'iter_2.pth')
    return cfg


def test_another_number_of_processes_is_refused(continued):
    with pytest.raises(ResumeError, match='processes was 2, now 1'):
        build(continued).train()


def test_or_goes_on_where_both_were(continued, ranks, tmp_path):
    continued.exact_resume = False
    alone = trained(continued)
    log = max((tmp_path / 'run').rglob('*.log'), key=os.path.getmtime).read_text()
    assert 'will not equal the uninterrupted one' in log
    assert 'processes was 2, now 1' in log
    # Two iterations of two processes are four batches of one
    both = [result['names'][2:] for result in ranks['whole']]
    drawn = [name for step in alone['names'] for name in step['unlabeled']]
    expected = [
        name
        for first, second in zip(*both, strict=True)
        for pair in zip(first['unlabeled'], second['unlabeled'], strict=True)
        for name in pair
    ]
    assert drawn == expected[: len(drawn)]
    assert len(alone['names']) == 3


# Warm-up


@pytest.mark.parametrize(
    'name', ['warm_up', 'warm_up_accumulated', 'warm_up_by_config']
)
def test_a_declared_head_may_be_unused(ranks, name):
    """On both ranks until iteration 2, on one of them until iteration 4."""
    result = ranks[name][0]
    key = 'projector.weight'
    assert not result['state'][key].equal(result['first'][key])
    assert len(result['names']) == 6


def test_an_undeclared_one_is_an_error(ranks):
    for error in ranks['undeclared']:
        assert 'parameters that were not used in producing loss' in error
        assert 'find_unused_parameters=True' in error


def test_no_confident_pixel_on_one_rank(ranks):
    first, second = ranks['one_unsure']
    assert len(first['names']) == len(second['names']) == 5
    # The weight of the unsupervised loss is 0 until iteration 3, then 1
    assert first['loss'][3] > first['loss'][2] + 0.5
    # Rank 1 has no confident pixel in iteration 3, but in iteration 4
    assert second['loss'][3] < first['loss'][3] - 0.5
    assert second['loss'][4] > second['loss'][3] + 0.5


# BatchNorm


def test_sync_bn_becomes_batch_norm_on_a_cpu(ranks):
    for result in ranks['sync_bn']:
        assert 'SyncBatchNorm' not in result['norms']
        assert '_BatchNormXd' in result['norms']
    key = 'pairs.0.student.backbone.stem.1.running_mean'
    assert not ranks['sync_bn'][0]['state'][key].equal(
        ranks['sync_bn'][0]['first'][key]
    )


@pytest.mark.parametrize('switch', [None, 'torch'])
def test_sync_bn_in_one_process(ranks, folder, switch):
    model = mean_teacher()
    model['student']['backbone']['norm_cfg'] = dict(type='SyncBN')
    cfg = single(config(folder, f'sync_bn_{switch}', model, max_iters=1))
    cfg.sync_bn = switch
    norms = trained(cfg)['norms']
    assert 'SyncBatchNorm' not in norms
    assert '_BatchNormXd' in norms


def test_sync_buffers_hook_is_refused(ranks):
    for error in ranks['sync_buffers']:
        assert error.startswith('SyncBuffersHook averages every buffer')


def test_one_process_sets_an_earlier_self_training_aside(ranks):
    moved = [result['moved'] for result in ranks['self_training']]
    assert moved == [['iter_9.pth'], []]


# Launchers


def environment(**variables):
    """Of a process that finds the others on this machine."""
    return dict(os.environ, OMP_NUM_THREADS='1', **surroundings(), **variables)


def start(command, env):
    output = tempfile.TemporaryFile('w+')  # a full pipe would stop the process
    process = subprocess.Popen(
        [str(part) for part in command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    return process, output


def finish(started, seconds=400):
    """Wait for a launcher, which must end in time and without an error."""
    process, output = started
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # a launcher ends its workers
    try:
        code = process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    with output:
        output.seek(0)
        assert code == 0, f'{code}\n{output.read()[-4000:]}'


@pytest.fixture(scope='module')
def launched(ranks, folder):
    """Config file of a run that starts like the case `whole`."""
    cfg = single(config(folder, 'launched', max_iters=2))
    cfg.custom_imports = dict(imports=['mmsemiseg'])
    cfg.env_cfg = dict(dist_cfg=dict(backend='nccl', timeout=120))
    path = folder / 'launched.py'
    Config(cfg.to_dict()).dump(path)
    return path


TRAIN = ROOT / 'tools' / 'train.py'


def torchrun(config):
    module = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2')
    command = (sys.executable, *module, TRAIN, *config, '--launcher', 'pytorch')
    finish(start(command, environment()))


def mim(config):
    """It calls torch.distributed.launch, which passes --local-rank."""
    options = ('--launcher', 'pytorch', '--gpus', '2')
    env = environment()
    script = Path(config[0]).parent / 'scripts' / 'run_mim.py'
    script.parent.mkdir()  # a folder of its own: it gets into sys.path
    script.write_text('from mim.cli import cli\ncli()\n')
    port = ('--port', env['MASTER_PORT'])
    command = (sys.executable, script, 'train', 'mmsemiseg', *config, *options, *port)
    finish(start(command, env))


def slurm(config):
    folder = Path(config[0]).parent
    program = folder / 'scontrol'
    program.write_text('#!/bin/sh\necho 127.0.0.1\n')
    program.chmod(0o755)
    shared = dict(
        MASTER_PORT=surroundings()['MASTER_PORT'],
        SLURM_NTASKS='2',
        SLURM_NODELIST='here',
        PATH=f'{folder}{os.pathsep}{os.environ["PATH"]}',
    )
    on_each_rank(config, 'slurm', ('SLURM_PROCID', 'SLURM_LOCALID'), shared)


def mpi(config):
    shared = dict(surroundings(), OMPI_COMM_WORLD_SIZE='2')
    name = 'OMPI_COMM_WORLD'
    on_each_rank(config, 'mpi', (f'{name}_RANK', f'{name}_LOCAL_RANK'), shared)


def on_each_rank(config, launcher, names, shared):
    """The tool in processes that find their rank under these names."""
    folder = Path(config[0]).parent
    words = [*config, '--launcher', launcher]
    reports = [folder / f'{launcher}.{rank}' for rank in ('0', '1')]
    processes = [
        start_fork(
            run_tool,
            TRAIN,
            words,
            report=report,
            **shared,
            **dict.fromkeys(names, rank),
        )
        for rank, report in zip(('0', '1'), reports, strict=True)
    ]
    end_all(processes, reports)


@pytest.mark.parametrize('launcher', [torchrun, mim, slurm, mpi])
def test_launcher(launcher, launched, ranks, tmp_path):
    work_dir = tmp_path / launcher.__name__
    launcher((str(launched), '--work-dir', str(work_dir)))
    (log,) = work_dir.rglob('*.log')
    assert 'on each of 2 process(es), ' in log.read_text()
    checkpoint = torch.load(work_dir / 'iter_2.pth', weights_only=True)
    assert checkpoint['meta']['run_state']['processes'] == 2
    expected = torch.load(launched.parent / 'whole' / 'iter_2.pth', weights_only=True)
    assert differing(checkpoint['state_dict'], expected['state_dict']) == []
