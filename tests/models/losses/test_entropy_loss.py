import pytest
import torch

from mmsemiseg.functional import entropy_loss
from mmsemiseg.models import EntropyLoss


def test_it_is_the_weighted_entropy():
    logits = torch.randn(2, 3, 4, 5)
    valid = torch.rand(2, 4, 5) > 0.5
    for norm, over in (('classes', 'valid'), ('nats', 'all')):
        found = EntropyLoss(0.3, norm, over)(logits, valid)
        assert found == 0.3 * entropy_loss(logits, valid, norm, over)
    assert 'weight=0.01' in repr(EntropyLoss())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(weight=-1), 'weight must be a number >= 0, but got -1'),
        (dict(norm='bits'), "norm must be in .* 'bits'"),
        (dict(over='some'), "over must be in .* 'some'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        EntropyLoss(**settings)
