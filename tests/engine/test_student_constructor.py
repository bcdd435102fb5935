"""Layer-wise decay: each student has the groups of a plain segmentor."""

import copy

import pytest
import torch
from helpers import build, student_cfg
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmsemiseg.engine.student_constructor import by_student

BEIT = dict(
    type='BEiT',
    img_size=(32, 32),
    patch_size=8,
    embed_dims=16,
    num_layers=3,
    num_heads=2,
    out_indices=(2,),
    qv_bias=True,
    init_values=0.1,
)
OPTIMIZERS = {
    'new': dict(
        constructor='LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(decay_rate=0.5, decay_type='layer_wise', num_layers=3),
    ),
    'old': dict(
        constructor='LayerDecayOptimizerConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.5, num_layers=3),
    ),
}
pytestmark = pytest.mark.filterwarnings('ignore:DeprecationWarning')


def student():
    head = dict(in_channels=16, in_index=0)
    return dict(student_cfg(decode_head=head), backbone=copy.deepcopy(BEIT))


def wrapper(name, wrap=dict):
    optimizer = dict(type='AdamW', lr=0.1, weight_decay=0.05)
    return wrap(dict(type='OptimWrapper', optimizer=optimizer, **OPTIMIZERS[name]))


def groups(model, cfg):
    """Group's name -> (learning rate, weight decay, names of parameters)."""
    found = []
    built = build_optim_wrapper(model, copy.deepcopy(cfg))
    for group in built.optimizer.param_groups:
        ids = {id(param) for param in group['params']}
        assert len(ids) == len(group['params'])
        names = sorted(n for n, p in model.named_parameters() if id(p) in ids)
        name = group.get('group_name')
        found.append((name, group['lr'], group['weight_decay'], names))
    return found


def renamed(found, prefix):
    return [(*rest, [prefix + name for name in names]) for *rest, names in found]


@pytest.mark.parametrize('wrap', [dict, ConfigDict])
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_the_groups_are_those_of_the_plain_student(name, wrap):
    model = build(dict(type='MeanTeacher', student=student()))
    cfg = wrapper(name, wrap)
    before = copy.deepcopy(cfg)
    expected = groups(build(student()), cfg)
    assert len({rate for _, rate, *_ in expected}) == 5
    found = groups(model, by_student(cfg, model))
    assert found == renamed(expected, 'pairs.0.student.')
    assert cfg == before


def test_two_pairs_and_other_parts():
    pairs = dict(type='MeanTeacher', student=student())
    model = build(pairs)
    model.pairs.append(build(pairs).pairs[0])
    model.projector = nn.Linear(4, 4)
    cfg = wrapper('new')
    expected = groups(build(student()), cfg)
    *students, others = groups(model, by_student(cfg, model))
    assert students == [
        *renamed(expected, 'pairs.0.student.'),
        *renamed(expected, 'pairs.1.student.'),
    ]
    names = ['projector.bias', 'projector.weight']
    assert others == ('others', 0.1, 0.05, names)


def test_frozen_parameters_are_left_out():
    model = build(dict(type='MeanTeacher', student=student()))
    model.student.backbone.patch_embed.requires_grad_(False)
    found = groups(model, by_student(wrapper('new'), model))
    held = [name for *_, names in found for name in names]
    assert held and not any('patch_embed' in name for name in held)


def test_an_unknown_backbone_is_named():
    model = build(dict(type='MeanTeacher', student=student_cfg()))
    with pytest.raises(ValueError, match=r'backbone ResNetV1c of student 0.*BEiT'):
        build_optim_wrapper(model, by_student(wrapper('new'), model))


def test_plain_models_and_other_constructors_keep_their_config():
    model = build(dict(type='MeanTeacher', student=student()))
    cfg = wrapper('new')
    assert by_student(cfg, model.student) is cfg
    plain = dict(optimizer=dict(type='SGD', lr=0.1))
    assert by_student(plain, model) is plain
    default = dict(plain, constructor='DefaultOptimWrapperConstructor')
    assert by_student(default, model) is default
    built = build_optim_wrapper(model, plain)
    assert by_student(built, model) is built


def test_a_missing_name_is_an_error():
    model = build(dict(type='MeanTeacher', student=student()))
    cfg = dict(wrapper('new'), constructor='StudentConstructor')
    with pytest.raises(ValueError, match="as 'constructor', but has"):
        build_optim_wrapper(model, cfg)
    cfg['paramwise_cfg'] = dict(
        cfg['paramwise_cfg'], constructor='LearningRateDecayOptimizerConstructor'
    )
    assert torch.is_tensor(build_optim_wrapper(model, cfg).param_groups[0]['params'][0])
