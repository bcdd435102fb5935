import builtins

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

from mmsemiseg.datasets import UnlabeledDataset


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path)


def names(dataset, root):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    for info in infos:
        assert set(info) == {'img_path', 'sample_idx'}
    return [info['img_path'].removeprefix(f'{root}/') for info in infos]


def test_folder_is_searched_recursively_with_suffixes_of_both_cases(tmp_path):
    write(tmp_path, 'images/b/2.png', 'images/a.JPG', 'images/c.Tif')
    (tmp_path / 'images/readme.md').write_text('')
    dataset = UnlabeledDataset('images', data_root=str(tmp_path))
    assert names(dataset, tmp_path) == [
        'images/a.JPG',
        'images/b/2.png',
        'images/c.Tif',
    ]


def test_glob_single_file_and_several_roots(tmp_path):
    write(tmp_path, 'x/1.png', 'x/s/2.png', 'y/3.jpg', 'z.bmp', 'x/4.jpg')
    root = str(tmp_path)
    glob = UnlabeledDataset('x/**/*.png', data_root=root)
    assert names(glob, tmp_path) == ['x/1.png', 'x/s/2.png']
    one = UnlabeledDataset('z.bmp', data_root=root)
    assert names(one, tmp_path) == ['z.bmp']
    several = UnlabeledDataset(['z.bmp', 'y', 'x', 'x/s'], data_root=root)
    assert names(several, tmp_path) == [
        'x/1.png',
        'x/4.jpg',
        'x/s/2.png',
        'y/3.jpg',
        'z.bmp',
    ]


def test_a_folder_with_brackets_is_no_pattern(tmp_path):
    write(tmp_path, 'im[1]/1.png')
    dataset = UnlabeledDataset('im[1]', data_root=str(tmp_path))
    assert names(dataset, tmp_path) == ['im[1]/1.png']


def test_list_file_with_stems_paths_and_blank_lines(tmp_path):
    write(tmp_path, 'images/s/1.png', 'images/2.JPG', 'images/3.png')
    (tmp_path / 'list.txt').write_text('s/1.png\n\n2\n# no\n')
    dataset = UnlabeledDataset('list.txt', str(tmp_path), image_dir='images')
    assert names(dataset, tmp_path) == ['images/2.JPG', 'images/s/1.png']


def test_missing_names_of_a_list_are_told_with_their_lines(tmp_path):
    write(tmp_path, 'images/1.png')
    (tmp_path / 'list.txt').write_text('1\n\n7\n')
    with pytest.raises(
        FileNotFoundError, match=r"images='list.txt'.*1 of 2.*7 \(line 3"
    ):
        UnlabeledDataset('list.txt', str(tmp_path), image_dir='images')


@pytest.mark.parametrize(
    'exclude', ['split.txt', 'masks', 'images/s', ['split.txt', 'images/s/*.png']]
)
def test_rest_of_a_split(tmp_path, exclude):
    write(tmp_path, 'images/s/1.png', 'images/s/2.png', 'images/1.png', 'images/3.JPG')
    write(tmp_path, 'masks/s/1.png', 'masks/s/2.png')
    (tmp_path / 'split.txt').write_text('s/1\n\ns/2.png\n')
    dataset = UnlabeledDataset('images', str(tmp_path), exclude=exclude)
    assert names(dataset, tmp_path) == ['images/1.png', 'images/3.JPG']


def test_rest_of_a_split_with_several_roots_and_image_dir(tmp_path):
    write(tmp_path, 'images/a/1.png', 'images/a/2.png', 'images/b/1.png')
    (tmp_path / 'split.txt').write_text('a/1\n')
    images = ['images/a', 'images/b']
    dataset = UnlabeledDataset(
        images, str(tmp_path), exclude='split.txt', image_dir='images'
    )
    assert names(dataset, tmp_path) == ['images/a/2.png', 'images/b/1.png']
    with pytest.raises(FileNotFoundError, match=r"exclude='split.txt'.*a/1 \(line 1\)"):
        UnlabeledDataset(images, str(tmp_path), exclude='split.txt')


def test_empty_results_name_the_setting_and_the_place(tmp_path):
    (tmp_path / 'images').mkdir()
    with pytest.raises(ValueError, match=r"images=\['images'\].*searched .*images"):
        UnlabeledDataset('images', str(tmp_path))
    with pytest.raises(ValueError, match=r'no image: searched .*\*\.png'):
        UnlabeledDataset('images/*.png', str(tmp_path))
    write(tmp_path, 'images/1.png')
    with pytest.raises(ValueError, match=r"found 1, exclude=\['images'\] left out 1"):
        UnlabeledDataset('images', str(tmp_path), exclude='images')
    with pytest.raises(FileNotFoundError, match="images='nowhere' does not exist"):
        UnlabeledDataset('nowhere', str(tmp_path))
    with pytest.raises(ValueError, match='images must name at least one path'):
        UnlabeledDataset([])


def test_image_and_mask_of_one_stem_in_a_folder_are_refused(tmp_path):
    write(tmp_path, 'mixed/1.jpg', 'mixed/1.png')
    with pytest.raises(ValueError, match=r'1 stems more than once.*1\.jpg and 1\.png'):
        UnlabeledDataset('mixed', str(tmp_path))
    dataset = UnlabeledDataset('mixed', str(tmp_path), suffixes=('.jpg',))
    assert names(dataset, tmp_path) == ['mixed/1.jpg']


def test_no_mask_of_an_unlabeled_image_is_opened(tmp_path, monkeypatch):
    write(tmp_path, 'images/1.png', 'images/2.png')
    (tmp_path / 'labels').mkdir()
    for name in ('1.png', '2.png'):
        (tmp_path / 'labels' / name).write_bytes(b'garbage')
    opened = []
    real_open = builtins.open

    def spy(file, *args, **kwargs):
        opened.append(str(file))
        return real_open(file, *args, **kwargs)

    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(
            dict(
                type='UnlabeledDataset',
                images='images',
                data_root=str(tmp_path),
                pipeline=pipeline,
            )
        )
    monkeypatch.setattr(builtins, 'open', spy)
    samples = [dataset[i] for i in range(2)]
    assert [s['inputs'].shape for s in samples] == [(3, 4, 6)] * 2
    assert not any('gt_sem_seg' in s['data_samples'] for s in samples)
    assert any('images/1.png' in path for path in opened)
    assert not any('labels' in path for path in opened)


def test_metainfo_makes_classes_known_and_concatenation_work(tmp_path):
    write(tmp_path, 'a/1.png', 'b/1.png')
    meta = dict(classes=('road', 'sky'))
    parts = [UnlabeledDataset(d, str(tmp_path), metainfo=meta) for d in 'ab']
    assert parts[0].metainfo['classes'] == ('road', 'sky')
    assert len(ConcatDataset(parts)) == 2


def test_one_image_and_lazy_init(tmp_path):
    write(tmp_path, '1.png')
    dataset = UnlabeledDataset(str(tmp_path / '1.png'), lazy_init=True)
    assert len(dataset) == 1


def test_a_pipeline_that_returns_none_is_no_silent_redraw(tmp_path):
    write(tmp_path, '1.png', '2.png')
    calls = []

    def drop(results):
        calls.append(results['img_path'])

    dataset = UnlabeledDataset('.', str(tmp_path), pipeline=[drop])
    with pytest.raises(Exception, match='Cannot find valid image'):
        dataset[0]
    assert calls == [str(tmp_path / '1.png')]


def test_a_root_with_brackets_may_hold_patterns(tmp_path):
    write(tmp_path, 'my [1] data/im[2]/1.png', 'my [1] data/im[2]/2.jpg')
    root = str(tmp_path / 'my [1] data')
    found = UnlabeledDataset('im[2]/*.png', data_root=root)
    assert names(found, root) == ['im[2]/1.png']
    absolute = UnlabeledDataset(f'{root}/im[2]/*', exclude=f'{root}/im[2]/1*')
    assert names(absolute, root) == ['im[2]/2.jpg']
    with pytest.raises(FileNotFoundError, match="images='typo' does not exist"):
        UnlabeledDataset('typo', data_root=root)
    with pytest.raises(FileNotFoundError, match="images='im' does not exist"):
        UnlabeledDataset('im', data_root=root)


@pytest.mark.parametrize('setting', ['images', 'exclude'])
def test_a_listed_name_that_begins_with_the_sign_of_comments(tmp_path, setting):
    write(tmp_path, 'x/#1.png', 'x/2.png')
    (tmp_path / 'list.txt').write_text('#1\n')
    settings = dict(images='x', image_dir='x') | {setting: 'list.txt'}
    with pytest.raises(ValueError, match=r"line 1: '#1' is read as a comment"):
        UnlabeledDataset(data_root=str(tmp_path), **settings)
    (tmp_path / 'list.txt').write_text('./#1\n')
    found = names(UnlabeledDataset(data_root=str(tmp_path), **settings), tmp_path)
    assert found == (['x/#1.png'] if setting == 'images' else ['x/2.png'])
