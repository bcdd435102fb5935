"""The preprocessor of a method: its own setting, or its student's."""

import logging

import pytest
from mmengine.config import ConfigDict
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS

from mmsemiseg.models import SemiDataPreProcessor
from mmsemiseg.utils.preprocessor import choose_preprocessor, semi_preprocessor

PLAIN = dict(
    type='SegDataPreProcessor',
    mean=[1.0, 2.0, 3.0],
    std=[4.0, 5.0, 6.0],
    bgr_to_rgb=True,
    pad_val=7,
    seg_pad_val=8,
    size=(16, 24),
    test_cfg=dict(size_divisor=32),
)


@pytest.mark.parametrize('kind', ['SegDataPreProcessor', 'mmseg.SegDataPreProcessor'])
@pytest.mark.parametrize('wrap', [dict, ConfigDict])
def test_a_plain_one_is_converted_with_its_settings(kind, wrap):
    for given in (
        semi_preprocessor(wrap(PLAIN, type=kind)),
        semi_preprocessor(None, wrap(PLAIN, type=kind)),
    ):
        built = MODELS.build(given)
        assert type(built) is SemiDataPreProcessor
        assert built.mean.flatten().tolist() == [1, 2, 3]
        assert built.std.flatten().tolist() == [4, 5, 6]
        names = ('pad_val', 'seg_pad_val', 'size', 'test_cfg')
        assert all(getattr(built, name) == PLAIN[name] for name in names)


def test_a_class_as_type_and_no_type_are_converted():
    assert semi_preprocessor(dict(type=SegDataPreProcessor, pad_val=3)) == dict(
        type='SemiDataPreProcessor', pad_val=3
    )
    assert semi_preprocessor(None, dict(pad_val=3))['type'] == 'SemiDataPreProcessor'


def test_without_any_there_is_one_that_takes_streams():
    assert semi_preprocessor(None) == dict(type='SemiDataPreProcessor')


def test_the_students_comes_before_a_plain_one_and_says_so(monkeypatch):
    told = []
    monkeypatch.setattr(
        'mmsemiseg.utils.preprocessor.print_log',
        lambda message, logger, level: told.append((message, level)),
    )
    assert choose_preprocessor(dict(PLAIN), dict(PLAIN)) == PLAIN
    assert told == []
    other = dict(PLAIN, size=(8, 8), mean=[0.0] * 3)
    assert choose_preprocessor(other, PLAIN) == PLAIN
    ((message, level),) = told
    assert 'differ in mean, size: the student' in message
    assert level == logging.WARNING


def test_one_that_takes_streams_always_counts():
    given = dict(type='SemiDataPreProcessor', pad_val=3)
    assert semi_preprocessor(given, PLAIN) == given
    module = MODELS.build(given)
    assert semi_preprocessor(module, PLAIN) is module


@MODELS.register_module()
class _OwnSemi(SemiDataPreProcessor):
    pass


@MODELS.register_module()
class _OwnPlain(SegDataPreProcessor):
    pass


def test_subclasses_keep_their_type():
    assert semi_preprocessor(None, dict(type='_OwnSemi'))['type'] == '_OwnSemi'
    assert semi_preprocessor(dict(type=_OwnSemi))['type'] is _OwnSemi


@pytest.mark.parametrize(
    'given', [dict(type='_OwnPlain'), dict(type=_OwnPlain), _OwnPlain()]
)
def test_others_are_refused(given):
    with pytest.raises(ValueError, match='_OwnPlain takes no streams'):
        semi_preprocessor(given)


def test_batch_augments_and_unknown_types_are_refused():
    with pytest.raises(ValueError, match=r'batch_augments.*model\.mix'):
        semi_preprocessor(dict(PLAIN, batch_augments=[dict(type='x')]))
    assert semi_preprocessor(dict(PLAIN, batch_augments=None))['size'] == (16, 24)
    with pytest.raises(ValueError, match="'Unknown' is not registered"):
        semi_preprocessor(dict(type='Unknown'))
