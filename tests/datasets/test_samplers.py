"""Every draw is a function of (seed, stream, number)."""

import pickle
from itertools import islice

import pytest

from mmsemiseg.datasets import samplers
from mmsemiseg.datasets.samplers import SampleIndex, StreamSampler


def draws(sampler, n):
    return [(int(index), index.seed) for index in islice(sampler, n)]


def indices(n, size, **settings):
    return [i for i, _ in draws(StreamSampler(range(size), **settings), n)]


def on_rank(monkeypatch, rank, world_size):
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (rank, world_size))


def test_each_pass_is_another_permutation():
    order = indices(30, 10, seed=1)
    passes = [order[:10], order[10:20], order[20:]]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_the_order_is_a_function_of_seed_and_stream():
    reference = draws(StreamSampler(range(20), 'labeled', seed=1), 40)
    assert draws(StreamSampler(range(20), 'labeled', seed=1), 40) == reference
    for stream, seed in (('unlabeled', 1), ('labeled', 2)):
        other = draws(StreamSampler(range(20), stream, seed=seed), 40)
        assert [i for i, _ in other] != [i for i, _ in reference]
        assert not {s for _, s in other} & {s for _, s in reference}


def test_the_order_is_the_same_in_every_version():
    # a resumed run of an older version must find the same samples
    expected = [(4, 3623361394), (0, 3477692520), (2, 523554791)]
    assert draws(StreamSampler(range(5), seed=0), 3) == expected


def test_every_draw_has_a_seed_of_its_own():
    seeds = [seed for _, seed in draws(StreamSampler(range(7), seed=3), 2000)]
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize('size', [12, 10])
def test_ranks_deal_out_the_draws_of_one_process(monkeypatch, size):
    single = draws(StreamSampler(range(size), seed=5), 4 * size)
    dealt = []
    for rank in range(4):
        on_rank(monkeypatch, rank, 4)
        dealt.append(draws(StreamSampler(range(size), seed=5), size))
    together = [draw for group in zip(*dealt, strict=True) for draw in group]
    assert together == single


def test_ranks_are_disjoint_within_a_pass(monkeypatch):
    seen = []
    for rank in range(3):
        on_rank(monkeypatch, rank, 3)
        seen += indices(4, 12, seed=0)
    assert sorted(seen) == list(range(12))


@pytest.mark.parametrize('rank', [0, 2])
@pytest.mark.parametrize('skipped', [0, 1, 9, 10, 1234])
def test_skip_drops_draws(monkeypatch, rank, skipped):
    on_rank(monkeypatch, rank, 3)
    full = draws(StreamSampler(range(10), seed=2), skipped + 20)
    sampler = StreamSampler(range(10), seed=2)
    sampler.skip(skipped)
    assert draws(sampler, 20) == full[skipped:]


def test_skips_add_up_and_iterating_again_starts_again():
    sampler = StreamSampler(range(10), seed=2)
    first = draws(sampler, 12)
    assert draws(sampler, 12) == first
    sampler.skip(3)
    sampler.skip(4)
    assert draws(sampler, 5) == first[7:12]


def test_skip_is_not_replay():
    sampler = StreamSampler(range(3), seed=2)
    sampler.skip(10**12)  # would never end
    assert 0 <= int(next(iter(sampler))) < 3


@pytest.mark.parametrize(
    ('size', 'world_size', 'length'), [(10, 1, 10), (10, 4, 3), (1, 2, 1)]
)
def test_len_is_a_pass_of_this_rank(monkeypatch, size, world_size, length):
    on_rank(monkeypatch, 0, world_size)
    assert len(StreamSampler(range(size), seed=0)) == length


def test_no_shuffle_keeps_the_order_and_the_seeds():
    plain = draws(StreamSampler(range(4), seed=0, shuffle=False), 8)
    assert [i for i, _ in plain] == [0, 1, 2, 3] * 2
    shuffled = draws(StreamSampler(range(4), seed=0), 8)
    assert [s for _, s in plain] == [s for _, s in shuffled]


def test_a_single_image():
    found = draws(StreamSampler(['a'], seed=0), 5)
    assert [i for i, _ in found] == [0] * 5
    assert len({s for _, s in found}) == 5


def test_an_empty_stream_is_an_error():
    with pytest.raises(ValueError, match="stream 'unlabeled' is empty"):
        StreamSampler([], 'unlabeled')


def test_without_a_seed_one_is_shared_by_the_ranks(monkeypatch):
    monkeypatch.setattr(samplers, 'sync_random_seed', lambda: 77)
    assert indices(10, 10, seed=None) == indices(10, 10, seed=77)
    assert indices(10, 10, seed=0) != indices(10, 10, seed=77)


def test_sample_index_is_an_int_with_a_seed_that_pickles():
    index = SampleIndex(3, seed=11)
    assert index == 3 and [10, 20, 30, 40][index] == 40
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(index, protocol))
        assert (copy, copy.seed, type(copy)) == (3, 11, SampleIndex)


def test_sampled_indices_are_plain_python_ints():
    index = next(iter(StreamSampler(range(3), seed=0)))
    assert isinstance(index, int) and type(index.seed) is int
