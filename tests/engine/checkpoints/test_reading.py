import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import assert_same_logs, filled_hub, good
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import save_checkpoint
from torch import nn

from mmsemiseg.engine.checkpoints import (
    CheckpointError,
    check_resumable,
    is_local,
    plain_values,
    read_checkpoint,
    restore_history,
)


class Own:
    """An object of a class of ours."""


# Files of MMEngine


def test_stock_checkpoint(tmp_path):
    hub = filled_hub('stock')
    hub.update_info('empty', HistoryBuffer())
    hub.update_info('table', np.arange(6.0, dtype='>f4').reshape(2, 3).T)
    hub.update_info('flags', np.array([True, False]))
    hub.update_info('names', np.array(['a', 'déjà']))
    hub.update_info('kind', np.dtype('float32'))
    hub.update_info('half', np.float16(0.5))
    meta = dict(iter=7, dataset_meta=dict(palette=np.ones((2, 3), np.uint8)))
    content = dict(
        meta=meta,
        state_dict=nn.BatchNorm2d(2).state_dict(),
        message_hub=hub.state_dict(),
    )
    save_checkpoint(content, str(tmp_path / 'iter_7.pth'))
    loaded = read_checkpoint(tmp_path / 'iter_7.pth')
    other = MessageHub('other')
    other.load_state_dict(restore_history(loaded['message_hub']))
    assert_same_logs(other, hub)
    info = loaded['message_hub']['runtime_info']
    assert [len(part) for part in info['empty'].data] == [0, 0]
    assert info['table'].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert info['table'].dtype == np.float32
    assert info['flags'].tolist() == [True, False]
    assert info['names'].tolist() == ['a', 'déjà']
    assert info['kind'] == np.float32
    assert info['half'] == 0.5
    assert loaded['meta']['dataset_meta']['palette'].dtype == np.uint8
    assert torch.equal(loaded['state_dict']['weight'], torch.ones(2))
    # and what was read can be saved our way
    torch.save(
        plain_values({**loaded, 'message_hub': other.state_dict()}), tmp_path / 'b.pth'
    )
    torch.load(tmp_path / 'b.pth', weights_only=True)


def test_names_of_other_numpy_versions(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(a=np.float64(2.5), b=np.ones(2)), path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in records if name.endswith('data.pkl'))
    here = b'numpy._core.multiarray'
    there = b'numpy.core.multiarray'
    if here not in records[name]:
        here, there = there, here
    assert records[name].count(here) == 2
    records[name] = records[name].replace(here, there)
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    loaded = read_checkpoint(path)
    assert loaded['a'] == 2.5
    assert loaded['b'].tolist() == [1, 1]


def test_file_of_old_torch(tmp_path):
    path = tmp_path / 'old.pth'
    content = dict(state_dict=OrderedDict(w=torch.arange(3.0)))
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert read_checkpoint(path)['state_dict']['w'].tolist() == [0, 1, 2]
    for size in (80, path.stat().st_size - 4):
        (tmp_path / 'cut.pth').write_bytes(path.read_bytes()[:size])
        with pytest.raises(
            CheckpointError, match='cut.pth cannot be read, .*incomplete'
        ):
            read_checkpoint(tmp_path / 'cut.pth')


def test_map_location(tmp_path):
    torch.save(dict(w=torch.ones(2)), tmp_path / 'a.pth')
    loaded = read_checkpoint(str(tmp_path / 'a.pth'), map_location='meta')
    assert loaded['w'].device.type == 'meta'


def test_no_allow_list_stays_behind(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    save_checkpoint(dict(a=np.ones(2)), str(tmp_path / 'a.pth'))
    read_checkpoint(tmp_path / 'a.pth')
    assert set(torch.serialization.get_safe_globals()) == before


# Code in the file


class Call:
    """A pickle of it calls ``function(*args)`` when it is loaded."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args

    def __call__(self):  # pickle wants callables; the loaded ones are
        raise AssertionError


def by_system(marker):
    return Call(os.system, f'touch {marker}')


def by_eval(marker):
    return Call(eval, f'open({str(marker)!r}, "w").close()')


def by_getattr(marker):
    """From HistoryBuffer, which MMEngine's files may name, to exec."""
    scope = Call(getattr, Call(getattr, HistoryBuffer, '__init__'), '__globals__')
    builtins = Call(Call(getattr, scope, 'get'), '__builtins__')
    run = Call(Call(getattr, builtins, 'get'), 'exec')
    return Call(run, f'open({str(marker)!r}, "w").close()')


ATTACKS = [by_system, by_eval, by_getattr]


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('attack', ATTACKS)
def test_code_does_not_run(attack, zipped, tmp_path):
    path, marker = tmp_path / 'evil.pth', tmp_path / 'marker'
    content = dict(state_dict=OrderedDict(w=torch.ones(1)), x=attack(marker))
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        CheckpointError, match='holds code.* Nothing of it was run'
    ) as e:
        read_checkpoint(path)
    assert str(path) in str(e.value)
    assert 'weights_only' not in str(e.value)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), 'the attack itself does not work, the test shows nothing'


def test_message_names_the_code(tmp_path):
    torch.save(dict(x=by_system('nowhere')), tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match=r'\(posix\.system\)'):
        read_checkpoint(tmp_path / 'evil.pth')
    torch.save(dict(x=Own()), tmp_path / 'own.pth')
    with pytest.raises(CheckpointError, match=r'\(\S*test_reading\.Own\)'):
        read_checkpoint(tmp_path / 'own.pth')


@pytest.mark.parametrize('attack', ATTACKS)
def test_plain_pickle_with_code_does_not_run(attack, tmp_path):
    path, marker = tmp_path / 'evil.pth', tmp_path / 'marker'
    path.write_bytes(pickle.dumps(attack(marker), 2))
    with pytest.raises(CheckpointError, match='evil.pth is not a checkpoint'):
        read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    'value',
    [
        np.zeros(1, [('a', object)]),
        np.zeros(1, [('a', 'i4')]),
        np.array([None]),
        np.zeros(1, 'M8[s]'),
        np.ndarray,
        getattr,
        Call(getattr, HistoryBuffer),
        Call(getattr, OrderedDict, 'fromkeys'),
        Call(bytes, 10),
        Call(np.dtype, 'O'),
        Call(np.dtype, [('a', 'O')]),
    ],
    ids=lambda value: repr(value) if not isinstance(value, Call) else str(value.args),
)
def test_allowed_names_do_nothing_else(value, tmp_path):
    torch.save(dict(x=value), tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match='odd.pth'):
        read_checkpoint(tmp_path / 'odd.pth')


def test_numpy_array_larger_than_its_bytes(tmp_path):
    class Crafted(np.ndarray):
        def __reduce__(self):
            kind, args, (version, _, *rest) = np.ndarray.__reduce__(self)
            return kind, (np.ndarray, *args[1:]), (version, (10**6,), *rest)

    torch.save(dict(x=np.ones(2).view(Crafted)), tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match='odd.pth'):
        read_checkpoint(tmp_path / 'odd.pth')


# Damaged files


@pytest.fixture
def saved(tmp_path):
    torch.save(good(), tmp_path / 'iter_1.pth')
    return tmp_path / 'iter_1.pth'


def test_good_file(saved):
    loaded = read_checkpoint(saved)
    check_resumable(loaded, saved)
    assert loaded['meta'] == dict(iter=1, epoch=0)


@pytest.mark.parametrize('kept', [0.01, 0.3, 0.5, 0.9, -200, -20, -1])
def test_truncated(saved, kept):
    data = saved.read_bytes()
    size = int(kept * len(data)) if kept > 0 else len(data) + kept
    saved.write_bytes(data[:size])
    with pytest.raises(CheckpointError, match=r'iter_1\.pth is damaged or incomplete'):
        read_checkpoint(saved)


def test_zeros_in_the_middle(saved):
    data = saved.read_bytes()
    place = data.index(torch.full((500,), 1.0).numpy().tobytes())
    saved.write_bytes(data[:place] + bytes(512) + data[place + 512 :])
    # torch alone takes it
    assert torch.load(saved, weights_only=True)['state_dict']['w'][0] == 0
    with pytest.raises(
        CheckpointError, match=r'iter_1\.pth is damaged: wrong checksum'
    ):
        read_checkpoint(saved)


def other_archive(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a/readme.txt', 'text')


@pytest.mark.parametrize(
    ('write', 'reason'),
    [
        (lambda path: path.write_bytes(b''), 'is empty'),
        (lambda path: path.write_bytes(b'P'), 'is not a checkpoint'),
        (lambda path: path.write_text('<html>Not found</html>'), 'is not a checkpoint'),
        (lambda path: path.write_bytes(bytes(5000)), 'is not a checkpoint'),
        (lambda path: path.write_bytes(pickle.dumps([1])), 'is not a checkpoint'),
        (lambda path: path.write_bytes(pickle.dumps({}, 2)), 'is not a checkpoint'),
        (other_archive, 'is not a checkpoint'),
        (lambda path: torch.save([1, 2], path), 'holds a list, no dict'),
        (lambda path: torch.save(torch.ones(1), path), 'holds a Tensor, no dict'),
        (lambda path: path.mkdir(), 'is a folder'),
        (lambda path: path.symlink_to(path.parent / 'gone'), 'does not exist'),
        (lambda path: None, 'does not exist'),
    ],
    ids=[
        'empty',
        'one byte',
        'html',
        'zeros',
        'pickled list',
        'pickled dict',
        'zip',
        'saved list',
        'saved tensor',
        'folder',
        'dangling link',
        'missing',
    ],
)
def test_no_checkpoint(write, reason, tmp_path):
    path = tmp_path / 'odd.pth'
    write(path)
    kind = FileNotFoundError if 'exist' in reason else CheckpointError
    with pytest.raises(kind, match=reason) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ('path', 'local'),
    [
        ('work/iter_1.pth', True),
        (Path('/runs/iter_1.pth'), True),
        ('https://server/iter_1.pth', False),
        ('s3://bucket/iter_1.pth', False),
        ('torchvision://resnet50', False),
    ],
)
def test_is_local(path, local):
    assert is_local(path) is local
