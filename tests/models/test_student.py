"""What the losses of PIDNet need; test_adapter.py has the checks of other losses."""

import pytest
import torch
from helpers import batch, build
from mmengine.structures import PixelData
from zoo import ZOO

from mmsemiseg.models import SegmentorAdapter
from mmsemiseg.models.student import check_labels

SIZE = (64, 96)


def edges(labeled, value=0):
    for sample in labeled.data_samples:
        sample.gt_edge_map = PixelData(data=torch.full((1, *SIZE), value))
    return labeled


def test_edge_maps_of_pidnet():
    net, labeled = build(ZOO['pidnet']).train(), batch(2, size=SIZE)
    message = r"PIDHead \(PIDNet\) learns edges.*0.png comes.*type='GenerateEdge'"
    with pytest.raises(ValueError, match=message):
        SegmentorAdapter(net).loss(net, *labeled)
    assert check_labels(net, edges(labeled).data_samples) is None
    losses, _ = SegmentorAdapter(net).loss(net, *labeled)
    assert 'decode.loss_bd' in losses


@pytest.mark.parametrize('count', [0, 3, 4])
def test_losses_of_pidnet(count):
    """With the ignored label, CrossEntropyLoss would raise an IndexError."""
    kind = dict(type='CrossEntropyLoss')
    losses = [kind] * count if count else kind
    student = dict(ZOO['pidnet'])
    student['decode_head'] = dict(student['decode_head'], loss_decode=losses)
    with pytest.raises(ValueError, match='must have four losses .* OhemCrossEntropy'):
        build(dict(type='SupOnly', student=student))
