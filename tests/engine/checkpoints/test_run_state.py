import copy

import pytest
import torch

from mmsemiseg.engine.checkpoints import run_state as module
from mmsemiseg.engine.checkpoints.run_state import ResumeError, restore, run_state
from mmsemiseg.utils.random_state import random_state


class Loop:
    """As much of a SemiTrainLoop."""

    def __init__(self, drawn=12, random=None):
        self.state = dict(
            accumulation=1,
            channels_last=False,
            streams=dict(labeled=stream(drawn), unlabeled=stream(drawn)),
            validated=False,
            random=random or random_state(),
        )
        self.loaded = None

    def state_dict(self):
        return copy.deepcopy(self.state)

    def load_state_dict(self, state):
        self.loaded = state


def stream(drawn=0, images=10, batch_size=4):
    return dict(drawn=drawn, images=images, batch_size=batch_size)


def test_state_is_plain_and_comes_back(tmp_path):
    loop = Loop(drawn=12)
    torch.save(run_state(loop), tmp_path / 'a.pth')
    state = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert (state['processes'], state['threads']) == (1, torch.get_num_threads())
    assert state['device'] == 'cpu' or torch.cuda.is_available()
    assert state['versions']['torch'] == str(torch.__version__)
    other = Loop(drawn=0)
    assert restore(other, state) == []
    assert other.loaded['streams'] == loop.state['streams']
    assert other.loaded['validated'] is False
    mine, loaded = loop.state['random'], other.loaded['random']
    assert loaded['python'] == mine['python']
    assert loaded['torch'].equal(mine['torch'])
    assert loaded['numpy'][1].equal(mine['numpy'][1])


CHANGES = [
    (dict(processes=2), 'processes was 2, now 1'),
    (dict(device='npu'), "device was 'npu', now 'cpu'"),
    (dict(threads=99), f'threads was 99, now {torch.get_num_threads()}'),
    (dict(accumulation=3), 'accumulation was 3, now 1'),
    (
        dict(streams=dict(labeled=stream(images=9), unlabeled=stream())),
        "images of the stream 'labeled' was 9, now 10",
    ),
    (
        dict(streams=dict(labeled=stream(), unlabeled=stream(batch_size=2))),
        "batch_size of the stream 'unlabeled' was 2, now 4",
    ),
    (dict(streams=dict(labeled=stream())), "the stream 'unlabeled' was not there"),
    (
        dict(streams=dict(labeled=stream(), unlabeled=stream(), third=stream())),
        "the stream 'third' was there",
    ),
]


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    monkeypatch.setattr(module, 'get_device', lambda: 'cpu')


@pytest.mark.parametrize(('saved', 'text'), CHANGES)
def test_a_difference(saved, text):
    loop = Loop()
    state = dict(run_state(loop), **saved)
    with pytest.raises(ResumeError) as caught:
        restore(loop, state)
    assert f'not the one that was saved: {text}. Start it as it was' in str(
        caught.value
    )
    assert loop.loaded is None
    assert restore(loop, state, exact=False) == [text]
    assert loop.loaded['streams'] == state['streams']


def test_all_differences_are_named():
    loop = Loop()
    state = dict(run_state(loop), processes=2, accumulation=5)
    with pytest.raises(ResumeError, match='processes was 2, now 1; accumulation was 5'):
        restore(loop, state)


def test_threads_do_not_matter_on_a_gpu(monkeypatch):
    monkeypatch.setattr(module, 'get_device', lambda: 'cuda')
    loop = Loop()
    assert restore(loop, dict(run_state(loop), threads=99)) == []


def test_another_version_is_told():
    loop = Loop()
    state = run_state(loop)
    state['versions'] = dict(torch='1.0')
    first, second = restore(loop, state)
    assert first == f'torch was 1.0, now {torch.__version__}'
    assert second.startswith('cpu was None, now ')
    assert loop.loaded is not None


def test_each_process_takes_its_own_generators(monkeypatch):
    states = [dict(python=rank) for rank in range(2)]
    monkeypatch.setattr(module, 'get_world_size', lambda: 2)
    monkeypatch.setattr(module, 'all_gather_object', lambda state: states)
    for rank in range(2):
        monkeypatch.setattr(module, 'get_rank', lambda rank=rank: rank)
        loop = Loop()
        assert restore(loop, run_state(loop)) == []
        assert loop.loaded['random'] == dict(python=rank)


def test_more_processes_than_before(monkeypatch):
    """The new one keeps the generators with which it began."""
    loop = Loop()
    state = run_state(loop)
    monkeypatch.setattr(module, 'get_world_size', lambda: 2)
    monkeypatch.setattr(module, 'get_rank', lambda: 1)
    assert restore(loop, state, exact=False) == ['processes was 1, now 2']
    assert loop.loaded['random'] is None
