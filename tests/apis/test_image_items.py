import numpy as np
import pytest
from mmengine.dataset import Compose
from saved_model import PIPELINE, write_images

from mmsemiseg.apis.image_items import (
    ImageItems,
    Item,
    equal_batches,
    list_images,
    read_items,
)


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path, {'a/1.png': (8, 8), 'a/2.jpg': (8, 16), '3.png': (8, 8)})
    (tmp_path / 'notes.md').write_text('hello')
    return tmp_path


def test_listing(folder):
    assert list_images(folder) == (['3.png', 'a/1.png', 'a/2.jpg'], {}, ['notes.md'])
    write_images(folder, {'a/1.jpg': (8, 8)})
    images, clashes, _ = list_images(folder)
    assert images == ['3.png', 'a/2.jpg']
    assert sorted(clashes) == ['a/1.jpg', 'a/1.png']
    assert 'a/1.png' in clashes['a/1.jpg']


def test_no_folder_and_no_image(tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder'):
        list_images(tmp_path / 'none')
    (tmp_path / 'notes.md').touch()
    with pytest.raises(FileNotFoundError, match='no image .* 1 other'):
        list_images(tmp_path)


@pytest.mark.parametrize('workers', [0, 1])
def test_broken_files_have_a_reason(folder, workers):
    whole = np.random.default_rng(0).bytes(3000)
    (folder / 'noise.jpg').write_bytes(whole)
    (folder / 'empty.png').touch()
    cut = (folder / 'a' / '1.png').read_bytes()
    (folder / 'cut.png').write_bytes(cut[: len(cut) // 2])
    paths = list_images(folder).images
    steps = Compose([step for step in PIPELINE if step['type'] != 'LoadAnnotations'])
    found = {
        item.path: item
        for item in read_items(ImageItems(folder, paths, steps), workers)
    }
    errors = {path: item.error for path, item in found.items() if item.error}
    assert list(found) == paths
    assert sorted(errors) == ['cut.png', 'empty.png', 'noise.jpg']
    assert all(errors.values())
    assert found['a/2.jpg'].sizes == ((8, 16), (3, 24, 48))


def test_a_transform_that_drops_an_image(folder):
    (item,) = read_items(ImageItems(folder, ['3.png'], lambda info: None), 0)
    assert 'dropped' in item.error


def test_a_broken_one_does_not_wait():
    bad = Item('b', [], [], 'broken')
    assert list(equal_batches([bad], 4, 8)) == [[bad]]
