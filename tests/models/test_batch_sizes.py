"""Streams of one image where BatchNorm follows pooling over the whole image."""

import copy

import pytest
from helpers import build, frozen_copy, streams, student_cfg, total
from mmengine.config import ConfigDict
from op_heads import MASKS, needs_ops, op_student
from zoo import ZOO

from mmsemiseg.models.batch_sizes import single_value_norms

POOLED = {
    'psp': r'decode_head\.psp_modules\.0\.1\.bn',
    'deeplabv3': r'decode_head\.image_pool\.1\.bn',
    'deeplabv3plus': r'decode_head\.image_pool\.1\.bn',
    'upernet': r'decode_head\.psp_modules\.0\.1\.bn',
}


def method(name, kind='MeanTeacher', **settings):
    student = ConfigDict(copy.deepcopy(ZOO[name])) if name in ZOO else op_student(name)
    return build(dict(type=kind, student=student, **settings)).train()


@pytest.mark.parametrize('name', POOLED)
def test_it_is_refused_with_the_ways_out(name):
    model = method(name)
    message = (
        rf"stream 'labeled' has batch_size=1 .* decode_head \(\w+\) .*{POOLED[name]}.*"
        r'train_dataloader\.labeled\.batch_size=2.*norm_cfg.*SyncBN.*image-pooling'
    )
    with pytest.raises(ValueError, match=message):
        model.check_batch_sizes(dict(labeled=1, unlabeled=2))
    with pytest.raises(ValueError, match="stream 'unlabeled' has batch_size=1"):
        model.check_batch_sizes(dict(labeled=2, unlabeled=1))
    model.check_batch_sizes(dict(labeled=2, unlabeled=2))


@needs_ops
def test_the_head_before_points_is_seen():
    student = op_student('pointrend')
    pooled = dict(ZOO['psp']['decode_head'], in_channels=16)
    student.decode_head[0] = pooled
    model = build(dict(type='MeanTeacher', student=student)).train()
    with pytest.raises(ValueError, match=r'decode_head \(ModuleList\) .*psp_modules'):
        model.check_batch_sizes(dict(labeled=1, unlabeled=2))


@pytest.mark.parametrize(
    'name',
    [
        *(name for name in ZOO if name != 'pidnet'),
        *(pytest.param(name, marks=needs_ops) for name in (*MASKS, 'pointrend')),
    ],
)
def test_it_tells_what_a_step_on_one_image_does(name):
    model = method(name, 'SupOnly')
    labeled = dict(labeled=streams(1, (64, 96))['labeled'])
    try:
        model.check_batch_sizes(dict(labeled=1))
    except ValueError:
        with pytest.raises(ValueError, match='more than 1 value per channel'):
            model.loss(labeled)
    else:
        assert total(model.loss(labeled)) > 0


def test_it_changes_nothing():
    model = method('psp')
    model.student.backbone.eval()
    before, modes = frozen_copy(model), [m.training for m in model.modules()]
    assert single_value_norms(model.student)
    assert modes != [True] * len(modes)
    assert [m.training for m in model.modules()] == modes
    assert all(before[k].equal(v) for k, v in model.state_dict().items())
    assert not any(m._forward_pre_hooks for m in model.student.modules())


def test_streams_that_do_not_learn_may_have_one_image():
    method('psp', 'SupOnly').check_batch_sizes(dict(labeled=2, unlabeled=1))


def test_other_norms_and_frozen_ones_bear_one_image():
    norm = dict(type='GN', num_groups=2)
    student = copy.deepcopy(ZOO['psp'])
    student['decode_head']['norm_cfg'] = norm
    model = build(dict(type='MeanTeacher', student=ConfigDict(student)))
    model.check_batch_sizes(dict(labeled=1, unlabeled=1))
    frozen = method('psp')
    for module in frozen.student.decode_head.modules():
        module.train = lambda mode=True, module=module: module
        module.training = False
    frozen.check_batch_sizes(dict(labeled=1, unlabeled=1))


def test_a_pooling_auxiliary_head_runs_on_labels_alone():
    psp = dict(ZOO['psp']['decode_head'])
    student = ConfigDict(student_cfg(auxiliary_head=copy.deepcopy(psp)))
    model = build(dict(type='MeanTeacher', student=student))
    model.check_batch_sizes(dict(labeled=2, unlabeled=1))
    with pytest.raises(ValueError, match=r'auxiliary_head \(PSPHead\)'):
        model.check_batch_sizes(dict(labeled=1, unlabeled=1))


def test_augmented_copies_count_as_images():
    model = method('psp')
    model.num_augments = 2
    model.check_batch_sizes(dict(labeled=2, unlabeled=1))
