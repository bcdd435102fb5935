"""Who labels for whom."""

import pytest
import torch
from torch.testing import assert_close

from mmsemiseg.models import HardLabel
from mmsemiseg.models.teaching import (
    TEACHING,
    no_labels,
    targets_of,
    teacher_labels,
)

PROBS = [[0.7, 0.2, 0.1]], [[0.1, 0.8, 0.1]], [[0.1, 0.3, 0.6]]
VALID = torch.ones(1, 1, 1, dtype=torch.bool)


@pytest.mark.parametrize(
    ('teaching', 'expected'),
    [
        ('cross', ['bc', 'ac', 'ab']),
        ('own', ['a', 'b', 'c']),
        ('dual', ['abc', 'abc', 'abc']),
        ('ensemble', ['a', 'a', 'a']),
    ],
)
def test_targets_of_three(teaching, expected):
    found = [''.join(targets_of(teaching, [*'abc'], index)) for index in range(3)]
    assert found == expected


@pytest.mark.parametrize('teaching', TEACHING)
def test_one_pair_teaches_itself(teaching):
    assert targets_of(teaching, ['a'], 0) == ['a']


def labels(teaching):
    logits = [torch.tensor(p).log().T.reshape(1, 3, 1, 1) for p in PROBS]
    return teacher_labels(teaching, logits, VALID, HardLabel())


@pytest.mark.parametrize('teaching', ['cross', 'own', 'dual'])
def test_each_network_labels_by_itself(teaching):
    found = labels(teaching)
    assert [one.label.item() for one in found] == [0, 1, 2]
    assert_close(
        torch.cat([one.confidence for one in found]).flatten().tolist()[0], 0.7
    )


def test_an_ensemble_labels_by_the_mean_of_the_probabilities():
    for one in labels('ensemble'):  # means 0.3, 1.3 / 3, 0.8 / 3
        assert one.label.item() == 1
        assert_close(one.confidence.item(), 1.3 / 3, rtol=1e-6, atol=0)


def test_no_labels_say_what_is_valid():
    valid = torch.tensor([[[True, False]]])
    pseudo = no_labels(valid)
    assert pseudo.label.tolist() == [[[0, 255]]]
    assert pseudo.valid is valid
