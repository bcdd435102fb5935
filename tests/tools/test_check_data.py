import json

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope
from PIL import Image

from mmsemiseg.datasets.content import ContentCache
from mmsemiseg.datasets.label_values import count_values, map_counts, read_mask

CONFIG = """
from pathlib import Path
meta = dict(classes=('road', 'sky'))
root = {root!r}
def labeled(part):
    return dict(dataset=dict(
        type='FolderSegDataset', data_root=root, metainfo=meta,
        data_prefix=dict(img_path=f'images/{{part}}', seg_map_path=f'labels/{{part}}')))
train_dataloader = dict(
    labeled=labeled('train'),
    unlabeled=dict(dataset=dict(
        type='RepeatDataset', times=2,
        dataset=dict(type='UnlabeledDataset', data_root=root, images='images/more'))))
val_dataloader = labeled('val')
del labeled, Path
"""


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(0)
    for part, names in dict(train='ab', more='cd', val='ef').items():
        for name in names:
            for folder, high, shape in (
                ('images', 256, (6, 8, 3)),
                ('labels', 2, (6, 8)),
            ):
                if (part, folder) == ('more', 'labels'):
                    continue
                path = tmp_path / folder / part / f'{name}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                shape = (6, 8, 3) if high == 256 else (6, 8)
                pixels = generator.integers(0, high, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(path)
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(root=str(tmp_path)))
    return tmp_path


@pytest.fixture
def run(data, load_tool, capsys):
    tool = load_tool('check_data')

    def call(*options):
        arguments = [str(data / 'config.py'), '--cache', str(data / 'cache.json')]
        with DefaultScope.overwrite_default_scope('mmseg'):
            status = tool.main([*arguments, *options])
        return status, capsys.readouterr().out

    return call


def test_good_data_are_reported_with_their_classes(run, data):
    status, text = run()
    assert status == 0 and 'no problem found' in text
    assert "stream 'labeled': 2 images, 2 masks" in text
    assert "stream 'unlabeled': 2 images, 0 masks" in text
    assert "stream 'val': 2 images, 2 masks" in text
    assert 'road' in text and 'sky' in text
    assert '10 of 10 files decoded' in text


def test_second_run_reads_changed_files_only(run, data):
    run()
    assert '0 of 10 files decoded' in run()[1]
    Image.fromarray(np.ones((6, 8), np.uint8)).save(data / 'labels/val/e.png')
    assert '1 of 10 files decoded' in run()[1]
    (data / 'cache.json').write_text('{damaged')
    assert '10 of 10 files decoded' in run()[1]


def test_bad_mask_values(run, data):
    mask = np.zeros((6, 8), np.uint8)
    mask[0, :3], mask[1, 0] = 7, 255
    Image.fromarray(mask).save(data / 'labels/val/f.png')
    status, text = run()
    assert status == 1
    assert "stream 'val': 1 masks have values that are no class" in text
    assert 'f.png [values [7] in 3 pixels]' in text


def test_a_file_that_is_cut_off_is_found_by_its_end(run, data):
    path = data / 'images/more/c.png'
    path.write_bytes(path.read_bytes()[:-60])
    status, text = run()
    assert status == 1
    assert "stream 'unlabeled': 1 images end too early" in text and 'c.png' in text


def test_a_file_that_is_damaged_inside_has_a_good_header_but_is_found(run, data):
    path = data / 'images/more/c.png'
    content = bytearray(path.read_bytes())
    content[-30:-20] = bytes(10)
    path.write_bytes(content)
    status, text = run()
    assert status == 1
    assert "stream 'unlabeled': 1 files cannot be decoded" in text and 'c.png [' in text


def test_header_problems_are_reported_too(run, data):
    (data / 'images/more/d.png').write_bytes(b'garbage')
    status, text = run()
    assert status == 1 and "'unlabeled': 1 images cannot be read as an image" in text


def test_copies_under_another_name_are_found(run, data):
    copy = (data / 'images/train/a.png').read_bytes()
    (data / 'images/more/x.png').write_bytes(copy)
    status, text = run()
    assert status == 1
    assert (
        "1 images have the same content in the streams 'labeled', 'unlabeled'" in text
    )
    assert 'more/x.png' in text
    status, text = run('--allow-overlap')
    assert status == 0 and 'NOTE: 1 images have the same content' in text
    (data / 'images/val/e.png').write_bytes(copy)
    assert run('--allow-overlap')[0] == 1


def test_a_stream_that_cannot_be_built_is_a_problem(run, data):
    (data / 'labels/val/f.png').unlink()
    status, text = run()
    assert status == 1
    assert "stream 'val' cannot be built: no mask for 1 of 2 images" in text
    assert "stream 'labeled': 2 images" in text


def test_one_loader_and_number_of_classes(run, data):
    config = (data / 'config.py').read_text()
    config += (
        "\ntrain_dataloader = train_dataloader['labeled']\nval_dataloader = None\n"
    )
    (data / 'config.py').write_text(config.replace("classes=('road', 'sky')", ''))
    status, text = run()
    assert status == 0 and "stream 'labeled'" in text and "'val'" not in text
    status, text = run('--num-classes', '1')
    assert status == 1 and '2 masks have values that are no class' in text


def test_cache_knows_files_and_contents(data):
    cache = ContentCache(str(data / 'new/cache.json'))
    path = str(data / 'labels/train/a.png')
    content = cache.read('mask', path)
    assert content['size'] == [8, 6] and sum(content['values'].values()) == 48
    assert cache.read('mask', str(data / 'nowhere.png'))['error'] == 'does not exist'
    cache.save()
    stored = json.loads((data / 'new/cache.json').read_text())
    assert list(stored['contents']) == [f'mask:{content["sha"]}']
    again = ContentCache(str(data / 'new/cache.json'))
    assert again.read('mask', path) == content and again.decoded == 0


@pytest.mark.parametrize('reduce', [False, True])
@pytest.mark.parametrize('label_map', [None, {0: 1, 1: 255, 2: 0}])
def test_counts_are_those_of_the_training_pipeline(tmp_path, reduce, label_map):
    path = str(tmp_path / 'm.png')
    mask = np.array([[0, 1, 2, 3], [255, 254, 1, 0]], np.uint8)
    Image.fromarray(mask).save(path)
    with DefaultScope.overwrite_default_scope('mmseg'):
        from mmseg.registry import TRANSFORMS

        load = Compose([TRANSFORMS.build(dict(type='LoadAnnotations'))])
    info = dict(seg_map_path=path, reduce_zero_label=reduce, label_map=label_map)
    loaded = load(dict(info, seg_fields=[]))['gt_seg_map']
    counts = map_counts(count_values(read_mask(path)), reduce, label_map)
    assert counts == count_values(loaded)


def test_masks_in_colour_are_refused(tmp_path):
    path = str(tmp_path / 'm.png')
    Image.new('RGB', (3, 2)).save(path)
    with pytest.raises(ValueError, match=r'm\.png must have one band of 8 bits'):
        read_mask(path)


def test_a_config_of_the_package_by_name(load_tool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # no data here
    tool, name = load_tool('check_data'), 'sup-only_deeplabv3plus-r18_camvid-seq24.py'
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert tool.main([name, '--cache', 'cache.json']) == 1
    assert 'data/camvid' in capsys.readouterr().out
    with pytest.raises((ValueError, FileNotFoundError), match='nothing_like_it'):
        tool.main(['nothing_like_it.py'])
