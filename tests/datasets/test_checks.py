import logging
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from PIL import Image

from mmsemiseg.datasets import FolderSegDataset, UnlabeledDataset
from mmsemiseg.datasets.checks import check_streams, leaf_datasets
from mmsemiseg.datasets.headers import read_header


class Infos:
    """A dataset of data infos alone."""

    def __init__(self, *infos):
        self.infos = infos

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, index):
        return dict(self.infos[index])


def save(path, size=(6, 4), mode='RGB', **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path, **options)
    return str(path)


def pair(root, name='1', image=(6, 4), mask=(6, 4), **options):
    return dict(
        img_path=save(root / f'images/{name}.jpg', image, **options),
        seg_map_path=save(root / f'labels/{name}.png', mask, 'L'),
    )


def message(streams, **options):
    with pytest.raises(ValueError) as error:
        check_streams(streams, **options)
    return str(error.value)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def test_good_streams_pass(tmp_path):
    pair(tmp_path)
    save(tmp_path / 'more/2.png')
    labeled = FolderSegDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('a', 'b')),
    )
    unlabeled = UnlabeledDataset('more', str(tmp_path))
    check_streams(dict(labeled=labeled, unlabeled=RepeatDataset(unlabeled, 3)))


def test_empty_stream():
    text = message(dict(labeled=Infos(), unlabeled=Infos()))
    assert "stream 'labeled': it is empty" in text
    assert "stream 'unlabeled': it is empty" in text


def test_missing_files_and_masks(tmp_path):
    good = pair(tmp_path)
    lost = dict(img_path=good['img_path'] + 'x', seg_map_path='nowhere.png')
    text = message(dict(labeled=Infos(good, lost), unlabeled=Infos(lost)))
    assert f"'labeled': 1 images do not exist: {lost['img_path']}" in text
    assert "'labeled': 1 masks do not exist: nowhere.png" in text
    assert "'unlabeled': 1 images do not exist" in text
    assert "'unlabeled': 1 masks" not in text


def test_garbage_bytes_are_named_in_a_fixed_order_with_the_count(tmp_path):
    infos = []
    for i in reversed(range(12)):
        path = tmp_path / f'{i:02}.png'
        path.write_bytes(b'garbage')
        infos.append(dict(img_path=str(path)))
    text = message(dict(unlabeled=Infos(*infos)))
    assert f'12 images cannot be read as an image: {tmp_path}/00.png' in text
    assert f'{tmp_path}/09.png [UnidentifiedImageError] and 2 more' in text
    assert '10.png' not in text
    assert text == message(dict(unlabeled=Infos(*infos[::-1])))


def test_masks_of_an_unlabeled_stream_are_not_opened(tmp_path):
    info = pair(tmp_path)
    (tmp_path / 'labels/1.png').write_bytes(b'garbage')
    check_streams(dict(unlabeled=Infos(info)))
    assert '1 masks cannot be read' in message(dict(labeled=Infos(info)))


@pytest.mark.parametrize('name', ['unlabeled', 'target'])
def test_overlap_is_by_path_without_suffix(tmp_path, name, caplog):
    info = pair(tmp_path)
    other = dict(img_path=save(tmp_path / 'images/1.png'))
    streams = {'labeled': Infos(info), name: Infos(other)}
    text = message(streams)
    assert f"1 images are in the streams 'labeled' and '{name}'" in text
    assert other['img_path'] in text
    logger = logging.getLogger('overlap')
    check_streams(streams, allow_overlap=True, logger=logger)
    assert f"1 images are in the streams 'labeled' and '{name}'" in caplog.text


def test_overlap_is_seen_through_links(tmp_path):
    info = pair(tmp_path)
    (tmp_path / 'link').symlink_to(tmp_path / 'images')
    other = dict(img_path=str(tmp_path / 'link' / '1.jpg'))
    streams = dict(labeled=Infos(info), unlabeled=Infos(other))
    assert '1 images are in the streams' in message(streams)


def test_duplicates_inside_a_stream(tmp_path):
    part = UnlabeledDataset(save(tmp_path / '1.png'))
    text = message(dict(unlabeled=ConcatDataset([part, part])))
    assert f'1 images occur more than once (use RepeatDataset): {tmp_path}' in text


def test_labeled_image_without_mask(tmp_path):
    info = pair(tmp_path)
    bare = dict(img_path=save(tmp_path / '2.png'))
    assert '1 labeled images have no mask' in message(dict(labeled=Infos(bare)))
    text = message(dict(source=Infos(info, bare)))
    assert f'1 labeled images have no mask (no seg_map_path): {tmp_path}/2.png' in text


def test_image_and_mask_of_different_size(tmp_path):
    info = pair(tmp_path, mask=(5, 4))
    text = message(dict(labeled=Infos(info)))
    assert 'images and their masks differ in size' in text
    assert '1.jpg [image 6x4, mask 5x4]' in text


def test_rotation_by_exif(tmp_path, caplog):
    rotated = pair(tmp_path, exif=exif(6))
    assert read_header(rotated['img_path']).read_size == (4, 6)
    text = message(dict(labeled=Infos(rotated)))
    assert '1 images are rotated by EXIF when they are read, their masks are' in text
    follows = pair(tmp_path, '2', mask=(4, 6), exif=exif(6))
    turned = pair(tmp_path, '3', exif=exif(3))
    plain = pair(tmp_path, '4', exif=exif(1))
    logger = logging.getLogger('exif')
    check_streams(dict(labeled=Infos(follows, turned, plain)), logger=logger)
    assert '2 images are rotated by EXIF when they are read: check' in caplog.text
    assert '4.jpg' not in caplog.text


def deep_png(path):
    import cv2

    cv2.imwrite(str(path), np.zeros((4, 6, 3), np.uint16))


def many_bands(path):
    """The head of a TIFF of 13 bands."""
    entry = (277).to_bytes(2, 'little') + b'\3\0\1\0\0\0' + b'\r\0\0\0'
    path.write_bytes(b'II*\0\x08\0\0\0' + b'\1\0' + entry + bytes(64))


def five_bands(path):
    """A TIFF that Pillow opens as RGB and OpenCV does not open."""
    tifffile = pytest.importorskip('tifffile')
    tifffile.imwrite(path, np.zeros((8, 6, 5), np.uint8), photometric='rgb')


@pytest.mark.parametrize(
    'name, write, words',
    [
        ('a.png', deep_png, 'more than 8 bits a channel'),
        ('a.png', lambda p: Image.new('I;16', (6, 4)).save(p), '8 bits a channel'),
        ('a.tif', lambda p: Image.new('F', (6, 4)).save(p), '8 bits a channel'),
        ('a.tif', many_bands, 'more than 4 bands'),
        ('a.tif', five_bands, 'more than 4 bands'),
    ],
)
def test_images_that_are_no_8_bit_pictures(tmp_path, name, write, words):
    write(tmp_path / name)
    text = message(dict(unlabeled=Infos(dict(img_path=str(tmp_path / name)))))
    assert words in text and str(tmp_path / name) in text


@pytest.mark.parametrize('mode', ['L', 'P', 'RGB', 'RGBA', '1'])
def test_ordinary_pictures_pass(tmp_path, mode):
    path = save(tmp_path / '1.png', mode=mode)
    check_streams(dict(unlabeled=Infos(dict(img_path=path))))


@pytest.mark.parametrize('mode, words', [('RGB', 'index'), ('I;16', '8 bits')])
def test_masks_in_colour_or_with_16_bits(tmp_path, mode, words):
    info = pair(tmp_path)
    save(tmp_path / 'labels/1.png', mode=mode)
    text = message(dict(labeled=Infos(info)))
    assert words in text and 'labels/1.png' in text


def test_all_problems_stand_in_one_message(tmp_path):
    info = pair(tmp_path, mask=(5, 4))
    lost = dict(img_path=str(tmp_path / 'lost.png'))
    text = message(dict(labeled=Infos(info), unlabeled=Infos(lost)))
    assert 'differ in size' in text and 'do not exist' in text
    assert len(text.splitlines()) == 3


def test_leaf_datasets_looks_below_all_wrappers(tmp_path):
    class Part(UnlabeledDataset):
        def get_cat_ids(self, idx):
            return [0]

    parts = [Part(save(tmp_path / f'{i}.png')) for i in range(3)]
    balanced = ClassBalancedDataset(parts[2], oversample_thr=0.1)
    whole = SimpleNamespace(dataset=ConcatDataset(parts[:2]))
    assert leaf_datasets(whole) == parts[:2]
    assert leaf_datasets(RepeatDataset(parts[1], 3)) == [parts[1]]
    assert leaf_datasets(balanced) == [parts[2]]
    assert leaf_datasets(parts[0]) == [parts[0]]


def test_no_pixel_is_decoded(tmp_path, monkeypatch):
    infos = [pair(tmp_path), dict(img_path=save(tmp_path / '2.png'))]

    def refuse(self):
        raise AssertionError('decoded')

    monkeypatch.setattr('PIL.ImageFile.ImageFile.load', refuse)
    check_streams(dict(labeled=Infos(infos[0]), unlabeled=Infos(infos[1])))


def test_each_file_is_read_once_for_all_streams(tmp_path, monkeypatch):
    info = pair(tmp_path)
    opened = []
    real_open = Image.open
    monkeypatch.setattr(
        'PIL.Image.open', lambda path: opened.append(path) or real_open(path)
    )
    streams = dict(labeled=Infos(info), source=Infos(info))
    check_streams(streams)
    assert sorted(opened) == sorted(info.values())


def test_remote_files_are_left_to_their_loader():
    check_streams(dict(unlabeled=Infos(dict(img_path='s3://bucket/1.png'))))
