"""Heads that cannot be students are refused before anything is built."""

import sys

import pytest
from helpers import student_cfg
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules
from op_heads import needs_ops
from torch import nn

from mmsemiseg.models.head_rules import check_head_config

METHOD = dict(type='MeanTeacher')


@pytest.fixture(autouse=True, scope='module')
def mmseg_modules():
    register_all_modules()


@MODELS.register_module()
class _NeedsOperators(nn.Module):
    def __init__(self, **settings):
        raise RuntimeError('Please install the compiled operators')


@pytest.mark.parametrize(
    'kind', ['_NeedsOperators', 'SideAdapterCLIPHead', 'VPDDepthHead']
)
@pytest.mark.parametrize('cascade', [False, True])
def test_the_head_is_named_and_no_operators(kind, cascade):
    student = student_cfg()
    head = dict(type=kind)
    student['decode_head'] = [student['decode_head'], head] if cascade else head
    student['backbone'] = dict(type='_NeedsOperators')
    with pytest.raises(ValueError, match=f'decode_head {kind} is not supported'):
        MODELS.build(dict(METHOD, student=student))


@pytest.mark.parametrize('kind', ['MaskFormerHead', 'Mask2FormerHead'])
def test_a_mask_head_says_what_to_install(kind, monkeypatch):
    """MMSegmentation's class derives from BaseModule where mmdet cannot be imported."""
    empty = type(kind, (BaseModule,), {})
    monkeypatch.setitem(MODELS.module_dict, kind, empty)
    student = dict(student_cfg(), decode_head=dict(type=kind))
    message = f'decode_head {kind} builds on mmdet, .*{kind}.*Install mmdet and mmcv'
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(METHOD, student=student))


@needs_ops
def test_a_mask_head_names_the_module_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet.models', None)
    student = dict(student_cfg(), decode_head=dict(type='MaskFormerHead'))
    message = r'builds on mmdet.*mmdet.models.*Install mmdet and mmcv'
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(METHOD, student=student))


def test_a_head_that_another_type_builds():
    head = dict(type='ElementDropoutHead', head='_NeedsOperators')
    with pytest.raises(ValueError, match='decode_head _NeedsOperators is not'):
        check_head_config(dict(decode_head=head))


def test_what_is_not_registered_is_left_to_the_build():
    assert check_head_config(dict(decode_head=dict(type='Unknown'))) is None
    assert check_head_config(dict()) is None


def test_one_class_says_what_to_do():
    student = ConfigDict(student_cfg(decode_head=dict(num_classes=1)))
    message = (
        r'FCNHead has num_classes=1, one output channel.*set out_channels=2 and '
        r'num_classes=2 \(masks: 0 background, 1 foreground\)'
    )
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(METHOD, student=student))
