import numpy as np
from PIL import Image

from mmsemiseg.datasets.synthetic import write_folders, write_synthetic
from mmsemiseg.start.classes import read_classes

COUNTS = dict(labeled=2, unlabeled=1, val=2)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image).tobytes()


def test_folders_of_a_user_have_the_same_images(tmp_path):
    voc, folders = tmp_path / 'voc', tmp_path / 'folders'
    write_synthetic(str(voc), COUNTS, 32, seed=3, difficulty=0.2)
    write_folders(str(folders), COUNTS, 32, seed=3, difficulty=0.2)
    same = dict(
        labeled_00000='shapes_0000',
        labeled_00001='shapes_0001',
        unlabeled_00000='shapes_0002',
        val_00000='val/val_0000',
        val_00001='val/val_0001',
    )
    found = []
    for voc_stem, stem in same.items():
        root, _, name = stem.rpartition('/')
        for voc_kind, kind in (
            ('JPEGImages', 'images'),
            ('SegmentationClass', 'masks'),
        ):
            path = voc / voc_kind / f'{voc_stem}.png'
            if path.is_file():
                found.append(folders / root / kind / f'{name}.png')
                assert pixels(found[-1]) == pixels(path)
    assert sorted(folders.rglob('*.png')) == sorted(found)
    assert len(found) == 5 + 4
    table = read_classes(str(folders / 'classes.txt'), as_numbers=True)
    assert table.names[:2] == ('background', 'disk with stripes')
    assert table.palette[1] == [220, 50, 47]
    assert [entry.values for entry in table.classes] == [(n,) for n in range(6)]
