import numpy as np

from mmsemiseg.utils.overlay import overlay, titled_row

PALETTE = [[0, 0, 0], [250, 100, 0]]


def test_colours_are_mixed_and_255_is_left():
    image = np.full((1, 3, 3), 100, np.uint8)
    label = np.array([[0, 1, 255]], np.uint8)
    picture = overlay(image, label, PALETTE, alpha=0.5)
    assert picture.tolist() == [[[50, 50, 50], [50, 100, 175], [100, 100, 100]]]


def test_a_row_has_one_height():
    wide, high = np.zeros((10, 40, 3), np.uint8), np.zeros((40, 20, 3), np.uint8)
    assert titled_row(dict(a=wide, b=high), height=20).shape == (44, 80 + 10, 3)
