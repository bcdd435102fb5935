"""Lovasz loss with padding: mmseg's where pixels count, 0 where none does."""

import pytest
import torch
from helpers import batch, build, student_cfg, total
from mmengine.config import ConfigDict
from mmseg.models.losses import LovaszLoss
from mmseg.registry import MODELS
from torch.testing import assert_close

from mmsemiseg.models.losses import MaskedLovaszLoss

SETTINGS = {
    'batch': dict(reduction='none'),
    'image': dict(per_image=True),
    'weighted': dict(per_image=True, class_weight=[1.0, 2.0, 0.5], loss_weight=3.0),
    'sum': dict(per_image=True, reduction='sum'),
}


def example(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 3, 6, 5, generator=generator)
    label = torch.randint(3, (count, 6, 5), generator=generator)
    label[:, :, 3:] = 255
    return logits.requires_grad_(), label


@pytest.mark.parametrize('name', SETTINGS)
def test_it_is_mmsegs_where_pixels_count(name):
    logits, label = example()
    loss = MaskedLovaszLoss(**SETTINGS[name])(logits, label)
    expected = LovaszLoss(**SETTINGS[name])(logits, label)
    assert_close(loss, expected)
    assert loss > 0


@pytest.mark.parametrize('name', SETTINGS)
def test_padding_alone_is_zero(name):
    logits, label = example()
    loss = MaskedLovaszLoss(**SETTINGS[name])(logits, torch.full_like(label, 255))
    assert loss.shape == () and loss == 0
    loss.backward()
    assert logits.grad.abs().sum() == 0


def test_an_image_of_padding_counts_as_zero_in_the_mean():
    logits, label = example(2)
    label[1] = 255
    loss = MaskedLovaszLoss(per_image=True)(logits, label)
    alone = MaskedLovaszLoss(per_image=True)(logits[:1], label[:1])
    assert_close(loss, alone / 2)
    whole = MaskedLovaszLoss(reduction='none')
    assert_close(whole(logits, label), whole(logits[:1], label[:1]))


def test_one_pixel_by_hand():
    logits = torch.tensor([0.5, 0.25, 0.25]).log().view(1, 3, 1, 1).expand(1, 3, 2, 2)
    label = torch.tensor([[[0, 255], [255, 255]]])
    assert_close(MaskedLovaszLoss(reduction='none')(logits, label), torch.tensor(0.5))


def test_binary_is_mmsegs():
    logits, label = example()
    settings = dict(loss_type='binary', reduction='none')
    label = label.where(label == 255, label.clamp(max=1))
    args = logits[:, 0].contiguous(), label
    assert_close(MaskedLovaszLoss(**settings)(*args), LovaszLoss(**settings)(*args))


def test_students_take_it_by_themselves():
    cross = dict(type='CrossEntropyLoss')
    lovasz = dict(type='LovaszLoss', per_image=True)
    student = ConfigDict(student_cfg(decode_head=dict(loss_decode=[cross, lovasz])))
    model = build(dict(type='SupOnly', student=student)).train()
    data = batch(2)
    data.data_samples[0].gt_sem_seg.data[:] = 255
    losses = model.supervised_loss(data)
    assert losses['sup.decode.loss_lovasz'] > 0
    assert torch.isfinite(total(losses))
    assert student.decode_head.loss_decode[1].type == 'LovaszLoss'
    assert model.student_cfg['decode_head']['loss_decode'][1]['type'] == 'LovaszLoss'
    plain = MODELS.build(student)
    with pytest.raises(RuntimeError):  # what it mends
        plain.loss(*data)
