import numpy as np
import pytest
from PIL import Image
from start_data import write_folders

from mmsemiseg.start.copies import write_copies
from mmsemiseg.start.options import Options
from mmsemiseg.start.reading import read_data


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path)
    (tmp_path / 'photos/shot00.jpg').rename(tmp_path / 'photos/#0.jpg')
    (tmp_path / 'gt/shot00_gt.png').rename(tmp_path / 'gt/#0_gt.png')
    options = Options(images='photos', masks='gt', unlabeled=('more',))
    return read_data(options, 'out', lambda text: None).files


def lines(path):
    return [line.removeprefix('./') for line in open(path).read().splitlines()]


def test_images_and_masks_are_copied(files):
    made = write_copies(files, 'out/small', 48)
    assert len(lines(made.labeled)) == 4
    for name in lines(made.labeled):
        with Image.open(f'out/small/labeled/{name}') as image:
            assert image.size == (48, 32)
        mask = np.asarray(Image.open(f'out/small/masks/{name[:-4]}.png'))
        whole = np.asarray(Image.open(f'out/data/masks/{name[:-4]}.png'))
        assert mask.shape == (32, 48)
        assert set(np.unique(mask)) == {0, 1}
        assert abs(mask.mean() - whole.mean()) < 0.05
    unlabeled = lines(made.unlabeled)
    assert len(unlabeled) == 6
    assert {Image.open(path).size for path in unlabeled} == {(48, 32)}
    assert (made.val, made.val_images, made.val_masks) == files[-1:] + files[4:6]


def test_small_images_keep_their_size(files):
    made = write_copies(files, 'out/small', 500)
    assert {Image.open(path).size for path in lines(made.unlabeled)} == {(96, 64)}


def test_damaged_images_are_named(files, tmp_path):
    path = tmp_path / 'more/shot09.jpg'
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r'1 images cannot be read: more/shot09\.jpg'):
        write_copies(files, 'out/small', 48)
