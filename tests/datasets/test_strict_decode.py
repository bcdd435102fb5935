"""Damage in the middle of a file."""

import os

import cv2
import numpy as np
import pytest
from PIL import Image

from mmsemiseg.datasets.content import ContentCache
from mmsemiseg.datasets.strict_decode import decode_image


def save(path, **options):
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 2)).save(path, **options)
    return path


def damage(path, at, content):
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)


def test_bytes_of_a_jpeg_that_libjpeg_only_warns_of(tmp_path):
    path = save(tmp_path / 'a.jpg', quality=90)
    assert decode_image(str(path)).shape == (96, 128, 3)
    damage(path, path.stat().st_size // 2, b'U' * 64)
    Image.open(path).load()  # Pillow alone does not mind
    with pytest.raises(ValueError, match='Corrupt JPEG data'):
        decode_image(str(path))
    content = ContentCache().read('image', str(path))
    assert 'Corrupt JPEG data' in content['error']


@pytest.mark.parametrize('kind', ['image', 'mask'])
def test_a_wrong_checksum_of_a_png(tmp_path, kind):
    path = tmp_path / 'a.png'
    Image.new('RGB' if kind == 'image' else 'L', (60, 40)).save(path)
    at = path.read_bytes().index(b'IEND') - 8
    damage(path, at, b'\0\1\2\3')
    assert 'error' in ContentCache().read(kind, str(path))


def test_what_others_write_meanwhile_is_not_lost(tmp_path, monkeypatch, capfd):
    path = save(tmp_path / 'a.jpg')
    read = cv2.imdecode

    def noisy(*args):
        os.write(2, b'a line of another thread\n')
        return read(*args)

    monkeypatch.setattr('cv2.imdecode', noisy)
    decode_image(str(path))
    assert capfd.readouterr().err == 'a line of another thread\n'


def test_a_cache_of_older_rules_is_read_again(tmp_path):
    path = save(tmp_path / 'a.jpg')
    cache = ContentCache(str(tmp_path / 'cache.json'))
    cache.read('image', str(path))
    cache.save()
    stored = (tmp_path / 'cache.json').read_text()
    (tmp_path / 'cache.json').write_text(stored.replace('"rules": 2', '"rules": 1'))
    again = ContentCache(str(tmp_path / 'cache.json'))
    again.read('image', str(path))
    assert again.decoded == 1
