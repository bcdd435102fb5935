"""Every supported kind of head trains and predicts inside a method."""

import copy

import pytest
import torch
from helpers import build, streams, total
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from zoo import ZOO

SIZE = (64, 96)


@pytest.mark.parametrize('name', ZOO)
def test_mean_teacher_trains_and_predicts(name):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    cfg = dict(type='MeanTeacher', student=student, pseudo_loss=dict(threshold=0.0))
    model = build(cfg).train()
    before = {k: v.clone() for k, v in model.teacher.state_dict().items()}
    inputs = streams(size=SIZE)
    if name == 'pidnet':  # its pipelines make the map of edges from the labels
        for sample in inputs['labeled'].data_samples:
            sample.gt_edge_map = PixelData(data=sample.gt_sem_seg.data % 2)
    losses = model.loss(inputs)
    assert losses['loss_unsup'] > 0
    total(losses).backward()
    backbone = [p.grad for p in model.student.backbone.parameters()]
    assert any(grad is not None and grad.abs().sum() > 0 for grad in backbone)
    assert all(p.grad is None for p in model.teacher.parameters())
    after = model.teacher.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())

    model.update_teacher(0.9)
    model.eval()
    for network in ('student', 'teacher', 'mean'):
        results = model.predict_as(network, inputs['labeled'].inputs, None)
        assert results[0].pred_sem_seg.shape == SIZE
