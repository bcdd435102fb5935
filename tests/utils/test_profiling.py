"""Names of the stages of a step, in a trace of torch.profiler and for watchers."""

from contextlib import contextmanager

import pytest
import tiny_run
import torch
from torch.profiler import ProfilerActivity, profile

from mmsemiseg.utils import profiling
from mmsemiseg.utils.profiling import stage, watched


@stage('outer')
def outer():
    """Its text."""
    with stage('inner'):
        return 3


def seen(function):
    """Names of the stages that begin and end."""
    found = []

    @contextmanager
    def watch(name):
        found.append(name)
        try:
            yield
        finally:
            found.append(f'/{name}')

    with watched(watch):
        function()
    return found


def test_a_profiler_shows_them():
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        assert outer() == 3
    found = [e.name for e in trace.events() if e.name.startswith('mmsemiseg/')]
    assert sorted(found) == ['mmsemiseg/inner', 'mmsemiseg/outer']


def test_watchers_see_them():
    assert seen(outer) == ['outer', 'inner', '/inner', '/outer']
    assert outer.__doc__ == 'Its text.'


def test_they_end_with_an_error():
    def fail():
        with stage('broken'):
            raise ZeroDivisionError

    found = []
    with pytest.raises(ZeroDivisionError):
        found = seen(lambda: fail())
    assert found == [] and profiling._watchers == []


def test_nothing_is_recorded_without_a_profiler(monkeypatch):
    monkeypatch.setattr(profiling, 'record_function', lambda name: 1 / 0)
    assert outer() == 3


def test_stages_of_a_step(tmp_path):
    """A mean teacher with CutMix, in the order in which they begin."""
    data = tiny_run.write_data(tmp_path / 'data')
    cfg = tiny_run.config(data, tmp_path / 'run', max_iters=1)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    found = seen(tiny_run.build(cfg).train)
    assert [name for name in found if not name.startswith('/')] == [
        'hooks',
        'preprocessing',
        'supervised pass',
        *['pass without gradient'] * 2,  # backbone, then head
        'upsampling',
        'pseudo labels',
        'mixing',
        *['student pass'] * 2,
        'upsampling',
        *['pseudo label loss'] * 2,  # weights of the pixels, then the loss
        'pseudo label statistics',
        'hooks',
        'EMA update',
    ]


def test_stages_are_no_part_of_an_export():
    class Net(torch.nn.Module):
        @stage('forward')
        def forward(self, x):
            return x + 1

    graph = torch.jit.trace(Net(), torch.ones(2)).graph
    assert 'profiler' not in str(graph)
