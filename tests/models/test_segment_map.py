"""Maps of segments: at other sizes, as labels, mixed."""

import pytest
import torch

from mmsemiseg.models.mixing import ClassMix, Mixing
from mmsemiseg.models.segment_map import SegmentMap

SIZE, IMAGE = (4, 6), (16, 24)


def example():
    """Two images with six segments, of classes 0 to 2, and padding."""
    generator = torch.Generator().manual_seed(0)
    number = torch.randint(-1, 3, (2, *SIZE), generator=generator)
    number[1] += 3 * (number[1] >= 0)
    confidence = torch.rand(2, *SIZE, generator=generator)
    valid = torch.ones(2, *SIZE, dtype=torch.bool)
    valid[0, :, 5:] = valid[1, :, :1] = False
    return SegmentMap(number, confidence, valid, torch.tensor([0, 1, 2, 2, 1, 1]))


class RightHalf(Mixing):
    def masks(self, images, pseudo, partner, num_classes):
        mask = torch.zeros_like(images[:, :1], dtype=torch.bool)
        mask[..., IMAGE[1] // 2 :] = True
        return mask


@pytest.mark.parametrize('size', [(16, 24), (15, 23), (50, 70), SIZE])
def test_a_map_at_the_size_of_the_image_and_back(size):
    found = example()
    back = found.resized(size).resized(SIZE)
    assert all(torch.equal(a, b) for a, b in zip(found, back, strict=True))


def test_the_label_of_a_pixel_is_the_class_of_its_segment():
    found = SegmentMap(
        number=torch.tensor([[[0, 1, -1, 1]]]),
        confidence=torch.full((1, 1, 4), 0.5),
        valid=torch.tensor([[[True, True, True, False]]]),
        classes=torch.tensor([7, 4]),
    )
    assert found.pseudo_label().label.tolist() == [[[7, 4, 255, 255]]]


def test_all_maps_are_mixed_by_one_mask():
    """The right half of each is that of the other image."""
    found, images = example(), torch.rand(2, 3, *IMAGE)
    features = torch.rand(2, 8, *SIZE)
    new_images, mixed, new_features = found.mixed(images, RightHalf(), 3, features)
    for new, old in (
        (new_images, images),
        (mixed.number, found.number),
        (mixed.confidence, found.confidence),
        (mixed.valid, found.valid),
        (new_features, features),
    ):
        middle = old.shape[-1] // 2
        assert torch.equal(new[..., :middle], old[..., :middle])
        assert torch.equal(new[..., middle:], old.flip(0)[..., middle:])
    assert torch.equal(mixed.classes, found.classes)
    assert {n // 3 for n in mixed.number[0].tolist()[0] if n >= 0} == {0, 1}


def test_classmix_pastes_segments():
    """Whole ones, of half of the other image's classes."""
    found = example()
    images = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, *IMAGE)
    new, mixed, _ = found.mixed(images, ClassMix(), 3)
    source = new[:, 0, ::4, ::4].long()
    for n in range(2):
        pasted = source[n] != n
        classes = found.pseudo_label().label[1 - n]
        assert len(classes[pasted].unique()) == 1
        assert torch.equal(pasted, classes == classes[pasted][0])
        assert torch.equal(mixed.number[n][pasted], found.number[1 - n][pasted])


def test_without_mixing_nothing_changes():
    found, images, features = (
        example(),
        torch.rand(2, 3, *IMAGE),
        torch.rand(2, 8, 4, 6),
    )
    assert found.mixed(images, None, 3, features) == (images, found, features)
