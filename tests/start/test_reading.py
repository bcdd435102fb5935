import json
import shutil

import numpy as np
import pytest
from PIL import Image
from start_data import write_folders

from mmsemiseg.start.options import Options
from mmsemiseg.start.reading import read_data


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_folders(tmp_path)


def read(**options):
    said = []
    data = read_data(Options(images='photos', **options), 'out', said.append)
    return data, '\n'.join(said)


def lines(path):
    return path.read_text().splitlines()


def test_lists_masks_and_classes_are_written(folders):
    data, said = read(masks='gt', unlabeled=('more',))
    assert data.counts == dict(labeled=4, unlabeled=6, validation=2)
    assert data.sizes == [(96, 64)] * 10
    assert data.table.names == ('black', 'red')
    out = folders / 'out'
    labeled, val = (lines(out / 'data' / f'{name}.txt') for name in ('labeled', 'val'))
    assert sorted(labeled + val) == [f'shot{i:02}.jpg' for i in range(6)]
    unlabeled = lines(out / 'data/unlabeled.txt')
    assert [name.split('/')[0] for name in unlabeled] == ['more'] * 4 + ['photos'] * 2
    mask = np.asarray(Image.open(out / 'data/masks/shot00.png'))
    assert set(np.unique(mask)) == {0, 1}
    stored = json.loads((out / 'classes.json').read_text())
    assert [c['masks'] for c in stored['classes']] == [['#000000'], ['#ff0000']]
    for text in (
        'shot00_gt.png is the mask of shot00.jpg',
        '6 of 8 images have a mask',
        '1  red    is #ff0000 in the masks',
        '2 of 6 images with masks are held out',
        '4 labeled, 6 unlabeled, 2 validation',
    ):
        assert text in said


def test_the_file_that_was_written_names_the_classes(folders):
    read(masks='gt', out='out')
    path = folders / 'out/classes.json'
    path.write_text(path.read_text().replace('"red"', '"fire"'))
    data, said = read(masks='gt', classes='out/classes.json')
    assert data.table.names == ('black', 'fire')
    assert 'to name or merge classes' not in said


def test_validation_of_its_own(folders):
    write_folders(folders / 'v', count=3, masked=3, suffix='', size=(64, 96))
    data, said = read(masks='gt', val=('v/photos', 'v/gt'))
    assert data.counts == dict(labeled=6, unlabeled=2, validation=3)
    assert data.files.val_images == 'v/photos'
    assert data.files.val_masks == 'out/data/val_masks'
    assert (folders / 'out/data/val_masks/shot00.png').is_file()
    assert '--val: 3 of 3 images have a mask' in said


def test_one_folder_for_all(folders):
    for path in (folders / 'gt').iterdir():
        path.rename(folders / 'photos' / path.name)
    data, said = read()
    assert data.counts == dict(labeled=4, unlabeled=2, validation=2)
    assert 'photos holds 8 images and 6 masks' in said


def test_an_image_is_taken_once(folders):
    (folders / 'again').symlink_to(folders / 'photos')
    data, _ = read(masks='gt', unlabeled=('photos', 'again', 'more'))
    assert data.counts['unlabeled'] == 6


def test_unlabeled_copies_of_labeled_files_are_left_out(folders):
    copies = [folders / 'more' / f'copy{n:02}.jpg' for n in range(6)]
    for number, path in enumerate(copies):
        shutil.copy(folders / f'photos/shot{number:02}.jpg', path)
    data, said = read(masks='gt', unlabeled=('more',))
    assert data.counts == dict(labeled=4, unlabeled=6, validation=2)
    assert not any('copy' in name for name in lines(folders / 'out/data/unlabeled.txt'))
    assert '2 unlabeled images are near-copies of validation images' in said
    assert '4 unlabeled images are labeled ones under another name (more/copy' in said
    for path in [*(folders / 'more').glob('shot*'), *folders.glob('photos/shot0[67]*')]:
        path.unlink()
    with pytest.raises(ValueError, match='every image without a mask is a labeled'):
        read(masks='gt', unlabeled=('more',))


def test_nothing_without_a_label(folders):
    for number in (6, 7):
        (folders / f'photos/shot{number:02}.jpg').unlink()
    with pytest.raises(ValueError, match='there is no image without a mask'):
        read(masks='gt')
    data, said = read(masks='gt', labels=2)
    assert data.counts == dict(labeled=2, unlabeled=2, validation=2)


def test_a_name_like_a_comment(folders):
    (folders / 'photos/shot00.jpg').rename(folders / 'photos/#shot00.jpg')
    (folders / 'gt/shot00_gt.png').rename(folders / 'gt/#shot00_gt.png')
    data, _ = read(masks='gt')
    assert data.counts['labeled'] + data.counts['validation'] == 6
    written = lines(folders / 'out/data/labeled.txt') + lines(
        folders / 'out/data/val.txt'
    )
    assert './#shot00.jpg' in written


def test_bad_files_are_told_before_anything_is_measured(folders):
    (folders / 'more/shot09.jpg').write_bytes(b'no image')
    with pytest.raises(ValueError, match='more/shot09.jpg cannot be read'):
        read(masks='gt', unlabeled=('more',))
    mask = Image.open(folders / 'gt/shot01_gt.png')
    mask.resize((48, 32), Image.Resampling.NEAREST).save(folders / 'gt/shot01_gt.png')
    with pytest.raises(ValueError, match=r'shot01_gt.png \[mask 48x32, image 96x64\]'):
        read(masks='gt')
