from urllib.error import URLError

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmsemiseg.utils.pretrained import (
    check_pretrained,
    explain_failed_download,
    find_pretrained,
)


def pretrained(checkpoint):
    return {'type': 'Pretrained', 'checkpoint': checkpoint}


def test_every_place_is_found():
    cfg = ConfigDict(
        type='EncoderDecoder',
        pretrained='open-mmlab://resnet50_v1c',
        init_cfg=[{'type': 'Normal', 'std': 0.01}, pretrained('whole.pth')],
        backbone={'type': 'ResNet', 'depth': 18, 'init_cfg': pretrained('a.pth')},
        neck={'pretrained': None, 'init_cfg': None},
        decode_head=[
            {'type': 'FCNHead'},
            {'init_cfg': {'type': PretrainedInit, 'checkpoint': 'b.pth'}},
        ],
        auxiliary_head={'pretrained': True},
    )
    assert find_pretrained(cfg, 'student') == {
        'student.pretrained': 'open-mmlab://resnet50_v1c',
        'student.init_cfg.1.checkpoint': 'whole.pth',
        'student.backbone.init_cfg.checkpoint': 'a.pth',
        'student.decode_head.1.init_cfg.checkpoint': 'b.pth',
    }


@pytest.mark.parametrize(
    ('cfg', 'key'),
    [
        ({'pretrained': 'gone.pth'}, 'model.pretrained'),
        (
            {'backbone': {'init_cfg': pretrained('gone.pth')}},
            'model.backbone.init_cfg.checkpoint',
        ),
    ],
)
def test_missing_file(cfg, key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = rf'gone\.pth \({key}\).*--pretrained FILE.*init_cfg=None'
    with pytest.raises(FileNotFoundError, match=message):
        check_pretrained(cfg)
    (tmp_path / 'gone.pth').mkdir()
    with pytest.raises(FileNotFoundError, match=message):  # a folder is not a file
        check_pretrained(cfg)
    (tmp_path / 'gone.pth').rmdir()
    (tmp_path / 'gone.pth').touch()
    assert check_pretrained(cfg) is None


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'net.pth').touch()
    assert check_pretrained({'pretrained': '~/net.pth'}) is None


@pytest.mark.parametrize('cfg', [{}, {'pretrained': None}, {'init_cfg': None}])
def test_nothing_to_load(cfg):
    assert check_pretrained(cfg) is None


@pytest.mark.parametrize('scheme', ['https', 'open-mmlab', 'torchvision', 's3'])
def test_addresses_are_not_tried(scheme, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('tried to load')

    monkeypatch.setattr(mmengine_checkpoint.CheckpointLoader, 'load_checkpoint', refuse)
    assert check_pretrained({'pretrained': f'{scheme}://resnet'}) is None


def test_entry_without_checkpoint():
    with pytest.raises(ValueError, match=r'model\.init_cfg\.checkpoint must be a file'):
        check_pretrained({'init_cfg': {'type': 'Pretrained'}})


class Net(BaseModule):
    def __init__(self, init_cfg):
        super().__init__(init_cfg)
        self.linear = torch.nn.Linear(1, 1)


@pytest.mark.parametrize(
    'failure',
    [
        URLError('Name or service not known'),
        TimeoutError('timed out'),
        ConnectionResetError('reset by peer'),
        RuntimeError('invalid hash value (expected "a", got "b")'),
    ],
)
def test_failed_download_names_the_address(failure, monkeypatch):
    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(mmengine_checkpoint, 'load_url', fail)
    cfg = {'init_cfg': pretrained('https://weights.invalid/net.pth')}
    message = (
        r'https://weights\.invalid/net\.pth \(student\.init_cfg\.checkpoint\)'
        r'.*--pretrained FILE.*init_cfg=None'
    )
    with pytest.raises(RuntimeError, match=message) as caught:
        with explain_failed_download(cfg, 'student'):
            Net(**cfg).init_weights()
    assert caught.value.__cause__ is failure
    assert str(failure) in str(caught.value)


def test_unknown_name():
    cfg = {'init_cfg': pretrained('open-mmlab://no_such_net')}
    with pytest.raises(RuntimeError, match='open-mmlab://no_such_net.*KeyError'):
        with explain_failed_download(cfg):
            Net(**cfg).init_weights()


def test_other_errors_pass():
    remote = {'init_cfg': pretrained('https://weights.invalid/net.pth')}
    with pytest.raises(RuntimeError, match=r'^shapes differ$'):
        with explain_failed_download(remote):
            raise RuntimeError('shapes differ')
    with pytest.raises(KeyError), explain_failed_download({'init_cfg': None}):
        raise KeyError('x')


def test_successful_load_is_left_alone(tmp_path):
    torch.save({'linear.weight': torch.tensor([[7.0]])}, tmp_path / 'net.pth')
    cfg = {'init_cfg': pretrained(str(tmp_path / 'net.pth'))}
    check_pretrained(cfg)
    net = Net(**cfg)
    with explain_failed_download(cfg):
        net.init_weights()
    assert net.linear.weight.item() == 7
