"""A pass that is computed again gives and changes what an ordinary one does."""

import copy

import pytest
import torch
from helpers import batch, build, frozen_copy, spread
from tiny_run import tiny_student
from torch import nn
from torch.testing import assert_close

from mmsemiseg.models import SegmentorAdapter
from mmsemiseg.models.checkpointing import recomputed

NORMS = {
    'default': {},
    'cumulative': dict(momentum=None),
    'strong': dict(momentum=0.9),
    'none kept': dict(track_running_stats=False),
}


def plain(network, function, *args):
    return function(*args)


def small(**settings):
    norm = nn.BatchNorm2d(4, **settings)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 2, 1)
    )


def trained(network, run, passes=2):
    """Losses, gradients and state after two passes and one backward pass."""
    network = copy.deepcopy(network).train()
    torch.manual_seed(5)
    total = 0
    for index in range(passes):
        images = torch.randn(2, 3, 6, 6)
        total = total + run(network, network, images).square().mean() * (index + 1)
    before = torch.get_rng_state()
    total.backward()
    assert torch.equal(torch.get_rng_state(), before)
    grads = {name: param.grad for name, param in network.named_parameters()}
    return total.detach(), grads, frozen_copy(network)


@pytest.mark.parametrize('name', NORMS)
def test_equal_losses_gradients_and_statistics(name):
    torch.manual_seed(1)
    network = small(**NORMS[name])
    expected, got = (trained(network, run) for run in (plain, recomputed))
    assert torch.equal(got[0], expected[0])
    for one, other in zip(got[1:], expected[1:], strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert torch.equal(value, other[key]), key
    if name != 'none kept':
        assert got[2]['1.num_batches_tracked'] == 2
        assert got[2]['1.running_mean'].ne(0).all()


@pytest.mark.parametrize('name', NORMS)
def test_settings_of_the_norms_stay(name):
    network = small(**NORMS[name])
    momentum = network[1].momentum
    recomputed(network, network, torch.randn(2, 3, 6, 6)).sum().backward()
    assert network[1].momentum == momentum


def test_the_second_pass_is_really_run():
    """And sees the same masks of dropout."""
    network, seen = small(), []
    network[3].register_forward_hook(lambda *args: seen.append(args[2].detach()))
    loss = recomputed(network, network, torch.randn(2, 3, 6, 6)).sum()
    assert len(seen) == 1
    loss.backward()
    assert len(seen) == 2
    assert torch.equal(*seen)
    assert 0 < seen[0].eq(0).sum() < seen[0].numel()


def test_an_error_in_the_second_pass_leaves_the_norms_as_they_were():
    network = small()
    output = recomputed(network, network, torch.randn(2, 3, 6, 6))
    handle = network[2].register_forward_hook(fail)
    before = frozen_copy(network)
    with pytest.raises(ZeroDivisionError):
        output.sum().backward()
    handle.remove()
    assert network[1].momentum == 0.1
    for key, value in frozen_copy(network).items():
        if key != '1.running_mean' and key != '1.running_var':
            assert torch.equal(value, before[key]), key


def fail(*args):
    raise ZeroDivisionError


def test_running_twice_backward():
    """With a graph that is kept."""
    network = small()
    loss = recomputed(network, network, torch.randn(2, 3, 6, 6)).square().mean()
    loss.backward(retain_graph=True)
    first = network[0].weight.grad.clone()
    loss.backward()
    assert_close(network[0].weight.grad, 2 * first)
    assert network[1].num_batches_tracked == 1


def test_frozen_norms_and_eval_mode():
    network = small()
    network[1].eval()
    before = frozen_copy(network)
    recomputed(network, network, torch.randn(2, 3, 6, 6)).sum().backward()
    for key, value in frozen_copy(network).items():
        assert torch.equal(value, before[key]), key


def test_without_gradient():
    network = small().eval()
    images = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        assert torch.equal(recomputed(network, network, images), network(images))


def test_under_autocast():
    network = small()
    results = []
    for run in (plain, recomputed):
        twin = copy.deepcopy(network)
        torch.manual_seed(2)
        with torch.autocast('cpu', torch.bfloat16):
            output = run(twin, twin, torch.randn(2, 3, 6, 6))
        output.float().square().mean().backward()
        results.append((output.detach(), twin[0].weight.grad))
    assert results[0][0].dtype == torch.bfloat16
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


# What methods run


@pytest.mark.parametrize('feature', ['pre_cls', 'stage1'])
def test_losses_and_output_of_a_segmentor(feature):
    """Dicts, named tuples and data samples go in and out."""
    segmentor = spread(build(tiny_student())).train()
    segmentor.decode_head.dropout.p = 0.5
    adapter, data, results = SegmentorAdapter(segmentor, feature), batch(2), []
    for run in (plain, recomputed):
        network = copy.deepcopy(segmentor)
        torch.manual_seed(3)
        losses, output = run(network, adapter.loss, network, *data)
        other = run(network, adapter, network, data.inputs.flip(3))
        loss = losses['decode.loss_ce'] + output.features.square().mean()
        loss = loss + other.logits.softmax(1)[:, 0].mean()
        loss.backward()
        assert 'extract_feat' not in vars(network)
        assert 'forward' not in vars(network.decode_head)
        grads = {f'grad of {k}': p.grad for k, p in network.named_parameters()}
        results.append(dict(grads, loss=loss.detach(), **frozen_copy(network)))
    expected, got = results
    assert expected.keys() == got.keys()
    for key, value in got.items():
        assert torch.equal(value, expected[key]), key
    counts = {v.item() for k, v in got.items() if 'num_batches' in k}
    assert counts == {3}  # one of spread()


def test_fewer_tensors_are_kept():
    network = small()
    images = torch.randn(2, 3, 32, 32)
    kept = []
    for run in (plain, recomputed):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x
        ):
            run(network, network, images).square().mean()
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 3
