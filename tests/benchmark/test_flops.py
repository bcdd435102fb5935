import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmsemiseg.benchmark import flops as parts
from mmsemiseg.functional import group_logsumexp


def counted(function, *args):
    """Operations of a call: products, other arithmetic."""
    with parts.PartCounter() as counter:
        function(*args)
    products, others = (
        sum(n for key, n in counter.flops.items() if key.product == product)
        for product in (True, False)
    )
    return products, others


def split(counter, part, product=True):
    """Operations of a part: forward, backward."""
    return tuple(counter.flops[part, backward, product] for backward in (False, True))


def test_a_network_by_hand():
    """3x3 convolution with stride 2, 3 -> 8, then 1x1, 8 -> 5, on 2 images of 16 x 16.

    Forward: 2 * 64 cells, 2 * 8 * 27 and 2 * 5 * 8 operations each. Backward twice
    that, but the images get no gradient.
    """
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))
    with parts.PartCounter() as counter:
        with counter.part('first'):
            hidden = net[:2](torch.randn(2, 3, 16, 16))
        with counter.part('second'):
            logits = net[2](hidden)
        counter.backward(logits.square().sum())
    first, second = 128 * 2 * 8 * 27, 128 * 2 * 5 * 8
    assert split(counter, 'first') == (first, first)
    assert split(counter, 'second') == (second, 2 * second)
    relu, squares = 128 * 8, 128 * 5
    assert split(counter, 'first', product=False) == (relu, relu)
    # Backward of x^2: pow(x, 1), times 2, times the gradient
    assert split(counter, 'rest', product=False) == (2 * squares, 3 * squares)
    assert split(counter, 'rest') == (0, 0)
    assert set(key.part for key in counter.flops) == {'first', 'second', 'rest'}


@pytest.mark.parametrize(
    ('layer', 'shape', 'forward'),
    [
        (nn.Conv2d(4, 6, 3, groups=2), (1, 4, 5, 5), 2 * 9 * 6 * 2 * 9),
        (nn.Conv2d(4, 4, 3, groups=4), (1, 4, 5, 5), 2 * 9 * 4 * 9),
        (nn.ConvTranspose2d(4, 6, 2, 2), (1, 4, 5, 5), 2 * 25 * 4 * 6 * 4),
        (nn.ConvTranspose2d(4, 6, 2, 2, groups=2), (1, 4, 5, 5), 2 * 25 * 4 * 3 * 4),
        (nn.Conv1d(3, 2, 5), (2, 3, 9), 2 * 2 * 5 * 2 * 15),
        (nn.Linear(7, 3), (11, 7), 2 * 11 * 7 * 3),
        (nn.Linear(7, 3, bias=False), (2, 11, 7), 2 * 22 * 7 * 3),
    ],
    ids=str,
)
def test_layers(layer, shape, forward):
    """Backward to the input and to the weights costs a forward each."""
    for grad in (False, True):
        with parts.PartCounter() as counter:
            with counter.part('layer'):
                out = layer(torch.randn(shape, requires_grad=grad))
            counter.backward(out.sum())
        assert split(counter, 'layer') == (forward, (1 + grad) * forward)


@pytest.mark.parametrize(
    ('function', 'shapes', 'products'),
    [
        (torch.mm, [(2, 3), (3, 5)], 60),
        (torch.mv, [(2, 3), (3,)], 12),
        (torch.dot, [(3,), (3,)], 6),
        (torch.bmm, [(4, 2, 3), (4, 3, 5)], 240),
        (torch.baddbmm, [(4, 2, 5), (4, 2, 3), (4, 3, 5)], 240),
        (torch.addmv, [(2,), (2, 3), (3,)], 12),
        (torch.addbmm, [(2, 5), (4, 2, 3), (4, 3, 5)], 240),
    ],
    ids=lambda x: getattr(x, '__name__', None),
)
def test_matrices(function, shapes, products):
    rows = [torch.randn(shape) for shape in shapes]
    assert counted(function, *rows) == (products, 0)


def test_products_of_groups():
    if not hasattr(F, 'grouped_mm'):
        pytest.skip('this PyTorch has no grouped_mm')
    ends = torch.tensor([1, 4], dtype=torch.int32)
    rows, weight = torch.randn(4, 16), torch.randn(2, 16, 8)
    product = counted(lambda: F.grouped_mm(rows, weight, offs=ends))
    assert product[0] == 2 * 4 * 16 * 8
    outer = counted(lambda: F.grouped_mm(rows.t(), weight[0, :4], offs=ends))
    assert outer[0] == 2 * 16 * 4 * 8


@pytest.mark.parametrize(
    ('function', 'others'),
    [
        (lambda x: x * x + 1, 2 * 24),
        (lambda x: x.mul_(2).exp_(), 2 * 24),
        (lambda x: x.sum(), 24),
        (lambda x: x.mean(0), 24),
        (lambda x: x.sum(1, keepdim=True) / 2, 24 + 6),
        (lambda x: x.softmax(1), 4 * 24),
        (lambda x: torch.zeros(3, 4).index_add_(0, torch.tensor([0, 1] * 3), x), 24),
        (lambda x: F.interpolate(x[None, None], scale_factor=2, mode='bilinear'), 672),
        (lambda x: x.t().reshape(4, 6).clone()[1:].t(), 0),
        (lambda x: torch.where(x > 0, x, 0).argmax(), 0),
        (lambda x: torch.arange(24) * 2, 0),
    ],
    ids=range(11),
)
def test_other_arithmetic(function, others):
    assert counted(function, torch.randn(6, 4)) == (0, others)


def test_what_is_not_counted_is_named():
    x = torch.randn(6, 4)
    with parts.PartCounter() as counter:
        x[torch.tensor([1, 2])].topk(2)
        x.view(-1)[2:] + x.t().flatten().clone()[2:]
        torch.rand(3)
    assert counter.uncounted == dict(index=1, topk=1)


def test_parts_nest_and_the_innermost_counts():
    weight = nn.Parameter(torch.randn(3, 3))
    x = torch.randn(2, 3)
    with parts.PartCounter() as counter:
        with counter.part('outer'):
            x = x @ weight
            with counter.part('inner'):
                x = x @ weight
                assert counter.current == 'inner'
            x = x @ weight
        counter.backward((x @ weight).sum())
    assert split(counter, 'outer') == (72, 36 + 72)
    assert split(counter, 'inner') == (36, 72)
    assert split(counter, 'rest') == (36, 72)


def test_a_part_ends_with_an_error():
    with parts.PartCounter() as counter:
        with pytest.raises(ZeroDivisionError), counter.part('a'):
            raise ZeroDivisionError
        torch.ones(2) + 1
    assert counter.flops == {parts.Key('rest', False, False): 2}


def test_no_gradient_no_backward():
    layer = nn.Linear(3, 3)
    with parts.PartCounter() as counter:
        with counter.part('teacher'), torch.no_grad():
            x = layer(torch.randn(2, 3))
        with counter.part('student'):
            x = layer(x)
        counter.backward(x.sum())
    assert split(counter, 'teacher') == (36, 0)
    assert split(counter, 'student') == (36, 36)


def test_recomputed_forwards_are_of_the_backward():
    layer = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid())
    for reentrant in (False, True):
        x = torch.randn(2, 3, requires_grad=True)
        with parts.PartCounter() as counter:
            with counter.part('net'):
                x = checkpoint(layer, x, use_reentrant=reentrant)
            counter.backward(x.sum())
        assert split(counter, 'net') == (36, 36 + 72)


def test_gradients_are_those_of_a_plain_backward():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    net(x).square().mean().backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    with parts.PartCounter() as counter:
        counter.backward(net(x).square().mean())
    for p, grad in zip(net.parameters(), expected, strict=True):
        assert torch.equal(p.grad, grad)


def test_logsumexp_over_keys():
    """The attention kernel: scores and a mean of keys, both in the forward.

    Rows of 4 numbers get 2 columns for the groups and one for keys of none, and are
    filled up to 8.
    """
    anchors = torch.randn(5, 4, requires_grad=True)
    keys, group = torch.randn(7, 4), torch.arange(7) % 2
    args = (anchors, keys, group[:5], group, 2)
    group_logsumexp(*args)  # PyTorch's kernel is tried out once
    with parts.PartCounter() as counter:
        with counter.part('distance'):
            loss = group_logsumexp(*args, backend='attention').sum()
        counter.backward(loss)
    assert split(counter, 'distance') == (2 * 5 * 7 * (8 + 8), 0)
    # The gradient is the mean key times the anchor's own
    assert split(counter, 'distance', product=False)[1] >= 5 * 4


def test_attention_with_a_gradient():
    query, key, value = (torch.randn(1, 2, n, 8, requires_grad=True) for n in (5, 7, 7))
    with parts.PartCounter() as counter:
        out = F.scaled_dot_product_attention(query, key, value)
        counter.backward(out.sum())
    pairs = 2 * 5 * 7
    assert split(counter, 'rest') == (2 * pairs * 16, 2 * pairs * 5 * 8)


def test_like_the_counter_of_pytorch():
    """It counts the backward of grouped convolutions as that of plain ones."""
    flop_counter = pytest.importorskip('torch.utils.flop_counter')
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=2, dilation=2),
        nn.BatchNorm2d(8),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(36, 5),
    )
    x = torch.randn(2, 3, 8, 9)
    with flop_counter.FlopCounterMode(display=False) as theirs:
        net(x).sum().backward()
    with parts.PartCounter() as ours:
        ours.backward(net(x).sum())
    assert sum(split(ours, 'rest')) == theirs.get_total_flops()
