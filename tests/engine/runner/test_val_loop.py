import os
from pathlib import Path

import pytest
import torch
from helpers import spread
from mmengine.config import Config
from mmengine.runner import ValLoop
from mmseg.registry import DATASETS
from tiny_run import build, config, mean_teacher, train, write_data

from mmsemiseg.datasets import FolderSegDataset
from mmsemiseg.engine.runner import TeacherStudentValLoop

RUNTIME = Path(__file__).resolve().parents[3] / 'configs/_base_/default_runtime.py'


@DATASETS.register_module(force=True)
class CountedDataset(FolderSegDataset):
    loaded = 0

    def __getitem__(self, index):
        type(self).loaded += 1
        return super().__getitem__(index)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


@pytest.fixture
def trained(data, tmp_path):
    """A run that is over; student and teacher have weights far apart."""
    cfg = config(data, tmp_path / 'run', max_iters=1)
    cfg.val_dataloader.dataset.type = 'CountedDataset'
    runner = train(cfg)
    for seed, network in enumerate(runner.model.networks.values()):
        spread(network, seed)
    return runner


def test_metrics_are_those_of_each_network_alone(trained):
    loop = trained.val_loop
    CountedDataset.loaded = 0
    metrics = loop.run()
    assert CountedDataset.loaded == 3  # one pass for both
    evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    model = trained.model
    expected = {}
    for name, network in model.networks.items():
        network.data_preprocessor = model.data_preprocessor
        trained.model = network
        scores = ValLoop(trained, loop.dataloader, evaluator).run()
        expected.update({f'{name}/{key}': value for key, value in scores.items()})
    assert set(metrics) == {
        f'{name}/{key}'
        for name in ('student', 'teacher')
        for key in ('aAcc', 'mIoU', 'mAcc')
    }
    assert metrics == expected
    assert metrics['student/mIoU'] != metrics['teacher/mIoU']


def test_one_network(trained):
    loop = trained.val_loop
    settings = dict(dataloader=loop.dataloader, evaluator=loop.evaluator)
    teacher = TeacherStudentValLoop(trained, networks=['teacher'], **settings)
    assert {key.split('/')[0] for key in teacher.run()} == {'teacher'}
    for wrong in (['ema'], []):
        with pytest.raises(ValueError, match=r"\['student', 'teacher'\] of MeanTeach"):
            TeacherStudentValLoop(trained, networks=wrong, **settings)


def test_validation_leaves_no_trace(trained):
    before = {key: value.clone() for key, value in trained.model.state_dict().items()}
    state = torch.get_rng_state()
    trained.val_loop.run()
    assert torch.get_rng_state().equal(state)
    for key, value in trained.model.state_dict().items():
        assert value.equal(before[key]), key


def test_checkpoints_and_the_protocol_in_the_log(data, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=6)
    cfg.custom_hooks = [dict(type='MeanTeacherHook', decay=0.9)]
    cfg.default_hooks = dict(
        checkpoint=dict(
            Config.fromfile(RUNTIME).default_hooks.checkpoint,
            interval=2,
            save_best='teacher/mIoU',
        )
    )
    cfg.train_cfg.val_interval = 2
    cfg.train_cfg.max_iters = 5
    train(cfg)
    files = sorted(f for f in os.listdir(tmp_path / 'run') if f.endswith('.pth'))
    assert len(files) == 3
    assert files[0].startswith('best_teacher_mIoU_iter_')
    assert files[1:] == ['iter_4.pth', 'iter_5.pth']
    best, _, last = (torch.load(tmp_path / 'run' / f) for f in files)
    assert 'optimizer' in last
    assert 'optimizer' not in best
    kinds = {key.split('.')[2] for key in best['state_dict'] if key.count('.') > 2}
    assert kinds == {'student', 'teacher'}
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert log.count('protocol: whole image, original size, single scale') == 3


def test_a_lone_student(data, tmp_path):
    cfg = config(data, tmp_path / 'run', mean_teacher(), max_iters=1)
    cfg.model.type = 'FixMatch'
    runner = train(cfg)
    assert {key.split('/')[0] for key in runner.val_loop.run()} == {'student'}


def test_a_plain_segmentor_is_refused(data, tmp_path):
    cfg = config(data, tmp_path / 'run')
    cfg.model = cfg.model.student
    with pytest.raises(ValueError, match=r'networks must be in \[\] of EncoderDec'):
        build(cfg).val_loop  # noqa: B018
