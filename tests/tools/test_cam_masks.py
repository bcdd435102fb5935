"""The tool on a tiny data set, and what it has written as a stream of CACWeak."""

import json
import os

import cac_run
import numpy as np
import pytest
import tiny_run
from mmengine.hooks import Hook
from PIL import Image

from mmsemiseg.models import TagClassifier

SMALL = [
    'model.backbone.depth=18',
    'model.backbone.init_cfg=None',
    'model.backbone.base_channels=4',
    'model.backbone.stem_channels=4',
]


@pytest.fixture
def data(tmp_path):
    return tiny_run.write_data(tmp_path / 'data', labeled=4, unlabeled=5, size=(48, 56))


@pytest.fixture
def tool(load_tool):
    return load_tool('cam_masks')


def options(data, *more):
    tags = data / 'tags.txt'
    tags.write_text('u0: b\nu1: b c\nu2:\nu3: c\nu4: b\n')
    words = ['--images', data / 'unlabeled' / 'images', '--out', data / 'cam']
    words += ['--classes', 'a', 'b', 'c', '--background', 'a']
    words += ['--iters', '2', '--batch-size', '2', '--workers', '0', '--crop', '32']
    return [str(w) for w in [*words, *more, '--cfg-options', *SMALL]]


def with_tags(data, *more):
    return options(data, '--tags', data / 'tags.txt', *more)


def masks(data):
    files = sorted((data / 'cam').glob('*.png'))
    return {f.stem[-2:]: np.array(Image.open(f)) for f in files}


def test_index_masks_and_training(data, tool, tmp_path):
    assert tool.main(with_tags(data, '--flip', '--high', '0.4')) == 0
    index = json.loads((data / 'cam' / 'index.json').read_text())
    assert [os.path.basename(pair['img_path']) for pair in index] == [
        f'u{i}.png' for i in range(5)
    ]
    found = masks(data)
    assert all(mask.shape == (48, 56) for mask in found.values())
    allowed = dict(u0={1}, u1={1, 2}, u2=set(), u3={2}, u4={1})
    for name, tags in allowed.items():
        assert set(np.unique(found[name])) <= {0, 255} | tags
    assert np.all(found['u2'] == 0)
    assert any(set(np.unique(mask)) & {1, 2} for mask in found.values())
    for stream in ('weak', 'unlabeled'):
        losses = train_on(data, tmp_path / stream, stream)
        assert len(losses) == 2
        assert all(np.isfinite(value) and value > 0 for value in losses)


def train_on(data, work_dir, stream):
    """``loss_weak`` of the iterations of a run with the masks in ``stream``."""
    cfg = cac_run.config(data, work_dir, max_iters=2)
    cfg.model.update(type='CACWeak', weak=dict(stream=stream))
    cfg.model.contrast.start = 1
    pipeline = tiny_run.TEST_PIPELINE[:2]
    dataset = dict(
        type='PseudoMaskDataset',
        ann_file=str(data / 'cam' / 'index.json'),
        metainfo=tiny_run.METAINFO,
    )
    if stream == 'unlabeled':
        crops = dict(cac_run.CROPS, type='LabeledOverlapCrops')
        cfg.train_dataloader.unlabeled.dataset = dict(
            dataset, pipeline=[*pipeline, crops]
        )
    else:
        cfg.train_dataloader.weak = dict(
            batch_size=2, dataset=dict(dataset, pipeline=[*pipeline, tiny_run.PACK])
        )
        cfg.train_cfg.allow_overlap = True
    losses = []

    class Losses(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            losses.append(outputs['loss_weak'])

    runner = tiny_run.train(cfg, Losses())
    assert runner.iter == 2
    return [float(value) for value in losses]


def test_same_seed_same_masks(data, tool):
    found = []
    for _ in range(2):
        assert tool.main(with_tags(data, '--seed', '3')) == 0
        found.append(masks(data))
        (data / 'cam').rename(data / f'cam{len(found)}')
    assert found[0].keys() == found[1].keys()
    assert all(np.array_equal(found[0][k], found[1][k]) for k in found[0])


def test_goes_on_where_it_stopped(data, tool, monkeypatch):
    """A kept mask is not predicted again, a missing one is made as before."""
    assert tool.main(with_tags(data)) == 0
    before = masks(data)
    files = sorted((data / 'cam').glob('*.png'))
    files[1].unlink()
    kept = Image.fromarray(np.full((48, 56), 2, np.uint8))
    kept.save(files[3])
    (data / 'cam' / 'index.json').unlink()
    calls = []
    cam, loss = TagClassifier.cam, TagClassifier.loss
    monkeypatch.setattr(TagClassifier, 'cam', lambda *a: calls.append('cam') or cam(*a))
    monkeypatch.setattr(
        TagClassifier, 'loss', lambda *a: calls.append('loss') or loss(*a)
    )
    assert tool.main(with_tags(data)) == 0
    assert calls == ['cam']
    after = masks(data)
    assert np.array_equal(after['u1'], before['u1'])
    assert np.all(after['u3'] == 2)
    assert (data / 'cam' / 'index.json').is_file()


def test_masks_of_other_settings_are_refused(data, tool):
    assert tool.main(with_tags(data)) == 0
    with pytest.raises(ValueError, match=r"they differ in \['model'\]"):
        tool.main(with_tags(data, '--high', '0.5'))
    (data / 'other.txt').write_text('u0: c\n')
    with pytest.raises(ValueError, match=r"they differ in \['train_.*', 'tags'\]"):
        tool.main(options(data, '--tags', data / 'other.txt'))


def test_a_trained_classifier(data, tool, monkeypatch):
    assert tool.main(with_tags(data)) == 0
    checkpoint = data / 'cam' / 'classifier' / 'iter_2.pth'
    expected = masks(data)
    (data / 'cam').rename(data / 'first')
    monkeypatch.setattr(TagClassifier, 'loss', None)
    checkpoint = data / 'first' / 'classifier' / 'iter_2.pth'
    assert tool.main(with_tags(data, '--checkpoint', checkpoint)) == 0
    found = masks(data)
    assert all(np.array_equal(found[k], expected[k]) for k in expected)


def test_tags_of_masks(data, tool):
    folder = data / 'labeled'
    (data / 'names.txt').write_text('l2\nl0\n')
    args = tool.parse_args(
        [
            *('--images', str(folder / 'images'), '--masks', str(folder / 'masks')),
            *('--classes', 'a', 'b', 'c', '--out', 'x'),
            *('--names', str(data / 'names.txt')),
        ]
    )
    for name in ('l0', 'l2'):
        mask = np.full((48, 56), 255, np.uint8)
        mask[0, :2] = (2, 0) if name == 'l0' else (1, 1)
        Image.fromarray(mask).save(folder / 'masks' / f'{name}.png')
    tags = tool.tags_of_masks(args, ['a', 'b', 'c'])
    assert list(tags.items()) == [('l2', ['b']), ('l0', ['a', 'c'])]
    args.names = None
    assert sorted(tool.tags_of_masks(args, ['a', 'b', 'c'])) == ['l0', 'l1', 'l2', 'l3']
    with pytest.raises(ValueError, match='labels of 2 or more'):
        tool.tags_of_masks(args, ['a', 'b'])


def test_classes_of_a_data_set(tool):
    classes = tool.class_names(['PascalVOCDataset'])
    assert classes[0] == 'background' and len(classes) == 21
    assert tool.class_names(['x', 'y']) == ['x', 'y']
    for wrong in ('x', 'StreamDataset'):
        with pytest.raises(ValueError, match='--classes must be'):
            tool.class_names([wrong])


def test_config_of_a_data_set_without_background(tool, data):
    args = tool.parse_args(with_tags(data, '--background', 'none'))
    cfg = tool.config(args, 'tags.txt', ['a', 'b', 'c'])
    assert cfg.model.background_label is None
    args = tool.parse_args(with_tags(data))
    cfg = tool.config(args, 'tags.txt', ['a', 'b', 'c'])
    assert cfg.model.background_label == 0
