import pytest
import torch
from no_sync import NoHostSync


def assign(x):
    x[x > 0] = x[x > 0] + 1


@pytest.mark.parametrize(
    'waiting',
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: x[x.argmax()],
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: x.unique(),
        lambda x: x.masked_select(x > 0),
        lambda x: x.long().abs().bincount(minlength=3),
        lambda x: torch.equal(x, x),
        lambda x: x + torch.tensor([1.0, 2.0, 3.0]),
        lambda x: x.index_put_((x > 0,), x[1:]),
        assign,
    ],
)
def test_what_waits_is_seen(waiting):
    with pytest.raises(AssertionError, match='waits for the device'), NoHostSync():
        waiting(torch.arange(-1.0, 2.0))


def test_what_does_not_wait_passes():
    with NoHostSync() as seen:
        x = torch.arange(5.0)
        y = torch.where(x > 2, x, 0).masked_fill(x > 3, 7)
        y[torch.arange(2)] = y[torch.arange(2, 4)]
    assert 'where' in seen.ops
    assert y.tolist() == [0, 3, 0, 3, 7]
