import copy

import pytest
import torch
from helpers import build, student_cfg
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import accuracy
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmsemiseg.models.head_losses import pixel_accuracy, speed_up_losses
from mmsemiseg.models.student import build_student

CROSS_ENTROPY = dict(type='CrossEntropyLoss')
LOSSES = {
    'one': CROSS_ENTROPY,
    'several': [CROSS_ENTROPY, dict(type='DiceLoss', loss_name='loss_dice')],
    'of one name': [CROSS_ENTROPY, dict(type='CrossEntropyLoss', loss_weight=0.5)],
}


def samples(label):
    return [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in label]


def pair(**head):
    """The same head with MMSegmentation's loss and with the fast one."""
    plain = build(student_cfg(decode_head=head)).decode_head
    fast = copy.deepcopy(plain)
    speed_up_losses(fast)
    assert type(fast) is not type(plain)
    return plain, fast


def labels(classes, ignored=True):
    label = torch.randint(0, classes, (2, 16, 20))
    if ignored:
        label[:, :5] = 255
    return label


@pytest.mark.parametrize('name', list(LOSSES))
@pytest.mark.parametrize('align_corners', [False, True])
def test_values_and_gradients_are_those_of_mmseg(name, align_corners):
    plain, fast = pair(loss_decode=LOSSES[name], align_corners=align_corners)
    logits = torch.randn(2, plain.num_classes, 4, 5, requires_grad=True)
    data = samples(labels(plain.num_classes))
    found, expected = (head.loss_by_feat(logits, data) for head in (fast, plain))
    assert found.keys() == expected.keys()
    for key in expected:
        assert_close(found[key], expected[key])
    grads = [
        torch.autograd.grad(sum(v for k, v in x.items() if 'loss' in k), logits)[0]
        for x in (found, expected)
    ]
    assert_close(*grads)


def test_the_sampler_of_hard_pixels_is_asked():
    sampler = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=50)
    plain, fast = pair(sampler=sampler, loss_decode=CROSS_ENTROPY)
    logits = 3 * torch.randn(2, plain.num_classes, 4, 5)
    data = samples(labels(plain.num_classes))
    found, expected = (head.loss_by_feat(logits, data) for head in (fast, plain))
    assert_close(found['loss_ce'], expected['loss_ce'])
    unsampled, _ = pair(loss_decode=CROSS_ENTROPY)
    without = unsampled.loss_by_feat(logits, data)['loss_ce']
    assert not without.isclose(found['loss_ce'])


def test_half_precision_is_interpolated_in_float32():
    plain, fast = pair(loss_decode=CROSS_ENTROPY)
    logits = torch.randn(2, plain.num_classes, 4, 5).bfloat16()
    data = samples(labels(plain.num_classes))
    with torch.autocast('cpu', torch.bfloat16):
        found = fast.loss_by_feat(logits, data)
    expected = plain.loss_by_feat(logits.float(), data)
    assert_close(found['loss_ce'], expected['loss_ce'])


def test_accuracy_is_that_of_mmseg():
    logits, label = torch.randn(2, 5, 6, 7), torch.randint(0, 5, (2, 6, 7))
    label[0, :3] = 255
    assert_close(
        pixel_accuracy(logits, label, 255), accuracy(logits, label, 1, None, 255)
    )
    none = torch.full_like(label, 255)
    one = logits[:, :1]  # a single channel: only the first class can be right
    for scores, truth in ((logits, none), (one, label)):
        expected = accuracy(scores, truth, 1, None, 255)
        assert_close(pixel_accuracy(scores, truth, 255), expected)


def test_students_have_it_in_every_head_and_in_copies():
    student = build_student(student_cfg())
    heads = [m for m in student.modules() if isinstance(m, BaseDecodeHead)]
    assert heads
    for head in heads + [copy.deepcopy(head) for head in heads]:
        kind = type(head)
        assert kind.loss_by_feat is not BaseDecodeHead.loss_by_feat
        assert kind.__name__ == kind.__mro__[2].__name__
    kinds = [type(head) for head in heads]
    speed_up_losses(student)
    assert [type(head) for head in heads] == kinds


def test_heads_with_a_loss_of_their_own_stay():
    class Own(BaseDecodeHead):
        def forward(self, inputs):
            return inputs

        def loss_by_feat(self, seg_logits, batch_data_samples):
            return {}

    head = Own(4, 4, num_classes=2)
    speed_up_losses(head)
    assert type(head) is Own
