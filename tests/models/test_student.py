"""What the losses of a student need, and which ones are refused."""

import copy

import pytest
import torch
from helpers import WEIGHTS_IGNORED, batch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from torch import nn
from torch.testing import assert_close
from zoo import CLASSES, FCN, ZOO, encoder_decoder
from zoo_models import build

from mmsemiseg.models import SegmentorAdapter
from mmsemiseg.models.student import check_labels, check_losses

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


@pytest.mark.parametrize('where', ['decode_head', 'auxiliary_head', 'ocr', 'knet'])
def test_class_weight_with_avg_non_ignore_is_refused(where):
    loss = {
        'type': 'CrossEntropyLoss',
        'class_weight': [1.0] * CLASSES,
        'avg_non_ignore': True,
    }
    bad = {**FCN, 'loss_decode': [{'type': 'CrossEntropyLoss'}, loss]}
    config, name = copy.deepcopy(ZOO['fcn']), r'decode_head\.loss_decode\.1 of FCNHead'
    if where == 'decode_head':
        config['decode_head'] = bad
    elif where == 'auxiliary_head':
        config['auxiliary_head'] = [FCN, bad]
        name = r'auxiliary_head\.1\.loss_decode\.1 of FCNHead'
    elif where == 'ocr':
        config = copy.deepcopy(ZOO['ocrnet'])
        config['decode_head'][1]['loss_decode'] = loss
        name = r'decode_head\.1\.loss_decode of OCRHead'
    else:
        config = copy.deepcopy(ZOO['knet'])
        config['decode_head']['kernel_generate_head'] = bad
        name = r'decode_head\.kernel_generate_head\.loss_decode\.1 of FCNHead'
    with pytest.raises(ValueError, match=rf'{name}.*avg_non_ignore=False'):
        check_losses(build(config))


@pytest.mark.parametrize(
    'settings',
    [
        {'avg_non_ignore': True},
        {'class_weight': [1.0] * CLASSES},
    ],
)
def test_working_losses_pass(settings):
    loss = {'type': 'CrossEntropyLoss', **settings}
    segmentor = build(encoder_decoder({**FCN, 'loss_decode': loss}))
    assert check_losses(segmentor) is None
    label = torch.randint(CLASSES, (2, 4, 4))
    label[0, 0] = 255 if WEIGHTS_IGNORED else 0
    value = segmentor.decode_head.loss_decode(
        torch.randn(2, CLASSES, 4, 4), label, ignore_index=255
    )
    assert value.isfinite()


def test_the_refused_loss_really_raises_and_the_advice_is_the_weighted_mean():
    weight, logits = [1.0, 2.0, 3.0, 4.0, 5.0], torch.randn(2, CLASSES, 4, 4)
    label = torch.randint(CLASSES, (2, 4, 4))
    label[0, 0] = 255
    settings = {'type': 'CrossEntropyLoss', 'class_weight': weight}
    broken = MODELS.build({**settings, 'avg_non_ignore': True})
    with pytest.raises(IndexError):
        broken(logits, label, ignore_index=255)
    advised = MODELS.build({**settings, 'avg_non_ignore': False})
    if not WEIGHTS_IGNORED:
        with pytest.raises(IndexError):
            advised(logits, label, ignore_index=255)
        return
    expected = nn.functional.cross_entropy(
        logits, label, torch.tensor(weight), ignore_index=255
    )
    assert_close(advised(logits, label, ignore_index=255), expected)
