import pytest
import torch

from mmsemiseg.utils.reservoir import Reservoir


def test_every_row_is_kept_as_often():
    times = torch.zeros(30)
    for seed in range(1500):
        kept = Reservoir(classes=1, size=6, seed=seed)
        for part in torch.arange(30.0).split(7):
            kept.add(part[:, None], torch.zeros(len(part)).long())
        rows = kept.rows(0)
        assert len(rows) == len(rows.unique()) == 6
        times[rows[:, 0].long()] += 1
    assert (times / 1500 - 0.2).abs().max() < 0.04


def test_rows_stay_with_their_class_and_small_classes_are_whole():
    g = torch.Generator().manual_seed(0)
    kept, offered = Reservoir(classes=4, size=10), []
    for step in range(20):
        label = torch.randint(-1, 6, (8,), generator=g)
        label = torch.where((label == 2) & (torch.tensor(step) > 1), -1, label)
        label[label == 3] = 255
        rows = torch.stack([label.float(), torch.rand(8, generator=g)], 1)
        kept.add(rows, label)
        offered.append(rows[label == 2])
    for c in range(3):
        assert kept.rows(c)[:, 0].eq(c).all()
    assert [len(kept.rows(c)) for c in (0, 1, 3)] == [10, 10, 0]
    assert sorted(kept.rows(2).tolist()) == sorted(torch.cat(offered).tolist())
    assert kept.rows_of_all_processes(1, 2).equal(kept.rows(1))
    assert kept.rows_of_all_processes(3, 2).shape == (0, 2)


def test_nothing_offered_and_half_precision():
    kept = Reservoir(classes=2, size=3, dtype=torch.float16)
    assert kept.rows(0).shape == (0, 0)
    kept.add(torch.zeros(0, 5), torch.zeros(0).long())
    kept.add(torch.ones(2, 5), torch.tensor([1, 7]))
    assert (kept.rows(1).dtype, kept.rows(1).shape) == (torch.float16, (1, 5))
    assert kept.rows(0).shape == (0, 0)


def test_rows_beyond_half_precision_are_an_error():
    rows = torch.tensor([[1.0, 70_000.0], [70_000.0, 1.0]])
    kept = Reservoir(classes=2, size=3, dtype=torch.float16)
    kept.add(rows, torch.tensor([-1, 5]))
    with pytest.raises(ValueError, match='of class 1 .* not finite in torch.float16'):
        kept.add(rows, torch.tensor([-1, 1]))
    wide = Reservoir(classes=2, size=3)
    wide.add(rows, torch.tensor([0, 1]))
    assert wide.rows(1).tolist() == rows[1:].tolist()


def test_a_row_of_any_process_has_the_same_chance(monkeypatch):
    """One process has 40 rows, the other 10; 10 are kept of all."""
    module = 'mmsemiseg.utils.reservoir'
    total = 0
    for seed in range(400):
        pair = [Reservoir(classes=1, size=10, seed=2 * seed + r) for r in (0, 1)]
        for kept, count in zip(pair, (40, 10), strict=True):
            kept.add(torch.zeros(count, 1), torch.zeros(count).long())
        numbers = torch.cat([kept._numbers[0] for kept in pair])
        monkeypatch.setattr(f'{module}.gather_rows', lambda rows, n=numbers: n)
        monkeypatch.setattr(f'{module}.gather_rows_to_first', lambda rows: rows)
        found = [len(kept.rows_of_all_processes(0, 1)) for kept in pair]
        assert sum(found) == 10
        total += found[0]
    assert abs(total / 400 - 8) < 0.3
