"""Label maps and pictures of a run: their names, and one numbering."""

import shutil

import mmcv
import numpy as np
import pytest
from mmengine.runner import Runner
from tiny_run import METAINFO, PACK, build, config, mean_teacher, train, write_data


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """(data, work folder) of a run on masks whose label 0 is to be ignored."""
    root = tmp_path_factory.mktemp('run')
    data = write_data(root / 'data', val=2)
    for folder in ('seq1', 'seq2'):
        (data / 'new' / folder).mkdir(parents=True)
        shutil.copy(data / 'val/images/v0.png', data / 'new' / folder / 'v0.png')
    cfg = config(data, root / 'work', max_iters=1)
    for part in (cfg.train_dataloader.labeled, cfg.val_dataloader, cfg.test_dataloader):
        part.dataset.reduce_zero_label = True
    train(cfg)
    return data, root / 'work'


def predicting(run, folder, unlabeled=True, **evaluator):
    """Config that writes label maps of the new images, or of those with masks."""
    data, work_dir = run
    cfg = config(data, folder / 'work', mean_teacher(predict_with='teacher'))
    cfg.load_from = str(work_dir / 'iter_1.pth')
    kind = dict(type='PerClassIoUMetric', output_dir=str(folder / 'pred'))
    cfg.test_evaluator = dict(kind, **evaluator)
    cfg.test_dataloader.dataset.reduce_zero_label = True
    if unlabeled:
        cfg.test_evaluator.format_only = True
        cfg.test_dataloader.dataset = dict(
            type='UnlabeledDataset',
            data_root=str(data),
            images='new',
            metainfo=METAINFO,
            pipeline=[dict(type='LoadImageFromFile'), PACK],
        )
    return cfg


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())


def test_sub_folders_and_one_numbering(run, tmp_path):
    build(predicting(run, tmp_path / 'new')).test()
    assert files(tmp_path / 'new/pred') == ['seq1/v0.png', 'seq2/v0.png']
    build(predicting(run, tmp_path / 'val', unlabeled=False)).test()
    assert files(tmp_path / 'val/pred') == ['v0.png', 'v1.png']
    # one image, with and without a mask: one label map, in the numbers of the masks
    one = mmcv.imread(tmp_path / 'new/pred/seq1/v0.png', 'unchanged')
    other = mmcv.imread(tmp_path / 'val/pred/v0.png', 'unchanged')
    np.testing.assert_array_equal(one, other)
    assert one.min() >= 1

    build(predicting(run, tmp_path / 'own', numbering='classes')).test()
    plain = mmcv.imread(tmp_path / 'own/pred/seq1/v0.png', 'unchanged')
    np.testing.assert_array_equal(plain, one - 1)


def test_metrics_of_mmseg_name_the_clash_before_predicting(run, tmp_path):
    cfg = predicting(run, tmp_path, type='IoUMetric')
    with pytest.raises(ValueError, match=r"seq2/v0.png that of .*'PerClassIoUMetric'"):
        build(cfg).test()
    cfg.test_dataloader.dataset.images = 'new/seq1'
    with pytest.raises(ValueError, match='class 0 as 0, .* class 0 is 1 in them'):
        build(cfg).test()
    assert files(tmp_path / 'pred') == []


def test_a_plain_runner_overwrites_nothing(run, tmp_path):
    cfg = predicting(run, tmp_path)
    with pytest.raises(ValueError, match='seq2/v0.png that of .*Take SemiRunner'):
        Runner.from_cfg(cfg).test()


def test_each_network_has_its_folder(run, tmp_path):
    cfg = predicting(run, tmp_path, unlabeled=False)
    cfg.val_evaluator = cfg.test_evaluator
    runner = build(cfg)
    runner.val()
    expected = [f'{name}/v{i}.png' for name in ('student', 'teacher') for i in (0, 1)]
    assert files(tmp_path / 'pred') == expected


def test_pictures(run, tmp_path):
    data, _ = run
    cfg = predicting(run, tmp_path)
    cfg.visualizer = dict(type='SegLocalVisualizer', name=str(tmp_path))
    hook = dict(type='PaintedImagesHook', folder=str(tmp_path / 'painted'))
    cfg.custom_hooks = [hook]
    build(cfg).test()
    assert files(tmp_path / 'painted') == ['seq1/v0.png', 'seq2/v0.png']
    image = mmcv.imread(data / 'new/seq1/v0.png').astype(int)
    painted = mmcv.imread(tmp_path / 'painted/seq1/v0.png').astype(int)
    assert painted.shape == image.shape
    assert np.abs(painted - image).mean() > 5

    cfg.test_dataloader.dataset.pipeline.insert(
        1, dict(type='CenterCropEval', crop_size=(16, 24))
    )
    build(cfg).test()
    assert mmcv.imread(tmp_path / 'painted/seq1/v0.png').shape == (16, 24, 3)
