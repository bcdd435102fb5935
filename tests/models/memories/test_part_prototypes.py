import io

import pytest
import torch
from no_sync import NoHostSync
from torch.testing import assert_close

from mmsemiseg.models import PartPrototypes


def make(classes=3, parts=2, dim=2, **settings):
    return PartPrototypes(classes, parts, dim, **settings)


def rows(seed=0, n=60, classes=3, dim=2):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(-1, classes, (n,), generator=g)
    return torch.randn(n, dim, generator=g), label


def test_update_by_hand():
    prototypes = make(classes=2)
    vectors = torch.tensor([[[1.0, 0], [0, 1]], [[-1, 0], [0, -1]]])
    prototypes.vectors.copy_(vectors)
    prototypes.known.fill_(True)
    sums = torch.tensor([(5.0, 1.0), (1, 3), (-1, -0.5), (0.2, -4)])
    prototypes.update(sums, torch.tensor([2.0, 1, 1, 1]))
    expected = [[[1.015, 0.005], [0.01, 1.02]], [[-1, -0.005], [0.002, -1.03]]]
    assert_close(prototypes.vectors, torch.tensor(expected))


def test_parts_without_features_or_prototype_stay():
    prototypes = make()
    prototypes.begin(*rows())
    prototypes.known[1, 1] = False
    before = prototypes.vectors.clone()
    count = torch.tensor([0.0, 3, 0, 5, 0, 0])
    prototypes.update(torch.full((6, 2), torch.nan), count * 0)
    assert prototypes.vectors.equal(before)
    prototypes.update(torch.ones(6, 2), count)
    moved = prototypes.vectors.ne(before).any(2)
    assert moved.tolist() == [[False, True], [False, False], [False, False]]


def test_begin_clusters_each_class_alone():
    features, label = rows()
    features = features + 100 * label[:, None]
    prototypes, told = make(), []
    prototypes.begin(features, label, lambda *seen: told.append(seen))
    assert [(c, n) for c, n, _ in told] == [(c, (label == c).sum()) for c in range(3)]
    for c in range(3):
        own = features[label == c]
        nearest = torch.cdist(own, prototypes.vectors[c]).argmin(1)
        means = torch.stack([own[nearest == k].mean(0) for k in range(2)])
        assert_close(means, prototypes.vectors[c], atol=1e-3, rtol=0)


def test_classes_begin_when_they_come_and_only_once():
    prototypes = make(parts=3)
    features, label = rows()
    assert prototypes.missing_classes() == [0, 1, 2]
    prototypes.begin(features[label == 1][:2], torch.ones(2).long())
    assert prototypes.missing_classes() == [0, 2]
    assert prototypes.known[1].tolist() == [True, True, False]
    assert not prototypes.complete
    before = prototypes.vectors[1].clone()
    prototypes.begin(features, label)
    assert prototypes.vectors[1].equal(before)
    assert prototypes.complete
    prototypes.begin(features + 5, label)
    assert prototypes.vectors[1].equal(before)


def test_a_saved_copy_continues():
    prototypes, file = make(), io.BytesIO()
    prototypes.begin(*rows())
    torch.save(prototypes.state_dict(), file)
    file.seek(0)
    other = make()
    assert not other.complete
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.complete
    assert list(other.state_dict()) == ['vectors', 'known']
    for one in (prototypes, other):
        one.update(torch.ones(6, 2), torch.arange(6.0))
    assert prototypes.vectors.equal(other.vectors)
    other.load_state_dict(make().state_dict())
    assert not other.complete


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(parts=0), 'parts must be an integer >= 1, but got 0'),
        (dict(decay=1.5), r'decay must be in \[0, 1\], but got 1.5'),
        (dict(restarts=0), 'restarts must be an integer >= 1, but got 0'),
        (dict(seed=-1), 'seed must be an integer >= 0, but got -1'),
    ],
)
def test_bad_settings_are_named(settings, rule):
    with pytest.raises(ValueError, match=rule):
        make(**settings)


def test_which_classes_have_begun_is_read_once():
    prototypes = make()
    features, label = rows()
    prototypes.begin(features[label == 1], label[label == 1])
    assert prototypes.begun == (False, True, False)
    with NoHostSync() as seen:
        assert prototypes.missing_classes() == [0, 2]
        assert not prototypes.complete
    assert seen.ops == []


def test_the_first_process_alone_clusters(monkeypatch):
    module = 'mmsemiseg.models.memories.part_prototypes'
    first = make()
    first.begin(*rows())

    def receive(vectors, known):
        vectors.copy_(first.vectors)
        known.copy_(first.known)

    monkeypatch.setattr(f'{module}.is_main_process', lambda: False)
    monkeypatch.setattr(f'{module}.copy_from_first', receive)
    second = make()
    second.begin(*rows(seed=1))
    assert second.vectors.equal(first.vectors)
    assert second.complete
