import pytest
import torch

from mmsemiseg.models import ClassQueueBank
from mmsemiseg.reporting import banks_of


def content(bank, classes=('a', 'b'), name='contrast.bank'):
    state = {f'{name}.{key}': value for key, value in bank.state_dict().items()}
    return dict(state_dict=state, meta=dict(dataset_meta=dict(classes=classes)))


def test_a_bank_of_the_package():
    bank = ClassQueueBank(groups=4, size=2, dim=3)
    bank.enqueue(torch.rand(4, 3), torch.tensor([0, 0, 1, 3]))
    (found,) = banks_of(content(bank))
    assert found == ('contrast.bank', 4, dict(a=3, b=1))
    assert found.share == 0.5


@pytest.mark.parametrize(
    'given',
    [
        {},
        dict(state_dict={'bank.count': torch.ones(2)}, meta={}),
        content(ClassQueueBank(2, 2, 3), classes=()),
        content(ClassQueueBank(2, 2, 3), classes=('a', 'b', 'c')),
    ],
)
def test_checkpoints_without_a_bank(given):
    assert banks_of(given) == ()
