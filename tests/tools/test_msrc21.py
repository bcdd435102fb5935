import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmsemiseg.datasets import MSRC21Dataset

STEMS = [f'{scene}_{i}_s' for scene in (2, 10) for i in range(1, 7)]


def original(root):
    """Segments 1 to 5, the last without a label; 5 is a horse, 8 a mountain."""
    (root / 'Images').mkdir(parents=True)
    (root / 'newsegmentations_mats').mkdir()
    generator = np.random.default_rng(0)
    for stem in STEMS:
        image = generator.integers(0, 256, (5, 8, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / 'Images' / f'{stem}.bmp')
        write_mask(root, stem)


def write_mask(root, stem, labels=(23, 1, 5, 8), rows=5, first=1):
    segments = np.repeat(np.arange(first, first + rows, dtype=np.uint8)[:, None], 8, 1)
    path = root / 'newsegmentations_mats' / f'{stem}_GT.mat'
    savemat(path, dict(newseg=segments, newlabels=np.array(labels, np.uint8)))


def convert(tool, tmp_path, *options):
    out = tmp_path / 'out'
    tool.main([str(tmp_path / 'MSRC_v2'), '--out', str(out), *options])
    return out


def test_labels_images_and_split(tmp_path, load_tool, capsys):
    original(tmp_path / 'MSRC_v2')
    out = convert(load_tool('dataset_converters/msrc21'), tmp_path)
    told = capsys.readouterr().out
    assert '12 images instead of 591: the split is not' in told
    assert f'8 train, 4 val -> {out}' in told
    found = {part: [] for part in ('train', 'val')}
    for part, stems in found.items():
        for path in sorted((out / 'labels' / part).iterdir()):
            stems.append(path.stem)
            mask = np.asarray(Image.open(path))
            assert mask[:, 0].tolist() == [20, 0, 255, 255, 255]
            assert (mask == mask[:, :1]).all()
            with Image.open(out / 'images' / part / f'{path.stem}.jpg') as image:
                assert image.format == 'JPEG' and image.size == (8, 5)
    assert sorted(found['train'] + found['val']) == sorted(STEMS)
    assert sorted(stem.split('_')[0] for stem in found['val']) == ['10', '10', '2', '2']
    prefix = dict(img_path='images/train', seg_map_path='labels/train')
    dataset = MSRC21Dataset(data_root=str(out), data_prefix=prefix)
    assert len(dataset) == 8 and dataset.metainfo['classes'][20] == 'boat'


def test_png_is_without_loss(tmp_path, load_tool):
    original(tmp_path / 'MSRC_v2')
    tool = load_tool('dataset_converters/msrc21')
    out = convert(tool, tmp_path, '--png')
    for part in ('train', 'val'):
        for path in (out / 'images' / part).iterdir():
            before = Image.open(tmp_path / 'MSRC_v2/Images' / f'{path.stem}.bmp')
            assert np.array_equal(np.asarray(Image.open(path)), np.asarray(before))
    with pytest.raises(SystemExit):
        tool.main(['x', '--jpeg', '0'])


def test_split_of_the_full_data_set(load_tool):
    tool = load_tool('dataset_converters/msrc21')
    sizes = {scene: 30 for scene in range(1, 21)} | {10: 32, 12: 34, 15: 24, 20: 21}
    stems = [f'{s}_{i}_s' for s, n in sizes.items() for i in range(1, n + 1)]
    assert len(stems) == tool.TOTAL
    chosen = sorted(tool.validation(stems[::-1]))
    digest = hashlib.sha256('\n'.join(chosen).encode()).hexdigest()
    assert len(chosen) == 194 and digest.startswith('d6632aaa924e7279')


def test_numbers_of_the_source_are_those_of_the_classes(load_tool):
    numbers = load_tool('dataset_converters/msrc21').class_numbers()
    assert [i for i, value in enumerate(numbers) if value == 255] == [0, 5, 8]
    assert [value for value in numbers if value < 255] == list(range(21))


@pytest.mark.parametrize(
    'change, words',
    [
        (dict(labels=(24, 1, 5, 8)), r'2_1_s_GT\.mat: newlabels must be from 0 to 23'),
        (dict(labels=(1, 2)), r'newseg must be from 1 to 3.* but is from 1 to 5'),
        (dict(first=0), 'newseg must be from 1 to 5.* but is from 0 to 4'),
        (dict(rows=4), r'2_1_s\.bmp has the size \(8, 5\), its mask \(8, 4\)'),
    ],
)
def test_bad_masks(tmp_path, load_tool, change, words):
    original(tmp_path / 'MSRC_v2')
    write_mask(tmp_path / 'MSRC_v2', '2_1_s', **change)
    with pytest.raises(ValueError, match=words):
        convert(load_tool('dataset_converters/msrc21'), tmp_path)


def test_missing_files_are_named_before_anything_is_written(tmp_path, load_tool):
    tool = load_tool('dataset_converters/msrc21')
    with pytest.raises(FileNotFoundError, match='no folder .*Images; give the one'):
        convert(tool, tmp_path)
    original(tmp_path / 'MSRC_v2')
    (tmp_path / 'MSRC_v2/newsegmentations_mats/10_3_s_GT.mat').unlink()
    with pytest.raises(FileNotFoundError, match='1 masks are missing: .*10_3_s_GT'):
        convert(tool, tmp_path)
    assert not (tmp_path / 'out').exists()
    for path in (tmp_path / 'MSRC_v2/Images').iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match='no .bmp in'):
        convert(tool, tmp_path)
