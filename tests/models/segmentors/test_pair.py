"""Teachers: full copies, frozen, moved by one rule."""

import copy

import pytest
import torch
from helpers import build, frozen_copy, spread, student_cfg
from mmseg.registry import MODELS
from torch import nn
from torch.testing import assert_close

from mmsemiseg.models import Pair


class Net(nn.Module):
    """One of each: parameter, float statistics, integer buffer, without parameter."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.weight = nn.Parameter(torch.zeros(3))

    def init_weights(self):
        nn.init.constant_(self.weight, 5.0)


def net_pair(student, teacher, **settings):
    """A pair whose float tensors are `student` and `teacher` throughout."""
    pair = Pair(Net(), **settings)
    for net, value in ((pair.student, student), (pair.teacher, teacher)):
        for tensor in net.state_dict().values():
            tensor.fill_(value)
    return pair


def values(net):
    """The one value of the parameters, of the statistics, and the counter."""
    params = torch.cat([p.flatten() for p in net.parameters()]).unique()
    stats = torch.cat([net.norm.running_mean, net.norm.running_var]).unique()
    return params.tolist(), stats.tolist(), net.norm.num_batches_tracked.item()


@pytest.mark.parametrize(
    ('buffers', 'mode', 'statistics', 'counter'),
    [('copy', 'eval', 8, 8), ('average', 'eval', 5, 8), ('own', 'train', 4, 4)],
)
def test_one_update_by_hand(buffers, mode, statistics, counter):
    pair = net_pair(8, 4, buffers=buffers, mode=mode)
    pair.update_teacher(0.75)  # 0.75 * 4 + 0.25 * 8
    assert values(pair.teacher) == ([5], [statistics], counter)
    assert values(pair.student) == ([8], [8], 8)


@pytest.mark.parametrize('buffers', ['copy', 'average'])
def test_decay_0_copies(buffers):
    pair = net_pair(8, 4, buffers=buffers)
    pair.update_teacher(0.0)
    assert values(pair.teacher) == ([8], [8], 8)


def test_decay_1_keeps():
    pair = net_pair(8, 4, buffers='average')
    pair.update_teacher(1.0)
    assert values(pair.teacher) == ([4], [4], 8)


def test_many_updates_equal_the_slow_reference():
    pair = Pair(student_cfg(), buffers='average')
    spread(pair.student, seed=1)
    expected = {
        key: value.clone().double() if value.is_floating_point() else value.clone()
        for key, value in pair.teacher.state_dict().items()
    }
    for step, decay in enumerate([0.0, 0.5, 0.9, 0.99]):
        spread(pair.student, seed=2 + step)
        for key, value in pair.student.state_dict().items():
            if value.is_floating_point():
                expected[key] = decay * expected[key] + (1 - decay) * value
            else:
                expected[key] = value.clone()
        pair.update_teacher(decay)
    for key, value in pair.teacher.state_dict().items():
        assert_close(value, expected[key].to(value.dtype), msg=key)
    assert pair.steps == 4


def test_steps_are_in_the_checkpoint():
    pair = net_pair(8, 4)
    pair.update_teacher(0.5)
    pair.update_teacher(0.5)
    fresh = Pair(Net())
    fresh.load_state_dict(pair.state_dict())
    assert fresh.steps == 2
    assert values(fresh.teacher) == values(pair.teacher)


def test_a_checkpoint_without_steps_is_not_whole():
    pair = net_pair(8, 4)
    state = pair.state_dict()
    assert state['steps'].dtype == torch.long
    del state['steps']
    with pytest.raises(RuntimeError, match='Missing key.* "steps"'):
        pair.load_state_dict(state)


def test_a_copy_counts_by_itself():
    pair = net_pair(8, 4)
    pair.update_teacher(0.5)
    other = copy.deepcopy(pair)
    other.update_teacher(0.5)
    assert (pair.steps, other.steps) == (1, 2)


def test_integer_buffers_are_copied_not_averaged():
    pair = net_pair(9, 4, buffers='average')
    pair.update_teacher(0.5)
    counter = pair.teacher.norm.num_batches_tracked
    assert counter.dtype == torch.long
    assert counter.item() == 9


def test_an_update_leaves_no_graph_and_no_alias():
    pair = net_pair(8, 4)
    pair.update_teacher(0.0)
    with torch.no_grad():
        pair.student.weight += 1
        pair.student.norm.running_mean += 1
    assert values(pair.teacher) == ([8], [8], 8)
    assert all(p.grad_fn is None for p in pair.teacher.parameters())


@pytest.mark.parametrize(
    'norm_cfg',
    [
        dict(type='GN', num_groups=2),
        dict(type='IN', affine=True),
        dict(type='BN', affine=False),
    ],
    ids=str,
)
def test_other_norm_layers(norm_cfg):
    pair = Pair(student_cfg(backbone=dict(norm_cfg=norm_cfg)))
    spread(pair.student)
    pair.update_teacher(0.0)
    for key, value in pair.student.state_dict().items():
        assert torch.equal(pair.teacher.state_dict()[key], value), key


def test_the_teacher_is_a_full_copy_after_init_weights():
    pair = Pair(Net())
    pair.student.norm.running_mean.fill_(3)
    pair.student.norm.num_batches_tracked.fill_(7)
    pair.init_weights()
    assert pair.student.weight.tolist() == [5, 5, 5]
    for key, value in pair.student.state_dict().items():
        assert torch.equal(pair.teacher.state_dict()[key], value), key


def test_init_weights_reaches_a_student_inside_a_segmentor():
    model = build(dict(type='MeanTeacher', student=student_cfg()))
    weight = model.student.decode_head.conv_seg.weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.4)  # mmseg's normal init
    for key, value in model.student.state_dict().items():
        assert torch.equal(model.teacher.state_dict()[key], value), key


def test_the_teacher_is_a_full_copy_after_pretrained_loading(tmp_path):
    file = str(tmp_path / 'backbone.pth')
    source = spread(MODELS.build(student_cfg()['backbone']), seed=4)
    torch.save(frozen_copy(source), file)
    init_cfg = dict(type='Pretrained', checkpoint=file)
    student = student_cfg(backbone=dict(init_cfg=init_cfg))
    model = build(dict(type='MeanTeacher', student=student))
    for net in (model.student, model.teacher):
        loaded = net.backbone.state_dict()
        for key, value in source.state_dict().items():
            assert torch.equal(loaded[key], value), key
    head = model.student.decode_head.state_dict()
    for key, value in model.teacher.decode_head.state_dict().items():
        assert torch.equal(head[key], value), key


@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_the_mode_is_protected_from_train(mode):
    model = build(
        dict(type='MeanTeacher', student=student_cfg(), teacher={'mode': mode})
    )
    for ask, student in ((True, True), (False, False), (True, True)):
        model.train(ask)
        modes = {m.training for m in model.teacher.modules()}
        assert modes == {ask and mode == 'train'}
        assert model.student.decode_head.training is student


def test_a_teacher_is_frozen_and_a_lone_student_has_none():
    pair = Pair(Net())
    assert not any(p.requires_grad for p in pair.teacher.parameters())
    assert all(p.requires_grad for p in pair.student.parameters())
    alone = Pair(Net(), with_teacher=False)
    assert alone.teacher is None
    assert not any('teacher' in key for key in alone.state_dict())
    assert alone.train().student.training


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(mode='test'), r"mode must be in .*'eval'.* got 'test'"),
        (dict(buffers='mean'), r"buffers must be in .*'average'.* got 'mean'"),
        (dict(buffers='own'), r"mode must be 'train' with buffers='own', .* 'eval'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Pair(Net(), **settings)
