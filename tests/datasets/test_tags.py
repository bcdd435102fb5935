import json

import numpy as np
import pytest
from PIL import Image

from mmsemiseg.datasets import TagDataset
from mmsemiseg.datasets.tags import read_tags

CLASSES = ('background', 'cat', 'traffic light', 'dog')


def write(tmp_path, content, name='tags.txt'):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_text(tmp_path):
    path = write(tmp_path, '# tags\n\nb: dog cat\nseq/a:\n2:3 cat dog cat 0\nd: 2\n')
    assert read_tags(path, CLASSES) == {
        'b': [1, 3],
        'seq/a': [],
        '2': [0, 1, 3],
        'd': [2],
    }


def test_json(tmp_path):
    content = {'a': ['traffic light', 1], 'b': [], 'c': ['3']}
    path = write(tmp_path, content, 'tags.json')
    assert read_tags(path, CLASSES) == {'a': [1, 2], 'b': [], 'c': [3]}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('a: cat\nb: bird\n', "tag 'bird' of 'b' must be a class"),
        ('a: 4\n', "tag '4' of 'a'"),
        ('a cat\n', 'line 1: must be `name: class class`'),
        (': cat\n', 'line 1'),
        ('a: cat\na: dog\n', "image 'a' occurs more than once"),
        ('# nothing\n', 'names no image'),
        ({'a': 'cat'}, 'the tags of a must be lists'),
        ({'a': [True]}, 'tag True'),
        (['a'], 'must hold'),
        ({}, 'names no image'),
    ],
)
def test_refused(tmp_path, content, message):
    name = 'tags.txt' if isinstance(content, str) else 'tags.json'
    with pytest.raises(ValueError, match=message):
        read_tags(write(tmp_path, content, name), CLASSES)


def test_data_set(tmp_path):
    (tmp_path / 'images' / 'seq').mkdir(parents=True)
    for name in ('b.JPG', 'seq/a.png'):
        with open(tmp_path / 'images' / name, 'wb') as file:
            Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(file, 'PNG')
    path = write(tmp_path, 'seq/a: dog\nb:\n')
    data = TagDataset(path, str(tmp_path / 'images'), CLASSES)
    infos = [data.get_data_info(i) for i in range(len(data))]
    assert [(info['img_path'], info['tags']) for info in infos] == [
        (str(tmp_path / 'images' / 'seq' / 'a.png'), [3]),
        (str(tmp_path / 'images' / 'b.JPG'), []),
    ]
    assert data.metainfo['classes'] == CLASSES


def test_missing_images_are_named(tmp_path):
    path = write(tmp_path, 'x: dog\ny: cat\n')
    with pytest.raises(FileNotFoundError, match='no image for 2 of 2 names.*x, y'):
        TagDataset(path, str(tmp_path), CLASSES)
