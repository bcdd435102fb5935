import math

import pytest
from helpers import student_cfg
from mmengine.config import Config

from mmsemiseg.apis.config_text import foreign_types, parse_config_text


def test_reads_what_a_run_writes():
    settings = dict(
        model=dict(type='SupOnly', student=student_cfg()),
        paramwise_cfg=dict(custom_keys={'.cls': dict(lr_mult=10), 'head': {}}),
        scale=[(1, -1), (2.5, None)],
        nested=[[dict(prob=0.5)], [True]],
        words='it\'s "quoted"\nand long',
        empty=dict(),
        nothing=None,
    )
    text = Config(settings).pretty_text
    assert parse_config_text(text) == Config(settings).to_dict()
    assert parse_config_text('a = dict(b=-inf)')['a']['b'] == -math.inf


@pytest.mark.parametrize(
    'text',
    [
        "a = __import__('os').system('false')",
        'import os\na = 1',
        "print('hello')",
        'a = [b for b in (1, 2)]',
        'a = dict(**other)',
        'a = {**other}',
        'a.b = 1',
        'a = 1 + 1',
    ],
)
def test_refuses_what_is_no_plain_value(text):
    with pytest.raises(ValueError, match='line 1'):
        parse_config_text(text)


def test_refuses_what_is_no_python():
    with pytest.raises(ValueError, match='no Python text'):
        parse_config_text('a = = 1')


def test_types_that_only_an_import_would_find():
    cfg = dict(
        type='mmseg.EncoderDecoder',
        head=[dict(type='mmdet.DiceLoss'), dict(type='mmsemiseg.models.SupOnly')],
        neck=dict(type='subprocess.Popen', args=['false']),
    )
    assert foreign_types(cfg) == ['subprocess.Popen']
