import pytest
import torch
from torch.testing import assert_close

from mmsemiseg.functional import dynamic_soft_label, top_k_soft_label
from mmsemiseg.models import DynamicSoftLabel, HardLabel, SoftLabel


def logits(seed=0):
    g = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(2, 5, 4, 6, generator=g), torch.rand(2, 4, 6) < 0.8


def test_label_and_confidence_are_those_of_the_teacher():
    maps, valid = logits()
    hard = HardLabel()(maps, valid)
    for part in (DynamicSoftLabel(), DynamicSoftLabel(top_k=2), SoftLabel()):
        soft = part(maps, valid)
        assert soft.label.equal(hard.label)
        assert soft.confidence.equal(hard.confidence)
        assert soft.valid.equal(valid)


def test_soft_labels_of_the_dominant_classes():
    maps, valid = logits()
    probs = maps.softmax(1)
    assert_close(DynamicSoftLabel()(maps, valid).probs, dynamic_soft_label(probs))
    found = DynamicSoftLabel(top_p=0.5, ties='first')(maps, valid)
    assert_close(found.probs, dynamic_soft_label(probs, 0.5, 'first'))
    found = DynamicSoftLabel(top_k=2)(maps, valid)
    assert_close(found.probs, top_k_soft_label(probs, 2))
    one_hot = DynamicSoftLabel(top_p=0)(maps, valid).probs
    assert one_hot.argmax(1).equal(maps.argmax(1))
    assert one_hot.unique().tolist() == [0, 1]


def test_the_name_tells_the_settings():
    assert repr(DynamicSoftLabel()) == "DynamicSoftLabel(top_p=0.95, ties='all')"
    assert 'top_k=5' in repr(DynamicSoftLabel(top_k=5))


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(top_p=95), r'top_p must be in \[0, 1\], but got 95'),
        (dict(top_k=0), 'top_k must be an integer >= 1, but got 0'),
        (dict(ties='last'), "ties must be in .* but got 'last'"),
    ],
)
def test_bad_settings_are_named(settings, rule):
    with pytest.raises(ValueError, match=rule):
        DynamicSoftLabel(**settings)
