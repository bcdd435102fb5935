"""EXIF orientation: the header must say what mmcv reads."""

import mmcv
import pytest
from PIL import Image

from mmsemiseg.datasets.files import IMAGE_SUFFIXES
from mmsemiseg.datasets.headers import read_header
from mmsemiseg.datasets.label_values import read_mask


def save(path, orientation, mode='RGB'):
    tags = Image.Exif()
    tags[0x0112] = orientation
    image = Image.new(mode, (6, 4))
    try:
        image.save(path, exif=tags)
    except (TypeError, OSError):  # a writer without EXIF
        image.save(path)
    return str(path)


@pytest.mark.parametrize('suffix', IMAGE_SUFFIXES)
def test_read_size_is_that_of_mmcv(tmp_path, suffix):
    for orientation in range(1, 9):
        path = save(tmp_path / f'{orientation}{suffix}', orientation)
        height, width = mmcv.imread(path).shape[:2]
        assert read_header(path).read_size == (width, height), orientation


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_mask_size_is_that_of_the_reader_of_masks(tmp_path, suffix):
    for orientation in range(1, 9):
        path = save(tmp_path / f'{orientation}{suffix}', orientation, 'L')
        height, width = read_mask(path).shape
        assert read_header(path).mask_size == (width, height), orientation


def test_orientation_in_xmp_alone_turns_nothing(tmp_path):
    path = tmp_path / 'a.jpg'
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.new('RGB', (6, 4)).save(path, xmp=xmp)
    assert Image.open(path).getexif().get(0x0112) == 6
    assert mmcv.imread(str(path)).shape[:2] == (4, 6)
    assert read_header(str(path)).read_size == (6, 4)
