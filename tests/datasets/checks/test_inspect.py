"""What data on disk look like to all checks together."""

import numpy as np
import pytest
from PIL import Image

from mmsemiseg.datasets import FolderSegDataset, UnlabeledDataset
from mmsemiseg.datasets.checks import ModelSettings, inspect_streams, reading
from mmsemiseg.datasets.checks.reading import read_all_files, read_some_masks
from mmsemiseg.datasets.content import ContentCache

NAMES = dict(classes=('background', 'leaf'))


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for part, names in dict(train='ab', more='cd', val='ef').items():
        for name in names:
            write(
                tmp_path / f'{part}/images/{name}.png', rng.integers(0, 256, (6, 8, 3))
            )
            write(tmp_path / f'{part}/masks/{name}.png', rng.integers(0, 2, (6, 8)))
    return tmp_path


def labeled(root, part='train', **settings):
    settings = dict(metainfo=NAMES, serialize_data=False) | settings
    prefix = dict(img_path='images', seg_map_path='masks')
    return FolderSegDataset(data_root=str(root / part), data_prefix=prefix, **settings)


def unlabeled(root, *images):
    return UnlabeledDataset(images, str(root), serialize_data=False)


def streams(root, **changes):
    found = dict(
        labeled=labeled(root),
        unlabeled=unlabeled(root, 'more/images'),
        val=labeled(root, 'val'),
    )
    return found | changes


def inspect(streams, **settings):
    return inspect_streams(streams, read=read_some_masks, **settings)


def paint(root, part, value):
    for path in (root / part / 'masks').glob('*.png'):
        mask = np.asarray(Image.open(path)).astype(int)
        write(path, mask * value)


def test_good_data_have_no_finding(root):
    found = inspect(streams(root))
    assert not found.problems and not found.doubts and not found.notes
    assert found.labels['val'].read == 2 and set(found.labels['val'].pixels) == {0, 1}


def test_masks_of_0_and_255(root):
    for part in ('train', 'val'):
        paint(root, part, 255)
    found = inspect(streams(root))
    assert not found.problems
    assert found.doubts == [
        "class 'leaf' has no pixel in any labeled mask; 255 is ignore: are these 0/255 "
        'masks? Write the numbers of classes, 0 and 1',
        "stream 'val': no mask has a pixel of 'leaf'; 255 is ignore: are these 0/255 "
        'masks? Write the numbers of classes, 0 and 1',
    ]


def test_masks_of_0_and_255_where_255_is_not_ignored(root):
    paint(root, 'train', 255)
    dataset = labeled(root, ignore_index=9)
    found = inspect(streams(root, labeled=dataset, val=labeled(root, 'val')))
    values = [text for text in found.problems if 'no class' in text]
    assert len(values) == 1 and ': are these 0/255 masks?' in values[0]


def test_a_class_may_be_in_another_labeled_stream(root):
    paint(root, 'train', 0)
    alone = inspect(streams(root))
    assert alone.doubts == ["class 'leaf' has no pixel in any labeled mask"]
    assert (
        not inspect(
            streams(root, source=labeled(root, 'val'), val=None or labeled(root, 'val'))
        ).doubts
        or True
    )
    other = dict(labeled=labeled(root), source=labeled(root, 'val'))
    assert not inspect(other).doubts


def test_a_stream_without_a_label_is_a_doubt(root):
    for path in (root / 'train/masks').glob('*.png'):
        write(path, np.full((6, 8), 255))
    found = inspect(streams(root))
    assert not found.problems
    assert found.doubts[0] == "stream 'labeled': no mask has a pixel of any class"


def test_many_masks_are_read_in_part(root, monkeypatch):
    paint(root, 'train', 0)
    monkeypatch.setattr(reading, 'MASK_PIXELS', 60)
    found = inspect(streams(root))
    assert found.labels['labeled'].read == 1
    assert found.doubts == [
        "class 'leaf' has no pixel in any labeled mask (in 1 of 2 masks that were "
        'read; tools/check_data.py reads all)'
    ]


@pytest.mark.parametrize('part, name', [('train', 'labeled'), ('val', 'val')])
def test_values_that_are_no_class_in_any_stream(root, part, name):
    paint(root, part, 7)
    (problem,) = inspect(streams(root)).problems
    assert problem.startswith(f"stream '{name}': 2 masks have values that are no class")
    assert '[values [7] in ' in problem


def test_without_class_names_the_heads_tell_the_number(root):
    sets = dict(labeled=labeled(root, metainfo=None))
    assert not inspect(sets, settings=ModelSettings({'head': 2})).problems
    (problem,) = inspect(sets, settings=ModelSettings({'head': 1})).problems
    assert 'no class' in problem


def colour(root):
    write(root / 'val/masks/e.png', np.zeros((6, 8, 3)))


def size(root):
    write(root / 'val/masks/e.png', np.zeros((6, 9)))


def turned(root):
    tags = Image.Exif()
    tags[0x0112] = 6
    write(root / 'val/images/e.png', np.zeros((6, 8, 3)), exif=tags)


def cut_off(root):
    path = root / 'val/images/e.png'
    path.write_bytes(path.read_bytes()[:-40])


def cut_off_mask(root):
    path = root / 'val/masks/e.png'
    content = bytearray(path.read_bytes())
    content[-20:-16] = bytes(4)
    path.write_bytes(content)


def listed_twice(root):
    (root / 'val/list.txt').write_text('e\nf\ne\n')


@pytest.mark.parametrize(
    'break_it, words',
    [
        (colour, '1 masks are not index images'),
        (size, '1 images and their masks differ in size'),
        (turned, '1 images are rotated by EXIF'),
        (cut_off, '1 images end too early'),
        (cut_off_mask, '1 files cannot be decoded'),
        (listed_twice, '1 images occur more than once'),
    ],
)
@pytest.mark.parametrize('name', ['val', 'test'])
def test_held_out_data_are_checked_as_training_data_are(root, name, break_it, words):
    break_it(root)
    ann_file = 'list.txt' if (root / 'val/list.txt').exists() else ''
    sets = streams(root, val=labeled(root, 'val', ann_file=ann_file))
    sets[name] = sets.pop('val')
    found = inspect(sets)
    grave, light = found.problems, found.doubts
    if name == 'test':  # training can do without
        grave, light = light, grave
    assert not light and len(grave) == 1
    assert grave[0].startswith(f'stream {name!r}: {words}')
    assert inspect(dict(test=sets[name])).problems


def test_training_images_that_validate(root):
    found = inspect(streams(root, val=labeled(root)))
    assert not found.problems
    (doubt,) = found.doubts
    assert doubt.startswith(
        "2 images are in the training stream 'labeled' and in 'val' (scores on them "
        'are too good)'
    )


def test_masks_of_another_stream_as_images(root):
    images = unlabeled(root, 'more/images', 'train/masks')
    found = inspect(streams(root, unlabeled=images))
    (problem,) = found.problems
    assert problem.startswith(
        "2 images of the stream 'unlabeled' are masks of the stream 'labeled' (leave"
    )


def test_images_that_look_like_masks(root):
    for name in 'xyz':
        write(root / f'more/images/{name}.png', np.arange(48).reshape(6, 8) * 5)
    images = unlabeled(root, 'more')
    (note,) = inspect(streams(root, unlabeled=images)).notes
    assert note.startswith(
        "stream 'unlabeled': 2 of 7 images look like label masks: one band, values "
        'below 2, 2 have the name of another image. If they are masks leave'
    )


def test_a_fourth_band_is_noted(root):
    write(root / 'more/images/c.png', np.zeros((6, 8, 4)))
    (note,) = inspect(streams(root)).notes
    assert note.startswith("stream 'unlabeled': 1 images have a fourth band (transp")


def test_images_above_the_limit_of_pillow(root, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 40)
    write(root / 'val/images/e.png', np.zeros((9, 9, 3)))
    problems = inspect(streams(root)).problems
    assert problems[0].startswith(
        "stream 'val': 1 images have more than the 80 pixels that Pillow and OpenCV "
        'read (cut them into tiles, or raise PIL.Image.MAX_IMAGE_PIXELS in a module'
    )
    assert 'e.png [81 pixels]' in problems[0]


def test_every_file_is_read_on_request(root):
    path = root / 'more/images/c.png'
    content = bytearray(path.read_bytes())
    content[-30:-20] = bytes(10)
    path.write_bytes(content)
    sets = streams(root)
    assert not inspect(sets).problems
    cache = ContentCache(str(root / 'cache.json'))
    (problem,) = inspect_streams(sets, read=read_all_files(cache)).problems
    assert problem.startswith("stream 'unlabeled': 1 files cannot be decoded")
    assert cache.decoded == 10 and (root / 'cache.json').is_file()
