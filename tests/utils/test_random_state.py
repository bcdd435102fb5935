import random

import numpy as np
import pytest
import torch

from mmsemiseg.utils.random_state import (
    kept_random_state,
    random_state,
    seed_generators,
    set_random_state,
)


@pytest.fixture(autouse=True)
def as_before():
    with kept_random_state():
        yield


def draw():
    """A bit of everything, so that half-used words and pairs count too."""
    return (
        random.random(),
        random.gauss(0, 1),
        random.getrandbits(5),
        np.random.rand(),
        np.random.randn(),
        np.random.randint(9),
        torch.rand(3).tolist(),
        torch.randn(1).item(),
        torch.randperm(5).tolist(),
    )


def test_goes_on_where_it_stood(tmp_path):
    seed_generators(3)
    for _ in range(5):
        draw()
    torch.save(random_state(), tmp_path / 'state.pth')
    expected = [draw() for _ in range(500)]  # past the end of NumPy's block of words
    seed_generators(4)
    set_random_state(torch.load(tmp_path / 'state.pth', weights_only=True))
    assert [draw() for _ in range(500)] == expected


def test_the_saved_state_stays(tmp_path):
    """Not a view of the generators' memory."""
    state = random_state()
    first = draw()
    for _ in range(2):
        set_random_state(state)
        assert draw() == first


def test_a_pair_of_normals_is_kept_whole():
    """NumPy's and Python's generators draw two at once and keep one."""
    np.random.randn()
    random.gauss(0, 1)
    state = random_state()
    expected = np.random.randn(), random.gauss(0, 1)
    seed_generators(0)
    set_random_state(state)
    assert (np.random.randn(), random.gauss(0, 1)) == expected


@pytest.mark.parametrize('seed', [0, 7, 2**32 - 1, 2**32 + 7])
def test_seed(seed):
    seed_generators(seed)
    first = draw()
    other = draw()
    seed_generators(seed)
    assert draw() == first
    assert other[0] != first[0]
    seed_generators(seed + 1)
    assert draw()[0] != first[0]


def test_each_generator_is_seeded():
    seed_generators(1)
    first = draw()
    seed_generators(2)
    second = draw()
    for place in (0, 3, 6):
        assert first[place] != second[place]


def test_kept():
    state = random_state()
    expected = draw()
    set_random_state(state)
    with pytest.raises(KeyError), kept_random_state():
        draw()
        raise KeyError
    assert draw() == expected


def test_state_of_a_gpu_is_left_where_there_is_none(monkeypatch):
    state = dict(random_state(), cuda=torch.zeros(16, dtype=torch.uint8))
    expected = draw()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    set_random_state(state)
    assert draw() == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu():
    seed_generators(1)
    torch.rand(3, device='cuda')
    state = random_state()
    expected = torch.rand(3, device='cuda').tolist()
    seed_generators(2)
    set_random_state(state)
    assert torch.rand(3, device='cuda').tolist() == expected
