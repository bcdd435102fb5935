"""What regions say of their matched queries."""

import torch
from rc2l_reference import random_regions


def test_matched_masks_and_targets():
    regions = random_regions(1)
    masks = regions.mask_logits.sigmoid().flatten(2)
    valid = regions.valid.flatten(1)
    for n, row in enumerate(regions.query.tolist()):
        for s, query in enumerate(row):
            matched = query >= 0 and regions.segments.exists[n, s].item()
            assert regions.matched[n, s].item() == matched
            expected = masks[n, query] * valid[n] * matched
            assert torch.equal(regions.matched_masks[n, s], expected)
            target = regions.segments.masks[n, s].flatten() & valid[n]
            assert torch.equal(regions.targets[n, s], target.double())


def test_values_of_the_matched_queries():
    regions = random_regions(2)
    for values in (regions.class_logits, regions.mask_logits):
        found = regions.of_query(values)
        for n, row in enumerate(regions.query.tolist()):
            for s, query in enumerate(row):
                if query >= 0:
                    assert torch.equal(found[n, s], values[n, query])
