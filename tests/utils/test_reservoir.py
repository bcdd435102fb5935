import torch

from mmsemiseg.utils.reservoir import Reservoir


def test_every_row_is_kept_as_often():
    times = torch.zeros(30)
    for seed in range(1500):
        kept = Reservoir(classes=1, size=6, seed=seed)
        for part in torch.arange(30.0).split(7):
            kept.add(part[:, None], torch.zeros(len(part)).long())
        rows, label = kept.rows()
        assert len(rows) == len(rows.unique()) == 6
        assert label.eq(0).all()
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
    rows, label = kept.rows()
    assert rows[:, 0].long().equal(label)
    assert torch.bincount(label).tolist()[:2] == [10, 10]
    assert sorted(rows[label == 2].tolist()) == sorted(torch.cat(offered).tolist())
    assert 3 not in label
    again = kept.rows()[0]
    assert again.equal(rows)


def test_nothing_offered_and_half_precision():
    kept = Reservoir(classes=2, size=3, dtype=torch.float16)
    assert kept.rows()[0].shape == (0, 0)
    kept.add(torch.zeros(0, 5), torch.zeros(0).long())
    kept.add(torch.ones(2, 5), torch.tensor([1, 7]))
    rows, label = kept.rows()
    assert (rows.dtype, rows.shape, label.tolist()) == (torch.float16, (1, 5), [1])
