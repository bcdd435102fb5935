import pytest
import torch
from torch.testing import assert_close

from mmsemiseg.functional import to_rows
from mmsemiseg.models.heads import ConvBlocks, ProjectionHead, split_head


class OwnForward(ConvBlocks):
    def forward(self, features):
        return super().forward(features) ** 2


def features(seed, n=2):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, 3, 4, generator=g, dtype=torch.float64)


def blocks(number, kind=ConvBlocks, **settings):
    return kind(6, 5, 4, number, **settings).double()


HEADS = {
    'no block': lambda: blocks(0),
    'two blocks': lambda: blocks(2),
    'three blocks': lambda: blocks(3),
    'projection': lambda: ProjectionHead(6, 5).double(),
}


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', HEADS)
def test_the_end_of_rows_is_the_output_there(name, training):
    torch.manual_seed(0)
    head = HEADS[name]().train(training)
    given = [features(1).requires_grad_(), features(2, n=3).requires_grad_()]
    some = torch.randperm(60)[:11]
    torch.manual_seed(1)  # for the dropout
    maps, end = split_head(head, given)
    rows = end(torch.cat([to_rows(one) for one in maps])[some])
    torch.manual_seed(1)
    expected = torch.cat([to_rows(head(one)) for one in given])[some]
    assert_close(rows, expected)
    weights = torch.randn(expected.shape).double()
    inputs = [*given, *head.parameters()]
    found = torch.autograd.grad((rows * weights).sum(), inputs)
    of_maps = torch.autograd.grad((expected * weights).sum(), inputs)
    for mine, theirs in zip(found, of_maps, strict=True):
        assert_close(mine, theirs)


@pytest.mark.parametrize('number', [0, 2, 3])
def test_the_linear_end_of_a_mean_is_the_mean_of_the_output(number):
    head, given = blocks(number).eval(), features(3)
    (one,), end = split_head(head, [given], linear=True)
    assert one.shape[1] == (4 if number else 6)
    found = end(to_rows(one)[3:9].mean(0, keepdim=True))
    assert_close(found[0], to_rows(head(given))[3:9].mean(0))


@pytest.mark.parametrize(
    ('head', 'linear'),
    [
        (blocks(1, OwnForward), False),
        (torch.nn.Conv2d(6, 5, 3).double(), False),
        (ProjectionHead(6, 5).double(), True),
        (None, False),
    ],
    ids=['own forward', 'any module', 'end of unit length', 'none'],
)
def test_other_heads_are_seen_whole(head, linear):
    given = features(4)
    if head is not None:
        head.eval()
    (one,), end = split_head(head, [given], linear)
    assert one.equal(given if head is None else head(given))
    rows = to_rows(one)
    assert end(rows) is rows


@pytest.mark.parametrize('name', HEADS)
def test_without_rows_every_parameter_has_a_gradient_of_zero(name):
    head, given = HEADS[name](), features(5).requires_grad_()
    (one,), end = split_head(head, [given])
    rows = end(to_rows(one)[:0])
    assert rows.shape == (0, 5)
    rows.sum().backward()
    for tensor in (given, *head.parameters()):
        assert tensor.grad.eq(0).all()


def test_few_sizes_come_to_the_end():
    head, sizes = blocks(2), set()
    head.layers[-1].register_forward_hook(lambda m, x, y: sizes.add(x[0].shape))
    (one,), end = split_head(head, [features(7)])
    row = to_rows(one)[:1]
    for number in (0, 1, 255, 256, 257, 511):
        rows = end(row.expand(number, -1))
        assert_close(rows, end(row).expand(number, -1))
    assert sizes == {(1, 4, 256, 1), (1, 4, 512, 1)}


def test_the_end_is_taken_under_autocast_as_the_head_is():
    head, given = blocks(2).float().eval(), features(6).float()
    with torch.autocast('cpu', torch.bfloat16):
        (one,), end = split_head(head, [given])
        assert end(to_rows(one)).dtype == head(given).dtype == torch.bfloat16
