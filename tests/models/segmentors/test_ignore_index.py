"""Heads that ignore another label than 255."""

import torch
from helpers import batch, build, student_cfg, total

from mmsemiseg.models import CMB

IGNORED = 250
SIZE = (96, 96)


def test_cmb_pads_labels_with_that_of_the_head(monkeypatch):
    """Padding of the stream and of scaling, with class weights and with vectors."""
    head = dict(ignore_index=IGNORED, loss_decode=dict(type='BalancedCrossEntropy'))
    smaller = [dict(type='BatchScaleCrop', prob=1.0, scale=(0.5, 0.6))]
    model = build(
        dict(
            type='CMB',
            student=student_cfg(decode_head=head),
            weak_augment=smaller,
            strong_augment=smaller,
            contrast=dict(start=0, candidates=dict(threshold=None, number=1, start=0)),
            class_balance=dict(labels=1, pseudo=1, start=0),
        )
    )
    monkeypatch.setattr(CMB, 'iteration', 5)
    labeled = batch(size=SIZE)
    for sample in model.weak_augment.labeled(model, labeled).data_samples:
        label, valid = sample.gt_sem_seg.data, sample.valid_map.data
        assert label[~valid].eq(IGNORED).all()
        assert label[valid].lt(3).all()
        assert not valid.all()
    valid = torch.ones(SIZE, dtype=torch.bool)
    valid[:, 60:] = False
    unlabeled = batch(2, 1, SIZE, labels=False, valid=valid)
    losses = model.loss(dict(labeled=labeled, unlabeled=unlabeled))
    assert torch.isfinite(total(losses))
    assert losses['loss_contrast'] > 0
