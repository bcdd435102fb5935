import numpy as np
import pytest
from PIL import Image

from mmsemiseg.datasets import FolderSegDataset, UnlabeledDataset, image_names


@pytest.fixture
def root(tmp_path):
    """``new/seq1`` and ``new/seq2`` with an image ``1`` each, and ``old/1.png``."""
    for path in ('new/seq1/1.png', 'new/seq2/1.jpg', 'old/1.png'):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / path)
    return tmp_path


def names(root, images, **settings):
    """Paths below the root -> names."""
    found = image_names(UnlabeledDataset(images, data_root=str(root), **settings))
    return {path.removeprefix(f'{root}/'): name for path, name in found.items()}


def test_sub_folders_are_kept(root):
    expected = {'new/seq1/1.png': 'seq1/1', 'new/seq2/1.jpg': 'seq2/1'}
    assert names(root, 'new') == expected
    assert names(root, 'new/*/*') == expected


def test_below_the_folder_that_was_searched(root):
    assert names(root, 'new/seq1') == {'new/seq1/1.png': '1'}
    # also where all images lie deeper
    assert names(root, 'new', exclude='new/seq2') == {'new/seq1/1.png': 'seq1/1'}
    (root / 'list.txt').write_text('seq1/1\n')
    assert names(root, 'list.txt', image_dir='new') == {'new/seq1/1.png': 'seq1/1'}


def test_several_folders_share_the_one_above_them(root):
    found = names(root, ['new/seq1', 'old'])
    assert found == {'new/seq1/1.png': 'new/seq1/1', 'old/1.png': 'old/1'}
    (root / 'list.txt').write_text('../old/1\nseq1/1\n')  # leaves the folder
    assert names(root, 'list.txt', image_dir='new') == found


def test_data_sets_with_masks(root):
    prefix = dict(img_path='new')
    data = FolderSegDataset(data_root=str(root), data_prefix=prefix)
    assert sorted(image_names(data).values()) == ['seq1/1', 'seq2/1']


def test_wrappers(root):
    class Both:
        datasets = [
            FolderSegDataset(data_root=str(root), data_prefix=dict(img_path=folder))
            for folder in ('new/seq1', 'old')
        ]

    assert sorted(image_names(Both()).values()) == ['new/seq1/1', 'old/1']


def test_two_images_of_one_name(root):
    Image.open(root / 'old/1.png').save(root / 'old/1.jpg')
    data = FolderSegDataset(data_root=str(root), data_prefix=dict(img_path='old'))
    with pytest.raises(ValueError, match=r'old/1.png that of .*old/1.jpg. Rename one'):
        image_names(data)
