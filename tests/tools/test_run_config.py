"""What the interfaces and tools of MMSegmentation make of the config.py of a run."""

import runpy
import sys
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from helpers import spread
from mmengine.config import Config
from mmseg.apis import MMSegInferencer, inference_model, init_model
from tiny_run import config, mean_teacher, train, write_data

from mmsemiseg.engine.checkpoints import plain_values, read_checkpoint

OURS = Path(__file__).resolve().parents[2] / 'tools'
MMSEG = Path(mmseg.__file__).parent / '.mim' / 'tools'


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """(data, config.py, checkpoint) of a mean teacher; its networks differ."""
    root = tmp_path_factory.mktemp('run')
    data = write_data(root / 'data')
    settings = dict(custom_imports=dict(imports=['mmsemiseg']))
    hooks = dict(visualization=dict(type='SegVisualizationHook'))
    cfg = config(data, root / 'work', mean_teacher(), 1, **settings)
    cfg.custom_hooks = [dict(type='MeanTeacherHook', decay=0.9)]
    cfg.default_hooks.update(hooks)
    cfg.visualizer = dict(type='SegLocalVisualizer', name='run_config')
    cfg.dump(root / 'some.py')
    runner = train(Config.fromfile(root / 'some.py'))
    for seed, network in enumerate(runner.model.networks.values()):
        spread(network, seed)
    saved = read_checkpoint(str(root / 'work/iter_1.pth'))
    saved['state_dict'] = runner.model.state_dict()
    torch.save(plain_values(saved), root / 'last.pth')
    dumped = root / 'work/some.py'
    # Runs of one name and second share a logger, which writes where the first did
    dumped.write_text(f"{dumped.read_text()}\nexperiment_name = 'tested'\n")
    return data, dumped, root / 'last.pth'


def test_images_are_predicted(run):
    data, cfg, weights = run
    image = str(data / 'val/images/v0.png')
    model = init_model(str(cfg), str(weights), device='cpu')
    label = inference_model(model, image).pred_sem_seg.data[0].numpy()
    assert len(np.unique(label)) > 1
    inferencer = MMSegInferencer(str(cfg), str(weights), device='cpu')
    np.testing.assert_array_equal(inferencer(image)['predictions'], label)


@pytest.fixture
def score(run, monkeypatch, tmp_path, capfd):
    """Calls a test tool; returns its mIoU."""

    def call(folder, *options):
        _, cfg, weights = run
        words = ['test', cfg, weights, '--work-dir', tmp_path / 'out', *options]
        monkeypatch.setattr(sys, 'argv', [str(word) for word in words])
        monkeypatch.setenv('LOCAL_RANK', '0')
        runpy.run_path(str(folder / 'test.py'), run_name='__main__')
        line = next(x for x in capfd.readouterr().out.splitlines() if ' mIoU: ' in x)
        return float(line.split(' mIoU: ')[1].split()[0])

    return call


def test_augmented_testing_with_both_test_tools(score, tmp_path):
    student = ['--cfg-options', 'model.predict_with=student']
    ours = score(OURS, '--tta', '--predict-with', 'student', '--out', tmp_path / 'maps')
    assert ours == score(MMSEG, '--tta', *student)
    assert ours != score(MMSEG, *student)
    assert ours != score(MMSEG, '--tta')  # of the teacher
    assert sorted(p.name for p in (tmp_path / 'maps').iterdir()) == [
        'v0.png',
        'v1.png',
        'v2.png',
    ]
