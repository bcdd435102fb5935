import math

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from mmsemiseg.functional import (
    cutmix_masks,
    dynamic_soft_label,
    mix,
    pixel_weights,
    pseudo_label,
    pseudo_label_loss,
    top_k_soft_label,
)
from mmsemiseg.functional import soft_label as soft_label_module


def slow_number(row, top_p=None, top_k=None):
    """Number of classes that are kept, by adding one after the other."""
    if top_k is not None:
        return min(top_k, len(row))
    total, number = 0.0, 0
    for p in sorted(row, reverse=True):
        total, number = total + p, number + 1
        if total >= top_p and top_p < 1:
            break
    return number


def slow_label(row, ties, **settings):
    """Soft label of one pixel, by plain Python."""
    number = slow_number(row, **settings)
    order = sorted(range(len(row)), key=lambda c: (-row[c], c))
    least = row[order[number - 1]]
    if ties == 'all':
        kept = [p if p >= least else 0.0 for p in row]
    else:
        kept = [p if c in order[:number] else 0.0 for c, p in enumerate(row)]
    return [p / sum(kept) for p in kept]


def soft_label(probs, ties, top_p=None, top_k=None):
    if top_k is None:
        return dynamic_soft_label(probs, top_p, ties)
    return top_k_soft_label(probs, top_k, ties)


def random_probs(seed, classes):
    """Multiples of 1/64, whose sums are exact, so that ties are ties."""
    g = torch.Generator().manual_seed(seed)
    shape = (2, classes, 3, 4)
    if seed % 2:
        sharp = 4 * torch.rand(1, generator=g).double()
        return (sharp * torch.randn(shape, generator=g).double()).softmax(1)
    classes_of = torch.randint(classes, (64, 2, 3, 4), generator=g)
    classes_of[32:] %= 2
    numbers = torch.arange(classes)[:, None, None, None, None]
    return (classes_of == numbers).sum(1).transpose(0, 1).double() / 64


SETTINGS = [dict(top_p=p) for p in (0, 0.25, 0.5, 0.75, 0.95, 1.0, 1.5)]
SETTINGS += [dict(top_k=k) for k in (1, 2, 5, 500)]


@pytest.mark.parametrize('cpu', [True, False])
@pytest.mark.parametrize('ties', ['all', 'first'])
@pytest.mark.parametrize('settings', SETTINGS, ids=str)
@pytest.mark.parametrize('classes', [2, 5, 150])
def test_random_cases_equal_the_slow_reference(
    classes, settings, ties, cpu, monkeypatch
):
    monkeypatch.setattr(soft_label_module, 'on_cpu', lambda rows: cpu)
    for seed in range(4):
        probs = random_probs(seed, classes)
        found = soft_label(probs, ties, **settings)
        assert found.shape == probs.shape
        for n, y, x in torch.ones(2, 3, 4).nonzero().tolist():
            expected = slow_label(probs[n, :, y, x].tolist(), ties, **settings)
            assert_close(found[n, :, y, x], torch.tensor(expected).double())


@pytest.mark.parametrize(
    ('settings', 'probs', 'expected'),
    [
        (dict(top_p=0.95), (0.96, 0.02, 0.01, 0.01), (1, 0, 0, 0)),
        (dict(top_p=0.95), (0.5, 0.3, 0.16, 0.04), (0.520833, 0.3125, 0.166667, 0)),
        (dict(top_p=0.95), (0.6, 0.37, 0.02, 0.01), (0.618557, 0.381443, 0, 0)),
        (dict(top_p=0.95), (0.25,) * 4, (0.25,) * 4),
        (dict(top_p=0.65), (0.4, 0.3, 0.3, 0), (0.4, 0.3, 0.3, 0)),
        (dict(top_p=0.65, ties='first'), (0.4, 0.3, 0.3, 0), (4 / 7, 3 / 7, 0, 0)),
        (dict(top_p=0.5), (0.5, 0.5, 0, 0), (0.5, 0.5, 0, 0)),
        (dict(top_p=0.5, ties='first'), (0.5, 0.5, 0, 0), (1, 0, 0, 0)),
        (dict(top_p=0), (0.1, 0.2, 0.6, 0.1), (0, 0, 1, 0)),
        (dict(top_p=0.75), (0.5, 0.25, 0.125, 0.125), (2 / 3, 1 / 3, 0, 0)),
        (dict(top_p=1), (1, 0, 0, 0), (1, 0, 0, 0)),
        (dict(top_p=0.95), (0, 0, 1, 0), (0, 0, 1, 0)),
    ],
)
def test_labels_by_hand(settings, probs, expected):
    found = dynamic_soft_label(torch.tensor([probs]).float(), **settings)
    assert_close(found, torch.tensor([expected]).float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize('classes', [2, 3, 7, 21, 150])
@pytest.mark.parametrize('top_p', [1, 2])
def test_with_eta_of_one_no_class_is_lost_to_rounding(classes, top_p):
    probs = (5 * torch.randn(300, classes)).softmax(1)
    assert_close(dynamic_soft_label(probs, top_p), probs)


def test_a_uniform_row_keeps_all_classes_of_any_number():
    for classes in (2, 3, 7, 150):
        probs = torch.full((1, classes), 1 / classes)
        assert_close(dynamic_soft_label(probs), probs)


def test_half_precision_is_read_in_fp32_and_no_gradient_is_kept():
    probs = torch.tensor([[0.5, 0.3125, 0.1875]], requires_grad=True)
    for function in (dynamic_soft_label, top_k_soft_label):
        assert not function(probs).requires_grad
        assert function(probs.half()).dtype == torch.float32
        assert function(probs.double()).dtype == torch.float64


def test_no_pixel():
    for function in (dynamic_soft_label, top_k_soft_label):
        assert function(torch.zeros(0, 7, 4, 4)).shape == (0, 7, 4, 4)


def student_loss(soft_label):
    """Soft cross entropy of the two pixels of the hand-worked vectors."""
    teacher = torch.tensor([(0.96, 0.02, 0.01, 0.01), (0.5, 0.3, 0.16, 0.04)])
    student = torch.tensor([(0.7, 0.1, 0.1, 0.1), (0.4, 0.4, 0.1, 0.1)])
    teacher, logits = (x.log().T[None, :, None] for x in (teacher, student))
    logits.requires_grad_()
    pseudo = pseudo_label(teacher, keep_probs=True)
    pseudo = pseudo._replace(probs=soft_label(pseudo.probs))
    loss = pseudo_label_loss(logits, pseudo, pixel_weights(pseudo))
    loss.backward()
    return loss.item(), logits, pseudo.probs


@pytest.mark.parametrize(
    ('soft_label', 'expected'),
    [
        (dynamic_soft_label, 0.752007),
        (lambda p: top_k_soft_label(p, 1), 0.636483),
        (lambda p: top_k_soft_label(p, 2), 0.656339),
    ],
)
def test_soft_cross_entropy_by_hand(soft_label, expected):
    loss, logits, label = student_loss(soft_label)
    assert loss == pytest.approx(expected, abs=1e-6)
    # the gradient of a cross entropy: (softmax - label) / number of pixels
    assert_close(logits.grad, (logits.softmax(1) - label).detach() / 2)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    teacher, student = torch.randn(2, 2, 5, 2, 3, dtype=torch.float64)
    pseudo = pseudo_label(teacher, keep_probs=True)
    label = dynamic_soft_label(pseudo.probs.double(), 0.8)

    def loss(logits):
        return -(label * logits.log_softmax(1)).sum(1).mean()

    student.requires_grad_()
    assert torch.autograd.gradcheck(loss, (student,))
    pseudo = pseudo._replace(probs=label)
    own = pseudo_label_loss(student, pseudo, pixel_weights(pseudo))
    assert own.item() == pytest.approx(loss(student).item(), rel=1e-6)


def test_softening_and_mixing_commute():
    probs = random_probs(3, 5).float()
    mask, partner = cutmix_masks(2, 3, 4), torch.tensor([1, 0])
    assert_close(
        mix(mask, partner, dynamic_soft_label(probs, 0.9)),
        dynamic_soft_label(mix(mask, partner, probs), 0.9),
    )


@pytest.mark.parametrize(
    ('call', 'rule'),
    [
        (lambda p: dynamic_soft_label(p, -0.1), 'top_p must be >= 0, but got -0.1'),
        (lambda p: dynamic_soft_label(p, math.nan), 'top_p must be >= 0, but got nan'),
        (lambda p: dynamic_soft_label(p, 1, 'last'), "ties must .* but got 'last'"),
        (lambda p: top_k_soft_label(p, 0), 'top_k must be an integer >= 1, but got 0'),
        (lambda p: top_k_soft_label(p, 2.0), 'top_k must be an integer .* got 2.0'),
        (lambda p: dynamic_soft_label(p[0, 0]), r'\(N, C, ...\) floats, but got \(3,'),
        (lambda p: dynamic_soft_label(p.long()), 'floats, but got .* torch.int64'),
    ],
)
def test_bad_settings_are_named(call, rule):
    with pytest.raises(ValueError, match=rule):
        call(torch.rand(1, 2, 3))


class Sums(TorchDispatchMode):
    """Types of what is summed up."""

    def __init__(self):
        super().__init__()
        self.dtypes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if 'cumsum' in func.overloadpacket.__name__:
            self.dtypes += [args[0].dtype, found.dtype]
        return found


def test_off_the_cpu_no_floats_are_summed_up(monkeypatch):
    """PyTorch refuses that on a GPU under `use_deterministic_algorithms`."""
    monkeypatch.setattr(soft_label_module, 'on_cpu', lambda rows: False)
    with Sums() as seen:
        dynamic_soft_label(torch.rand(2, 5, 3, 3).softmax(1))
    assert set(seen.dtypes) == {torch.int32}


@pytest.mark.parametrize('ties', ['all', 'first'])
@pytest.mark.parametrize('classes', [2, 21, 150])
def test_off_the_cpu_labels_are_the_same(classes, ties, monkeypatch):
    g = torch.Generator().manual_seed(0)
    probs = (4 * torch.randn(50, classes, generator=g)).softmax(1)
    expected = dynamic_soft_label(probs, ties=ties)
    monkeypatch.setattr(soft_label_module, 'on_cpu', lambda rows: False)
    assert dynamic_soft_label(probs, ties=ties).equal(expected)
