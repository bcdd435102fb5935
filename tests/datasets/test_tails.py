"""Files that end too early are seen from their headers and ends."""

import numpy as np
import pytest
from PIL import Image

from mmsemiseg.datasets.files import IMAGE_SUFFIXES
from mmsemiseg.datasets.headers import read_header


def save(path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize('suffix', IMAGE_SUFFIXES)
def test_a_file_of_which_the_end_is_missing(tmp_path, suffix):
    path = save(tmp_path / f'a{suffix}')
    assert read_header(str(path)).problem is None
    path.write_bytes(path.read_bytes()[:-200])
    assert read_header(str(path)).problem in ('end', 'unreadable')


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_data_behind_the_end_do_no_harm(tmp_path, suffix):
    path = save(tmp_path / f'a{suffix}')
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert read_header(str(path)).problem is None


@pytest.mark.parametrize('layout', [dict(compression='tiff_lzw'), dict(tiled=True)])
def test_tiffs_of_other_layouts(tmp_path, layout):
    path = tmp_path / 'a.tif'
    if layout.pop('tiled', False):
        tifffile = pytest.importorskip('tifffile')
        tifffile.imwrite(path, np.ones((64, 64), np.uint8), tile=(16, 16))
    else:
        Image.new('L', (64, 64)).save(path, **layout)
    assert read_header(str(path)).problem is None
    path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 2])
    assert read_header(str(path)).problem is not None
