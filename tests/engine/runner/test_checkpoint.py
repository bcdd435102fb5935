import enum
import errno
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import good
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import save_checkpoint
from torch import nn

from mmsemiseg.engine.runner.checkpoint import (
    CheckpointError,
    check_resumable,
    is_local,
    plain,
    read_checkpoint,
    require_fit,
    restore_history,
    whole_file,
)

# plain()

Pair = namedtuple('Pair', 'first second')


class Color(enum.IntEnum):
    RED = 3


class Name(str):
    pass


class Own:
    pass


class OwnTensor(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2**63, 2**63),
        (0.1, 0.1),
        ('text', 'text'),
        (Name('text'), 'text'),
        (Color.RED, 3),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(-3), -3),
        (np.uint8(200), 200),
        (np.bool_(True), True),
        (np.str_('text'), 'text'),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array([0.5], np.float16), [0.5]),
        (np.array([0.5], np.longdouble), [0.5]),
        (np.array(2.5), 2.5),
        (np.array(['a', 'bc']), ['a', 'bc']),
        (np.array([1, 'a', None], object), [1, 'a', None]),
        (np.empty((0, 2)), []),
        ([1, (2, [3])], [1, (2, [3])]),
        (Pair(1, 2), (1, 2)),
        (torch.Size([2, 3]), torch.Size([2, 3])),
        (torch.float16, torch.float16),
        (
            {'a': {1: 'x', None: 'y', (1, 2): 'z'}},
            {'a': {1: 'x', None: 'y', (1, 2): 'z'}},
        ),
        (OrderedDict(b=1, a=np.int8(2)), OrderedDict(b=1, a=2)),
        (Counter([1, 1, 2]), {1: 2, 2: 1}),
        (defaultdict(list, a=[1]), {'a': [1]}),
        ({np.int64(5): 1}, {5: 1}),
    ],
    ids=repr,
)
def test_plain(value, expected, tmp_path):
    result = plain(value)
    assert result == expected
    assert types(result) == types(expected)
    torch.save(result, tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert loaded == expected
    assert types(loaded) == types(expected)


def types(value):
    if isinstance(value, dict):
        return type(value), [(types(k), types(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [types(item) for item in value]
    return type(value)


@pytest.mark.parametrize(
    'tensor',
    [
        torch.arange(3, dtype=torch.uint8),
        torch.ones(2, dtype=torch.bfloat16),
        torch.tensor(1.5),
        nn.Parameter(torch.ones(2)),
        torch.ones(2, requires_grad=True) * 2,
        torch.ones(2).as_subclass(OwnTensor),
    ],
    ids=['uint8', 'bfloat16', 'scalar', 'parameter', 'with graph', 'subclass'],
)
def test_plain_tensor(tensor, tmp_path):
    result = plain(tensor)
    assert type(result) is torch.Tensor
    assert not result.requires_grad
    assert result.data_ptr() == tensor.data_ptr()
    torch.save(result, tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert loaded.dtype == tensor.dtype
    assert torch.equal(loaded, tensor.detach().as_subclass(torch.Tensor))


def test_tensors_that_share_memory_still_do(tmp_path):
    weight = torch.arange(4.0)
    torch.save(plain(dict(a=weight, b=nn.Parameter(weight))), tmp_path / 'a.pth')
    loaded = read_checkpoint(tmp_path / 'a.pth')
    assert loaded['a'].data_ptr() == loaded['b'].data_ptr()


def test_plain_keeps_the_versions_of_modules(tmp_path):
    state = nn.Sequential(nn.BatchNorm2d(2)).state_dict()
    torch.save(plain(state), tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert list(loaded) == list(state)
    assert loaded._metadata == state._metadata
    assert loaded._metadata['0'] == dict(version=2)


@pytest.mark.parametrize(
    ('value', 'kind'),
    [
        (Own(), 'Own'),
        (b'bytes', 'bytes'),
        ({1}, 'set'),
        (1j, 'complex'),
        (np.array([1j]), 'ndarray'),
        (np.array([Own()]), 'Own'),
        (np.datetime64('2020-01-01'), 'datetime64'),
        (Path('x'), 'Path'),
        (len, 'builtin_function_or_method'),
        (nn.Linear, 'type'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_plain_refuses(value, kind):
    with pytest.raises(TypeError, match=kind) as caught:
        plain({'meta': {'hook.state': [0, value]}})
    assert "checkpoint['meta']['hook.state'][1]" in str(caught.value)


def test_plain_refuses_keys():
    with pytest.raises(TypeError, match=r"^message_hub\['a'\] has a key .* Tensor"):
        plain({'a': {torch.ones(1): 1}}, 'message_hub')


def test_plain_leaves_the_original_alone():
    original = OrderedDict(a=[np.int64(1)], b=dict(c=np.ones(1)))
    plain(original)['b']['new'] = 1
    assert isinstance(original['a'][0], np.int64)
    assert list(original['b']) == ['c']


@pytest.mark.parametrize('where', ['checkpoint', 'message_hub'])
def test_unknown_runtime_info_is_left_out(where, monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmsemiseg.engine.runner.checkpoint.print_log',
        lambda text, **settings: said.append(text),
    )
    hub = dict(
        log_scalars=OrderedDict(),
        runtime_info=OrderedDict(iter=3, odd=dict(deep=[Own()]), strange={1}, last='x'),
        resumed_keys=OrderedDict(iter=True, odd=True),
    )
    value = dict(message_hub=hub) if where == 'checkpoint' else hub
    result = plain(value, where)
    info = result.get('message_hub', result)['runtime_info']
    assert info == OrderedDict(iter=3, last='x')
    (text,) = said
    assert "message_hub['runtime_info']" in text.replace(
        "['message_hub']", 'message_hub'
    )
    assert "['odd']['deep'][0]" in text
    assert "['strange']" in text


def test_only_runtime_info_is_lenient():
    with pytest.raises(TypeError, match=r"\['message_hub'\]\['log_scalars'\]\['x'\]"):
        plain(dict(message_hub=dict(log_scalars=dict(x=Own()), runtime_info={})))
    with pytest.raises(TypeError, match=r"\['meta'\]\['runtime_info'\]\['x'\]"):
        plain(dict(meta=dict(runtime_info=dict(x=Own()))))


# Logs


def filled_hub(name):
    hub = MessageHub.get_instance(f'test_checkpoint_{name}')
    for value in (0.1, 2.5, float('inf')):
        hub.update_scalar('train/loss', value, 4)
    hub.update_scalar('train/steps', 3)
    hub.log_scalars['short'] = HistoryBuffer([1.0, 2.0], [1, 2], max_length=2)
    hub._resumed_keys['short'] = True
    hub.update_scalar('memory', 5, resumed=False)
    hub.update_info('iter', 7)
    hub.update_info('best_score', np.float32(0.25))
    hub.update_info('keep_ckpt_ids', [5, 7])
    return hub


def assert_same_logs(hub, other):
    assert list(hub.log_scalars) == ['train/loss', 'train/steps', 'short']
    for key in hub.log_scalars:
        for ours, theirs in zip(
            hub.get_scalar(key).data, other.get_scalar(key).data, strict=True
        ):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)
        assert hub.get_scalar(key).max_length == other.get_scalar(key).max_length
    assert hub.get_info('iter') == 7
    assert hub.get_info('best_score') == 0.25
    assert hub.get_info('keep_ckpt_ids') == [5, 7]


def test_message_hub_round_trip(tmp_path):
    hub = filled_hub('round_trip')
    torch.save(plain(hub.state_dict(), 'message_hub'), tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    other = MessageHub('other')
    other.load_state_dict(restore_history(loaded))
    assert_same_logs(other, hub)
    # it goes on as if never saved
    for each in (hub, other):
        each.update_scalar('train/loss', 1.0)
        each.update_scalar('short', 3.0)
    assert other.get_scalar('short').data[0].tolist() == [2.0, 3.0]
    assert other.get_scalar('train/loss').mean(1) == 1.0
    assert other.get_scalar('train/loss').statistics('min') == 0.1


def test_restore_history_takes_stock_and_unknown_entries():
    buffer = HistoryBuffer([1.0], [1])
    scalars = OrderedDict(a=buffer, old=[1.0], d=dict(log_history=1))
    hub = dict(log_scalars=scalars, runtime_info=dict(x=1), resumed_keys={})
    restored = restore_history(hub)
    assert restored['log_scalars'] == scalars
    assert restored['log_scalars']['a'] is buffer
    assert restored['runtime_info'] == dict(x=1)


# Reading: files of MMEngine


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
    torch.save(plain({**loaded, 'message_hub': other.state_dict()}), tmp_path / 'b.pth')
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


# Reading: code in the file


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
    with pytest.raises(CheckpointError, match=r'\(\S*test_checkpoint\.Own\)'):
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


# Reading: damaged files


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
    ('content', 'missing'),
    [
        ({'conv.weight': torch.ones(1)}, 'meta, state_dict, optimizer, message_hub'),
        ({**good(), 'optimizer': None}, 'no optimizer'),
        ({k: v for k, v in good().items() if k != 'message_hub'}, 'no message_hub'),
        (good(meta=dict(epoch=1)), 'no meta.iter'),
        (good(meta=[]), 'no meta'),
    ],
)
def test_not_resumable(content, missing, saved):
    torch.save(content, saved)
    with pytest.raises(CheckpointError, match=missing) as caught:
        check_resumable(read_checkpoint(saved), saved)
    assert str(saved) in str(caught.value)
    assert 'load_from' in str(caught.value)


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


# Whether the weights fit


def test_fit():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    state = model.state_dict()
    for content in (dict(state_dict=state), state):
        require_fit(model, content, 'a.pth', strict=True)
    without = {f'module.{k}': v for k, v in state.items() if 'num_batches' not in k}
    require_fit(model, without, 'a.pth', strict=True)
    assert all(key.startswith('module.') for key in without)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (dict(bias=None), r'1 missing \(bias\)'),
        (dict(extra=torch.ones(1)), r'1 unknown \(extra\)'),
        (dict(weight=torch.ones(9, 9)), r'1 of another shape \(weight\)'),
    ],
)
def test_weights_that_fit_in_part(change, reason):
    model = nn.Linear(2, 3)
    state = {**model.state_dict(), **change}
    state = {key: value for key, value in state.items() if value is not None}
    require_fit(model, dict(state_dict=state), 'a.pth')
    with pytest.raises(CheckpointError, match=f'a.pth is not of this Linear.*{reason}'):
        require_fit(model, dict(state_dict=state), 'a.pth', strict=True)


@pytest.mark.parametrize(
    'content',
    [
        dict(state_dict={}),
        dict(state_dict={'net.weight': torch.ones(3, 2)}),
        dict(state_dict={'weight': torch.ones(4, 4), 'bias': 1.0}),
        dict(meta=dict(iter=1)),
        dict(state_dict=[1]),
    ],
)
def test_weights_that_do_not_fit(content):
    with pytest.raises(CheckpointError, match='a.pth'):
        require_fit(nn.Linear(2, 3), content, 'a.pth')


def test_names_that_the_model_translates():
    model = nn.Linear(2, 3)
    model._register_load_state_dict_pre_hook(
        lambda state, prefix, *args: state.update(weight=state.pop('old'))
    )
    state = dict(old=torch.ones(3, 2), bias=torch.ones(3))
    require_fit(model, state, 'a.pth', strict=True)
    assert set(state) == {'old', 'bias'}


# Writing


def test_whole_file(tmp_path):
    path = tmp_path / 'new/folder/a.pth'
    with whole_file(path) as part:
        assert part == f'{path}.part'
        Path(part).write_bytes(b'first')
        assert not path.exists()
    assert path.read_bytes() == b'first'
    with whole_file(str(path)) as part:
        Path(part).write_bytes(b'second')
        assert path.read_bytes() == b'first'
    assert path.read_bytes() == b'second'
    assert os.listdir(path.parent) == ['a.pth']


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='needs /proc')
def test_content_is_on_disk_before_the_name(tmp_path, monkeypatch):
    """Or a power cut leaves an empty file under the name of a good one."""
    done = []
    sync, replace = os.fsync, os.replace

    def noted_sync(number):
        name = Path(os.readlink(f'/proc/self/fd/{number}')).name
        done.append(f'sync {name}')
        sync(number)

    def noted_replace(source, target):
        done.append('replace')
        replace(source, target)

    monkeypatch.setattr(os, 'fsync', noted_sync)
    monkeypatch.setattr(os, 'replace', noted_replace)
    with whole_file(tmp_path / 'a.pth') as part:
        Path(part).write_bytes(b'new')
    assert done == ['sync a.pth.part', 'replace', f'sync {tmp_path.name}']


def test_whole_file_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with whole_file('a.pth') as part:
        torch.save(good(), part)
    assert read_checkpoint('a.pth')['meta']['iter'] == 1


@pytest.mark.parametrize(
    'error', [ValueError('x'), KeyboardInterrupt(), RuntimeError('x')]
)
def test_an_exception_keeps_the_old_file(error, tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'old')
    with pytest.raises(type(error)) as caught, whole_file(path) as part:
        Path(part).write_bytes(b'ne')
        raise error
    assert caught.value is error
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a.pth']


def test_an_exception_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match='x'), whole_file(tmp_path / 'a.pth'):
        raise ValueError('x')
    assert os.listdir(tmp_path) == []


def test_a_failed_write_is_explained(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'old')
    with pytest.raises(OSError, match='No space left') as caught, whole_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
    for word in (str(path), 'MiB are free', 'What was there before still is'):
        assert word in str(caught.value)
    assert path.read_bytes() == b'old'


def test_nothing_written_is_an_error(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'old')
    with pytest.raises(OSError, match=r'a\.pth could not be written'), whole_file(path):
        pass
    assert path.read_bytes() == b'old'


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=r'a\.pth could not be written'):
        with whole_file(tmp_path / 'file' / 'a.pth'):
            raise AssertionError('must not get here')


FULL_DISK = """
import io, json, os, resource, sys, torch
from mmengine.fileio import LocalBackend
from mmsemiseg.engine.runner.checkpoint import whole_file

folder, limit = sys.argv[1], int(sys.argv[2])
content = dict(w=torch.ones(20000))

def by_path(part):
    torch.save(content, part)

def by_file(part):
    with open(part, 'wb') as file:
        torch.save(content, file)

def by_backend(part):
    data = io.BytesIO()
    torch.save(content, data)
    LocalBackend().put(data.getvalue(), part)

result = {}
for write in (by_path, by_file, by_backend):
    path = os.path.join(folder, write.__name__ + '.pth')
    torch.save(dict(old=1), path)
    size = len(open(path, 'rb').read())
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with whole_file(path) as part:
            write(part)
        result[write.__name__] = 'no error'
    except OSError as error:
        result[write.__name__] = str(error)
    except BaseException as error:
        result[write.__name__] = repr(error)
    infinity = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_FSIZE, infinity)
print(json.dumps(result))
"""


@pytest.mark.skipif(sys.platform == 'win32', reason='no limit of file sizes')
@pytest.mark.parametrize('limit', [5000, 80100])
def test_write_that_really_fails(limit, tmp_path):
    """The limit of a file's size stops writing as a full disk does, also at its end."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', FULL_DISK, str(tmp_path), str(limit)],
        capture_output=True,
        text=True,
        cwd=root,
        env=dict(os.environ, PYTHONPATH=str(root)),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().split('\n')[-1])
    assert list(result) == ['by_path', 'by_file', 'by_backend']
    for name, text in result.items():
        path = tmp_path / f'{name}.pth'
        assert f'{path} could not be written' in text
        assert 'What was there before still is' in text
        assert read_checkpoint(path) == dict(old=1)
    assert 'File too large' in result['by_file']
    assert 'File too large' in result['by_backend']
    assert sorted(os.listdir(tmp_path)) == sorted(f'{name}.pth' for name in result)
