"""Seconds of the stages of a step."""

from types import SimpleNamespace

import pytest

from mmsemiseg.benchmark import stage_times
from mmsemiseg.utils.profiling import stage


@pytest.fixture
def spend(monkeypatch):
    """``spend(seconds)`` of a clock."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(stage_times.time, 'perf_counter', lambda: clock.now)

    def spend(seconds):
        clock.now += seconds

    return spend


def test_nested_stages_count_once(spend):
    wrapper = SimpleNamespace(backward=spend, step=spend, zero_grad=spend)
    with stage_times.timed_stages(wrapper) as seconds:
        spend(1)
        with stage('leaf'):
            spend(2)
        with stage('middle'):
            spend(4)
            with stage('leaf'):
                spend(8)
        wrapper.backward(16)
        wrapper.step(32)
        wrapper.zero_grad(64)
    expected = dict(leaf=10, middle=4, backward=16, optimizer=96)
    assert seconds == {**expected, stage_times.REST: 1}
    assert wrapper.step is spend


def test_a_stage_ends_with_an_error(spend):
    wrapper = SimpleNamespace(backward=spend, step=spend, zero_grad=spend)
    with stage_times.timed_stages(wrapper) as seconds:
        with pytest.raises(ZeroDivisionError), stage('broken'):
            spend(2)
            raise ZeroDivisionError
        spend(1)
    assert seconds == {'broken': 2, stage_times.REST: 1}
