import enum
from collections import Counter, OrderedDict, defaultdict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import assert_same_logs, filled_hub
from mmengine.logging import HistoryBuffer, MessageHub
from torch import nn

from mmsemiseg.engine.checkpoints import (
    plain_values,
    read_checkpoint,
    restore_history,
)

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
    result = plain_values(value)
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
    result = plain_values(tensor)
    assert type(result) is torch.Tensor
    assert not result.requires_grad
    assert result.data_ptr() == tensor.data_ptr()
    torch.save(result, tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert loaded.dtype == tensor.dtype
    assert torch.equal(loaded, tensor.detach().as_subclass(torch.Tensor))


def test_tensors_that_share_memory_still_do(tmp_path):
    weight = torch.arange(4.0)
    torch.save(plain_values(dict(a=weight, b=nn.Parameter(weight))), tmp_path / 'a.pth')
    loaded = read_checkpoint(tmp_path / 'a.pth')
    assert loaded['a'].data_ptr() == loaded['b'].data_ptr()


def test_plain_keeps_the_versions_of_modules(tmp_path):
    state = nn.Sequential(nn.BatchNorm2d(2)).state_dict()
    torch.save(plain_values(state), tmp_path / 'a.pth')
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
        plain_values({'meta': {'hook.state': [0, value]}})
    assert "checkpoint['meta']['hook.state'][1]" in str(caught.value)


def test_plain_refuses_keys():
    with pytest.raises(TypeError, match=r"^message_hub\['a'\] has a key .* Tensor"):
        plain_values({'a': {torch.ones(1): 1}}, 'message_hub')


def test_plain_leaves_the_original_alone():
    original = OrderedDict(a=[np.int64(1)], b=dict(c=np.ones(1)))
    plain_values(original)['b']['new'] = 1
    assert isinstance(original['a'][0], np.int64)
    assert list(original['b']) == ['c']


@pytest.mark.parametrize('where', ['checkpoint', 'message_hub'])
def test_unknown_runtime_info_is_left_out(where, monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmsemiseg.engine.checkpoints.plain.print_log',
        lambda text, **settings: said.append(text),
    )
    hub = dict(
        log_scalars=OrderedDict(),
        runtime_info=OrderedDict(iter=3, odd=dict(deep=[Own()]), strange={1}, last='x'),
        resumed_keys=OrderedDict(iter=True, odd=True),
    )
    value = dict(message_hub=hub) if where == 'checkpoint' else hub
    result = plain_values(value, where)
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
        plain_values(dict(message_hub=dict(log_scalars=dict(x=Own()), runtime_info={})))
    with pytest.raises(TypeError, match=r"\['meta'\]\['runtime_info'\]\['x'\]"):
        plain_values(dict(meta=dict(runtime_info=dict(x=Own()))))


# Logs


def test_message_hub_round_trip(tmp_path):
    hub = filled_hub('round_trip')
    torch.save(plain_values(hub.state_dict(), 'message_hub'), tmp_path / 'a.pth')
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
