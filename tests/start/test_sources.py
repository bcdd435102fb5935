import pytest
from PIL import Image

from mmsemiseg.start.sources import read_source, read_unlabeled, read_validation


@pytest.fixture
def files(tmp_path, monkeypatch):
    """``files('a/1.jpg', ...)`` makes small images in the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in ('.json', '.txt'):
                path.write_text('{}')
            else:
                Image.new('RGB', (4, 4)).save(path)

    return make


def test_two_folders(files):
    files('in/s/1.jpg', 'in/s/2.jpg', 'gt/s/2_gt.png', 'gt/s/7_gt.png')
    source = read_source('in', 'gt')
    assert source.masks == {'s/2.jpg': 'gt/s/2_gt.png'}
    assert source.images == ['s/1.jpg', 's/2.jpg']
    assert source.path('s/1.jpg') == 'in/s/1.jpg'
    assert source.said == [
        'masks have names of their own: s/2_gt.png is the mask of s/2.jpg',
        '1 masks have no image and are not used: s/7_gt.png',
        '1 of 2 images have a mask',
    ]


@pytest.mark.parametrize('masks', [None, 'all'])
def test_one_folder(files, masks):
    files('all/1.jpg', 'all/2.jpg', 'all/2.png')
    source = read_source('all', masks)
    assert source.images == ['1.jpg', '2.jpg']
    assert source.masks == {'2.jpg': 'all/2.png'}
    assert source.said[0] == 'all holds 2 images and 1 masks'


def test_one_folder_in_the_other(files):
    files('a/1.png', 'a/2.png', 'a/x/1.png')
    source = read_source('a', 'a/x')
    assert source.images == ['1.png', '2.png']
    assert source.masks == {'1.png': 'a/x/1.png'}
    files('b/1.png', 'b/y/1.png', 'b/y/2.png', 'b/y/3.png', 'b/2.png', 'b/4.png')
    source = read_source('b/y', 'b')
    assert source.images == ['1.png', '2.png', '3.png']
    assert source.masks == {'1.png': 'b/1.png', '2.png': 'b/2.png'}


def test_folders_that_are_none(files):
    files('a/1.png', 'polygons/1.json')
    with pytest.raises(
        FileNotFoundError, match='--images must be a folder, but b does'
    ):
        read_source('b')
    with pytest.raises(FileNotFoundError, match='1.png is a file'):
        read_source('a/1.png')
    with pytest.raises(
        ValueError, match=r'--masks polygons has no image.*\.json; poly'
    ):
        read_source('a', 'polygons')
    with pytest.raises(
        ValueError, match='--unlabeled empty has no image: there is no file'
    ):
        files('empty/x/1.png')
        import os

        os.remove('empty/x/1.png')
        read_unlabeled(['empty'])


def test_two_images_of_one_name(files):
    files('a/1.png', 'a/1.jpg', 'm/1.png')
    with pytest.raises(ValueError, match='stems more than once'):
        read_source('a', 'm')


def test_validation_needs_all_masks(files):
    files('v/images/1.png', 'v/images/2.png', 'v/masks/1.png')
    with pytest.raises(ValueError, match=r'1 of 2 images have no mask: images/2\.png'):
        read_validation(['v'])
    files('v/masks/2.png')
    assert len(read_validation(['v']).masks) == 2
    assert len(read_validation(['v/images', 'v/masks']).masks) == 2


def test_unlabeled_folders(files):
    files('u/2.png', 'w/x/1.jpg')
    assert read_unlabeled(['u', 'w']) == ['u/2.png', 'w/x/1.jpg']
