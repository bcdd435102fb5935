import itertools
import sys

import pytest
import torch
from torch.testing import assert_close

from mmsemiseg.functional import kmeans

module = sys.modules['mmsemiseg.functional.kmeans']


def least_inertia(rows, k):
    """The best of all ways to put a few rows into k clusters."""
    best = float('inf')
    for labels in itertools.product(range(k), repeat=len(rows)):
        label, total = torch.tensor(labels), 0.0
        for cluster in range(k):
            own = rows[label == cluster]
            if len(own):
                total += (own - own.mean(0)).square().sum().item()
        best = min(best, total)
    return best


def inertia(rows, centres):
    """By the definition, pair by pair and in float64."""
    return torch.cdist(rows.double(), centres.double()).square().amin(1).sum().item()


@pytest.fixture(params=[1, 10, 2**23])
def chunk(request, monkeypatch):
    monkeypatch.setattr(module, 'NUMBERS_PER_CHUNK', request.param)


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('k', [1, 2, 3])
def test_few_rows_reach_the_best_of_all_clusterings(k, seed, chunk):
    rows = torch.rand(7, 2, generator=torch.Generator().manual_seed(seed))
    found = kmeans(rows, k, restarts=5)
    assert found.found.all()
    assert found.inertia == pytest.approx(inertia(rows, found.centres), rel=1e-4)
    assert found.inertia == pytest.approx(least_inertia(rows, k), rel=1e-4)


def blobs(n=2000, k=5, dim=16, shift=0.0):
    g = torch.Generator().manual_seed(0)
    means = 20 * torch.randn(k, dim, generator=g)
    rows = means[torch.arange(n) % k] + torch.randn(n, dim, generator=g)
    return rows + shift, means + shift


@pytest.mark.parametrize('shift', [0, 3000])
def test_separate_blobs_are_found_also_far_from_the_origin(shift):
    rows, means = blobs(shift=float(shift))
    centres = kmeans(rows, 5).centres
    nearest = torch.cdist(means, centres).min(1)
    assert sorted(nearest.indices.tolist()) == [0, 1, 2, 3, 4]
    assert nearest.values.max() < 0.4  # 400 rows: 0.05 in each of 16 directions


def test_a_seed_repeats_and_leaves_the_random_generators_alone():
    rows = torch.rand(500, 4, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    first, again, other = (kmeans(rows, 7, seed=s) for s in (0, 0, 1))
    assert torch.get_rng_state().equal(before)
    assert first.centres.equal(again.centres)
    assert not first.centres.equal(other.centres)


def test_restarts_never_are_worse():
    rows = torch.rand(300, 3, generator=torch.Generator().manual_seed(1))
    for k in (2, 9):
        assert kmeans(rows, k, restarts=6).inertia <= kmeans(rows, k).inertia


@pytest.mark.parametrize(('n', 'k'), [(0, 3), (1, 3), (2, 2), (2, 3)])
def test_fewer_rows_than_clusters(n, k):
    rows = torch.arange(2.0 * n).view(n, 2)
    found = kmeans(rows, k)
    assert found.found.tolist() == [i < n for i in range(k)]
    assert sorted(found.centres[:n].tolist()) == rows.tolist()
    assert found.centres[n:].eq(0).all()
    assert found.inertia == 0


def test_equal_rows_are_one_cluster():
    found = kmeans(torch.full((50, 3), 7.0), 4)
    assert found.found.tolist() == [True, False, False, False]
    assert_close(found.centres[0], torch.full((3,), 7.0))


@pytest.mark.parametrize('n', [1, 2, 3, 4])
def test_rounding_makes_no_clusters(n):
    """Of a few wide rows, many times each, and far from the origin."""
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        rows = 50 + torch.rand(n, 2048, generator=g)
        for repeats in (1, 9):
            found = kmeans(rows.repeat(repeats, 1), 5)
            assert found.found.tolist() == [i < n for i in range(5)]
            nearest = torch.cdist(found.centres[:n].double(), rows.double())
            assert nearest.amin(0).max() < 0.01


def test_an_empty_cluster_moves_to_the_farthest_row():
    rows = torch.tensor([[0.0], [1.0], [9.0]])
    data = module._Rows(rows)
    centres = torch.tensor([[0.5], [100.0]]) - data.mean
    _, nearest, sums, count = module._assigned(data, centres)
    assert count.tolist() == [3, 0]
    means = module._means(data, sums, count, nearest, centres) + data.mean
    assert_close(means, torch.tensor([[10 / 3], [9.0]]))


def test_half_precision_rows_and_progress():
    rows, _ = blobs(200)
    told = []
    found = kmeans(rows.half(), 5, progress=lambda *seen: told.append(seen))
    assert found.centres.dtype == torch.float32
    assert [number for number, _ in told] == list(range(1, len(told) + 1))
    values = [value for _, value in told]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(inertia(rows.half(), found.centres), rel=0.01)


def test_iterations_end_at_their_number():
    rows = torch.rand(400, 2, generator=torch.Generator().manual_seed(0))
    told = []
    kmeans(rows, 20, 3, tolerance=0.0, progress=lambda *seen: told.append(seen))
    assert len(told) == 3


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(k=0), 'k must be an integer >= 1, but got 0'),
        (dict(iterations=1.5), 'iterations must be an integer >= 1, but got 1.5'),
        (dict(restarts=0), 'restarts must be an integer >= 1, but got 0'),
        (dict(rows=torch.ones(3)), r'rows must be \(n, D\) floats, but got \(3,\)'),
        (dict(rows=torch.ones(3, 2).long()), 'floats, but got .* torch.int64'),
    ],
)
def test_bad_settings_are_named(settings, rule):
    with pytest.raises(ValueError, match=rule):
        kmeans(**{**dict(rows=torch.ones(3, 2), k=2), **settings})


@pytest.mark.parametrize('n', [600, 5000])
@pytest.mark.parametrize('k', [2, 3, 7])
def test_one_run_comes_close_to_the_best_of_many(n, k):
    """Blobs that do not fit the clusters have many local optima."""
    rows, _ = blobs(n, k=5)
    found = [kmeans(rows, k, seed=seed).inertia for seed in range(12)]
    assert max(found) <= 1.01 * min(found)


def test_a_far_group_of_a_few_rows_among_many_is_found():
    rows = torch.randn(6000, 3, generator=torch.Generator().manual_seed(0))
    rows[:4] = torch.tensor([500.0, 0, 0])
    centres = kmeans(rows, 2).centres
    assert torch.cdist(rows[:1], centres).min() < 1
