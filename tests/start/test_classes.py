import json

import numpy as np
import pytest

from mmsemiseg.start.classes import (
    ClassEntry,
    ClassTable,
    find_class_file,
    read_classes,
    write_classes,
)

TABLE = ClassTable(
    (ClassEntry('road', (0x804080,), 0x804080), ClassEntry('car', (9, 8), 8)),
    (0xFFFFFF,),
    True,
)


def written(tmp_path, text, name='classes.txt'):
    path = tmp_path / name
    path.write_text(text, encoding='utf-8')
    return str(path)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / 'classes.json'
    write_classes(str(path), TABLE)
    assert read_classes(str(path)) == TABLE
    assert '"masks": ["#000009", "#000008"]' in path.read_text()


@pytest.mark.parametrize(
    'text',
    [
        'road 128 64 128\ncar 64 0 128\nVoid 0 0 0',
        '128 64 128 road\n64 0 128 car\n0 0 0 Void',
        'name,r,g,b\nroad,128,64,128\ncar,64,0,128\nVoid,0,0,0',
        '# label:color_rgb:parts:actions\nroad:128,64,128::\ncar:64,0,128::\n'
        'void:0,0,0::',
    ],
)
def test_names_with_colours(tmp_path, text):
    table = read_classes(written(tmp_path, text))
    assert table.names == ('road', 'car')
    assert table.palette == [[128, 64, 128], [64, 0, 128]]
    assert (table.ignored, table.colours) == ((0,), True)


def test_lines_as_numbers(tmp_path):
    path = written(tmp_path, 'void 0 0 0\nroad 128 64 128\ncar 64 0 128')
    table = read_classes(path, as_numbers=True)
    assert [entry.values for entry in table.classes] == [(1,), (2,)]
    assert table.ignored == (0, 255)


def test_names_alone(tmp_path):
    table = read_classes(written(tmp_path, 'sky\n\ntraffic light\n'))
    assert table.names == ('sky', 'traffic light')
    assert table.known() == {0: 0, 1: 1, 255: 255}
    assert not table.colours


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('road 1 2 3\ncar\nsky 3 4 5', "but one is 'car'"),
        ('road\n', 'from 2 to 255 classes, but are 1'),
        ('road\nroad', "the name 'road' occurs twice"),
        ('road 1 2 3\ncar 1 2 3', 'the value #010203 occurs twice'),
    ],
)
def test_bad_lists(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_classes(written(tmp_path, text))


@pytest.mark.parametrize(
    'content',
    [
        [],
        dict(classes=[]),
        dict(masks='colours', classes=[dict(name='a', masks=[1], color='#000000')]),
        dict(masks='numbers', classes=[dict(name='a', masks=[1], color='red')]),
    ],
)
def test_bad_json(tmp_path, content):
    path = written(tmp_path, json.dumps(content), 'classes.json')
    with pytest.raises(ValueError, match='is no class file'):
        read_classes(path)


def test_unknown_rule_for_other_values(tmp_path):
    path = tmp_path / 'c.json'
    write_classes(str(path), TABLE._replace(other='guess'))
    with pytest.raises(ValueError, match="other must be .*, but is 'guess'"):
        read_classes(str(path))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='class file does not exist'):
        read_classes(str(tmp_path / 'x.txt'))
    assert find_class_file([str(tmp_path)]) is None
    path = written(tmp_path, 'a\nb', 'codes.txt')
    assert find_class_file(['nowhere', str(tmp_path)]) == path


def test_index():
    values = np.array([[0x804080, 9], [8, 0xFFFFFF], [8, 7]])
    index, unknown = TABLE.to_index(values)
    assert index.tolist() == [[0, 1], [1, 255], [1, 255]]
    assert unknown == 1
    nearest = TABLE._replace(other='nearest').to_index(np.array([0x804180, 7]))
    assert nearest[0].tolist() == [0, 1]
