import numpy as np
import pytest
from PIL import Image

from mmsemiseg.start.mask_values import hex_colour, read_values, survey, survey_all


def save(path, array, mode=None, palette=None, **options):
    image = Image.fromarray(array)
    if palette is not None:
        image = image.convert('L')
        image.putpalette(palette)
    elif mode:
        image = image.convert(mode)
    image.save(path, **options)
    return str(path)


INDEX = np.array([[0, 1], [2, 255]], np.uint8)


def test_numbers(tmp_path):
    found = survey(save(tmp_path / 'a.png', INDEX))
    assert found.kind == 'grey'
    assert found.size == (2, 2)
    assert found.counts == {0: 1, 1: 1, 2: 1, 255: 1}


def test_palette(tmp_path):
    path = save(tmp_path / 'a.png', INDEX % 3, palette=[0, 0, 0, 255, 0, 0, 0, 0, 9])
    found = survey(path)
    assert found.kind == 'palette'
    assert found.counts == {0: 2, 1: 1, 2: 1}
    assert found.palette == {0: 0, 1: 0xFF0000, 2: 9}


def test_colours(tmp_path):
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[0, 0] = 128, 64, 0
    found = survey(save(tmp_path / 'a.png', rgb))
    assert found.kind == 'colour'
    assert found.size == (3, 2)
    assert found.counts == {0: 5, 0x804000: 1}


def test_three_equal_bands_are_numbers(tmp_path):
    found = survey(save(tmp_path / 'a.png', np.stack([INDEX] * 3, 2)))
    assert (found.kind, found.counts) == ('grey', {0: 1, 1: 1, 2: 1, 255: 1})


def test_transparent_is_zero(tmp_path):
    rgba = np.full((1, 2, 4), 200, np.uint8)
    rgba[0, 0] = 9, 8, 7, 0
    rgba[0, 1, 0] = 1
    assert survey(save(tmp_path / 'a.png', rgba)).counts == {0: 1, 0x01C8C8: 1}


def test_sixteen_bits_and_one(tmp_path):
    path = save(tmp_path / 'a.png', np.array([[0, 300]], np.uint16))
    assert survey(path).counts == {0: 1, 300: 1}
    path = save(tmp_path / 'b.png', np.array([[True, False]]))
    assert survey(path).counts == {0: 1, 1: 1}


def test_files_that_are_no_masks(tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'bad\.png cannot be read'):
        survey_all([str(tmp_path / 'bad.png')])
    path = save(tmp_path / 'f.tif', np.array([[0.5]], np.float32))
    with pytest.raises(ValueError, match='numbers with a fraction'):
        read_values(path)
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3)).astype(np.uint8)
    with pytest.raises(ValueError, match='different values: it is a photograph'):
        survey(save(tmp_path / 'photo.png', noise))
    path = save(tmp_path / 'i.tif', np.array([[70000]], np.int32))
    with pytest.raises(ValueError, match='from 0 to 70000'):
        survey(path)


def test_colour_as_text():
    assert hex_colour(255) == '#0000ff'
