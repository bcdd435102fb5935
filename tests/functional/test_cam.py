import pytest
import torch
from torch.testing import assert_close

from mmsemiseg.functional import cam_masks, normalised_cam


def random_scores(seed, shape=(3, 4, 5, 6)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator)


@pytest.mark.parametrize('seed', range(5))
def test_maps_against_loops(seed):
    scores = random_scores(seed)
    present = random_scores(seed + 50, (3, 4)) > 0
    found = normalised_cam(scores, present)
    for image in range(3):
        for c in range(4):
            highest = max(scores[image, c].max().item(), 0)
            for pixel, value in zip(
                found[image, c].flatten(), scores[image, c].flatten(), strict=True
            ):
                wanted = 0.0
                if present[image, c] and value > 0:
                    wanted = value.item() / highest
                assert pixel.item() == pytest.approx(wanted)


def test_a_map_without_positive_scores_is_zero():
    scores = -random_scores(0).abs()
    found = normalised_cam(scores, torch.ones(3, 4, dtype=torch.bool))
    assert_close(found, torch.zeros_like(found))


@pytest.mark.parametrize('background_label', [0, 4, None])
@pytest.mark.parametrize('thresholds', [(0.3, 0.05), (0.5, 0.5), (0.9, 0.0)])
def test_masks_against_loops(thresholds, background_label):
    foreground, background = thresholds
    cam = random_scores(1, (2, 3, 8, 8)).abs() / 2
    labels = torch.tensor([2, 7, 1])
    found = cam_masks(cam, labels, foreground, background, background_label)
    kinds = set()
    for image in range(2):
        for row in range(8):
            for col in range(8):
                values = cam[image, :, row, col].tolist()
                wanted, kind = 255, 'between'
                if max(values) > foreground:
                    wanted = labels[values.index(max(values))].item()
                    kind = 'class'
                elif max(values) < background:
                    wanted = 255 if background_label is None else background_label
                    kind = 'background'
                assert found[image, row, col] == wanted
                kinds.add(kind)
    assert 'class' in kinds and len(kinds) >= 2


def test_thresholds_themselves_are_between():
    cam = torch.tensor([0.25, 0.5]).view(1, 1, 1, 2)
    assert cam_masks(cam, torch.tensor([3]), 0.5, 0.25).unique().tolist() == [255]


def test_no_tag_is_background_everywhere():
    cam = normalised_cam(random_scores(2), torch.zeros(3, 4, dtype=torch.bool))
    mask = cam_masks(cam, torch.tensor([1, 2, 3, 4]))
    assert mask.dtype == torch.int64
    assert mask.eq(0).all()


@pytest.mark.parametrize('bad', [(0.1, 0.2), (1.1, 0.2), (0.3, -0.1)])
def test_bad_thresholds(bad):
    with pytest.raises(ValueError, match='0 <= background <= foreground <= 1'):
        cam_masks(torch.zeros(1, 1, 1, 1), torch.tensor([1]), *bad)
