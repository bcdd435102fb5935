import os

import pytest

from mmsemiseg.datasets.files import FileIndex, find_images, read_names


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')


def test_find_images_is_recursive_sorted_and_leaves_out_hidden_files(tmp_path):
    touch(tmp_path, 'b/2.png', 'a.JPG', 'b/1.Tiff', '._a.jpg', '.cache/x.png', 'n.txt')
    assert find_images(str(tmp_path)) == ['a.JPG', 'b/1.Tiff', 'b/2.png']


def test_links_in_a_circle_end(tmp_path):
    touch(tmp_path, 'seq/1.png')
    os.symlink(tmp_path, tmp_path / 'seq' / 'loop')
    assert find_images(str(tmp_path)) == ['seq/1.png']


def test_a_list_in_another_encoding_is_named(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes('0001\nstraße\n'.encode('latin-1'))
    with pytest.raises(ValueError, match=f'{path} must be UTF-8 text, but line 2 is'):
        read_names(str(path))


def test_read_names_skips_blank_lines_and_comments(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes(b'\xef\xbb\xbf0001\r\n\r\n  \n# later\nseq/2 b.png \n')
    assert read_names(str(path)) == [(1, '0001'), (5, 'seq/2 b.png')]


@pytest.mark.parametrize(
    'name', ['seq/0001', 'seq/0001.JPG', 'seq/0001.jpg', './seq/0001']
)
def test_index_finds_stems_and_names_in_any_case(tmp_path, name):
    touch(tmp_path, 'seq/0001.JPG', 'seq/0002.JPG')
    assert FileIndex().find(str(tmp_path), name) == str(tmp_path / 'seq/0001.JPG')


def test_index_knows_stems_with_dots_and_missing_names(tmp_path):
    touch(tmp_path, 'frame.v2.png')
    index = FileIndex()
    assert index.find(str(tmp_path), 'frame.v2') == str(tmp_path / 'frame.v2.png')
    assert index.find(str(tmp_path), 'frame') is None
    assert index.find(str(tmp_path), 'none/frame') is None


def test_a_stem_that_fits_two_files_is_refused(tmp_path):
    touch(tmp_path, '1.jpg', '1.png')
    with pytest.raises(
        ValueError, match=r"'1' fits more than one file.*1\.jpg.*1\.png"
    ):
        FileIndex().find(str(tmp_path), '1')
    assert FileIndex().find(str(tmp_path), '1.png') == str(tmp_path / '1.png')
