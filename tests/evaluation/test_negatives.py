import math

import pytest
import torch

from mmsemiseg.evaluation import (
    NegativePairs,
    cell_labels,
    label_table,
    negative_pairs,
)


def slow(anchors, keys):
    """Pair by pair: (pseudo label, true class) of each."""
    counts = [0] * 4
    for label, truth in anchors:
        for other_label, other_truth in keys:
            kept, true = label != other_label, truth != other_truth
            for index, counted in enumerate((True, true, kept, kept and true)):
                counts[index] += counted
    return NegativePairs(*counts)


def table(cells, classes):
    labels, truths = torch.tensor(cells).reshape(-1, 2).T
    return label_table(labels, truths, classes)


def test_case_by_hand():
    # An anchor of class 0, labeled 0. Of four keys two are true negatives; one of
    # those and one false negative have another label
    keys = [(0, 0), (1, 0), (1, 1), (0, 1)]
    pairs = negative_pairs(table([(0, 0)], 2), table(keys, 2))
    assert pairs == NegativePairs(drawn=4, drawn_true=2, kept=2, kept_true=1)
    assert pairs.random_precision == pairs.filtered_precision == pairs.recall == 0.5


def test_right_labels_keep_the_true_negatives_alone():
    cells = [(0, 0), (1, 1), (2, 2), (2, 2)]
    pairs = negative_pairs(table(cells, 3), table(cells, 3))
    assert pairs == NegativePairs(drawn=16, drawn_true=10, kept=10, kept_true=10)
    assert (pairs.filtered_precision, pairs.recall) == (1, 1)


@pytest.mark.parametrize('seed', range(5))
def test_as_counted_pair_by_pair(seed):
    generator = torch.Generator().manual_seed(seed)
    classes = 2 + seed
    anchors, keys = (
        torch.randint(classes, (n, 2), generator=generator).tolist() for n in (9, 14)
    )
    pairs = negative_pairs(table(anchors, classes), table(keys, classes))
    assert pairs == slow(anchors, keys)


def test_nothing_to_count():
    empty = torch.zeros(3, 3, dtype=torch.int64)
    pairs = negative_pairs(empty, empty)
    assert pairs == NegativePairs(0, 0, 0, 0)
    assert math.isnan(pairs.random_precision) and math.isnan(pairs.filtered_precision)


def test_cells_without_label_or_truth_do_not_count():
    label = torch.tensor([[0, 255, 1, 1]])
    truth = torch.tensor([[0, 0, 255, 0]])
    assert label_table(label, truth, 2).tolist() == [[1, 0], [1, 0]]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match='one shape'):
        label_table(torch.zeros(2), torch.zeros(3), 2)
    with pytest.raises(ValueError, match=r'\(2, 2\) and \(3, 3\)'):
        negative_pairs(torch.zeros(2, 2), torch.zeros(3, 3))


def test_a_cell_has_the_class_of_most_of_its_pixels():
    truth = torch.tensor(
        [
            [0, 0, 1, 2],
            [0, 1, 2, 2],
            [255, 255, 255, 1],
            [255, 0, 255, 1],
        ]
    )
    found = cell_labels(truth[None], (2, 2), 3)
    # At the bottom right half of the pixels are ignored: the class still counts
    assert found.tolist() == [[[0, 2], [255, 1]]]
    assert found.dtype == torch.int64
    assert cell_labels(truth[None], (4, 4), 3).equal(truth[None])
