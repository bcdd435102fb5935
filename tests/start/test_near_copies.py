import numpy as np
import pytest
from PIL import Image

from mmsemiseg.start.near_copies import near_copies, sequences, thumbnail, thumbnails


def pictures(names, frames):
    """Thumbnails: each is 0.9 of the one before where ``frames``, else anything."""
    rng = np.random.default_rng(0)
    last, thumbs = None, {}
    for name in names:
        new = rng.standard_normal((16, 16)).astype(np.float32)
        last = new if last is None or not frames else 0.97 * last + 0.24 * new
        thumbs[name] = last / last.std()
    return thumbs


def test_frames_of_a_video_are_kept_together():
    names = [f'{scene}_{i:03}.png' for scene in 'ab' for i in range(0, 200, 10)]
    found = near_copies(pictures(names, True))
    assert len(set(found.of.values())) == 2
    assert found.of['a_000.png'] == found.of['a_190.png'] != found.of['b_000.png']
    assert sorted(found.videos.values()) == ['a_000.png', 'b_000.png']
    assert found.said[0].startswith('40 images are frames of 2 video sequences')


def test_numbered_photographs_are_no_video():
    names = [f'{i:04}.jpg' for i in range(40)]
    found = near_copies(pictures(names, False))
    assert len(set(found.of.values())) == 40
    assert found.said == []


def test_copies_are_found_by_content(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for number in range(8):
        small = rng.integers(0, 255, (6, 8, 3)).astype(np.uint8)
        image = Image.fromarray(small).resize((160, 120), Image.Resampling.BICUBIC)
        paths.append(str(tmp_path / f'{"xqhzkpvw"[number]}.png'))
        image.save(paths[-1])
    image.resize((80, 60)).save(tmp_path / 'again.jpg', quality=60)
    paths.append(str(tmp_path / 'again.jpg'))
    found = near_copies(thumbnails(paths))
    assert found.copies == 1
    assert found.of[paths[-1]] == found.of[paths[-2]]
    assert len(set(found.of.values())) == 8
    assert 'nearly equal to another' in found.said[0]


@pytest.mark.parametrize('content', [b'', b'no image'])
def test_files_that_cannot_be_read_stand_alone(tmp_path, content):
    path = tmp_path / 'x.png'
    path.write_bytes(content)
    assert thumbnail(str(path)) is None
    assert near_copies({'a.png': None, 'b.png': None}).of == {'a.png': 0, 'b.png': 1}


def test_black_images_are_no_copies():
    black = np.zeros((16, 16), np.float32)
    found = near_copies({f'{name}.png': black for name in 'pqrs'})
    assert found.copies == 0


def test_a_leap_of_the_numbers_begins_a_sequence():
    names = [f'f{i}' for i in (1, 2, 3, 500, 501)]
    assert sequences(names) == [['f1', 'f2', 'f3'], ['f500', 'f501']]
    assert sequences(['x', 'y']) == [['x'], ['y']]
