"""Copies of networks whose weights are computed in each forward."""

import copy

import pytest
import torch
from helpers import build, streams, student_cfg, total
from torch import nn

from mmsemiseg.models import Pair
from mmsemiseg.utils.copying import copy_network

NORMS = [torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm]
pytestmark = pytest.mark.filterwarnings('ignore:.*weight_norm:FutureWarning')


@pytest.mark.parametrize('norm', NORMS)
def test_a_copy_gives_the_same_and_is_its_own(norm):
    network = nn.Sequential(norm(nn.Linear(3, 4)), nn.Linear(4, 2))
    images = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    network(images)
    with pytest.raises(RuntimeError):
        copy.deepcopy(network)
    network.eval()
    twin = copy_network(network)
    assert torch.equal(twin(images), network(images))
    network(images).sum().backward()
    assert all(p.grad is None for p in twin.parameters())
    with torch.no_grad():
        for param in network.parameters():
            param += 1
    assert not torch.equal(twin(images), network(images))


def test_a_student_with_weight_norm_has_a_teacher():
    student = build(student_cfg())
    conv = student.decode_head.conv_seg
    torch.nn.utils.weight_norm(conv)
    pair = Pair(student)
    teacher = pair.teacher.decode_head.conv_seg
    before = teacher.weight_g.clone()
    with torch.no_grad():
        conv.weight_g += 1
    pair.update_teacher(0.5)
    assert torch.allclose(teacher.weight_g, before + 0.5)
    pair.copy_to_teacher()
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    student.eval()
    assert torch.equal(pair.teacher(images), student(images))


def test_a_method_with_weight_norm_learns(monkeypatch):
    def build_normed(cfg):
        student = plain(cfg)
        torch.nn.utils.weight_norm(student.decode_head.conv_seg)
        return student

    from mmsemiseg.models.segmentors import paired_segmentor

    plain = paired_segmentor.build_student
    monkeypatch.setattr(paired_segmentor, 'build_student', build_normed)
    model = build(dict(type='MeanTeacher', student=student_cfg()))
    total(model.train().loss(streams())).backward()
    assert model.student.decode_head.conv_seg.weight_g.grad.abs().sum() > 0
    assert model.teacher.decode_head.conv_seg.weight_g.grad is None
