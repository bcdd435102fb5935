import json
import os
import socket
import subprocess
import sys

import pytest
from tiny_run import build, config, sup_only, write_data

from mmsemiseg.engine.runner import run_lock
from mmsemiseg.engine.runner.run_lock import FILE, FolderInUseError, is_in_use, locked


def hold(place, **changes):
    """The lock of another run; a process that goes on, where nothing else is said."""
    pid = os.getppid()
    holder = dict(
        pid=pid,
        host=socket.gethostname(),
        started=run_lock._started(pid),
        folder=os.path.realpath(place),
        taken='2026-01-01 00:00:00',
    )
    place.mkdir(exist_ok=True)
    (place / FILE).write_text(json.dumps({**holder, **changes}))


def ended_process():
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return process.pid


def test_one_at_a_time(tmp_path):
    folder = tmp_path / 'new' / 'run'
    with locked(folder):
        assert os.listdir(folder) == [FILE]
        text = f'{folder} is in use by another run .process {os.getpid()} on .*, since'
        with pytest.raises(FolderInUseError, match=text), locked(folder):
            raise AssertionError
        with locked(tmp_path / 'other'):
            assert os.listdir(folder) == [FILE]
    assert os.listdir(folder) == []
    with pytest.raises(KeyboardInterrupt), locked(folder):
        raise KeyboardInterrupt
    assert os.listdir(folder) == []


def test_a_run_that_goes_on(tmp_path):
    hold(tmp_path)
    assert is_in_use(tmp_path)
    before = (tmp_path / FILE).read_text()
    with pytest.raises(FolderInUseError, match='wait for its end, or take another'):
        locked(tmp_path).__enter__()
    assert os.listdir(tmp_path) == [FILE]
    assert (tmp_path / FILE).read_text() == before


@pytest.mark.parametrize(
    'changes',
    [
        dict(pid=ended_process),
        dict(started='another boot 17'),  # the number belongs to another process now
        dict(folder='/where/it/was/copied/from'),
    ],
)
def test_a_stale_lock_gives_way(changes, tmp_path):
    hold(tmp_path, **{k: v() if callable(v) else v for k, v in changes.items()})
    assert not is_in_use(tmp_path)
    with locked(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())['pid'] == os.getpid()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists('/proc/self/stat'), reason='needs /proc')
def test_a_killed_process_that_nobody_waits_for(tmp_path):
    process = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1)
    hold(tmp_path, pid=process.pid, started=run_lock._started(process.pid))
    assert is_in_use(tmp_path)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie
    assert not is_in_use(tmp_path)
    process.communicate()


@pytest.mark.parametrize('text', ['', 'garbage', '[]', '{"pid": 1}', '{"pid": "a"}'])
def test_a_file_that_is_no_lock(text, tmp_path):
    (tmp_path / FILE).write_text(text)
    assert not is_in_use(tmp_path)
    with locked(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())['pid'] == os.getpid()


def test_another_machine(tmp_path):
    hold(tmp_path, host='node7', pid=1)
    text = f'process 1 on node7, .*remove {tmp_path}/run.lock and start again'
    with pytest.raises(FolderInUseError, match=text):
        locked(tmp_path).__enter__()


def test_no_links(tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError('not supported')

    monkeypatch.setattr(os, 'link', refuse)
    with locked(tmp_path):
        with pytest.raises(FolderInUseError):
            locked(tmp_path).__enter__()
    assert os.listdir(tmp_path) == []


def test_the_main_process_locks_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, 'is_main_process', lambda: False)
    with locked(tmp_path):
        assert os.listdir(tmp_path) == []

    def told(messages):
        messages[0] = 'in use'

    monkeypatch.setattr(run_lock, 'broadcast_object_list', told)
    with pytest.raises(FolderInUseError, match='in use'):
        locked(tmp_path).__enter__()


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def test_a_second_run_moves_nothing(data, tmp_path):
    folder = tmp_path / 'run'
    cfg = config(data, folder, sup_only(), max_iters=1)
    object.__setattr__(cfg, '_filename', 'config.py')
    hold(folder)
    for name in ('iter_9.pth', 'config.py'):
        (folder / name).write_text('of the first')
    with pytest.raises(FolderInUseError, match='is in use'):
        build(cfg).train()
    for name in ('iter_9.pth', 'config.py'):
        assert (folder / name).read_text() == 'of the first'
    hold(folder, pid=ended_process())  # killed
    build(cfg).train()
    assert (folder / 'iter_1.pth').exists()
    assert not (folder / FILE).exists()
    assert (folder / 'config.py').read_text() != 'of the first'


def test_a_run_that_fails_gives_its_lock_back(data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only(), max_iters=1)
    cfg.train_cfg.accumulation = 0
    with pytest.raises(ValueError, match='accumulation'):
        build(cfg).train()
    assert not (tmp_path / 'run' / FILE).exists()


def test_self_training_locks_the_whole(data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only(), max_iters=1)
    cfg.runner_type = 'SelfTrainingRunner'
    del cfg.train_dataloader.unlabeled
    unlabeled = dict(type='UnlabeledDataset', data_root=str(data))
    cfg.self_training = dict(unlabeled=dict(unlabeled, images='unlabeled/images'))
    hold(tmp_path / 'run')
    masks = tmp_path / 'run' / 'pseudo_masks'
    masks.mkdir()
    with pytest.raises(FolderInUseError, match='is in use'):
        build(cfg).train()
    assert masks.exists()
