import json
from pathlib import Path

import mmseg
import pytest

from mmsemiseg.utils.config_parts import entries, parts
from mmsemiseg.utils.config_sources import ConfigFile, base_path

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
MODEL = """\
heads = dict(num_classes=2)
model = dict(
    head=heads,
    width=4,
    plain={'depth': 18},
)
augment = dict(flip=0.5, scale=2)
ops = [
    dict(name='mix'),
    dict(name='flip'),
    dict(name='blur'),
]
"""
LEAF = """\
_base_ = './model.py'
more = dict(name='a')
model = dict(
    width=4,
    weak={{_base_.augment}},
    strong=dict(_base_.augment, flip=0.8),
    last=dict(type='X', **more),
    chosen=_base_.model.plain.depth,
    steps=[dict(type='Flip'), {{_base_.augment}}],
)
made = [dict(number=i) for i in range(2)]
own = [dict(name='last')]
ops = [
    dict(name='first'),
    *_base_.ops[1:],
    *own,
    *made,
    dict(name='lost'),
]
"""


@pytest.fixture
def leaf(tmp_path):
    (tmp_path / 'model.py').write_text(MODEL)
    (tmp_path / 'leaf.py').write_text(LEAF)
    return ConfigFile(tmp_path / 'leaf.py')


@pytest.mark.parametrize(
    ('path', 'file', 'line'),
    [
        ('heads.num_classes', 'model.py', 1),
        ('model.head.num_classes', 'model.py', 1),  # where the variable has it
        ('model.plain.depth', 'model.py', 5),
        ('model.width', 'leaf.py', 4),  # written again, the same number
        ('model.weak.flip', 'model.py', 7),
        ('model.strong.flip', 'leaf.py', 6),
        ('model.strong.scale', 'model.py', 7),
        ('model.last.type', 'leaf.py', 7),
        ('model.last.name', 'leaf.py', 2),
        ('model.chosen', 'model.py', 5),
        ('model.steps.0.type', 'leaf.py', 9),
        ('model.steps.1.scale', 'model.py', 7),
        ('made.1.number', 'leaf.py', 11),  # of the list that a loop makes
        ('ops.0.name', 'leaf.py', 14),
        ('ops.1.name', 'model.py', 10),  # the slice begins with the second
        ('ops.2.name', 'model.py', 11),
        ('ops.3.name', 'leaf.py', 12),
        ('ops.6.name', 'leaf.py', 13),  # behind what is not understood
    ],
)
def test_file_and_line(leaf, path, file, line):
    keys = (int(key) if key.isdigit() else key for key in path.split('.'))
    source = leaf.source(tuple(keys))
    assert (source.file.name, source.line) == (file, line)


def test_json_has_files_without_lines(tmp_path, monkeypatch):
    (tmp_path / 'model.py').write_text(MODEL)
    leaf = dict(_base_='model.py', model=dict(width=8))
    (tmp_path / 'leaf.json').write_text(json.dumps(leaf))
    config = ConfigFile(tmp_path / 'leaf.json')
    monkeypatch.chdir(tmp_path)
    assert str(config.source(('model', 'width'))) == 'leaf.json'
    assert str(config.source(('augment', 'flip'))) == 'model.py:7'


def test_read_base_is_refused(tmp_path):
    (tmp_path / 'model.py').write_text(MODEL)
    text = 'with read_base():\n    from .model import *\n'
    text = f'from mmengine.config import read_base\n{text}'
    (tmp_path / 'leaf.py').write_text(text)
    with pytest.raises(ValueError, match='leaf.py inherits by read_base'):
        ConfigFile(tmp_path / 'leaf.py')


def test_base_of_another_package(tmp_path):
    configs = Path(mmseg.__file__).parent / '.mim' / 'configs'
    assert base_path('mmseg::a/b.py', tmp_path) == configs / 'a/b.py'
    assert base_path('../b.py', tmp_path) == tmp_path / '../b.py'


@pytest.mark.parametrize(
    'name',
    [
        'baselines/self-training_deeplabv3plus-r18_camvid-seq24',
        'cac/cac-paper_deeplabv3plus-r101_voc-aug-1-8',
        'cmb/cmb-official_deeplabv2-r101_gta5-cityscapes-1-30',
        'ctt/ablations/ctt-pairs1_deeplabv2-r101-coco_cityscapes-1-8',
    ],
)
def test_the_line_has_the_key_or_the_value(name):
    config = ConfigFile(CONFIGS / f'{name}.py')
    for path, value in parts(config.values).items():
        if entries(value):
            continue
        source = config.source(path)
        text = source.file.read_text().splitlines()[source.line - 1]
        assert repr(value) in text or str(path[-1]) in text, (path, source)
