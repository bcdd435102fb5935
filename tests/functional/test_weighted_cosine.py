import pytest
import torch
import torch.nn.functional as F

from mmsemiseg.functional import weighted_cosine


def pairwise(features, group, keys, filled, weights=None, key_weights=None):
    """Equations (8) to (11), class by class, with the M x N matrix."""
    total = features.sum() * 0
    for c in range(len(keys)):
        p, z = features[group == c], keys[c][filled[c]]
        if len(p) < 2 or len(z) < 2:
            continue
        s = torch.ones(len(p)) if weights is None else weights[group == c]
        t = torch.ones(len(z)) if key_weights is None else key_weights[c][filled[c]]
        w, u = s * len(p) / s.sum(), t * len(z) / t.sum()
        distance = 1 - F.normalize(p, dim=1) @ F.normalize(z, dim=1).T
        total = total + (w[:, None] * u * distance).mean()
    return total / len(keys)


@pytest.fixture
def vectors():
    """methods.md 2.8 (b): class 2 has neither features nor keys."""
    features = torch.tensor([[1, 0], [0.6, 0.8], [2, 2], [0, 1], [-1, 1]])
    keys = torch.zeros(3, 3, 2)
    keys[0, :2] = torch.tensor([[3.0, 0], [0, 2]])
    keys[1] = torch.tensor([[0.0, 1], [-2, 0], [1, 1]])
    filled = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0]]).bool()
    weights = torch.tensor([0.9, 0.5, 0.4, 0.6, 0.2])
    key_weights = torch.tensor([[0.8, 0.4, 9], [0.3, 0.3, 0.9], [9, 9, 9]])
    group = torch.tensor([0, 0, 0, 1, 1])
    return (features, group, keys, filled), weights, key_weights


def test_vectors(vectors):
    args, weights, key_weights = vectors
    got = [
        weighted_cosine(*args, weights, key_weights),
        weighted_cosine(*args, weights),
        weighted_cosine(*args),
    ]
    expected = torch.tensor([0.261813, 0.284598, 0.281359])
    torch.testing.assert_close(torch.stack(got), expected, atol=1e-6, rtol=0)


def random_case(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(shape, generator=generator, dtype=dtype)

    classes, size, dim = 1 + seed % 5, 2 + seed % 4, 3
    n = 7 * seed % 23
    group = torch.randint(-1, classes + 2, (n,), generator=generator)
    group[group > classes] = 255
    filled = torch.arange(size) < torch.randint(
        size + 1, (classes, 1), generator=generator
    )
    tensors = dict(
        features=uniform(n, dim) - 0.5,
        weights=uniform(n),
        keys=uniform(classes, size, dim) - 0.5,
        key_weights=uniform(classes, size),
    )
    return {k: v.requires_grad_() for k, v in tensors.items()}, group, filled


@pytest.mark.parametrize('seed', range(30))
def test_equals_pairwise_with_all_gradients(seed):
    tensors, group, filled = random_case(seed)
    results = []
    for function in (pairwise, weighted_cosine):
        loss = function(
            tensors['features'],
            group,
            tensors['keys'],
            filled,
            tensors['weights'],
            tensors['key_weights'],
        )
        grads = torch.autograd.grad(
            loss, list(tensors.values()), allow_unused=True, materialize_grads=True
        )
        results.append((loss, *grads))
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-10, rtol=1e-8)


def test_gradcheck():
    tensors, group, filled = random_case(13)

    def loss(features, weights, keys, key_weights):
        return weighted_cosine(features, group, keys, filled, weights, key_weights)

    assert torch.autograd.gradcheck(loss, list(tensors.values()))


@pytest.mark.parametrize('case', ['no rows', 'no keys', 'all ignored', 'one each'])
def test_empty_cases_are_zero_and_attached(case):
    n = 0 if case == 'no rows' else 4
    features = torch.randn(n, 2, requires_grad=True)
    group = torch.full((n,), 255) if case == 'all ignored' else torch.arange(n) % 4
    filled = torch.full((4, 3), case != 'no keys')
    loss = weighted_cosine(features, group, torch.randn(4, 3, 2), filled)
    assert loss == 0
    (grad,) = torch.autograd.grad(loss, features)
    assert (grad == 0).all()


def test_zero_vectors_and_vanishing_weights_are_finite():
    features = torch.zeros(4, 2, requires_grad=True)
    weights = torch.zeros(4, requires_grad=True)
    filled = torch.ones(2, 3, dtype=torch.bool)
    loss = weighted_cosine(
        features,
        torch.tensor([0, 0, 1, 1]),
        torch.zeros(2, 3, 2),
        filled,
        weights,
        torch.zeros(2, 3),
    )
    grads = torch.autograd.grad(loss, (features, weights))
    assert loss.isfinite()
    assert all(grad.isfinite().all() for grad in grads)


def test_fp32_under_autocast(vectors):
    args, weights, key_weights = vectors
    with torch.autocast('cpu', torch.bfloat16):
        loss = weighted_cosine(args[0].bfloat16(), *args[1:], weights, key_weights)
    assert loss.dtype == torch.float32
    expected = weighted_cosine(args[0].bfloat16(), *args[1:], weights, key_weights)
    assert loss == expected
