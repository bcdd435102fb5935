"""Pretrained weights of another network are an error of init_weights."""

import logging

import pytest
import torch
from helpers import build, frozen_copy, student_cfg
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmsemiseg.utils import pretrained_fit

VIT = dict(
    type='VisionTransformer',
    img_size=(32, 32),
    embed_dims=16,
    num_layers=2,
    num_heads=2,
    out_indices=(1,),
)
BACKBONES = {
    'resnet': student_cfg()['backbone'],
    'vit': VIT,
    'swin': dict(
        type='SwinTransformer',
        pretrain_img_size=32,
        embed_dims=8,
        window_size=2,
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 1, 1),
    ),
    'mit': dict(
        type='MixVisionTransformer',
        embed_dims=8,
        num_layers=[1] * 4,
        num_heads=[1] * 4,
    ),
}
WIDTH = dict(resnet=64, vit=16, swin=64, mit=8)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Backbone's name -> file of its weights, other than the first ones of a seed."""
    folder = tmp_path_factory.mktemp('weights')
    files = {}
    for name, cfg in BACKBONES.items():
        build(student_cfg())  # registers all
        torch.manual_seed(1)
        files[name] = str(folder / f'{name}.pth')
        backbone = MODELS.build(cfg)
        backbone.init_weights()
        torch.save(backbone.state_dict(), files[name])
    files['student'] = str(folder / 'student.pth')
    torch.save(
        dict(state_dict=build(student_cfg(), seed=1).state_dict()), files['student']
    )
    return files


def method(student, **settings):
    kind = dict(type='MeanTeacher', student=ConfigDict(student))
    return build(dict(kind, **settings))


def with_backbone(name, **settings):
    head = dict(
        type='FCNHead', in_channels=WIDTH[name], in_index=-1, channels=8, num_classes=3
    )
    return dict(
        student_cfg(), backbone=dict(BACKBONES[name], **settings), decode_head=head
    )


def pretrained(file, **settings):
    return dict(type='Pretrained', checkpoint=file, **settings)


@pytest.mark.parametrize('name', BACKBONES)
def test_its_own_weights_arrive(weights, name):
    model = method(with_backbone(name, init_cfg=pretrained(weights[name])))
    expected = torch.load(weights[name])
    own = model.student.backbone.state_dict()
    assert all(torch.equal(own[key], value) for key, value in expected.items())
    assert 'init_weights' not in vars(model.student.backbone)


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('old', [False, True])
def test_those_of_another_network_are_refused(weights, name, old):
    file = weights['vit' if name == 'resnet' else 'resnet']
    if old:
        student = dict(with_backbone(name), pretrained=file)
        setting = r'model\.student\.pretrained'
    else:
        student = with_backbone(name, init_cfg=pretrained(file))
        setting = r'model\.student\.backbone\.init_cfg\.checkpoint'
    with pytest.raises(
        ValueError, match=f'{setting}: {file} does not hold the weights'
    ):
        method(student)


def test_the_message_names_what_both_have(weights):
    student = with_backbone('resnet', init_cfg=pretrained(weights['vit']))
    with pytest.raises(ValueError, match=r'ResNetV1c.*stem\.0\.weight.*cls_token.* 0%'):
        method(student)


def test_a_file_that_fills_less_than_half_is_warned_of(weights, monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr(
        pretrained_fit, 'print_log', lambda text, _, level: told.append((text, level))
    )
    state = torch.load(weights['resnet'])
    part = {key: v for key, v in state.items() if not key.startswith('layer4')}
    file = str(tmp_path / 'part.pth')
    torch.save(part, file)
    method(student_cfg(backbone=dict(init_cfg=pretrained(file))))
    ((text, level),) = told
    setting = 'model.student.backbone.init_cfg.checkpoint'
    assert text.startswith(f'{setting}: {file} fills ')
    assert text.endswith('% of the ResNetV1c, the rest starts at random')
    assert level == logging.WARNING


def test_all_students_and_the_whole_student_are_checked(weights):
    model = method(dict(student_cfg(), init_cfg=pretrained(weights['student'])))
    expected = torch.load(weights['student'])['state_dict']
    assert all(
        torch.equal(v, expected[k]) for k, v in frozen_copy(model.teacher).items()
    )
    with pytest.raises(
        ValueError, match=r'model\.student\.init_cfg\.checkpoint: .*vit'
    ):
        method(dict(student_cfg(), init_cfg=pretrained(weights['vit'])))


def test_both_a_backbone_and_its_student_may_be_pretrained(weights):
    student = with_backbone('resnet', init_cfg=pretrained(weights['resnet']))
    student = dict(student_cfg(backbone=student['backbone']))
    student['init_cfg'] = pretrained(weights['student'])
    model = method(student)
    expected = torch.load(weights['student'])['state_dict']
    assert torch.equal(
        model.student.backbone.stem[0].weight, expected['backbone.stem.0.weight']
    )


def test_a_prefix(weights):
    file = weights['student']
    head = dict(init_cfg=pretrained(file, prefix='decode_head.'))
    model = method(student_cfg(decode_head=head))
    expected = torch.load(file)['state_dict']
    key = 'decode_head.conv_seg.weight'
    assert torch.equal(model.student.state_dict()[key], expected[key])

    head = dict(init_cfg=pretrained(file, prefix='other.'))
    message = r"decode_head\.init_cfg\.checkpoint: .*nothing below the prefix 'other\.'"
    with pytest.raises(ValueError, match=message):
        method(student_cfg(decode_head=head))


def test_weights_without_variety_are_compared_too(tmp_path):
    model = build(student_cfg())
    zeros = {key: torch.zeros_like(v) for key, v in model.backbone.state_dict().items()}
    torch.save(zeros, tmp_path / 'zeros.pth')
    init = pretrained(str(tmp_path / 'zeros.pth'))
    student = method(student_cfg(backbone=dict(init_cfg=init))).student
    assert student.backbone.stem[0].weight.abs().sum() == 0
