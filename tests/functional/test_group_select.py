import math
import random

import pytest
import torch
from no_sync import NoHostSync

from mmsemiseg.functional import rank_in_group, select_per_group


def ordered(group, score, lowest):
    """The rows of each group, best first."""
    rows = {}
    for i, g in enumerate(group):
        rows.setdefault(g, []).append(i)

    def key(i):
        if score is None:
            return i
        if math.isnan(score[i]):
            return math.inf, i
        return score[i] if lowest else -score[i], i

    return {g: sorted(members, key=key) for g, members in rows.items()}


def draw(rng, n):
    group = [rng.choice([-7, -1, 0, 0, 1, 2, 3, 4, 255]) for _ in range(n)]
    score = [rng.choice([0.0, 0.5, 1.0, -2.0, math.inf, math.nan]) for _ in range(n)]
    # NaN and the worst score tie: keep one of them
    return group, [0.25 if math.isinf(s) else s for s in score]


@pytest.mark.parametrize('lowest', [False, True])
@pytest.mark.parametrize('scored', [False, True])
def test_random_cases_equal_the_loop(scored, lowest):
    rng = random.Random(0)
    for _ in range(500):
        n, k = rng.randrange(0, 25), rng.randrange(1, 7)
        group, score = draw(rng, n)
        score = score if scored else None
        tensors = torch.tensor(group, dtype=torch.int64), score and torch.tensor(score)
        if scored and not n:
            tensors = tensors[0], torch.zeros(0)
        best = ordered(group, score, lowest)
        rank = rank_in_group(*tensors, lowest)
        assert rank.tolist() == [best[g].index(i) for i, g in enumerate(group)]
        index, chosen = select_per_group(tensors[0], 4, k, tensors[1], lowest)
        expected = sorted(i for g in range(4) for i in best.get(g, [])[:k])
        assert len(index) == len(chosen) == min(n, 4 * k)
        filled = len(index) - len(expected)
        assert chosen.tolist() == [group[i] for i in expected] + [-1] * filled
        assert index[: len(expected)].tolist() == expected
        assert len(set(index.tolist())) == len(index)


@pytest.mark.parametrize('lowest', [False, True])
def test_the_best_last(lowest):
    """As if pushed to the front of a list for each group, with the best in front."""
    rng = random.Random(1)
    for _ in range(300):
        n, k = rng.randrange(1, 25), rng.randrange(1, 7)
        group, score = draw(rng, n)
        best = ordered(group, score, lowest)
        tensors = torch.tensor(group), 4, k, torch.tensor(score), lowest
        index, chosen = select_per_group(*tensors, best_last=True)
        without, _ = select_per_group(*tensors)
        assert sorted(index.tolist()) == sorted(without.tolist())
        assert len(index) == len(chosen) == min(n, 4 * k)
        for g in range(4):
            rows = best.get(g, [])
            wanted = rows[:k] if len(rows) > k else sorted(rows)
            assert index[chosen == g].tolist() == wanted[::-1]
        filled = (chosen >= 0).sum().item()
        assert (chosen[:filled] >= 0).all()


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64])
def test_label_maps_of_any_integer_type(dtype):
    group = torch.tensor([2, 255, 0, 2], dtype=torch.uint8).to(dtype)
    index, chosen = select_per_group(group, 3, 1)
    assert index[:2].tolist() == [0, 2]
    assert chosen.tolist() == [2, 0, -1]
    assert chosen.dtype == torch.int64


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64, torch.int64])
def test_scores_of_any_type(dtype):
    score = torch.tensor([1, 3, 2]).to(dtype)
    assert rank_in_group(torch.zeros(3).long(), score).tolist() == [2, 0, 1]
    assert rank_in_group(torch.zeros(3).long(), score, True).tolist() == [0, 2, 1]


def test_infinite_scores():
    score = torch.tensor([0.0, math.inf, -math.inf])
    assert rank_in_group(torch.zeros(3).long(), score).tolist() == [1, 0, 2]


def test_best_of_all_is_best_of_the_best_of_parts():
    """So each process may choose before the rows are gathered."""
    g = torch.Generator().manual_seed(0)
    for _ in range(100):
        group = torch.randint(-1, 4, (40,), generator=g)
        score = torch.randint(0, 5, (40,), generator=g)
        index, chosen = select_per_group(group, 4, 3, score)
        parts = []
        for part in torch.arange(40).split(15):
            own, kept = select_per_group(group[part], 4, 3, score[part])
            parts.append(part[own[kept >= 0]])
        parts = torch.cat(parts)
        again, of_parts = select_per_group(group[parts], 4, 3, score[parts])
        assert parts[again[of_parts >= 0]].equal(index[chosen >= 0])


def test_so_many_of_each_image_and_class():
    label, image = torch.tensor([1, 1, 1, 1, 0]), torch.tensor([0, 0, 1, 1, 1])
    score = torch.tensor([1, 2, 3, 4, 5])
    index, chosen = select_per_group(label * 2 + image, 2 * 2, 1, score)
    assert index[:3].tolist() == [1, 3, 4]
    assert (chosen // 2).tolist() == [1, 1, 0, -1]


@pytest.mark.parametrize('groups', [2, 60])
def test_no_host_sync_and_no_loop_over_groups(groups):
    g = torch.Generator().manual_seed(0)
    group = torch.randint(-1, groups, (50,), generator=g)
    score = torch.rand(50, generator=g)
    with NoHostSync() as seen:
        select_per_group(group, groups, 3, score)
    assert 10 < len(seen.ops) < 50
    with NoHostSync():
        select_per_group(group, groups, 3, score, best_last=True)


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(num_groups=0), 'num_groups must be an integer >= 1, but got 0'),
        (dict(per_group=0), 'per_group must be an integer >= 1, but got 0'),
        (dict(per_group=1.5), 'per_group must be an integer >= 1, but got 1.5'),
        (dict(group=torch.zeros(2)), r'integers, but got \(2,\) torch.float32'),
        (dict(group=torch.ones(2).bool()), r'integers, but got \(2,\) torch.bool'),
        (dict(group=torch.ones(2, 1).long()), r'but got \(2, 1\) torch.int64'),
        (dict(score=torch.ones(3)), r'score must be \(2,\) as group, but got \(3,\)'),
    ],
)
def test_bad_input_is_named(settings, rule):
    given = dict(group=torch.zeros(2).long(), num_groups=2, per_group=1)
    with pytest.raises(ValueError, match=rule):
        select_per_group(**{**given, **settings})
