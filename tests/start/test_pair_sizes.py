import pytest

from mmsemiseg.datasets.headers import Header
from mmsemiseg.start.mask_values import MaskValues
from mmsemiseg.start.pair_sizes import check_readable, check_sizes
from mmsemiseg.start.sources import Source


def check(size, **header):
    source = Source('in', ['1.jpg'], {'1.jpg': 'gt/1.png'}, 'gt', [])
    mask = MaskValues('gt/1.png', 'grey', size, {0: 1}, {})
    check_sizes(source, [mask], {'in/1.jpg': Header(size=(64, 48), **header)})


def test_sizes_of_image_and_mask():
    check((64, 48))
    check((64, 48), orientation=6)  # the check of all files says what to do
    check((48, 64), orientation=6)
    check((9, 9), problem='unreadable')
    with pytest.raises(
        ValueError, match=r'1 of 1 masks .*: gt/1.png \[mask 32x24, image 64x48\]'
    ):
        check((32, 24))


def test_broken_images():
    headers = {
        'a.jpg': Header(problem='unreadable'),
        'b.jpg': Header(problem='end'),
        'c.tif': Header(problem='depth'),
        'd.jpg': Header(size=(4, 4)),
    }
    with pytest.raises(
        ValueError, match='2 of 4 images are broken: a.jpg cannot be read, b.jpg is cut'
    ):
        check_readable(headers)
    check_readable({'c.tif': headers['c.tif']})
