"""Weights of classes from windows of labels and of pseudo labels."""

import pytest
import torch
from helpers import frozen_copy

from mmsemiseg.functional import balance_weights
from mmsemiseg.models import ClassBalance

LABELS = [[8, 1, 0], [0, 4, 0], [1, 1, 0], [5, 0, 0], [2, 2, 0]]
PSEUDO = [[1, 9, 0], [3, 3, 0], [7, 0, 0], [0, 1, 0], [6, 2, 0]]


def maps(counts):
    """A label map (1, 1, n) with so many pixels of each class, and one without."""
    label = [c for c, number in enumerate(counts) for _ in range(number)]
    return torch.tensor([[[*label, 255]]])


@pytest.mark.parametrize('keep', ['last', 'first'])
@pytest.mark.parametrize('median', ['seen', 'all'])
def test_windows_and_weights_of_each_step(keep, median):
    balance = ClassBalance(3, 2, 3, 3, median, keep)
    for step, (labels, pseudo) in enumerate(zip(LABELS, PSEUDO, strict=True)):
        counts = balance.counts(maps(labels), maps(pseudo), ignore_index=255)
        before = frozen_copy(balance)
        found = balance.weights(counts, step)
        assert all(before[k].equal(v) for k, v in balance.state_dict().items())
        balance.update_memory(**counts)
        seen = LABELS[:2] if keep == 'first' else LABELS[: step + 1][-2:]
        seen = seen + PSEUDO[: step + 1][-3:]
        total = [sum(column) for column in zip(*seen, strict=True)]
        if step < 3:
            assert found.tolist() == [1, 1, 1]
        else:
            assert found.equal(balance_weights(torch.tensor(total), median))


def test_weights_wait_for_both_windows():
    for sizes, first in ((dict(labels=1, pseudo=3), 2), (dict(labels=4, pseudo=1), 3)):
        balance = ClassBalance(3, **sizes, start=0)
        for step, (labels, pseudo) in enumerate(zip(LABELS, PSEUDO, strict=True)):
            counts = balance.counts(maps(labels), maps(pseudo), ignore_index=255)
            assert (balance.weights(counts, step) != 1).any() == (step >= first)
            balance.update_memory(**counts)


def test_windows_that_follow_from_the_data():
    """As many batches as hold all images of a stream."""
    balance = ClassBalance(3)
    counts = balance.counts(maps(LABELS[0]), maps(PSEUDO[0]), ignore_index=255)
    with pytest.raises(RuntimeError, match=r"rules \['labeled', 'unlabeled'\]"):
        balance.weights(counts, 0)
    balance.set_stream_sizes(
        dict(labeled=100, unlabeled=2875), dict(labeled=5, unlabeled=2)
    )
    assert balance.label_window.length == 20
    assert balance.pseudo_window.length == 1437
    balance = ClassBalance(3, labels=7)
    balance.set_stream_sizes(dict(labeled=9, unlabeled=3), dict(labeled=1, unlabeled=4))
    assert (balance.label_window.length, balance.pseudo_window.length) == (7, 1)


def test_a_checkpoint_tells_the_windows():
    """Where nobody knows the data, as in testing."""
    trained, tested = ClassBalance(3), ClassBalance(3)
    trained.set_stream_sizes(dict(labeled=4, unlabeled=6), dict(labeled=2, unlabeled=2))
    counts = trained.counts(maps(LABELS[0]), maps(PSEUDO[0]), ignore_index=255)
    trained.update_memory(**counts)
    tested.load_state_dict(trained.state_dict())
    assert all(frozen_copy(tested)[k].equal(v) for k, v in trained.state_dict().items())
    assert (tested.label_window.length, tested.pseudo_window.length) == (2, 3)
    other = ClassBalance(3)
    other.set_stream_sizes(dict(labeled=9, unlabeled=9), dict(labeled=1, unlabeled=1))
    with pytest.raises(RuntimeError, match='size mismatch'):
        other.load_state_dict(trained.state_dict())
