import mmengine.dist.utils
import pytest
import torch
from helpers import student_cfg
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules
from torch import nn

from mmsemiseg.engine.runner import processes
from mmsemiseg.engine.runner.processes import ddp_settings, init_processes


class Declaring(nn.Module):
    find_unused_parameters = True


@pytest.mark.parametrize(
    ('cfg', 'model', 'asked', 'expected'),
    [
        (None, nn.Module(), None, False),
        (None, Declaring(), None, True),
        (None, Declaring(), False, False),
        (None, nn.Module(), True, True),
        (dict(find_unused_parameters=True), nn.Module(), False, True),
        (dict(type='MMDistributedDataParallel'), Declaring(), None, True),
    ],
)
def test_unused_parameters(cfg, model, asked, expected):
    """The wrapper's setting, else the config's, else the model's."""
    settings = ddp_settings(cfg, model, asked)
    assert settings['find_unused_parameters'] is expected
    assert settings['type'] == 'MMDistributedDataParallel'


def test_buffers_are_not_broadcast_unless_asked():
    assert ddp_settings(None, nn.Module(), None)['broadcast_buffers'] is False
    cfg = dict(broadcast_buffers=True)
    assert ddp_settings(cfg, nn.Module(), None)['broadcast_buffers'] is True
    assert cfg == dict(broadcast_buffers=True)


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_a_cpu_has_no_device_number(device, monkeypatch):
    monkeypatch.setattr(processes, 'get_device', lambda: device)
    settings = ddp_settings(None, nn.Module(), None)
    assert ('device_ids' in settings) == (device == 'cpu')
    assert settings.get('device_ids') is None


def test_another_wrapper_is_left_as_it_is():
    cfg = dict(type='MMFullyShardedDataParallel', cpu_offload=True)
    assert ddp_settings(cfg, Declaring(), True) == cfg


@pytest.mark.parametrize('backend', [None, 'nccl'])
def test_gloo_and_no_cuda_device(backend, monkeypatch):
    seen = {}
    set_device = torch.cuda.set_device

    def init_process_group(backend, **settings):
        seen.update(settings, backend=backend)

    dist = mmengine.dist.utils.torch_dist
    monkeypatch.setattr(dist, 'init_process_group', init_process_group)
    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    settings = dict(timeout=7) if backend is None else dict(timeout=7, backend=backend)
    init_processes('pytorch', settings)
    assert seen['backend'] == 'gloo'
    assert seen['timeout'].total_seconds() == 7
    assert torch.cuda.set_device is set_device


def test_cuda_is_as_before_after_an_error(monkeypatch):
    set_device = torch.cuda.set_device
    with pytest.raises(ValueError, match='Invalid launcher'):
        init_processes('none', {})
    assert torch.cuda.set_device is set_device


def test_models_declare_that_all_parameters_are_used():
    register_all_modules()
    for name in ('SupOnly', 'MeanTeacher', 'FixMatch'):
        model = MODELS.build(dict(type=name, student=student_cfg()))
        assert ddp_settings(None, model, None)['find_unused_parameters'] is False
