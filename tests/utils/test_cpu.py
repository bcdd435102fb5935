import pathlib

import pytest
import torch

from mmsemiseg.utils import cpu
from mmsemiseg.utils.cpu import has_bfloat16


@pytest.mark.parametrize(
    ('told', 'expected'),
    [
        (dict(avx512_f=True, avx512_bf16=True, amx_bf16=False), True),
        (dict(architecture='aarch64', bf16=True), True),
        (dict(avx2=True, avx512_bf16=False, l2_cache_size=1), False),
    ],
)
def test_as_torch_tells(told, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: told, raising=False)
    assert has_bfloat16() is expected


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n', True),
        ('processor\t: 0\nFeatures\t: fp asimd bf16\n', True),
        ('processor\t: 0\nflags\t\t: fpu avx2\nbugs: bf16\n', False),
        ('', False),
        (OSError, False),
    ],
)
def test_as_linux_tells(text, expected, monkeypatch):
    def read(path, **settings):
        if text is OSError:
            raise OSError
        return text

    monkeypatch.delattr(torch.cpu, 'get_capabilities', raising=False)
    monkeypatch.setattr(pathlib.Path, 'read_text', read)
    assert has_bfloat16() is expected


def test_busy_cores_are_read_off_two_looks(monkeypatch):
    texts = iter(
        ['cpu  100 0 100 800 0 0 0 0 0 0\n', 'cpu  150 0 100 850 0 0 0 0 0 0\n']
    )
    monkeypatch.setattr(cpu.time, 'sleep', lambda seconds: None)
    monkeypatch.setattr(pathlib.Path, 'read_text', lambda *_, **__: next(texts))
    monkeypatch.setattr(cpu.os, 'cpu_count', lambda: 4)
    assert cpu.busy_cores() == 2.0


@pytest.mark.parametrize('text', ['', 'cpu', OSError, 'cpu  1 1 1 1 1 1 1 1\n'])
def test_busy_cores_are_not_known_elsewhere(text, monkeypatch):
    def read(path, **settings):
        if text is OSError:
            raise OSError
        return text

    monkeypatch.setattr(cpu.time, 'sleep', lambda seconds: None)
    monkeypatch.setattr(pathlib.Path, 'read_text', read)
    assert cpu.busy_cores() is None
    assert cpu.usable_cores() >= 1
