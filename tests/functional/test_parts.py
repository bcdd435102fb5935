import pytest
import torch
import torch.nn.functional as F
from no_sync import NoHostSync
from torch.testing import assert_close

from mmsemiseg.functional import assign_parts, at_cells, part_sums


def at_full_resolution(features, prototypes, label, known, align_corners):
    """Equation (7) as it is written: features enlarged, cosine with each part."""
    features = F.interpolate(
        features, label.shape[1:], mode='bilinear', align_corners=align_corners
    )
    group = torch.full_like(label, -1)
    classes, parts, _ = prototypes.shape
    for n, y, x in (label >= 0).nonzero().tolist():
        c = label[n, y, x].item()
        if c >= classes or not known[c].any():
            continue
        cosine = F.cosine_similarity(features[n, :, y, x], prototypes[c], dim=1)
        cosine[~known[c]] = -2
        group[n, y, x] = c * parts + cosine.argmax()
    return group


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('classes', 'parts'), [(2, 1), (2, 5), (3, 4), (150, 2)])
def test_equals_the_full_resolution_form(classes, parts, align_corners):
    for seed in range(4):
        g = torch.Generator().manual_seed(seed)
        features = torch.randn(2, 6, 3, 4, generator=g)
        prototypes = (
            5
            * torch.rand(classes, parts, 1, generator=g)
            * torch.randn(classes, parts, 6, generator=g)
        )
        label = torch.randint(-1, classes + 1, (2, 11, 13), generator=g)
        label[label == classes] = 255
        known = torch.rand(classes, parts, generator=g) < 0.8
        expected = at_full_resolution(features, prototypes, label, known, align_corners)
        args = features, prototypes
        for grid in ((11, 13), (5, 6), (3, 4)):
            found = assign_parts(
                *args, at_cells(label, grid), (11, 13), known, align_corners
            )
            assert found.equal(at_cells(expected, grid))
        everything = torch.ones_like(known)
        assert assign_parts(*args, label, (11, 13)).equal(
            assign_parts(*args, label, (11, 13), everything)
        )


def vectors():
    """The hand-worked case: two classes with two parts, five pixels."""
    prototypes = torch.tensor([[[1.0, 0], [0, 1]], [[-1, 0], [0, -1]]])
    pixels = torch.tensor([(2, 1), (1, 3), (-1, -0.5), (0.2, -4), (3, 0)])
    label = torch.tensor([0, 0, 1, 1, 0]).view(1, 1, 5)
    return pixels.T[None, :, None], prototypes, label


def test_parts_and_means_by_hand():
    features, prototypes, label = vectors()
    group = assign_parts(features, prototypes, label, (1, 5))
    assert group.flatten().tolist() == [0, 1, 2, 3, 0]
    embedding = torch.arange(1.0, 11).view(5, 2).T[None, :, None]
    sums, count = part_sums(embedding, group, 4)
    assert (sums / count[..., None])[0].tolist() == [[5, 6], [3, 4], [5, 6], [7, 8]]


def test_unknown_classes_have_no_part_and_unknown_parts_no_cell():
    features, prototypes, label = vectors()
    known = torch.tensor([[True, False], [False, False]])
    group = assign_parts(features, prototypes, label, (1, 5), known)
    assert group.flatten().tolist() == [0, 0, -1, -1, 0]


@pytest.mark.parametrize('seed', range(4))
def test_sums_equal_loops(seed):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(3, 4, 2, 5, generator=g)
    group = torch.randint(-2, 9, (3, 2, 5), generator=g)
    sums, count = part_sums(features, group, 7)
    for n in range(3):
        for part in range(7):
            own = [features[n, :, y, x] for y, x in (group[n] == part).nonzero()]
            assert count[n, part] == len(own)
            assert_close(sums[n, part], sum(own, torch.zeros(4)))


def test_no_image_no_gradient_and_fp32():
    features, prototypes, label = vectors()
    features.requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        group = assign_parts(features, prototypes, label, (1, 5))
        sums, _ = part_sums(features.bfloat16(), group, 4)
    assert group.flatten().tolist() == [0, 1, 2, 3, 0]
    assert sums.dtype == torch.float32
    assert not sums.requires_grad
    nothing = features[:0], prototypes, label[:0]
    assert assign_parts(*nothing, (1, 5)).shape == (0, 1, 5)
    assert part_sums(features[:0], label[:0], 4)[0].shape == (0, 4, 2)


def test_no_host_sync():
    features, prototypes, label = vectors()
    known = torch.ones(2, 2, dtype=torch.bool)
    with NoHostSync():
        group = assign_parts(features, prototypes, label, (1, 5), known)
        part_sums(features, group, 4)


def test_scores_are_no_convolution():
    """Which a GPU may round to TF32."""
    pixels, prototypes, label = vectors()
    with NoHostSync() as seen:
        assign_parts(pixels, prototypes, label, (1, 5))
    assert not any('conv' in name for name in seen.ops)
