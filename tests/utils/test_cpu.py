import pathlib

import pytest
import torch

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
