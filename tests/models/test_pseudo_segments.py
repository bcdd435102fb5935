"""Segments of a teacher's queries, by class and by query, mixed ones too."""

import pytest
import torch

from mmsemiseg.functional import mix
from mmsemiseg.models import QuerySegments, SemanticSegments
from mmsemiseg.models.segment_map import SegmentMap


def example(seed=0, queries=5, classes=3, size=(6, 8)):
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(2, queries, classes + 1, generator=generator)
    masks = 4 * torch.randn(2, queries, *size, generator=generator)
    valid = torch.ones(2, *size, dtype=torch.bool)
    valid[0, :, 6:] = False
    return scores, masks, valid


def semantic(scores, masks):
    shares = scores.softmax(-1)[..., :-1]
    return torch.einsum('nqc,nqhw->nchw', shares, masks.sigmoid()).argmax(1)


@pytest.mark.parametrize('seed', range(3))
def test_semantic_segments_are_the_classes_of_the_label_map(seed):
    scores, masks, valid = example(seed)
    part = SemanticSegments(min_area=4)
    segments, counts = part.cut(part(scores, masks, valid))
    assert torch.equal(counts, valid)
    label = semantic(scores, masks)
    for n in range(2):
        expected = {}
        for c in range(3):
            mask = (label[n] == c) & valid[n]
            if mask.sum() >= 4:
                expected[c] = mask
        exists = segments.exists[n]
        assert segments.label[n, exists].tolist() == list(expected)
        for mask, wanted in zip(
            segments.masks[n, exists], expected.values(), strict=True
        ):
            assert torch.equal(mask, wanted)


def test_query_segments_may_share_a_class():
    scores = torch.tensor([[[5.0, 0, 0], [4.0, 0, 0], [0, 0, 9.0], [0, 3.0, 0]]])
    masks = torch.full((1, 4, 2, 4), -5.0)
    masks[0, 0, :, 0] = masks[0, 1, :, 1] = 5
    masks[0, 2, :, 2] = masks[0, 3, 0, 3] = 5  # query 2 is no object
    part = QuerySegments(min_area=2)
    found = part(scores, masks, torch.ones(1, 2, 4, dtype=torch.bool))
    assert found.number[0, 0].tolist() == [0, 1, 0, 3]
    assert found.classes.tolist() == [0, 0, 2, 1]
    segments, _ = part.cut(found)
    assert segments.label.tolist() == [[0, 0]]
    assert segments.masks[0].sum((1, 2)).tolist() == [4 + 1, 2]


@pytest.mark.parametrize('kind', [SemanticSegments, QuerySegments])
def test_segments_do_not_overlap_and_keep_to_valid_pixels(kind):
    part = kind(min_area=1)
    scores, masks, valid = example()
    found = part(scores, masks, valid)
    segments, _ = part.cut(found)
    assert segments.masks.sum(1).max() == 1
    assert not (segments.masks & ~valid[:, None]).any()
    assert found.number[~valid].eq(-1).all()
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()
    label = found.pseudo_label().label
    assert label[~valid].eq(255).all()
    for n, c in zip(*segments.exists.nonzero().T, strict=True):
        assert label[n][segments.masks[n, c]].eq(segments.label[n, c]).all()


@pytest.mark.parametrize('kind', [SemanticSegments, QuerySegments])
def test_pixels_below_the_threshold_do_not_count(kind):
    scores, masks, valid = example()
    found = kind()(scores, masks, valid)
    threshold = found.confidence.median().item()
    segments, counts = kind(min_area=1, threshold=threshold).cut(found)
    assert torch.equal(counts, valid & (found.confidence >= threshold))
    assert torch.equal(segments.masks.any(1), counts & (found.number >= 0))


@pytest.mark.parametrize('kind', [SemanticSegments, QuerySegments])
def test_mixed_images(kind):
    """A class of both images is one segment; two queries stay two."""
    scores = torch.tensor([[[5.0, 0, 0]], [[5.0, 0, 0]]])
    masks = torch.full((2, 1, 2, 4), 5.0)
    part = kind(min_area=1)
    found = part(scores, masks, torch.ones(2, 2, 4, dtype=torch.bool))
    half = torch.zeros(2, 1, 2, 4, dtype=torch.bool)
    half[..., 2:] = True
    mixed = mix(half, torch.tensor([1, 0]), tuple(found[:3]))
    segments, _ = part.cut(SegmentMap(*mixed, found.classes))
    areas = segments.masks[0].sum((1, 2)).tolist()
    assert areas == ([8] if kind is SemanticSegments else [4, 4])
    assert segments.label[segments.exists].eq(0).all()


def test_an_image_without_any_query():
    scores, masks, valid = example()
    scores[0, :, -1] = 99
    part = QuerySegments(min_area=1)
    segments, _ = part.cut(part(scores, masks, valid))
    assert not segments.exists[0].any()
    assert segments.exists[1].any()


def test_settings():
    with pytest.raises(ValueError, match='min_area must be an integer >= 1'):
        SemanticSegments(min_area=0)
    with pytest.raises(ValueError, match='threshold must be in'):
        QuerySegments(threshold=1.5)
    kept_out = SemanticSegments(min_area=16, threshold=0.5).filters
    assert kept_out == dict(min_area=16, threshold=0.5)
    assert SemanticSegments(min_area=1).filters == {}
